package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// The gate decides, for all sessions, whether a write may be sent and whether an
// answer may be returned. Its invariants, on which a cutover stands:
//
//	G1  No write is sent to an era's cluster unless beginWrite said yes, and it
//	    says yes to no new write once the era is shut.
//	G2  No answer of an era is returned to a client unless commit said yes, and it
//	    says yes to none once the era is revoked. What commit said yes to was
//	    noted as exposed before.
//	G3  A planned fence ends only when every write that beginWrite allowed has a
//	    known outcome.
//
// beginWrite and commit read under gate.mu; a fence changes under its write
// lock. So when a fence has the lock once, both answers hold for every session.
type gate struct {
	mu  sync.RWMutex
	now atomic.Pointer[situation]
}

// situation is where the route stands. It is replaced as a whole.
type situation struct {
	state standing
	// era is who serves, or served last; nil before the first Serve.
	era *era
	// changed is closed when the situation is replaced.
	changed chan struct{}
	since   time.Time
}

type standing uint8

const (
	// waiting: nothing was ever served; every request is held.
	waiting standing = iota
	serving
	// fenced: no new writes. The era may still finish what it began (planned)
	// or is revoked.
	fenced
)

// worth is what an era's answers are worth.
type worth uint8

const (
	// live: the era serves; its answers may be returned.
	live worth = iota
	// ended: it finished all writes before the next era began, so its answers
	// stay true; nothing more is sent.
	ended
	// revoked: its answers may no longer be returned.
	revoked
)

// era is one stretch of service by one cluster under one route. All connections
// of sessions to the cluster belong to an era and end with it.
type era struct {
	route   Route
	cluster *cluster
	gate    *gate
	// ctx ends with the era.
	ctx    context.Context
	cancel context.CancelFunc

	worth   worth // guarded by gate.mu
	shut    bool  // guarded by gate.mu: no new writes
	drained bool  // guarded by gate.mu: a planned fence ended well

	// writes counts writes whose outcome is not known; drain is signalled when
	// it falls to 0.
	writes atomic.Int64
	drain  chan struct{}

	mu    sync.Mutex
	conns map[*upstream]struct{}

	views viewCache
}

func newEra(g *gate, r Route, c *cluster) *era {
	ctx, cancel := context.WithCancel(context.Background())
	return &era{
		route: r, cluster: c, gate: g, ctx: ctx, cancel: cancel,
		drain: make(chan struct{}, 1), conns: make(map[*upstream]struct{}),
	}
}

// beginWrite asks to send a write. resolving says that the write repeats one
// whose outcome is not known (or must precede one in its partition): a planned
// fence waits for those and lets them pass.
func (e *era) beginWrite(resolving bool) bool {
	e.gate.mu.RLock()
	defer e.gate.mu.RUnlock()
	if e.worth != live || e.shut && !resolving {
		return false
	}
	e.writes.Add(1)
	return true
}

// endWrite says that the outcome of a write is known, or that nobody is left
// who could be told.
func (e *era) endWrite() {
	if e.writes.Add(-1) == 0 {
		select {
		case e.drain <- struct{}{}:
		default:
		}
	}
}

// returnable says whether e's answers may still reach clients.
func (e *era) returnable() bool {
	e.gate.mu.RLock()
	defer e.gate.mu.RUnlock()
	return e.worth != revoked
}

// sameStay says whether o is the same stay of the active role: what one of the
// two was told by the cluster holds for the other.
func (e *era) sameStay(o *era) bool {
	return e.route.Active == o.route.Active && e.route.Tenure == o.route.Tenure
}

// commit decides, once and for all, that an answer goes out, unless one of its
// eras is revoked. note runs before the decision is visible to a fence.
func (g *gate) commit(eras []*era, note func()) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, e := range eras {
		if e.worth == revoked {
			return false
		}
	}
	note()
	return true
}

// replace makes a situation the current one. The caller holds g.mu.
func (g *gate) replace(state standing, e *era) {
	old := g.now.Load()
	g.now.Store(&situation{state: state, era: e, changed: make(chan struct{}), since: time.Now()})
	if old != nil {
		close(old.changed)
	}
}

// shutWrites begins a planned fence.
func (g *gate) shutWrites(e *era) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e.shut = true
	if now := g.now.Load(); now.state != fenced {
		g.replace(fenced, e)
	}
}

// close ends an era for sending. as is ended or revoked; an era that has ended
// can still be revoked.
func (g *gate) close(e *era, as worth) {
	g.mu.Lock()
	e.shut, e.worth = true, max(e.worth, as)
	if now := g.now.Load(); now.state != fenced {
		g.replace(fenced, e)
	}
	g.mu.Unlock()
	e.cancel()
	e.closeConns()
}

// errEraOver ends what waits on an era's connections.
var errEraOver = errors.New("the route moved away from this cluster")

func (e *era) closeConns() {
	e.mu.Lock()
	conns := make([]*upstream, 0, len(e.conns))
	for u := range e.conns {
		conns = append(conns, u)
	}
	e.mu.Unlock()
	for _, u := range conns {
		u.fail(errEraOver)
	}
}

