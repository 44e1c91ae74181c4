package slice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/catamaran-io/catamaran/integration/consultest"
	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/sidecar"
)

// world is what a test runs in: clusters east (the home) and west, Consul, and
// one configuration.
type world struct {
	east, west *kafkatest.Cluster
	consul     *consultest.Agent
	binary     string
	config     string
	bootstrap  string
	admin      string
	dir        string
	proc       *process // started last
}

// cluster finds a cluster by name.
func (w *world) cluster(name string) *kafkatest.Cluster {
	if name == "east" {
		return w.east
	}
	return w.west
}

// newWorld starts the clusters and Consul at the same time and builds the binary.
func newWorld(t *testing.T, name string, failover string) *world {
	t.Helper()
	harness.SkipIfShort(t, "real Kafka, Consul and Java clients")
	w := &world{dir: t.TempDir()}
	w.binary = filepath.Join(w.dir, "catamaran")
	var wg sync.WaitGroup
	wg.Go(func() { w.east = kafkatest.Start(t, kafkatest.Config{Name: "east", Brokers: 1}) })
	wg.Go(func() { w.west = kafkatest.Start(t, kafkatest.Config{Name: "west", Brokers: 1}) })
	wg.Go(func() { w.consul = consultest.Start(t) })
	wg.Go(func() {
		cmd := exec.Command("go", "build", "-o", w.binary, "github.com/catamaran-io/catamaran")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go build: %v\n%s", err, out)
		}
	})
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	base := consecutivePorts(t, 5)
	w.bootstrap = fmt.Sprintf("127.0.0.1:%d", base)
	w.admin = fmt.Sprintf("127.0.0.1:%d", base+4)
	w.config = filepath.Join(w.dir, "catamaran.yaml")
	text := fmt.Sprintf(`name: %s
id: sidecar-1
listen: {port: %d, max_nodes: 3}
clusters:
  east: {bootstrap: [%q]}
  west: {bootstrap: [%q]}
active: east
coordination: {consul: {address: %q}}
admin: {listen: %q}
failover: {%s}
`, name, base, w.east.Bootstrap()[0], w.west.Bootstrap()[0], w.consul.Addr(), w.admin, failover)
	if err := os.WriteFile(w.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return w
}

// consecutivePorts finds n free ports in a row.
func consecutivePorts(t *testing.T, n int) int {
	t.Helper()
	ports := kafkatest.FreePorts(t, 40)
	for i := 0; i+n <= len(ports); i++ {
		if ports[i+n-1] == ports[i]+n-1 {
			return ports[i]
		}
	}
	t.Fatalf("no %d free ports in a row among %v", n, ports)
	return 0
}

// createTopic makes a topic on a cluster and returns when it has leaders.
func createTopic(t *testing.T, c *kafkatest.Cluster, topic string, partitions int32) {
	t.Helper()
	adm := kadm.NewClient(c.Client(t))
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
		t.Fatalf("creating %s on %s: %v", topic, c.Name(), err)
	}
}

// run starts `catamaran run` as a user does.
func (w *world) run(t *testing.T) *process {
	t.Helper()
	log := filepath.Join(w.dir, "catamaran.log")
	p, err := harness.StartProcess(exec.Command(w.binary, "run", "-c", w.config), log)
	if err != nil {
		t.Fatal(err)
	}
	proc := &process{Process: p, w: w}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the end of catamaran's log:\n%s", tailOf(log, 120))
		}
	})
	w.proc = proc
	return proc
}

// process is a running catamaran.
type process struct {
	*harness.Process
	w *world
}

func tailOf(file string, lines int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(raw), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var httpClient = &http.Client{Timeout: 3 * time.Second}

// get is one GET of the admin API.
func (w *world) get(path string) (int, []byte, error) {
	resp, err := httpClient.Get("http://" + w.admin + path)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}

// status is the admin API's, the zero Status when it does not answer.
func (w *world) status() (st sidecar.Status) {
	if code, body, err := w.get("/status"); err == nil && code == http.StatusOK {
		_ = json.Unmarshal(body, &st)
	}
	return st
}

// reports are the admin API's.
func (w *world) reports(t *testing.T) (out []sidecar.Report) {
	t.Helper()
	_, body, err := w.get("/reports")
	if err == nil {
		err = json.Unmarshal(body, &out)
	}
	if err != nil {
		t.Fatalf("GET /reports: %v", err)
	}
	return out
}

// metric is the value of one line of /metrics, by the text before it.
func (w *world) metric(t *testing.T, line string) string {
	t.Helper()
	_, body, err := w.get("/metrics")
	if err != nil {
		t.Fatalf("GET /metrics: %v", err)
	}
	for l := range bytes.Lines(body) {
		if rest, ok := bytes.CutPrefix(l, []byte(line+" ")); ok {
			return strings.TrimSpace(string(rest))
		}
	}
	return "(absent)"
}

// await polls until ok says "" and fails with what it said last.
func await(t *testing.T, timeout time.Duration, what string, ok func() string) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for {
		why := ok()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v: %s", what, timeout, why)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitReady waits until requests flow to active and the link to the other
// cluster has caught up.
func (w *world) awaitReady(t *testing.T, active string, partitions int) {
	t.Helper()
	await(t, 60*time.Second, "serving "+active+" with the mirror caught up", func() string {
		st := w.status()
		if !w.proc.Running() {
			t.Fatal("catamaran has ended")
		}
		switch {
		case st.Route == nil || !st.Serving:
			return "not serving: " + st.NotServing
		case st.Route.Active != active:
			return "active is " + st.Route.Active
		case !st.Link.Running:
			return "the link does not run: " + st.Link.Problem
		case len(st.Link.Partitions) < partitions:
			return fmt.Sprintf("the link has %d partitions", len(st.Link.Partitions))
		}
		for _, p := range st.Link.Partitions {
			if p.State != "mirroring" {
				return fmt.Sprintf("%s-%d is %s: %s", p.Topic, p.Partition, p.State, p.Reason)
			}
		}
		if st.Link.LagRecords > 2000 {
			return fmt.Sprintf("lag is %d records", st.Link.LagRecords)
		}
		return ""
	})
}

func notMirroring(p sidecar.PartitionStatus) bool { return p.State != "mirroring" }

// awaitCopying waits until a freshly started process has copied something.
func (w *world) awaitCopying(t *testing.T) {
	t.Helper()
	await(t, 60*time.Second, "the mirror copies", func() string {
		if st := w.status(); st.Link.Running && st.Link.Records > 0 {
			return ""
		}
		return "no records yet"
	})
}
