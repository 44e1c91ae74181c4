// Package proxytest runs the proxy before real Kafka brokers, with the real
// mirror and the test in the place of the failover agent.
package proxytest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/mirror"
	"github.com/catamaran-io/catamaran/proxy"
)

func startProxy(t *testing.T, clusters map[string]*kafkatest.Cluster) *proxy.Proxy {
	t.Helper()
	level := slog.LevelInfo
	if os.Getenv("PROXY_DEBUG") != "" {
		level = slog.LevelDebug
	}
	cfg := proxy.Config{
		VirtualCluster: "it", Host: "127.0.0.1", Port: freePorts(t, 6), MaxNodes: 5,
		Clusters: make(map[string]proxy.Cluster), Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level})),
		Hold: 8 * time.Second, FetchWait: 500 * time.Millisecond, MaxRequestBytes: 100 << 20, MaxHeldBytes: 64 << 20,
	}
	for name, c := range clusters {
		cfg.Clusters[name] = proxy.Cluster{Seeds: c.Bootstrap()}
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return p
}

// freePorts is the first of n neighbouring ports below the ephemeral range that
// were free a moment ago.
func freePorts(t *testing.T, n int) int {
	t.Helper()
next:
	for first := 22000 + os.Getpid()%500*20; first < 32000; first += n {
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return first
	}
	t.Fatal("no free ports")
	return 0
}

func serve(t *testing.T, p *proxy.Proxy, r proxy.Route) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.Serve(ctx, r); err != nil {
		t.Fatal(err)
	}
}

func createTopic(t *testing.T, c *kafkatest.Cluster, topic string, partitions int32, replicas int16) {
	t.Helper()
	adm := kadm.NewClient(c.Client(t))
	if _, err := adm.CreateTopic(context.Background(), partitions, replicas, nil, topic); err != nil {
		t.Fatal(err)
	}
}

// traffic is a producer of numbered records and a group of two that reads them.
type traffic struct {
	t      *testing.T
	topic  string
	parts  int
	stop   chan struct{}
	wg     sync.WaitGroup
	acked  atomic.Int64
	sent   int
	mu     sync.Mutex
	at     map[string]int64 // acknowledged offset of a value
	seen   map[string]int
	gap    time.Duration
	last   time.Time
	joined []*kgo.Client
	lost   int
	cancel context.CancelFunc
}

func startTraffic(t *testing.T, addr, topic string, parts int) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{t: t, topic: topic, parts: parts, stop: make(chan struct{}), at: make(map[string]int64), seen: make(map[string]int), cancel: cancel}
	for range 2 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumerGroup("readers-"+topic), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(200*time.Millisecond), kgo.DisableClientMetrics(),
			kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, _ map[string][]int32) {
				if err := cl.CommitUncommittedOffsets(ctx); err != nil {
					t.Logf("commit at revocation: %v", err)
				}
			}),
			kgo.OnPartitionsLost(func(context.Context, *kgo.Client, map[string][]int32) { tr.mu.Lock(); tr.lost++; tr.mu.Unlock() }))
		if err != nil {
			t.Fatal(err)
		}
		tr.joined = append(tr.joined, cl)
		tr.wg.Go(func() { tr.consume(ctx, cl) })
	}
	prod, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	tr.wg.Go(func() {
		defer prod.Close()
		for i := 0; ; i++ {
			select {
			case <-tr.stop:
				if err := prod.Flush(ctx); err != nil {
					t.Errorf("flush: %v", err)
				}
				tr.mu.Lock()
				tr.sent = i
				tr.mu.Unlock()
				return
			case <-time.After(2 * time.Millisecond):
			}
			prod.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i % parts), Value: fmt.Appendf(nil, "v%d", i)}, tr.answered)
		}
	})
	return tr
}

func (tr *traffic) answered(r *kgo.Record, err error) {
	if err != nil {
		tr.t.Errorf("%s: %v", r.Value, err)
		return
	}
	tr.acked.Add(1)
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.at[string(r.Value)] = r.Offset
	if now := time.Now(); !tr.last.IsZero() && now.Sub(tr.last) > tr.gap {
		tr.gap = now.Sub(tr.last)
	}
	tr.last = time.Now()
}

func (tr *traffic) consume(ctx context.Context, cl *kgo.Client) {
	defer cl.Close()
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		fetches.EachError(func(topic string, p int32, err error) { tr.t.Errorf("consuming %s-%d: %v", topic, p, err) })
		tr.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			tr.seen[string(r.Value)]++
			if at, ok := tr.at[string(r.Value)]; ok && at != r.Offset {
				tr.t.Errorf("%s was acknowledged at %d and consumed at %d", r.Value, at, r.Offset)
			}
		})
		tr.mu.Unlock()
	}
}

