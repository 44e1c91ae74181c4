package failover

import (
	"context"
	"sync"
	"time"
)

// slot runs one thing at a time: a newer one cancels the older and begins when
// that has returned. Owned by Run's goroutine.
type slot struct {
	stop context.CancelFunc
	done chan struct{}
}

func (s *slot) cancel() {
	if s.stop != nil {
		s.stop()
	}
}

func (s *slot) begin(ctx context.Context, a *Agent, f func(context.Context)) {
	s.cancel()
	before := s.done
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	s.stop, s.done = stop, done
	a.goes(func() {
		defer stop()
		defer close(done)
		if before != nil {
			<-before
		}
		f(ctx)
	})
}

func (a *Agent) beginFollow(ctx context.Context, f Follow) {
	a.follow.begin(ctx, a, func(fctx context.Context) {
		if fctx.Err() != nil {
			return
		}
		var exposed []Exposed
		var err error
		if f.Serve {
			err = a.cfg.Follower.Serve(fctx, f.Route)
		} else {
			exposed, err = a.cfg.Follower.Fence(fctx, f.Route)
		}
		if err != nil && fctx.Err() == nil {
			a.cfg.Logger.Warn("proxy does not follow the route yet", "epoch", f.Route.Epoch, "serve", f.Serve, "error", err)
		}
		a.send(ctx, func(m *Machine) { m.Followed(f.Route.Epoch, f.Serve, exposed, err) })
	})
}

func (a *Agent) beginStep(ctx context.Context, s Step) {
	a.step.begin(ctx, a, func(sctx context.Context) {
		sctx, stop := context.WithTimeout(sctx, s.Timeout)
		defer stop()
		var res StampResult
		err := sctx.Err()
		if err == nil {
			switch s.Name {
			case Drain:
				err = a.cfg.Mirror.Drain(sctx, s.Route)
			case Seal:
				err = a.cfg.Mirror.Seal(sctx, s.Route)
			case Stamp:
				res, err = a.cfg.Mirror.Stamp(sctx, s.Route, s.Exposed, s.Jump)
			}
		}
		if err != nil {
			a.cfg.Logger.Warn("cutover step", "step", string(s.Name), "epoch", s.Route.Epoch, "attempt", s.Attempt, "error", err)
		}
		a.send(ctx, func(m *Machine) { m.StepFinished(s.Route.Epoch, s.Name, s.Attempt, res, err) })
	})
}

// bounded is the context of one call to the store.
func (a *Agent) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, a.cfg.Timing.StoreTimeout)
}

func (a *Agent) update(ctx context.Context, u Update) {
	c, stop := a.bounded(ctx)
	v, err := a.cfg.Store.Update(c, u.Version, u.Route)
	stop()
	a.send(ctx, func(m *Machine) { m.Updated(v, err) })
}

func (a *Agent) acknowledge(ctx context.Context, ack Ack) {
	c, stop := a.bounded(ctx)
	err := a.cfg.Store.Acknowledge(c, ack)
	stop()
	if err != nil {
		a.cfg.Logger.Warn("acknowledge", "epoch", ack.Epoch, "error", err)
	}
	a.send(ctx, func(m *Machine) { m.Acknowledged(ack.Epoch, err) })
}

// collectInterval is how often a driver looks for acks: it is part of the pause.
const collectInterval = 25 * time.Millisecond

// collect keeps the reading of sidecars and acks at the wanted epoch (0: none).
func (a *Agent) collect(ctx context.Context, epoch int64) {
	if epoch == a.collecting {
		return
	}
	if a.stopCollect != nil {
		a.stopCollect()
		a.stopCollect = nil
	}
	if a.collecting = epoch; epoch == 0 {
		return
	}
	cctx, stop := context.WithCancel(ctx)
	a.stopCollect = stop
	a.goes(func() {
		defer stop()
		for {
			a.collectOnce(cctx, epoch)
			if !sleep(cctx, collectInterval) {
				return
			}
		}
	})
}

func (a *Agent) collectOnce(ctx context.Context, epoch int64) {
	c, stop := a.bounded(ctx)
	defer stop()
	sidecars, err := a.cfg.Store.Sidecars(c)
	if err != nil {
		return // the machine's own time limit judges
	}
	acks, err := a.cfg.Store.Acks(c, epoch)
	if err != nil {
		return
	}
	a.send(ctx, func(m *Machine) { m.ObserveAcks(epoch, sidecars, acks) })
}

// voteWriter keeps the newest unwritten vote per cluster.
type voteWriter struct {
	mu     *sync.Mutex
	votes  map[string]Vote
	signal chan struct{}
}

func newVoteWriter() voteWriter {
	return voteWriter{mu: &sync.Mutex{}, votes: map[string]Vote{}, signal: make(chan struct{}, 1)}
}

func (w *voteWriter) put(votes []Vote) {
	if len(votes) == 0 {
		return
	}
	w.mu.Lock()
	for _, v := range votes {
		w.votes[v.Cluster] = v
	}
	w.mu.Unlock()
	poke(w.signal)
}

func (w *voteWriter) take() (Vote, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c, v := range w.votes {
		delete(w.votes, c)
		return v, true
	}
	return Vote{}, false
}

// voteLoop writes votes. One that could not be written is replaced by the next
// beat: a late accusation would look fresh to its readers.
func (a *Agent) voteLoop(ctx context.Context) {
	failing := false // logged once per loss
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.votes.signal:
		}
		for v, ok := a.votes.take(); ok; v, ok = a.votes.take() {
			c, stop := a.bounded(ctx)
			err := a.cfg.Store.Vote(c, v)
			stop()
			if err != nil && !failing && ctx.Err() == nil {
				a.cfg.Logger.Warn("this observer's votes cannot be written", "cluster", v.Cluster, "error", err)
			}
			failing = err != nil
		}
	}
}

// sleep waits; false: ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
