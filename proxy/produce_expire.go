package proxy

import "time"

// expire gives NOT_ENOUGH_REPLICAS for what was held too long: the one code that
// every client retries silently, and reads as "not written". With it goes what
// stands behind in the same lane, or a client's retry would come after that.
// It returns when the next one is due.
func (p *producer) expire(now time.Time) time.Time {
	for _, r := range p.queue {
		if r.slot.committed.Load() {
			continue
		}
		if r.deadline.After(now) {
			return r.deadline
		}
		if p.takeBack(r); r.open == 0 {
			continue // the client is slow to read
		}
		for _, it := range r.items {
			if it.state != itemWaiting && it.state != itemSent {
				continue
			}
			items, passed := it.lane.items, false
			for _, behind := range items {
				if passed = passed || behind == it; passed {
					p.giveUp(behind)
				}
			}
		}
		p.s.p.stats.expired.Add(1)
		p.s.log.Warn("produce request held too long; its client is asked to repeat it", "api", "Produce", "held", p.s.p.cfg.Hold)
	}
	return time.Time{}
}

// takeBack reopens the items whose results stand on a revoked word: until
// something serves again they are held as if they had none.
func (p *producer) takeBack(r *produceRequest) {
	for _, it := range r.items {
		if it.state == itemDone && it.by != nil && !it.by.returnable() {
			p.reopen(it)
		}
	}
}

func (p *producer) reopen(it *item) {
	it.state, it.by = itemWaiting, nil
	it.request.waiting++
	it.request.open++
	if it.batch.idempotent() {
		p.s.p.producers.reopen(it)
	}
}

func (p *producer) giveUp(it *item) {
	if it.state != itemWaiting && it.state != itemSent {
		return
	}
	out := it.state == itemSent
	if !out {
		it.settleToken()
	}
	p.settle(it, failedPart(it, codeNotEnoughReplicas), returned, nil)
	if out {
		it.state = itemGivenUp
		it.lane.failed = true
	}
}

// drop forgets what a client that is gone will not ask for (I4). What it sent
// with acks=0 it will not repeat, so that goes on.
func (p *producer) drop() {
	for i := 0; i < len(p.queue); {
		r := p.queue[i]
		if r.silent && r.open > 0 && time.Now().Before(r.deadline) {
			i++
			continue
		}
		out := false
		for _, it := range r.items {
			switch it.state {
			case itemSent, itemGivenUp:
				out = true
			case itemWaiting:
				it.settleToken()
				p.settle(it, failedPart(it, codeNotEnoughReplicas), returned, nil)
			}
		}
		if out {
			i++
			continue
		}
		p.leave(r)
	}
}

// owing says whether something that was sent has no known outcome, or is still
// to be sent.
func (p *producer) owing() bool {
	if p.era != nil && !p.era.returnable() {
		return false
	}
	return len(p.queue) > 0
}
