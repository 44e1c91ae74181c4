package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// Mirror mirrors between the configured clusters, one link at a time. Its
// methods are safe for concurrent use.
type Mirror struct {
	cfg      Config
	clusters map[string]*cluster

	mu         sync.Mutex
	running    *running
	sealed     *sealed
	last       []PartitionState
	lastKnown  bool
	lastSource string
	closed     bool
}

// running is the link that Run runs.
type running struct {
	*link
	ended chan struct{}
}

// New connects lazily: an unreachable cluster is no error here.
func New(cfg Config) (*Mirror, error) {
	if cfg.VirtualCluster == "" {
		return nil, errors.New("the virtual cluster has no name")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.Discover, time.Second)
	def(&cfg.GroupInterval, 250*time.Millisecond)
	if cfg.Slots <= 0 {
		cfg.Slots = logmap.Slots
	}
	if cfg.FetchBytes <= 0 {
		cfg.FetchBytes = 1 << 20
	}
	switch cfg.OrphanTail {
	case "":
		cfg.OrphanTail = OrphanTailStop
	case OrphanTailStop, OrphanTailDead:
	default:
		return nil, fmt.Errorf("the orphan tail policy is %q; %q and %q are known", cfg.OrphanTail, OrphanTailStop, OrphanTailDead)
	}
	m := &Mirror{cfg: cfg, clusters: make(map[string]*cluster)}
	for name := range cfg.Clusters {
		c, err := newCluster(cfg, name)
		if err != nil {
			m.Close()
			return nil, err
		}
		m.clusters[name] = c
	}
	return m, nil
}

// Close ends what runs and closes the connections. It may be called twice.
func (m *Mirror) Close() {
	m.mu.Lock()
	first, r := !m.closed, m.running
	m.closed = true
	m.mu.Unlock()
	if r != nil {
		r.cancel(errEnded)
		<-r.ended
	}
	if first {
		for _, c := range m.clusters {
			c.close()
		}
	}
}

func (m *Mirror) cluster(name string) (*cluster, error) {
	c := m.clusters[name]
	if c == nil {
		return nil, fmt.Errorf("cluster %q is not configured", name)
	}
	return c, nil
}

// EnsureMap creates the map topic on a cluster if it is not there.
func (m *Mirror) EnsureMap(ctx context.Context, name string) error {
	c, err := m.cluster(name)
	if err != nil {
		return err
	}
	return c.ensureMap(ctx, m.cfg.Slots)
}

// Run mirrors l until ctx ends, and returns ctx's error; or until it must not go
// on: ErrHigherEpoch when the target's role record is of a higher route epoch, or
// Seal has sealed the target from here. Losses of either cluster are borne. Only
// one link runs at a time.
func (m *Mirror) Run(ctx context.Context, l Link) error {
	src, err := m.cluster(l.Source)
	if err != nil {
		return err
	}
	dst, err := m.cluster(l.Target)
	if err != nil {
		return err
	}
	m.mu.Lock()
	if m.running != nil || m.closed {
		m.mu.Unlock()
		return errors.New("a link runs already, or the mirror is closed")
	}
	r := &running{m.newLink(ctx, l, src, dst), make(chan struct{})}
	m.running, m.sealed = r, nil
	if m.lastSource != l.Source {
		// What was known of the other direction says nothing of this one.
		m.last, m.lastKnown, m.lastSource = nil, false, l.Source
	}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.running = nil
		m.mu.Unlock()
		r.cancel(errEnded)
		close(r.ended)
	}()
	for attempt := 1; ; attempt++ {
		err := dst.ensureMap(r.ctx, m.cfg.Slots)
		if err == nil {
			break
		}
		r.log.Warn("the target's map is not ready; trying again", "attempt", attempt, "err", err)
		if err := sleep(r.ctx, backoff(attempt)); err != nil {
			return err
		}
	}
	return r.run()
}

// Drain returns once the target holds every record and group offset that the
// source held when it was called. A partition that is stopped makes it an error
// that names it.
func (m *Mirror) Drain(ctx context.Context) error {
	m.mu.Lock()
	r := m.running
	m.mu.Unlock()
	if r == nil {
		return errors.New("draining: no link runs")
	}
	for {
		err := r.drain(ctx)
		if !errors.Is(err, errSlotLost) || ctx.Err() != nil {
			return err
		}
	}
}

// Status is the standing of every partition of the link that runs, or as it was
// last known in this direction.
func (m *Mirror) Status() []PartitionState {
	now, _ := m.Standing()
	return now
}

// Standing is Status, and whether anything is known: not before a link of this
// direction has looked at both clusters once. Nothing known is not "no partitions".
func (m *Mirror) Standing() (now []PartitionState, known bool) {
	m.mu.Lock()
	r := m.running
	m.mu.Unlock()
	// A link that is still looking for its clusters has no loop to ask.
	if r != nil && r.looping.Load() {
		var states []PartitionState
		var found bool
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if r.call(ctx, func() { states, found = r.status(), r.found }) == nil && found {
			m.mu.Lock()
			if m.running == r {
				m.last, m.lastKnown = states, true
			}
			m.mu.Unlock()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]PartitionState(nil), m.last...), m.lastKnown
}

func (l *link) status() []PartitionState {
	out := make([]PartitionState, 0, len(l.parts))
	for tp, p := range l.parts {
		s := PartitionState{TopicPartition: tp, State: p.state, Reason: p.reason, Position: p.position, End: max(p.hw, p.position),
			Records: p.records, Bytes: p.copied, CaughtUp: p.caughtUp}
		if s.State == stateMirroring && p.hw < 0 {
			s.State = stateStarting // until a fetch has told the source's end, the lag is not known
		}
		if p.refused {
			s.State = stateStopped
		}
		out = append(out, s)
	}
	return out
}
