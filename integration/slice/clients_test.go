package slice

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/javaclient"
	"github.com/catamaran-io/catamaran/sidecar/history"
)

// record reads the identity of a record from its value: "<producer>-<number>".
func record(value string) (history.Record, error) {
	i := strings.LastIndexByte(value, '-')
	n, err := strconv.ParseInt(value[i+1:], 10, 64)
	if i < 0 || err != nil {
		return history.Record{}, fmt.Errorf("the value %q is of nobody here", value)
	}
	return history.Record{Producer: value[:i], Number: n}, nil
}

// javaProducer starts an unmodified Java producer.
func javaProducer(t *testing.T, rec *history.Recorder, bootstrap, topic, name string, rate float64) *javaclient.Producer {
	return javaclient.StartProducer(t, javaclient.ProducerOptions{
		Bootstrap: []string{bootstrap}, Topic: topic, Prefix: name + "-", Rate: rate, Keys: 50,
		OnEvent: func(e javaclient.Event) {
			switch e.Kind {
			case javaclient.Acked:
				if r, err := record(e.Value); err != nil {
					rec.Error(err)
				} else {
					rec.Produced(e.At, r)
					rec.Acknowledged(e.At, r, history.TopicPartition{Topic: e.Topic, Partition: e.Partition}, e.Offset)
				}
			case javaclient.Error:
				rec.Error(fmt.Errorf("%s: %s %s", name, e.Err, e.Value))
			}
		},
	})
}

// javaConsumer starts an unmodified Java consumer, one member of group.
func javaConsumer(t *testing.T, rec *history.Recorder, bootstrap, topic, group string) *javaclient.Consumer {
	return javaclient.StartConsumer(t, javaclient.ConsumerOptions{
		Bootstrap: []string{bootstrap}, Topics: []string{topic}, Group: group, AutoCommitInterval: time.Second,
		OnEvent: func(e javaclient.Event) {
			switch e.Kind {
			case javaclient.Consumed:
				if r, err := record(e.Value); err != nil {
					rec.Error(err)
				} else {
					rec.Consumed(e.At, group, "java", r, history.TopicPartition{Topic: e.Topic, Partition: e.Partition}, e.Offset)
				}
			case javaclient.Error:
				rec.Error(fmt.Errorf("%s: %s", group, e.Err))
			case javaclient.Lost:
				rec.Error(fmt.Errorf("%s: partitions were lost: %v", group, e.Partitions))
			}
		},
	})
}

// goProducer produces numbered records with an unmodified kgo client until stop
// is called, which waits for every acknowledgement.
func goProducer(t *testing.T, rec *history.Recorder, bootstrap, topic, name string, rate int) (stop func()) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		start, n := time.Now(), int64(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for ; n < int64(time.Since(start).Seconds()*float64(rate)); n++ {
				r := history.Record{Producer: name, Number: n}
				rec.Produced(time.Now(), r)
				value := fmt.Sprintf("%s-%d", name, n)
				cl.Produce(context.Background(), &kgo.Record{Key: fmt.Appendf(nil, "k%d", n%50), Value: []byte(value)}, func(kr *kgo.Record, err error) {
					if err != nil {
						rec.Failed(time.Now(), r, err)
						return
					}
					rec.Acknowledged(time.Now(), r, history.TopicPartition{Topic: kr.Topic, Partition: kr.Partition}, kr.Offset)
				})
			}
		}
	})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			flush, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			if err := cl.Flush(flush); err != nil {
				rec.Error(fmt.Errorf("%s: records were not acknowledged: %w", name, err))
			}
			cl.Close()
		})
	}
	t.Cleanup(stop)
	return stop
}

// goConsumer is one member of group until stop is called.
func goConsumer(t *testing.T, rec *history.Recorder, bootstrap, topic, group, member string) (stop func()) {
	t.Helper()
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group),
		kgo.AutoCommitInterval(time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			if len(lost) > 0 {
				rec.Error(fmt.Errorf("%s: partitions were lost: %v", group, lost))
			}
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			fetches.EachError(func(topic string, p int32, err error) {
				if !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
					rec.Error(fmt.Errorf("%s: %s-%d: %w", group, topic, p, err))
				}
			})
			fetches.EachRecord(func(kr *kgo.Record) {
				r, err := record(string(kr.Value))
				if err != nil {
					rec.Error(err)
					return
				}
				rec.Consumed(time.Now(), group, member, r, history.TopicPartition{Topic: kr.Topic, Partition: kr.Partition}, kr.Offset)
			})
		}
	})
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
			cl.CloseAllowingRebalance()
		})
	}
	t.Cleanup(stop)
	return stop
}

// readLog reads a whole topic as a client that starts from the beginning does.
func readLog(t *testing.T, bootstrap, topic string) (out []history.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatalf("listing the ends of %s at %s: %v", topic, bootstrap, err)
	}
	next := make(map[int32]int64)
	missing := func() (n int64) {
		for p, end := range ends[topic] {
			n += max(0, end.Offset-next[p])
		}
		return n
	}
	for last := time.Now(); missing() > 0; {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fetches := cl.PollFetches(poll)
		cancel()
		fetches.EachRecord(func(kr *kgo.Record) {
			r, err := record(string(kr.Value))
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, history.Entry{Record: r, TopicPartition: history.TopicPartition{Topic: topic, Partition: kr.Partition}, Offset: kr.Offset})
			next[kr.Partition], last = kr.Offset+1, time.Now()
		})
		if time.Since(last) > 10*time.Second {
			t.Fatalf("reading %s at %s: %d offsets before the end nothing more comes (read to %v, ends %v)", topic, bootstrap, missing(), next, ends[topic])
		}
	}
	return out
}

// pauses are the longest silences of each producer and each group.
func pauses(h *history.History) map[string]time.Duration {
	last, longest := make(map[string]time.Duration), make(map[string]time.Duration)
	see := func(who string, at time.Duration) {
		if was, ok := last[who]; ok {
			longest[who] = max(longest[who], at-was)
		}
		last[who] = max(last[who], at)
	}
	for _, a := range h.Acknowledged {
		see("acknowledgements of "+a.Producer, a.At)
	}
	for _, c := range h.Consumed {
		see("records read by "+c.Group, c.At)
	}
	return longest
}
