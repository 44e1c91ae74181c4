package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeGroups (API 15) describes classic groups and their members.
//
// Versions: 0 to 6. Opaque but for its routing: a client asks the coordinator
// that FindCoordinator named for all the groups it believes there, while they
// may have several real coordinators. A member's host is that of its sidecar,
// from where the broker saw it connect.
var describeGroups = Row{
	Key: 15, Name: "DescribeGroups", Min: 0, Max: 6, AdvertisedMin: 0,
	Destination: GroupCoordinator,
	PerGroup:    describeGroupsPerGroup, Merge: describeGroupsMerge, Fail: describeGroupsFail,
	Group: func(r kmsg.Request) string { return first(r.(*kmsg.DescribeGroupsRequest).Groups) },
}

func first(groups []string) string {
	if len(groups) == 0 {
		return ""
	}
	return groups[0]
}

func describeGroupsPerGroup(r kmsg.Request) []kmsg.Request {
	req := r.(*kmsg.DescribeGroupsRequest)
	parts := make([]kmsg.Request, len(req.Groups))
	for i, g := range req.Groups {
		part := *req
		part.Groups = []string{g}
		parts[i] = &part
	}
	return parts
}

func describeGroupsMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := describeGroupsFail(r, missing).(*kmsg.DescribeGroupsResponse)
	have := make(map[string]*kmsg.DescribeGroupsResponseGroup)
	for _, part := range parts {
		p := part.(*kmsg.DescribeGroupsResponse)
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

func describeGroupsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.DescribeGroupsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	for i, g := range req.Groups {
		resp.Groups[i].Default()
		resp.Groups[i].Group, resp.Groups[i].ErrorCode = g, code
	}
	return resp
}
