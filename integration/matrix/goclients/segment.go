package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
)

// segment is segmentio/kafka-go: not idempotent (the library is not), acks=all
// (its default is not to ask for acknowledgements).
type segment struct{ bootstrap string }

func (*segment) module() string { return "github.com/segmentio/kafka-go" }

func (s *segment) client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(s.bootstrap), Timeout: 30 * time.Second}
}

func firstError(err error, byTopic map[string]error) error {
	for topic, e := range byTopic {
		if e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", topic, e))
		}
	}
	return err
}

func (s *segment) create(ctx context.Context, topic string, partitions int) error {
	resp, err := s.client().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1}}})
	if err != nil {
		return err
	}
	return firstError(nil, resp.Errors)
}

func (s *segment) remove(ctx context.Context, topic string) error {
	resp, err := s.client().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return firstError(nil, resp.Errors)
}

func (s *segment) topics(ctx context.Context) (map[string]int, error) {
	resp, err := s.client().Metadata(ctx, &kafka.MetadataRequest{})
	if err != nil {
		return nil, err
	}
	topics := make(map[string]int)
	for _, t := range resp.Topics {
		topics[t.Name] = len(t.Partitions)
		err = errors.Join(err, t.Error)
	}
	return topics, err
}

var segmentCodecs = map[string]kafka.Compression{"none": 0, "gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd}

func (s *segment) produce(ctx context.Context, a args) (int, error) {
	w := &kafka.Writer{
		Addr: kafka.TCP(s.bootstrap), Topic: a["topic"], RequiredAcks: kafka.RequireAll, Compression: segmentCodecs[a["codec"]],
		BatchTimeout: 10 * time.Millisecond, Async: true,
		ErrorLogger: toLog("writer"),
		Completion: func(messages []kafka.Message, err error) {
			for _, m := range messages {
				if err != nil {
					trouble(a["name"], fmt.Errorf("%s: %w", m.Value, err))
				} else {
					acked(m.Value, int32(m.Partition), m.Offset)
				}
			}
		},
	}
	sent, err := a.each(ctx, func(i int64) error {
		return w.WriteMessages(context.Background(), kafka.Message{Key: a.key(i), Value: a.value(i), Time: a.at(i)})
	})
	return sent, errors.Join(err, w.Close())
}

func toLog(who string) kafka.LoggerFunc {
	return func(format string, v ...any) {
		fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05.000 ")+who+": "+format+"\n", v...)
	}
}

func (s *segment) consume(ctx context.Context, a args) error {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.bootstrap}, GroupID: a["group"], GroupTopics: []string{a["topic"]}, StartOffset: kafka.FirstOffset,
		MaxWait: 500 * time.Millisecond, ErrorLogger: toLog(a["name"]),
	})
	for {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			if ctx.Err() == nil {
				trouble(a["name"], fmt.Errorf("fetch: %w", err))
			}
			return r.Close()
		}
		got(a["name"], m.Value, int32(m.Partition), m.Offset)
		if err := r.CommitMessages(context.Background(), m); err != nil {
			trouble(a["name"], fmt.Errorf("commit: %w", err))
		}
	}
}

func (s *segment) read(ctx context.Context, a args) (int64, []string, error) {
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{s.bootstrap}, Topic: a["topic"], Partition: int(a.int("partition")), MaxWait: 500 * time.Millisecond, ErrorLogger: toLog("read"),
	})
	defer r.Close()
	var err error
	if a["at"] != "" {
		err = r.SetOffsetAt(ctx, time.UnixMilli(a.int("at")))
	} else {
		err = r.SetOffset(a.int("offset"))
	}
	first, values := int64(-1), []string(nil)
	for err == nil && int64(len(values)) < a.int("count") {
		var m kafka.Message
		if m, err = r.ReadMessage(ctx); err == nil {
			if len(values) == 0 {
				first = m.Offset
			}
			values = append(values, string(m.Value))
		}
	}
	return first, values, err
}

func (s *segment) offsets(ctx context.Context, topic string, partition int32) (earliest, latest int64, err error) {
	resp, err := s.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(int(partition)), kafka.LastOffsetOf(int(partition))},
	}})
	if err != nil {
		return 0, 0, err
	}
	for _, p := range resp.Topics[topic] {
		if p.Partition == int(partition) {
			return p.FirstOffset, p.LastOffset, p.Error
		}
	}
	return 0, 0, errors.New("the answer lacks the partition")
}

func (s *segment) deleteRecords(context.Context, string, int32, int64) error { return errLacks }
