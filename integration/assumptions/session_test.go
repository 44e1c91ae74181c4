package assumptions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A session is what a fact tries things with. Whatever the target refuses is an answer; what keeps it from answering
// at all ends the fact.
type session struct {
	*testing.T
	ctx    context.Context
	target target
	cl     *kgo.Client
}

var names atomic.Int64

// name returns a name for a topic, group or transactional id that no other fact uses.
func name(what string) string { return fmt.Sprintf("%s-%d", what, names.Add(1)) }

// pid returns a producer id that the cluster has not issued and no other fact uses. Producer ids made by the product
// have 62 bits; brokers issue theirs from 0.
func pid() int64 { return 1<<48 + names.Add(1) }

func newSession(ctx context.Context, t *testing.T, target target) *session {
	s := &session{T: t, ctx: ctx, target: target}
	s.cl = s.client()
	return s
}

// client is a client of its own (its own connections), held at the versions that the mirror uses: topics by name, and
// transactions of the first kind, in which EndTxn leaves the epoch alone.
func (s *session) client(opts ...kgo.Opt) *kgo.Client {
	v := kversion.V4_3_0()
	v.SetMaxKeyVersion(0, 11) // Produce: by name (13), partitions added to a transaction by AddPartitionsToTxn only (12)
	v.SetMaxKeyVersion(1, 12) // Fetch: by name
	v.SetMaxKeyVersion(8, 9)  // OffsetCommit: by name
	v.SetMaxKeyVersion(9, 9)  // OffsetFetch: by name
	v.SetMaxKeyVersion(26, 4) // EndTxn
	v.SetMaxKeyVersion(28, 4) // TxnOffsetCommit
	return s.target.Client(s, append([]kgo.Opt{kgo.MaxVersions(v), kgo.RetryTimeout(20 * time.Second)}, opts...)...)
}

// secondKind is a client that sends EndTxn version 5.
func (s *session) secondKind() *kgo.Client {
	return s.target.Client(s, kgo.MaxVersions(kversion.V4_3_0()))
}

// code is the name of an error code, "ok" for none.
func code(c int16) string {
	err := kerr.ErrorForCode(c)
	if err == nil {
		return "ok"
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Message
	}
	return err.Error()
}

func (s *session) must(err error, doing string) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s: %v", doing, err)
	}
}

