//go:build synctests

package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/sidecar/history"
)

// client is one client process: a kgo client and the goroutine that uses it.
type client struct {
	*kgo.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (c *client) close() {
	c.cancel()
	c.wg.Wait()
	c.Client.Close()
}

func (w *world) newClient(host, id string, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", port)), kgo.Dialer(w.net.Host(host).Dial), kgo.ClientID(id),
	}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return cl
}

const group = "group"

func (w *world) startClients() {
	for i, s := range w.sidecars {
		for topic := range w.topics {
			w.startProducer(s.host, fmt.Sprintf("p%d-%s", i, topic), topic)
		}
		w.startConsumer(s.host, fmt.Sprintf("c%d", i))
	}
}

// startProducer produces numbered records at 20 to 150 a second until it is
// stopped.
func (w *world) startProducer(host, name, topic string) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{Client: w.newClient(host, name, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond)), cancel: cancel}
	w.clients = append(w.clients, c)
	every := time.Duration(7+w.rng.IntN(40)) * time.Millisecond
	partitions := int64(w.topics[topic])
	c.wg.Go(func() {
		for n := int64(0); ctx.Err() == nil; n++ {
			r := history.Record{Producer: name, Number: n}
			w.recorder.Produced(time.Now(), r)
			rec := &kgo.Record{Topic: topic, Partition: int32(n % partitions), Value: []byte(r.String())}
			c.Produce(context.Background(), rec, func(rec *kgo.Record, err error) {
				if err != nil {
					w.recorder.Failed(time.Now(), r, err)
					return
				}
				w.recorder.Acknowledged(time.Now(), r, history.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}, rec.Offset)
			})
			select {
			case <-time.After(every):
			case <-ctx.Done():
			}
		}
	})
}

func (w *world) startConsumer(host, member string) {
	topics := make([]string, 0, len(w.topics))
	for t := range w.topics {
		topics = append(topics, t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{cancel: cancel}
	c.Client = w.newClient(host, member, kgo.ConsumeTopics(topics...), kgo.ConsumerGroup(group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(500*time.Millisecond), kgo.AutoCommitCallback(w.committed))
	w.clients = append(w.clients, c)
	c.wg.Go(func() {
		for {
			fs := c.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			fs.EachError(func(t string, p int32, err error) {
				if w.restarted.Load() && costOfRestart(err) {
					w.say("%s: %v", member, err)
					return
				}
				w.recorder.Error(fmt.Errorf("%s consuming %s-%d: %w", member, t, p, err))
			})
			fs.EachRecord(func(r *kgo.Record) {
				w.recorder.Consumed(time.Now(), group, member, parse(r.Value), history.TopicPartition{Topic: r.Topic, Partition: r.Partition}, r.Offset)
			})
		}
	})
}

// costOfRestart says whether err is what a client may see of the restart of its
// sidecar: the connection is lost, as with any broker; and the new process does
// not know the member, so that a cutover before it joins again costs it its
// membership.
func costOfRestart(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, kerr.UnknownMemberID)
}

func (w *world) committed(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if err != nil || req == nil || resp == nil {
		return
	}
	done := make(map[history.TopicPartition]bool)
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			done[history.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p.ErrorCode == 0
		}
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			if tp := (history.TopicPartition{Topic: t.Topic, Partition: p.Partition}); done[tp] {
				w.recorder.Committed(time.Now(), group, tp, p.Offset)
			}
		}
	}
}

// parse reads a record's identity; one that nobody wrote becomes a phantom.
func parse(value []byte) history.Record {
	name, number, _ := strings.Cut(string(value), "/")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return history.Record{Producer: "unreadable " + string(value)}
	}
	return history.Record{Producer: name, Number: n}
}

// judge stops the clients, reads the log as a new client would, and checks.
func (w *world) judge() {
	w.finish()
	final := w.readLog()
	if final == nil {
		return
	}
	reports := w.ended
	for _, s := range w.sidecars {
		reports = append(reports, s.Reports()...)
	}
	for _, r := range reports {
		for _, p := range r.Partitions {
			w.recorder.Tail(history.TopicPartition{Topic: p.Topic, Partition: p.Partition}, p.Mirrored, p.First)
		}
	}
	v := history.Check(w.recorder.History(), final)
	w.say("verdict: %+v", *v)
	w.t.Logf("%d acknowledged, %d lost in the declared tail, %d re-read, %d cutovers, pauses %v and %v",
		v.Acknowledged, v.LostInDeclaredTail, v.Reread, len(reports), v.ProducePause, v.ConsumePause)
	if v.Acknowledged < 50 {
		w.t.Errorf("only %d records were acknowledged: the scenario shows nothing", v.Acknowledged)
	}
	if w.bounded && v.LongestPause() > 8*time.Second {
		w.t.Errorf("the longest pause is %v (producing %v, consuming %v), 8 s are promised", v.LongestPause(), v.ProducePause, v.ConsumePause)
	}
	for _, b := range v.Broken() {
		w.t.Errorf("broken: %s", b)
	}
	for _, e := range v.Examples {
		w.t.Log(e)
	}
}

// finish lets the producers end and the consumers read on until a quiet second.
func (w *world) finish() {
	for _, c := range w.clients {
		if _, consuming := c.GroupMetadata(); consuming >= 0 || c.OptValue(kgo.ConsumerGroup) == group {
			continue
		}
		c.cancel()
		c.wg.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := c.Flush(ctx); err != nil {
			w.t.Errorf("the producer's last records are not answered after 30 s: %v", err)
		}
		cancel()
	}
	for quiet, last := 0, -1; quiet < 20; {
		time.Sleep(100 * time.Millisecond)
		if _, n := w.recorder.Counts(); n == last {
			quiet++
		} else {
			quiet, last = 0, n
		}
	}
}

func (w *world) readLog() []history.Entry {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	topics := make([]string, 0, len(w.topics))
	for t := range w.topics {
		topics = append(topics, t)
	}
	cl := w.newClient(w.sidecars[0].host, "auditor", kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		w.t.Errorf("listing the ends of the log: %v", err)
		return nil
	}
	left := make(map[history.TopicPartition]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[history.TopicPartition{Topic: o.Topic, Partition: o.Partition}] = o.Offset
		}
	})
	log := []history.Entry{}
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			w.t.Errorf("reading the log at the end (left: %v): %v", left, err)
			return nil
		}
		fs.EachRecord(func(r *kgo.Record) {
			tp := history.TopicPartition{Topic: r.Topic, Partition: r.Partition}
			log = append(log, history.Entry{Record: parse(r.Value), TopicPartition: tp, Offset: r.Offset})
			if r.Offset+1 >= left[tp] {
				delete(left, tp)
			}
		})
	}
	return log
}
