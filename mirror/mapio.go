package mirror

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

func mapPartition(slot int32) topicPartition {
	return topicPartition{Topic: logmap.Topic, Partition: slot}
}

// ensureMap creates the map topic if it is not there and returns when every
// partition has a leader.
func (c *cluster) ensureMap(ctx context.Context, slots int) error {
	fail := func(err error) error {
		return fmt.Errorf("map topic %s on cluster %s: %w", logmap.Topic, c.name, err)
	}
	for attempt := 1; ; attempt++ {
		m, err := c.metadata(ctx, logmap.Topic)
		if err != nil {
			return fail(err)
		}
		if t := m.topics[logmap.Topic]; t != nil {
			if len(t.parts) != slots {
				return fail(fmt.Errorf("it has %d partitions and the virtual cluster has %d slots: their number is fixed when the topic is made", len(t.parts), slots))
			}
			// Metadata names a leader before that leader has made the log. An older
			// topic may have lost one: acquiring says which.
			if attempt == 1 || c.serves(ctx, slots) || attempt > 50 {
				return nil
			}
		} else {
			replicas := min(3, m.brokers)
			configs := map[string]*string{
				"cleanup.policy":         kadm.StringPtr("compact"),
				"compression.type":       kadm.StringPtr("producer"),
				"min.insync.replicas":    kadm.StringPtr(strconv.Itoa(max(1, replicas-1))),
				"message.timestamp.type": kadm.StringPtr("CreateTime"),
			}
			_, err := c.adm.CreateTopic(ctx, int32(slots), int16(replicas), configs, logmap.Topic)
			if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
				return fail(err)
			}
		}
		if err := sleep(ctx, backoff(min(attempt, 5))); err != nil {
			return fail(err)
		}
	}
}

// serves says whether every map partition's leader answers for it.
func (c *cluster) serves(ctx context.Context, slots int) bool {
	tps := make([]topicPartition, slots)
	for i := range tps {
		tps[i] = mapPartition(int32(i))
	}
	for _, end := range c.offsets(ctx, tps, logEnd) {
		if end.err != nil {
			return false
		}
	}
	return true
}

// mapBatch is one batch of map records, stamped now: brokers forget a producer
// id by the timestamps of what it wrote.
func mapBatch(recs []logmap.Record, p protocol.Producer, attributes int16) protocol.Batch {
	now := time.Now().UnixMilli()
	records := make([]protocol.Record, len(recs))
	for i, r := range recs {
		records[i].Timestamp = now
		records[i].Key, records[i].Value = logmap.Encode(r)
	}
	return protocol.BuildBatch(records, p, attributes)
}

// maxMapRecords bounds one batch of map records (about 60 bytes each) below the
// default max.message.bytes with room to spare.
const maxMapRecords = 2000

// append writes recs to the map partition of slot with acks=all, from sequence
// seq on, and returns the next sequence. transactional: inside p's transaction.
func (p *producer) append(ctx context.Context, slot int32, at place, seq int32, recs []logmap.Record, transactional bool) (int32, error) {
	for len(recs) > 0 {
		n := min(len(recs), maxMapRecords)
		var attributes int16
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, int32(produceTimeout.Milliseconds())
		if transactional {
			attributes, req.TransactionID = protocol.AttrTransactional, &p.txid
		}
		b := mapBatch(recs[:n], protocol.Producer{ID: p.id, Epoch: p.epoch, Sequence: seq}, attributes)
		addProduce(req, mapPartition(slot), at.id, b)
		resp, err := tell[*kmsg.ProduceResponse](ctx, p.c.ctl, at.leader, req)
		if err == nil {
			err = errors.New("the answer does not hold the partition")
			for _, t := range resp.Topics {
				for _, rp := range t.Partitions {
					err = kerr.ErrorForCode(rp.ErrorCode)
				}
			}
		}
		if errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced) {
			err = errFenced
		}
		if err != nil {
			return seq, fmt.Errorf("writing the map of slot %d on cluster %s: %w", slot, p.c.name, err)
		}
		seq = protocol.AddSequence(seq, int64(n))
		recs = recs[n:]
	}
	return seq, nil
}

// addProduce puts one batch for one partition into a request. Within a topic the
// partitions of one request must be added one after the other or not: brokers
// accept a topic twice.
func addProduce(req *kmsg.ProduceRequest, tp topicPartition, id [16]byte, b protocol.Batch) {
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = tp.Partition, b
	for i := range req.Topics {
		if req.Topics[i].Topic == tp.Topic {
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
			return
		}
	}
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = tp.Topic, id
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
}

// readMap brings the committed records of one map partition, from offset from to
// its present end, into put, and returns the end. The end is the high watermark
// when reading begins: whoever has sealed the partition before sees everything
// that earlier owners will ever have written.
func (c *cluster) readMap(ctx context.Context, slot int32, at place, from logmap.Cluster, put func(logmap.Record, bool)) (logmap.Cluster, error) {
	tp := mapPartition(slot)
	end := c.offsets(ctx, []topicPartition{tp}, logEnd)[tp]
	if end.err != nil {
		return from, fmt.Errorf("end of the map of slot %d on cluster %s: %w", slot, c.name, end.err)
	}
	if from < 0 {
		start := c.offsets(ctx, []topicPartition{tp}, logStart)[tp]
		if start.err != nil {
			return from, fmt.Errorf("start of the map of slot %d on cluster %s: %w", slot, c.name, start.err)
		}
		from = start.offset
	}
	for idle := 0; from < end.offset; {
		p, err := c.fetchOne(ctx, tp, at, from, readCommitted)
		if err != nil {
			return from, err
		}
		next, err := readMapBatches(p, from, put)
		if err != nil {
			return from, fmt.Errorf("map of slot %d on cluster %s: %w", slot, c.name, err)
		}
		if next > from {
			from, idle = next, 0
			continue
		}
		// A transaction is open in front of us. Its owner, or the next one,
		// ends it.
		idle++
		if err := sleep(ctx, backoff(min(idle, 5))); err != nil {
			return from, fmt.Errorf("map of slot %d on cluster %s: a transaction is open at offset %d of %d: %w", slot, c.name, from, end.offset, err)
		}
	}
	return from, nil
}

func readMapBatches(p *kmsg.FetchResponseTopicPartition, from logmap.Cluster, put func(logmap.Record, bool)) (logmap.Cluster, error) {
	void := newAborted(p.AbortedTransactions)
	for b, err := range protocol.Batches(p.RecordBatches) {
		if err != nil {
			return from, err
		}
		next := logmap.Cluster(b.NextOffset())
		drop := void.drops(b)
		if drop || next <= from {
			from = max(from, next)
			continue
		}
		if !b.ValidCRC() {
			return from, fmt.Errorf("the batch at offset %d is corrupt", b.BaseOffset())
		}
		records, err := protocol.Records(b)
		if err != nil {
			return from, err
		}
		for _, r := range records {
			if b.BaseOffset()+int64(r.OffsetDelta) < int64(from) {
				continue
			}
			rec, deleted, err := logmap.Decode(r.Key, r.Value)
			if err != nil {
				return from, fmt.Errorf("offset %d: %w", b.BaseOffset()+int64(r.OffsetDelta), err)
			}
			put(rec, deleted)
		}
		from = next
	}
	return from, nil
}
