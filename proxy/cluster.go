package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/catamaran-io/catamaran/protocol"
)

const (
	// refreshEvery is the age at which metadata is asked for anew without cause.
	refreshEvery = 5 * time.Second
	// refreshGap is the least time between two refreshes, whatever the cause.
	refreshGap = 50 * time.Millisecond
	// retryFirst and retryMost bound the pause after a refresh that failed.
	retryFirst = 100 * time.Millisecond
	retryMost  = time.Second
	// askTimeout bounds one metadata, version or coordinator request.
	askTimeout = 2 * time.Second
	// versionsEvery is how often a cluster's versions are asked for.
	versionsEvery = 60 * time.Second
	// maxCoordinators bounds the cache of group coordinators; when it is full it
	// is emptied, which costs one request per group in use.
	maxCoordinators = 10_000
)

// cluster is what this process knows of one real cluster: its brokers, leaders,
// topic ids, versions and group coordinators, and its log map. One goroutine
// (run) asks; everybody reads.
type cluster struct {
	name    string
	log     *slog.Logger
	network Network
	client  *kgo.Client
	tls     *tls.Config
	sasl    []sasl.Mechanism
	logMap  *follower

	meta     atomic.Pointer[metadata]
	versions atomic.Pointer[map[int16]protocol.VersionRange]
	versed   chan struct{} // closed when versions are known
	tried    chan struct{} // closed when versions were asked for once
	tryOnce  sync.Once
	unversed sync.Once     // logs that the versions are not known
	wanted   chan struct{} // a refresh is wanted

	mu           sync.Mutex
	published    chan struct{} // closed at the next publication of metadata
	coordinators map[string]int32
	watched      map[*upstream]struct{}

	lastAnswer, lastFailure atomic.Int64 // Unix nanoseconds
	reason                  atomic.Pointer[string]
}

func newCluster(name string, cfg Cluster, network Network, log *slog.Logger) (*cluster, error) {
	// The credentials are read from a client that is never used: asking a
	// client for its options is the one way to them, and a client with its own
	// dialer refuses a TLS configuration.
	probe, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Seeds...), kgo.DisableClientMetrics()}, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c := &cluster{
		name: name, log: log.With("cluster", name), network: network,
		versed: make(chan struct{}), tried: make(chan struct{}), wanted: make(chan struct{}, 1), published: make(chan struct{}),
		coordinators: make(map[string]int32), watched: make(map[*upstream]struct{}),
	}
	c.tls, c.sasl = credentials(probe)
	probe.Close()
	opts := append([]kgo.Opt{}, cfg.Options...)
	opts = append(opts,
		kgo.SeedBrokers(cfg.Seeds...),
		kgo.DialTLSConfig(nil),
		kgo.Dialer(c.dialPlain),
		kgo.ClientID("catamaran-proxy"),
		kgo.DisableClientMetrics(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.MetadataMinAge(100*time.Millisecond),
		kgo.MetadataMaxAge(refreshEvery),
		kgo.RetryBackoffFn(func(int) time.Duration { return 100 * time.Millisecond }),
	)
	if c.client, err = kgo.NewClient(opts...); err != nil {
		return nil, fmt.Errorf("cluster %s: %w", name, err)
	}
	c.logMap = newFollower(c)
	return c, nil
}

// dialPlain is dial for the kgo client, which does SASL itself.
func (c *cluster) dialPlain(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.network.Dial(ctx, network, addr)
	if err != nil || c.tls == nil {
		return conn, err
	}
	return c.secure(ctx, conn, addr)
}

// metadata is one answer of a cluster; nobody changes it.
type metadata struct {
	at      time.Time // when it was asked for
	brokers []int32   // that are there now, ascending
	// order is every broker that was ever seen, in the order in which virtual
	// nodes stand for them: one that died keeps its place.
	order      []int32
	addrs      map[int32]string
	controller int32
	topics     map[string]*topic
}

type topic struct {
	id       protocol.TopicID
	internal bool
	leaders  []int32 // by partition; -1: none
}

// leader is the broker that leads a partition. known is false when the topic or
// the partition does not exist; leader is -1 when it has none.
func (m *metadata) leader(name string, partition int32) (leader int32, known bool) {
	t := m.topics[name]
	if t == nil || partition < 0 || int(partition) >= len(t.leaders) {
		return -1, false
	}
	return t.leaders[partition], true
}

// run keeps the metadata and versions fresh until ctx ends.
func (c *cluster) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	versionsAt, backoff := time.Time{}, time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wanted:
		case <-timer.C:
		}
		err := c.refresh(ctx)
		if err == nil && time.Since(versionsAt) >= versionsEvery {
			if err = c.askVersions(ctx); err == nil {
				versionsAt = time.Now()
			}
		}
		c.tryOnce.Do(func() { close(c.tried) })
		next := refreshEvery
		if backoff = min(2*backoff+retryFirst, retryMost); err == nil {
			backoff = 0
		} else if ctx.Err() == nil {
			next = backoff
			c.failed(err)
			c.log.Debug("metadata not refreshed", "error", err)
		}
		timer.Reset(next)
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshGap):
		}
	}
}

