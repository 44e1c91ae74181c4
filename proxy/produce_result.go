package proxy

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// take handles the outcome of one upstream produce request.
func (p *producer) take(c *call) {
	var results map[*item]kmsg.ProduceResponseTopicPartition
	if c.err == nil {
		resp := c.resp.(*kmsg.ProduceResponse)
		req := c.parts[0].request.part(c.parts)
		if err := c.parts[0].request.slot.row.Response(c.view, req, resp); err != nil {
			p.s.log.Error("answer of a broker cannot be translated", "api", "Produce", "cluster", p.era.cluster.name, "error", err)
		} else {
			results = matchParts(c.parts, resp)
		}
	}
	now := time.Now()
	for _, it := range c.parts {
		if it.attempt != c {
			continue // put back meanwhile
		}
		it.attempt = nil
		it.lane.inflight--
		if it.lane.inflight == 0 {
			it.lane.alone = false
		}
		result, answered := results[it]
		switch {
		case it.state == itemGivenUp:
			it.settleToken()
			it.state = itemDone
			if it.request.slot.committed.Load() || it.request.silent {
				p.unlane(it)
			}
		case !answered:
			p.retry(it, now, c.sent)
		default:
			p.judge(it, result, now)
		}
	}
}

// matchParts finds each item's part of an answer. What an answer leaves out has
// no known outcome.
func matchParts(items []*item, resp *kmsg.ProduceResponse) map[*item]kmsg.ProduceResponseTopicPartition {
	byName := make(map[partitionName]kmsg.ProduceResponseTopicPartition, len(items))
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			byName[partitionName{topic: t.Topic, id: t.TopicID, partition: t.Partitions[j].Partition}] = t.Partitions[j]
		}
	}
	results := make(map[*item]kmsg.ProduceResponseTopicPartition, len(items))
	for _, it := range items {
		if part, ok := byName[it.lane.name]; ok {
			results[it] = part
		}
	}
	return results
}

// retry puts an item back. unknown says that it may have been written. That one
// attempt was refused says nothing of an earlier one without an answer.
func (p *producer) retry(it *item, now time.Time, unknown bool) {
	if it.unsure = it.unsure || unknown; !it.unsure {
		it.settleToken()
	}
	it.state = itemWaiting
	it.request.waiting++
	it.lane.fail(it, now)
	p.era.cluster.want()
	p.s.p.stats.retries.Add(1)
}

// judge decides what a broker's word on a batch means.
func (p *producer) judge(it *item, part kmsg.ProduceResponseTopicPartition, now time.Time) {
	switch part.ErrorCode {
	case 0:
		it.settleToken()
		it.lane.succeed()
		p.settle(it, part, accepted, p.era)
	case codeOutOfOrderSequence:
		if it.behind || it.preceded() {
			// The one before it failed and will be sent again; then this one.
			p.retry(it, now, false)
			return
		}
		it.settleToken()
		if p.mirroredAfterAll(it) {
			return
		}
		p.settle(it, part, known, p.era)
	case codeRequestTimedOut, codeNotEnoughReplicasAfterAppend:
		p.retry(it, now, true) // in the leader's log, perhaps for good
	case codeNotLeader, codeLeaderNotAvailable, codeBrokerNotAvailable, codeReplicaNotAvailable, codeNetworkException,
		codeNotEnoughReplicas, codeStorageError, codeUnknownTopicID, codeInconsistentTopicID, codeUnknownTopicOrPartition:
		// ready answers UNKNOWN_TOPIC_* if younger metadata says so too.
		p.retry(it, now, false)
	default:
		it.settleToken()
		p.settle(it, part, known, p.era)
	}
}

// preceded says whether a batch before it in its lane has no result yet.
func (it *item) preceded() bool {
	for _, have := range it.lane.items {
		if have == it {
			return false
		}
		if have.state == itemWaiting || have.state == itemSent {
			return true
		}
	}
	return false
}

// mirroredAfterAll looks a batch up that a broker refused for its sequence: a
// retry of a mirrored batch may come after newer ones were accepted, when the
// client spread a partition over two nodes.
func (p *producer) mirroredAfterAll(it *item) bool {
	if p.era.route.Tenure == 0 {
		return false
	}
	view, _ := p.s.p.view(p.era)
	tp, ok := it.tp(view)
	if !ok {
		return false
	}
	stamp, stamped, _ := p.era.cluster.logMap.stampOf(tp, p.era.route.Tenure)
	if !stamped {
		return false
	}
	base, ok := p.era.cluster.logMap.mirrored(tp, it.batch, stamp.Cluster)
	if ok {
		p.mirrored(it, base)
	}
	return ok
}

// settle gives an item its result.
func (p *producer) settle(it *item, part kmsg.ProduceResponseTopicPartition, how outcome, by *era) {
	r := it.request
	if it.state == itemWaiting {
		r.waiting--
	}
	it.state, it.result, it.by, it.unsure = itemDone, part, by, false
	if it.batch.idempotent() {
		p.s.p.producers.settle(it, how, by)
	}
	if r.open--; r.open == 0 {
		p.finish(r)
	}
}

// finish answers a request whose items all have a result.
func (p *producer) finish(r *produceRequest) {
	if r.silent {
		r.slot.committed.Store(true)
		p.s.settled(r.slot)
		return
	}
	resp, eras := r.response()
	r.slot.set(answer{resp: resp, eras: eras})
}

// stop ends the loop's connections and forgets everything.
func (p *producer) stop() {
	p.closeConns()
	p.connWG.Wait()
	for _, l := range p.lanes {
		for _, it := range l.items {
			it.settleToken()
			if it.batch.idempotent() {
				if it.state != itemDone {
					p.s.p.producers.settle(it, returned, nil)
				}
				p.s.p.producers.leave(it)
			}
		}
	}
	p.queue = nil
}

// expose notes what an answer shows. It runs under the gate's lock, on the
// writer's goroutine, when the loop has let go of the results.
func (p *producer) expose(sl *slot, a answer) {
	resp, ok := a.resp.(*kmsg.ProduceResponse)
	if !ok || len(a.eras) == 0 {
		return
	}
	req := sl.req.(*kmsg.ProduceRequest)
	name := p.s.p.nameOf(a.eras[0])
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			part := &t.Partitions[j]
			if part.ErrorCode != 0 || part.BaseOffset < 0 || j >= len(req.Topics[i].Partitions) {
				continue
			}
			count := int64(1)
			if b, _, err := protocol.NextBatch(req.Topics[i].Partitions[j].Records); err == nil {
				count = int64(b.LastOffsetDelta()) + 1
			}
			p.s.p.exposed.note(name(t.Topic, t.TopicID), part.Partition, part.BaseOffset+count)
		}
	}
}

// failedPart is an item's part of an answer with code and no offset.
func failedPart(it *item, code int16) kmsg.ProduceResponseTopicPartition {
	part := kmsg.NewProduceResponseTopicPartition()
	part.Partition, part.ErrorCode, part.BaseOffset, part.LogAppendTime = it.lane.name.partition, code, -1, -1
	return part
}
