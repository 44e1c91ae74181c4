package slice

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
)

// hardLimit is how long an application may wait when its cluster dies.
const hardLimit = 8 * time.Second

// TestApplicationsSurviveKillOfTheirCluster is the story of the product: four
// unmodified clients, kill −9 of the cluster that they use.
func TestApplicationsSurviveKillOfTheirCluster(t *testing.T) {
	story(t, "killed", func(w *world) { w.east.Kill() })
}

// TestApplicationsSurviveAClusterThatStandsStill is the same with SIGSTOP:
// connections stay open and nothing answers.
func TestApplicationsSurviveAClusterThatStandsStill(t *testing.T) {
	story(t, "standing-still", func(w *world) { w.east.Pause() })
}

func story(t *testing.T, name string, strike func(w *world)) {
	w := newWorld(t, name, "mode: auto, observers: [sidecar-1]")
	createTopic(t, w.east, "orders", 6)
	proc := w.run(t)
	w.awaitReady(t, "east", 6)

	rec := history.NewRecorder(time.Now())
	clients := startClients(t, rec, w.bootstrap)
	clients.awaitMore(t, 2000, 30*time.Second) // everyone has joined and flows

	before := w.status()
	if before.Route.Tenure != 0 || before.Route.State != failover.Serving {
		t.Fatalf("before: %+v", before.Route)
	}
	w.checkMetrics(t, "east", "0", map[string]string{"east": "1", "west": "1"})

	seen := w.watchReadiness()
	struck := time.Now()
	strike(w)
	clients.awaitMore(t, 2000, 25*time.Second)
	t.Logf("2,000 more records acknowledged and read by everyone %.1f s after the loss", time.Since(struck).Seconds())
	await(t, 10*time.Second, "status names west", func() string {
		st := w.status()
		if st.Route == nil || st.Route.Active != "west" || !st.Serving {
			return "not yet: " + st.NotServing
		}
		return ""
	})
	w.checkMetrics(t, "west", "1", map[string]string{"east": "0", "west": "1"})
	if got := seen(); !slices.Contains(got, http.StatusServiceUnavailable) || got[0] != http.StatusOK || got[len(got)-1] != http.StatusOK {
		t.Errorf("/readyz said %v: want 200, then 503 during the cutover, then 200", slices.Compact(got))
	}

	clients.awaitMore(t, 1000, 15*time.Second)
	clients.stopProducers(t)
	clients.awaitAllRead(t, 20*time.Second)
	clients.stopConsumers(t)
	declareTails(rec, w.reports(t))
	final := readLog(t, w.bootstrap, "orders")
	h := rec.History()
	judge(t, h, final)
	for who, pause := range pauses(h) {
		t.Logf("longest pause, %s: %v", who, pause.Round(time.Millisecond))
		if pause > hardLimit {
			t.Errorf("%s paused for %v, %v is the limit", who, pause, hardLimit)
		}
	}
	w.checkGroupsAtEnd(t, "orders", "java-group", "go-group")
	if !proc.Running() {
		t.Error("catamaran has ended")
	}
}

// clients are the four of the story.
type clients struct {
	rec           *history.Recorder
	stopProducers func(t *testing.T)
	stopConsumers func(t *testing.T)
	groups        []string
	producers     []string
}

func startClients(t *testing.T, rec *history.Recorder, bootstrap string) *clients {
	jc := javaConsumer(t, rec, bootstrap, "orders", "java-group")
	stopGoConsumer := goConsumer(t, rec, bootstrap, "orders", "go-group", "go")
	jp := javaProducer(t, rec, bootstrap, "orders", "java", 500)
	stopGoProducer := goProducer(t, rec, bootstrap, "orders", "go", 500)
	return &clients{
		rec: rec, groups: []string{"java-group", "go-group"}, producers: []string{"java", "go"},
		stopProducers: func(t *testing.T) { jp.Stop(t); stopGoProducer() },
		stopConsumers: func(t *testing.T) { jc.Stop(t); stopGoConsumer() },
	}
}

