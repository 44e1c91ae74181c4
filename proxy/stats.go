package proxy

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Stats are counts since the process began, and gauges of this moment.
type Stats struct {
	Sessions int64 // open now
	// SessionsEver counts sessions that were ever opened.
	SessionsEver uint64
	// Requests counts client requests by API name.
	Requests map[string]uint64
	// HeldBytes are the bytes of produce requests that are read and not
	// answered.
	HeldBytes int64
	// Unanswered is how many requests are read and not answered.
	Unanswered int64
	// Retries counts attempts that failed and were repeated, Replays batches
	// that were sent again after the route moved, Deduplicated batches that
	// were answered from the log map, Expired requests that were held too long.
	Retries, Replays, Deduplicated, Expired int64
	// PausedSince is since when writes are held; zero while they flow.
	PausedSince time.Time
	// BytesIn and BytesOut count what clients sent and were sent.
	BytesIn, BytesOut int64
	// Nodes is the number of virtual nodes that listen.
	Nodes int
}

const maxAPIKey = 128

type stats struct {
	sessions     atomic.Int64
	sessionsEver atomic.Uint64
	requests     [maxAPIKey]atomic.Uint64
	unanswered   atomic.Int64
	retries      atomic.Int64
	replays      atomic.Int64
	deduplicated atomic.Int64
	expired      atomic.Int64
	bytesIn      atomic.Int64
	bytesOut     atomic.Int64
}

func (s *stats) request(key int16) {
	if key >= 0 && key < maxAPIKey {
		s.requests[key].Add(1)
	}
}

// Stats are the counters as they stand. Safe for concurrent use.
func (p *Proxy) Stats() Stats {
	s := Stats{
		Sessions: p.stats.sessions.Load(), SessionsEver: p.stats.sessionsEver.Load(),
		Requests: make(map[string]uint64), HeldBytes: p.budget.held(), Unanswered: p.stats.unanswered.Load(),
		Retries: p.stats.retries.Load(), Replays: p.stats.replays.Load(), Deduplicated: p.stats.deduplicated.Load(),
		Expired: p.stats.expired.Load(), BytesIn: p.stats.bytesIn.Load(), BytesOut: p.stats.bytesOut.Load(),
		Nodes: len(p.nodes.open()),
	}
	for key := range p.stats.requests {
		if n := p.stats.requests[key].Load(); n > 0 {
			s.Requests[kmsg.NameForKey(int16(key))] = n
		}
	}
	if now := p.gate.now.Load(); now.state != serving {
		s.PausedSince = now.since
	}
	return s
}