// finish stops the traffic and judges it by the log, read through addr.
func (tr *traffic) finish(addr string, spared int) {
	t := tr.t
	close(tr.stop)
	deadline := time.Now().Add(30 * time.Second)
	for {
		tr.mu.Lock()
		sent, seen := tr.sent, len(tr.seen)
		tr.mu.Unlock()
		if sent > 0 && seen >= sent-spared || time.Now().After(deadline) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	tr.cancel()
	tr.wg.Wait()
	twice := 0
	for _, n := range tr.seen {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d sent, %d acknowledged, %d consumed (%d more than once), longest gap between acknowledgements %v", tr.sent, tr.acked.Load(), len(tr.seen), twice, tr.gap.Round(time.Millisecond))
	if tr.lost > 0 {
		t.Errorf("a member lost its partitions %d times", tr.lost)
	}
	if int(tr.acked.Load()) != tr.sent {
		t.Errorf("%d sent, %d acknowledged", tr.sent, tr.acked.Load())
	}
	if len(tr.seen) < tr.sent-spared {
		t.Errorf("%d sent, %d consumed", tr.sent, len(tr.seen))
	}
	tr.judgeLog(addr, spared)
}

func (tr *traffic) judgeLog(addr string, spared int) {
	t := tr.t
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(tr.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	last, count := make(map[int32]int), make(map[string]int)
	for n := 0; n < tr.sent-spared; {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("the log has %d of %d records", n, tr.sent)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			var i int
			fmt.Sscanf(strings.TrimPrefix(string(r.Value), "v"), "%d", &i)
			if before, ok := last[r.Partition]; ok && i <= before {
				t.Errorf("partition %d: v%d after v%d at offset %d", r.Partition, i, before, r.Offset)
			}
			last[r.Partition] = i
			count[string(r.Value)]++
			if at, ok := tr.at[string(r.Value)]; ok && at != r.Offset {
				t.Errorf("%s was acknowledged at %d and stands at %d", r.Value, at, r.Offset)
			}
		})
	}
	for v, n := range count {
		if n != 1 {
			t.Errorf("%s is in the log %d times", v, n)
		}
	}
}

func TestDeathOfABrokerIsInvisible(t *testing.T) {
	east := kafkatest.Start(t, kafkatest.Config{Name: "east", Brokers: 3})
	createTopic(t, east, "orders", 6, 3)
	p := startProxy(t, map[string]*kafkatest.Cluster{"east": east})
	serve(t, p, proxy.Route{Epoch: 1, Active: "east"})
	tr := startTraffic(t, p.Addr(), "orders", 6)
	time.Sleep(6 * time.Second)
	for id := int32(1); id <= 2; id++ {
		east.Broker(id).Kill()
		time.Sleep(7 * time.Second)
		east.Broker(id).Restart(t)
		time.Sleep(4 * time.Second)
	}
	tr.finish(p.Addr(), 0)
	t.Logf("%+v", p.Stats())
}

func TestSwitchoverAndFailoverWithTheRealMirror(t *testing.T) {
	east := kafkatest.Start(t, kafkatest.Config{Name: "east", Brokers: 1})
	west := kafkatest.Start(t, kafkatest.Config{Name: "west", Brokers: 1})
	clusters := map[string]*kafkatest.Cluster{"east": east, "west": west}
	createTopic(t, east, "orders", 4, 1)
	m, err := mirror.New(mirror.Config{
		VirtualCluster: "it", Writer: "proxytest", Topics: mirror.Rules{Include: []string{"orders"}},
		Clusters: map[string]mirror.Cluster{"east": {Seeds: east.Bootstrap()}, "west": {Seeds: west.Bootstrap()}},
		Discover: 200 * time.Millisecond, GroupInterval: 100 * time.Millisecond, Slots: 8,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	p := startProxy(t, clusters)
	serve(t, p, proxy.Route{Epoch: 1, Active: "east"})
	tr := startTraffic(t, p.Addr(), "orders", 4)
	run := func(l mirror.Link) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan error, 1)
		go func() { ran <- m.Run(ctx, l) }()
		return func() { cancel(); t.Logf("link %s to %s: %v", l.Source, l.Target, <-ran) }
	}
	cutover := func(l mirror.Link, planned bool, stop func()) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		begin := time.Now()
		exposed, err := p.Fence(ctx, proxy.Route{Epoch: l.Epoch + 1, Tenure: l.Tenure, Active: l.Source}, planned)
		if err != nil {
			t.Fatal(err)
		}
		fenced := time.Since(begin)
		if planned {
			if err := m.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		drained := time.Since(begin)
		l.Epoch++
		if err := m.Seal(ctx, l); err != nil {
			t.Fatal(err)
		}
		var floors []mirror.Floor
		for _, e := range exposed {
			floors = append(floors, mirror.Floor{TopicPartition: e.TopicPartition, Next: e.Next})
		}
		stamped, err := m.Stamp(ctx, l, floors, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range stamped.Partitions {
			t.Logf("%s: mirrored %d, first %d, tail %d %s", s.TopicPartition, s.Mirrored, s.First, s.Tail, s.Held)
		}
		sealed := time.Since(begin)
		serve(t, p, proxy.Route{Epoch: l.Epoch + 1, Tenure: l.Tenure + 1, Active: l.Target, Positions: stamped.Positions})
		t.Logf("planned %v: fenced %v, drained %v, stamped %v, served %v", planned, fenced, drained, sealed, time.Since(begin))
	}
	link := mirror.Link{Source: "east", Target: "west", Epoch: 1}
	stop := run(link)
	time.Sleep(8 * time.Second)
	cutover(link, true, stop)
	back := mirror.Link{Source: "west", Target: "east", Epoch: 3, Tenure: 1}
	stop = run(back)
	time.Sleep(8 * time.Second)
	west.Kill()
	time.Sleep(1500 * time.Millisecond)
	cutover(back, false, stop)
	time.Sleep(8 * time.Second)
	tr.finish(p.Addr(), 1000)
	t.Logf("%+v", p.Stats())
}
