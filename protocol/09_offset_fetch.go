package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetFetch (API 9) reads a group's positions; from version 8 on those of
// several groups.
//
// Versions: 1 to 10.
//
// Request
//   - v10+ topic ids: the client's become the active cluster's.
//
// Response
//   - offset: cluster to logical, as a position; -1 (nothing committed) passes.
//   - v5+ leader epoch: -1.
//   - v10+ topic ids: back to the client's. A topic that was not asked for by id
//     and whose id is not known is left out.
var offsetFetch = Row{
	Key: 9, Name: "OffsetFetch", Min: 1, Max: 10, AdvertisedMin: 1,
	Destination: GroupCoordinator,
	Request:     offsetFetchToCluster, Response: offsetFetchToClient,
	PerGroup: offsetFetchPerGroup, Merge: offsetFetchMerge, Fail: offsetFetchFail,
	Group: func(r kmsg.Request) string {
		req := r.(*kmsg.OffsetFetchRequest)
		if req.Version >= 8 && len(req.Groups) > 0 {
			return req.Groups[0].Group
		}
		return req.Group
	},
}

func offsetFetchToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.OffsetFetchRequest)
	for i := range req.Groups {
		for j := range req.Groups[i].Topics {
			t := &req.Groups[i].Topics[j]
			t.TopicID, _ = v.upstreamID(t.TopicID)
		}
	}
	return nil
}

func offsetFetchToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.OffsetFetchRequest), a.(*kmsg.OffsetFetchResponse)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Offset, p.LeaderEpoch = v.position(t.Topic, p.Partition, p.Offset), -1
		}
	}
	asked := func(id TopicID) bool {
		for i := range req.Groups {
			for j := range req.Groups[i].Topics {
				if req.Groups[i].Topics[j].TopicID == id {
					return true
				}
			}
		}
		return false
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		kept := g.Topics[:0]
		for j := range g.Topics {
			t := &g.Topics[j]
			id, name, ok := v.downstreamID(t.TopicID, asked)
			if !ok {
				continue
			}
			if t.TopicID = id; t.Topic != "" {
				name = t.Topic
			}
			for k := range t.Partitions {
				p := &t.Partitions[k]
				p.LeaderEpoch = -1
				if name != "" {
					p.Offset = v.position(name, p.Partition, p.Offset)
				} else {
					p.Offset = -1 // an unknown id: the broker has nothing either
				}
			}
			kept = append(kept, *t)
		}
		g.Topics = kept
	}
	return nil
}

func offsetFetchPerGroup(r kmsg.Request) []kmsg.Request {
	req := r.(*kmsg.OffsetFetchRequest)
	if req.Version < 8 {
		return []kmsg.Request{req}
	}
	parts := make([]kmsg.Request, len(req.Groups))
	for i := range req.Groups {
		part := *req
		part.Groups = []kmsg.OffsetFetchRequestGroup{req.Groups[i]}
		parts[i] = Clone(&part)
	}
	return parts
}

func offsetFetchMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	req := r.(*kmsg.OffsetFetchRequest)
	if req.Version < 8 {
		if len(parts) > 0 {
			return parts[0]
		}
		return offsetFetchFail(r, missing)
	}
	out := offsetFetchFail(r, missing).(*kmsg.OffsetFetchResponse)
	have := make(map[string]*kmsg.OffsetFetchResponseGroup)
	for _, part := range parts {
		p := part.(*kmsg.OffsetFetchResponse)
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

// offsetFetchFail names the partitions too: version 1 has no error for the
// whole.
func offsetFetchFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.OffsetFetchRequest)
	resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	if req.Version < 8 {
		resp.ErrorCode = code
		resp.Topics = make([]kmsg.OffsetFetchResponseTopic, len(req.Topics))
		for i := range req.Topics {
			t := &resp.Topics[i]
			t.Topic = req.Topics[i].Topic
			for _, n := range req.Topics[i].Partitions {
				p := kmsg.NewOffsetFetchResponseTopicPartition()
				p.Partition, p.Offset, p.ErrorCode = n, -1, code
				t.Partitions = append(t.Partitions, p)
			}
		}
		return resp
	}
	resp.Groups = make([]kmsg.OffsetFetchResponseGroup, len(req.Groups))
	for i := range req.Groups {
		resp.Groups[i].Default()
		resp.Groups[i].Group, resp.Groups[i].ErrorCode = req.Groups[i].Group, code
	}
	return resp
}
