package proxy

import (
	"errors"
	"time"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// pump sends what may be sent and returns when to look again.
func (p *producer) pump(now *situation) (next time.Time) {
	e := p.era
	if e == nil || now.era != e || now.state == fenced && !e.returnable() {
		return next
	}
	when := time.Now()
	for _, r := range p.queue {
		if r.waiting == 0 || p.s.gone.Load() && !r.silent {
			continue
		}
		var targets []target
		for _, it := range r.items {
			if it.state != itemWaiting {
				continue
			}
			broker, ok := p.ready(it, when)
			if !ok {
				if it.state == itemWaiting && it.lane.retryAt.After(when) {
					next = earlier(next, it.lane.retryAt)
				}
				continue
			}
			targets = addTarget(targets, broker, it)
		}
		for _, t := range targets {
			p.send(r, t)
		}
	}
	return next
}

type target struct {
	broker int32
	items  []*item
}

func addTarget(targets []target, broker int32, it *item) []target {
	for i := range targets {
		if targets[i].broker == broker {
			targets[i].items = append(targets[i].items, it)
			return targets
		}
	}
	return append(targets, target{broker, []*item{it}})
}

// ready decides whether it may be sent now, and to which broker. It may also
// find its result without sending it.
func (p *producer) ready(it *item, now time.Time) (broker int32, ok bool) {
	l, e := it.lane, p.era
	if !l.turn(it) || l.retryAt.After(now) {
		return -1, false
	}
	proven := it.batch.idempotent()
	if proven {
		first := false
		if proven, first = p.s.p.producers.may(it, e); !first {
			return -1, false
		}
	}
	if l.inflight > 0 && (l.failed || l.alone || !proven) {
		return -1, false
	}
	view, meta := p.s.p.view(e)
	tp, known := it.tp(view)
	leader := int32(-1)
	if known {
		leader, known = meta.leader(tp.Topic, tp.Partition)
	}
	if !known {
		p.missing(it, meta, now)
		return -1, false
	}
	if leader < 0 {
		e.cluster.want()
		l.wait(now, maxBackoff)
		return -1, false
	}
	if l.inflight > 0 && l.broker != leader {
		return -1, false // it moved: what is out at the old leader comes first
	}
	if e.route.Tenure > 0 && it.lookedIn != e && !p.lookUp(it, tp, proven, now) {
		return -1, false
	}
	return leader, true
}

// missing handles a partition that the cluster does not have. A client may not
// see that of a topic which only this process does not know yet, so the
// metadata must be younger than the request.
func (p *producer) missing(it *item, meta *metadata, now time.Time) {
	if !meta.at.After(it.request.slot.arrived) {
		p.era.cluster.want()
		it.lane.wait(now, firstBackoff)
		return
	}
	code := codeUnknownTopicOrPartition
	if it.lane.name.topic == "" {
		code = codeUnknownTopicID
	}
	p.settle(it, failedPart(it, code), known, p.era)
}

// lookUp looks a batch up among the mirrored ones before it is written in a
// later tenure (I5). false: it is answered, or must wait.
func (p *producer) lookUp(it *item, tp logmap.TopicPartition, proven bool, now time.Time) bool {
	stamp, stamped, sealed := p.era.cluster.logMap.stampOf(tp, p.era.route.Tenure)
	if !sealed {
		it.lane.wait(now, maxBackoff)
		return false
	}
	if stamped && !proven && it.batch.idempotent() {
		if base, ok := p.era.cluster.logMap.mirrored(tp, it.batch, stamp.Cluster); ok {
			p.mirrored(it, base)
			return false
		}
	}
	it.lookedIn = p.era
	return true
}

// mirrored answers a batch that the log already holds.
func (p *producer) mirrored(it *item, base logmap.Logical) {
	p.s.p.stats.deduplicated.Add(1)
	part := failedPart(it, 0)
	part.BaseOffset = int64(base)
	p.settle(it, part, known, p.era)
}

// send sends items of one request to one broker, as far as the gate lets them;
// its change wakes the loop.
func (p *producer) send(r *produceRequest, t target) {
	items := t.items[:0:0]
	for _, it := range t.items {
		if it.token != nil || p.era.beginWrite(it.lane.owes(it)) {
			it.token = p.era
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return
	}
	view, meta := p.s.p.view(p.era)
	part := r.part(items)
	row := r.slot.row
	if err := row.Request(view, part); err != nil {
		code := codeUnknownServerError
		var refused *protocol.RefusedError
		if errors.As(err, &refused) {
			code = refused.Code
		}
		p.s.log.Warn("produce request refused", "api", "Produce", "reason", err)
		for _, it := range items {
			it.settleToken()
			p.settle(it, failedPart(it, code), known, nil)
		}
		return
	}
	c := &call{req: part, clientID: r.slot.head.ClientID, finish: p.finished, parts: items, view: view}
	for _, it := range items {
		it.state, it.attempt, it.behind = itemSent, c, false
		it.lane.inflight++
		it.lane.broker = t.broker
		it.lane.alone = it.lane.failed || !it.batch.idempotent() || !p.proven(it)
		r.waiting--
	}
	p.conn(t.broker, meta).do(c)
}

func (p *producer) proven(it *item) bool {
	proven, _ := p.s.p.producers.may(it, p.era)
	return proven
}

// finished runs on the connection's goroutine.
func (p *producer) finished(c *call) {
	p.mu.Lock()
	p.answers = append(p.answers, c)
	p.mu.Unlock()
	p.wake()
}

// answered runs on the writer's goroutine: the client has its answer.
func (p *producer) answered(sl *slot) {
	p.mu.Lock()
	p.written = append(p.written, sl)
	p.mu.Unlock()
	p.wake()
}

// conn is the connection to a broker, made if need be.
func (p *producer) conn(broker int32, meta *metadata) *upstream {
	u := p.conns[broker]
	if u == nil || u.broken() || u.addr != meta.addrs[broker] {
		if u != nil {
			u.fail(errSessionOver)
		}
		p.connWG.Add(1)
		u = p.era.dial(broker, meta.addrs[broker], p.s.p.patience(), p.connWG.Done)
		p.conns[broker] = u
	}
	return u
}

func (p *producer) closeConns() {
	for broker, u := range p.conns {
		u.fail(errSessionOver)
		delete(p.conns, broker)
	}
}
