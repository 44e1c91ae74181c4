package proxy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestUnmodifiedClientProducesAndConsumesThroughTheProxy(t *testing.T) {
	inLab(t, 3, 4, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		cl := l.kgo(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cl.Close()
		for i := range 40 {
			r := &kgo.Record{Topic: "orders", Partition: int32(i % 4), Value: fmt.Appendf(nil, "v%d", i)}
			if err := cl.ProduceSync(l.ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if want := int64(i / 4); r.Offset != want {
				t.Fatalf("record %d was acknowledged at offset %d, want %d", i, r.Offset, want)
			}
		}
		consume(t, l, cl, 40)
	})
}

// consume polls until n records have come; each partition's must be in order.
func consume(t *testing.T, l *lab, cl *kgo.Client, n int) (got []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 20*time.Second)
	defer cancel()
	next := make(map[int32]int64)
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records came: %v", len(got), n, err)
		}
		fetches.EachError(func(topic string, p int32, err error) { t.Fatalf("%s-%d: %v", topic, p, err) })
		fetches.EachRecord(func(r *kgo.Record) {
			if want, ok := next[r.Partition]; ok && r.Offset < want {
				t.Fatalf("offset %d after %d", r.Offset, want)
			}
			next[r.Partition] = r.Offset + 1
			got = append(got, r)
		})
	}
	return got
}

func TestClientSeesOneConstantVirtualCluster(t *testing.T) {
	inLab(t, 3, 4, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		cl := l.kgo()
		defer cl.Close()
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = nil
		resp, err := req.RequestWith(l.ctx, cl)
		if err != nil {
			t.Fatal(err)
		}
		if *resp.ClusterID != l.proxy.ClusterID() || len(*resp.ClusterID) != 22 {
			t.Errorf("cluster id %q", *resp.ClusterID)
		}
		if len(resp.Brokers) != 3 {
			t.Fatalf("%d nodes, want 3", len(resp.Brokers))
		}
		for i, b := range resp.Brokers {
			if b.NodeID != int32(i) || b.Host != "127.0.0.1" || b.Port != labPort+1+int32(i) {
				t.Errorf("node %d is %+v", i, b)
			}
		}
		for _, topic := range resp.Topics {
			if strings.HasPrefix(*topic.Topic, "__catamaran") {
				t.Errorf("topic %s is shown", *topic.Topic)
			}
			for _, p := range topic.Partitions {
				if p.LeaderEpoch != -1 || p.Leader < 0 || p.Leader > 2 || p.ErrorCode != 0 {
					t.Errorf("partition %+v", p)
				}
			}
		}
	})
}

func TestMisalignedLeadersAreScatteredAndGathered(t *testing.T) {
	inLab(t, 3, 3, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		cl := l.kgo(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMaxAge(time.Hour))
		defer cl.Close()
		n := 0
		produce := func() {
			for p := range int32(3) {
				r := &kgo.Record{Topic: "orders", Partition: p, Value: fmt.Appendf(nil, "v%d", n)}
				if err := cl.ProduceSync(l.ctx, r).FirstErr(); err != nil {
					t.Fatal(err)
				}
				n++
			}
		}
		produce()
		consume(t, l, cl, 3)
		for shift := range int32(3) {
			for p := range int32(3) {
				if err := l.east.MoveTopicPartition("orders", p, (p+shift)%3); err != nil {
					t.Fatal(err)
				}
			}
			produce()
			consume(t, l, cl, 3)
		}
	})
}

func TestNoClientIsAnsweredBeforeTheFirstServe(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		cl := l.kgo()
		defer cl.Close()
		done := make(chan error, 1)
		go func() {
			done <- cl.ProduceSync(l.ctx, &kgo.Record{Topic: "orders", Value: []byte("v0")}).FirstErr()
		}()
		select {
		case err := <-done:
			t.Fatalf("answered before the first Serve: %v", err)
		case <-time.After(5 * time.Second):
		}
		l.serve("east", 0)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		sameStrings(t, "log", l.east.logOf(t, "orders", 0), numbered(0, 1))
	})
}
