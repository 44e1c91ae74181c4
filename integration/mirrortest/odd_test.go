package mirrortest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/mirror"
)

// Compaction leaves batches with holes, which a broker refuses from a client,
// and a broker that stamps records itself keeps the stamp in the header only.
func TestCompactedAndBrokerStampedTopicsKeepOffsetsAndTimestamps(t *testing.T) {
	adm := kadm.NewClient(east.Client(t))
	ptr := kadm.StringPtr
	for name, configs := range map[string]map[string]*string{
		"compacted": {"cleanup.policy": ptr("compact"), "segment.ms": ptr("200"), "min.cleanable.dirty.ratio": ptr("0.01"), "max.compaction.lag.ms": ptr("200"), "delete.retention.ms": ptr("100")},
		"stamped":   {"message.timestamp.type": ptr("LogAppendTime")},
	} {
		if _, err := adm.CreateTopic(t.Context(), 1, 1, configs, name); err != nil {
			t.Fatal(err)
		}
	}
	cl := east.Client(t, kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	put := func(topic string, n int) {
		var recs []*kgo.Record
		now := time.Now() // a segment rolls by its records' time
		for i := range n {
			recs = append(recs, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%17), Value: fmt.Append(nil, i), Timestamp: now.Add(time.Duration(i-n) * time.Millisecond)})
		}
		if err := cl.ProduceSync(t.Context(), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	holes := func() bool {
		put("compacted", 1) // rolls the segment
		recs := readAll(t, east, "compacted")[0]
		for i := 1; i < len(recs)-3; i++ {
			if recs[i].Offset != recs[i-1].Offset+1 {
				return true
			}
		}
		return false
	}
	put("stamped", 100)
	put("compacted", 100)
	for deadline := time.Now().Add(60 * time.Second); !holes(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the source was never compacted")
		}
	}
	m := newMirror(t, config("compacted", "stamped"))
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	drain(t, m)
	if n := requireSame(t, "stamped"); n != 100 {
		t.Fatalf("%d records", n)
	}
	// The target compacts too, in its own time: compare the newest of each key.
	newest := func(c *kafkatest.Cluster) map[string]entry {
		out := make(map[string]entry)
		for _, e := range logical(t, c, "compacted")[0] {
			key, _, _ := strings.Cut(e.what, "=")
			out[key] = e
		}
		return out
	}
	a, b := newest(east), newest(west)
	for k, e := range a {
		if b[k] != e {
			t.Errorf("key %s: %v on east, %v on west", k, e, b[k])
		}
	}
	if len(a) != 17 || len(b) != 17 {
		t.Errorf("%d and %d keys, want 17", len(a), len(b))
	}
}

// Offsets reach groups that have members on the standby, of both protocols:
// OffsetCommit from outside would be refused there.
func TestGroupOffsetsReachLiveGroupsOfBothProtocols(t *testing.T) {
	const topic = "groups"
	createTopic(t, east, topic, 1)
	produce(t, east.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic, 0, 0, 100, "v")
	m := newMirror(t, config(topic))
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	drain(t, m)
	admEast, admWest := kadm.NewClient(east.Client(t)), kadm.NewClient(west.Client(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for group, opt := range map[string]kgo.Opt{
		"classic": kgo.Balancers(kgo.CooperativeStickyBalancer()),
		"kip848":  kgo.ServerSideBalancer(),
	} {
		member := west.Client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), opt)
		for member.PollFetches(ctx).NumRecords() == 0 {
			if ctx.Err() != nil {
				t.Fatalf("group %s: the member got nothing", group)
			}
		}
		for _, at := range []int64{42, 17, 100} {
			var o kadm.Offsets
			o.Add(kadm.Offset{Topic: topic, At: at, LeaderEpoch: -1, Metadata: "meta"})
			if err := admEast.CommitAllOffsets(ctx, group, o); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for {
				r, err := admWest.FetchOffsets(ctx, group)
				if err != nil {
					t.Fatal(err)
				}
				if got, ok := r.Lookup(topic, 0); ok && got.At == at && got.Metadata == "meta" {
					break
				}
				if ctx.Err() != nil {
					t.Fatalf("group %s: offset %d never came: %v", group, at, r)
				}
				time.Sleep(5 * time.Millisecond)
			}
			t.Logf("group %s: offset %d followed in %v", group, at, time.Since(began))
		}
	}
}

// One broker of three is killed while the mirror writes to it, and comes back.
func TestTargetThatLosesABrokerGetsEverythingOnce(t *testing.T) {
	const topic = "wide"
	wide := kafkatest.Start(t, kafkatest.Config{Name: "wide", Brokers: 3})
	createTopic(t, east, topic, 6)
	cfg := config(topic)
	cfg.Clusters["wide"] = mirror.Cluster{Seeds: wide.Bootstrap()}
	cfg.ReplicationFactor = 3
	m := newMirror(t, cfg)
	runLink(t, m, mirror.Link{Source: "east", Target: "wide", Epoch: 1})
	drain(t, m)
	cl := east.Client(t, kgo.ProducerLinger(time.Millisecond))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				cl.Produce(context.Background(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, n)}, nil)
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	time.Sleep(time.Second)
	wide.Broker(2).Kill()
	time.Sleep(6 * time.Second)
	wide.Broker(2).Restart(t)
	time.Sleep(2 * time.Second)
	end()
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	drain(t, m)
	a, b := logical(t, east, topic), logical(t, wide, topic)
	n := 0
	for p := range a {
		if len(a[p]) != len(b[p]) {
			t.Fatalf("%s-%d: %d records on east, %d on wide", topic, p, len(a[p]), len(b[p]))
		}
		for i := range a[p] {
			if a[p][i] != b[p][i] {
				t.Fatalf("%s-%d: record %d: %v on east, %v on wide", topic, p, i, a[p][i], b[p][i])
			}
		}
		n += len(a[p])
	}
	t.Logf("%d records", n)
}

// The whole target is killed and comes back.
func TestTargetThatIsKilledAndComesBackGetsEverythingOnce(t *testing.T) {
	const topic = "back"
	createTopic(t, east, topic, 3)
	m := newMirror(t, config(topic))
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	drain(t, m)
	cl := east.Client(t, kgo.ProducerLinger(time.Millisecond))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				cl.Produce(context.Background(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, n)}, nil)
			}
		}
	})
	end := sync.OnceFunc(func() { close(stop); wg.Wait() })
	defer end()
	time.Sleep(500 * time.Millisecond)
	west.Kill()
	time.Sleep(time.Second)
	west.Restart(t)
	began := time.Now()
	end()
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	drain(t, m)
	t.Logf("drained %v after the target was back, %d records", time.Since(began), requireSame(t, topic))
}
