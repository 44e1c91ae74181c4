package failover

import (
	"fmt"
	"time"
)

// Eligibility is what this process's mirror says about a cluster as a target.
type Eligibility struct {
	// OK: nothing forbids it (mirrored, its orphan tail settled, …). Reason says
	// what does.
	OK     bool
	Reason string
	// LagRecords and Lag are how far it was behind when the source was last heard
	// of; Stopped are the partitions that are not mirrored at all.
	LagRecords int64
	Lag        time.Duration
	Stopped    []TopicPartition
}

// Bounds say how far behind a target may be for a failover without an operator.
type Bounds struct {
	// MaxLagRecords: 0 means no bound. Lowering it keeps the role on a dead
	// cluster rather than lose more records than that.
	MaxLagRecords int64
	// MaxLag: 0 means no bound.
	MaxLag time.Duration
	// AllowStopped permits a failover although partitions are not mirrored; their
	// records are not on the target.
	AllowStopped bool
}

type seenEligibility struct {
	Eligibility
	at time.Duration
}

// Eligible brings the mirror's word on a target.
func (m *Machine) Eligible(target string, e Eligibility) {
	m.eligible[target] = seenEligibility{e, m.now}
	m.evaluate()
}

// forbids says why target may not take over, "" when it may. planned: it will be
// drained, so lag does not matter.
func (m *Machine) forbids(target string, planned bool) string {
	e, ok := m.eligible[target]
	b := m.cfg.Bounds
	switch {
	case !ok || m.now-e.at > m.cfg.Timing.VoteFresh:
		return fmt.Sprintf("this process's mirror has not said how %s stands", target)
	case !e.OK:
		return fmt.Sprintf("%s cannot take over: %s", target, e.Reason)
	case len(e.Stopped) > 0 && (planned || !b.AllowStopped):
		return fmt.Sprintf("%d partitions are not mirrored to %s, for example %s/%d", len(e.Stopped), target, e.Stopped[0].Topic, e.Stopped[0].Partition)
	case planned:
		return ""
	case b.MaxLagRecords > 0 && e.LagRecords > b.MaxLagRecords:
		return fmt.Sprintf("%s is %d records behind; the bound is %d", target, e.LagRecords, b.MaxLagRecords)
	case b.MaxLag > 0 && e.Lag > b.MaxLag:
		return fmt.Sprintf("%s is %v behind; the bound is %v", target, e.Lag, b.MaxLag)
	}
	return ""
}

// judgeActive keeps since when a quorum holds the active (un)healthy, without a
// break that was seen.
func (m *Machine) judgeActive() {
	if !m.known || !m.storeFound {
		m.badSince, m.goodSince = -1, -1
		return
	}
	t := m.tally(m.route.Active)
	m.badSince = since(m.badSince, t.IsUnhealthy(), m.now)
	m.goodSince = since(m.goodSince, t.IsHealthy(), m.now)
	if m.badSince == m.now {
		m.badSeen = m.now
	}
}

func since(was time.Duration, holds bool, now time.Duration) time.Duration {
	switch {
	case !holds:
		return -1
	case was < 0:
		return now
	}
	return was
}

// decide suspects, clears, and fails over. Only processes that could drive the
// cutover decide; several may come to it at once, one compare-and-set wins.
func (m *Machine) decide() {
	if !m.cfg.Drives {
		return
	}
	t, tally := m.cfg.Timing, m.tally(m.route.Active)
	bad := m.badSince >= 0
	if m.route.State == Serving {
		m.blocked = ""
		if bad {
			m.move(m.suspicion(Suspect, tally.Reason))
		}
		return
	}
	if !bad {
		// Silence is no acquittal: only a quorum's healthy votes end a suspicion.
		m.blocked = ""
		// They must have held since the suspicion: this process may simply not have
		// read the votes yet that another one has acted on.
		if m.goodSince >= 0 && m.now-max(m.goodSince, m.stateSeen) >= t.RecoverAfter {
			m.move(m.suspicion(Serving, m.route.Active+" is healthy again"))
		}
		return
	}
	// The votes must have been seen to hold for FailAfter, not just once before
	// this process was paused for as long.
	if m.badSeen-m.badSince < t.FailAfter {
		return
	}
	target := m.other(m.route.Active)
	if m.blocked = m.blocks(target); m.blocked == "" {
		m.move(m.fence(target, false, false, m.route.Active+" failed: "+tally.Reason))
	}
}

// blocks says why a failover that the votes want is not done.
func (m *Machine) blocks(target string) string {
	switch {
	case m.cfg.Mode != Auto:
		return fmt.Sprintf("failover is %s: an operator must order it", m.cfg.Mode)
	case m.route.Tenure >= MaxTenure:
		return fmt.Sprintf("the role has moved %d times, the most that producer ids can express", m.route.Tenure)
	case !m.tally(target).IsHealthy():
		return fmt.Sprintf("%s is not held healthy by a quorum of observers", target)
	}
	if left := m.moveAllowedIn(); left > 0 {
		return fmt.Sprintf("the role moved or was given back less than %v ago", m.cfg.Timing.MinBetweenMoves)
	}
	return m.forbids(target, false)
}

func (m *Machine) moveAllowedIn() time.Duration {
	if m.route.Moved.IsZero() {
		return 0
	}
	return m.cfg.Timing.MinBetweenMoves - m.movedAge - (m.now - m.movedSeen)
}
