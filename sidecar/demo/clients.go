package demo

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/sidecar/history"
)

// clients are an unmodified producer and an unmodified group consumer.
type clients struct {
	w        *world
	producer *kgo.Client
	consumer *kgo.Client
	cancel   context.CancelFunc
	stopMake context.CancelFunc
	makers   sync.WaitGroup
	readers  sync.WaitGroup
}

func startClients(ctx context.Context, w *world) (*clients, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &clients{w: w, cancel: cancel}
	var err error
	c.producer, err = kgo.NewClient(kgo.SeedBrokers(w.sidecar.Bootstrap()), kgo.ClientID("shop"),
		kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(2*time.Millisecond))
	if err != nil {
		cancel()
		return nil, err
	}
	c.consumer, err = kgo.NewClient(kgo.SeedBrokers(w.sidecar.Bootstrap()), kgo.ClientID("billing"),
		kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(250*time.Millisecond), kgo.AutoCommitCallback(c.committed))
	if err != nil {
		cancel()
		c.producer.Close()
		return nil, err
	}
	making, stop := context.WithCancel(ctx)
	c.stopMake = stop
	c.makers.Go(func() { c.produce(making) })
	c.readers.Go(func() { c.consume(ctx) })
	return c, nil
}

// producerName is part of every record's identity.
const producerName = "shop"

// produce hands out numbered records at the rate until ctx ends.
func (c *clients) produce(ctx context.Context) {
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	begun, number := time.Now(), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int64(time.Since(begun).Seconds() * float64(c.w.o.Rate))
		for ; number < due && ctx.Err() == nil; number++ {
			c.produceOne(ctx, history.Record{Producer: producerName, Number: number})
		}
	}
}

func (c *clients) produceOne(ctx context.Context, r history.Record) {
	c.w.recorder.Produced(time.Now(), r)
	rec := &kgo.Record{Partition: int32(r.Number % int64(c.w.o.Partitions)), Value: []byte(r.String())}
	// The record outlives the maker: what was begun is waited for by finish.
	c.producer.Produce(context.WithoutCancel(ctx), rec, func(rec *kgo.Record, err error) {
		if err != nil {
			c.w.recorder.Failed(time.Now(), r, err)
			return
		}
		c.w.recorder.Acknowledged(time.Now(), r, history.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset)
	})
}

func (c *clients) consume(ctx context.Context) {
	for {
		fs := c.consumer.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fs.EachError(func(t string, p int32, err error) {
			c.w.recorder.Error(fmt.Errorf("consuming %s-%d: %w", t, p, err))
		})
		now := time.Now()
		fs.EachRecord(func(r *kgo.Record) {
			id, err := parse(r.Value)
			if err != nil {
				c.w.recorder.Error(err)
				return
			}
			c.w.recorder.Consumed(now, group, "1", id, history.TopicPartition{Topic: r.Topic, Partition: r.Partition}, r.Offset)
		})
	}
}

// committed records commits that succeeded. One that a rebalance refuses is no
// error to an application: the client commits again.
func (c *clients) committed(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if err != nil || req == nil || resp == nil {
		return
	}
	now := time.Now()
	done := make(map[history.TopicPartition]bool)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			done[history.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.ErrorCode == 0
		}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if tp := (history.TopicPartition{Topic: t.Topic, Partition: p.Partition}); done[tp] {
				c.w.recorder.Committed(now, group, tp, p.Offset)
			}
		}
	}
}

func parse(value []byte) (history.Record, error) {
	name, number, ok := strings.Cut(string(value), "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return history.Record{}, fmt.Errorf("a record has the value %q, which nobody wrote", value)
	}
	return history.Record{Producer: name, Number: n}, nil
}

// finish stops producing, waits for every answer and for the consumer to have
// read what was acknowledged.
func (c *clients) finish(ctx context.Context) error {
	c.stopMake()
	c.makers.Wait()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.producer.Flush(ctx); err != nil {
		return fmt.Errorf("the producer's last records are not answered: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	idle, last := 0, -1
	for idle < 10 { // a second without a new record
		select {
		case <-ctx.Done():
			return errors.New("the consumer does not come to an end")
		case <-tick.C:
		}
		if _, n := c.w.recorder.Counts(); n == last {
			idle++
		} else {
			idle, last = 0, n
		}
	}
	return nil
}

func (c *clients) stop() {
	c.stopMake()
	c.cancel()
	c.makers.Wait()
	c.readers.Wait()
	c.consumer.Close()
	c.producer.Close()
}

// readLog reads the whole topic as a client that begins now would.
func readLog(ctx context.Context, bootstrap string) ([]history.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ClientID("auditor"), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("listing the ends of the log: %w", err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	log := []history.Entry{}
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return nil, fmt.Errorf("reading the log at the end (%d partitions left): %w", len(left), err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			id, err := parse(r.Value)
			if err != nil {
				id = history.Record{Producer: err.Error()}
			}
			log = append(log, history.Entry{Record: id, TopicPartition: history.TopicPartition{Topic: r.Topic, Partition: r.Partition}, Offset: r.Offset})
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return log, nil
}
