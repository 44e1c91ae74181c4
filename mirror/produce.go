package mirror

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// maxRoundBytes bounds one produce request.
const maxRoundBytes = 8 << 20

// enqueue plans where items will stand, and has the extents that this takes
// written: a new one wherever logical minus cluster offset, or the tenure, changes.
func (l *link) enqueue(p *part, items []*item) error {
	var recs []logmap.Record
	var waiting []*item
	for _, it := range items {
		continued := p.plan.Logical + logmap.Logical(p.planEnd-p.plan.Cluster)
		if it.logical < continued {
			return fmt.Errorf("the source's record at logical offset %d comes after %d was copied: its map and its log disagree", it.logical, continued-1)
		}
		it.at = p.planEnd
		if it.logical != continued || it.tenure != p.plan.Tenure {
			p.plan = logmap.Extent{Generation: p.plan.Generation, Cluster: it.at, Logical: it.logical, SequenceBase: p.plan.SequenceBase, Tenure: it.tenure, Before: p.plan.Before}
			e := p.plan
			it.extent = &e
			recs = append(recs, &logmap.ExtentRecord{TP: p.topicPartition, Extent: e})
			waiting = append(waiting, it)
		}
		p.planEnd += logmap.Cluster(it.count)
		p.queue = append(p.queue, it)
		p.bytes += len(it.batch)
	}
	if len(p.queue) > 0 {
		l.ready[p.topicPartition] = p
	}
	for len(recs) > 0 {
		n := min(len(recs), maxMapRecords)
		now := waiting[:n]
		l.mapWrite(p.slot, recs[:n], func() {
			for _, it := range now {
				it.durable = true
			}
		})
		recs, waiting = recs[n:], waiting[n:]
	}
	return nil
}

// sendable gives a batch its place in the slot's sequence.
func (p *part) sendable(it *item) protocol.Batch {
	w := p.slot.w
	it.address(protocol.Producer{ID: w.id, Epoch: w.epoch, Sequence: sequenceAt(it.at, p.plan.SequenceBase)})
	return it.batch
}

// produce has one round in flight per target broker, with one batch per
// partition. A batch goes when its extent is durable and its slot is ours.
func (l *link) produce(now time.Time) {
	rounds := make(map[int32][]*part)
	size := make(map[int32]int)
	for _, p := range l.ready {
		s := p.slot
		if p.inflight || len(p.queue) == 0 || s.w == nil || s.paused || l.wait(p.holdOff, now) {
			continue
		}
		if it := p.queue[0]; it.written || it.extent != nil && !it.durable {
			continue
		}
		dst, _ := l.dstMeta.partition(p.topicPartition)
		if dst.leader < 0 || l.producing[dst.leader] {
			continue
		}
		p.merge()
		it := p.queue[0]
		if len(rounds[dst.leader]) > 0 && size[dst.leader]+len(it.batch) > maxRoundBytes || l.proveFirst(s, now) {
			continue
		}
		size[dst.leader] += len(it.batch)
		rounds[dst.leader] = append(rounds[dst.leader], p)
	}
	for leader, parts := range rounds {
		l.produceRound(leader, parts)
	}
}

// sent is one partition's part in a round of producing.
type sent struct {
	p   *part
	run int
	it  *item
}

func (l *link) produceRound(leader int32, parts []*part) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(produceTimeout.Milliseconds())
	round := make(map[topicPartition]*sent, len(parts))
	byID := make(map[[16]byte]string)
	for _, p := range parts {
		it := p.queue[0]
		p.inflight = true
		p.slot.outstanding++
		round[p.topicPartition] = &sent{p, p.slot.run, it}
		id := l.dstMeta.id(p.Topic)
		byID[id] = p.Topic
		addProduce(req, p.topicPartition, id, p.sendable(it))
		if len(it.clients) == 0 {
			it.intent = true
		} else if !it.intent && it.refused == 0 {
			l.mapWrite(p.slot, p.declare(it), func() {
				it.intent = true
				l.finish(p)
			})
		}
	}
	l.producing[leader] = true
	l.spawn(func() func() {
		resp, err := tell[*kmsg.ProduceResponse](l.ctx, l.dst.data, leader, req)
		return func() {
			delete(l.producing, leader)
			if err == nil {
				for _, t := range resp.Topics {
					name := t.Topic
					if name == "" {
						name = byID[t.TopicID]
					}
					for _, rp := range t.Partitions {
						tp := topicPartition{Topic: name, Partition: rp.Partition}
						if s := round[tp]; s != nil {
							delete(round, tp)
							l.answered(s, kerr.ErrorForCode(rp.ErrorCode), logmap.Cluster(rp.BaseOffset))
						}
					}
				}
				err = errors.New("the answer does not hold the partition")
			}
			for _, s := range round {
				l.answered(s, err, -1)
			}
		}
	})
}

