package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// lab is two in-memory clusters, a proxy before them and a network that can cut
// either off, in virtual time. The test plays the mirror and the failover.
type lab struct {
	t          *testing.T
	ctx        context.Context
	net        *labNet
	east, west *labCluster
	proxy      *Proxy
}

type labCluster struct {
	*kfake.Cluster
	name   string
	client *kgo.Client // past the proxy
	nextID atomic.Int64
}

const (
	labPort  = 9090
	eastPort = 9200
	westPort = 9300
)

// inLab runs do in a bubble of virtual time with fresh clusters of so many
// brokers and the topics, which exist on both with partitions each.
func inLab(t *testing.T, brokers int, partitions int32, topics []string, do func(t *testing.T, l *lab), opts ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { runLab(t, brokers, partitions, topics, do, opts...) })
}

// inRealLab is inLab in real time: a kgo group consumer that commits by itself
// waits for a mutex while it joins, and virtual time stands still meanwhile.
func inRealLab(t *testing.T, brokers int, partitions int32, topics []string, do func(t *testing.T, l *lab), opts ...func(*Config)) {
	t.Helper()
	runLab(t, brokers, partitions, topics, do, opts...)
}

func runLab(t *testing.T, brokers int, partitions int32, topics []string, do func(t *testing.T, l *lab), opts ...func(*Config)) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &lab{t: t, ctx: ctx, net: newLabNet()}
	l.east = l.cluster("east", eastPort, brokers, partitions, topics)
	l.west = l.cluster("west", westPort, brokers, partitions, topics)
	end := l.start(opts...)
	defer func() { // also when the test fails
		end()
		cancel()
		for _, c := range []*labCluster{l.east, l.west} {
			c.client.Close()
			c.Close()
		}
	}()
	do(t, l)
}

// start runs the lab's proxy. To end it and start another is a restart of the
// sidecar.
func (l *lab) start(opts ...func(*Config)) (end func()) {
	ctx, cancel := context.WithCancel(l.ctx)
	p := l.newProxy(opts...)
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	l.proxy = p
	return func() {
		cancel()
		if err := <-ran; err != nil {
			l.t.Errorf("Run: %v", err)
		}
	}
}

func (l *lab) newProxy(opts ...func(*Config)) *Proxy {
	out := io.Discard
	if os.Getenv("LAB_LOG") != "" {
		out = os.Stderr
	}
	cfg := Config{
		VirtualCluster: "lab", Host: "127.0.0.1", Port: labPort, MaxNodes: 8,
		Clusters: map[string]Cluster{
			"east": {Seeds: []string{fmt.Sprintf("127.0.0.1:%d", eastPort)}},
			"west": {Seeds: []string{fmt.Sprintf("127.0.0.1:%d", westPort)}},
		},
		Network: Network{Dial: l.net.dial, Listen: l.net.Listen},
		Logger:  slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Hold:    8 * time.Second, FetchWait: 500 * time.Millisecond,
		MaxRequestBytes: 100 << 20, MaxHeldBytes: 64 << 20,
	}
	for _, o := range opts {
		o(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	return p
}

func (l *lab) cluster(name string, port, brokers int, partitions int32, topics []string) *labCluster {
	ports := make([]int, brokers)
	for i := range ports {
		ports[i] = port + i
	}
	c, err := kfake.NewCluster(
		kfake.NumBrokers(brokers), kfake.Ports(ports...), kfake.ListenFn(l.net.Listen),
		kfake.SeedTopics(partitions, topics...), kfake.MaxVersions(kversion.V4_1_0()),
		kfake.ClusterID(name),
	)
	if err != nil {
		l.t.Fatal(err)
	}
	lc := &labCluster{Cluster: c, name: name}
	// Real brokers issue small producer ids, the same ones on both clusters.
	c.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.InitProducerIDRequest)
		if req.TransactionalID != nil {
			return nil, nil, false
		}
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ProducerID = lc.nextID.Add(1) - 1
		return resp, nil, true
	})
	lc.client = l.direct(port)
	return lc
}

// direct is a client of a cluster, past the proxy.
func (l *lab) direct(port int, opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", port)), kgo.Dialer(l.net.DialContext), kgo.DisableClientMetrics(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite(),
	}, opts...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return cl
}

// kgo is an unmodified client with the proxy as its bootstrap server. The caller
// closes it.
func (l *lab) kgo(opts ...kgo.Opt) *kgo.Client {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.proxy.Addr()), kgo.Dialer(l.net.dial), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return cl
}

func (l *lab) serve(active string, tenure protocol.Tenure, positions ...int64) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	if err := l.proxy.Serve(ctx, Route{Epoch: int64(tenure) + 1, Tenure: tenure, Active: active, Positions: positions}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) fence(active string, tenure protocol.Tenure, planned bool) []Exposed {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	exposed, err := l.proxy.Fence(ctx, Route{Epoch: int64(tenure) + 1, Tenure: tenure, Active: active}, planned)
	if err != nil {
		l.t.Fatal(err)
	}
	return exposed
}

