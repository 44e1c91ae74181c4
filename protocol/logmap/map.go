// Package logmap holds the log map: how the offsets that clients see (logical)
// relate to the offsets that one cluster stores, per partition.
//
// A Map answers in both directions. A State collects the records of the map
// topic into Maps, births, roles and intents. Everything is pure; a State is
// owned by one goroutine at a time.
//
// Invariants of a partition's map, which every method keeps:
//
//	A  Extents are ordered by cluster offset and, without exception, by logical
//	   offset: a later offset on the cluster is a later logical one.
//	B  Inside an extent logical minus cluster offset is constant.
//	C  An extent ends where the next one begins. One of a higher generation
//	   voids all of lower generations that begin at or beyond it, on the cluster
//	   or in logical offsets: what a dead writer wrote ahead never applies to
//	   another writer's records.
//	D  A logical offset stands for one record, for ever. Dead extents have no
//	   logical offsets of their own.
package logmap

import (
	"fmt"
	"slices"
	"sort"
)

// Logical is an offset as clients see it; Cluster is an offset as one cluster
// stores it. Negative values are Kafka's sentinels and translate to themselves.
type (
	Logical int64
	Cluster int64
)

// Generation numbers one writer's run in a partition's map: each acquisition of
// the slot and each stamp starts a higher one.
type Generation int64

// Extent is a run of cluster offsets over which logical minus cluster offset is
// constant. It begins at Cluster and ends where the next extent begins.
type Extent struct {
	Generation Generation
	Cluster    Cluster
	Logical    Logical
	// SequenceBase is the cluster offset at which the generation's sequence 0
	// stands: a mirrored batch at cluster offset c has base sequence c minus
	// SequenceBase. Extents of one generation share it.
	SequenceBase Cluster
	// Tenure is the stay of the active role that wrote the records first; a
	// stamp begins the tenure that it names.
	Tenure uint16
	// Dead marks records that have no logical offset: the sidecar skips them.
	// Logical is then the offset that follows the stretch.
	Dead bool
	// Stamp marks the extent that begins a tenure of this cluster.
	Stamp bool
	// Before is the logical offset after the last record that stood on this
	// cluster when the generation began; all its extents repeat it, because a
	// later one may replace the first. Between that record and Cluster there may
	// be markers, which take cluster offsets: only Before tells whether a record
	// that was announced (an intent) had arrived. In a stamp it is where the old
	// active's orphan tail begins.
	Before Logical
}

func (e Extent) String() string {
	kind := ""
	if e.Stamp {
		kind = " stamp"
	}
	if e.Dead {
		kind += " dead"
	}
	return fmt.Sprintf("{g%d t%d %d→%d%s}", e.Generation, e.Tenure, e.Cluster, e.Logical, kind)
}

// Map is the log map of one partition on one cluster. The zero Map knows no
// extents: it is the identity, which is the map of a partition on its home
// cluster before any cutover.
type Map struct{ extents []Extent }

// Add brings e into the map. Extents may come in any order and repeatedly, as a
// compacted topic hands them out.
//
// Along the extents in force neither generations nor logical offsets ever fall.
// So the neighbours tell everything, and a map with an extent for each of a
// million transactions is read in a moment.
//
// Leftovers of lower generations may stand in front of e too, where only markers
// do: the logical offset of those is higher than e's.
func (m *Map) Add(e Extent) {
	first := func(from, to int, is func(Extent) bool) int {
		return from + sort.Search(to-from, func(i int) bool { return is(m.extents[from+i]) })
	}
	n := len(m.extents)
	later := first(0, n, func(have Extent) bool { return have.Generation > e.Generation })
	if later < n && (m.extents[later].Cluster <= e.Cluster || m.extents[later].Logical < e.Logical) {
		return // void by invariant C before it was seen
	}
	same := first(0, later, func(have Extent) bool { return have.Generation == e.Generation })
	void := first(0, same, func(have Extent) bool { return have.Cluster >= e.Cluster || have.Logical > e.Logical })
	m.extents = slices.Delete(m.extents, void, same)
	at := first(void, later-(same-void), func(have Extent) bool { return have.Cluster >= e.Cluster })
	if at < len(m.extents) && m.extents[at].Cluster == e.Cluster {
		m.extents[at] = e
		return
	}
	m.extents = slices.Insert(m.extents, at, e)
}

// Extents are the extents in force, in order. The caller must not change them.
func (m *Map) Extents() []Extent { return m.extents }

// Generation is the highest generation known, 0 when there is none.
func (m *Map) Generation() (highest Generation) {
	if n := len(m.extents); n > 0 {
		highest = m.extents[n-1].Generation
	}
	return highest
}

