package mirror

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// switchover moves the role from l.Source to l.Target as the controller does,
// and returns the link of the other direction.
func (p *pair) switchover(m *Mirror, l Link) (Link, Stamped) {
	p.Helper()
	p.drain(m)
	l.Epoch++
	if err := m.Seal(p.ctx, l); err != nil {
		p.Fatal(err)
	}
	s, err := m.Stamp(p.ctx, l, nil, false)
	if err != nil {
		p.Fatal(err)
	}
	return Link{Source: l.Target, Target: l.Source, Epoch: l.Epoch, Tenure: l.Tenure + 1}, s
}

func TestSwitchoversThereAndBackKeepOneOffsetSpace(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 3, nil)
	parts := []topicPartition{tp("orders", 0), tp("orders", 1), tp("orders", 2)}
	l, active := eastToWest, "east"
	want := map[topicPartition][]string{}
	m := p.mirror()
	for round := range 5 {
		for i, x := range parts[:2] { // the third stays empty
			for k := range 3 {
				v := numbered(active+string(rune('A'+round))+string(rune('a'+k)), i+2)
				p.put(active, x, batch(protocol.NoProducer, 0, v...), nil)
				want[x] = append(want[x], v...)
			}
		}
		p.run(m, l)
		next, s := p.switchover(m, l)
		if len(s.Positions) != p.cfg.Slots {
			t.Fatalf("%d positions, want %d", len(s.Positions), p.cfg.Slots)
		}
		for _, x := range parts {
			i := slices.IndexFunc(s.Partitions, func(s PartitionStamp) bool { return s.TopicPartition == x })
			if i < 0 {
				t.Fatalf("round %d: %s was not stamped", round, x)
			}
			ps := s.Partitions[i]
			if end := logmap.Logical(len(want[x])); ps.Held != "" || ps.Mirrored != end || ps.First != end || ps.Tail != 0 {
				t.Fatalf("round %d: stamp %+v, want first %d", round, ps, end)
			}
			log := p.same(x)
			if got := values(log); !slices.Equal(got, want[x]) {
				t.Fatalf("round %d: %s holds %v, want %v", round, x, got, want[x])
			}
			for n, e := range log {
				if e.offset != logmap.Logical(n) {
					t.Fatalf("round %d: %s: record %d has logical offset %d", round, x, n, e.offset)
				}
			}
		}
		l, active = next, next.Source
	}
}

func TestOrphanTailStopsThePartitionAndNamesIt(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 2, nil)
	torn, whole := tp("orders", 0), tp("orders", 1)
	for _, x := range []topicPartition{torn, whole} {
		p.put("east", x, batch(protocol.NoProducer, 0, "a", "b"), nil)
	}
	m := p.mirror()
	p.run(m, eastToWest)
	next, _ := p.switchover(m, eastToWest)
	// East acknowledged more than was mirrored, as in a failover.
	p.put("east", torn, batch(protocol.NoProducer, 0, "lost1", "lost2"), nil)
	p.put("east", torn, batch(protocol.NoProducer, 0, "lost3"), nil)
	for _, x := range []topicPartition{torn, whole} {
		p.put("west", x, batch(protocol.NoProducer, 0, "c"), nil)
	}
	stop := p.run(m, next)
	p.eventually("the orphan tail is found", func() bool { return p.state(m, torn).State == stateStopped })
	reason := p.state(m, torn).Reason
	if !strings.Contains(reason, "orphan tail: 3 records at offsets 2 to 4") {
		t.Fatalf("reason: %s", reason)
	}
	p.eventually("the other goes on", func() bool { return len(p.logical("east", whole)) == 3 })
	p.same(whole)
	stop()
	m = p.mirror(func(c *Config) { c.OrphanTail = OrphanTailDead })
	p.run(m, next)
	p.drain(m)
	if got := values(p.same(torn)); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("got %v", got)
	}
	// The dead stretch must not be taken for the mirror's own or a foreigner's.
	back, _ := p.switchover(m, next)
	p.put("east", torn, batch(protocol.NoProducer, 0, "d"), nil)
	p.run(m, back)
	p.drain(m)
	if got := values(p.same(torn)); !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Fatalf("got %v", got)
	}
}