// answered takes the target's word on one batch. Only what cannot have been
// written may be sent again as it is; what leaves open whether it was written
// costs the slot, because acquiring it again finds out.
func (l *link) answered(s *sent, err error, base logmap.Cluster) {
	p, slot := s.p, s.p.slot
	if s.run != slot.run || slot.w == nil {
		return
	}
	slot.outstanding--
	p.inflight = false
	if p.state != stateMirroring || len(p.queue) == 0 || p.queue[0] != s.it {
		return
	}
	retry := func(d time.Duration) {
		s.it.refused++
		p.holdOff = time.Now().Add(d)
		l.lookNow()
	}
	switch {
	case err == nil && base == s.it.at:
		s.it.written = true
		now := time.Now()
		slot.proven = now
		if now.Sub(slot.lastTxn) > 5*time.Second {
			slot.failures = 0
		}
		p.reason, p.refused = "", false
		l.finish(p)
	case err == nil:
		l.lose(slot, fmt.Errorf("%s on %s: a batch was acknowledged at offset %d instead of %d: somebody else writes there", p.topicPartition, l.dst.name, base, s.it.at))
	case neverSent(err),
		errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.LeaderNotAvailable), errors.Is(err, kerr.FencedLeaderEpoch),
		errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.InconsistentTopicID),
		errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.KafkaStorageError):
		p.reason = fmt.Sprintf("the target does not take records: %v", err)
		retry(backoff(min(s.it.refused+4, 7)))
	case errors.Is(err, kerr.RequestTimedOut), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		// It stands in the leader's log. The same batch again is acknowledged
		// with its offset, and if the broker should have forgotten the producer
		// and append it twice, the offset tells.
		p.reason = fmt.Sprintf("the target's replicas lag: %v", err)
		retry(backoff(min(s.it.refused+4, 7)))
	case refusal(err):
		p.reason = fmt.Sprintf("the target refuses the batch at source offset %d: %v; change its configuration, the batch is tried again every 5 s", s.it.source, err)
		if !p.refused {
			l.log.Warn("partition stopped", "topic", p.Topic, "partition", p.Partition, "reason", p.reason)
		}
		p.refused = true
		retry(5 * time.Second)
	default:
		l.lose(slot, fmt.Errorf("%s on %s: %w", p.topicPartition, l.dst.name, err))
	}
}

// refusal says that the broker has judged the batch itself and not written it.
func refusal(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTimestamp, kerr.InvalidRecord, kerr.CorruptMessage,
		kerr.UnsupportedCompressionType, kerr.UnsupportedForMessageFormat, kerr.PolicyViolation, kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// finish moves the position past the first item of the queue when both the batch
// and its intent are durable.
func (l *link) finish(p *part) {
	if len(p.queue) == 0 || !p.queue[0].written || !p.queue[0].intent {
		return
	}
	it := p.queue[0]
	p.queue = p.queue[1:]
	p.bytes -= len(it.batch)
	if len(p.queue) == 0 {
		p.queue = nil
		delete(l.ready, p.topicPartition)
	}
	p.end = it.at + logmap.Cluster(it.count)
	p.position = it.source
	p.records += int64(it.count)
	p.copied += int64(len(it.batch))
	if f := l.fetchers[p.at.leader]; f != nil && p.bytes < int(l.m.cfg.FetchBytes) {
		f.rest = time.Time{}
	}
	l.noteCaughtUp(p)
	l.stopAtDefect(p)
}