// Clone is a copy that shares nothing.
func (m *Map) Clone() *Map { return &Map{extents: slices.Clone(m.extents)} }

// at is the index of the extent that covers c, -1 when c lies before the first.
func (m *Map) at(c Cluster) int {
	return sort.Search(len(m.extents), func(i int) bool { return m.extents[i].Cluster > c }) - 1
}

// implicit is the identity before the first extent of a home cluster's map: a
// home cluster writes its first extent only when it is stamped or resumed as a
// target, and everything before that is its own first tenure.
func implicit(c Cluster) Logical { return Logical(c) }

// Logical is the logical offset of the record at c, and whether there is one:
// a record in a dead stretch has none, and then the result is the offset that
// follows the stretch. It serves positions too (end of log, high watermark,
// commits): the position c and the first live record at or after c agree.
func (m *Map) Logical(c Cluster) (Logical, bool) {
	if c < 0 {
		return Logical(c), true
	}
	i := m.at(c)
	if i < 0 {
		return implicit(c), true
	}
	e := m.extents[i]
	if e.Dead {
		return e.Logical, false
	}
	return e.Logical + Logical(c-e.Cluster), true
}

// Record is Logical for a batch that a cluster returned at c: false also for
// what the cluster has and the logical log lacks (its own seal markers), which
// would otherwise take the logical offset of the record that follows the hole.
// A client that was shown such a batch would step over that record. Where the
// next generation begins with a gap (a failover, behind offsets that were shown
// and are lost), the markers before it would take lost offsets; its writer said
// where the records end.
func (m *Map) Record(c Cluster) (Logical, bool) {
	l, ok := m.Logical(c)
	i := m.at(c)
	if !ok || c < 0 || i+1 >= len(m.extents) {
		return l, ok
	}
	next, own := m.extents[i+1], Generation(0)
	if i >= 0 {
		own = m.extents[i].Generation
	}
	if l >= next.Logical || next.Generation != own && l >= next.Before {
		return l, false
	}
	return l, true
}

// Position is Logical for a position that needs no record there. In the hole
// before an extent (several seal markers in a row) it is the extent's logical
// offset: counting on through the hole would place a log start or a high
// watermark that stands there behind records that follow it.
func (m *Map) Position(c Cluster) Logical {
	l, _ := m.Logical(c)
	if i := m.at(c); c >= 0 && i+1 < len(m.extents) {
		l = min(l, m.extents[i+1].Logical)
	}
	return l
}

// Cluster is the ceiling: the smallest cluster offset whose logical offset is l
// or above. In a hole that is the next record. Beyond the end of the log it
// continues the last extent.
func (m *Map) Cluster(l Logical) Cluster {
	if l < 0 {
		return Cluster(l)
	}
	// The last live extent that begins at or below l. By invariant A a binary
	// search over logical offsets is sound; dead extents share the logical
	// offset of their successor and are stepped over.
	i := sort.Search(len(m.extents), func(i int) bool { return m.extents[i].Logical > l }) - 1
	if i >= 0 && m.extents[i].Dead {
		if i+1 < len(m.extents) {
			// l falls on a dead stretch's offset but before its live
			// successor: only possible in the hole between the two.
			return m.live(i + 1)
		}
		// The log ends with a dead stretch: nothing live is at l yet. What
		// comes will stand after the stretch, whose end only the log knows.
		return m.extents[i].Cluster + Cluster(l-m.extents[i].Logical)
	}
	var c Cluster
	if i < 0 {
		c = Cluster(l)
	} else {
		c = m.extents[i].Cluster + Cluster(l-m.extents[i].Logical)
	}
	if i+1 < len(m.extents) && c >= m.extents[i+1].Cluster {
		return m.live(i + 1)
	}
	return c
}

// live is the beginning of the first live extent from i on.
func (m *Map) live(i int) Cluster {
	for ; i < len(m.extents)-1 && m.extents[i].Dead; i++ {
	}
	return m.extents[i].Cluster
}

// Split yields the runs of [from, to) with one extent each, so that a caller
// can translate a batch that spans a boundary. The identity before the first
// extent is yielded as an Extent of generation 0.
func (m *Map) Split(from, to Cluster, yield func(from, to Cluster, e Extent) bool) {
	for from < to {
		i := m.at(from)
		e, end := Extent{}, to
		if i >= 0 {
			e = m.extents[i]
		}
		if i+1 < len(m.extents) {
			end = min(end, m.extents[i+1].Cluster)
		}
		if !yield(from, end, e) {
			return
		}
		from = end
	}
}
