package failover_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/failover/local"
)

// cast is what the agents of one test share: a store, two clusters, and a record
// of who does what. Everything runs in virtual time.
type cast struct {
	t     *testing.T
	store *local.Store

	mu      sync.Mutex
	down    map[string]string // cluster → "refuses" or "hangs"
	serving map[string]failover.Route
	steps   []string
	onStep  func(agent, step string, r failover.Route)
	blocked map[string]bool // agents whose Fence hangs
	agents  map[string]*failover.Agent
	crash   map[string]func()
	reports map[string][]failover.Report
}

func newCast(t *testing.T) *cast {
	return &cast{t: t, store: local.New(), down: map[string]string{}, serving: map[string]failover.Route{}, blocked: map[string]bool{},
		agents: map[string]*failover.Agent{}, crash: map[string]func(){}, reports: map[string][]failover.Report{}}
}

// mortal is a store as seen by a process that can crash: from then on its calls
// fail, and nobody takes its registration back.
type mortal struct {
	*local.Store
	ctx  context.Context // of the test: a registration outlives its process
	mu   sync.Mutex
	dead bool
}

var errDead = errors.New("this process has crashed")

func (s *mortal) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

func (s *mortal) die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

func (s *mortal) Update(ctx context.Context, v failover.Version, r failover.Route) (failover.Version, error) {
	if s.gone() {
		return 0, errDead
	}
	return s.Store.Update(ctx, v, r)
}

func (s *mortal) Acknowledge(ctx context.Context, a failover.Ack) error {
	if s.gone() {
		return errDead
	}
	return s.Store.Acknowledge(ctx, a)
}

