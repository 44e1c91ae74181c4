package proxy

import (
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/protocol"
)

// The rule that this file keeps, over all sessions:
//
//	P  Until a (producer id, partition) has its first success in a tenure, at most
//	   one batch of it is in flight, and it is the earliest one whose fate is
//	   open.
//
// The id that a cluster is sent in a later tenure is new to it, and a broker
// takes any sequence as the first of a new id. If a first batch were lost on the
// way and a later one accepted, the first would be refused for ever after. A
// client may have batches of one partition on two sessions, when it moved the
// partition to another virtual node; so the rule is kept here and not by a
// session.

// batchID is what a broker, and the log map, know a batch by.
type batchID struct {
	producer    int64
	epoch       int16
	first, last int32
}

func (b batchID) idempotent() bool { return b.producer >= 0 && b.first >= 0 }

// partitionName names a partition as a client does: by topic name or, in later
// versions of an API, by topic id.
type partitionName struct {
	topic     string
	id        protocol.TopicID
	partition int32
}

type producerKey struct {
	partition partitionName
	producer  int64
}

const (
	// maxProven bounds the producers of which a success is remembered, per
	// shard. One that is forgotten is slower for one batch, no more.
	maxProven      = 4096
	producerShards = 16
	// owedFor bounds how long a batch that was given back unwritten keeps later
	// ones of its producer from going first: as long as clients retry by
	// default (delivery.timeout.ms).
	owedFor = 2 * time.Minute
)

// producers keeps, per producer and partition, what is unanswered and whether
// the current tenure has accepted something of it.
type producers struct {
	shards [producerShards]producerShard
}

type producerShard struct {
	mu sync.Mutex
	m  map[producerKey]*producerState
}

type producerState struct {
	open []openBatch // not answered to their clients, in the order of arrival
	// proven says that tenure has accepted a batch.
	proven bool
	tenure protocol.Tenure
	// owed is the earliest batch that went back to its client unwritten (or
	// whose client is gone): nothing later may be the first of a tenure.
	owed      *batchID
	owedUntil time.Time
}

// openBatch is a batch whose client has no answer yet.
type openBatch struct {
	it *item
	// settled says that its fate is known on the word of era (nil: of nobody
	// that could be revoked).
	settled bool
	era     *era
}

// precedes says whether o comes before it in the order that its producer gave
// its batches; later says that it arrived after it, as a retry may.
func (o openBatch) precedes(it *item, later bool) bool {
	a, b := o.it.batch, it.batch
	if a.epoch != b.epoch {
		return a.epoch < b.epoch && !later
	}
	return after(b.first, a.first) || a.first == b.first && !later
}

// blocks says whether a later batch must wait for o before it may be the first
// in e.
func (o openBatch) blocks(e *era) bool {
	if !o.settled {
		return true
	}
	return o.era != nil && !o.era.sameStay(e) && !o.era.returnable()
}

func newProducers() *producers {
	p := new(producers)
	for i := range p.shards {
		p.shards[i].m = make(map[producerKey]*producerState)
	}
	return p
}

func (p *producers) shard(k producerKey) *producerShard {
	return &p.shards[uint64(k.producer*31+int64(k.partition.partition))%producerShards]
}

// arrive registers an idempotent batch.
func (p *producers) arrive(it *item) {
	k := it.producerKey()
	s := p.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.m[k]
	if st == nil {
		s.evict()
		st = new(producerState)
		s.m[k] = st
	}
	st.open = append(st.open, openBatch{it: it})
}

// evict makes room by dropping something that nobody waits for.
func (s *producerShard) evict() {
	if len(s.m) < maxProven {
		return
	}
	tried := 0
	for k, st := range s.m {
		if len(st.open) == 0 && (st.owed == nil || time.Now().After(st.owedUntil)) {
			delete(s.m, k)
			return
		}
		if tried++; tried >= 64 {
			return // all busy: the bound yields to what is unanswered
		}
	}
}

// may says how a batch may go in tenure: proven, pipelined with others; or
// first, alone, because it is the earliest; or not now.
func (p *producers) may(it *item, e *era) (proven, first bool) {
	tenure := e.route.Tenure
	if tenure == 0 {
		// The home cluster's first stay: it knows every sequence that clients
		// ever sent it, as without a sidecar.
		return true, true
	}
	k := it.producerKey()
	s := p.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.m[k]
	if st == nil {
		return false, true // unknown state: alone
	}
	if st.proven && st.tenure == tenure {
		return true, true
	}
	later := false // those that arrived after it
	for _, o := range st.open {
		if o.it == it {
			later = true
			continue
		}
		if o.precedes(it, later) && o.blocks(e) {
			return false, false
		}
	}
	if st.owed != nil && time.Now().Before(st.owedUntil) && it.batch.epoch == st.owed.epoch && after(it.batch.first, st.owed.first) {
		return false, false
	}
	return false, true
}

// after says that sequence a comes after b, with Kafka's wrap.
func after(a, b int32) bool {
	d := (int64(a) - int64(b) + 1<<31) % (1 << 31)
	return d != 0 && d < 1<<30
}

// outcome is the end of a batch's stay here.
type outcome uint8

const (
	accepted outcome = iota // by the cluster of the tenure
	known                   // mirrored before, or refused for good
	returned                // to its client unwritten, which will repeat it; or dropped with its client
)

// settle notes what became of a batch, on the word of e, and wakes the sessions
// whose batches wait for it.
func (p *producers) settle(it *item, how outcome, e *era) {
	p.change(it, func(st *producerState, at int) {
		switch {
		case how == accepted:
			st.proven, st.tenure, st.owed = true, e.route.Tenure, nil
		case how == returned && (st.owed == nil || st.owed.epoch != it.batch.epoch || after(st.owed.first, it.batch.first)):
			owed := it.batch
			st.owed, st.owedUntil = &owed, time.Now().Add(owedFor)
		case how == known && st.owed != nil && !after(st.owed.first, it.batch.first):
			st.owed = nil
		}
		if at >= 0 {
			st.open[at].settled, st.open[at].era = true, e
		}
	})
}

// reopen takes back what settle said: the era that it stood on was revoked.
func (p *producers) reopen(it *item) {
	p.change(it, func(st *producerState, at int) {
		if at >= 0 {
			st.open[at].settled, st.open[at].era = false, nil
		}
	})
}

// leave forgets a batch whose client has its answer, or is gone.
func (p *producers) leave(it *item) {
	p.change(it, func(st *producerState, at int) {
		if at >= 0 {
			st.open = append(st.open[:at], st.open[at+1:]...)
		}
	})
}

func (p *producers) change(it *item, do func(st *producerState, at int)) {
	k := it.producerKey()
	s := p.shard(k)
	s.mu.Lock()
	st := s.m[k]
	if st == nil {
		s.mu.Unlock()
		return
	}
	at := -1
	for i, o := range st.open {
		if o.it == it {
			at = i
			break
		}
	}
	do(st, at)
	var others []*producer
	for _, o := range st.open {
		if owner := o.it.request.owner; owner != it.request.owner {
			others = append(others, owner)
		}
	}
	if len(st.open) == 0 && !st.proven && st.owed == nil {
		delete(s.m, k)
	}
	s.mu.Unlock()
	for _, owner := range others {
		owner.wake()
	}
}
