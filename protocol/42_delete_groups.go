package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// DeleteGroups (API 42) deletes groups that have no members, with their offsets.
//
// Versions: 0 to 2. Opaque but for its routing (see DescribeGroups).
var deleteGroups = Row{
	Key: 42, Name: "DeleteGroups", Min: 0, Max: 2, AdvertisedMin: 0,
	Destination: GroupCoordinator, Write: true,
	PerGroup: deleteGroupsPerGroup, Merge: deleteGroupsMerge, Fail: deleteGroupsFail,
	Group: func(r kmsg.Request) string { return first(r.(*kmsg.DeleteGroupsRequest).Groups) },
}

func deleteGroupsPerGroup(r kmsg.Request) []kmsg.Request {
	req := r.(*kmsg.DeleteGroupsRequest)
	parts := make([]kmsg.Request, len(req.Groups))
	for i, g := range req.Groups {
		part := *req
		part.Groups = []string{g}
		parts[i] = &part
	}
	return parts
}

func deleteGroupsMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := deleteGroupsFail(r, missing).(*kmsg.DeleteGroupsResponse)
	have := make(map[string]*kmsg.DeleteGroupsResponseGroup)
	for _, part := range parts {
		p := part.(*kmsg.DeleteGroupsResponse)
		out.ThrottleMillis = max(out.ThrottleMillis, p.ThrottleMillis)
		mergeTags(&out.UnknownTags, &p.UnknownTags)
		for i := range p.Groups {
			have[p.Groups[i].Group] = &p.Groups[i]
		}
	}
	for i := range out.Groups {
		if g := have[out.Groups[i].Group]; g != nil {
			out.Groups[i] = *g
		}
	}
	return out
}

func deleteGroupsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.DeleteGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	for i, g := range req.Groups {
		resp.Groups[i].Group, resp.Groups[i].ErrorCode = g, code
	}
	return resp
}
