package failover

import (
	"fmt"
	"time"
)

// Timing holds the time limits of detection and cutover. Clients tolerate a
// pause of 8 s at most, 3 s without any notice: with the defaults a dead active
// is replaced in 2–3 s (two failed probes, FailAfter, fence, seal, stamp).
type Timing struct {
	// ProbeInterval is how often each cluster is probed (300 ms). Raising it
	// delays detection by twice as much; lowering it costs requests.
	ProbeInterval time.Duration
	// ProbeTimeout bounds one probe (700 ms). Raising it delays the detection of
	// a cluster that hangs; lowering it accuses slow clusters.
	ProbeTimeout time.Duration
	// ProbeFailures consecutive failures make a cluster unhealthy (2; one is
	// enough when the sidecar's own connections suffer too), and as many
	// successes healthy. Raising it delays both.
	ProbeFailures int
	// WarmUp is how long an observer only watches before its first vote (1 s).
	// Raising it delays a failover after a restart of the observers.
	WarmUp time.Duration
	// VoteInterval is how often an unchanged vote is repeated (1 s). Lowering it
	// costs writes to the store.
	VoteInterval time.Duration
	// VoteFresh is how long a vote counts after its last beat (3 s; at least two
	// VoteIntervals). Raising it lets dead observers be counted for longer.
	VoteFresh time.Duration
	// PollInterval is how often a process that can drive reads the votes (250 ms;
	// eight times as rarely when it cannot). It delays detection by as much.
	PollInterval time.Duration
	// FailAfter is how long a quorum must hold the active unhealthy before a
	// failover (1 s). Raising it lengthens the outage; lowering it moves the role
	// for short disturbances.
	FailAfter time.Duration
	// RecoverAfter is how long a quorum must hold a suspected active healthy
	// before the suspicion ends (1 s).
	RecoverAfter time.Duration
	// MinBetweenMoves is the least time between two moves without an operator
	// (60 s). Raising it leaves clients without a cluster when the second dies
	// soon after the first; lowering it lets clusters that fail in turn play
	// ping-pong, each time with a tail.
	MinBetweenMoves time.Duration
	// TakeoverAfter is how long a cutover may stand still before another process
	// drives it (1 s). The driver shows progress four times as often.
	TakeoverAfter time.Duration
	// AckTimeout bounds the wait for every sidecar in a switchover (3 s); then it
	// is abandoned. Clients wait as long.
	AckTimeout time.Duration
	// FailoverAckTimeout bounds the same wait in a failover (2 s); then it goes on
	// and names those that did not answer. Clients wait as long.
	FailoverAckTimeout time.Duration
	// DrainTimeout bounds the mirror's catching up in a switchover (5 s).
	DrainTimeout time.Duration
	// StepTimeout bounds one attempt of seal or stamp, and in a switchover all
	// attempts of each (5 s).
	StepTimeout time.Duration
	// PlannedPause bounds a whole switchover from fence to switch (7 s): past it
	// held requests would fail (8 s), so it is taken back.
	PlannedPause time.Duration
	// RetryMin and RetryMax bound the doubling pause before a failed step is
	// repeated (100 ms, 1 s).
	RetryMin, RetryMax time.Duration
	// StoreTimeout bounds one call to the store (2 s).
	StoreTimeout time.Duration
}

// DefaultTiming returns the documented defaults.
func DefaultTiming() Timing {
	return Timing{
		ProbeInterval: 300 * time.Millisecond, ProbeTimeout: 700 * time.Millisecond, ProbeFailures: 2,
		WarmUp: time.Second, VoteInterval: time.Second, VoteFresh: 3 * time.Second, PollInterval: 250 * time.Millisecond,
		FailAfter: time.Second, RecoverAfter: time.Second, MinBetweenMoves: time.Minute, TakeoverAfter: time.Second,
		AckTimeout: 3 * time.Second, FailoverAckTimeout: 2 * time.Second, DrainTimeout: 5 * time.Second,
		StepTimeout: 5 * time.Second, PlannedPause: 7 * time.Second,
		RetryMin: 100 * time.Millisecond, RetryMax: time.Second, StoreTimeout: 2 * time.Second,
	}
}

// withDefaults fills zero fields.
func (t Timing) withDefaults() Timing {
	d := DefaultTiming()
	fill := func(v *time.Duration, def time.Duration) {
		if *v == 0 {
			*v = def
		}
	}
	fill(&t.ProbeInterval, d.ProbeInterval)
	fill(&t.ProbeTimeout, d.ProbeTimeout)
	fill(&t.WarmUp, d.WarmUp)
	fill(&t.VoteInterval, d.VoteInterval)
	fill(&t.VoteFresh, d.VoteFresh)
	fill(&t.PollInterval, d.PollInterval)
	fill(&t.FailAfter, d.FailAfter)
	fill(&t.RecoverAfter, d.RecoverAfter)
	fill(&t.MinBetweenMoves, d.MinBetweenMoves)
	fill(&t.TakeoverAfter, d.TakeoverAfter)
	fill(&t.AckTimeout, d.AckTimeout)
	fill(&t.FailoverAckTimeout, d.FailoverAckTimeout)
	fill(&t.DrainTimeout, d.DrainTimeout)
	fill(&t.StepTimeout, d.StepTimeout)
	fill(&t.PlannedPause, d.PlannedPause)
	fill(&t.RetryMin, d.RetryMin)
	fill(&t.RetryMax, d.RetryMax)
	fill(&t.StoreTimeout, d.StoreTimeout)
	if t.ProbeFailures == 0 {
		t.ProbeFailures = d.ProbeFailures
	}
	return t
}

func (t Timing) validate() error {
	for _, d := range []time.Duration{t.ProbeInterval, t.ProbeTimeout, t.WarmUp, t.VoteInterval, t.VoteFresh, t.PollInterval,
		t.FailAfter, t.RecoverAfter, t.MinBetweenMoves, t.TakeoverAfter, t.AckTimeout, t.FailoverAckTimeout,
		t.DrainTimeout, t.StepTimeout, t.PlannedPause, t.RetryMin, t.RetryMax, t.StoreTimeout} {
		if d < 0 {
			return fmt.Errorf("failover: a time limit is negative (%v)", d)
		}
	}
	switch {
	case t.ProbeFailures < 1:
		return fmt.Errorf("failover: ProbeFailures is %d; want at least 1", t.ProbeFailures)
	case t.VoteFresh < 2*t.VoteInterval:
		return fmt.Errorf("failover: VoteFresh (%v) must be at least twice VoteInterval (%v), else votes go stale between two beats", t.VoteFresh, t.VoteInterval)
	case t.VoteFresh < 2*t.PollInterval:
		return fmt.Errorf("failover: VoteFresh (%v) must be at least twice PollInterval (%v)", t.VoteFresh, t.PollInterval)
	case t.RetryMax < t.RetryMin:
		return fmt.Errorf("failover: RetryMax (%v) is below RetryMin (%v)", t.RetryMax, t.RetryMin)
	}
	return nil
}
