package failover

import "time"

// health turns the probes of one cluster into this observer's vote.
type health struct {
	first, last time.Duration
	probed      bool
	fails, oks  int
	// decided: it has an opinion.
	decided, healthy bool
	reason           string
	voted            bool
	votedHealthy     bool
	votedAt          time.Duration
}

// observe takes one probe. suspected: this process's own connections suffer too,
// so one failure is enough.
func (h *health) observe(now time.Duration, ok, suspected bool, reason string, failures int) {
	if !h.probed {
		h.first, h.probed = now, true
	}
	h.last = now
	if ok {
		h.oks, h.fails = h.oks+1, 0
	} else {
		h.fails, h.oks = h.fails+1, 0
		h.reason = reason
	}
	switch {
	case h.fails >= failures || h.fails > 0 && suspected:
		h.decided, h.healthy = true, false
	case h.oks >= failures:
		h.decided, h.healthy, h.reason = true, true, ""
	}
}

// votes reports whether a vote is due. An observer without a recent probe of its
// own, or just started, is silent: it would repeat what it does not know.
func (h *health) due(now time.Duration, t Timing) bool {
	if !h.decided || now-h.first < t.WarmUp || now-h.last > t.VoteFresh {
		return false
	}
	return !h.voted || h.votedHealthy != h.healthy || now-h.votedAt >= t.VoteInterval
}

// Probed brings the outcome of one probe of a cluster. suspected says that the
// sidecar's own connections to it suffer as well.
func (m *Machine) Probed(cluster string, ok, suspected bool, reason string) {
	for i, name := range m.cfg.Clusters {
		if name == cluster {
			m.health[i].observe(m.now, ok, suspected, reason, m.cfg.Timing.ProbeFailures)
		}
	}
	m.evaluate()
}

func (m *Machine) evaluateVotes() {
	if !m.cfg.Observer {
		return
	}
	for i := range m.health {
		h := &m.health[i]
		if !h.due(m.now, m.cfg.Timing) {
			continue
		}
		h.voted, h.votedHealthy, h.votedAt = true, h.healthy, m.now
		m.beat++
		m.out.Votes = append(m.out.Votes, Vote{Observer: m.cfg.ID, Cluster: m.cfg.Clusters[i],
			Healthy: h.healthy, Reason: h.reason, Beat: m.beat})
	}
}
