package inmem

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// invalidRecord are the messages under which kfake refuses, as CORRUPT_MESSAGE,
// what a broker's LogValidator refuses as INVALID_RECORD.
var invalidRecord = map[string]bool{
	"First offset in batch must be zero.": true,
	"Batch length mismatch.":              true,
	"Last offset delta mismatch.":         true,
}

// amendProduce lets a superseded epoch of a producer id write where neither a
// marker nor a batch has told the partition of the newer epoch. kfake would refuse
// it, so it is sent the batch under a stand-in id, and fetches turn it back.
// A batch that the partition must refuse is left to kfake, which refuses it.
func (s *brokerState) amendProduce(x *exchange, req *kmsg.ProduceRequest) (amended bool) {
	refused := make(map[partition]int16)
	for i := range req.Topics {
		rt := &req.Topics[i]
		name := rt.Topic
		if req.Version >= 13 {
			name = s.topic(rt.TopicID)
		}
		for j := range rt.Partitions {
			b, _, err := protocol.NextBatch(rt.Partitions[j].Records)
			if err != nil || b.ProducerID() < 0 || b.Transactional() {
				continue
			}
			shadow, code := s.shadow(partition{name, rt.Partitions[j].Partition}, b)
			if code != 0 {
				refused[partition{name, rt.Partitions[j].Partition}] = code
			} else if shadow != 0 {
				b.SetProducer(protocol.Producer{ID: shadow, Epoch: 0, Sequence: b.BaseSequence()}, b.Attributes())
				amended = true
			}
		}
	}
	if len(refused) > 0 {
		x.fix = func(resp kmsg.Response) { s.refuse(resp.(*kmsg.ProduceResponse), refused) }
	}
	return amended
}

// shadow is the id to store b under; 0: its own. code is the error that a
// superseded but unfenced producer gets for a gap: kfake would give it another.
func (s *brokerState) shadow(p partition, b protocol.Batch) (id int64, code int16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.ProducerEpoch() >= s.current[b.ProducerID()] {
		return 0, 0 // the usual case
	}
	if k := s.known[p][b.ProducerID()]; k != nil {
		if k.epoch > b.ProducerEpoch() {
			return 0, 0 // kfake says INVALID_PRODUCER_EPOCH
		}
		if k.epoch == b.ProducerEpoch() && b.BaseSequence() != protocol.AddSequence(k.lastSequence, 1) {
			return 0, kerr.OutOfOrderSequenceNumber.Code
		}
	}
	e := epochOf{b.ProducerID(), b.ProducerEpoch()}
	if s.shadows[e] == 0 {
		s.shadows[e] = shadowBase + int64(len(s.shadows))
		s.aliases[s.shadows[e]] = e
	}
	return s.shadows[e], 0
}

// shadowBase begins ids that neither a broker nor the product ever uses: the
// product's have 62 bits.
const shadowBase = 1<<62 + 1<<61

func (s *brokerState) refuse(resp *kmsg.ProduceResponse, refused map[partition]int16) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			rp := &resp.Topics[i].Partitions[j]
			name := resp.Topics[i].Topic
			if resp.Version >= 13 {
				name = s.topic(resp.Topics[i].TopicID)
			}
			if code, ok := refused[partition{name, rp.Partition}]; ok && rp.ErrorCode != 0 {
				rp.ErrorCode = code
			}
		}
	}
}

// learnProduce keeps what was accepted and corrects the codes of what was not.
func (s *brokerState) learnProduce(req *kmsg.ProduceRequest, resp *kmsg.ProduceResponse) {
	accepted := make(map[partition]bool)
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		name := rt.Topic
		if resp.Version >= 13 {
			name = s.topic(rt.TopicID)
		}
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			accepted[partition{name, rp.Partition}] = rp.ErrorCode == 0
			if rp.ErrorCode == kerr.CorruptMessage.Code && rp.ErrorMessage != nil && invalidRecord[*rp.ErrorMessage] {
				rp.ErrorCode = kerr.InvalidRecord.Code
			}
		}
	}
	now := time.Now().UnixMilli()
	for i := range req.Topics {
		rt := &req.Topics[i]
		name := rt.Topic
		if req.Version >= 13 {
			name = s.topic(rt.TopicID)
		}
		for j := range rt.Partitions {
			p := partition{name, rt.Partitions[j].Partition}
			b, _, err := protocol.NextBatch(rt.Partitions[j].Records)
			if err == nil && accepted[p] && b.ProducerID() >= 0 {
				s.accepted(p, b, now)
			}
		}
	}
}

func (s *brokerState) accepted(p partition, b protocol.Batch, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	if e, ok := s.aliases[id]; ok {
		id, epoch = e.id, e.epoch
	}
	k := s.producerLocked(p, id)
	if epoch < k.epoch {
		return // an answer that was overtaken by a marker's
	}
	if epoch > k.epoch || b.LastSequence() > k.lastSequence {
		k.epoch, k.lastSequence = epoch, b.LastSequence()
	}
	s.current[id] = max(s.current[id], epoch)
	k.lastWrite = now
	if b.Transactional() {
		for _, t := range s.txns {
			if t.id == id {
				t.partitions[p] = true
			}
		}
	}
}

// unshadow gives fetched batches the producer that wrote them.
func (s *brokerState) unshadow(resp *kmsg.FetchResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			for b, err := range protocol.Batches(resp.Topics[i].Partitions[j].RecordBatches) {
				if err != nil {
					break
				}
				if e, ok := s.aliases[b.ProducerID()]; ok {
					b.SetProducer(protocol.Producer{ID: e.id, Epoch: e.epoch, Sequence: b.BaseSequence()}, b.Attributes())
				}
			}
		}
	}
}
