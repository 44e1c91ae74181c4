package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCachedBuildsOnceAndLeavesNothingOfAFailedBuild(t *testing.T) {
	t.Setenv(CacheEnv, t.TempDir())
	var builds atomic.Int32
	if _, err := Cached("thing-1", func(string) error { return errors.New("no network") }); err == nil {
		t.Fatal("a failed build succeeded")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := Cached("thing-1", func(scratch string) error {
				builds.Add(1)
				time.Sleep(20 * time.Millisecond)
				return os.WriteFile(filepath.Join(scratch, "content"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
			} else if _, err := os.Stat(filepath.Join(dir, "content")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestPortsAreBelowTheEphemeralRangeAndNeverTwiceTheSame(t *testing.T) {
	seen := map[int]bool{}
	for range 3 {
		ports, err := FreePorts(50) // more than a block
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if p < firstPort || p >= 32000 || seen[p] {
				t.Errorf("port %d", p)
			}
			seen[p] = true
		}
	}
}

func TestStopEndsAPausedProcessAndKillOneThatDoesNotListen(t *testing.T) {
	start := func(script string) *Process {
		t.Helper()
		p, err := StartProcess(exec.Command("sh", "-c", script), filepath.Join(t.TempDir(), "log"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Kill)
		return p
	}
	polite := start("sleep 60")
	polite.Pause()
	if !polite.Stop(10 * time.Second) {
		t.Error("the paused process had to be killed")
	}
	deaf := start("trap '' TERM; while :; do sleep 0.05; done")
	time.Sleep(100 * time.Millisecond) // for the trap
	if deaf.Stop(200 * time.Millisecond) {
		t.Error("a process that ignores SIGTERM ended by itself")
	}
	if deaf.Running() || polite.Running() {
		t.Error("something still runs")
	}
}
