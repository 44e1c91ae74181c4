package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// DeleteRecords (API 21) moves the start of logs.
//
// Versions: 0 to 2.
//
// Request
//   - offset: logical to cluster, as a ceiling: what stands below it on the
//     cluster is what stands below it for clients. -1 (the high watermark) passes.
//
// Response
//   - low watermark: as a position.
var deleteRecords = Row{
	Key: 21, Name: "DeleteRecords", Min: 0, Max: 2, AdvertisedMin: 0,
	Destination: Leaders, Write: true,
	Request: deleteRecordsToCluster, Response: deleteRecordsToClient,
	Split: deleteRecordsSplit, Merge: deleteRecordsMerge, Fail: deleteRecordsFail,
}

func deleteRecordsToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.DeleteRecordsRequest)
	for i := range req.Topics {
		t := &req.Topics[i]
		if ours(t.Topic) {
			return errOurs
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.Offset = v.ceiling(t.Topic, p.Partition, p.Offset)
		}
	}
	return nil
}

func deleteRecordsToClient(v *View, _ kmsg.Request, a kmsg.Response) error {
	resp := a.(*kmsg.DeleteRecordsResponse)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.LowWatermark = v.position(t.Topic, p.Partition, p.LowWatermark)
		}
	}
	return nil
}

func deleteRecordsSplit(_ *View, r kmsg.Request, leader func(string, int32) int32) map[int32]kmsg.Request {
	req := r.(*kmsg.DeleteRecordsRequest)
	parts := make(map[int32]kmsg.Request, 1)
	empty := func() *kmsg.DeleteRecordsRequest {
		part := *req
		part.Topics = nil
		return &part
	}
	number := func(p *kmsg.DeleteRecordsRequestTopicPartition) int32 { return p.Partition }
	for i := range req.Topics {
		t := &req.Topics[i]
		for to, partitions := range byLeader(t.Topic, t.Partitions, number, leader) {
			part := partFor(parts, to, empty)
			part.Topics = append(part.Topics, kmsg.DeleteRecordsRequestTopic{Topic: t.Topic, Partitions: partitions, UnknownTags: t.UnknownTags})
		}
	}
	return parts
}

func deleteRecordsMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := deleteRecordsFail(r, missing).(*kmsg.DeleteRecordsResponse)
	have := make(map[partitionKey]*kmsg.DeleteRecordsResponseTopicPartition)
	number := func(p *kmsg.DeleteRecordsResponseTopicPartition) int32 { return p.Partition }
	for _, part := range parts {
		p := part.(*kmsg.DeleteRecordsResponse)
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

func deleteRecordsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic = from.Topic
		t.Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			p := &t.Partitions[j]
			p.Partition, p.LowWatermark, p.ErrorCode = from.Partitions[j].Partition, -1, code
		}
	}
	return resp
}
