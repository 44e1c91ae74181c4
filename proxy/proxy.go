package proxy

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/protocol"
)

// Proxy is the sidecar's Kafka side. New makes it, Run works until its context
// ends; Fence and Serve move the role. Until the first Serve no client is
// answered.
//
// All methods are safe for concurrent use.
type Proxy struct {
	cfg          Config
	log          *slog.Logger
	clusterID    string
	clusters     map[string]*cluster
	clusterNames []string

	gate      gate
	routing   chan struct{} // held by Serve and Fence
	nodes     nodes
	exposed   *exposed
	floors    floors
	producers *producers
	groups    *groups
	budget    budget
	stats     stats

	ctx    context.Context // ends with Run
	cancel context.CancelFunc
	wgMu   sync.Mutex
	wg     sync.WaitGroup
}

// New makes a Proxy. It opens no connection and no port; Run does.
func New(cfg Config) (*Proxy, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		cfg: cfg, log: cfg.Logger, clusterID: virtualClusterID(cfg.VirtualCluster), clusters: make(map[string]*cluster),
		routing: make(chan struct{}, 1), exposed: newExposed(), producers: newProducers(), groups: newGroups(),
		budget: budget{max: cfg.MaxHeldBytes}, ctx: ctx, cancel: cancel,
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if p.cfg.Network.Dial == nil {
		p.cfg.Network.Dial = (&net.Dialer{}).DialContext
	}
	if p.cfg.Network.Listen == nil {
		p.cfg.Network.Listen = net.Listen
	}
	p.gate.now.Store(&situation{state: waiting, changed: make(chan struct{}), since: time.Now()})
	for name, c := range cfg.Clusters {
		made, err := newCluster(name, c, p.cfg.Network, p.log)
		if err != nil {
			p.closeClients()
			cancel()
			return nil, err
		}
		p.clusters[name] = made
		p.clusterNames = append(p.clusterNames, name)
	}
	slices.Sort(p.clusterNames)
	return p, nil
}

// virtualClusterID is constant for a name and looks like Kafka's own: 22
// characters of base64url (16 bytes).
func virtualClusterID(name string) string {
	sum := sha256.Sum256([]byte("catamaran virtual cluster " + name))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// ClusterID is the constant id that clients see.
func (p *Proxy) ClusterID() string { return p.clusterID }

// Addr is the bootstrap address.
func (p *Proxy) Addr() string { return net.JoinHostPort(p.cfg.Host, strconv.Itoa(p.cfg.Port)) }

// Run listens, follows both clusters and serves clients until ctx ends. It
// returns when every goroutine of the proxy has ended; a Proxy runs once.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.cancel)
	defer stop()
	defer p.shutdown()
	if err := p.listen(); err != nil {
		return err
	}
	for _, c := range p.clusters {
		p.wg.Add(3)
		go func() { defer p.wg.Done(); c.run(p.ctx) }()
		go func() { defer p.wg.Done(); c.logMap.run(p.ctx) }()
		go func() { defer p.wg.Done(); p.growNodes(c) }()
	}
	p.log.Info("listening", "address", p.Addr(), "virtual_cluster", p.cfg.VirtualCluster, "cluster_id", p.clusterID)
	<-p.ctx.Done()
	return nil
}

// growNodes opens virtual nodes as brokers appear.
func (p *Proxy) growNodes(c *cluster) {
	for {
		c.mu.Lock()
		published := c.published
		c.mu.Unlock()
		if c.meta.Load() != nil {
			p.openNodes()
		}
		select {
		case <-published:
		case <-p.ctx.Done():
			return
		}
	}
}

// background runs do until it returns; it must when p.ctx ends.
func (p *Proxy) background(do func()) {
	p.wgMu.Lock()
	defer p.wgMu.Unlock()
	if p.ctx.Err() == nil {
		p.wg.Go(do)
	}
}

func (p *Proxy) shutdown() {
	p.wgMu.Lock() // from here on nothing new begins in the background
	p.cancel()
	p.wgMu.Unlock()
	p.nodes.close()
	if e := p.gate.now.Load().era; e != nil {
		p.gate.close(e, revoked)
	}
	p.closeClients()
	p.wg.Wait()
}

func (p *Proxy) closeClients() {
	for _, c := range p.clusters {
		c.client.Close()
	}
}

// patience is how long a broker may leave a request unanswered, beyond what it
// was asked to wait, before the connection is given up.
func (p *Proxy) patience() time.Duration { return p.cfg.Hold / 2 }

func (p *Proxy) names() string { return strings.Join(p.clusterNames, ", ") }

// nameOf turns the topic of an answer in client form into its name.
func (p *Proxy) nameOf(e *era) func(topic string, id protocol.TopicID) string {
	view, _ := p.view(e)
	return func(topic string, id protocol.TopicID) string {
		if topic != "" {
			return topic
		}
		name, _, _ := view.Topics.ByClientID(id)
		return name
	}
}

func (n *nodes) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}