// counts is how many records each producer had acknowledged, and each group read.
func (c *clients) counts() map[string]int {
	h, n := c.rec.History(), make(map[string]int)
	for _, a := range h.Acknowledged {
		n[a.Producer]++
	}
	for _, r := range h.Consumed {
		n[r.Group]++
	}
	return n
}

// awaitMore waits until every client has moved on by n records.
func (c *clients) awaitMore(t *testing.T, n int, timeout time.Duration) {
	t.Helper()
	was := c.counts()
	await(t, timeout, "every client moves on", func() string {
		now := c.counts()
		for _, who := range append(slices.Clone(c.producers), c.groups...) {
			if now[who]-was[who] < n {
				return who + " does not move on"
			}
		}
		return ""
	})
}

// awaitAllRead waits until both groups have read every acknowledged record that
// is not in a tail (those are judged later): they fall silent with nothing left.
func (c *clients) awaitAllRead(t *testing.T, timeout time.Duration) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		_, consumed := c.rec.Last()
		if time.Since(consumed) > 2*time.Second {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("the consumers never fell silent after the producers had stopped")
}

// watchReadiness asks /readyz until the returned function is called, which gives
// the codes in order.
func (w *world) watchReadiness() (codes func() []int) {
	stop := make(chan struct{})
	var got []int
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if code, _, err := w.get("/readyz"); err == nil {
				got = append(got, code)
			}
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() []int { close(stop); wg.Wait(); return got }
}

func (w *world) checkMetrics(t *testing.T, active, tenure string, healthy map[string]string) {
	t.Helper()
	want := map[string]string{"catamaran_route_tenure": tenure, `catamaran_active{cluster="` + active + `"}`: "1"}
	for cluster, v := range healthy {
		want[`catamaran_cluster_healthy{cluster="`+cluster+`"}`] = v
	}
	for line, v := range want {
		if got := w.metric(t, line); got != v {
			t.Errorf("%s is %s, want %s", line, got, v)
		}
	}
	if code, _, err := w.get("/healthz"); err != nil || code != http.StatusOK {
		t.Errorf("/healthz: %d %v", code, err)
	}
}

// declareTails enters what the reports said was not carried over.
func declareTails(rec *history.Recorder, reports []sidecar.Report) {
	for _, r := range reports {
		for _, p := range r.Partitions {
			rec.Tail(history.TopicPartition{Topic: p.Topic, Partition: p.Partition}, p.Mirrored, p.First)
		}
	}
}

// judge is the checker's verdict on everything.
func judge(t *testing.T, h *history.History, final []history.Entry) {
	t.Helper()
	v := history.Check(h, final)
	t.Logf("acknowledged %d, consumed %d, lost in the declared tail %d, read in the tail %d, re-read %d, in the log %d",
		v.Acknowledged, v.Consumed, v.LostInDeclaredTail, v.ReadInTail, v.Reread, len(final))
	for _, broken := range v.Broken() {
		t.Error(broken)
	}
	if t.Failed() {
		for _, e := range v.Examples {
			t.Log(e)
		}
	}
}

// checkGroupsAtEnd compares commits with the ends of the log, both as a client
// sees them.
func (w *world) checkGroupsAtEnd(t *testing.T, topic string, groups ...string) {
	t.Helper()
	adm := kadm.NewClient(newClient(t, w.bootstrap))
	ends, err := adm.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		commits, err := adm.FetchOffsets(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		ends.Each(func(end kadm.ListedOffset) {
			if c, ok := commits.Lookup(end.Topic, end.Partition); !ok || c.At != end.Offset {
				t.Errorf("%s has committed %d of %s-%d, whose end is %d", g, c.At, end.Topic, end.Partition, end.Offset)
			}
		})
	}
}