// drained waits until every write of a shut era has a known outcome.
func (e *era) waitDrained(ctx context.Context) error {
	for e.writes.Load() > 0 {
		select {
		case <-e.drain:
		case <-ctx.Done():
			return fmt.Errorf("%d writes to %s have no known outcome yet: %w", e.writes.Load(), e.cluster.name, ctx.Err())
		}
	}
	return nil
}

// Fence stops writes to r.Active. Planned: it returns once the outcome of every
// write is known; if ctx ends first the gate stays shut and the error says how
// many are out. Unplanned: the connections to the old active are closed first,
// and no answer of it is returned any more. Repeatable; Serve ends it. The
// result is, for every partition, the first logical offset that no client of
// this process, or of an earlier one of this sidecar, was shown. An unplanned
// fence that cannot tell fences all the same, and returns an error.
func (p *Proxy) Fence(ctx context.Context, r Route, planned bool) ([]Exposed, error) {
	if err := p.lockRoute(ctx); err != nil {
		return nil, fmt.Errorf("fencing %s: %w", r.Active, err)
	}
	defer p.unlockRoute()
	now := p.gate.now.Load()
	switch {
	case now.era == nil:
		// Nothing was ever sent anywhere.
	case planned && now.era.route.Active == r.Active && now.era.route.Tenure == r.Tenure && now.era.returnable():
		p.gate.shutWrites(now.era)
		if err := now.era.waitDrained(ctx); err != nil {
			return nil, fmt.Errorf("planned fence of %s: %w", r.Active, err)
		}
		p.gate.mu.Lock()
		now.era.drained = true
		p.gate.mu.Unlock()
	default:
		p.gate.close(now.era, revoked)
		if err := p.floors.unknown(); err != nil {
			return nil, fmt.Errorf("unplanned fence of %s: %w; writes are stopped, and the failover goes on without this process' floors", r.Active, err)
		}
	}
	p.log.Info("fenced", "cluster", r.Active, "epoch", r.Epoch, "planned", planned)
	return p.exposed.snapshot(), nil
}

// Serve lets requests flow to r.Active: it waits until the log map was read up
// to r.Positions and the cluster's metadata is known, then opens the gate; the
// sessions replay what they hold, each in arrival order, before anything newer.
// It also ends a fence that was rolled back (same active and tenure).
// Repeatable.
func (p *Proxy) Serve(ctx context.Context, r Route) error {
	c := p.clusters[r.Active]
	if c == nil {
		return fmt.Errorf("serving %q: it is not one of this process' clusters (%s); check the route and the configuration", r.Active, p.names())
	}
	if err := p.lockRoute(ctx); err != nil {
		return fmt.Errorf("serving %s: %w", r.Active, err)
	}
	defer p.unlockRoute()
	now := p.gate.now.Load()
	if e := now.era; e != nil {
		same := e.route.Active == r.Active && e.route.Tenure == r.Tenure
		if same && p.reopen(e, r) {
			return nil
		}
		if !same {
			if now.state != fenced {
				// No fence was seen: whatever is out has an unknown fate.
				p.log.Warn("the route moved without a fence", "cluster", e.route.Active, "to", r.Active, "epoch", r.Epoch)
			}
			p.endEra(e)
		}
	}
	if err := c.logMap.waitFor(ctx, r.Positions); err != nil {
		return fmt.Errorf("serving %s: %w", r.Active, err)
	}
	if err := c.waitKnown(ctx); err != nil {
		return fmt.Errorf("serving %s: %w", r.Active, err)
	}
	p.learnFloors(ctx, c)
	p.openNodes()
	e := newEra(&p.gate, r, c)
	p.gate.mu.Lock()
	p.gate.replace(serving, e)
	p.gate.mu.Unlock()
	p.moved(e)
	p.log.Info("serving", "cluster", r.Active, "epoch", r.Epoch, "tenure", r.Tenure)
	return nil
}

// moved clears up on the clusters that no longer serve.
func (p *Proxy) moved(e *era) {
	for _, name := range p.groups.depart(e) {
		c := p.clusters[name]
		if c == nil || c == e.cluster || p.ctx.Err() != nil {
			continue
		}
		p.background(func() { p.layGhosts(c) })
	}
}

// reopen serves on with an era that is still whole.
func (p *Proxy) reopen(e *era, r Route) bool {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if e.worth != live {
		return false
	}
	e.shut, e.drained = false, false
	if p.gate.now.Load().state != serving {
		p.gate.replace(serving, e)
	}
	return true
}

// endEra closes an era for another one. Its answers stay true only if a planned
// fence of it ended well: then nothing was left unknown and everything it
// answered was drained.
func (p *Proxy) endEra(e *era) {
	p.gate.mu.RLock()
	as := revoked
	if e.drained && e.worth == live {
		as = ended
	}
	p.gate.mu.RUnlock()
	p.gate.close(e, as)
}

// lockRoute makes Fence and Serve one at a time.
func (p *Proxy) lockRoute(ctx context.Context) error {
	select {
	case p.routing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("another change of the route is under way: %w", ctx.Err())
	}
}

func (p *Proxy) unlockRoute() { <-p.routing }