func TestStampRespectsFloorsAndRepeatsSafely(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, "a", "b"), nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	l := eastToWest
	l.Epoch++
	stamp := func(m *Mirror, floor logmap.Logical, jump bool) PartitionStamp {
		t.Helper()
		s, err := m.Stamp(p.ctx, l, []Floor{{x, floor}}, jump)
		if err != nil {
			t.Fatal(err)
		}
		return s.Partitions[0]
	}
	if got := stamp(m, 5, false); got.Mirrored != 2 || got.First != 5 || got.Tail != 3 {
		t.Fatalf("stamp %+v", got)
	}
	// Another driver, which was told less, must not go below.
	if got := stamp(p.mirror(), 2, false); got.Mirrored != 2 || got.First != 5 {
		t.Fatalf("repeated stamp %+v", got)
	}
	// One that knows of a sidecar which did not answer goes above.
	if got := stamp(p.mirror(), 5, true); got.Mirrored != 2 || got.First != 5+offsetJump {
		t.Fatalf("repeated stamp with a jump %+v", got)
	}
	// Once clients write, the stamp stands.
	p.put("west", x, batch(protocol.NoProducer, 0, "c"), nil)
	if got := stamp(m, 9_000_000, true); got.Mirrored != 2 || got.First != 5+offsetJump {
		t.Fatalf("repeated stamp behind data %+v", got)
	}
	log := p.logical("west", x)
	if len(log) != 3 || log[2].offset != 5+offsetJump {
		t.Fatalf("log %v", log)
	}
	p.run(m, Link{Source: "west", Target: "east", Epoch: l.Epoch, Tenure: 1})
	p.drain(m)
	p.same(x)
}

func TestStampOfARolledBackCutoverIsVoid(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, "a", "b"), nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	l := eastToWest
	l.Epoch++
	if _, err := m.Stamp(p.ctx, l, nil, true); err != nil {
		t.Fatal(err)
	}
	p.put("east", x, batch(protocol.NoProducer, 0, "c"), nil)
	l.Epoch++
	p.run(m, l)
	next, s := p.switchover(m, l)
	if got := s.Partitions[0]; got.First != 3 || got.Held != "" {
		t.Fatalf("stamp after a rollback %+v", got)
	}
	p.put("west", x, batch(protocol.NoProducer, 0, "d"), nil)
	p.run(m, next)
	p.drain(m)
	if log := p.same(x); len(log) != 4 || log[3].offset != 3 {
		t.Fatalf("log %v", log)
	}
}

func TestTrailingMarkersCountWhenTheRoleMoves(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, "a"), nil)
	txid := "tx"
	pr, err := newProducer(p.ctx, p.clusters["east"], txid)
	if err != nil {
		t.Fatal(err)
	}
	if err := pr.add(p.ctx, []topicPartition{x}); err != nil {
		t.Fatal(err)
	}
	p.put("east", x, batch(protocol.Producer{ID: pr.id, Epoch: pr.epoch}, protocol.AttrTransactional, "b"), &txid)
	if err := pr.commit(p.ctx); err != nil {
		t.Fatal(err)
	}
	m := p.mirror()
	p.run(m, eastToWest)
	next, s := p.switchover(m, eastToWest)
	if got := s.Partitions[0]; got.First != 3 || got.Mirrored != 3 {
		t.Fatalf("stamp %+v: clients of east have seen the end at 3", got)
	}
	p.put("west", x, batch(protocol.NoProducer, 0, "c"), nil)
	p.run(m, next)
	p.drain(m)
	if log := p.same(x); len(log) != 3 || log[2].offset != 3 {
		t.Fatalf("log %v", log)
	}
}

func TestGroupOffsetsFollowIntoALiveGroup(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, numbered("v", 10)...), nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	// A member of the group lives on the target.
	member, err := kgo.NewClient(kgo.SeedBrokers(p.fakes["west"].ListenAddrs()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	if fs := member.PollFetches(p.ctx); fs.NumRecords() == 0 {
		t.Fatal("the member got nothing")
	}
	east, west := kadm.NewClient(p.clients["east"]), kadm.NewClient(p.clients["west"])
	commit := func(at int64) {
		t.Helper()
		var o kadm.Offsets
		o.Add(kadm.Offset{Topic: "orders", Partition: 0, At: at, LeaderEpoch: 0, Metadata: "m"})
		if err := east.CommitAllOffsets(p.ctx, "g", o); err != nil {
			t.Fatal(err)
		}
	}
	on := func() kadm.OffsetResponse {
		r, err := west.FetchOffsets(p.ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		got, _ := r.Lookup("orders", 0)
		return got
	}
	commit(7)
	p.eventually("the offset follows", func() bool { o := on(); return o.At == 7 && o.Metadata == "m" && o.LeaderEpoch == -1 })
	commit(10)
	p.drain(m)
	if o := on(); o.At != 10 {
		t.Fatalf("after a drain the group stands at %d on the target, want 10", o.At)
	}
}
