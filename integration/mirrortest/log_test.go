package mirrortest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// entry is one committed record at its logical offset.
type entry struct {
	offset logmap.Logical
	what   string
}

// readAll consumes a topic from its start to its present end, read_committed.
func readAll(t *testing.T, c *kafkatest.Cluster, topic string) map[int32][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	adm := kadm.NewClient(c.Client(t))
	ends, err := adm.ListEndOffsets(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	starts := make(map[int32]kgo.Offset)
	left := make(map[int32]int64)
	out := make(map[int32][]*kgo.Record)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			return // no such topic: a cluster that was never a target has no map
		}
		starts[o.Partition] = kgo.NewOffset().AtStart()
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	if len(starts) == 0 {
		return out
	}
	cl := c.Client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: starts}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	// Aborted records at the very end are not returned, and are followed by
	// their marker, which is.
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("reading %s on %s: %v left", topic, c.Name(), left)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				out[r.Partition] = append(out[r.Partition], r)
			}
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		})
	}
	cl.Close()
	return out
}

func readMap(t *testing.T, c *kafkatest.Cluster) *logmap.State {
	t.Helper()
	s := new(logmap.State)
	for slot, recs := range readAll(t, c, logmap.Topic) {
		for _, r := range recs {
			if err := s.Apply(slot, r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s
}

// logical is a topic as clients see it through the cluster's map.
func logical(t *testing.T, c *kafkatest.Cluster, topic string) map[int32][]entry {
	t.Helper()
	s := readMap(t, c)
	out := make(map[int32][]entry)
	for n, recs := range readAll(t, c, topic) {
		m := &s.Partition(logmap.TopicPartition{Topic: topic, Partition: n}).Map
		for _, r := range recs {
			if l, ok := m.Record(logmap.Cluster(r.Offset)); ok {
				out[n] = append(out[n], entry{l, fmt.Sprintf("%q=%q %v @%d", r.Key, r.Value, r.Headers, r.Timestamp.UnixMilli())})
			}
		}
	}
	return out
}

// requireSame checks that both clusters hold one logical log, and returns the
// number of records.
func requireSame(t *testing.T, topic string) (n int) {
	t.Helper()
	a, b := logical(t, east, topic), logical(t, west, topic)
	for p := range a {
		if len(a[p]) != len(b[p]) {
			t.Errorf("%s-%d: %d records on east, %d on west", topic, p, len(a[p]), len(b[p]))
		}
		for i := range min(len(a[p]), len(b[p])) {
			if a[p][i] != b[p][i] {
				t.Fatalf("%s-%d: record %d: %v on east, %v on west", topic, p, i, a[p][i], b[p][i])
			}
		}
		n += len(a[p])
	}
	if t.Failed() {
		t.FailNow()
	}
	return n
}
