package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// waiter waits until partitions are mirrored up to given source offsets.
type waiter struct {
	ends map[topicPartition]logmap.Cluster
	done chan error // of size 1
}

// satisfied answers a waiter that has an answer: all there, or some never.
func (l *link) satisfied(w *waiter) bool {
	var stopped []string
	waiting := false
	for tp, end := range w.ends {
		switch p := l.parts[tp]; {
		case p == nil || p.state == stateStopped:
			reason := "it is not known"
			if p != nil {
				reason = p.reason
			}
			stopped = append(stopped, fmt.Sprintf("%s: %s", tp, reason))
		case p.state == stateMirroring && p.position >= end:
			delete(w.ends, tp)
		case p.refused:
			stopped = append(stopped, fmt.Sprintf("%s: %s", tp, p.reason))
		default:
			waiting = true
		}
	}
	switch {
	case len(stopped) > 0:
		slices.Sort(stopped)
		n := len(stopped)
		if n > 10 {
			stopped = append(stopped[:10], "…")
		}
		w.done <- fmt.Errorf("%d partitions are not mirrored to their end: %s", n, strings.Join(stopped, "; "))
	case !waiting:
		w.done <- nil
	default:
		return false
	}
	return true
}

// drain returns when the target holds every record that the source holds now,
// and says where the source's log ends.
//
// The ends are high watermarks, not last stable offsets: a record behind an open
// transaction is acknowledged and must not be left behind. So drain waits for
// open transactions to end.
func (l *link) drain(ctx context.Context) error {
	if err := l.discover(ctx); err != nil {
		return err
	}
	var tps []topicPartition
	if err := l.call(ctx, func() {
		for tp := range l.parts {
			if _, ok := l.srcMeta.partition(tp); ok {
				tps = append(tps, tp)
			}
		}
	}); err != nil {
		return err
	}
	ends, err := l.src.ends(ctx, tps)
	if err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	w := &waiter{ends: ends, done: make(chan error, 1)}
	if err := l.call(ctx, func() { l.waiters = append(l.waiters, w) }); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("draining: %w", context.Cause(ctx))
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
	if err := l.closeHoles(ctx, tps); err != nil {
		return err
	}
	return l.groupsOnce(ctx, true)
}

// errSlotLost says that a drain must be begun again.
var errSlotLost = errors.New("a slot was lost while draining")

// closeHole writes an extent behind one log, if there is such a hole; nothing of
// the partition may be on its way. An extent would be written there in any case,
// before the next record, under the same key.
func (l *link) closeHole(p *part) {
	next := l.source.position(p.topicPartition, p.position)
	if next <= p.plan.Logical+logmap.Logical(p.planEnd-p.plan.Cluster) {
		return
	}
	p.plan = logmap.Extent{Generation: p.plan.Generation, Cluster: p.planEnd, Logical: next, SequenceBase: p.plan.SequenceBase, Tenure: p.plan.Tenure, Before: p.plan.Before}
	rec := &logmap.ExtentRecord{TP: p.topicPartition, Extent: p.plan}
	p.closing = rec
	l.mapWrite(p.slot, []logmap.Record{rec}, func() {
		if p.closing == rec {
			p.closing = nil
		}
	})
}

// closeIdleHole does so for a partition that is caught up. Else a mirror that
// starts after the source's markers have expired would look for records where
// they stood; and after a failover they would be counted as lost.
func (l *link) closeIdleHole(p *part) {
	if p.state == stateMirroring && p.slot.w != nil && len(p.queue) == 0 && p.position >= p.hw {
		l.closeHole(p)
	}
}

// closeHoles writes an extent behind every log whose source ends with something
// that is not copied (markers, aborted records), and waits until all are durable:
// clients were shown that end, and the next tenure continues there.
func (l *link) closeHoles(ctx context.Context, tps []topicPartition) error {
	runs := make(map[*slot]int)
	for began, waiting := false, true; waiting; began = true {
		if began {
			if err := sleep(ctx, 2*time.Millisecond); err != nil {
				return err
			}
		}
		lost := false
		if err := l.call(ctx, func() {
			waiting = false
			for _, tp := range tps {
				p := l.parts[tp]
				// A slot that is lost takes its writes with it.
				if p == nil || p.state != stateMirroring || p.slot.w == nil || began && p.slot.run != runs[p.slot] {
					lost = true
					return
				}
				runs[p.slot] = p.slot.run
				// With something in the queue the source was written to again, so
				// its end has moved.
				if !began && len(p.queue) == 0 {
					l.closeHole(p)
				}
				waiting = waiting || p.closing != nil
			}
		}); err != nil {
			return err
		}
		if lost {
			return errSlotLost
		}
	}
	return nil
}
