package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// JoinGroup (API 11) makes a client a member of a classic group.
//
// Versions: 0 to 9.
//
// Opaque but for its routing: members and generations are the coordinator's own,
// and the metadata of assignors holds names, partitions and (Kafka Streams)
// logical offsets.
var joinGroup = Row{
	Key: 11, Name: "JoinGroup", Min: 0, Max: 9, AdvertisedMin: 0,
	Destination: GroupCoordinator,
	Fail:        joinGroupFail,
	Group:       func(r kmsg.Request) string { return r.(*kmsg.JoinGroupRequest).Group },
}

func joinGroupFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.JoinGroupRequest)
	resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
	resp.ErrorCode, resp.Generation, resp.MemberID = code, -1, req.MemberID
	if req.Version < 7 {
		resp.Protocol = new(string) // null only since version 7
	}
	return resp
}
