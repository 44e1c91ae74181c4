package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// saramaLib is IBM/sarama, idempotent, with its default protocol version (an old
// one) or the newest that it knows.
type saramaLib struct {
	bootstrap string
	newest    bool
}

func (*saramaLib) module() string { return "github.com/IBM/sarama" }

func (s *saramaLib) config() *sarama.Config {
	c := sarama.NewConfig()
	if s.newest {
		c.Version = sarama.MaxVersion
	}
	c.Producer.Idempotent = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Net.MaxOpenRequests = 1 // what Idempotent demands
	c.Producer.Return.Successes = true
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func (s *saramaLib) admin(do func(adm sarama.ClusterAdmin) error) error {
	adm, err := sarama.NewClusterAdmin([]string{s.bootstrap}, s.config())
	if err != nil {
		return err
	}
	return errors.Join(do(adm), adm.Close())
}

func (s *saramaLib) create(_ context.Context, topic string, partitions int) error {
	return s.admin(func(adm sarama.ClusterAdmin) error {
		return adm.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false)
	})
}

func (s *saramaLib) remove(_ context.Context, topic string) error {
	return s.admin(func(adm sarama.ClusterAdmin) error { return adm.DeleteTopic(topic) })
}

func (s *saramaLib) topics(context.Context) (map[string]int, error) {
	topics := make(map[string]int)
	err := s.admin(func(adm sarama.ClusterAdmin) error {
		details, err := adm.ListTopics()
		for name, d := range details {
			topics[name] = int(d.NumPartitions)
		}
		return err
	})
	return topics, err
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

func (s *saramaLib) produce(ctx context.Context, a args) (int, error) {
	c := s.config()
	c.Producer.Compression = saramaCodecs[a["codec"]]
	p, err := sarama.NewAsyncProducer([]string{s.bootstrap}, c)
	if err != nil {
		return 0, err
	}
	var readers sync.WaitGroup
	readers.Go(func() {
		for m := range p.Successes() {
			value, _ := m.Value.Encode()
			acked(value, m.Partition, m.Offset)
		}
	})
	readers.Go(func() {
		for e := range p.Errors() {
			trouble(a["name"], e)
		}
	})
	sent, _ := a.each(ctx, func(i int64) error {
		p.Input() <- &sarama.ProducerMessage{Topic: a["topic"], Key: sarama.ByteEncoder(a.key(i)), Value: sarama.ByteEncoder(a.value(i)), Timestamp: a.at(i)}
		return nil
	})
	p.AsyncClose() // delivers what it holds first
	readers.Wait()
	return sent, nil
}

// saramaHandler consumes and commits whenever nothing more is buffered.
type saramaHandler struct{ name string }

func (saramaHandler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (saramaHandler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h saramaHandler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for m := range claim.Messages() {
		got(h.name, m.Value, m.Partition, m.Offset)
		session.MarkMessage(m, "")
		if len(claim.Messages()) == 0 {
			session.Commit()
		}
	}
	return nil
}

func (s *saramaLib) consume(ctx context.Context, a args) error {
	c := s.config()
	c.Consumer.Offsets.AutoCommit.Enable = false
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, a["group"], c)
	if err != nil {
		return err
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		for err := range group.Errors() {
			trouble(a["name"], err)
		}
	})
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{a["topic"]}, saramaHandler{a["name"]}); err != nil && ctx.Err() == nil {
			trouble(a["name"], fmt.Errorf("consume: %w", err))
			time.Sleep(100 * time.Millisecond)
		}
	}
	err = group.Close()
	reader.Wait()
	return err
}

func (s *saramaLib) read(ctx context.Context, a args) (int64, []string, error) {
	cl, err := sarama.NewClient([]string{s.bootstrap}, s.config())
	if err != nil {
		return 0, nil, err
	}
	defer cl.Close()
	p := int32(a.int("partition"))
	var start int64
	if a["at"] != "" {
		if start, err = cl.GetOffset(a["topic"], p, a.int("at")); err != nil {
			return 0, nil, err
		}
	} else {
		start = a.int("offset")
	}
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return 0, nil, err
	}
	defer consumer.Close()
	pc, err := consumer.ConsumePartition(a["topic"], p, start)
	if err != nil {
		return 0, nil, err
	}
	defer pc.AsyncClose()
	first, values := int64(-1), []string(nil)
	for int64(len(values)) < a.int("count") {
		select {
		case m := <-pc.Messages():
			if len(values) == 0 {
				first = m.Offset
			}
			values = append(values, string(m.Value))
		case err := <-pc.Errors():
			return first, values, err
		case <-ctx.Done():
			return first, values, ctx.Err()
		}
	}
	return first, values, nil
}

func (s *saramaLib) offsets(_ context.Context, topic string, partition int32) (earliest, latest int64, err error) {
	cl, err := sarama.NewClient([]string{s.bootstrap}, s.config())
	if err != nil {
		return 0, 0, err
	}
	defer cl.Close()
	earliest, err1 := cl.GetOffset(topic, partition, sarama.OffsetOldest)
	latest, err2 := cl.GetOffset(topic, partition, sarama.OffsetNewest)
	return earliest, latest, errors.Join(err1, err2)
}

func (s *saramaLib) deleteRecords(_ context.Context, topic string, partition int32, before int64) error {
	return s.admin(func(adm sarama.ClusterAdmin) error {
		return adm.DeleteRecords(topic, map[int32]int64{partition: before})
	})
}
