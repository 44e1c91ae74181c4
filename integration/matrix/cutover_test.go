package matrix

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
)

// Load of each client while the role moves, in records per second, and how many
// records each must get through between two events.
const (
	rate = 50
	flow = 100
)

// hardLimit is how long an application may wait for a planned move, and when its
// cluster dies.
const hardLimit = 8 * time.Second

// TestClientsWorkThroughSwitchoverThereAndBack moves the role twice under all
// clients at once.
func TestClientsWorkThroughSwitchoverThereAndBack(t *testing.T) {
	clients := begin(t)
	w := newWorld(t, false, "mode: manual")
	tab := newTable("there", "back", "read across", "pause", "re-read", "judged")
	w.awaitReady(t, "east", 0)
	apps := startApps(t, w, tab, clients)
	w.awaitReady(t, "east", partitions*len(apps))
	apps.awaitFlow(t, tab, "there") // everyone flows
	var marks []time.Time
	for _, move := range []struct{ to, column string }{{"west", "there"}, {"east", "back"}} {
		marks = append(marks, time.Now())
		w.switchover(t, move.to)
		apps.awaitFlow(t, tab, move.column)
		w.awaitReady(t, move.to, partitions*len(apps))
	}
	apps.finish(t, w, tab, marks, nil)
	t.Logf("switchover there and back:\n%s", tab)
	summarise(apps, tab, "switchover")
}

// TestClientsWorkThroughKillOfTheirCluster is kill −9 under all clients at once.
func TestClientsWorkThroughKillOfTheirCluster(t *testing.T) {
	clients := begin(t)
	if !everything() {
		t.Skipf("NOT RUN: the kill of a cluster under every client; integration/slice has one under two of them, make matrix runs all")
	}
	w := newWorld(t, false, "mode: auto, observers: [sidecar-1]")
	tab := newTable("kill", "read across", "pause", "re-read", "judged")
	w.awaitReady(t, "east", 0)
	apps := startApps(t, w, tab, clients)
	w.awaitReady(t, "east", partitions*len(apps))
	apps.awaitFlow(t, tab, "kill")
	mark := time.Now()
	w.east.Kill()
	apps.awaitFlow(t, tab, "kill")
	var reports []sidecar.Report
	if err := w.get("/reports", &reports); err != nil {
		t.Fatal(err)
	}
	apps.finish(t, w, tab, []time.Time{mark}, reports)
	t.Logf("kill −9 of the active cluster:\n%s", tab)
	summarise(apps, tab, "kill")
}

func isAck(e Event) bool { return e.Ack != "" }
func isGot(e Event) bool { return e.Got != "" }

// awaitFlow waits until every app has had flow more records acknowledged, and its
// group has read as many.
func (running apps) awaitFlow(t *testing.T, tab *table, column string) {
	t.Helper()
	var wg sync.WaitGroup
	for _, a := range running {
		wg.Go(func() {
			acked, got := len(a.d.Events(isAck)), len(a.d.Events(isGot))
			why := poll(40*time.Second, func() string {
				acks, gots := len(a.d.Events(isAck))-acked, len(a.d.Events(isGot))-got
				if acks >= flow && gots >= flow {
					return ""
				}
				return fmt.Sprintf("%d acknowledged, %d read", acks, gots)
			})
			if why != "" {
				tab.set(a.d.client.Name, column, "STUCK", why)
				t.Errorf("%s, %s: does not go on: %s", a.d.client.Name, column, why)
			} else {
				tab.set(a.d.client.Name, column, "ok", "")
			}
		})
	}
	wg.Wait()
}

// finish stops the producers, lets the groups read to the end, reads across each
// cutover with each library, and judges every app by its own history.
func (running apps) finish(t *testing.T, w *world, tab *table, marks []time.Time, reports []sidecar.Report) {
	t.Helper()
	var wg sync.WaitGroup
	limit := make(chan struct{}, 4)
	for _, a := range running {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			a.finish(t, w, tab, marks, reports)
		})
	}
	wg.Wait()
	running.checkMarkers(t, w)
}

// checkMarkers demands that the product's own control records stay inside.
// Libraries pass over them, but for kafka-go, which hands them out as records.
func (running apps) checkMarkers(t *testing.T, w *world) {
	t.Helper()
	seen, example := 0, ""
	for _, a := range running {
		found, err := markers(t.Context(), w.bootstrap, a.topic)
		if err != nil {
			t.Error(err)
		}
		for _, at := range found {
			seen, example = seen+1, fmt.Sprintf("%s-%d at offset %d", a.topic, at.partition, at.offset)
		}
	}
	if seen > 0 {
		t.Errorf("%d of the product's own markers are shown to clients as control records, for example in %s", seen, example)
	}
}

// finish is the end of one app. Stopping, the commits and the checker make one
// judgement, so that a table has one cell for them.
func (a *app) finish(t *testing.T, w *world, tab *table, marks []time.Time, reports []sidecar.Report) {
	name := a.d.client.Name
	fail := func(column string, err error) {
		tab.set(name, column, "FAIL", err.Error())
		t.Errorf("%s, %s: %v", name, column, err)
	}
	stopErr := a.producer()
	log, err := readLog(t.Context(), w.bootstrap, a.topic)
	if err != nil {
		fail("judged", err)
		return
	}
	stopErr = errors.Join(stopErr, a.awaitAllRead(log), a.members())

	if err := a.readAcross(t.Context(), w, log, marks); err != nil {
		fail("read across", err)
	} else {
		tab.set(name, "read across", "ok", "")
	}
	h := a.history(reports)
	for _, p := range []struct {
		what string
		gap  time.Duration
	}{{"produce", longestGap(a.d.Events(isAck))}, {"consume", longestGap(a.d.Events(isGot))}} {
		if p.gap > hardLimit {
			fail("pause", fmt.Errorf("%s paused for %v, %v is the limit", p.what, p.gap, hardLimit))
		}
	}
	v := history.Check(h, entries(a.topic, log))
	if pause := v.LongestPause(); pause <= hardLimit {
		tab.set(name, "pause", fmt.Sprintf("%.1f/%.1f s", v.ProducePause.Seconds(), v.ConsumePause.Seconds()), "")
	}
	tab.set(name, "re-read", fmt.Sprint(v.Reread), "")
	broken := v.Broken()
	if !a.d.client.Idempotent {
		// Whatever is in front: a retry of such a producer is a new record.
		tolerated := slices.IndexFunc(broken, func(s string) bool { return strings.HasSuffix(s, "are there twice") })
		if tolerated >= 0 {
			tab.set(name, "judged", "", broken[tolerated]+" (its producer is not idempotent)")
			broken = slices.Delete(broken, tolerated, tolerated+1)
		}
	}
	if err := w.committedAtEnd(t.Context(), a.topic, log); err != nil {
		stopErr = errors.Join(stopErr, err)
	}
	if stopErr != nil {
		broken = append(broken, stopErr.Error())
	}
	if len(broken) > 0 {
		fail("judged", fmt.Errorf("%s\n    %s\n  the program logged:\n%s", strings.Join(broken, "; "), strings.Join(v.Examples, "\n    "), a.d.Log()))
		return
	}
	note := ""
	if v.LostInDeclaredTail > 0 {
		note = fmt.Sprintf("%d records lost in the tail that the report declares", v.LostInDeclaredTail)
	}
	tab.set(name, "judged", fmt.Sprintf("ok, %d", v.Acknowledged), note)
}
