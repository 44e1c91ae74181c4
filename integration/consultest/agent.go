package consultest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/hashicorp/consul/api"
)

const (
	startTimeout = 60 * time.Second
	stopGrace    = 10 * time.Second
)

// An Agent is one Consul server, the leader of its datacenter "dc1". Its methods are for the one goroutine that runs
// the test.
type Agent struct {
	binary string
	dir    string
	ports  []int // HTTP, server RPC, Serf
	proc   *harness.Process
	logf   func(string, ...any)
	closed sync.Once
}

// Start starts an agent and waits until it has a leader. It ends with the test. Under -short it skips the test.
func Start(tb testing.TB) *Agent {
	tb.Helper()
	harness.SkipIfShort(tb, "a real Consul agent")
	binary, err := Build()
	if err != nil {
		tb.Fatal(err)
	}
	ports, err := harness.FreePorts(3)
	if err != nil {
		tb.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "consultest-")
	if err != nil {
		tb.Fatal(err)
	}
	a := &Agent{binary: binary, dir: dir, ports: ports, logf: tb.Logf}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("consultest: data and log of the agent are kept in %s", a.dir)
			a.closed.Do(a.kill)
			return
		}
		a.Close()
	})
	began := time.Now()
	if err := a.launch(); err != nil {
		tb.Fatal(err)
	}
	a.logf("consultest: agent ready in %v on %s", time.Since(began).Round(10*time.Millisecond), a.Addr())
	return a
}

func (a *Agent) launch() error {
	if err := a.writeConfig(); err != nil {
		return err
	}
	cmd := exec.Command(a.binary, "agent", "-config-file="+filepath.Join(a.dir, "agent.json"))
	proc, err := harness.StartProcess(cmd, a.LogPath())
	if err != nil {
		return err
	}
	a.proc = proc
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := a.awaitLeader(ctx); err != nil {
		log, _ := os.ReadFile(a.LogPath())
		return fmt.Errorf("consultest: the agent is not ready: %w\n%s", err, tail(string(log), 15))
	}
	return nil
}

func (a *Agent) writeConfig() error {
	const off = -1
	config := map[string]any{
		"server":      true,
		"bootstrap":   true, // a datacenter of one: elects itself
		"node_name":   "consultest",
		"data_dir":    filepath.Join(a.dir, "data"),
		"bind_addr":   "127.0.0.1",
		"client_addr": "127.0.0.1",
		"ports": map[string]int{
			"http": a.ports[0], "server": a.ports[1], "serf_lan": a.ports[2],
			"https": off, "dns": off, "grpc": off, "grpc_tls": off, "serf_wan": off,
		},
		"log_level":            "INFO",
		"disable_update_check": true,
		"connect":              map[string]any{"enabled": false},
		// One server has nobody to wait for. raft_multiplier 1 is Consul's recommendation for production (its default
		// is 5).
		"performance": map[string]any{"raft_multiplier": 1, "leave_drain_time": "100ms", "rpc_hold_timeout": "1s"},
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, "agent.json"), content, 0o644)
}

// awaitLeader waits until a consistent read works: a leader that is elected but has not caught up refuses it.
func (a *Agent) awaitLeader(ctx context.Context) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		opts := (&api.QueryOptions{RequireConsistent: true}).WithContext(attempt)
		_, _, err := cl.KV().Get("consultest/ready", opts)
		nodes := 0
		if err == nil { // the server registers itself last; checks and sessions need that
			var list []*api.Node
			list, _, err = cl.Catalog().Nodes(opts)
			nodes = len(list)
		}
		cancel()
		if err == nil && nodes > 0 {
			return nil
		}
		select {
		case <-a.proc.Done():
			return fmt.Errorf("its process ended (%v)", a.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer: %v", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Addr is host:port of the HTTP API, the same through every restart.
func (a *Agent) Addr() string { return "127.0.0.1:" + strconv.Itoa(a.ports[0]) }

// Client is a client of the agent.
func (a *Agent) Client(tb testing.TB) *api.Client {
	tb.Helper()
	cl, err := a.client()
	if err != nil {
		tb.Fatalf("consultest: %v", err)
	}
	return cl
}

func (a *Agent) client() (*api.Client, error) {
	// Not api.DefaultConfig: CONSUL_HTTP_ADDR and CONSUL_HTTP_TOKEN in the developer's environment are about another
	// agent.
	return api.NewClient(&api.Config{Address: a.Addr(), Scheme: "http"})
}

// LogPath is the file with what the agent logged, all its lives in one.
func (a *Agent) LogPath() string { return filepath.Join(a.dir, "agent.log") }

// Running says whether the process exists; a paused one does.
func (a *Agent) Running() bool { return a.proc != nil && a.proc.Running() }

// Kill is kill −9. It returns when the process is gone.
func (a *Agent) Kill() {
	a.logf("consultest: kill -9")
	a.proc.Kill()
}

// Stop shuts the agent down in order.
func (a *Agent) Stop() {
	if !a.proc.Stop(stopGrace) {
		a.logf("consultest: the agent did not stop within %v and was killed", stopGrace)
		return
	}
	a.logf("consultest: stopped")
}

// Pause stops the process where it stands (SIGSTOP): connections stay open and nobody answers.
func (a *Agent) Pause() {
	a.logf("consultest: SIGSTOP")
	a.proc.Pause()
}

// Resume lets a paused agent go on (SIGCONT).
func (a *Agent) Resume() {
	a.logf("consultest: SIGCONT")
	a.proc.Resume()
}

// Restart starts the agent again with the same address and data, killing it first if it runs, and waits until it has
// a leader.
func (a *Agent) Restart(tb testing.TB) {
	tb.Helper()
	if a.Running() {
		a.Kill()
	}
	began := time.Now()
	if err := a.launch(); err != nil {
		tb.Fatal(err)
	}
	a.logf("consultest: agent back in %v", time.Since(began).Round(10*time.Millisecond))
}

// Close kills the agent and deletes its data. It may be called twice.
func (a *Agent) Close() {
	a.closed.Do(func() {
		a.kill()
		os.RemoveAll(a.dir)
	})
}

func (a *Agent) kill() {
	if a.proc != nil {
		a.proc.Kill()
	}
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
