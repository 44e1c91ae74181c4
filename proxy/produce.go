package proxy

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// producer is the loop that owns a session's produce requests. Its invariants
// are in lane.go.
type producer struct {
	s  *session
	in chan *slot // closed when no more will come
	// queue holds the unanswered requests in arrival order, at most
	// maxUnanswered.
	queue []*produceRequest
	lanes map[partitionName]*lane
	conns map[int32]*upstream
	era   *era // that conns, attempts and results belong to

	mu      sync.Mutex
	answers []*call // answered upstream
	written []*slot // answered to the client
	woken   chan struct{}

	connWG sync.WaitGroup
}

func newProducer(s *session) *producer {
	return &producer{
		s: s, in: make(chan *slot, maxUnanswered), lanes: make(map[partitionName]*lane),
		conns: make(map[int32]*upstream), woken: make(chan struct{}, 1),
	}
}

// wake makes the loop look again. It never blocks.
func (p *producer) wake() {
	select {
	case p.woken <- struct{}{}:
	default:
	}
}

// run is the loop. It ends when the client is gone and the outcome of what was
// sent is known, or nobody can learn it any more.
func (p *producer) run() {
	defer p.s.wg.Done()
	defer p.stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	in, over := p.in, time.Time{}
	for {
		if p.s.p.ctx.Err() != nil {
			return
		}
		now := p.s.p.gate.now.Load()
		p.follow(now)
		p.collect()
		if p.s.gone.Load() {
			p.drop()
			if over.IsZero() {
				over = time.Now().Add(p.s.p.cfg.Hold)
			}
			if in == nil && (!p.owing() || !time.Now().Before(over)) {
				return
			}
		}
		next := p.expire(time.Now())
		next = earlier(next, p.pump(now))
		next = earlier(next, over)
		timer.Reset(until(next))
		accept := in
		if len(p.queue) >= maxUnanswered {
			accept = nil
		}
		select {
		case sl, ok := <-accept:
			if !ok {
				in = nil
				break
			}
			p.arrive(sl)
		case <-p.woken:
		case <-now.changed:
		case <-timer.C:
		case <-p.s.p.ctx.Done():
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func until(t time.Time) time.Duration {
	if t.IsZero() {
		return time.Hour
	}
	return max(time.Until(t), 0)
}

// arrive takes a request in.
func (p *producer) arrive(sl *slot) {
	req := sl.req.(*kmsg.ProduceRequest)
	r := &produceRequest{owner: p, slot: sl, req: req, deadline: sl.arrived.Add(p.s.p.cfg.Hold), silent: req.Acks == 0}
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			name := partitionName{topic: t.Topic, id: t.TopicID, partition: t.Partitions[j].Partition}
			l := p.lanes[name]
			if l == nil {
				l = &lane{name: name}
				p.lanes[name] = l
			}
			it := &item{request: r, topic: i, part: j, lane: l}
			it.describe()
			l.add(it)
			r.items = append(r.items, it)
			if it.batch.idempotent() {
				p.s.p.producers.arrive(it)
			}
		}
	}
	r.open, r.waiting = len(r.items), len(r.items)
	p.queue = append(p.queue, r)
	sl.produce = r
	if r.open == 0 {
		p.finish(r) // it names no partition; so does the answer
	}
}

// follow moves to the era of now, if that is another one: whatever is unanswered
// is put back, in arrival order, before anything is sent to it (I2).
func (p *producer) follow(now *situation) {
	if now.era == p.era || now.state != serving {
		return
	}
	old := p.era
	p.closeConns()
	p.era = now.era
	replayed := int64(0)
	for _, l := range p.lanes {
		l.inflight, l.alone, l.retryAt, l.backoff = 0, false, time.Time{}, 0
		l.failed = true // the first batch goes alone
		for _, it := range slices.Clone(l.items) {
			if p.putBack(it) {
				replayed++
			}
		}
	}
	for _, r := range p.queue {
		if r.slot.committed.Load() {
			continue
		}
		if r.open > 0 {
			r.slot.set(answer{}) // take back what was answered on a revoked word
		} else {
			p.finish(r)
		}
	}
	p.s.p.stats.replays.Add(replayed)
	if old != nil && replayed > 0 {
		p.s.log.Info("replaying unanswered batches", "api", "Produce", "batches", replayed, "cluster", p.era.cluster.name)
	}
}

// putBack makes an item ready for a new era. It says whether the item will be
// sent again.
func (p *producer) putBack(it *item) bool {
	it.settleToken()
	it.attempt, it.behind, it.unsure = nil, false, false
	r := it.request
	switch {
	case it.state == itemSent:
		it.state = itemWaiting
		r.waiting++
		return true
	case it.state == itemGivenUp:
		it.state = itemDone
		if r.slot.committed.Load() {
			p.unlane(it)
		}
	case it.state == itemDone && it.by != nil && !r.slot.committed.Load() && !it.by.returnable():
		if it.by.sameStay(p.era) {
			// A fence that was rolled back: what the cluster said of its own
			// log still holds.
			it.by = p.era
			return false
		}
		p.reopen(it)
		return true
	}
	return false
}

// collect takes in what happened since: upstream answers and written answers.
func (p *producer) collect() {
	p.mu.Lock()
	answers, written := p.answers, p.written
	p.answers, p.written = nil, nil
	p.mu.Unlock()
	for _, c := range answers {
		p.take(c)
	}
	for _, sl := range written {
		p.leave(sl.produce)
	}
}

// leave forgets a request that is answered, or whose client is gone.
func (p *producer) leave(r *produceRequest) {
	for _, it := range r.items {
		if it.batch.idempotent() {
			p.s.p.producers.leave(it)
		}
		if it.attempt == nil {
			p.unlane(it)
		}
	}
	for i, have := range p.queue {
		if have == r {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			break
		}
	}
}

func (p *producer) unlane(it *item) {
	it.lane.remove(it)
	if len(it.lane.items) == 0 && p.lanes[it.lane.name] == it.lane {
		delete(p.lanes, it.lane.name)
	}
}
