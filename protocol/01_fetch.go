package protocol

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch (API 1) reads record batches from partitions.
//
// Versions: 4 to 18.
//
// Request
//   - fetch offset: logical to cluster, as a ceiling.
//   - v7+ fetch sessions end here: session id 0, epoch -1, nothing forgotten,
//     so every fetch is whole. A client never learns a session id; one that
//     presents one gets FETCH_SESSION_ID_NOT_FOUND and starts over silently.
//   - v9+ current leader epoch, v12+ last fetched epoch: -1. librdkafka sends 0
//     for -1, and kafka-python takes the second from batch headers; a broker
//     compares both with its own history.
//   - v11+ rack: none, so that a broker never prefers a replica.
//   - v13+ topic ids: the client's become the active cluster's.
//   - what only followers send (replica id and state, cluster id, log start,
//     high watermark, directory): as a consumer's.
//
// Response
//   - v7+ session id 0; v11+ preferred read replica -1; v12+ (tagged) diverging
//     epoch, current leader, snapshot id, v16+ node endpoints: stripped.
//   - high watermark, last stable offset, v5+ log start offset: as positions.
//   - aborted transactions: first offset as a position, producer id as in the
//     batches.
//   - v13+ topic ids: back to the client's.
//   - records: see fetch_records.go.
var fetch = Row{
	Key: 1, Name: "Fetch", Min: 4, Max: 18, AdvertisedMin: 4,
	Destination: Leaders,
	Request:     fetchToCluster, Response: fetchToClient,
	Split: fetchSplit, Merge: fetchMerge, Fail: fetchFail,
}

func fetchToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.FetchRequest)
	if req.SessionID != 0 {
		return &RefusedError{Code: codeFetchSessionIDNotFound, Reason: "fetch sessions end at the sidecar"}
	}
	req.ClusterID, req.ReplicaID, req.Rack = nil, -1, ""
	req.ReplicaState = kmsg.NewFetchRequestReplicaState()
	req.SessionID, req.SessionEpoch, req.ForgottenTopics = 0, -1, nil
	for i := range req.Topics {
		t := &req.Topics[i]
		name := v.topicName(t.Topic, t.TopicID)
		t.TopicID, _ = v.upstreamID(t.TopicID)
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.FetchOffset = v.ceiling(name, p.Partition, p.FetchOffset)
			p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
			p.LogStartOffset, p.HighWatermark, p.ReplicaDirectoryID = -1, math.MaxInt64, [16]byte{}
		}
	}
	return nil
}

func fetchToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.FetchRequest), a.(*kmsg.FetchResponse)
	resp.SessionID, resp.Brokers = 0, nil
	from := make(map[partitionKey]int64, len(resp.Topics)) // logical fetch offsets
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			from[partitionKey{t.Topic, t.TopicID, t.Partitions[j].Partition}] = t.Partitions[j].FetchOffset
		}
	}
	asked := askedFor(req.Topics, func(t *kmsg.FetchRequestTopic) TopicID { return t.TopicID })
	for i := range resp.Topics {
		t := &resp.Topics[i]
		id, name, known := v.downstreamID(t.TopicID, asked)
		if t.TopicID = id; t.Topic != "" {
			name = t.Topic
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if name == "" || !known {
				failFetched(p, codeUnknownTopicID)
				continue
			}
			fetchPartition(v, name, p, from[partitionKey{t.Topic, t.TopicID, p.Partition}])
		}
	}
	return nil
}

func fetchPartition(v *View, topic string, p *kmsg.FetchResponseTopicPartition, from int64) {
	p.DivergingEpoch = kmsg.NewFetchResponseTopicPartitionDivergingEpoch()
	p.CurrentLeader = kmsg.NewFetchResponseTopicPartitionCurrentLeader()
	p.SnapshotID = kmsg.NewFetchResponseTopicPartitionSnapshotID()
	p.PreferredReadReplica = -1
	for i := range p.AbortedTransactions {
		a := &p.AbortedTransactions[i]
		a.ProducerID = fetchedProducerID(v.Map(topic, p.Partition), a.FirstOffset, a.ProducerID)
		a.FirstOffset = v.position(topic, p.Partition, a.FirstOffset)
	}
	p.HighWatermark = v.position(topic, p.Partition, p.HighWatermark)
	p.LastStableOffset = v.position(topic, p.Partition, p.LastStableOffset)
	p.LogStartOffset = v.position(topic, p.Partition, p.LogStartOffset)
	if len(p.RecordBatches) == 0 {
		return
	}
	records, code := fetchedRecords(v.Map(topic, p.Partition), p.RecordBatches, from)
	if code != 0 {
		failFetched(p, code)
		return
	}
	p.RecordBatches = records
}

// failFetched makes p an answer that gives code and nothing else.
func failFetched(p *kmsg.FetchResponseTopicPartition, code int16) {
	partition := p.Partition
	*p = kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.ErrorCode, p.HighWatermark = partition, code, -1
	p.RecordBatches = []byte{} // never null, as from brokers: kafka-clients 2.8 and kafka-python fall over it
}

func fetchSplit(v *View, r kmsg.Request, leader func(string, int32) int32) map[int32]kmsg.Request {
	req := r.(*kmsg.FetchRequest)
	parts := make(map[int32]kmsg.Request, 1)
	empty := func() *kmsg.FetchRequest {
		part := *req
		part.Topics, part.ForgottenTopics = nil, nil
		return &part
	}
	number := func(p *kmsg.FetchRequestTopicPartition) int32 { return p.Partition }
	for i := range req.Topics {
		t := &req.Topics[i]
		for to, partitions := range byLeader(v.topicName(t.Topic, t.TopicID), t.Partitions, number, leader) {
			part := partFor(parts, to, empty)
			part.Topics = append(part.Topics, kmsg.FetchRequestTopic{
				Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions, UnknownTags: t.UnknownTags,
			})
		}
	}
	return parts
}

func fetchMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := fetchPartitionsFail(r.(*kmsg.FetchRequest), missing)
	have := make(map[partitionKey]*kmsg.FetchResponseTopicPartition)
	number := func(p *kmsg.FetchResponseTopicPartition) int32 { return p.Partition }
	for _, part := range parts {
		p := part.(*kmsg.FetchResponse)
		out.ThrottleMillis = max(out.ThrottleMillis, p.ThrottleMillis)
		mergeTags(&out.UnknownTags, &p.UnknownTags)
		for i := range p.Topics {
			note(p.Topics[i].Topic, p.Topics[i].TopicID, p.Topics[i].Partitions, number, have)
		}
	}
	for i := range out.Topics {
		fill(out.Topics[i].Topic, out.Topics[i].TopicID, out.Topics[i].Partitions, number, have)
	}
	return out
}

func fetchFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.FetchRequest)
	if code == codeFetchSessionIDNotFound && req.Version >= 7 {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = code
		return resp
	}
	return fetchPartitionsFail(req, code)
}

// fetchPartitionsFail gives every partition code. A high watermark of -1 is "not
// known": a client that takes it for the end of the log would stop early.
func fetchPartitionsFail(req *kmsg.FetchRequest, code int16) *kmsg.FetchResponse {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.Topics = make([]kmsg.FetchResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic, t.TopicID = from.Topic, from.TopicID
		t.Partitions = make([]kmsg.FetchResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			t.Partitions[j].Partition = from.Partitions[j].Partition
			failFetched(&t.Partitions[j], code)
		}
	}
	return resp
}
