package failover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// tickInterval is the resolution of the Machine's timers.
const tickInterval = 50 * time.Millisecond

// Agent runs a Machine: it reads the store into it and has its effects done.
// One goroutine (Run's) owns the Machine; every other one sends it inputs.
// Switchover, ManualFailover, Abort, Resume, Forget, Route and Status are safe
// for concurrent use while Run runs.
type Agent struct {
	cfg   Config
	m     *Machine
	start time.Time
	// inputs is unbuffered: an input is in the Machine, or its sender waits.
	inputs chan func(*Machine)

	group  sync.WaitGroup // every goroutine that Run started
	follow slot
	step   slot
	votes  voteWriter
	// collecting is the epoch whose acks are being read, stopCollect ends that.
	collecting  int64
	stopCollect context.CancelFunc
	rewatch     chan struct{} // ends the running Watch: the store was lost meanwhile
	reread      chan struct{}
	answers     map[uint64]chan Answer // owned by Run's goroutine
	lastCommand uint64

	mu      sync.Mutex
	running bool
	status  Status
}

func newAgent(c Config) *Agent {
	return &Agent{
		cfg: c, inputs: make(chan func(*Machine)), rewatch: make(chan struct{}, 1), reread: make(chan struct{}, 1),
		answers: map[uint64]chan Answer{}, votes: newVoteWriter(),
	}
}

// Run blocks until ctx ends (nil) or this process must stop serving (ErrReplaced).
// End ctx only after the proxy has stopped: with it the registration goes, and
// switchovers no longer wait for this sidecar. An Agent runs once.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	if a.running {
		a.mu.Unlock()
		return errors.New("failover: an Agent runs once")
	}
	a.running = true
	a.mu.Unlock()
	a.start = time.Now()
	mc := a.cfg.machine()
	mc.Start, mc.Beat = a.start, uint64(a.start.UnixNano())
	m, err := NewMachine(mc)
	if err != nil {
		return err
	}
	a.m = m
	ctx, cancel := context.WithCancelCause(ctx)
	defer a.group.Wait()
	defer cancel(nil)

	a.goes(func() { a.watchLoop(ctx) })
	a.goes(func() { a.pollLoop(ctx) })
	a.goes(func() { a.readLoop(ctx) })
	a.goes(func() { a.voteLoop(ctx) })
	if a.cfg.Prober != nil {
		for _, c := range a.cfg.Clusters {
			a.goes(func() { a.probeLoop(ctx, c) })
		}
	}
	if a.cfg.Follower != nil {
		a.goes(func() {
			if err := a.registerLoop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	a.loop(ctx)
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("failover agent %s: %w", a.cfg.ID, err)
	}
	return nil
}

func (a *Agent) goes(f func()) { a.group.Go(f) }

func (a *Agent) loop(ctx context.Context) {
	tick := time.NewTicker(tickInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			for _, c := range a.answers {
				close(c)
			}
			a.answers = nil
			return
		case <-tick.C:
			a.m.Tick(time.Since(a.start))
		case f := <-a.inputs:
			a.m.Tick(time.Since(a.start))
			a.do(ctx, a.m.Ready())
			f(a.m)
		}
		a.do(ctx, a.m.Ready())
		a.publish()
	}
}

// send gives the Machine an input; false: ctx ended first.
func (a *Agent) send(ctx context.Context, f func(*Machine)) bool {
	select {
	case a.inputs <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// do begins the effects of one Ready, in the order of its fields. It never blocks.
func (a *Agent) do(ctx context.Context, r Ready) {
	for _, route := range r.Routes {
		a.cfg.Logger.Info("route", "epoch", route.Epoch, "tenure", route.Tenure, "state", string(route.State),
			"active", route.Active, "target", route.Target, "driver", route.Driver, "reason", route.Reason)
		if a.cfg.OnRoute != nil {
			a.cfg.OnRoute(route)
		}
	}
	if r.CancelStep {
		a.step.cancel()
	}
	if r.Follow != nil {
		a.beginFollow(ctx, *r.Follow)
	}
	if r.Update != nil {
		a.goes(func() { a.update(ctx, *r.Update) })
	}
	if r.Read {
		poke(a.reread)
		poke(a.rewatch)
	}
	if r.Acknowledge != nil {
		a.goes(func() { a.acknowledge(ctx, *r.Acknowledge) })
	}
	a.votes.put(r.Votes)
	if r.Run != nil {
		a.beginStep(ctx, *r.Run)
	}
	for _, rep := range r.Reports {
		a.report(rep)
	}
	for _, ans := range r.Answers {
		if c := a.answers[ans.ID]; c != nil {
			c <- ans
			delete(a.answers, ans.ID)
		}
	}
	a.collect(ctx, r.Collect)
}

func (a *Agent) report(r Report) {
	a.cfg.Logger.Info("cutover", "epoch", r.Epoch, "from", r.From, "to", r.To, "planned", r.Planned, "outcome", string(r.Outcome),
		"cause", r.Cause, "reason", r.Reason, "pause", r.Pause(), "missing", r.Missing, "jump", r.Jump, "partitions", len(r.Partitions))
	if a.cfg.OnReport != nil {
		a.cfg.OnReport(r)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.status.Reports = append(a.status.Reports, r)
	if n := len(a.status.Reports); n > maxReports {
		a.status.Reports = append([]Report(nil), a.status.Reports[n-maxReports:]...)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
