package matrix

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// table collects cells and prints them; safe for concurrent use.
type table struct {
	columns []string

	mu       sync.Mutex
	versions map[string]string
	cells    map[string]map[string]string // client → column → cell
	notes    []string
}

func newTable(columns ...string) *table {
	return &table{columns: columns, versions: make(map[string]string), cells: make(map[string]map[string]string)}
}

func (tb *table) version(client, version string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.versions[client] = version
}

// set fills a cell; a note, if any, is printed below the table.
func (tb *table) set(client, column, cell, note string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.cells[client] == nil {
		tb.cells[client] = make(map[string]string)
	}
	tb.cells[client][column] = cell
	if note != "" {
		tb.notes = append(tb.notes, fmt.Sprintf("%s, %s: %s", client, column, note))
	}
}

func (tb *table) String() string {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "client\tversion\t%s\n", strings.Join(tb.columns, "\t"))
	for _, c := range Clients {
		cells := tb.cells[c.Name]
		if cells == nil {
			continue
		}
		fmt.Fprintf(w, "%s\t%s", c.Name, tb.versions[c.Name])
		for _, column := range tb.columns {
			fmt.Fprintf(w, "\t%s", cells[column])
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	for _, n := range tb.notes {
		fmt.Fprintf(&b, "  %s\n", n)
	}
	return b.String()
}

// all is every outcome of the process, which TestMain prints.
var all = newTable(append(slices.Clone(stories), "switchover", "kill")...)

func TestMain(m *testing.M) {
	code := m.Run()
	if len(all.cells) > 0 {
		fmt.Printf("\nclient × story (the pauses are of produce/consume):\n%s\n", all)
	}
	os.Exit(code)
}

// begin chooses the clients, says loudly who is left out, and installs.
func begin(t *testing.T) []Client {
	t.Helper()
	harness.SkipIfShort(t, "real Kafka and client libraries of five languages")
	clients, left := chosen()
	if len(clients) == 0 {
		t.Fatalf("%s=%q chooses no client", Env, os.Getenv(Env))
	}
	if len(left) > 0 {
		t.Logf("NOT RUN: %s; make matrix runs all", strings.Join(left, ", "))
	}
	for _, c := range clients {
		began := time.Now()
		if _, err := c.install(c); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > time.Second {
			t.Logf("%s: installed in %v", c.Name, took.Round(time.Second))
		}
	}
	return clients
}

// TestClientsTellTheSameStoryDirectlyAndThroughTheSidecar is the metamorphic
// pair.
func TestClientsTellTheSameStoryDirectlyAndThroughTheSidecar(t *testing.T) {
	clients := begin(t)
	w := newWorld(t, true, "mode: off")
	w.awaitReady(t, "east", 0)
	base := time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()
	limit := make(chan struct{}, 2) // two at a time, each twice: two cores carry no more
	var wg sync.WaitGroup
	for _, c := range clients {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			var direct, through outcome
			var both sync.WaitGroup
			both.Go(func() { direct = tellStory(t, c, w.solo.Bootstrap()[0], "direct", base) })
			both.Go(func() { through = tellStory(t, c, w.bootstrap, "sidecar", base) })
			both.Wait()
			compare(t, c, direct, through)
		})
	}
	wg.Wait()
}

func tellStory(t *testing.T, c Client, bootstrap, where string, base int64) outcome {
	d, err := startDriver(c, bootstrap)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer d.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Error(err)
		return nil
	}
	defer cl.Close()
	began := time.Now()
	s := &teller{ctx: t.Context(), d: d, adm: kadm.NewClient(cl), bootstrap: bootstrap, topic: "story-" + c.Name, base: base}
	out := s.tell()
	all.version(c.Name, d.Version())
	t.Logf("%s, %s: told in %.1f s", c.Name, where, time.Since(began).Seconds())
	if slices.ContainsFunc(slices.Collect(maps.Values(out)), func(said string) bool { return strings.HasPrefix(said, "! ") }) {
		t.Logf("%s, %s: the end of what the program logged:\n%s", c.Name, where, d.Log())
	}
	return out
}

// compare judges the pair. A story that fails directly too says nothing about
// the sidecar, and is an error of the matrix: it must be mended or declared in
// Client.Lacks.
func compare(t *testing.T, c Client, direct, through outcome) {
	for _, story := range stories {
		d, s := direct[story], through[story]
		switch {
		case c.Lacks[story] != "":
			all.set(c.Name, story, "–", c.Lacks[story])
		case strings.HasPrefix(d, "! ") || d == "":
			all.set(c.Name, story, "DIRECT", d)
			t.Errorf("%s, %s: fails against Kafka itself: %s", c.Name, story, d)
		case strings.HasPrefix(s, "! "):
			all.set(c.Name, story, "FAIL", s)
			t.Errorf("%s, %s: through the sidecar: %s", c.Name, story, s)
		case s != d:
			all.set(c.Name, story, "DIFF", "")
			t.Errorf("%s, %s: through the sidecar\n%s\ndirectly\n%s", c.Name, story, s, d)
		default:
			all.set(c.Name, story, "ok", "")
		}
	}
}
