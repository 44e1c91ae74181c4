package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// LeaveGroup (API 13) ends memberships of a classic group.
//
// Versions: 0 to 5 (3+ name several members). Opaque but for its routing.
var leaveGroup = Row{
	Key: 13, Name: "LeaveGroup", Min: 0, Max: 5, AdvertisedMin: 0,
	Destination: GroupCoordinator,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.LeaveGroupResponse)
		resp.ErrorCode = code // of the whole: clients look here first
		return resp
	},
	Group: func(r kmsg.Request) string { return r.(*kmsg.LeaveGroupRequest).Group },
}
