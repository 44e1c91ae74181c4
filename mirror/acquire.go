package mirror

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// ErrHigherEpoch says that the role record of a slot is of a higher route epoch:
// the route has moved on, whatever this process believes.
var ErrHigherEpoch = errors.New("the role record is of a higher route epoch")

// writer is the right to write one slot of a cluster, until somebody else
// acquires it. Acquiring is the one way to get it:
//
//  1. InitProducerId raises the epoch of the slot's transactional id.
//  2. A marker seals the map partition: no earlier owner can write the map.
//  3. The map partition is read to its end. A role of a higher route epoch, or
//     the other role at ours, ends it here; else ours is written.
//  4. Markers seal the data partitions that the map knows: no earlier owner can
//     write those either. One without a leader, or below its minimum of in-sync
//     replicas, stays closed and holds up no other.
//  5. The ends of the logs are read, and what they hold is judged (stand).
//
// What follows is up to the role: a target begins a generation with an extent
// per partition, an active cluster is stamped.
type writer struct {
	producer
	slot int32
	// before is the producer id of the previous owner: another one when the
	// cluster forgot the transactional id.
	before int64
	at     place // of the map partition
	seq    int32 // next sequence on the map partition
	state  *logmap.State
	known  map[topicPartition]*standing
}

func (m *Mirror) slotID(slot int32) string {
	return fmt.Sprintf("catamaran-%s-slot-%d", m.cfg.VirtualCluster, slot)
}

// acquire does steps 1 to 5.
func (m *Mirror) acquire(ctx context.Context, c *cluster, slot int32, role logmap.Role) (*writer, error) {
	w, err := m.enter(ctx, c, slot, role)
	if err != nil {
		return nil, fmt.Errorf("acquiring slot %d of cluster %s: %w", slot, c.name, err)
	}
	tps := make([]topicPartition, 0, len(w.state.Partitions()))
	for tp := range w.state.Partitions() {
		tps = append(tps, tp)
	}
	if w.known, err = w.close(ctx, tps); err != nil {
		return nil, fmt.Errorf("acquiring slot %d of cluster %s: %w", slot, c.name, err)
	}
	return w, nil
}

// enter does steps 1 to 3.
func (m *Mirror) enter(ctx context.Context, c *cluster, slot int32, role logmap.Role) (*writer, error) {
	p, err := newProducer(ctx, c, m.slotID(slot))
	if err != nil {
		return nil, err
	}
	w := &writer{producer: *p, slot: slot, before: p.id, state: new(logmap.State)}
	mine := mapPartition(slot)
	if w.at, err = c.find(ctx, mine); err != nil {
		return nil, err
	}
	if end := c.offsets(ctx, []topicPartition{mine}, logEnd)[mine]; end.err != nil {
		return nil, fmt.Errorf("end of %s: %w", mine, end.err)
	}
	if err := w.add(ctx, []topicPartition{mine}); err != nil {
		return nil, err
	}
	if err := w.commit(ctx); err != nil {
		return nil, err
	}
	_, err = c.readMap(ctx, slot, w.at, -1, func(rec logmap.Record, deleted bool) { w.state.Put(slot, rec, deleted) })
	if err != nil {
		return nil, err
	}
	if have, ok := w.state.Role(slot); ok {
		if have.RouteEpoch > role.RouteEpoch {
			return nil, fmt.Errorf("%w: %d (%s, by %s), ours is %d", ErrHigherEpoch, have.RouteEpoch, roleName(have), have.Writer, role.RouteEpoch)
		}
		if have.RouteEpoch == role.RouteEpoch && have.Active != role.Active {
			return nil, fmt.Errorf("%w: the cluster is %s under epoch %d (by %s), and we would make it %s", errOtherRole, roleName(have), have.RouteEpoch, have.Writer, roleName(role))
		}
		if have.ProducerID != p.id {
			if err := w.forgotten(ctx, have.ProducerID); err != nil {
				return nil, err
			}
			w.before = have.ProducerID
		}
	}
	role.ProducerID = p.id
	if err := w.writeCommitted(ctx, []logmap.Record{&role}); err != nil {
		return nil, err
	}
	w.state.Put(slot, &role, false)
	return w, nil
}

var errOtherRole = errors.New("two routes disagree under one epoch")

func roleName(r logmap.Role) string {
	if r.Active {
		return "active"
	}
	return "target"
}

