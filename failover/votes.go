package failover

import (
	"slices"
	"time"
)

// voteBook holds what the observers said, and judges by the reader's own
// monotonic clock how old it is: nobody else's clock is trusted.
//
// A vote is dated by seeing its beat change between two looks that are close
// together. So neither the vote of an observer that died before this reader
// started, nor one that was cast while the store was out of reach, nor one read
// after this process stood still, counts as fresh.
type voteBook struct {
	observers []string
	clusters  [2]string
	fresh     time.Duration
	looked    bool
	lookedAt  time.Duration
	votes     map[voteKey]seenVote
}

type voteKey struct{ observer, cluster string }

type seenVote struct {
	vote Vote
	// dated: the beat was seen to change, at the latest at.
	dated bool
	at    time.Duration
}

func newVoteBook(observers []string, clusters [2]string, fresh time.Duration) voteBook {
	return voteBook{observers: observers, clusters: clusters, fresh: fresh, votes: map[voteKey]seenVote{}}
}

// read takes one look at all votes.
func (b *voteBook) read(now time.Duration, votes []Vote) {
	close := b.looked && now-b.lookedAt <= b.fresh
	b.looked, b.lookedAt = true, now
	for _, v := range votes {
		k := voteKey{v.Observer, v.Cluster}
		if !slices.Contains(b.observers, v.Observer) || !slices.Contains(b.clusters[:], v.Cluster) {
			continue
		}
		old, was := b.votes[k]
		switch {
		case was && old.vote.Beat == v.Beat:
			continue
		case was && close:
			b.votes[k] = seenVote{vote: v, dated: true, at: now}
		default:
			b.votes[k] = seenVote{vote: v}
		}
	}
}

func (b *voteBook) isFresh(now time.Duration, s seenVote) bool {
	return s.dated && now-s.at <= b.fresh
}

// Tally counts the fresh votes on a cluster.
type Tally struct {
	Healthy   int `json:"healthy"`
	Unhealthy int `json:"unhealthy"`
	// Quorum is how many equal votes decide.
	Quorum int `json:"quorum"`
	// Reason is one unhealthy vote's.
	Reason string `json:"reason,omitempty"`
}

// IsHealthy and IsUnhealthy can both be false: silence abstains.
func (t Tally) IsHealthy() bool { return t.Healthy >= t.Quorum }

// IsUnhealthy reports whether a quorum holds the cluster unhealthy.
func (t Tally) IsUnhealthy() bool { return t.Unhealthy >= t.Quorum }

func (b *voteBook) tally(now time.Duration, cluster string) Tally {
	t := Tally{Quorum: len(b.observers)/2 + 1}
	for _, o := range b.observers {
		s, ok := b.votes[voteKey{o, cluster}]
		switch {
		case !ok || !b.isFresh(now, s):
		case s.vote.Healthy:
			t.Healthy++
		default:
			t.Unhealthy++
			t.Reason = o + ": " + s.vote.Reason
		}
	}
	return t
}

// ObserveVotes brings one look at all votes in the store.
func (m *Machine) ObserveVotes(votes []Vote) {
	m.book.read(m.now, votes)
	if m.known && m.badSince >= 0 && m.tally(m.route.Active).IsUnhealthy() {
		m.badSeen = m.now
	}
	m.evaluate()
}

func (m *Machine) tally(cluster string) Tally { return m.book.tally(m.now, cluster) }
