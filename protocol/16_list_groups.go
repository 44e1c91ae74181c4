package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// ListGroups (API 16) lists the groups that one broker coordinates; clients ask
// every node of their metadata and join the answers by group.
//
// Versions: 0 to 5. Opaque. It must reach the broker that the virtual node
// stands for, or the client's union of all nodes is not whole.
var listGroups = Row{
	Key: 16, Name: "ListGroups", Min: 0, Max: 5, AdvertisedMin: 0,
	Destination: AnyBroker,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.ListGroupsResponse)
		resp.ErrorCode = code
		return resp
	},
}
