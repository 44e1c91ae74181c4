package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/sidecar"
)

// world is a pair of clusters with the sidecar in front, and a third cluster
// that clients use directly.
type world struct {
	solo, east, west *kafkatest.Cluster
	binary, dir      string
	bootstrap, admin string
	config           string
	proc             *harness.Process
}

// newWorld starts everything at the same time. direct says whether the third
// cluster is needed.
func newWorld(t *testing.T, direct bool, failover string) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.binary = filepath.Join(w.dir, "catamaran")
	// The coordinator waits for further members before it forms a new group, so
	// that two that come together need no rebalance: 1 s is enough for that.
	cfg := func(name string) kafkatest.Config {
		return kafkatest.Config{Name: name, Brokers: 1, Properties: map[string]string{"group.initial.rebalance.delay.ms": "1000"}}
	}
	var wg sync.WaitGroup
	if direct {
		wg.Go(func() { w.solo = kafkatest.Start(t, cfg("solo")) })
	}
	wg.Go(func() { w.east = kafkatest.Start(t, cfg("east")) })
	wg.Go(func() { w.west = kafkatest.Start(t, cfg("west")) })
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
	text := fmt.Sprintf(`name: matrix
id: sidecar-1
listen: {port: %d, max_nodes: 3}
clusters:
  east: {bootstrap: [%q]}
  west: {bootstrap: [%q]}
active: east
coordination: {local: {file: %q}}
admin: {listen: %q}
failover: {%s}
`, base, w.east.Bootstrap()[0], w.west.Bootstrap()[0], filepath.Join(w.dir, "route.json"), w.admin, failover)
	if err := os.WriteFile(w.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w.run(t)
	return w
}

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

// run starts `catamaran run` as a user does.
func (w *world) run(t *testing.T) {
	t.Helper()
	log := filepath.Join(w.dir, "catamaran.log")
	proc, err := harness.StartProcess(exec.Command(w.binary, "run", "-c", w.config), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		proc.Kill()
		if t.Failed() {
			t.Logf("the end of catamaran's log:\n%s", endOf(log, 60))
		}
	})
	w.proc = proc
}

func endOf(file string, lines int) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(string(raw), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

var httpClient = &http.Client{Timeout: time.Minute}

// get decodes one GET of the admin API.
func (w *world) get(path string, into any) error {
	resp, err := httpClient.Get("http://" + w.admin + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// switchover moves the role by command and returns when it has moved. A refusal
// leaves everything as it was and says that something is not mirrored yet, which
// may be so for a moment although the status said otherwise: as an operator
// would, it is tried again for a while, and told.
func (w *world) switchover(t *testing.T, to string) {
	t.Helper()
	told := ""
	await(t, 15*time.Second, "switchover to "+to, func() string {
		resp, err := httpClient.PostForm("http://"+w.admin+"/switchover", url.Values{"to": {to}, "reason": {"matrix"}})
		if err != nil {
			t.Fatalf("switchover to %s: %v", to, err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode == http.StatusOK {
			return ""
		}
		if why := string(body); why != told {
			told = why
			var st sidecar.Status
			_ = w.get("/status", &st) // only for the message
			held := slices.DeleteFunc(st.Link.Partitions, func(p sidecar.PartitionStatus) bool { return p.State == "mirroring" })
			t.Logf("REFUSED: %s: %s the status says: %+v", resp.Status, why, held)
		}
		return told
	})
}

// awaitReady waits until requests flow to active and the link mirrors at least
// so many partitions, closely.
func (w *world) awaitReady(t *testing.T, active string, partitions int) {
	t.Helper()
	await(t, 90*time.Second, "serving "+active+" with the mirror caught up", func() string {
		if !w.proc.Running() {
			t.Fatal("catamaran has ended")
		}
		var st sidecar.Status
		if err := w.get("/status", &st); err != nil {
			return err.Error()
		}
		switch {
		case st.Route == nil || !st.Serving:
			return "not serving: " + st.NotServing
		case st.Route.Active != active:
			return "active is " + st.Route.Active
		case !st.Link.Running:
			return "the link does not run: " + st.Link.Problem
		case len(st.Link.Partitions) < partitions:
			return fmt.Sprintf("the link has %d of %d partitions", len(st.Link.Partitions), partitions)
		case st.Link.LagRecords > 2000:
			return fmt.Sprintf("lag is %d records", st.Link.LagRecords)
		}
		for _, p := range st.Link.Partitions {
			if p.State != "mirroring" {
				return fmt.Sprintf("%s-%d is %s: %s", p.Topic, p.Partition, p.State, p.Reason)
			}
		}
		return ""
	})
}

// await polls until ok says "" and fails with what it said last.
func await(t *testing.T, timeout time.Duration, what string, ok func() string) {
	t.Helper()
	if why := poll(timeout, ok); why != "" {
		t.Fatalf("%s: not within %v: %s", what, timeout, why)
	}
}

// poll asks ok until it says "" or time is up, and gives what it said last.
func poll(timeout time.Duration, ok func() string) string {
	deadline := time.Now().Add(timeout)
	for {
		why := ok()
		if why == "" || time.Now().After(deadline) {
			return why
		}
		time.Sleep(50 * time.Millisecond)
	}
}
