package protocol

import (
	"bytes"
	"iter"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// Produce (API 0) appends record batches to partitions.
//
// Versions: 3 to 13 are served; 0 is advertised as the lowest because older
// librdkafka detects features by it (KAFKA-18659), as brokers of Kafka 4 do.
//
// Request
//   - v13+ topic ids: the client's become the active cluster's.
//   - acks becomes -1: a fence can only be drained when every write is answered
//     after replication. A client that sent 0 expects no answer; who serves it
//     must drop ours.
//   - producer id in batch headers: the client's form becomes the wire form of
//     the current tenure, with the CRC corrected by delta. A batch that must
//     change is changed in a copy. Bytes behind the last whole batch stay as
//     they are: a broker truncates or refuses them.
//   - transactions are refused (TRANSACTIONAL_ID_AUTHORIZATION_FAILED).
//   - base offset and leader epoch of batches pass: a broker demands 0 of the
//     first and overwrites the second.
//
// Response
//   - base offset, v5+ log start offset: cluster to logical.
//   - v10+ (tagged) current leader, node endpoints: stripped; a client that
//     learns them connects past the sidecar (KIP-951).
//   - v13+ topic ids: back to the client's.
var produce = Row{
	Key: 0, Name: "Produce", Min: 3, Max: 13, AdvertisedMin: 0,
	Destination: Leaders, Write: true,
	Request: produceToCluster, Response: produceToClient,
	Split: produceSplit, Merge: produceMerge, Fail: produceFail,
}

// ProducedBatch is one batch of a produce request. Topic or, from version 13 on,
// TopicID (the client's) is set.
type ProducedBatch struct {
	Topic     string
	TopicID   TopicID
	Partition int32
	Batch     Batch
}

// ProduceBatches yields the whole, well-formed batches of a client's request. A
// partition is left at its first malformed batch.
func ProduceBatches(req *kmsg.ProduceRequest) iter.Seq[ProducedBatch] {
	return func(yield func(ProducedBatch) bool) {
		for i := range req.Topics {
			t := &req.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				for b, err := range Batches(p.Records) {
					if err != nil {
						break
					}
					if !yield(ProducedBatch{Topic: t.Topic, TopicID: t.TopicID, Partition: p.Partition, Batch: b}) {
						return
					}
				}
			}
		}
	}
}

// Transactional says whether a produce request belongs to a transaction.
func Transactional(req *kmsg.ProduceRequest) bool {
	if req.TransactionID != nil {
		return true
	}
	for b := range ProduceBatches(req) {
		if b.Batch.Transactional() {
			return true
		}
	}
	return false
}

// ProduceSuccess is the answer to a batch that the log already holds at base:
// a part for Merge. topic or id names the topic as the request did.
func ProduceSuccess(version int16, topic string, id TopicID, partition int32, base logmap.Logical) *kmsg.ProduceResponse {
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = version
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.BaseOffset, p.LogAppendTime = partition, int64(base), -1
	t := kmsg.NewProduceResponseTopic()
	t.Topic, t.TopicID, t.Partitions = topic, id, []kmsg.ProduceResponseTopicPartition{p}
	resp.Topics = append(resp.Topics, t)
	return resp
}

func produceToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.ProduceRequest)
	if Transactional(req) {
		return &RefusedError{Code: codeTransactionalIDAuth, Reason: "transactions are not supported through the sidecar"}
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		if ours(v.topicName(t.Topic, t.TopicID)) {
			return errOurs
		}
		for j := range t.Partitions {
			records, err := produceRecords(v.Tenure, t.Partitions[j].Records)
			if err != nil {
				return err
			}
			t.Partitions[j].Records = records
		}
		t.TopicID, _ = v.upstreamID(t.TopicID)
	}
	req.Acks = -1
	return nil
}

// produceRecords is records with producer ids in their wire form. It returns
// records itself when nothing changes.
func produceRecords(tenure Tenure, records []byte) ([]byte, error) {
	out, copied, at := records, false, 0
	for b, err := range Batches(records) {
		if err != nil {
			break
		}
		id := ClientProducerID(b.ProducerID())
		wire, err := id.Wire(tenure)
		if err != nil {
			return nil, &RefusedError{Code: codeUnknownProducerID, Reason: err.Error()}
		}
		if int64(wire) != int64(id) {
			if !copied {
				out, copied = bytes.Clone(records), true
			}
			Batch(out[at:at+len(b)]).SetProducer(Producer{ID: int64(wire), Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()}, b.Attributes())
		}
		at += len(b)
	}
	return out, nil
}

func produceToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.ProduceRequest), a.(*kmsg.ProduceResponse)
	asked := askedFor(req.Topics, func(t *kmsg.ProduceRequestTopic) TopicID { return t.TopicID })
	for i := range resp.Topics {
		t := &resp.Topics[i]
		id, name, _ := v.downstreamID(t.TopicID, asked)
		if t.TopicID = id; t.Topic != "" {
			name = t.Topic
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			p.BaseOffset = v.position(name, p.Partition, p.BaseOffset)
			p.LogStartOffset = v.position(name, p.Partition, p.LogStartOffset)
			p.CurrentLeader.Default()
			p.CurrentLeader.UnknownTags = kmsg.Tags{}
		}
	}
	resp.Brokers = nil
	return nil
}

func produceSplit(v *View, r kmsg.Request, leader func(string, int32) int32) map[int32]kmsg.Request {
	req := r.(*kmsg.ProduceRequest)
	parts := make(map[int32]kmsg.Request, 1)
	empty := func() *kmsg.ProduceRequest {
		part := *req
		part.Topics = nil
		return &part
	}
	number := func(p *kmsg.ProduceRequestTopicPartition) int32 { return p.Partition }
	for i := range req.Topics {
		t := &req.Topics[i]
		for to, partitions := range byLeader(v.topicName(t.Topic, t.TopicID), t.Partitions, number, leader) {
			part := partFor(parts, to, empty)
			part.Topics = append(part.Topics, kmsg.ProduceRequestTopic{
				Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions, UnknownTags: t.UnknownTags,
			})
		}
	}
	return parts
}

func produceMerge(_ *View, r kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response {
	out := produceFail(r, missing).(*kmsg.ProduceResponse)
	have := make(map[partitionKey]*kmsg.ProduceResponseTopicPartition)
	number := func(p *kmsg.ProduceResponseTopicPartition) int32 { return p.Partition }
	for _, part := range parts {
		p := part.(*kmsg.ProduceResponse)
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

func produceFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.ProduceRequest)
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic, t.TopicID = from.Topic, from.TopicID
		t.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			p := &t.Partitions[j]
			p.Default()
			p.Partition, p.ErrorCode, p.BaseOffset, p.LogAppendTime = from.Partitions[j].Partition, code, -1, -1
		}
	}
	return resp
}
