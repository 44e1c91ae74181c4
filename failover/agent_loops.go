package failover

import (
	"context"
	"errors"
	"time"
)

// watchLoop brings every change of the route. A watch that fails says nothing by
// itself; the read that follows it does.
func (a *Agent) watchLoop(ctx context.Context) {
	var version Version
	for ctx.Err() == nil {
		r, v, interrupted, err := a.watchOnce(ctx, version)
		switch {
		case err == nil:
			version = v
			a.send(ctx, func(m *Machine) { m.ObserveRoute(r, v) })
		case ctx.Err() != nil || interrupted:
		case errors.Is(err, ErrNoRoute):
			version = 0
			a.send(ctx, func(m *Machine) { m.ObserveNoRoute() })
			sleep(ctx, a.cfg.Timing.PollInterval)
		default:
			a.readRoute(ctx)
			sleep(ctx, a.cfg.Timing.PollInterval)
		}
	}
}

// watchOnce watches until rewatch: after a loss of the store a watch may hang on
// a dead connection.
func (a *Agent) watchOnce(ctx context.Context, version Version) (Route, Version, bool, error) {
	wctx, stop := context.WithCancel(ctx)
	defer stop()
	a.goes(func() {
		select {
		case <-a.rewatch:
			stop()
		case <-wctx.Done():
		}
	})
	r, v, err := a.cfg.Store.Watch(wctx, version)
	return r, v, wctx.Err() != nil, err
}

// lost tells the Machine, and the log once per loss.
func (a *Agent) lost(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	a.send(ctx, func(m *Machine) {
		if m.storeFound || m.storeError == "" {
			a.cfg.Logger.Warn("store lost: traffic goes on, nothing is decided", "error", err)
		}
		m.StoreLost(err.Error())
	})
}

func (a *Agent) found(ctx context.Context) {
	a.send(ctx, func(m *Machine) {
		if !m.storeFound && m.storeError != "" {
			a.cfg.Logger.Info("store found again")
		}
		m.StoreFound()
	})
}

// readRoute is one consistent read into the Machine.
func (a *Agent) readRoute(ctx context.Context) error {
	c, stop := a.bounded(ctx)
	defer stop()
	r, v, err := a.cfg.Store.Route(c)
	switch {
	case err == nil:
		a.send(ctx, func(m *Machine) { m.ObserveRoute(r, v) })
	case errors.Is(err, ErrNoRoute):
		a.send(ctx, func(m *Machine) { m.ObserveNoRoute() })
	default:
		a.lost(ctx, err)
		return err
	}
	return nil
}

// readLoop serves Ready.Read.
func (a *Agent) readLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.reread:
			a.readRoute(ctx)
		}
	}
}

// pollLoop reads the route (the watch may hang), the votes and the mirror's word.
// Only processes that could drive need them at once; the others show them.
func (a *Agent) pollLoop(ctx context.Context) {
	every := a.cfg.Timing.PollInterval
	if a.cfg.Mirror == nil {
		every *= 8
	}
	for {
		if a.poll(ctx) {
			a.found(ctx)
		}
		if !sleep(ctx, every) {
			return
		}
	}
}

func (a *Agent) poll(ctx context.Context) bool {
	if a.readRoute(ctx) != nil {
		return false
	}
	c, stop := a.bounded(ctx)
	defer stop()
	votes, err := a.cfg.Store.Votes(c)
	if err != nil {
		a.lost(ctx, err)
		return false
	}
	eligible := map[string]Eligibility{}
	if a.cfg.Mirror != nil {
		for _, t := range a.cfg.Clusters {
			eligible[t] = Eligibility{OK: true}
			if a.cfg.Eligible != nil {
				eligible[t] = a.cfg.Eligible(t)
			}
		}
	}
	return a.send(ctx, func(m *Machine) {
		for _, t := range a.cfg.Clusters {
			if e, ok := eligible[t]; ok {
				m.Eligible(t, e)
			}
		}
		m.ObserveVotes(votes)
	})
}

// probeLoop probes one cluster each ProbeInterval, counted from start to start.
func (a *Agent) probeLoop(ctx context.Context, cluster string) {
	for ctx.Err() == nil {
		begun := time.Now()
		c, stop := context.WithTimeout(ctx, a.cfg.Timing.ProbeTimeout)
		err := a.cfg.Prober.Probe(c, cluster)
		stop()
		if ctx.Err() != nil {
			return
		}
		var reason string
		var suspected bool
		if err != nil {
			reason = err.Error()
			if a.cfg.Suspicion != nil {
				var why string
				if suspected, why = a.cfg.Suspicion(cluster); suspected {
					reason += "; " + why
				}
			}
		}
		a.send(ctx, func(m *Machine) { m.Probed(cluster, err == nil, suspected, reason) })
		if !sleep(ctx, max(a.cfg.Timing.ProbeInterval-time.Since(begun), tickInterval)) {
			return
		}
	}
}

// registerLoop keeps this sidecar registered. The route is read after the
// registration can be seen, so whoever drives a switchover either waits for this
// sidecar, or has fenced it before it serves anybody.
func (a *Agent) registerLoop(ctx context.Context) error {
	registered := make(chan struct{}, 1)
	a.goes(func() {
		select {
		case <-ctx.Done():
			return
		case <-registered:
		}
		for a.readRoute(ctx) != nil {
			if !sleep(ctx, a.cfg.Timing.PollInterval) {
				return
			}
		}
		a.send(ctx, func(m *Machine) { m.Registered() })
	})
	err := a.cfg.Store.Register(ctx, a.cfg.ID, func() { poke(registered) })
	if ctx.Err() != nil {
		return nil
	}
	if err == nil {
		err = errors.New("the store ended the registration of this sidecar")
	}
	return err
}
