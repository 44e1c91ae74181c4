package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/failover/local"
	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/cli"
	"github.com/catamaran-io/catamaran/sidecar/inmem"
)

// live is a running sidecar between two clusters in memory.
type live struct {
	t          *testing.T
	east, west *inmem.Cluster
	s          *sidecar.Sidecar
	admin      *httptest.Server
}

func start(t *testing.T) *live {
	t.Helper()
	n := inmem.NewNetwork(1)
	l := &live{t: t}
	for name, c := range map[string]**inmem.Cluster{"east": &l.east, "west": &l.west} {
		cluster, err := inmem.NewCluster(n, name, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		*c = cluster
	}
	if err := l.east.Fake().CreateTopic("orders", 2, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	l.s, err = sidecar.New(sidecar.Config{
		Name: "orders", ID: "one", Active: "east",
		Listen:   sidecar.Listen{Host: "127.0.0.1", Port: freePort(t), MaxNodes: 1},
		Clusters: map[string]sidecar.Cluster{"east": {Bootstrap: l.east.Bootstrap()}, "west": {Bootstrap: l.west.Bootstrap()}},
		Mirror:   sidecar.MirrorConfig{Enabled: true},
		Failover: sidecar.Failover{Mode: "auto", Observers: []string{"one"}, FailAfter: 500 * time.Millisecond},
		Admin:    sidecar.Admin{Listen: "127.0.0.1:0"},
	}, sidecar.Options{Dial: n.Host("one").Dial, Store: local.New()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the sidecar ended with %v", err)
		}
	})
	l.admin = httptest.NewServer(l.s.Handler())
	t.Cleanup(l.admin.Close)
	return l
}

// freePort is a port below the ephemeral range with a free one behind it.
func freePort(t *testing.T) int {
	t.Helper()
	for port := 21000; port < 32000; port += 10 {
		if listens(port) && listens(port+1) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func listens(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func (l *live) get(path string) (int, string) {
	l.t.Helper()
	resp, err := http.Get(l.admin.URL + path)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// await looks until ok, for ten seconds.
func (l *live) await(what string, ok func(sidecar.Status) bool) {
	l.t.Helper()
	var s sidecar.Status
	for range 200 {
		if s = l.s.Status(); ok(s) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	text, _ := json.MarshalIndent(s, "", " ")
	l.t.Fatalf("not %s after 10 s: %s", what, text)
}

// run runs a command against the sidecar.
func (l *live) run(args ...string) (int, string) {
	var out bytes.Buffer
	code := cli.Main(append(args, "--admin", strings.TrimPrefix(l.admin.URL, "http://")), &out, &out)
	return code, out.String()
}

func (l *live) has(path string, wanted ...string) {
	l.t.Helper()
	_, body := l.get(path)
	for _, w := range wanted {
		if !strings.Contains(body, w) {
			l.t.Errorf("%s lacks %q:\n%s", path, w, body)
		}
	}
}

func mirroring(s sidecar.Status) bool {
	for _, p := range s.Link.Partitions {
		if p.State != "mirroring" || p.LagRecords > 0 {
			return false
		}
	}
	return s.Serving && s.Link.Running && len(s.Link.Partitions) == 2
}

func TestStatusMetricsAndReadinessTellTheTruthThroughCutovers(t *testing.T) {
	l := start(t)
	l.await("mirroring", mirroring)
	cl, err := kgo.NewClient(kgo.SeedBrokers(l.s.Bootstrap()), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	produce := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := cl.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	produce()

	// Before.
	if code, body := l.get("/readyz"); code != http.StatusOK {
		t.Fatalf("not ready: %s", body)
	}
	l.has("/metrics", `catamaran_active{cluster="east"} 1`, `catamaran_active{cluster="west"} 0`, `catamaran_route_tenure 0`,
		`catamaran_serving 1`, `catamaran_link_running{source="east",target="west"} 1`, `catamaran_proxy_requests_total{api="Produce"}`,
		`catamaran_partition_state{partition="0",state="mirroring",topic="orders"} 1`)
	if code, out := l.run("status"); code != 0 || !strings.Contains(out, "active           east") || !strings.Contains(out, "east → west") {
		t.Fatalf("status ended with %d:\n%s", code, out)
	}

	// Orders that nothing is there for are refused, with the reason.
	for _, order := range [][]string{{"abort", "--reason", "test"}, {"resume", "--reason", "test"}, {"forget", "no-such-sidecar"}} {
		if code, out := l.run(order...); code != 1 || strings.TrimSpace(out) == "" {
			t.Errorf("%v: code %d, %s", order, code, out)
		} else {
			t.Logf("%v: %s", order, out)
		}
	}
	// A switchover that is refused, and one that is done.
	if code, out := l.run("switchover", "--to", "east", "--reason", "test"); code != 1 || !strings.Contains(out, "east is active already") {
		t.Fatalf("ended with %d:\n%s", code, out)
	}
	if code, out := l.run("switchover", "--to", "north", "--reason", "test"); code != 2 || !strings.Contains(out, `"north" is given`) {
		t.Fatalf("ended with %d:\n%s", code, out)
	}
	l.await("west held healthy", func(s sidecar.Status) bool { return s.Clusters[1].VotesHealthy == 1 })
	if code, out := l.run("switchover", "--to", "west", "--reason", "maintenance"); code != 0 || !strings.Contains(out, "switchover east → west switched") {
		t.Fatalf("ended with %d:\n%s", code, out)
	}
	l.await("serving from west and mirroring back", func(s sidecar.Status) bool { return s.Route.Active == "west" && mirroring(s) })
	produce()
	l.has("/metrics", `catamaran_active{cluster="west"} 1`, `catamaran_route_tenure 1`, `catamaran_link_running{source="west",target="east"} 1`,
		`catamaran_cutovers_total{kind="switchover",outcome="switched"} 1`, `catamaran_last_cutover_tail_records 0`)
	l.has("/reports", `"cause":"maintenance"`, `"outcome":"switched"`)

	// The active cluster dies.
	l.await("east held healthy", func(s sidecar.Status) bool { return s.Clusters[0].VotesHealthy == 1 })
	l.west.Kill()
	l.await("known to be down", func(s sidecar.Status) bool { return !s.Serving })
	if code, body := l.get("/readyz"); code != http.StatusServiceUnavailable || strings.TrimSpace(body) == "" {
		t.Fatalf("ready with a dead cluster: %d %s", code, body)
	}
	if code, _ := l.get("/healthz"); code != http.StatusOK {
		t.Fatal("the process is not alive")
	}
	l.await("serving from east", func(s sidecar.Status) bool { return s.Route.Active == "east" && s.Serving })
	produce()
	l.has("/metrics", `catamaran_active{cluster="east"} 1`, `catamaran_route_tenure 2`, `catamaran_cluster_healthy{cluster="west"} 0`,
		`catamaran_cutovers_total{kind="failover",outcome="switched"} 1`)
	if code, out := l.run("status"); code != 0 || !strings.Contains(out, "failover west → east switched") || !strings.Contains(out, "unhealthy: ") {
		t.Fatalf("status ended with %d:\n%s", code, out)
	}
	if code, out := l.run("status", "--json"); code != 0 || !strings.Contains(out, `"tenure": 2`) {
		t.Fatalf("status ended with %d:\n%s", code, out)
	}
}
