package kafkatest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// startTimeout bounds a start or restart. It takes seconds; the rest is for machines that do other things too.
const startTimeout = 90 * time.Second

// Config says what cluster to start. The zero value is one broker.
type Config struct {
	// Name appears in log lines and directory names, "kafka" by default.
	Name string

	// Brokers is how many brokers, 1 by default, with node ids from 1. Each costs a JVM (300 MB, a second of CPU or
	// two). Of up to two only node 1 is a controller; of three and more the first three are, so that any one of them
	// can be lost.
	Brokers int

	// Properties override the brokers' server.properties. Without them brokers have Kafka's defaults, except: internal
	// topics of 5 partitions on min(3, Brokers) brokers with one in-sync replica sufficing, no automatic topic
	// creation, a dead broker noticed after 4 s (a lone one: 2 s) instead of 9, and fewer threads and buffers.
	Properties map[string]string

	// JVMArgs come after kafkatest's own, which are for small and short-lived brokers: "-Xmx1g" and
	// "-XX:TieredStopAtLevel=4" make one that is worth measuring.
	JVMArgs []string

	// Logf is told of every start and fault, tb.Logf by default with [Start].
	Logf func(format string, args ...any)
}

// A Cluster is a running (or killed, or paused) Kafka cluster. Its methods are for the one goroutine that runs the
// test.
type Cluster struct {
	// ID is the cluster id, as in metadata.
	ID string

	cfg     Config
	dist    distribution
	dir     string
	brokers []*Broker
	closed  sync.Once
}

// Start starts a cluster and waits until all its brokers answer. It ends with the test. Under -short it skips the test.
func Start(tb testing.TB, cfg Config) *Cluster {
	tb.Helper()
	harness.SkipIfShort(tb, "real Kafka brokers")
	if cfg.Logf == nil {
		cfg.Logf = tb.Logf
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := StartContext(ctx, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("kafkatest: data and logs of cluster %s are kept in %s", c.cfg.Name, c.dir)
			c.closeKeeping()
			return
		}
		c.Close()
	})
	return c
}

// StartContext is Start outside a test: the caller calls [Cluster.Close]. ctx bounds the start only, without the
// first download.
func StartContext(ctx context.Context, cfg Config) (*Cluster, error) {
	began := time.Now()
	dist, err := fetch()
	if err != nil {
		return nil, err
	}
	if took := time.Since(began); took > time.Second { // the download had its own time
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
		defer cancel()
	}
	return startCluster(ctx, dist, cfg)
}

func startCluster(ctx context.Context, dist distribution, cfg Config) (*Cluster, error) {
	if cfg.Name == "" {
		cfg.Name = "kafka"
	}
	if cfg.Brokers == 0 {
		cfg.Brokers = 1
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	controllers := 1
	if cfg.Brokers >= 3 {
		controllers = 3
	}
	ports, err := harness.FreePorts(cfg.Brokers + controllers)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: cluster %s: %w", cfg.Name, err)
	}
	dir, err := os.MkdirTemp("", "kafkatest-"+cfg.Name+"-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{ID: newUUID(), cfg: cfg, dist: dist, dir: dir}
	for i := range cfg.Brokers {
		b := &Broker{ID: int32(i + 1), cluster: c, port: ports[i]}
		if i < controllers {
			b.controllerPort = ports[cfg.Brokers+i]
		}
		c.brokers = append(c.brokers, b)
	}
	for _, b := range c.brokers {
		if err := b.format(); err != nil {
			c.Close()
			return nil, fmt.Errorf("kafkatest: cluster %s: %w", cfg.Name, err)
		}
	}
	began := time.Now()
	if err := c.launch(ctx, c.brokers); err != nil {
		c.closeKeeping()
		return nil, err
	}
	c.logf("%d broker(s) ready in %v on %s", cfg.Brokers, time.Since(began).Round(10*time.Millisecond), strings.Join(c.Bootstrap(), ","))
	return c, nil
}

// launch starts the given brokers and waits until they and all others that run are in the cluster's metadata.
func (c *Cluster) launch(ctx context.Context, brokers []*Broker) error {
	for _, b := range brokers {
		if err := b.launch(); err != nil {
			return fmt.Errorf("kafkatest: cluster %s: broker %d: %w", c.cfg.Name, b.ID, err)
		}
	}
	for _, b := range brokers {
		if err := c.awaitReady(ctx, b); err != nil {
			var logs []string
			for _, b := range brokers {
				logs = append(logs, b.complaints(10))
			}
			return fmt.Errorf("kafkatest: cluster %s: broker %d is not ready: %w\n%s", c.cfg.Name, b.ID, err, strings.Join(logs, "\n"))
		}
	}
	return nil
}

// awaitReady waits until b answers and its metadata has a controller and every broker that runs.
func (c *Cluster) awaitReady(ctx context.Context, b *Broker) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.RequestRetries(0), kgo.DialTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	var last error
	for {
		select {
		case <-b.proc.Done():
			return fmt.Errorf("its process ended (%v)", b.proc.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w; last answer: %v", ctx.Err(), last)
		case <-time.After(50 * time.Millisecond):
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		var resp kmsg.Response
		resp, last = cl.SeedBrokers()[0].Request(attempt, kmsg.NewPtrMetadataRequest())
		cancel()
		if last != nil {
			continue
		}
		metadata := resp.(*kmsg.MetadataResponse)
		known := map[int32]bool{}
		for _, mb := range metadata.Brokers {
			known[mb.NodeID] = true
		}
		last = nil
		for _, other := range c.brokers {
			if other.Running() && !known[other.ID] {
				last = fmt.Errorf("broker %d is not in the metadata yet", other.ID)
			}
		}
		if last == nil && metadata.ControllerID >= 0 {
			return nil
		}
	}
}

// Name is the name in the configuration.
func (c *Cluster) Name() string { return c.cfg.Name }

// Dir holds a directory per node with server.properties, broker.log and data.
func (c *Cluster) Dir() string { return c.dir }

// Bootstrap is host:port of every broker, the same through every restart.
func (c *Cluster) Bootstrap() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.Addr())
	}
	return addrs
}

