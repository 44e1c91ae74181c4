package mirror

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// sourceMap is the log map of the source, followed while a link runs. Clients
// write to the source and nobody else, so it hardly ever changes. It is safe for
// concurrent use.
type sourceMap struct {
	c     *cluster
	slots int

	version atomic.Uint64 // changes with the state

	mu    sync.Mutex
	state logmap.State
	next  []logmap.Cluster // by slot: the first offset not read, -1 before all
}

func newSourceMap(c *cluster, slots int) *sourceMap {
	s := &sourceMap{c: c, slots: slots, next: make([]logmap.Cluster, slots)}
	for i := range s.next {
		s.next[i] = -1
	}
	return s
}

// refresh reads what is new. A cluster without a map topic is home to all it has.
func (s *sourceMap) refresh(ctx context.Context, meta *metadata) error {
	t := meta.topics[logmap.Topic]
	if t == nil {
		return nil
	}
	if len(t.parts) != s.slots {
		return fmt.Errorf("map topic %s on cluster %s has %d partitions, %d slots are configured", logmap.Topic, s.c.name, len(t.parts), s.slots)
	}
	tps := make([]topicPartition, s.slots)
	for i := range tps {
		tps[i] = mapPartition(int32(i))
	}
	ends := s.c.offsets(ctx, tps, logEnd)
	return everySlot(ctx, s.slots, func(ctx context.Context, slot int32) error {
		s.mu.Lock()
		from := s.next[slot]
		s.mu.Unlock()
		if end := ends[mapPartition(slot)]; end.err == nil && (from == end.offset || from < 0 && end.offset == 0) {
			return nil
		}
		var recs []logmap.Record
		var gone []bool
		next, err := s.c.readMap(ctx, slot, place{t.parts[slot].leader, t.id}, from, func(r logmap.Record, deleted bool) {
			recs, gone = append(recs, r), append(gone, deleted)
		})
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, r := range recs {
			s.state.Put(slot, r, gone[i])
		}
		s.next[slot] = next
		if len(recs) > 0 {
			s.version.Add(1)
		}
		return nil
	})
}

// partition is a copy of what the map says of tp.
func (s *sourceMap) partition(tp topicPartition) (m *logmap.Map, birth *logmap.Birth) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.state.Partition(tp)
	return p.Map.Clone(), p.Birth
}

// position is what the partition's map says, without a copy of it: a cluster that
// was a target has a long one.
func (s *sourceMap) position(tp topicPartition, c logmap.Cluster) logmap.Logical {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Partition(tp).Map.Position(c)
}

// follows is where the source goes on behind next, the end of what the target
// holds. A tenure of the source may have begun above that (a failover's floors and
// jump) with no record between: the target goes on from there, or a cutover before
// the first record would begin below what clients were shown.
func (s *sourceMap) follows(tp topicPartition, next logmap.Logical) (logmap.Logical, logmap.Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.state.Partition(tp).Map
	for _, e := range m.Extents() {
		if e.Stamp && e.Before <= next {
			next = max(next, e.Logical)
		}
	}
	at := m.Cluster(next)
	return max(next, m.Position(at)), at
}

// tookOver is where the source's log began to be written by clients after the
// target's tenure served: the logical end of what the source held then.
func tookOver(m *logmap.Map, served uint16) (logmap.Logical, bool) {
	for _, e := range m.Extents() {
		if e.Stamp && e.Tenure > served {
			return e.Before, true
		}
	}
	return 0, false
}

// lastTenure is the last tenure in which clients wrote to the cluster of m: the
// one of its last stamp, or 0 on a home cluster.
func lastTenure(m *logmap.Map) (t uint16) {
	for _, e := range m.Extents() {
		if e.Stamp {
			t = max(t, e.Tenure)
		}
	}
	return t
}
