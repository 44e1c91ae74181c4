package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// Heartbeat (API 12) keeps a member in its classic group.
//
// Versions: 0 to 4. Opaque but for its routing.
var heartbeat = Row{
	Key: 12, Name: "Heartbeat", Min: 0, Max: 4, AdvertisedMin: 0,
	Destination: GroupCoordinator,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = code
		return resp
	},
	Group: func(r kmsg.Request) string { return r.(*kmsg.HeartbeatRequest).Group },
}