func (s *mortal) Register(ctx context.Context, id string, registered func()) error {
	own, stop := context.WithCancel(s.ctx)
	ended := make(chan error, 1)
	go func() {
		defer stop()
		ended <- s.Store.Register(own, id, registered)
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	if s.gone() {
		return ctx.Err() // and the registration stays until the test ends
	}
	stop()
	return <-ended
}

type proxy struct {
	c  *cast
	id string
}

func (p proxy) Fence(ctx context.Context, r failover.Route) ([]failover.Exposed, error) {
	p.c.mu.Lock()
	hangs := p.c.blocked[p.id]
	p.c.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if err := pause(ctx, 10*time.Millisecond); err != nil {
		return nil, err
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	delete(p.c.serving, p.id)
	return []failover.Exposed{{TopicPartition: failover.TopicPartition{Topic: "t"}, Next: r.Epoch}}, nil
}

func (p proxy) Serve(ctx context.Context, r failover.Route) error {
	if err := pause(ctx, 10*time.Millisecond); err != nil {
		return err
	}
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.serving[p.id] = r
	return nil
}

type mirror struct {
	c  *cast
	id string
}

func (m mirror) step(ctx context.Context, name string, r failover.Route) error {
	m.c.mu.Lock()
	m.c.steps = append(m.c.steps, fmt.Sprintf("%s %s %d", m.id, name, r.Epoch))
	if r.Planned {
		for id, s := range m.c.serving {
			if s.Epoch < r.Epoch {
				m.c.t.Errorf("%s begins %s for the switchover of epoch %d while %s serves %s", m.id, name, r.Epoch, id, s.Active)
			}
		}
	}
	hook := m.c.onStep
	m.c.mu.Unlock()
	if hook != nil {
		hook(m.id, name, r)
	}
	return pause(ctx, 20*time.Millisecond)
}

func (m mirror) Drain(ctx context.Context, r failover.Route) error { return m.step(ctx, "drain", r) }
func (m mirror) Seal(ctx context.Context, r failover.Route) error  { return m.step(ctx, "seal", r) }
func (m mirror) Stamp(ctx context.Context, r failover.Route, exposed []failover.Exposed, jump bool) (failover.StampResult, error) {
	if err := m.step(ctx, "stamp", r); err != nil {
		return failover.StampResult{}, err
	}
	var res failover.StampResult
	res.Positions = []int64{r.Epoch * 10}
	for _, e := range exposed {
		res.Partitions = append(res.Partitions, failover.PartitionStamp{TopicPartition: e.TopicPartition, First: e.Next})
	}
	return res, nil
}

func (c *cast) Probe(ctx context.Context, cluster string) error {
	c.mu.Lock()
	how := c.down[cluster]
	c.mu.Unlock()
	switch how {
	case "refuses":
		return errors.New("connection refused")
	case "hangs":
		<-ctx.Done()
		return ctx.Err()
	}
	return pause(ctx, time.Millisecond)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// start runs an agent; roles are letters: d drives, o observes, s is a sidecar.
func (c *cast) start(ctx context.Context, wg *sync.WaitGroup, id, roles string) {
	st := &mortal{Store: c.store, ctx: ctx}
	cfg := failover.Config{ID: id, Clusters: [2]string{"east", "west"}, Initial: "east", Observers: []string{"a", "b", "c"}, Store: st,
		OnReport: func(r failover.Report) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.reports[id] = append(c.reports[id], r)
		}}
	if strings.Contains(roles, "d") {
		cfg.Mirror = mirror{c, id}
	}
	if strings.Contains(roles, "o") {
		cfg.Prober = c
	}
	if strings.Contains(roles, "s") {
		cfg.Follower = proxy{c, id}
	}
	a, err := failover.NewAgent(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	actx, stop := context.WithCancel(ctx)
	c.mu.Lock()
	c.agents[id] = a
	c.crash[id] = func() { st.die(); stop() }
	c.mu.Unlock()
	wg.Go(func() {
		defer stop()
		if err := a.Run(actx); err != nil {
			c.t.Errorf("agent %s: %v", id, err)
		}
	})
}

// play runs a test in a bubble: two drivers, three observers, two sidecars.
func play(t *testing.T, f func(ctx context.Context, c *cast)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCast(t)
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for id, roles := range map[string]string{"a": "do", "b": "do", "c": "os", "s": "s"} {
			c.start(ctx, &wg, id, roles)
		}
		time.Sleep(3 * time.Second)
		f(ctx, c)
		stop()
		wg.Wait()
	})
}

func (c *cast) expect(active string, tenure uint16) {
	c.t.Helper()
	r, _, err := c.store.Route(c.t.Context())
	if err != nil || r.Active != active || r.Tenure != tenure || r.State != failover.Serving {
		c.t.Fatalf("the route is %+v, %v; want serving %s in tenure %d\n%s", r, err, active, tenure, strings.Join(c.steps, "\n"))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range []string{"c", "s"} {
		if s := c.serving[id]; s.Active != active || s.Epoch != r.Epoch {
			c.t.Errorf("%s serves %q at epoch %d; want %q at %d", id, s.Active, s.Epoch, active, r.Epoch)
		}
	}
}

func TestSwitchoverReturnsItsReport(t *testing.T) {
	play(t, func(ctx context.Context, c *cast) {
		c.expect("east", 0)
		rep, err := c.agents["a"].Switchover(ctx, "west", "a drill")
		if err != nil || rep.Outcome != failover.Switched || rep.To != "west" || len(rep.Partitions) != 1 || rep.Partitions[0].First != 2 {
			t.Fatalf("report %+v, %v", rep, err)
		}
		if rep.Pause() > 500*time.Millisecond {
			t.Errorf("a pause of %v in virtual time", rep.Pause())
		}
		time.Sleep(time.Second)
		c.expect("west", 1)
		st := c.agents["s"].Status()
		if !st.Registered || !st.Following || !st.StoreFound || st.Route.Positions[0] != 20 || len(st.Reports) != 1 {
			t.Errorf("status of s: %+v", st)
		}
		if _, err := c.agents["b"].Switchover(ctx, "west", ""); err == nil {
			t.Error("a switchover to the active cluster was accepted")
		}
	})
}

func TestKilledClusterIsReplacedWithinThreeSeconds(t *testing.T) {
	for _, how := range []string{"refuses", "hangs"} {
		t.Run(how, func(t *testing.T) {
			play(t, func(ctx context.Context, c *cast) {
				killed := time.Now()
				c.mu.Lock()
				c.down["east"] = how
				c.mu.Unlock()
				for c.agents["a"].Route().Active != "west" {
					time.Sleep(10 * time.Millisecond)
				}
				took := time.Since(killed)
				t.Logf("from death to the switch: %v", took)
				// Two failed probes of 700 ms when it hangs, 300 ms when it refuses.
				if limit := map[string]time.Duration{"refuses": 2500 * time.Millisecond, "hangs": 3500 * time.Millisecond}[how]; took > limit {
					t.Errorf("the switch took %v; want at most %v", took, limit)
				}
				time.Sleep(time.Second)
				c.expect("west", 1)
			})
		})
	}
}

func TestDriverDeathInEveryStateIsSurvived(t *testing.T) {
	for _, planned := range []bool{true, false} {
		for _, at := range []string{"drain", "seal", "stamp"} {
			if at == "drain" && !planned {
				continue
			}
			t.Run(fmt.Sprintf("planned=%v/%s", planned, at), func(t *testing.T) {
				play(t, func(ctx context.Context, c *cast) {
					var once sync.Once
					c.mu.Lock()
					c.onStep = func(agent, step string, r failover.Route) {
						if step == at {
							once.Do(func() { c.crash[agent]() })
						}
					}
					if !planned {
						c.down["east"] = "refuses"
					}
					c.mu.Unlock()
					if planned {
						if _, err := c.agents["a"].Switchover(ctx, "west", "a drill"); err == nil {
							t.Error("the dead driver answered that all is well")
						}
					}
					time.Sleep(8 * time.Second)
					c.expect("west", 1)
				})
			})
		}
	}
}

func TestSilentSidecarAbandonsASwitchoverAndIsNamedInAFailover(t *testing.T) {
	play(t, func(ctx context.Context, c *cast) {
		c.mu.Lock()
		c.blocked["s"] = true
		c.mu.Unlock()
		_, err := c.agents["b"].Switchover(ctx, "west", "a drill")
		if err == nil || !strings.Contains(err.Error(), "did not acknowledge") || !strings.HasSuffix(err.Error(), ": s") {
			t.Fatalf("got %v; want that s did not acknowledge", err)
		}
		time.Sleep(time.Second)
		c.expect("east", 0)
		c.mu.Lock()
		c.down["east"] = "refuses"
		c.mu.Unlock()
		time.Sleep(6 * time.Second)
		c.expect("west", 1)
		for _, id := range []string{"a", "b"} {
			for _, r := range c.reports[id] {
				if r.Driver == id && r.Outcome == failover.Switched && (!r.Jump || len(r.Missing) != 1 || r.Missing[0] != "s") {
					t.Errorf("report of %s: %+v; want s missing, and a jump", id, r)
				}
			}
		}
	})
}

func TestAbortAndNewerRoutesCancelWhatRuns(t *testing.T) {
	play(t, func(ctx context.Context, c *cast) {
		c.mu.Lock()
		c.blocked["s"] = true
		c.mu.Unlock()
		done := make(chan error, 1)
		go func() {
			_, err := c.agents["a"].Switchover(ctx, "west", "a drill")
			done <- err
		}()
		time.Sleep(500 * time.Millisecond)
		if err := c.agents["s"].Abort(ctx, "not today"); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "not today") {
			t.Errorf("the switchover returned %v; want the abort's reason", err)
		}
		time.Sleep(time.Second)
		c.expect("east", 0)
	})
}

func TestCommandsEndWithTheirContextOrTheAgent(t *testing.T) {
	play(t, func(ctx context.Context, c *cast) {
		c.mu.Lock()
		c.blocked["s"] = true
		c.mu.Unlock()
		short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
		defer stop()
		if _, err := c.agents["a"].Switchover(short, "west", ""); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v; want the context's end", err)
		}
		c.crash["b"]()
		time.Sleep(10 * time.Millisecond)
		if err := c.agents["b"].Abort(ctx, ""); err == nil {
			t.Error("a stopped agent took a command")
		}
	})
}

func TestConfigurationIsRefusedInSentences(t *testing.T) {
	good := failover.Config{ID: "a", Clusters: [2]string{"east", "west"}, Initial: "east", Observers: []string{"a"}, Store: local.New()}
	if _, err := failover.NewAgent(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*failover.Config){
		"ID is empty":            func(c *failover.Config) { c.ID = "" },
		"two different names":    func(c *failover.Config) { c.Clusters[1] = "east" },
		`Initial is "north"`:     func(c *failover.Config) { c.Initial = "north" },
		"auto, manual or off":    func(c *failover.Config) { c.Mode = "sometimes" },
		"Observers is empty":     func(c *failover.Config) { c.Observers = nil },
		"its votes would not":    func(c *failover.Config) { c.Observers = []string{"b"}; c.Prober = newCast(t) },
		"repeated name":          func(c *failover.Config) { c.Observers = []string{"a", "a"} },
		"Store is nil":           func(c *failover.Config) { c.Store = nil },
		"a time limit is negati": func(c *failover.Config) { c.Timing.AckTimeout = -1 },
		"at least twice":         func(c *failover.Config) { c.Timing.VoteInterval = time.Minute },
	} {
		c := good
		change(&c)
		if _, err := failover.NewAgent(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}
