package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

const (
	// keepTransactional is how often a slot commits a small transaction: brokers
	// forget a transactional id after 7 days without one, and its next owner
	// would get another producer id.
	keepTransactional = time.Hour
	// proofAge is how long a slot may have been silent before it proves with a
	// map record that it is still its owner: a broker may have forgotten who
	// fenced a producer that is idle for longer than it remembers old records.
	proofAge = 2 * time.Minute
	// acquireTimeout bounds one attempt.
	acquireTimeout = 30 * time.Second
	// fencedWait doubles to fencedWaitMax while other mirrors keep taking the slot,
	// and is as at first when it was kept for peaceAfter.
	fencedWait    = 250 * time.Millisecond
	fencedWaitMax = time.Minute
	peaceAfter    = 2 * fencedWaitMax
)

// slot is one slot of a link.
type slot struct {
	n int32
	w *writer // nil while it is being acquired
	// run counts acquisitions: an answer to what was asked in an earlier one is
	// dropped. Whatever that was has been decided by the seal.
	run      int
	failures int
	// fenced counts the times that another mirror took the slot away. Only one
	// should run, but two must not take it from each other many times a second:
	// every acquisition costs one of a producer id's 32767 epochs. Behind the last
	// the broker issues another id, and until it has forgotten the old one (24 h)
	// nobody could prove that the old one is silent, and acquire.
	fenced int
	// The map partition's writes, in order; writing: the first taken are in flight.
	queue   []mapWrite
	writing bool
	// outstanding counts data batches in flight.
	outstanding int
	// paused: no new data, because a transaction of this slot waits or runs.
	paused  bool
	sealing bool // it runs
	lastTxn time.Time
	proven  time.Time
	proving bool
}

func (s *slot) failed(why error) {
	s.failures++
	if errors.Is(why, errFenced) || errors.Is(why, kerr.InvalidProducerEpoch) || errors.Is(why, kerr.ProducerFenced) {
		s.fenced++
	}
}

// pause is how long to wait before the slot is acquired.
func (s *slot) pause() time.Duration {
	wait := backoff(s.failures)
	if s.fenced > 0 {
		wait = max(wait, min(fencedWaitMax, fencedWait<<min(s.fenced-1, 10)))
	}
	return wait
}

// acquire takes a slot, for as long as that takes.
func (l *link) acquire(s *slot) {
	s.run++
	s.w, s.queue, s.writing, s.outstanding, s.paused, s.sealing, s.proving = nil, nil, false, 0, false, false, false
	run, failures, pause := s.run, s.failures, s.pause()
	l.spawn(func() func() {
		if failures > 0 && sleep(l.ctx, pause) != nil {
			return nil
		}
		select {
		case l.acquiring <- struct{}{}:
			defer func() { <-l.acquiring }()
		case <-l.ctx.Done():
			return nil
		}
		ctx, cancel := context.WithTimeout(l.ctx, acquireTimeout)
		defer cancel()
		began := time.Now()
		w, err := l.m.acquire(ctx, l.dst, s.n, logmap.Role{RouteEpoch: l.Epoch, Writer: l.m.cfg.Writer})
		return func() {
			switch {
			case s.run != run:
			case errors.Is(err, ErrHigherEpoch), errors.Is(err, errOtherRole):
				l.fail(err)
			case err != nil:
				s.failed(err)
				if s.failures == 1 || s.failures%20 == 0 {
					l.log.Warn("slot not acquired; trying again", "slot", s.n, "attempt", s.failures, "err", err)
				}
				l.acquire(s)
			default:
				s.w, s.lastTxn, s.proven = w, time.Now(), time.Now()
				l.log.Debug("slot acquired", "slot", s.n, "partitions", len(w.known), "took", s.proven.Sub(began))
				for _, p := range l.parts {
					if p.slot == s {
						l.reset(p)
					}
				}
			}
		}
	})
}

// lose gives a slot up after something that leaves open who writes it or what
// was written, and acquires it again: the seal decides both.
func (l *link) lose(s *slot, why error) {
	if s.w == nil {
		return // already being acquired
	}
	s.failed(why)
	if s.fenced == 3 {
		l.log.Warn("another mirror takes the slots, too: only one may run; look for a second process", "slot", s.n)
	}
	l.log.Info("acquiring the slot again", "slot", s.n, "why", why)
	for _, p := range l.parts {
		if p.slot == s {
			l.reset(p)
		}
	}
	l.acquire(s)
}

// proveFirst says whether the slot has been silent for too long to write at once,
// and has it prove that it is still the owner.
func (l *link) proveFirst(s *slot, now time.Time) bool {
	if s.proving {
		return true
	}
	if now.Sub(s.proven) < proofAge {
		return false
	}
	s.proving = true
	role, _ := s.w.state.Role(s.n)
	l.mapWrite(s, []logmap.Record{&role}, func() { s.proving = false })
	return true
}

// maintain runs what needs the slot's transaction: sealing partitions that could
// not be sealed before or were stopped, and keeping the transactional id known.
// Data waits meanwhile, for milliseconds.
func (l *link) maintain(s *slot, now time.Time) {
	if s.w == nil || s.sealing {
		return
	}
	if now.Sub(s.lastTxn) > peaceAfter {
		s.fenced = 0
	}
	again := l.sealable(s, now)
	keep := now.Sub(s.lastTxn) >= keepTransactional
	if s.paused = len(again) > 0 || keep; !s.paused {
		return
	}
	if s.outstanding > 0 || s.writing || len(s.queue) > 0 {
		return // every answer comes back here
	}
	s.sealing = true
	w, run := s.w, s.run
	s.writing = true // nothing else may use the sequence
	for _, tp := range again {
		l.parts[tp].busy = true
	}
	s.lastTxn = now
	l.spawn(func() func() {
		ctx, cancel := context.WithTimeout(l.ctx, acquireTimeout)
		defer cancel()
		var err error
		if keep {
			role, _ := w.state.Role(w.slot)
			err = w.writeCommitted(ctx, []logmap.Record{&role})
		}
		var found map[topicPartition]*standing
		if err == nil {
			found, err = w.close(ctx, again)
		}
		return func() {
			for _, tp := range again {
				l.parts[tp].busy = false
			}
			if s.run != run {
				return
			}
			s.paused, s.writing, s.sealing = false, false, false
			if err != nil {
				l.lose(s, fmt.Errorf("transaction of slot %d: %w", s.n, err))
				return
			}
			for tp, k := range found {
				w.known[tp] = k
				p := l.parts[tp]
				if k.reason != "" {
					l.stop(p, k.again, k.reason)
				} else if p.state == stateStopped {
					p.state, p.reason, p.tryAt = stateStarting, "", time.Time{}
				}
			}
		}
	})
}

// sealable are the slot's stopped partitions that may go on once sealed.
func (l *link) sealable(s *slot, now time.Time) (tps []topicPartition) {
	for _, p := range l.starting {
		if p.slot != s || p.busy || p.state != stateStopped || !p.again {
			continue
		}
		k := s.w.known[p.topicPartition]
		if k == nil || k.reason == "" || !k.again || l.wait(p.tryAt, now) {
			continue
		}
		_, src := l.srcMeta.partition(p.topicPartition)
		if dst, ok := l.dstMeta.partition(p.topicPartition); src && ok && dst.leader >= 0 {
			tps = append(tps, p.topicPartition)
		}
	}
	return tps
}
