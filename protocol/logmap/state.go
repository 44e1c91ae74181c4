package logmap

import (
	"slices"
	"sort"
)

// State is what the map topic of one cluster says, read so far. The zero State
// is empty and ready. It is owned by one goroutine at a time.
type State struct {
	partitions map[TopicPartition]*Partition
	roles      map[int32]Role
}

// Partition is what the map says of one partition.
type Partition struct {
	Map     Map
	Birth   *Birth // nil when the cluster is the partition's home
	intents map[int64]Intent
}

// Apply brings one record of map partition slot into the state. A record that
// does not decode changes nothing; the caller decides whether ErrUnknownRecord
// is fatal (it is for a writer).
func (s *State) Apply(slot int32, key, value []byte) error {
	rec, deleted, err := Decode(key, value)
	if err != nil {
		return err
	}
	s.Put(slot, rec, deleted)
	return nil
}

// Put is Apply for a record that is at hand.
func (s *State) Put(slot int32, rec Record, deleted bool) {
	switch v := rec.(type) {
	case *Role:
		if s.roles == nil {
			s.roles = make(map[int32]Role)
		}
		if have, ok := s.roles[slot]; !deleted && (!ok || v.RouteEpoch >= have.RouteEpoch) {
			s.roles[slot] = *v
		}
	case *Birth:
		p := s.partition(v.TP)
		p.Birth = v
		if deleted {
			p.Birth = nil
		}
	case *ExtentRecord:
		if !deleted { // pruning below the log start changes no answer
			s.partition(v.TP).Map.Add(v.Extent)
		}
	case *Intent:
		p := s.partition(v.TP)
		if deleted {
			delete(p.intents, v.ProducerID)
			return
		}
		if p.intents == nil {
			p.intents = make(map[int64]Intent)
		}
		p.intents[v.ProducerID] = *v
	}
}

func (s *State) partition(tp TopicPartition) *Partition {
	p := s.partitions[tp]
	if p == nil {
		if s.partitions == nil {
			s.partitions = make(map[TopicPartition]*Partition)
		}
		p = new(Partition)
		s.partitions[tp] = p
	}
	return p
}

// Partition is what is known of tp, never nil; a partition that the map does
// not mention has the identity as its map and no birth.
func (s *State) Partition(tp TopicPartition) *Partition {
	if p := s.partitions[tp]; p != nil {
		return p
	}
	return new(Partition)
}

// Partitions are the partitions that the map mentions, in no order. The caller
// must not change the result.
func (s *State) Partitions() map[TopicPartition]*Partition { return s.partitions }

// Role is the role record of slot with the highest route epoch, and whether
// there is one.
func (s *State) Role(slot int32) (Role, bool) { r, ok := s.roles[slot]; return r, ok }

// Intents are the last batches of each producer, by client producer id.
func (p *Partition) Intents() map[int64]Intent { return p.intents }

// Mirrored is the logical offset of the client batch (producer, epoch, first
// and last sequence) if the log, which ends at end, holds it. It is void when
// the log ends before it, or when a later generation found its last record
// absent (Extent.Before: cluster offsets do not tell, since that generation's
// own seal markers stand where the records would have been). The batch may have
// been copied again then, so it may be listed twice.
func (p *Partition) Mirrored(producerID int64, epoch int16, first, last int32, end Cluster) (Logical, bool) {
	for _, b := range p.intents[producerID].Batches {
		if b.Epoch != epoch || b.FirstSequence != first || b.LastSequence != last {
			continue
		}
		if b.Cluster+Cluster(b.Count) <= end && !p.Map.lacked(b) {
			return b.Logical, true
		}
	}
	return 0, false
}

// lacked says that a later generation than b's began without b.
func (m *Map) lacked(b IntentBatch) bool {
	later := sort.Search(len(m.extents), func(i int) bool { return m.extents[i].Generation > b.Generation })
	return slices.ContainsFunc(m.extents[later:], func(e Extent) bool { return e.Before < b.Logical+Logical(b.Count) })
}
