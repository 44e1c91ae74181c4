package slice

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/sidecar/history"
)

func newClient(t *testing.T, bootstrap string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestTargetEqualsSourceAfterTenKills kills the whole process while it mirrors.
// The clients write to the source itself, so that nothing but the mirror is
// judged.
func TestTargetEqualsSourceAfterTenKills(t *testing.T) {
	w := newWorld(t, "ten-kills", "mode: off")
	createTopic(t, w.east, "orders", 6)
	rec := history.NewRecorder(time.Now())
	stop := goProducer(t, rec, w.east.Bootstrap()[0], "orders", "go", 5000)
	for range 10 {
		proc := w.run(t)
		w.awaitCopying(t)
		time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond) // a random point, not a wait
		proc.Kill()
	}
	stop()
	w.run(t)
	source := readLog(t, w.east.Bootstrap()[0], "orders")
	await(t, 60*time.Second, "the target holds as much as the source", func() string {
		st := w.status()
		if st.Link.Running && len(st.Link.Partitions) == 6 && st.Link.LagRecords == 0 && !slices.ContainsFunc(st.Link.Partitions, notMirroring) {
			return ""
		}
		return "not yet"
	})
	target := readLog(t, w.west.Bootstrap()[0], "orders")
	compare(t, source, target)
	t.Logf("%d records on both clusters", len(source))
}

// compare demands the same records in the same order, partition by partition.
// The target's own offsets differ: seal markers stand between.
func compare(t *testing.T, source, target []history.Entry) {
	t.Helper()
	split := func(log []history.Entry) map[int32][]history.Record {
		m := make(map[int32][]history.Record)
		for _, e := range log {
			m[e.Partition] = append(m[e.Partition], e.Record)
		}
		return m
	}
	s, g := split(source), split(target)
	for p, want := range s {
		got := g[p]
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Errorf("partition %d: the first difference is record %d of %d on the source and %d on the target", p, i, len(want), len(got))
				break
			}
		}
	}
}