// labNet is kfake's virtual network with switches per cluster.
type labNet struct {
	kfake.VirtualNetwork
	mu    sync.Mutex
	cut   map[string]bool
	mutes map[string]bool
	rates map[string]int // bytes that a cluster's answers bring in 10 ms; 0: no bound
	conns map[string]map[*labConn]bool
}

func newLabNet() *labNet {
	return &labNet{cut: make(map[string]bool), mutes: make(map[string]bool), rates: make(map[string]int), conns: make(map[string]map[*labConn]bool)}
}

func clusterOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	switch {
	case n >= westPort:
		return "west"
	case n >= eastPort:
		return "east"
	}
	return "proxy"
}

var errCut = errors.New("connection refused (cut by the test)")

func (n *labNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	name := clusterOf(address)
	n.mu.Lock()
	cut := n.cut[name]
	n.mu.Unlock()
	if cut {
		return nil, errCut
	}
	conn, err := n.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &labConn{Conn: conn, net: n, cluster: name}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[name] == nil {
		n.conns[name] = make(map[*labConn]bool)
	}
	n.conns[name][c] = true
	return c, nil
}

// kill breaks every connection to a cluster and refuses new ones.
func (n *labNet) kill(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[name] = true
	for c := range n.conns[name] {
		c.Conn.Close()
	}
	delete(n.conns, name)
}

func (n *labNet) heal(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[name], n.mutes[name] = false, false
}

// breakAll breaks every connection to a cluster and accepts new ones.
func (n *labNet) breakAll(name string) { n.kill(name); n.heal(name) }

// mute lets a cluster receive and loses what it answers.
func (n *labNet) mute(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mutes[name] = true
}

// slow makes a cluster's answers trickle.
func (n *labNet) slow(name string, bytesPerSecond int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rates[name] = bytesPerSecond / 100
}

type labConn struct {
	net.Conn
	net     *labNet
	cluster string
}

func (c *labConn) Read(b []byte) (int, error) {
	c.net.mu.Lock()
	rate := c.net.rates[c.cluster]
	c.net.mu.Unlock()
	if rate > 0 {
		time.Sleep(10 * time.Millisecond)
		b = b[:min(len(b), rate)]
	}
	for {
		n, err := c.Conn.Read(b)
		c.net.mu.Lock()
		muted := c.net.mutes[c.cluster]
		c.net.mu.Unlock()
		if err != nil || !muted {
			return n, err
		}
	}
}

// logOf reads a partition of a cluster past the proxy: values in offset order.
func (c *labCluster) logOf(t *testing.T, topic string, partition int32) (values []string) {
	t.Helper()
	info := c.PartitionInfo(topic, partition)
	if info == nil {
		t.Fatalf("%s has no %s-%d", c.name, topic, partition)
	}
	for _, b := range c.batches(t, topic, partition) {
		records, err := protocol.Records(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			values = append(values, string(r.Value))
		}
	}
	return values
}

// batches reads the batches of a partition as the cluster stores them.
func (c *labCluster) batches(t *testing.T, topic string, partition int32) (batches []protocol.Batch) {
	t.Helper()
	end := c.PartitionInfo(topic, partition).HighWatermark
	for at := int64(0); at < end; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.MaxWaitMillis = 1<<30, 10
		rt := kmsg.NewFetchRequestTopic()
		rt.Topic, rt.TopicID = topic, c.TopicInfo(topic).TopicID
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, at, 1<<30, -1
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := c.client.Broker(int(c.LeaderFor(topic, partition))).Request(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
		before := at
		for b, err := range protocol.Batches(p.RecordBatches) {
			if err != nil {
				t.Fatal(err)
			}
			batches, at = append(batches, b), b.NextOffset()
		}
		if at == before {
			t.Fatalf("reading %s-%d of %s stands still at %d (code %d)", topic, partition, c.name, at, p.ErrorCode)
		}
	}
	return batches
}

// writeMap appends records to the cluster's log map and returns its ends.
func (c *labCluster) writeMap(t *testing.T, records ...logmap.Record) []int64 {
	t.Helper()
	if c.TopicInfo(logmap.Topic) == nil {
		if err := c.CreateTopic(logmap.Topic, 2, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range records {
		key, value := logmap.Encode(r)
		rec := &kgo.Record{Topic: logmap.Topic, Partition: 0, Key: key, Value: value}
		if err := c.client.ProduceSync(context.Background(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return []int64{c.PartitionInfo(logmap.Topic, 0).HighWatermark, 0}
}

func sameStrings(t *testing.T, what string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d\n got %v\nwant %v", what, len(got), len(want), got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: value %d is %q, want %q\n got %v\nwant %v", what, i, got[i], want[i], got, want)
		}
	}
}

func numbered(from, to int) (values []string) {
	for i := from; i < to; i++ {
		values = append(values, fmt.Sprintf("v%d", i))
	}
	return values
}
