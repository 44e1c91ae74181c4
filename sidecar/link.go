package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/mirror"
	"github.com/catamaran-io/catamaran/protocol"
)

// runner mirrors in one direction until ctx ends (*mirror.Mirror).
type runner interface {
	Run(ctx context.Context, l mirror.Link) error
}

// link runs the mirror in the direction that the route asks for: from the active
// cluster to the other one while clients are served, and on through the fence of
// a cutover (a switchover drains with it; a failover saves what can still be
// read) until the target is sealed. Then it stops, and starts again the other
// way round once the route serves.
type link struct {
	run     runner
	sever   func() // drops the mirror's connections
	standby func(active string) string
	logger  *slog.Logger

	mu      sync.Mutex
	route   failover.Route // newest
	current *mirror.Link   // that runs
	last    mirror.Link    // that ran last
	ran     bool
	problem string
	changed chan struct{} // closed and replaced when anything above changes
}

func newLink(run runner, sever func(), standby func(string) string, logger *slog.Logger) *link {
	return &link{run: run, sever: sever, standby: standby, logger: logger, problem: "no route is known yet", changed: make(chan struct{})}
}

// follow takes a newer route. It does not block.
func (l *link) follow(r failover.Route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Epoch >= l.route.Epoch {
		l.route = r
		l.changedLocked()
	}
}

func (l *link) changedLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// wanted is the link to begin under r.
func (l *link) wanted(r failover.Route) (mirror.Link, string) {
	switch r.State {
	case failover.Serving, failover.Suspect:
		return mirror.Link{Source: r.Active, Target: l.standby(r.Active), Epoch: r.Epoch, Tenure: protocol.Tenure(r.Tenure)}, ""
	case "":
		return mirror.Link{}, "no route is known yet"
	}
	return mirror.Link{}, fmt.Sprintf("the route is %s", r.State)
}

// keeps says whether a running link goes on under r. One that was not running
// when the fence began is not started for it: its epoch would be the cutover's.
func (l *link) keeps(running mirror.Link, r failover.Route) bool {
	if r.State == failover.Fencing {
		return r.Active == running.Source
	}
	want, _ := l.wanted(r)
	return want == running
}

// Backoff of a link that failed.
const (
	linkBackoffMin = 200 * time.Millisecond
	linkBackoffMax = 3 * time.Second
)

// Run blocks until ctx ends; the mirror has stopped then.
func (l *link) Run(ctx context.Context) {
	backoff := linkBackoffMin
	for ctx.Err() == nil {
		l.mu.Lock()
		route, changed := l.route, l.changed
		l.mu.Unlock()
		want, why := l.wanted(route)
		if why != "" {
			l.set(nil, why)
			wait(ctx, changed, 0)
			continue
		}
		begun := time.Now()
		err := l.one(ctx, want)
		if err == nil {
			backoff = linkBackoffMin
			continue
		}
		if time.Since(begun) > 2*linkBackoffMax {
			backoff = linkBackoffMin
		}
		l.logger.Warn("mirroring stopped", "link", want.Source+"→"+want.Target, "epoch", want.Epoch, "error", err, "retry", backoff)
		l.mu.Lock()
		changed = l.changed
		l.mu.Unlock()
		if errors.Is(err, mirror.ErrHigherEpoch) && l.sameRoute(route) {
			// Somebody acts under a newer route, which will be here soon.
			wait(ctx, changed, linkBackoffMax)
			continue
		}
		wait(ctx, changed, backoff)
		backoff = min(2*backoff, linkBackoffMax)
	}
}

func (l *link) sameRoute(r failover.Route) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.route.Epoch == r.Epoch
}

// one runs a link until the route no longer keeps it (nil) or it fails.
func (l *link) one(ctx context.Context, want mirror.Link) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l.set(&want, "")
	l.logger.Info("mirroring", "link", want.Source+"→"+want.Target, "epoch", want.Epoch)
	done := make(chan error, 1)
	go func() { done <- l.run.Run(ctx, want) }()
	for {
		l.mu.Lock()
		route, changed := l.route, l.changed
		l.mu.Unlock()
		if !l.keeps(want, route) {
			cancel()
			l.ended(done)
			l.set(nil, fmt.Sprintf("the route is %s", route.State))
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			l.ended(done)
			l.set(nil, "the process is stopping")
			return nil
		case err := <-done:
			if err == nil {
				err = errors.New("the mirror ended by itself")
			}
			l.set(nil, err.Error())
			return err
		}
	}
}

// stopGrace is how long a link may take to stop before its connections are
// dropped, again and again.
const stopGrace = 200 * time.Millisecond

// ended waits for the end of a run whose context is over.
func (l *link) ended(done <-chan error) {
	tick := time.NewTicker(stopGrace)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			l.sever()
		}
	}
}

func (l *link) set(running *mirror.Link, problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if running == l.current && problem == l.problem {
		return
	}
	l.current, l.problem = running, problem
	if running != nil {
		l.last, l.ran = *running, true
	}
	l.changedLocked()
}

// quiet returns once no link runs under r, which must not keep one.
func (l *link) quiet(ctx context.Context, r failover.Route) error {
	l.follow(r)
	for {
		l.mu.Lock()
		running, changed := l.current != nil, l.changed
		l.mu.Unlock()
		if !running {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the mirror of this process to stop: %w", ctx.Err())
		}
	}
}

// state is the link that runs or ran last, and why it does not run.
func (l *link) state() (last mirror.Link, ran, running bool, problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last, l.ran, l.current != nil, l.problem
}

// wait returns when c is closed, after d (0: never) or with ctx.
func wait(ctx context.Context, c <-chan struct{}, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-ctx.Done():
	case <-c:
	case <-timeout:
	}
}
