package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/mirror"
	"github.com/catamaran-io/catamaran/protocol/logmap"
	"github.com/catamaran-io/catamaran/proxy"
)

// Options are what a process gives its sidecar besides the configuration. The
// zero Options are the real world.
type Options struct {
	// Dial opens connections to the clusters, Listen takes those of clients. Nil:
	// the real network.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Listen func(network, address string) (net.Listener, error)
	// Store is where sidecars agree; nil: what the configuration says.
	Store  failover.Store
	Logger *slog.Logger
	// Timing replaces the limits of detection and cutover that the configuration
	// does not name.
	Timing failover.Timing
}

// Sidecar is one process: proxy, mirror and failover agent.
type Sidecar struct {
	cfg    Config
	opts   Options
	logger *slog.Logger

	proxy    *proxy.Proxy
	follower *follower
	mirror   *mirror.Mirror // nil: not in this process
	link     *link          // nil with mirror
	probes   *prober
	agent    *failover.Agent
	close    func() // of the store

	mu      sync.Mutex
	reports []Report // newest last, at most maxReports
	counts  map[cutoverKind]int
}

// cutoverKind counts cutovers by how they were meant and how they ended.
type cutoverKind struct{ kind, outcome string }

// maxReports bounds the reports that are kept.
const maxReports = 50

// New connects the parts. Nothing runs yet, and no cluster was asked.
func New(cfg Config, o Options) (*Sidecar, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sidecar{cfg: cfg, opts: o, logger: o.Logger, counts: make(map[cutoverKind]int), close: func() {}}
	if err := s.build(); err != nil {
		s.release()
		return nil, err
	}
	return s, nil
}

func (s *Sidecar) build() (err error) {
	open := newConns() // of the mirror
	proxies, mirrors := make(map[string]proxy.Cluster), make(map[string]mirror.Cluster)
	for name, c := range s.cfg.Clusters {
		opts, err := c.options()
		if err != nil {
			return fmt.Errorf("cluster %s: %w", name, err)
		}
		proxies[name] = proxy.Cluster{Seeds: c.Bootstrap, Options: opts}
		dial, err := c.dialer(s.opts.Dial)
		if err != nil {
			return fmt.Errorf("cluster %s: %w", name, err)
		}
		mirrors[name] = mirror.Cluster{Seeds: c.Bootstrap, Options: append(c.credentials(), kgo.Dialer(open.track(dial)))}
	}
	if s.proxy, err = s.newProxy(proxies); err != nil {
		return err
	}
	s.follower = newFollower(s.proxy)
	if s.probes, err = newProber(&s.cfg, s.opts.Dial); err != nil {
		return err
	}
	if s.cfg.Mirror.Enabled {
		if s.mirror, err = s.newMirror(mirrors); err != nil {
			return err
		}
		s.link = newLink(s.mirror, open.sever, s.cfg.Standby, s.logger)
	}
	if s.opts.Store == nil {
		if s.opts.Store, s.close, err = openStore(s.cfg, s.logger); err != nil {
			return err
		}
	}
	s.agent, err = failover.NewAgent(s.agentConfig())
	return err
}

// release frees what New took; also what a failed New had taken so far.
func (s *Sidecar) release() {
	if s.mirror != nil {
		s.mirror.Close()
	}
	if s.probes != nil {
		s.probes.close()
	}
	s.close()
}

func (s *Sidecar) newProxy(clusters map[string]proxy.Cluster) (*proxy.Proxy, error) {
	dial, listen := s.opts.Dial, s.opts.Listen
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	if listen == nil {
		listen = net.Listen
	}
	return proxy.New(proxy.Config{
		VirtualCluster: s.cfg.Name, Host: s.cfg.Listen.Host, Port: s.cfg.Listen.Port, MaxNodes: s.cfg.Listen.MaxNodes,
		Clusters: clusters, Network: proxy.Network{Dial: dial, Listen: listen}, Logger: s.logger,
		Hold: 8 * time.Second, FetchWait: 500 * time.Millisecond, MaxRequestBytes: 100 << 20, MaxHeldBytes: 64 << 20,
	})
}

