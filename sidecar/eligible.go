package sidecar

import (
	"fmt"
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/mirror"
)

// patience is how long a request may be unanswered, beyond what it asked to
// wait, before the sidecar's own connections speak against a cluster.
const patience = 500 * time.Millisecond

// suspicion is what the proxy's connections say about a cluster. It only makes
// one failed probe enough: alone it moves nothing.
func (s *Sidecar) suspicion(cluster string) (bad bool, reason string) {
	o := s.proxy.Observe(cluster)
	switch {
	case o.Waiting > patience:
		return true, fmt.Sprintf("a request has waited for %v", o.Waiting.Round(time.Millisecond))
	case o.LastFailure.After(o.LastAnswer):
		return true, o.Reason
	}
	return false, ""
}

// eligible is what this process knows about a cluster as the target of a move.
func (s *Sidecar) eligible(target string) failover.Eligibility {
	last, ran, _, problem := s.link.state()
	if !ran || last.Target != target {
		return failover.Eligibility{Reason: fmt.Sprintf("the mirror of this process has not mirrored into %s yet (%s): how far it is behind is not known", target, problem)}
	}
	heard := s.probes.outcome(last.Source).heard
	e := failover.Eligibility{OK: true}
	states, known := s.mirror.Standing()
	if !known {
		return failover.Eligibility{Reason: fmt.Sprintf("the mirror of this process has not seen both clusters since it mirrors into %s (%s): how far it is behind is not known", target, problem)}
	}
	for _, p := range states {
		if p.State != "mirroring" {
			e.Stopped = append(e.Stopped, failover.TopicPartition{Topic: p.Topic, Partition: p.Partition})
			continue
		}
		records, lag := partitionLag(p, heard)
		e.LagRecords += records
		e.Lag = max(e.Lag, lag)
	}
	return e
}

// partitionLag is how far p was behind when its source was last heard of.
func partitionLag(p mirror.PartitionState, heard time.Time) (records int64, lag time.Duration) {
	records = max(0, int64(p.End-p.Position))
	if records > 0 && heard.After(p.CaughtUp) && !p.CaughtUp.IsZero() {
		lag = heard.Sub(p.CaughtUp)
	}
	return records, lag
}