// writeCommitted writes records to the map partition in a transaction, and
// returns when they can be read.
func (w *writer) writeCommitted(ctx context.Context, recs []logmap.Record) error {
	if err := w.add(ctx, []topicPartition{mapPartition(w.slot)}); err != nil {
		return err
	}
	seq, err := w.append(ctx, w.slot, w.at, w.seq, recs, true)
	if err != nil {
		return err
	}
	w.seq = seq
	return w.commit(ctx)
}

// close does steps 4 and 5 for some partitions of the slot; it fails only where
// the whole slot is concerned.
func (w *writer) close(ctx context.Context, tps []topicPartition) (map[topicPartition]*standing, error) {
	out := make(map[topicPartition]*standing, len(tps))
	if len(tps) == 0 {
		return out, nil
	}
	meta, err := w.c.metadata(ctx, topicsOf(tps)...)
	if err != nil {
		return nil, err
	}
	var open []topicPartition
	for _, tp := range tps {
		switch p, ok := meta.partition(tp); {
		case !ok:
			out[tp] = closed(tp, true, "the map knows it and cluster %s has no such partition", w.c.name)
		case p.leader < 0:
			out[tp] = closed(tp, true, "it has no leader on cluster %s, so it cannot be sealed", w.c.name)
		default:
			open = append(open, tp)
		}
	}
	thin, err := w.c.belowMinimum(ctx, meta, open)
	if err != nil {
		return nil, err
	}
	// Only what a leader answers for is brought into the transaction: where a
	// marker cannot be written, the transaction does not end, and the slot could
	// do nothing more. (A broker that has just got a partition answers
	// UNKNOWN_TOPIC_OR_PARTITION to markers, and one of 4.3.0 was seen to leave
	// such transactions in PrepareCommit for the minute that was watched.)
	before := w.c.offsets(ctx, open, logEnd)
	sealable := open[:0]
	for _, tp := range open {
		if err := before[tp].err; err != nil {
			out[tp] = closed(tp, true, "its leader on cluster %s does not answer for it, so it cannot be sealed: %v", w.c.name, err)
			continue
		}
		if thin[tp] {
			out[tp] = closed(tp, true, "it is below its minimum of in-sync replicas on cluster %s, so it cannot be sealed", w.c.name)
			continue
		}
		sealable = append(sealable, tp)
	}
	if len(sealable) == 0 {
		return out, nil
	}
	if err := w.add(ctx, sealable); err != nil {
		return nil, err
	}
	if err := w.commit(ctx); err != nil {
		return nil, err
	}
	ends := w.c.offsets(ctx, sealable, logEnd)
	var wg sync.WaitGroup
	var mu sync.Mutex
	limit := make(chan struct{}, 4)
	for _, tp := range sealable {
		if err := ends[tp].err; err != nil {
			out[tp] = closed(tp, true, "end of the log on cluster %s: %v", w.c.name, err)
			continue
		}
		p, _ := meta.partition(tp)
		limit <- struct{}{}
		wg.Go(func() {
			s := w.stand(ctx, tp, place{p.leader, meta.id(tp.Topic)}, ends[tp].offset)
			<-limit
			mu.Lock()
			out[tp] = s
			mu.Unlock()
		})
	}
	wg.Wait()
	return out, ctx.Err()
}

func topicsOf(tps []topicPartition) (names []string) {
	seen := make(map[string]bool)
	for _, tp := range tps {
		if !seen[tp.Topic] {
			seen[tp.Topic] = true
			names = append(names, tp.Topic)
		}
	}
	return names
}

// everySlot runs do for all slots, a few at a time, and returns the first error
// that says most: ErrHigherEpoch before others.
func everySlot(ctx context.Context, slots int, do func(ctx context.Context, slot int32) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	const atOnce = 16
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		limit = make(chan struct{}, atOnce)
	)
	for slot := range slots {
		limit <- struct{}{}
		wg.Go(func() {
			defer func() { <-limit }()
			if ctx.Err() != nil {
				return
			}
			if err := do(ctx, int32(slot)); err != nil {
				mu.Lock()
				if first == nil || errors.Is(err, ErrHigherEpoch) && !errors.Is(first, ErrHigherEpoch) {
					first = err
				}
				mu.Unlock()
				cancel()
			}
		})
	}
	wg.Wait()
	if first == nil {
		return ctx.Err()
	}
	return first
}
