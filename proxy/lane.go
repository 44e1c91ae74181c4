package proxy

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// The invariants of a session's produce requests (a test stands behind each):
//
//	I1  Per (session, partition) batches reach the cluster in arrival order (of
//	    one producer: in the order of their sequences), at every attempt: a batch
//	    is sent only when none before it in its lane waits, and after a failure
//	    only when none is in flight.
//	I2  At a flip every unanswered batch waits in its lane, in arrival order,
//	    before anything is sent to the new era: one goroutine owns the lanes, and
//	    it takes the new era's connections into use only after it has put
//	    everything back.
//	I3  Until the first success of a (producer id, partition) in a tenure at most
//	    one batch of it is in flight (see producers.go).
//	I4  Nothing is sent, first or again, once its client is gone.
//	I5  In a later tenure a batch that has no success there before it is looked up
//	    among the mirrored ones first, and is answered if it is found.
//	I6  Requests are kept as the client sent them; each attempt translates a copy.
//
// A plain batch (no producer id) is never pipelined behind another of its
// partition: a broker would not refuse the second when the first failed, and
// I1 would be lost.

// produceRequest is a client's produce request that is not answered yet.
type produceRequest struct {
	owner    *producer
	slot     *slot
	req      *kmsg.ProduceRequest
	items    []*item
	open     int // items without a result
	waiting  int // items that are to be sent
	deadline time.Time
	silent   bool // acks=0
}

// item is the part of a produce request that goes to one partition.
type item struct {
	request *produceRequest
	topic   int // index in the request
	part    int // index in the topic
	lane    *lane
	batch   batchID
	count   int64 // records

	state itemState
	// attempt is the call that carries the item while it is sent.
	attempt *call
	// token is the era in which a write of it may be out with an unknown
	// outcome; it holds one of the era's writes.
	token *era
	// unsure says that an earlier attempt has no known outcome.
	unsure bool
	// behind says that a batch before it failed while it was in flight, so that
	// a refusal for its sequence means nothing.
	behind bool
	// lookedIn is the era in which it was looked up among the mirrored batches.
	lookedIn *era

	result kmsg.ProduceResponseTopicPartition
	// by is the era on whose word the result stands; nil: on nobody's.
	by *era
}

type itemState uint8

const (
	itemWaiting itemState = iota
	itemSent
	// itemGiven up: its client has an error, and an attempt may still be out.
	itemGivenUp
	itemDone
)

// lane is the order of one partition's batches in a session. It lists what is
// unanswered, oldest first.
type lane struct {
	name  partitionName
	items []*item
	// inflight counts items whose attempt is out; all of them go to broker.
	inflight int
	broker   int32
	// alone: what is in flight must not be followed before it is answered.
	alone bool
	// failed: the last attempt failed, so the next goes alone.
	failed  bool
	backoff time.Duration
	retryAt time.Time
}

const (
	firstBackoff = 20 * time.Millisecond
	maxBackoff   = 250 * time.Millisecond
)

// add puts an item at the end, or before batches of the same producer that wait
// and follow it: a client repeats a batch after it has sent later ones when it
// lost the connection on which the first one was.
func (l *lane) add(it *item) {
	at := len(l.items)
	for at > 0 && l.items[at-1].state == itemWaiting && l.items[at-1].follows(it) {
		at--
	}
	l.items = slices.Insert(l.items, at, it)
}

func (it *item) follows(o *item) bool {
	a, b := it.batch, o.batch
	return a.idempotent() && a.producer == b.producer && a.epoch == b.epoch && after(a.first, b.first)
}

// fail notes that an attempt at it failed in a way that a later one may not.
func (l *lane) fail(it *item, now time.Time) {
	l.failed = true
	l.backoff = min(max(2*l.backoff, firstBackoff), maxBackoff)
	l.retryAt = now.Add(l.backoff)
	for i := len(l.items) - 1; i >= 0 && l.items[i] != it; i-- {
		if l.items[i].state == itemSent {
			l.items[i].behind = true
		}
	}
}