func (s *Sidecar) newMirror(clusters map[string]mirror.Cluster) (*mirror.Mirror, error) {
	return mirror.New(mirror.Config{
		VirtualCluster: s.cfg.Name, Writer: s.cfg.ID, Clusters: clusters,
		Topics: mirror.Rules{Include: s.cfg.Mirror.Topics.Include, Exclude: s.cfg.Mirror.Topics.Exclude},
		Logger: s.logger, Slots: logmap.Slots,
		FetchBytes: 1 << 20, Discover: time.Second, GroupInterval: 250 * time.Millisecond,
		ReplicationFactor: int16(s.cfg.Mirror.ReplicationFactor), Adopt: s.cfg.Mirror.Adopt,
		OrphanTail: s.cfg.Mirror.OrphanTail,
	})
}

func (s *Sidecar) agentConfig() failover.Config {
	names := slices.Sorted(maps.Keys(s.cfg.Clusters))
	timing := s.opts.Timing
	timing.FailAfter = s.cfg.Failover.FailAfter
	timing.MinBetweenMoves = max(s.cfg.Failover.MinBetweenMoves, 1) // 0 would be the agent's default
	c := failover.Config{
		ID: s.cfg.ID, Clusters: [2]string{names[0], names[1]}, Initial: s.cfg.Active,
		Observers: s.cfg.Failover.Observers, Mode: failover.Mode(s.cfg.Failover.Mode), Timing: timing,
		Bounds: failover.Bounds{MaxLagRecords: s.cfg.Failover.MaxLagRecords, MaxLag: s.cfg.Failover.MaxLag},
		Store:  s.opts.Store, Follower: s.follower, Suspicion: s.suspicion,
		OnReport: s.report, Logger: s.logger,
	}
	if s.mirror != nil {
		c.Mirror = &steps{s.mirror, s.link}
		c.Eligible = s.eligible
		c.OnRoute = s.link.follow
	}
	if s.observes() {
		c.Prober = s.probes
	}
	return c
}

// observes says whether this process votes; its agent then probes the clusters.
func (s *Sidecar) observes() bool { return slices.Contains(s.cfg.Failover.Observers, s.cfg.ID) }

func (s *Sidecar) report(r failover.Report) {
	kind := "failover"
	if r.Planned {
		kind = "switchover"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[cutoverKind{kind, string(r.Outcome)}]++
	s.reports = append(s.reports, newReport(r))
	if n := len(s.reports); n > maxReports {
		s.reports = slices.Clone(s.reports[n-maxReports:])
	}
}

// Reports are the last cutovers that this process saw, oldest first.
func (s *Sidecar) Reports() []Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports)
}

func (s *Sidecar) cutovers() map[cutoverKind]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Bootstrap is the address for clients' bootstrap.servers.
func (s *Sidecar) Bootstrap() string { return s.proxy.Addr() }

// Run serves until ctx ends (nil) or a part fails for good. The order of the end
// matters: the proxy first, so that nobody writes any more; then the agent,
// whose registration says that somebody may; then the mirror.
func (s *Sidecar) Run(ctx context.Context) error {
	defer s.release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	admin, err := s.listenAdmin()
	if err != nil {
		return err
	}
	part := func(name string, ctx context.Context, run func(context.Context) error) <-chan struct{} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				cancel(fmt.Errorf("%s: %w", name, err))
			} else if ctx.Err() == nil {
				cancel(fmt.Errorf("%s ended by itself", name))
			}
		}()
		return done
	}
	adminDone := part("admin API", background, func(ctx context.Context) error { return serveHTTP(ctx, admin, s.Handler()) })
	linkDone := make(chan struct{})
	if s.link != nil {
		go func() { defer close(linkDone); s.link.Run(background) }()
	} else {
		close(linkDone)
	}
	probesDone := make(chan struct{})
	go func() {
		defer close(probesDone)
		if !s.observes() {
			s.probes.run(background)
		}
	}()
	agentCtx, stopAgent := context.WithCancel(background)
	defer stopAgent()
	agentDone := part("failover agent", agentCtx, s.agent.Run)
	proxyDone := part("proxy", ctx, s.proxy.Run)
	s.logger.Info("running", "clients", s.Bootstrap(), "admin", admin.Addr().String(), "version", Version)

	<-ctx.Done()
	<-proxyDone
	stopAgent()
	<-agentDone
	stop()
	<-linkDone
	<-probesDone
	<-adminDone
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Switchover moves the role as planned and waits for the outcome.
func (s *Sidecar) Switchover(ctx context.Context, to, reason string) (failover.Report, error) {
	return s.agent.Switchover(ctx, to, reason)
}

// Failover moves the role whatever the active cluster does, and waits for the
// outcome.
func (s *Sidecar) Failover(ctx context.Context, to, reason string) (failover.Report, error) {
	return s.agent.ManualFailover(ctx, to, reason)
}