// want asks for fresh metadata soon. It never blocks.
func (c *cluster) want() {
	select {
	case c.wanted <- struct{}{}:
	default:
	}
}

func (c *cluster) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	asked := time.Now()
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return fmt.Errorf("asking for metadata: %w", err)
	}
	c.answered()
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("asking for metadata: %w", err)
	}
	if len(resp.Brokers) == 0 {
		return errors.New("asking for metadata: the answer names no broker")
	}
	c.publish(newMetadata(resp, asked))
	return nil
}

func newMetadata(resp *kmsg.MetadataResponse, asked time.Time) *metadata {
	m := &metadata{at: asked, controller: resp.ControllerID, addrs: make(map[int32]string, len(resp.Brokers)), topics: make(map[string]*topic, len(resp.Topics))}
	for _, b := range resp.Brokers {
		m.brokers = append(m.brokers, b.NodeID)
		m.addrs[b.NodeID] = net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
	}
	slices.Sort(m.brokers)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil || t.ErrorCode != 0 && len(t.Partitions) == 0 {
			continue
		}
		have := &topic{id: t.TopicID, internal: t.IsInternal, leaders: make([]int32, len(t.Partitions))}
		for j := range have.leaders {
			have.leaders[j] = -1
		}
		for _, p := range t.Partitions {
			if p.Partition >= 0 && int(p.Partition) < len(have.leaders) {
				if _, ok := m.addrs[p.Leader]; ok {
					have.leaders[p.Partition] = p.Leader
				}
			}
		}
		m.topics[*t.Topic] = have
	}
	return m
}

func (c *cluster) publish(m *metadata) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.meta.Load(); old != nil {
		m.order = old.order
	}
	for _, b := range m.brokers {
		if !slices.Contains(m.order, b) {
			m.order = append(slices.Clip(m.order), b)
		}
	}
	c.meta.Store(m)
	close(c.published)
	c.published = make(chan struct{})
}

// freshFrom waits for metadata that was asked for after t.
func (c *cluster) freshFrom(ctx context.Context, t time.Time) (*metadata, error) {
	for {
		c.mu.Lock()
		published := c.published
		c.mu.Unlock()
		if m := c.meta.Load(); m != nil && m.at.After(t) {
			return m, nil
		}
		c.want()
		select {
		case <-published:
		case <-ctx.Done():
			return nil, fmt.Errorf("metadata of cluster %s: %w", c.name, ctx.Err())
		}
	}
}

// waitKnown waits until everything is known that serving needs: metadata,
// versions, and whether there is a log map.
func (c *cluster) waitKnown(ctx context.Context) error {
	if _, err := c.freshFrom(ctx, time.Time{}); err != nil {
		return err
	}
	select {
	case <-c.versed:
	case <-ctx.Done():
		return fmt.Errorf("versions of cluster %s: %w", c.name, ctx.Err())
	}
	return c.logMap.waitLooked(ctx)
}

func (c *cluster) askVersions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, c.client)
	if err != nil {
		return fmt.Errorf("asking for versions: %w", err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("asking for versions: %w", err)
	}
	ranges := protocol.VersionRanges(resp)
	if c.versions.Swap(&ranges) == nil {
		close(c.versed)
		c.log.Info("cluster reached", "apis", len(ranges))
	}
	return nil
}

// coordinator is the broker that coordinates group, asked for if need be.
func (c *cluster) coordinator(ctx context.Context, group string) (int32, error) {
	c.mu.Lock()
	broker, ok := c.coordinators[group]
	c.mu.Unlock()
	if ok {
		return broker, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKey, req.CoordinatorKeys = group, []string{group}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return -1, fmt.Errorf("finding the coordinator of group %q: %w", group, err)
	}
	c.answered()
	node, code := resp.NodeID, resp.ErrorCode
	if len(resp.Coordinators) > 0 {
		node, code = resp.Coordinators[0].NodeID, resp.Coordinators[0].ErrorCode
	}
	if err := kerr.ErrorForCode(code); err != nil {
		return -1, fmt.Errorf("finding the coordinator of group %q: %w", group, err)
	}
	c.mu.Lock()
	if len(c.coordinators) >= maxCoordinators {
		clear(c.coordinators)
	}
	c.coordinators[group] = node
	c.mu.Unlock()
	return node, nil
}

// forget drops a coordinator that turned out wrong.
func (c *cluster) forget(group string) {
	c.mu.Lock()
	delete(c.coordinators, group)
	c.mu.Unlock()
}

// secure wraps conn in TLS.
func (c *cluster) secure(ctx context.Context, conn net.Conn, addr string) (net.Conn, error) {
	cfg := c.tls.Clone()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			conn.Close()
			return nil, err
		}
		cfg.ServerName = host
	}
	wrapped := tls.Client(conn, cfg)
	if err := wrapped.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s: %w", addr, err)
	}
	return wrapped, nil
}
