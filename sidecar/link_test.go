package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/mirror"
)

// fakeRunner notes what runs; it fails when told to.
type fakeRunner struct {
	mu      sync.Mutex
	running int
	begun   []string
	fail    chan error
	// stuck: only sever ends it.
	stuck chan struct{}
}

func (f *fakeRunner) sever() { close(f.stuck) }

func (f *fakeRunner) Run(ctx context.Context, l mirror.Link) error {
	f.mu.Lock()
	f.running++
	f.begun = append(f.begun, fmt.Sprintf("%s→%s@%d", l.Source, l.Target, l.Epoch))
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.running--
		f.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		if f.stuck != nil {
			<-f.stuck
		}
		return ctx.Err()
	case err := <-f.fail:
		return err
	}
}

func (f *fakeRunner) state() (int, []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running, append([]string(nil), f.begun...)
}

func testLink(t *testing.T, body func(t *testing.T, l *link, f *fakeRunner)) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRunner{fail: make(chan error)}
		other := func(c string) string { return map[string]string{"east": "west", "west": "east"}[c] }
		l := newLink(f, f.sever, other, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.Run(ctx) }()
		body(t, l, f)
		cancel()
		<-done
		if n, _ := f.state(); n != 0 {
			t.Fatalf("%d links run after the end", n)
		}
	})
}

func route(state failover.State, epoch int64, active, target string) failover.Route {
	return failover.Route{State: state, Epoch: epoch, Active: active, Target: target}
}

func TestLinkTurnsRoundWithTheRoute(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		for _, step := range []struct {
			r       failover.Route
			running int
			begun   string
		}{
			{route(failover.Serving, 1, "east", ""), 1, "[east→west@1]"},
			{route(failover.Suspect, 1, "east", ""), 1, "[east→west@1]"},
			{route(failover.Fencing, 2, "east", "west"), 1, "[east→west@1]"}, // it drains
			{route(failover.Sealing, 2, "east", "west"), 0, "[east→west@1]"},
			{route(failover.Switching, 2, "east", "west"), 0, "[east→west@1]"},
			{route(failover.Serving, 2, "west", ""), 1, "[east→west@1 west→east@2]"},
			{route(failover.Fencing, 3, "west", "east"), 1, "[east→west@1 west→east@2]"},
			{route(failover.Serving, 4, "west", ""), 1, "[east→west@1 west→east@2 west→east@4]"}, // taken back
			{route(failover.Halted, 5, "west", ""), 0, "[east→west@1 west→east@2 west→east@4]"},
		} {
			l.follow(step.r)
			synctest.Wait()
			n, begun := f.state()
			if n != step.running || fmt.Sprint(begun) != step.begun {
				t.Fatalf("%s epoch %d: %d run, begun %v; want %d, %s", step.r.State, step.r.Epoch, n, begun, step.running, step.begun)
			}
		}
	})
}

func TestOlderRouteIsNotFollowed(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		l.follow(route(failover.Serving, 5, "west", ""))
		l.follow(route(failover.Serving, 4, "east", ""))
		synctest.Wait()
		if _, begun := f.state(); fmt.Sprint(begun) != "[west→east@5]" {
			t.Fatal(begun)
		}
	})
}

func TestLinkIsNotBegunForAFence(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		l.follow(route(failover.Fencing, 2, "east", "west"))
		time.Sleep(time.Minute)
		if _, begun := f.state(); len(begun) > 0 {
			t.Fatal(begun)
		}
	})
}

func TestFailedLinkIsBegunAgainAfterAWhile(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		l.follow(route(failover.Serving, 1, "east", ""))
		for range 3 {
			f.fail <- errors.New("broken")
			synctest.Wait()
			if _, _, running, problem := l.state(); running || problem != "broken" {
				t.Fatalf("running %v, problem %q", running, problem)
			}
		}
		time.Sleep(time.Minute)
		if n, begun := f.state(); n != 1 || len(begun) != 4 {
			t.Fatalf("%d run, begun %v", n, begun)
		}
	})
}

func TestFailedLinkStaysStoppedOnceTheTargetIsSealed(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		l.follow(route(failover.Serving, 1, "east", ""))
		synctest.Wait()
		f.fail <- mirror.ErrHigherEpoch
		l.follow(route(failover.Sealing, 2, "east", "west"))
		time.Sleep(time.Minute)
		if n, begun := f.state(); n != 0 || len(begun) != 1 {
			t.Fatalf("%d run, begun %v", n, begun)
		}
	})
}

func TestSealWaitsForTheLinkToStop(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		l.follow(route(failover.Serving, 1, "east", ""))
		synctest.Wait()
		if err := l.quiet(t.Context(), route(failover.Sealing, 2, "east", "west")); err != nil {
			t.Fatal(err)
		}
		if n, _ := f.state(); n != 0 {
			t.Fatal("the link still runs")
		}
	})
}

func TestLinkThatHangsOnADeadClusterIsSevered(t *testing.T) {
	testLink(t, func(t *testing.T, l *link, f *fakeRunner) {
		f.stuck = make(chan struct{})
		l.follow(route(failover.Serving, 1, "east", ""))
		synctest.Wait()
		begun := time.Now()
		if err := l.quiet(t.Context(), route(failover.Sealing, 2, "east", "west")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took != stopGrace {
			t.Fatalf("took %v", took)
		}
	})
}
