package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// SyncGroup (API 14) hands out the assignment of a classic group's generation.
//
// Versions: 0 to 5. Opaque but for its routing: an assignment holds topic names
// and partitions.
var syncGroup = Row{
	Key: 14, Name: "SyncGroup", Min: 0, Max: 5, AdvertisedMin: 0,
	Destination: GroupCoordinator,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = code
		return resp
	},
	Group: func(r kmsg.Request) string { return r.(*kmsg.SyncGroupRequest).Group },
}
