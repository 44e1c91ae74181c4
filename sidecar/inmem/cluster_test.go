//go:build synctests

// These tests need the build tag "synctests": with it kgo waits for its locks on
// channels, which lets the clock of a bubble advance while it holds one.
package inmem

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// world is a network with one cluster, inside a bubble.
func world(t *testing.T, brokers int, body func(t *testing.T, n *Network, c *Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		n.SetLatency(300*time.Microsecond, 200*time.Microsecond)
		c, err := NewCluster(n, "east", brokers)
		if err != nil {
			t.Fatal(err)
		}
		body(t, n, c)
		c.Close()
	})
}

func client(t *testing.T, n *Network, c *Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.Bootstrap()...), kgo.Dialer(n.Host("app").Dial),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func TestProducerAndGroupConsumerWorkInABubble(t *testing.T) {
	world(t, 3, func(t *testing.T, n *Network, c *Cluster) {
		if err := c.Fake().CreateTopic("orders", 4, nil); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p := client(t, n, c, kgo.DefaultProduceTopic("orders"))
		defer p.Close()
		g := client(t, n, c, kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer g.Close()
		const records = 5000
		go func() {
			for i := range records {
				p.Produce(ctx, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}, func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
				time.Sleep(time.Millisecond)
			}
		}()
		for got := 0; got < records; {
			fs := g.PollFetches(ctx)
			if err := fs.Err(); err != nil {
				t.Fatal(err)
			}
			got += fs.NumRecords()
		}
		if err := g.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKilledClusterRefusesAndARevivedOneGoesOn(t *testing.T) {
	world(t, 1, func(t *testing.T, n *Network, c *Cluster) {
		if err := c.Fake().CreateTopic("orders", 1, nil); err != nil {
			t.Fatal(err)
		}
		cl := client(t, n, c, kgo.DefaultProduceTopic("orders"))
		defer cl.Close()
		produce := func(timeout time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			return cl.ProduceSync(ctx, &kgo.Record{Value: []byte("x")}).FirstErr()
		}
		if err := produce(time.Second); err != nil {
			t.Fatal(err)
		}
		c.Kill()
		if err := cl.Ping(timeout(t, time.Second)); err == nil {
			t.Fatal("a killed cluster answered")
		}
		c.Revive()
		if err := produce(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		if got := c.Fake().PartitionInfo("orders", 0).HighWatermark; got != 2 {
			t.Fatalf("%d records, want 2", got)
		}
	})
}

func TestPausedClusterAnswersNothingAndThenEverything(t *testing.T) {
	world(t, 1, func(t *testing.T, n *Network, c *Cluster) {
		if err := c.Fake().CreateTopic("orders", 1, nil); err != nil {
			t.Fatal(err)
		}
		cl := client(t, n, c, kgo.DefaultProduceTopic("orders"))
		defer cl.Close()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c.Pause()
		start := time.Now()
		done := make(chan error, 1)
		cl.Produce(t.Context(), &kgo.Record{Value: []byte("y")}, func(_ *kgo.Record, err error) { done <- err })
		time.Sleep(3 * time.Second)
		select {
		case err := <-done:
			t.Fatalf("a paused cluster answered: %v", err)
		default:
		}
		c.Resume()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 3500*time.Millisecond {
			t.Fatalf("answered after %v", took)
		}
	})
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
