package proxy

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// exposed keeps, for every partition, the first logical offset that no client
// was shown. It only grows: a logical offset that somebody saw is never used
// for another record, and a failover begins above it. Only what a broker
// answered without an error is noted, so its size is bounded by the partitions
// that exist.
type exposed struct {
	mu   sync.RWMutex
	next map[logmap.TopicPartition]logmap.Logical
}

func newExposed() *exposed {
	return &exposed{next: make(map[logmap.TopicPartition]logmap.Logical)}
}

func (x *exposed) note(topic string, partition int32, next int64) {
	if next <= 0 || topic == "" {
		return
	}
	tp := logmap.TopicPartition{Topic: topic, Partition: partition}
	x.mu.RLock()
	have := x.next[tp]
	x.mu.RUnlock()
	if have >= logmap.Logical(next) {
		return
	}
	x.mu.Lock()
	x.next[tp] = max(x.next[tp], logmap.Logical(next))
	x.mu.Unlock()
}

func (x *exposed) of(topic string, partition int32) logmap.Logical {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.next[logmap.TopicPartition{Topic: topic, Partition: partition}]
}

func (x *exposed) snapshot() []Exposed {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := make([]Exposed, 0, len(x.next))
	for tp, next := range x.next {
		all = append(all, Exposed{TopicPartition: tp, Next: next})
	}
	return all
}

// noteAnswer notes what a client is about to be shown by resp, an answer in
// client form. name turns the topic of a fetch's answer into its name.
func (x *exposed) noteAnswer(req kmsg.Request, resp kmsg.Response, name func(topic string, id protocol.TopicID) string) {
	switch resp := resp.(type) {
	case *kmsg.FetchResponse:
		for i := range resp.Topics {
			t := &resp.Topics[i]
			topic := name(t.Topic, t.TopicID)
			for j := range t.Partitions {
				if p := &t.Partitions[j]; p.ErrorCode == 0 {
					x.note(topic, p.Partition, max(p.HighWatermark, p.LastStableOffset))
				}
			}
		}
	case *kmsg.OffsetForLeaderEpochResponse:
		for i := range resp.Topics {
			t := &resp.Topics[i]
			for j := range t.Partitions {
				if p := &t.Partitions[j]; p.ErrorCode == 0 {
					x.note(t.Topic, p.Partition, p.EndOffset)
				}
			}
		}
	case *kmsg.ListOffsetsResponse:
		latest := latestAsked(req)
		for i := range resp.Topics {
			t := &resp.Topics[i]
			for j := range t.Partitions {
				p := &t.Partitions[j]
				if p.ErrorCode != 0 {
					continue
				}
				next := p.Offset + 1
				if latest(t.Topic, p.Partition) {
					next = p.Offset // an end, not a record
				}
				x.note(t.Topic, p.Partition, next)
			}
		}
	}
}

// latestAsked says for which partitions a request asks for an end of the log
// (timestamp -1) or its start (-2, -4): these name no record.
func latestAsked(req kmsg.Request) func(string, int32) bool {
	ends := make(map[logmap.TopicPartition]bool)
	if r, ok := req.(*kmsg.ListOffsetsRequest); ok {
		for i := range r.Topics {
			t := &r.Topics[i]
			for j := range t.Partitions {
				if ts := t.Partitions[j].Timestamp; ts == -1 || ts == -2 || ts == -4 {
					ends[logmap.TopicPartition{Topic: t.Topic, Partition: t.Partitions[j].Partition}] = true
				}
			}
		}
	}
	return func(topic string, partition int32) bool {
		return ends[logmap.TopicPartition{Topic: topic, Partition: partition}]
	}
}
