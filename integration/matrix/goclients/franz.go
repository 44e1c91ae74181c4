package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// franz is twmb/franz-go with its defaults (idempotent, acks=all).
type franz struct{ bootstrap string }

func (*franz) module() string { return "github.com/twmb/franz-go" }

func (f *franz) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(f.bootstrap))...)
}

// admin calls do with a client of its own.
func (f *franz) admin(do func(adm *kadm.Client) error) error {
	cl, err := f.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	return do(kadm.NewClient(cl))
}

func (f *franz) create(ctx context.Context, topic string, partitions int) error {
	return f.admin(func(adm *kadm.Client) error {
		_, err := adm.CreateTopic(ctx, int32(partitions), 1, nil, topic)
		return err
	})
}

func (f *franz) remove(ctx context.Context, topic string) error {
	return f.admin(func(adm *kadm.Client) error {
		_, err := adm.DeleteTopic(ctx, topic)
		return err
	})
}

func (f *franz) topics(ctx context.Context) (map[string]int, error) {
	topics := make(map[string]int)
	err := f.admin(func(adm *kadm.Client) error {
		details, err := adm.ListTopics(ctx)
		for name, d := range details {
			topics[name] = len(d.Partitions)
		}
		return err
	})
	return topics, err
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f *franz) produce(ctx context.Context, a args) (int, error) {
	cl, err := f.client(kgo.DefaultProduceTopic(a["topic"]), kgo.ProducerBatchCompression(franzCodecs[a["codec"]]))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	sent, _ := a.each(ctx, func(i int64) error {
		cl.Produce(context.Background(), &kgo.Record{Key: a.key(i), Value: a.value(i), Timestamp: a.at(i)}, func(r *kgo.Record, err error) {
			if err != nil {
				trouble(a["name"], fmt.Errorf("%s: %w", r.Value, err))
				return
			}
			acked(r.Value, r.Partition, r.Offset)
		})
		return nil
	})
	return sent, cl.Flush(context.Background())
}

func (f *franz) consume(ctx context.Context, a args) error {
	cl, err := f.client(kgo.ConsumeTopics(a["topic"]), kgo.ConsumerGroup(a["group"]), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			if len(lost) > 0 {
				trouble(a["name"], fmt.Errorf("partitions lost: %v", lost))
			}
		}))
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(_ string, p int32, err error) {
			if !errors.Is(err, context.Canceled) {
				trouble(a["name"], fmt.Errorf("partition %d: %w", p, err))
			}
		})
		fetches.EachRecord(func(r *kgo.Record) { got(a["name"], r.Value, r.Partition, r.Offset) })
		if fetches.NumRecords() > 0 {
			if err := cl.CommitUncommittedOffsets(context.Background()); err != nil {
				trouble(a["name"], fmt.Errorf("commit: %w", err))
			}
		}
	}
	return nil
}

func (f *franz) read(ctx context.Context, a args) (int64, []string, error) {
	p := int32(a.int("partition"))
	start := kgo.NewOffset()
	if a["at"] != "" {
		start = start.AfterMilli(a.int("at"))
	} else {
		start = start.At(a.int("offset"))
	}
	cl, err := f.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{a["topic"]: {p: start}}))
	if err != nil {
		return 0, nil, err
	}
	defer cl.Close()
	var once sync.Once
	first, values := int64(-1), []string(nil)
	for int64(len(values)) < a.int("count") {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return first, values, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			once.Do(func() { first = r.Offset })
			values = append(values, string(r.Value))
		})
	}
	return first, values[:a.int("count")], nil
}

func (f *franz) offsets(ctx context.Context, topic string, partition int32) (earliest, latest int64, err error) {
	err = f.admin(func(adm *kadm.Client) error {
		starts, err := adm.ListStartOffsets(ctx, topic)
		if err != nil {
			return err
		}
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		s, _ := starts.Lookup(topic, partition)
		e, _ := ends.Lookup(topic, partition)
		earliest, latest = s.Offset, e.Offset
		return errors.Join(s.Err, e.Err)
	})
	return earliest, latest, err
}

func (f *franz) deleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	return f.admin(func(adm *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
		resps, err := adm.DeleteRecords(ctx, offsets)
		if err != nil {
			return err
		}
		return resps.Error()
	})
}
