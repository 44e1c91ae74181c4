package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// offsetJump is what a failover skips when some sidecar did not say which
// offsets its clients have seen: more than a mirror is ever behind by while the
// standby counts as mirrored within bounds.
const offsetJump = 1_000_000

// stamper writes the stamps of one cutover.
type stamper struct {
	Link
	m      *Mirror
	c      *cluster
	jump   bool
	floors map[topicPartition]logmap.Logical
	meta   *metadata

	mu  sync.Mutex
	out []PartitionStamp
}

// slot stamps the partitions of one slot. A mirror with a stale view of the
// route may have taken the slot's id over since it was sealed, only to give up:
// then it is acquired again.
func (st *stamper) slot(ctx context.Context, s *sealed, slot int32) error {
	for attempt := 1; ; attempt++ {
		recs, out := st.stamps(ctx, s.writers[slot], slot)
		var err error
		if len(recs) > 0 {
			err = s.writers[slot].writeCommitted(ctx, recs)
		}
		if err == nil {
			st.mu.Lock()
			st.out = append(st.out, out...)
			st.mu.Unlock()
			return nil
		}
		if !errors.Is(err, errFenced) || attempt == 10 {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
		w, err := st.m.acquireAgain(ctx, st.c, slot, st.Link)
		if err != nil {
			return fmt.Errorf("slot %d: %w", slot, err)
		}
		s.writers[slot] = w
	}
}

func (st *stamper) stamps(ctx context.Context, w *writer, slot int32) (recs []logmap.Record, out []PartitionStamp) {
	tps := make(map[topicPartition]*standing)
	maps.Copy(tps, w.known)
	for name, t := range st.meta.topics {
		for n := range t.parts {
			tp := topicPartition{Topic: name, Partition: int32(n)}
			if st.m.cfg.Topics.match(name) && tp.Slot(st.m.cfg.Slots) == slot && tps[tp] == nil {
				tps[tp] = st.unknown(ctx, tp)
			}
		}
	}
	for tp := range st.floors {
		if tp.Slot(st.m.cfg.Slots) == slot && tps[tp] == nil {
			tps[tp] = closed(tp, false, "cluster %s has no such partition: it was never mirrored", st.Target)
		}
	}
	for tp, s := range tps {
		rec, o := st.stamp(tp, s, &w.state.Partition(tp).Map)
		if rec != nil {
			recs = append(recs, rec)
		}
		out = append(out, o)
	}
	return recs, out
}

// unknown is a partition that the map does not mention. When it is empty it may
// be stamped: no mirror can write it, because the birth in front of its first
// write would need the sealed map.
func (st *stamper) unknown(ctx context.Context, tp topicPartition) *standing {
	one := []topicPartition{tp}
	end, start := st.c.offsets(ctx, one, logEnd)[tp], st.c.offsets(ctx, one, logStart)[tp]
	switch {
	case end.err != nil || start.err != nil:
		return closed(tp, true, "asking for the log's bounds: %v", errors.Join(end.err, start.err))
	case end.offset > 0:
		return closed(tp, false, "it holds records (offsets %d to %d) and was never mirrored to %s, so nobody knows what they are", start.offset, end.offset, st.Target)
	}
	return &standing{topicPartition: tp, dead: -1}
}

func (st *stamper) stamp(tp topicPartition, s *standing, m *logmap.Map) (logmap.Record, PartitionStamp) {
	o := PartitionStamp{TopicPartition: tp, Held: s.reason}
	floor, known := st.floors[tp]
	if s.reason != "" {
		o.Tail = -1
		return nil, o
	}
	mirrored := s.next
	old, stamped := stampOf(m, uint16(st.Tenure)+1)
	if stamped {
		mirrored = old.Before
	}
	first := max(mirrored, floor)
	if st.jump {
		first += offsetJump
	}
	if stamped {
		first = max(first, old.Logical)
	}
	o.Mirrored, o.First = mirrored, first
	switch {
	case known:
		o.Tail = max(0, int64(floor-mirrored))
	case st.jump:
		o.Tail = -1
	}
	switch {
	case stamped && s.data:
		// Clients have written in this tenure: it stands as it is.
		o.First = old.Logical
		return nil, o
	case s.native && !stamped:
		return nil, PartitionStamp{TopicPartition: tp, Tail: -1, Held: fmt.Sprintf("its last records were written by clients of cluster %s in an earlier tenure, "+
			"and nothing was mirrored since", st.Target)}
	}
	return &logmap.ExtentRecord{TP: tp, Extent: logmap.Extent{
		Generation: m.Generation() + 1, Cluster: s.end, Logical: first, SequenceBase: s.end,
		Tenure: uint16(st.Tenure) + 1, Stamp: true, Before: mirrored,
	}}, o
}

// stampOf is the last stamp of a tenure in force.
func stampOf(m *logmap.Map, tenure uint16) (at logmap.Extent, ok bool) {
	for _, e := range m.Extents() {
		if e.Stamp && e.Tenure == tenure {
			at, ok = e, true
		}
	}
	return at, ok
}

// result adds the ends of the map partitions: whoever has read so far has seen
// the stamps.
func (st *stamper) result(ctx context.Context) (Stamped, error) {
	out := Stamped{Positions: make([]int64, st.m.cfg.Slots), Partitions: st.out}
	tps := make([]topicPartition, st.m.cfg.Slots)
	for i := range tps {
		tps[i] = mapPartition(int32(i))
	}
	ends, err := st.c.ends(ctx, tps)
	if err != nil {
		return Stamped{}, err
	}
	for tp, end := range ends {
		out.Positions[tp.Partition] = int64(end)
	}
	slices.SortFunc(out.Partitions, func(a, b PartitionStamp) int {
		if a.Topic != b.Topic {
			if a.Topic < b.Topic {
				return -1
			}
			return 1
		}
		return int(a.Partition - b.Partition)
	})
	return out, nil
}
