package mirror

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// forget deletes the records of a partition below offset at, as retention does.
func (p *pair) forget(on string, x topicPartition, at int64) {
	p.Helper()
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: x.Topic, Partition: x.Partition, At: at})
	if _, err := kadm.NewClient(p.clients[on]).DeleteRecords(p.ctx, o); err != nil {
		p.Fatal(err)
	}
}

// transact writes one committed transaction.
func (p *pair) transact(on string, x topicPartition, values ...string) {
	p.Helper()
	txid := "tx"
	pr, err := newProducer(p.ctx, p.clusters[on], txid)
	if err != nil {
		p.Fatal(err)
	}
	if err := pr.add(p.ctx, []topicPartition{x}); err != nil {
		p.Fatal(err)
	}
	p.put(on, x, batch(protocol.Producer{ID: pr.id, Epoch: pr.epoch}, protocol.AttrTransactional, values...), &txid)
	if err := pr.commit(p.ctx); err != nil {
		p.Fatal(err)
	}
}

func TestPartitionWhoseMirroredRecordsHaveExpiredGoesOn(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, numbered("old", 20)...), nil)
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.drain(m)
	stop()
	p.forget("west", x, 20)
	p.forget("east", x, 20)
	m = p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	p.put("east", x, batch(protocol.NoProducer, 0, "new"), nil)
	next, s := p.switchover(m, eastToWest)
	if got := s.Partitions[0]; got.First != 21 || got.Held != "" {
		t.Fatalf("stamp %+v", got)
	}
	if log := p.same(x); len(log) != 1 || log[0].offset != 20 {
		t.Fatalf("log %v", log)
	}
	// And a cluster that returns when its own records have expired.
	p.put("west", x, batch(protocol.NoProducer, 0, "w"), nil)
	p.forget("east", x, 21)
	p.run(m, next)
	p.drain(m)
	if log := p.logical("east", x); len(log) != 1 || log[0].offset != 21 {
		t.Fatalf("log %v", log)
	}
}

func TestExpiredMarkersAreNoGap(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.transact("east", x, "a", "b")
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.eventually("it is mirrored, the marker too", func() bool { return p.state(m, x).Position == 3 })
	p.eventually("the map knows of the marker", func() bool {
		part := p.mapOf("west").Partition(x)
		return part.Map.Position(2) == 3
	})
	stop()
	p.forget("east", x, 3)
	p.put("east", x, batch(protocol.NoProducer, 0, "c"), nil)
	m = p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	if log := p.logical("west", x); len(log) != 3 || log[2].offset != 3 {
		t.Fatalf("log %v", log)
	}
}

// A cluster that comes back without some of its last records gets them again.
func TestReturningClusterGetsAgainWhatItHasLost(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("west", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("west", x, batch(protocol.NoProducer, 0, numbered("v", 8)...), nil)
	m := p.mirror()
	if err := m.EnsureMap(p.ctx, "west"); err != nil {
		t.Fatal(err)
	}
	c := p.clusters["west"]
	slot := x.Slot(p.cfg.Slots)
	w, err := m.enter(p.ctx, c, slot, logmap.Role{RouteEpoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	served := &logmap.ExtentRecord{TP: x, Extent: logmap.Extent{Generation: 1, Stamp: true, Tenure: 1}}
	if err := w.writeCommitted(p.ctx, []logmap.Record{served}); err != nil {
		t.Fatal(err)
	}
	for _, taken := range []logmap.Logical{20, 9} {
		// Each acquisition leaves a marker behind the records.
		w, err := m.acquire(p.ctx, c, slot, logmap.Role{RouteEpoch: 1})
		if err != nil {
			t.Fatal(err)
		}
		at, err := c.find(p.ctx, x)
		if err != nil {
			t.Fatal(err)
		}
		part := w.state.Partition(x)
		s := *w.known[x]
		got := c.returned(p.ctx, &s, &part.Map, at, taken, true, OrphanTailStop)
		if got.reason != "" || got.next != 8 {
			t.Fatalf("taken over at %d, 8 records found, end %d: goes on at %d (%s)", taken, got.end, got.next, got.reason)
		}
	}
}

// One failover after the other, before anything was written: the first stamp's
// jump must not stand above what follows,
// for clients were shown it as the end of the log.
func TestSecondFailoverRightAfterTheFirstKeepsTheMapOrdered(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, numbered("v", 10)...), nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	l := eastToWest
	l.Epoch++
	first, err := m.Stamp(p.ctx, l, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	l = Link{Source: "west", Target: "east", Epoch: l.Epoch, Tenure: 1}
	p.run(m, l)
	p.eventually("the link has begun", func() bool { return p.state(m, x).State == stateMirroring })
	l.Epoch++
	second, err := m.Stamp(p.ctx, l, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := first.Partitions[0], second.Partitions[0]; b.First < a.First {
		t.Fatalf("the first tenure began at %d, and the second at %d", a.First, b.First)
	}
	for i := range 20 {
		p.put("east", x, batch(protocol.NoProducer, 0, numbered("w", i+1)...), nil)
	}
	p.run(m, Link{Source: "east", Target: "west", Epoch: l.Epoch, Tenure: 2})
	p.drain(m)
	log := p.same(x)
	for _, on := range []string{"east", "west"} {
		part := p.mapOf(on).Partition(x)
		if !slices.IsSortedFunc(part.Map.Extents(), func(a, b logmap.Extent) int { return int(a.Logical - b.Logical) }) {
			t.Errorf("the map of %s is out of order: %v", on, part.Map.Extents())
		}
		for _, e := range log {
			if got := part.Map.Position(part.Map.Cluster(e.offset)); got != e.offset {
				t.Fatalf("%s: logical %d goes there and back as %d; map %v", on, e.offset, got, part.Map.Extents())
			}
		}
	}
}
