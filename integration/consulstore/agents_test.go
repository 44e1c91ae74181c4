package consulstore

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/failover/consul"
	"github.com/catamaran-io/catamaran/integration/consultest"
)

// parts are a proxy, a mirror and a prober that do nothing but remember.
type parts struct {
	mu      sync.Mutex
	serving failover.Route
	fenced  bool
	down    string
}

func (p *parts) Fence(context.Context, failover.Route) ([]failover.Exposed, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fenced = true
	return []failover.Exposed{{TopicPartition: failover.TopicPartition{Topic: "t"}, Next: 5}}, nil
}

func (p *parts) Serve(_ context.Context, r failover.Route) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serving, p.fenced = r, false
	return nil
}

func (p *parts) Drain(context.Context, failover.Route) error { return nil }
func (p *parts) Seal(context.Context, failover.Route) error  { return nil }
func (p *parts) Stamp(context.Context, failover.Route, []failover.Exposed, bool) (failover.StampResult, error) {
	return failover.StampResult{Positions: []int64{1, 2, 3}}, nil
}

func (p *parts) Probe(_ context.Context, cluster string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down == cluster {
		return errors.New("connection refused")
	}
	return nil
}

func (p *parts) kill(cluster string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = cluster
}

func (p *parts) serves() (string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serving.Active, !p.fenced
}

func agentOn(t *testing.T, ctx context.Context, wg *sync.WaitGroup, c *consultest.Agent, id string, p *parts) *failover.Agent {
	t.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("agent", id)
	s, err := consul.New(consul.Options{Config: &api.Config{Address: c.Addr()}, VirtualCluster: "agents", Checks: true, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	a, err := failover.NewAgent(failover.Config{ID: id, Clusters: [2]string{"east", "west"}, Initial: "east", Observers: []string{"a", "b", "c"},
		Store: s, Follower: p, Mirror: p, Prober: p, Logger: log, Timing: failover.Timing{MinBetweenMoves: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// TestAgentsMoveTheRoleThroughConsul tells the whole story once, in real time: a
// switchover, a failover, Consul dead while a cluster dies, Consul back.
func TestAgentsMoveTheRoleThroughConsul(t *testing.T) {
	server := consultest.Start(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	all := map[string]*parts{"a": {}, "b": {}, "c": {}}
	agents := map[string]*failover.Agent{}
	for id, p := range all {
		agents[id] = agentOn(t, ctx, &wg, server, id, p)
	}
	everybody := func(cluster string) func() bool {
		return func() bool {
			for _, p := range all {
				if active, flows := p.serves(); active != cluster || !flows {
					return false
				}
			}
			return true
		}
	}
	until(t, ctx, "everybody serves east", everybody("east"))
	until(t, ctx, "west is held healthy", func() bool { return agents["a"].Status().Health["west"].Healthy == 3 })

	rep, err := agents["a"].Switchover(ctx, "west", "a drill")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("switchover: %v from fence to switch", rep.Pause())
	if rep.Pause() > time.Second {
		t.Errorf("a switchover of nothing took %v", rep.Pause())
	}
	until(t, ctx, "everybody serves west", everybody("west"))
	time.Sleep(1100 * time.Millisecond) // the minimum between moves

	killed := time.Now()
	for _, p := range all {
		p.kill("west")
	}
	until(t, ctx, "everybody serves east after west died", everybody("east"))
	t.Logf("failover: %v from death to everybody serving", time.Since(killed))
	if d := time.Since(killed); d > 5*time.Second {
		t.Errorf("a failover took %v", d)
	}
	for _, p := range all {
		p.kill("")
	}
	time.Sleep(1100 * time.Millisecond)

	server.Kill()
	for _, p := range all {
		p.kill("east")
	}
	time.Sleep(5 * time.Second)
	if !everybody("east")() {
		t.Fatal("somebody moved, or was fenced, without Consul")
	}
	if _, err := agents["b"].Switchover(ctx, "west", ""); err == nil {
		t.Fatal("a switchover was begun without Consul")
	}
	server.Restart(t)
	back := time.Now()
	until(t, ctx, "everybody serves west once Consul is back", everybody("west"))
	t.Logf("Consul back: %v until the failover was done", time.Since(back))
}
