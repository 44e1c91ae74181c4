package protocol

import (
	"errors"
	"math"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// What a fetch returns is translated batch by batch, in place:
//
//   - base offset: logical (outside the CRC).
//   - leader epoch: -1 (outside the CRC). librdkafka orders positions by (epoch,
//     offset) and stops its commits when the epoch falls.
//   - producer id: the client's form, in what clients wrote on this cluster and
//     in everything transactional (aborted transactions are matched by it). What
//     the mirror wrote keeps the mirror's id, which no consumer looks at.
//   - a batch with no logical offset (seal markers, dead stretches) is dropped
//     and what follows moves up.
//   - a partial batch at the end is cut off.
//
// Invariant (progress): an answer to a fetch at logical offset l holds a batch
// whose last logical offset is at least l, or every batch that the cluster
// returned stands at or behind the last logical record that this map knows.
//
// Why it holds: the fetch offset is Map.Cluster(l), a ceiling over extents, so
// it never lies in a hole or a dead stretch that a live extent follows. But
// compaction may have removed what was live from there to the next hole, and
// then everything returned can be dropped; the client would ask for the same
// for ever. So when all was dropped and the position behind the last dropped
// batch is beyond l, one empty batch is answered that spans l up to there.
// Brokers send such batches themselves after compaction (KAFKA-5443), and
// clients step over them. At the end of the log (trailing markers) that
// position is l itself: the answer is empty, with a high watermark of l.

// fetchedRecords translates records, which were fetched for logical offset
// from. A code other than 0 refuses the partition's answer.
func fetchedRecords(m *logmap.Map, records []byte, from int64) (out []byte, code int16) {
	w, passed := 0, logmap.Cluster(-1)
	for rest := records; len(rest) > 0; {
		b, next, err := NextBatch(rest)
		if errors.Is(err, ErrOldMagic) {
			// Offsets of magic 0 and 1 are inside the checksum of compressed
			// sets, so they pass only where nothing would change.
			if l, ok := m.Record(logmap.Cluster(b.BaseOffset())); !ok || int64(l) != b.BaseOffset() {
				return cut(records[:w], codeUnsupportedFormat)
			}
			w = keep(records, w, b)
			rest = next
			continue
		}
		if errors.Is(err, ErrTruncatedBatch) {
			break
		}
		if err != nil {
			return cut(records[:w], codeUnknownServerError)
		}
		switch l, ok, whole := fetchedAt(m, b); {
		case !whole:
			return cut(records[:w], codeUnknownServerError)
		case ok:
			fetchedBatch(m, b, l)
			w = keep(records, w, b)
		default:
			passed = logmap.Cluster(b.NextOffset())
		}
		rest = next
	}
	if w == 0 && passed >= 0 {
		return emptyBatch(from, int64(m.Position(passed))), 0
	}
	return records[:w], 0
}

// keep moves b, a part of records, down to w, and returns what follows it. As a
// rule nothing was dropped and b stands there already.
func keep(records []byte, w int, b Batch) int {
	if &records[w] != &b[0] {
		copy(records[w:], b)
	}
	return w + len(b)
}

// cut answers what came before a batch that cannot be translated; the client's
// next fetch begins at that batch and gets the code.
func cut(before []byte, code int16) ([]byte, int16) {
	if len(before) > 0 {
		return before, 0
	}
	return nil, code
}

// fetchedAt is the logical offset of a batch, and whether it has one. whole is
// false for a batch across extents, which nobody writes: an extent begins at the
// end of the log. No single base offset is right for it, so it is refused.
func fetchedAt(m *logmap.Map, b Batch) (l logmap.Logical, ok, whole bool) {
	if b.BaseOffset() < 0 || b.LastOffsetDelta() < 0 {
		return 0, false, false
	}
	l, ok = m.Record(logmap.Cluster(b.BaseOffset()))
	if b.LastOffsetDelta() == 0 {
		return l, ok, true
	}
	last, lastOK := m.Record(logmap.Cluster(b.NextOffset() - 1))
	if !ok && !lastOK {
		return l, false, true
	}
	return l, ok, ok == lastOK && int64(last-l) == int64(b.LastOffsetDelta())
}

func fetchedBatch(m *logmap.Map, b Batch, l logmap.Logical) {
	have := b.ProducerID()
	if have >= 0 {
		native := nativeAt(m, b.BaseOffset())
		if native || b.Attributes()&(AttrTransactional|AttrControl) != 0 {
			if id := fetchedProducerID(m, b.BaseOffset(), have); id != have {
				b.SetProducer(Producer{ID: id, Epoch: b.ProducerEpoch(), Sequence: b.BaseSequence()}, b.Attributes())
			}
		}
	}
	b.SetBaseOffset(int64(l))
	b.SetLeaderEpoch(-1)
}

// fetchedProducerID is the client form of a producer id that the cluster stores
// at offset c.
func fetchedProducerID(m *logmap.Map, c, id int64) int64 {
	e, _ := extentAt(m, c)
	return int64(WireProducerID(id).Client(Tenure(e.Tenure)))
}

// nativeAt says that clients wrote what stands at c: the extent is a stamp's, or
// the identity before the first extent (the home cluster's first tenure).
func nativeAt(m *logmap.Map, c int64) bool {
	e, ok := extentAt(m, c)
	return !ok || e.Stamp
}

func extentAt(m *logmap.Map, c int64) (at logmap.Extent, ok bool) {
	m.Split(logmap.Cluster(c), logmap.Cluster(c)+1, func(_, _ logmap.Cluster, e logmap.Extent) bool {
		at, ok = e, e.Generation != 0
		return false
	})
	return at, ok
}

// emptyBatch spans [from, to) without a record; it has no bytes when that is
// nothing (and is not null, see failFetched).
func emptyBatch(from, to int64) []byte {
	if to <= from || from < 0 {
		return []byte{}
	}
	b := BuildBatch(nil, NoProducer, 0)
	b.SetBaseOffset(from)
	b.setLastOffsetDelta(int32(min(to-from-1, math.MaxInt32)))
	return b
}
