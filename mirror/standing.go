package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// standing is where one partition of a cluster stands when its slot has been
// acquired: what the log holds, in logical offsets.
type standing struct {
	topicPartition
	// end is the end of the log, behind the seal.
	end logmap.Cluster
	// next is the first logical offset that the log does not hold.
	next logmap.Logical
	// data says that records stand behind the start of the last generation.
	data bool
	// native: the last generation is a client's (a stamp, or no map at all).
	native bool
	// dead is the stretch [dead, end) that must be marked dead before anything
	// else is written; -1: none.
	dead logmap.Cluster
	// reason says why nothing may be written here; "" when it may.
	reason string
	// again says that the reason may pass: the partition is tried again.
	again bool
	// soon says that it very likely passes within moments (a topic that was just
	// made, a leader that moves): that is no stop yet.
	soon bool
}

func notYet(tp topicPartition, format string, args ...any) *standing {
	s := closed(tp, true, format, args...)
	s.soon = true
	return s
}

func closed(tp topicPartition, again bool, format string, args ...any) *standing {
	return &standing{topicPartition: tp, dead: -1, again: again, reason: fmt.Sprintf(format, args...)}
}

// generationStart is the first extent of the highest generation: nothing that
// its writer found there when it began lies at or behind it.
func generationStart(m *logmap.Map) (start logmap.Extent) {
	highest := m.Generation()
	for _, e := range m.Extents() {
		if e.Generation == highest {
			return e
		}
	}
	return start
}

// tail is what stands in [from, end) of a log.
type tail struct {
	last   protocol.Batch // the last data batch, nil when there is none
	sealed bool           // a marker of the sealing producer and epoch stands there
}

// readTail looks at [from, end) from its end backwards, until it has seen the
// seal and a data batch, in growing steps: the common answer (the last batch,
// then the seal) takes one fetch however long the log is.
func (c *cluster) readTail(ctx context.Context, tp topicPartition, at place, from, end logmap.Cluster, p *producer) (tail, error) {
	var t tail
	for step := logmap.Cluster(2); ; step *= 8 {
		start := max(from, end-step)
		t = tail{}
		for offset, idle := start, 0; offset < end; {
			rp, err := c.fetchOne(ctx, tp, at, offset, readUncommitted)
			if err != nil {
				return t, err
			}
			before := offset
			for b, err := range protocol.Batches(rp.RecordBatches) {
				if err != nil {
					return t, fmt.Errorf("%s at offset %d on cluster %s: %w", tp, offset, c.name, err)
				}
				if next := logmap.Cluster(b.NextOffset()); next > from {
					offset = max(offset, next)
					if !b.Control() {
						t.last = b
					} else if b.ProducerID() == p.id && b.ProducerEpoch() == p.epoch {
						t.sealed = true
					}
				}
			}
			if offset == before {
				// The end was told by the same leader, so this is a leader that
				// has just changed: look again, a few times.
				if idle++; idle > 20 {
					return t, fmt.Errorf("%s on cluster %s: nothing can be read at offset %d although the log ends at %d", tp, c.name, offset, end)
				}
				if err := sleep(ctx, backoff(idle)); err != nil {
					return t, err
				}
			}
		}
		if start == from || t.last != nil && t.sealed {
			return t, nil
		}
	}
}

// stand finds where a sealed partition that the map knows stands.
//
// The markers of seals take offsets, and extents may have been written ahead of
// data that never came. So the log is read backwards to its last data batch,
// no further than the start of the last generation: whoever began it found the
// log ending there, and every extent behind the last data batch is void. What
// follows the last data batch has the logical offset that the map gives to its
// end.
//
// Every batch that a mirror wrote has the sequence (cluster offset - sequence
// base), and brokers refuse gaps in it. So if the last data batch has the right
// sequence, nothing foreign stands between the start of its generation and it.
func (w *writer) stand(ctx context.Context, tp topicPartition, at place, end logmap.Cluster) *standing {
	part := w.state.Partition(tp)
	start := generationStart(&part.Map)
	if end < start.Cluster {
		return closed(tp, false, "the log ends at %d and the map knows it to reach %d: it was truncated or made anew; "+
			"check it, and remove its records from the map to mirror it from the beginning", end, start.Cluster)
	}
	from := start.Cluster
	t, err := w.c.readTail(ctx, tp, at, from, end, &w.producer)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		// All that the last generation wrote has expired, which says where it ended.
		if first := w.c.offsets(ctx, []topicPartition{tp}, logStart)[tp]; first.err == nil && first.offset > from {
			from = first.offset
			t, err = w.c.readTail(ctx, tp, at, from, end, &w.producer)
		}
	}
	if err != nil {
		return closed(tp, true, "reading the end of the log: %v", err)
	}
	if !t.sealed {
		return closed(tp, true, "the seal did not reach the log (the partition had no leader)")
	}
	s := &standing{topicPartition: tp, end: end, native: start.Stamp || start.Generation == 0, dead: -1, data: t.last != nil}
	if !s.data {
		// The generation's first record would stand at its sequence base; a
		// generation that voids a stamp begins before that.
		s.next = part.Map.Position(max(from, start.SequenceBase))
		return s
	}
	s.next = part.Map.Position(logmap.Cluster(t.last.NextOffset()))
	if s.native {
		return s
	}
	base := logmap.Cluster(t.last.BaseOffset())
	switch want := sequenceAt(base, start.SequenceBase); {
	case t.last.ProducerID() != w.id && t.last.ProducerID() != w.before:
		return closed(tp, false, "foreign write: the batch at offset %d was written by producer %d, which is not the mirror (%d); "+
			"find out who writes to the standby", base, t.last.ProducerID(), w.id)
	case t.last.BaseSequence() != want:
		return closed(tp, false, "foreign write: between offsets %d and %d stand records that the mirror did not write "+
			"(its batch there has sequence %d, not %d); find out who writes to the standby", start.Cluster, base, t.last.BaseSequence(), want)
	}
	return s
}

