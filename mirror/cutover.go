package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// sealed is every slot of a cluster, acquired with the role active.
type sealed struct {
	Link
	writers []*writer
}

// Seal acquires every slot of l.Target with the role active at l.Epoch. From
// then on nobody mirrors into it: earlier writers are refused by its brokers,
// later ones find the role. A link of this process into it is ended first.
// Partitions that cannot be sealed are held, and Stamp names them. It may be
// repeated, by any process.
func (m *Mirror) Seal(ctx context.Context, l Link) error {
	_, err := m.seal(ctx, l)
	return err
}

func (m *Mirror) seal(ctx context.Context, l Link) (*sealed, error) {
	c, err := m.cluster(l.Target)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	r := m.running
	m.sealed = nil
	m.mu.Unlock()
	if r != nil && r.Target == l.Target {
		r.cancel(fmt.Errorf("this process seals cluster %s under epoch %d: %w", l.Target, l.Epoch, ErrHigherEpoch))
		select {
		case <-r.ended:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if err := c.ensureMap(ctx, m.cfg.Slots); err != nil {
		return nil, err
	}
	s := &sealed{Link: l, writers: make([]*writer, m.cfg.Slots)}
	err = everySlot(ctx, m.cfg.Slots, func(ctx context.Context, slot int32) error {
		w, err := m.acquireAgain(ctx, c, slot, l)
		s.writers[slot] = w
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sealing cluster %s: %w", l.Target, err)
	}
	// The roles stand; now the late write of a group copier is refused too.
	if _, err := newProducer(ctx, c, m.groupsID()); err != nil {
		return nil, fmt.Errorf("sealing cluster %s: %w", l.Target, err)
	}
	m.mu.Lock()
	m.sealed = s
	m.mu.Unlock()
	return s, nil
}

// acquireAgain acquires a slot as active, against mirrors that are acquiring it
// at the same time: they give up once they see the role.
func (m *Mirror) acquireAgain(ctx context.Context, c *cluster, slot int32, l Link) (*writer, error) {
	for attempt := 1; ; attempt++ {
		w, err := m.acquire(ctx, c, slot, logmap.Role{RouteEpoch: l.Epoch, Active: true, Writer: m.cfg.Writer})
		if !errors.Is(err, errFenced) || attempt == 20 {
			return w, err
		}
		if err := sleep(ctx, backoff(attempt)); err != nil {
			return nil, err
		}
	}
}

// Stamp writes the extents that begin tenure l.Tenure+1 on l.Target: per
// partition, the end of its log is the first logical offset that was not
// mirrored, or that no client was shown, whichever is higher; plus a jump if
// some sidecar's floors are not known. It seals first if this process has not.
//
// It may be repeated, after a crash and by another process: a stamp of the
// tenure that stands is kept once clients have written behind it, and never
// falls below itself.
func (m *Mirror) Stamp(ctx context.Context, l Link, floors []Floor, jump bool) (Stamped, error) {
	m.mu.Lock()
	s := m.sealed
	m.sealed = nil // taken: what it knows of the logs is good for one stamp
	m.mu.Unlock()
	if s == nil || s.Target != l.Target || s.Epoch != l.Epoch || s.Tenure != l.Tenure {
		var err error
		if s, err = m.seal(ctx, l); err != nil {
			return Stamped{}, err
		}
	}
	c, err := m.cluster(l.Target)
	if err != nil {
		return Stamped{}, err
	}
	st := &stamper{m: m, c: c, Link: l, jump: jump, floors: make(map[topicPartition]logmap.Logical)}
	for _, f := range floors {
		st.floors[f.TopicPartition] = max(f.Next, st.floors[f.TopicPartition])
	}
	if st.meta, err = c.metadata(ctx); err != nil {
		return Stamped{}, fmt.Errorf("stamping: %w", err)
	}
	err = everySlot(ctx, m.cfg.Slots, func(ctx context.Context, slot int32) error {
		return st.slot(ctx, s, slot)
	})
	if err != nil {
		return Stamped{}, fmt.Errorf("stamping cluster %s: %w", l.Target, err)
	}
	return st.result(ctx)
}