// Brokers are all brokers in order of node id.
func (c *Cluster) Brokers() []*Broker { return c.brokers }

// Broker is the broker with the given node id, from 1.
func (c *Cluster) Broker(id int32) *Broker {
	if id < 1 || int(id) > len(c.brokers) {
		panic(fmt.Sprintf("kafkatest: cluster %s has brokers 1 to %d, not %d", c.cfg.Name, len(c.brokers), id))
	}
	return c.brokers[id-1]
}

// Client is a franz-go client of the cluster, closed when the test ends.
func (c *Cluster) Client(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Bootstrap()...)}, opts...)...)
	if err != nil {
		tb.Fatalf("kafkatest: client of cluster %s: %v", c.cfg.Name, err)
	}
	tb.Cleanup(cl.Close)
	return cl
}

// Kill is kill −9 of every broker. It returns when all are gone.
func (c *Cluster) Kill() { c.each((*Broker).Kill) }

// Stop shuts all brokers down in order.
func (c *Cluster) Stop() { c.each((*Broker).Stop) }

// Pause stops all brokers where they stand (SIGSTOP).
func (c *Cluster) Pause() { c.each((*Broker).Pause) }

// Resume lets paused brokers go on (SIGCONT).
func (c *Cluster) Resume() { c.each((*Broker).Resume) }

// Restart starts every broker again with the same ports and data, killing first what runs, and waits until all
// answer.
func (c *Cluster) Restart(tb testing.TB) {
	tb.Helper()
	c.restart(tb, c.brokers...)
}

func (c *Cluster) restart(tb testing.TB, brokers ...*Broker) {
	tb.Helper()
	for _, b := range brokers {
		if b.Running() {
			b.Kill()
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	began := time.Now()
	if err := c.launch(ctx, brokers); err != nil {
		tb.Fatal(err)
	}
	c.logf("%d broker(s) back in %v", len(brokers), time.Since(began).Round(10*time.Millisecond))
}

// Close kills the brokers and deletes their data. It may be called twice.
func (c *Cluster) Close() {
	c.closed.Do(func() {
		c.kill()
		os.RemoveAll(c.dir)
	})
}

func (c *Cluster) closeKeeping() { c.closed.Do(c.kill) }

func (c *Cluster) kill() {
	for _, b := range c.brokers {
		if b.proc != nil {
			b.proc.Kill()
		}
	}
}

// each is for faults that strike the whole cluster: all brokers at once, not one after the other.
func (c *Cluster) each(do func(*Broker)) {
	var wg sync.WaitGroup
	for _, b := range c.brokers {
		wg.Go(func() { do(b) })
	}
	wg.Wait()
}

func (c *Cluster) logf(format string, args ...any) {
	c.cfg.Logf("kafkatest: %s: "+format, append([]any{c.cfg.Name}, args...)...)
}

// FreePorts returns n ports of localhost that nobody listens on and no other test process will be given. They are
// below the ephemeral range, so that a restarted server finds its port still free.
func FreePorts(tb testing.TB, n int) []int {
	tb.Helper()
	ports, err := harness.FreePorts(n)
	if err != nil {
		tb.Fatal(err)
	}
	return ports
}
