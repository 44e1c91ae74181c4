package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// OffsetCommit (API 8) stores a group's positions.
//
// Versions: 2 to 10.
//
// Request
//   - offset: logical to cluster. The ceiling: a position in a hole is stored as
//     the next record's, and reads back as that.
//   - v6+ leader epoch: -1. A committed epoch of one cluster makes a Java client
//     of the other refuse its metadata.
//   - v10+ topic ids: the client's become the active cluster's.
//
// Response
//   - v10+ topic ids: back to the client's.
var offsetCommit = Row{
	Key: 8, Name: "OffsetCommit", Min: 2, Max: 10, AdvertisedMin: 2,
	Destination: GroupCoordinator, Write: true,
	Request: offsetCommitToCluster, Response: offsetCommitToClient, Fail: offsetCommitFail,
	Group: func(r kmsg.Request) string { return r.(*kmsg.OffsetCommitRequest).Group },
}

func offsetCommitToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.OffsetCommitRequest)
	for i := range req.Topics {
		t := &req.Topics[i]
		name := v.topicName(t.Topic, t.TopicID)
		t.TopicID, _ = v.upstreamID(t.TopicID)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Offset, p.LeaderEpoch = v.ceiling(name, p.Partition, p.Offset), -1
		}
	}
	return nil
}

func offsetCommitToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.OffsetCommitRequest), a.(*kmsg.OffsetCommitResponse)
	asked := askedFor(req.Topics, func(t *kmsg.OffsetCommitRequestTopic) TopicID { return t.TopicID })
	for i := range resp.Topics {
		resp.Topics[i].TopicID, _, _ = v.downstreamID(resp.Topics[i].TopicID, asked)
	}
	return nil
}

func offsetCommitFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.OffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic, t.TopicID = from.Topic, from.TopicID
		t.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			t.Partitions[j].Partition, t.Partitions[j].ErrorCode = from.Partitions[j].Partition, code
		}
	}
	return resp
}
