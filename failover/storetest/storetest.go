// Package storetest holds the promises of failover.Store as tests, to be run on
// every implementation.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/failover"
)

// limit bounds each test; a store that hangs fails it.
const limit = 30 * time.Second

// Run runs all tests. open returns an empty store, a new one for each test.
func Run(t *testing.T, open func(t *testing.T) failover.Store) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, context.Context, failover.Store)
	}{
		{"NoRouteIsStoredAtFirst", noRoute},
		{"RouteComesBackAsWritten", roundTrip},
		{"UpdateAtAnOldVersionConflicts", conflicts},
		{"OneOfManyUpdatesWins", oneWins},
		{"WatchWakesOnAChange", watch},
		{"WatchEndsWithItsContext", watchEnds},
		{"RegistrationIsSeenWhenItSaysSo", registers},
		{"NewerRegistrationReplacesTheOlder", replaces},
		{"ForgottenSidecarIsGone", forgets},
		{"AcksBelongToTheirEpoch", acks},
		{"VoteReplacesTheObserversEarlierOne", votes},
		{"EndedContextIsAnError", endedContext},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), limit)
			defer stop()
			c.run(t, ctx, open(t))
		})
	}
}

func first() failover.Route {
	return failover.Route{Epoch: 1, State: failover.Serving, Active: "east", Reason: "first start",
		Positions: []int64{3, 0, 7}, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noRoute(t *testing.T, ctx context.Context, s failover.Store) {
	if _, v, err := s.Route(ctx); !errors.Is(err, failover.ErrNoRoute) || v != 0 {
		t.Fatalf("got version %d, %v; want ErrNoRoute", v, err)
	}
	if _, err := s.Update(ctx, 4711, first()); !errors.Is(err, failover.ErrConflict) {
		t.Fatalf("update at a version that never was: %v; want ErrConflict", err)
	}
}

func roundTrip(t *testing.T, ctx context.Context, s failover.Store) {
	v := must[failover.Version](t)(s.Update(ctx, 0, first()))
	r, rv, err := s.Route(ctx)
	if err != nil || rv != v || !reflect.DeepEqual(r, first()) {
		t.Fatalf("read %+v at %d, %v; wrote %+v at %d", r, rv, err, first(), v)
	}
}

func conflicts(t *testing.T, ctx context.Context, s failover.Store) {
	v1 := must[failover.Version](t)(s.Update(ctx, 0, first()))
	if _, err := s.Update(ctx, 0, first()); !errors.Is(err, failover.ErrConflict) {
		t.Fatalf("a second first route: %v; want ErrConflict", err)
	}
	r := first()
	r.Epoch = 2
	v2 := must[failover.Version](t)(s.Update(ctx, v1, r))
	if v2 <= v1 {
		t.Fatalf("version %d after %d; want a higher one", v2, v1)
	}
	r.Epoch = 3
	if _, err := s.Update(ctx, v1, r); !errors.Is(err, failover.ErrConflict) {
		t.Fatalf("update at an old version: %v; want ErrConflict", err)
	}
	if got, _, err := s.Route(ctx); err != nil || got.Epoch != 2 {
		t.Fatalf("epoch %d, %v after a conflict; want 2", got.Epoch, err)
	}
}

func oneWins(t *testing.T, ctx context.Context, s failover.Store) {
	v := must[failover.Version](t)(s.Update(ctx, 0, first()))
	var mu sync.Mutex
	var winners []string
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := first()
			r.Driver = fmt.Sprint(i)
			_, err := s.Update(ctx, v, r)
			if err != nil && !errors.Is(err, failover.ErrConflict) {
				t.Error(err)
			}
			if err == nil {
				mu.Lock()
				winners = append(winners, r.Driver)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r, _, err := s.Route(ctx)
	if err != nil || len(winners) != 1 || r.Driver != winners[0] {
		t.Fatalf("winners %v, stored %q, %v; want one, stored", winners, r.Driver, err)
	}
}

func watch(t *testing.T, ctx context.Context, s failover.Store) {
	type seen struct {
		r   failover.Route
		v   failover.Version
		err error
	}
	watched := func(v failover.Version) chan seen {
		c := make(chan seen, 1)
		go func() {
			r, v, err := s.Watch(ctx, v)
			c <- seen{r, v, err}
		}()
		return c
	}
	c := watched(0) // waits for a first route
	select {
	case got := <-c:
		t.Fatalf("watch returned %+v before there was a route", got)
	case <-time.After(50 * time.Millisecond):
	}
	v1 := must[failover.Version](t)(s.Update(ctx, 0, first()))
	if got := <-c; got.err != nil || got.v != v1 || got.r.Epoch != 1 {
		t.Fatalf("watch returned %+v; want version %d", got, v1)
	}
	if got := <-watched(0); got.err != nil || got.v != v1 {
		t.Fatalf("watch of a different version returned %+v; want version %d at once", got, v1)
	}
	c = watched(v1)
	// Changes of other keys must not end a watch of the route.
	if err := s.Vote(ctx, failover.Vote{Observer: "o", Cluster: "east", Beat: 1}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-c:
		t.Fatalf("watch returned %+v without a change", got)
	case <-time.After(50 * time.Millisecond):
	}
	r := first()
	r.Epoch, r.State, r.Target = 2, failover.Fencing, "west"
	v2 := must[failover.Version](t)(s.Update(ctx, v1, r))
	if got := <-c; got.err != nil || got.v != v2 || got.r.State != failover.Fencing {
		t.Fatalf("watch returned %+v; want version %d", got, v2)
	}
}

func watchEnds(t *testing.T, ctx context.Context, s failover.Store) {
	v := must[failover.Version](t)(s.Update(ctx, 0, first()))
	wctx, stop := context.WithTimeout(ctx, 30*time.Millisecond)
	defer stop()
	begun := time.Now()
	if _, _, err := s.Watch(wctx, v); err == nil {
		t.Fatal("a watch without a change returned no error")
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Fatalf("a watch returned %v after its context", d)
	}
}

// running is a Register call in the background.
type running struct {
	stop func()
	err  chan error
}

func register(t *testing.T, ctx context.Context, s failover.Store, id string) running {
	t.Helper()
	rctx, stop := context.WithCancel(ctx)
	seen, err := make(chan struct{}), make(chan error, 1)
	go func() { err <- s.Register(rctx, id, func() { close(seen) }) }()
	select {
	case <-seen:
	case e := <-err:
		t.Fatalf("register %s: %v", id, e)
	case <-ctx.Done():
		t.Fatalf("register %s: not within %v", id, limit)
	}
	return running{stop, err}
}

func ids(t *testing.T, ctx context.Context, s failover.Store) []string {
	t.Helper()
	var out []string
	for _, x := range must[[]failover.Sidecar](t)(s.Sidecars(ctx)) {
		out = append(out, x.ID)
	}
	return out
}

func registers(t *testing.T, ctx context.Context, s failover.Store) {
	a := register(t, ctx, s, "a")
	if got := ids(t, ctx, s); !reflect.DeepEqual(got, []string{"a"}) {
		t.Fatalf("sidecars %v right after a registered", got)
	}
	odd := register(t, ctx, s, "host/1 ü")
	if got := ids(t, ctx, s); !reflect.DeepEqual(got, []string{"a", "host/1 ü"}) {
		t.Fatalf("sidecars %q; want both", got)
	}
	await(t, ctx, "both alive", func() bool {
		for _, x := range must[[]failover.Sidecar](t)(s.Sidecars(ctx)) {
			if !x.Alive {
				return false
			}
		}
		return true
	})
	a.stop()
	<-a.err
	if got := ids(t, ctx, s); !reflect.DeepEqual(got, []string{"host/1 ü"}) {
		t.Fatalf("sidecars %q after a left", got)
	}
	odd.stop()
	<-odd.err
}

func replaces(t *testing.T, ctx context.Context, s failover.Store) {
	old := register(t, ctx, s, "a")
	young := register(t, ctx, s, "a")
	if err := <-old.err; !errors.Is(err, failover.ErrReplaced) {
		t.Fatalf("the older process got %v; want ErrReplaced", err)
	}
	if got := ids(t, ctx, s); !reflect.DeepEqual(got, []string{"a"}) {
		t.Fatalf("sidecars %v; want the younger process's", got)
	}
	young.stop()
	<-young.err
	if got := ids(t, ctx, s); len(got) != 0 {
		t.Fatalf("sidecars %v after all left", got)
	}
}

func forgets(t *testing.T, ctx context.Context, s failover.Store) {
	a, b := register(t, ctx, s, "a"), register(t, ctx, s, "b")
	if err := s.Forget(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if got := ids(t, ctx, s); !reflect.DeepEqual(got, []string{"b"}) {
		t.Fatalf("sidecars %v after a was forgotten", got)
	}
	a.stop()
	b.stop()
	<-a.err
	<-b.err
}

func acks(t *testing.T, ctx context.Context, s failover.Store) {
	e := []failover.Exposed{{TopicPartition: failover.TopicPartition{Topic: "t", Partition: 3}, Next: 17}}
	for _, a := range []failover.Ack{{Sidecar: "a", Epoch: 4}, {Sidecar: "a", Epoch: 5, Exposed: e}, {Sidecar: "b/1", Epoch: 5, Unknown: true}} {
		if err := s.Acknowledge(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	got := must[[]failover.Ack](t)(s.Acks(ctx, 5))
	want := []failover.Ack{{Sidecar: "a", Epoch: 5, Exposed: e}, {Sidecar: "b/1", Epoch: 5, Unknown: true}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("acks of epoch 5: %+v; want %+v", got, want)
	}
	// Epoch 50 is not epoch 5.
	if got := must[[]failover.Ack](t)(s.Acks(ctx, 50)); len(got) != 0 {
		t.Fatalf("acks of epoch 50: %+v; want none", got)
	}
}

func votes(t *testing.T, ctx context.Context, s failover.Store) {
	for _, v := range []failover.Vote{
		{Observer: "o/1", Cluster: "east", Healthy: true, Beat: 1}, {Observer: "o/1", Cluster: "west", Healthy: true, Beat: 2},
		{Observer: "o/1", Cluster: "east", Reason: "refused", Beat: 3},
	} {
		if err := s.Vote(ctx, v); err != nil {
			t.Fatal(err)
		}
	}
	got := must[[]failover.Vote](t)(s.Votes(ctx))
	want := []failover.Vote{{Observer: "o/1", Cluster: "east", Reason: "refused", Beat: 3}, {Observer: "o/1", Cluster: "west", Healthy: true, Beat: 2}}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("votes %+v; want %+v", got, want)
	}
}

func endedContext(t *testing.T, ctx context.Context, s failover.Store) {
	must[failover.Version](t)(s.Update(ctx, 0, first()))
	ended, stop := context.WithCancel(ctx)
	stop()
	if _, _, err := s.Route(ended); err == nil || errors.Is(err, failover.ErrNoRoute) {
		t.Errorf("Route: %v; want the context's error", err)
	}
	if _, err := s.Update(ended, 1, first()); err == nil || errors.Is(err, failover.ErrConflict) {
		t.Errorf("Update: %v; want the context's error", err)
	}
	if _, err := s.Sidecars(ended); err == nil {
		t.Error("Sidecars answered after its context")
	}
	if _, err := s.Acks(ended, 1); err == nil {
		t.Error("Acks answered after its context")
	}
	if _, err := s.Votes(ended); err == nil {
		t.Error("Votes answered after its context")
	}
}

func await(t *testing.T, ctx context.Context, what string, ok func() bool) {
	t.Helper()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", limit, what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
