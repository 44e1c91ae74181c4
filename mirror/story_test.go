package mirror

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// story is one partition through writes, crashes, rollbacks and cutovers, beside
// what clients were told.
type story struct {
	*pair
	x      topicPartition
	rng    *rand.Rand
	l      Link
	m      *Mirror
	stop   func() error
	acked  []entry // the logical log as clients know it
	n      int
	seq    int32
	sent   []sentBatch
	script []string
}

type sentBatch struct {
	first, last int32
	value       string
}

// retries asks for everything that was ever sent, as after a failover: what the
// map claims to hold must be in the log.
func (s *story) retries(want []entry) {
	part := s.mapOf(s.l.Source).Partition(s.x)
	end := s.clusters[s.l.Source].offsets(s.ctx, []topicPartition{s.x}, logEnd)[s.x].offset
	for _, b := range s.sent {
		at, ok := part.Mirrored(70, 0, b.first, b.last, end)
		i := slices.IndexFunc(want, func(e entry) bool { return e.offset == at })
		if ok && (i < 0 || values(want[i : i+1])[0] != b.value) {
			s.Fatalf("%s: batch %+v is said to be at %d; the log is %v, the map %v, the intents %+v\n%v",
				s.l.Source, b, at, want, part.Map.Extents(), part.Intents(), s.script)
		}
	}
}

func (s *story) note(format string, args ...any) {
	s.script = append(s.script, fmt.Sprintf(format, args...))
}

func (s *story) start() {
	s.m = s.mirror(func(c *Config) { c.OrphanTail = OrphanTailDead })
	s.stop = s.run(s.m, s.l)
}

func (s *story) crash() {
	s.stop()
	s.m.Close()
}

// write writes to the active cluster, and reads back what clients would see.
func (s *story) write() {
	x, on := s.x, s.l.Source
	next := func() string { s.n++; return fmt.Sprintf("r%d", s.n) }
	switch s.rng.IntN(4) {
	case 0:
		s.transact(on, x, next())
	case 1:
		txid := "aborted"
		pr, err := newProducer(s.ctx, s.clusters[on], txid)
		if err != nil {
			s.Fatal(err)
		}
		if err := pr.add(s.ctx, []topicPartition{x}); err != nil {
			s.Fatal(err)
		}
		s.put(on, x, batch(protocol.Producer{ID: pr.id, Epoch: pr.epoch}, protocol.AttrTransactional, next()), &txid)
		if _, err := newProducer(s.ctx, s.clusters[on], txid); err != nil {
			s.Fatal(err)
		}
	default:
		var vs []string
		for range 1 + s.rng.IntN(4) {
			vs = append(vs, next())
		}
		wire, err := protocol.ClientProducerID(70).Wire(s.l.Tenure)
		if err != nil {
			s.Fatal(err)
		}
		s.put(on, x, batch(protocol.Producer{ID: int64(wire), Sequence: s.seq}, 0, vs...), nil)
		s.sent = append(s.sent, sentBatch{s.seq, s.seq + int32(len(vs)) - 1, vs[0]})
		s.seq += int32(len(vs))
	}
	s.acked = s.logical(on, x)
}

// end is the logical end of the active's log as a sidecar shows it.
func (s *story) end() logmap.Logical {
	hw := s.clusters[s.l.Source].offsets(s.ctx, []topicPartition{s.x}, logEnd)[s.x]
	part := s.mapOf(s.l.Source).Partition(s.x)
	return part.Map.Position(hw.offset)
}

func (s *story) check(what string, want []entry) {
	s.Helper()
	got := s.logical(s.l.Source, s.x)
	if !slices.Equal(got, want) {
		s.Fatalf("%s: %s holds\n%v, want\n%v; map %v\n%v", what, s.l.Source, got, want, s.mapOf(s.l.Source).Partition(s.x).Map.Extents(), s.script)
	}
	for i := 1; i < len(got); i++ {
		if got[i].offset <= got[i-1].offset {
			s.Fatalf("%s: %s has offset %d after %d; %v", what, s.l.Source, got[i].offset, got[i-1].offset, s.script)
		}
	}
	for _, on := range []string{"east", "west"} {
		part := s.mapOf(on).Partition(s.x)
		ext := part.Map.Extents()
		if !slices.IsSortedFunc(ext, func(a, b logmap.Extent) int { return int(a.Logical - b.Logical) }) {
			s.Fatalf("%s: the map of %s is out of order: %v; %v", what, on, ext, s.script)
		}
	}
	s.acked = got
}