func (l *lane) succeed() { l.failed, l.backoff, l.retryAt = false, 0, time.Time{} }

// wait puts the next attempt off without blaming a batch.
func (l *lane) wait(now time.Time, d time.Duration) { l.retryAt = now.Add(d) }

func (l *lane) remove(it *item) {
	for i, have := range l.items {
		if have == it {
			l.items = append(l.items[:i], l.items[i+1:]...)
			return
		}
	}
}

// turn says whether it is the first of its lane that waits.
func (l *lane) turn(it *item) bool {
	for _, have := range l.items {
		if have == it {
			return true
		}
		if have.state == itemWaiting {
			return false
		}
	}
	return false
}

// owes says whether the outcome of it, or of a batch behind it, is not known.
// A planned fence lets such a lane be sent up to there, because order forbids to
// settle the later batch alone.
func (l *lane) owes(it *item) bool {
	for i := len(l.items) - 1; i >= 0; i-- {
		if l.items[i].token != nil {
			return true
		}
		if l.items[i] == it {
			return false
		}
	}
	return false
}

func (it *item) producerKey() producerKey {
	return producerKey{partition: it.lane.name, producer: it.batch.producer}
}

func (it *item) records() []byte {
	return it.request.req.Topics[it.topic].Partitions[it.part].Records
}

// settleToken says that the outcome of the last write is known (or that nobody
// will ask).
func (it *item) settleToken() {
	if it.token != nil {
		it.token.endWrite()
		it.token = nil
	}
}

// describe reads what the order of a batch depends on. Records that hold no
// whole batch of magic 2, or several, are treated as plain ones, for the broker
// to judge.
func (it *item) describe() {
	it.batch = batchID{producer: -1, epoch: -1, first: -1, last: -1}
	b, rest, err := protocol.NextBatch(it.records())
	if err != nil {
		return
	}
	it.count = int64(b.LastOffsetDelta()) + 1
	if len(rest) == 0 {
		it.batch = batchID{producer: b.ProducerID(), epoch: b.ProducerEpoch(), first: b.BaseSequence(), last: b.LastSequence()}
	}
}

// tp is the partition's real name; ok is false while the topic id is unknown.
func (it *item) tp(v *protocol.View) (tp logmap.TopicPartition, ok bool) {
	name := it.lane.name
	if name.topic != "" {
		return logmap.TopicPartition{Topic: name.topic, Partition: name.partition}, true
	}
	topic, _, ok := v.Topics.ByClientID(name.id)
	return logmap.TopicPartition{Topic: topic, Partition: name.partition}, ok
}

// part is the request that carries items, in client form. items are of one
// request, in its order.
func (r *produceRequest) part(items []*item) *kmsg.ProduceRequest {
	part := *r.req
	part.Topics = nil
	last := -1
	for _, it := range items {
		from := &r.req.Topics[it.topic]
		if it.topic != last {
			part.Topics = append(part.Topics, kmsg.ProduceRequestTopic{Topic: from.Topic, TopicID: from.TopicID})
			last = it.topic
		}
		t := &part.Topics[len(part.Topics)-1]
		t.Partitions = append(t.Partitions, from.Partitions[it.part])
	}
	return &part
}

// response is the answer to the whole request, from its items' results.
func (r *produceRequest) response() (*kmsg.ProduceResponse, []*era) {
	resp := r.req.ResponseKind().(*kmsg.ProduceResponse)
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(r.req.Topics))
	for i := range r.req.Topics {
		resp.Topics[i].Topic, resp.Topics[i].TopicID = r.req.Topics[i].Topic, r.req.Topics[i].TopicID
		resp.Topics[i].Partitions = make([]kmsg.ProduceResponseTopicPartition, 0, len(r.req.Topics[i].Partitions))
	}
	var eras []*era
	for _, it := range r.items {
		resp.Topics[it.topic].Partitions = append(resp.Topics[it.topic].Partitions, it.result)
		if it.by != nil && (len(eras) == 0 || eras[len(eras)-1] != it.by) {
			eras = append(eras, it.by)
		}
	}
	return resp, eras
}