// topic creates a topic and waits until it has leaders. Replicas, if given, are its brokers, the leader first.
func (s *session) topic(partitions int, config map[string]string, replicas ...int32) string {
	s.Helper()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name("t"), int32(partitions), 1
	if len(replicas) > 0 {
		t.NumPartitions, t.ReplicationFactor = -1, -1
		for p := range partitions {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = int32(p), replicas
			t.ReplicaAssignment = append(t.ReplicaAssignment, a)
		}
	}
	for key, value := range config {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = key, &value
		t.Configs = append(t.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	req.TimeoutMillis = 10_000
	resp, err := req.RequestWith(s.ctx, s.cl)
	s.must(err, "creating a topic")
	if c := resp.Topics[0].ErrorCode; c != 0 {
		s.Fatalf("creating a topic: %s", code(c))
	}
	for p := range partitions {
		s.awaitLeader(t.Topic, int32(p), func(leader int32) bool { return leader >= 0 })
		s.eventually("the leader to know that it leads", func() bool {
			_, err := s.listOffsets(t.Topic, int32(p), 0)
			return err == nil
		})
	}
	return t.Topic
}

// reconnect gives the session new connections, after a broker has been away.
func (s *session) reconnect() {
	s.cl.Close()
	s.cl = s.client()
}

// awaitLeader waits until the metadata of broker 1 names a leader that suits.
func (s *session) awaitLeader(topic string, partition int32, suits func(leader int32) bool) {
	s.Helper()
	s.eventually("the leader of "+topic, func() bool {
		req := kmsg.NewPtrMetadataRequest()
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topic
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(s.ctx, s.cl.SeedBrokers()[0])
		if err != nil || len(resp.Topics) == 0 {
			return false
		}
		for _, p := range resp.Topics[0].Partitions {
			if p.Partition == partition {
				return suits(p.Leader)
			}
		}
		return false
	})
}

func (s *session) eventually(what string, done func() bool) {
	s.Helper()
	for !done() {
		select {
		case <-s.ctx.Done():
			s.Fatalf("waiting for %s: %v", what, s.ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// leader is the broker to send a produce request to.
func (s *session) leader(topic string, partition int32) *kgo.Broker {
	s.Helper()
	var b *kgo.Broker
	s.eventually("the leader of "+topic, func() bool {
		req := kmsg.NewPtrMetadataRequest()
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = &topic
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(s.ctx, s.cl)
		if err != nil {
			return false
		}
		for _, p := range resp.Topics[0].Partitions {
			if p.Partition == partition && p.Leader >= 0 {
				b = s.cl.Broker(int(p.Leader))
			}
		}
		return b != nil
	})
	return b
}

// append sends one batch and returns the answer: "ok@base offset" or the name of the error.
func (s *session) append(topic string, partition int32, b batch) string {
	s.Helper()
	return s.appendRaw(topic, partition, nil, b.bytes())
}

// appendRaw sends records as they are; txid is set for transactional ones.
func (s *session) appendRaw(topic string, partition int32, txid *string, records []byte) string {
	s.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.Acks, req.TimeoutMillis = txid, -1, 5_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = partition, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(s.ctx, s.leader(topic, partition))
	s.must(err, "produce")
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return code(p.ErrorCode)
	}
	return fmt.Sprintf("ok@%d", p.BaseOffset)
}

// end returns the end of the log, and with committed the last stable offset.
func (s *session) end(topic string, partition int32, committed bool) int64 {
	s.Helper()
	var isolation int8
	if committed {
		isolation = 1
	}
	end, err := s.listOffsets(topic, partition, isolation)
	s.must(err, "ListOffsets")
	return end
}

func (s *session) listOffsets(topic string, partition int32, isolation int8) (int64, error) {
	s.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.IsolationLevel = isolation
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = partition, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(s.ctx, s.leader(topic, partition))
	if err != nil {
		return 0, err
	}
	p := resp.Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// stored fetches a partition from the start and describes its batches as they are stored: "base-last attributes",
// control batches as "marker".
func (s *session) stored(topic string, partition int32) string {
	s.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch = 1<<20, 100, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.PartitionMaxBytes = partition, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(s.ctx, s.leader(topic, partition))
	s.must(err, "Fetch")
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		s.Fatalf("Fetch: %s", code(p.ErrorCode))
	}
	var batches []string
	for raw := p.RecordBatches; len(raw) > 0; {
		var b kmsg.RecordBatch
		s.must(b.ReadFrom(raw), "reading a stored batch")
		what := fmt.Sprintf("%#x", uint16(b.Attributes))
		if b.Attributes&attrControl != 0 {
			what = "marker"
		}
		batches = append(batches, fmt.Sprintf("%d-%d %s", b.FirstOffset, b.FirstOffset+int64(b.LastOffsetDelta), what))
		raw = raw[12+b.Length:]
	}
	return strings.Join(batches, ", ")
}

// consumed is what a consumer sees of a partition up to the end of its log.
func (s *session) consumed(topic string, partition int32) string {
	s.Helper()
	end := s.end(topic, partition, false)
	cl := s.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}),
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	var seen []string
	for next := int64(0); next < end; {
		fetches := cl.PollFetches(s.ctx)
		s.must(fetches.Err0(), "consuming")
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() { // as every client does; kept only to know when the end is reached
				seen = append(seen, fmt.Sprintf("%s@%d", r.Value, r.Offset))
			}
		})
	}
	return strings.Join(seen, " ")
}
