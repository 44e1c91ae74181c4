package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// ListOffsets (API 2) answers offsets by timestamp, or the ends of the log.
//
// Versions: 1 to 11 (version 0 answers lists of segment bases; Kafka 4 removed
// it).
//
// Request
//   - v4+ current leader epoch: -1 (librdkafka sends 0 for it).
//   - replica id: a consumer's, -1.
//   - timestamps, and the selectors below 0, pass.
//
// Response
//   - offset: as a position, with the same function as high watermarks and
//     commits: at the boundary of two extents a client subtracts one from the
//     other. -1 (nothing found) passes.
//   - v4+ leader epoch: -1. A Java client takes a higher one for a fact and then
//     refuses all metadata below it.
var listOffsets = Row{
	Key: 2, Name: "ListOffsets", Min: 1, Max: 11, AdvertisedMin: 1,
	Destination: Leaders,
	Request:     listOffsetsToCluster, Response: listOffsetsToClient,
	Split: listOffsetsSplit, Merge: listOffsetsMerge, Fail: listOffsetsFail,
}

func listOffsetsToCluster(_ *View, r kmsg.Request) error {
	req := r.(*kmsg.ListOffsetsRequest)
	req.ReplicaID = -1
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			req.Topics[i].Partitions[j].CurrentLeaderEpoch = -1
		}
	}
	return nil
}

func listOffsetsToClient(v *View, _ kmsg.Request, a kmsg.Response) error {
	resp := a.(*kmsg.ListOffsetsResponse)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Offset, p.LeaderEpoch = v.position(t.Topic, p.Partition, p.Offset), -1
			p.OldStyleOffsets = nil
		}
	}
	return nil
}

func listOffsetsSplit(_ *View, r kmsg.Request, leader func(string, int32) int32) map[int32]kmsg.Request {
	req := r.(*kmsg.ListOffsetsRequest)
	parts := make(map[int32]kmsg.Request, 1)
	empty := func() *kmsg.ListOffsetsRequest {
		part := *req
		part.Topics = nil
		return &part
	}
	number := func(p *kmsg.ListOffsetsRequestTopicPartition) int32 { return p.Partition }
	for i := range req.Topics {
		t := &req.Topics[i]
		for to, partitions := range byLeader(t.Topic, t.Partitions, number, leader) {
			part := partFor(parts, to, empty)
			part.Topics = append(part.Topics, kmsg.ListOffsetsRequestTopic{Topic: t.Topic, Partitions: partitions, UnknownTags: t.UnknownTags})
		}
	}
	return parts
}

func listOffsetsMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := listOffsetsFail(r, missing).(*kmsg.ListOffsetsResponse)
	have := make(map[partitionKey]*kmsg.ListOffsetsResponseTopicPartition)
	number := func(p *kmsg.ListOffsetsResponseTopicPartition) int32 { return p.Partition }
	for _, part := range parts {
		p := part.(*kmsg.ListOffsetsResponse)
		out.ThrottleMillis = max(out.ThrottleMillis, p.ThrottleMillis)
		mergeTags(&out.UnknownTags, &p.UnknownTags)
		for i := range p.Topics {
			note(p.Topics[i].Topic, TopicID{}, p.Topics[i].Partitions, number, have)
		}
	}
	for i := range out.Topics {
		fill(out.Topics[i].Topic, TopicID{}, out.Topics[i].Partitions, number, have)
	}
	return out
}

func listOffsetsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	resp.Topics = make([]kmsg.ListOffsetsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic = from.Topic
		t.Partitions = make([]kmsg.ListOffsetsResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			p := &t.Partitions[j]
			p.Default()
			p.Partition, p.ErrorCode = from.Partitions[j].Partition, code
		}
	}
	return resp
}