func (s *story) move(planned bool) {
	if planned {
		s.drain(s.m)
	} else {
		s.eventually("the link has begun", func() bool { return s.state(s.m, s.x).State == stateMirroring })
		time.Sleep(time.Duration(s.rng.IntN(15)) * time.Millisecond)
	}
	floor, l := s.end(), s.l
	l.Epoch++
	for range 1 + s.rng.IntN(2) { // a step that is repeated
		if err := s.m.Seal(s.ctx, l); err != nil {
			s.Fatal(err)
		}
	}
	if !planned && s.rng.IntN(3) == 0 { // the old active goes on for a while
		s.note("zombie write")
		before := s.acked
		s.write()
		s.acked = before
	}
	var stamped Stamped
	if s.rng.IntN(4) > 0 || planned {
		var err error
		jump := !planned && s.rng.IntN(3) == 0
		var floors []Floor
		if !jump || s.rng.IntN(2) == 0 {
			floors = []Floor{{s.x, floor}}
		}
		if stamped, err = s.m.Stamp(s.ctx, l, floors, jump); err != nil {
			s.Fatal(err)
		}
		for _, ps := range stamped.Partitions {
			s.note("stamp of %s: mirrored %d, first %d, tail %d, jump %v, floors %v", l.Target, ps.Mirrored, ps.First, ps.Tail, jump, len(floors))
		}
	}
	s.crash()
	if len(stamped.Partitions) == 0 || s.rng.IntN(4) == 0 {
		s.note("rolled back")
		s.l.Epoch += 2
		s.acked = s.logical(s.l.Source, s.x)
		s.start()
		return
	}
	ps := stamped.Partitions[0]
	if ps.Held != "" || planned && (ps.Mirrored != floor || ps.First != floor) || !planned && ps.First < floor {
		s.Fatalf("floor %d, mirrored %d, first %d, held %q; maps %v %v\n%v", floor, ps.Mirrored, ps.First, ps.Held,
			s.mapOf("east").Partition(s.x).Map.Extents(), s.mapOf("west").Partition(s.x).Map.Extents(), s.script)
	}
	want := slices.DeleteFunc(slices.Clone(s.acked), func(e entry) bool { return e.offset >= ps.Mirrored })
	if planned && len(want) != len(s.acked) {
		s.Fatalf("a switchover lost %v; %v", s.acked[len(want):], s.script)
	}
	s.l = Link{Source: l.Target, Target: l.Source, Epoch: l.Epoch, Tenure: l.Tenure + 1}
	s.check("after the move", want)
	s.retries(want)
	s.start()
}

func TestStoriesOfOnePartitionKeepEveryPromise(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		p := newPair(t)
		p.topic("east", "orders", 1, nil)
		s := &story{pair: p, x: tp("orders", 0), rng: rand.New(rand.NewPCG(seed, 1)), l: eastToWest}
		s.start()
		for range 40 {
			switch r := s.rng.IntN(10); {
			case r < 5:
				s.note("write")
				s.write()
			case r < 7:
				s.note("crash")
				s.crash()
				s.start()
				time.Sleep(time.Duration(s.rng.IntN(20)) * time.Millisecond)
			case r < 8:
				s.note("switchover")
				s.move(true)
			default:
				s.note("failover")
				s.move(false)
			}
		}
		s.drain(s.m)
		s.check("at the end", s.acked)
		if got := s.logical(s.l.Target, s.x); !slices.Equal(got, s.acked) {
			t.Fatalf("seed %d: the standby holds\n%v, want\n%v; maps %v %v\n%v", seed, got, s.acked,
				s.mapOf("east").Partition(s.x).Map.Extents(), s.mapOf("west").Partition(s.x).Map.Extents(), s.script)
		}
		s.crash()
	}
}
