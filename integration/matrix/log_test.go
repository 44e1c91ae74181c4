package matrix

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/sidecar/history"
)

// place is where a record is.
type place struct {
	partition int32
	offset    int64
}

// logged is one record of a log.
type logged struct {
	value   string
	codec   string
	at      int64 // ms
	control bool
}

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// readLog reads a whole topic, from its start to its present end, with a client
// that is none of the tested ones' processes.
func readLog(ctx context.Context, bootstrap, topic string, opts ...kgo.Opt) (map[place]logged, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("the ends of %s: %w", topic, err)
	}
	log, next := make(map[place]logged), make(map[int32]int64)
	for {
		missing := int64(0)
		for p, end := range ends[topic] {
			missing += max(0, end.Offset-next[p])
		}
		if missing == 0 {
			return log, nil
		}
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("reading %s, %d offsets before its ends: %w", topic, missing, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			log[place{r.Partition, r.Offset}] = logged{string(r.Value), codecNames[r.Attrs.CompressionType()], r.Timestamp.UnixMilli(), r.Attrs.IsControl()}
			next[r.Partition] = r.Offset + 1
		})
	}
}

// markers are the control records that a client can see in a topic. Nobody here
// uses transactions: they could only be the product's own.
func markers(ctx context.Context, bootstrap, topic string) (found []place, err error) {
	log, err := readLog(ctx, bootstrap, topic, kgo.KeepControlRecords())
	for at, l := range log {
		if l.control {
			found = append(found, at)
		}
	}
	return found, err
}

// identity reads a record's from its value: "<producer>-<number>".
func identity(value string) (history.Record, error) {
	i := strings.LastIndexByte(value, '-')
	if i < 0 {
		return history.Record{}, fmt.Errorf("the value %q is of nobody here", value)
	}
	n, err := strconv.ParseInt(value[i+1:], 10, 64)
	return history.Record{Producer: value[:i], Number: n}, err
}