func sequenceAt(at, base logmap.Cluster) int32 { return protocol.AddSequence(0, int64(at-base)) }

// orphans looks for what a cluster that served before holds beyond the point
// from which the other cluster took over: committed records at or behind cluster
// offset from. undecided says that a transaction is still open there.
func (c *cluster) orphans(ctx context.Context, tp topicPartition, at place, from, end logmap.Cluster) (first, last logmap.Cluster, records int64, undecided bool, err error) {
	first, last = -1, -1
	for offset, idle := from, 0; offset < end; {
		rp, err := c.fetchOne(ctx, tp, at, offset, readCommitted)
		if errors.Is(err, kerr.OffsetOutOfRange) {
			// What stood there has expired: nobody can be shown it any more.
			if start := c.offsets(ctx, []topicPartition{tp}, logStart)[tp]; start.err == nil && start.offset > offset {
				offset = start.offset
				continue
			}
		}
		if err != nil {
			return first, last, records, false, err
		}
		before, void := offset, newAborted(rp.AbortedTransactions)
		for b, err := range protocol.Batches(rp.RecordBatches) {
			if err != nil {
				return first, last, records, false, fmt.Errorf("%s at offset %d on cluster %s: %w", tp, offset, c.name, err)
			}
			next := logmap.Cluster(b.NextOffset())
			if void.drops(b) || next <= from {
				offset = max(offset, next)
				continue
			}
			if first < 0 {
				first = max(from, logmap.Cluster(b.BaseOffset()))
			}
			last = next - 1
			records += min(int64(b.RecordCount()), int64(next-max(from, logmap.Cluster(b.BaseOffset()))))
			offset = next
		}
		if offset > before {
			idle = 0
			continue
		}
		if rp.LastStableOffset < int64(end) && rp.LastStableOffset <= int64(offset) {
			return first, last, records, true, nil
		}
		if idle++; idle > 20 {
			return first, last, records, false, fmt.Errorf("%s on cluster %s: nothing can be read at offset %d although the log ends at %d", tp, c.name, offset, end)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return first, last, records, false, err
		}
	}
	return first, last, records, false, nil
}

// returned settles how a partition goes on whose last records were written by
// clients, in a tenure of its cluster that is over. before is where the other
// cluster took over (known: the other cluster's map says so).
//
// Nothing may stand at or behind it: those would be records that clients were
// told are safe and that the logical log does not have. Less is fine: what is
// missing is copied again, at the same offsets. Only s.next, what was found, says
// how much less: markers may stand where lost records stood.
func (c *cluster) returned(ctx context.Context, s *standing, m *logmap.Map, at place, before logmap.Logical, known bool, policy string) *standing {
	if !known {
		return closed(s.topicPartition, true, "it holds records of its own tenure, and the other cluster's map does not say where that ended "+
			"(its partition was not stamped)")
	}
	from := m.Cluster(before)
	if s.end <= from {
		return s
	}
	first, last, records, undecided, err := c.orphans(ctx, s.topicPartition, at, from, s.end)
	switch {
	case err != nil:
		return closed(s.topicPartition, true, "looking for an orphan tail: %v", err)
	case undecided:
		return closed(s.topicPartition, true, "a transaction is open behind offset %d; it ends by its timeout", from)
	case records > 0 && policy != OrphanTailDead:
		return closed(s.topicPartition, false, "orphan tail: %d records at offsets %d to %d (logical %d to %d) were acknowledged here after the last mirrored one; "+
			"save them, then mirror with the orphan tail policy %q", records, first, last, m.Position(first), m.Position(last), OrphanTailDead)
	case records > 0:
		s.dead = from
	}
	s.next = min(s.next, before)
	return s
}
