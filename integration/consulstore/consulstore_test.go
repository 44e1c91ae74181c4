// Package consulstore runs the promises of failover.Store on a real Consul agent.
package consulstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/failover/consul"
	"github.com/catamaran-io/catamaran/failover/storetest"
	"github.com/catamaran-io/catamaran/integration/consultest"
)

var names atomic.Int64

// open returns a store on keys of its own.
func open(t *testing.T, agent *consultest.Agent, vc string) *consul.Store {
	t.Helper()
	if vc == "" {
		vc = fmt.Sprintf("pair-%d", names.Add(1))
	}
	s, err := consul.New(consul.Options{Config: &api.Config{Address: agent.Addr()}, VirtualCluster: vc, Checks: true, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConsulKeepsThePromisesOfAStore(t *testing.T) {
	agent := consultest.Start(t)
	storetest.Run(t, func(t *testing.T) failover.Store { return open(t, agent, "") })
}

func TestCrashedSidecarStaysRegisteredAndIsNotAlive(t *testing.T) {
	agent := consultest.Start(t)
	s := open(t, agent, "crash")
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	// A crash: the session ends, and nobody removes the registration.
	rctx, crash := context.WithCancel(ctx)
	seen, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Register(rctx, "a", func() { close(seen) }) }()
	<-seen
	until(t, ctx, "alive", func() bool { return alive(t, ctx, s, "a") })
	client := agent.Client(t)
	sessions, _, err := client.Session().List(nil)
	if err != nil || len(sessions) != 1 {
		t.Fatalf("sessions %v, %v; want one", sessions, err)
	}
	if _, err := client.Session().Destroy(sessions[0].ID, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Sidecars(ctx); err != nil || len(got) != 1 || got[0].Alive {
		t.Fatalf("sidecars %+v, %v after the session ended; want one, not alive", got, err)
	}
	// The process lives after all, and comes back by itself.
	until(t, ctx, "alive again", func() bool { return alive(t, ctx, s, "a") })
	crash()
	<-ended
	if got, err := s.Sidecars(ctx); err != nil || len(got) != 0 {
		t.Fatalf("sidecars %+v, %v after a clean end; want none", got, err)
	}
}

func alive(t *testing.T, ctx context.Context, s failover.Store, id string) bool {
	t.Helper()
	all, err := s.Sidecars(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if x.ID == id {
			return x.Alive
		}
	}
	return false
}

func TestVotesAreShownAsServiceChecks(t *testing.T) {
	agent := consultest.Start(t)
	s := open(t, agent, "checks")
	for _, c := range []struct {
		healthy bool
		status  string
	}{{true, api.HealthPassing}, {false, api.HealthCritical}, {true, api.HealthPassing}} {
		if err := s.Vote(t.Context(), failover.Vote{Observer: "o", Cluster: "east", Healthy: c.healthy, Reason: "refused", Beat: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
		until(t, ctx, c.status, func() bool {
			entries, _, err := agent.Client(t).Health().Service("catamaran-checks-east", "", false, nil)
			return err == nil && len(entries) == 1 && entries[0].Checks.AggregatedStatus() == c.status
		})
		stop()
	}
}

func TestConsulLostIsAnErrorAndTheWatchComesBack(t *testing.T) {
	agent := consultest.Start(t)
	s := open(t, agent, "lost")
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	r := failover.Route{Epoch: 1, State: failover.Serving, Active: "east"}
	v, err := s.Update(ctx, 0, r)
	if err != nil {
		t.Fatal(err)
	}
	agent.Kill()
	if _, _, err := s.Route(ctx); err == nil || errors.Is(err, failover.ErrNoRoute) {
		t.Fatalf("read of a dead Consul: %v; want an error that is not ErrNoRoute", err)
	}
	if _, err := s.Update(ctx, v, r); err == nil || errors.Is(err, failover.ErrConflict) {
		t.Fatalf("update on a dead Consul: %v; want an error that is not ErrConflict", err)
	}
	if _, _, err := s.Watch(ctx, v); err == nil {
		t.Fatal("watch of a dead Consul returned no error")
	}
	agent.Restart(t)
	until(t, ctx, "answers again", func() bool {
		got, gv, err := s.Route(ctx)
		return err == nil && gv == v && got.Active == "east"
	})
}

func TestPausedConsulIsAnErrorWithinTheCallersTime(t *testing.T) {
	agent := consultest.Start(t)
	s := open(t, agent, "paused")
	agent.Pause()
	defer agent.Resume()
	patience, end := context.WithTimeout(t.Context(), 20*time.Second)
	defer end()
	// The signal takes effect some moments after it was sent.
	until(t, patience, "paused", func() bool {
		ctx, stop := context.WithTimeout(patience, 200*time.Millisecond)
		defer stop()
		_, _, err := s.Route(ctx)
		return err != nil && !errors.Is(err, failover.ErrNoRoute)
	})
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	begun := time.Now()
	if _, _, err := s.Route(ctx); err == nil || errors.Is(err, failover.ErrNoRoute) {
		t.Fatalf("read of a paused Consul: %v; want an error", err)
	}
	if d := time.Since(begun); d > 3*time.Second {
		t.Fatalf("answered after %v; the caller's limit was 1 s", d)
	}
}

// until polls; the condition, not the time, decides.
func until(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
