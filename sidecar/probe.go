package sidecar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// prober asks clusters whether they serve. A probe is a Metadata request: an
// open port, or a broker that only knows its name, is not health.
type prober struct {
	clients map[string]*kgo.Client

	mu   sync.Mutex
	last map[string]probed
}

// probed is the last outcome. heard is when the cluster last answered.
type probed struct {
	known bool
	err   error
	heard time.Time
}

func newProber(cfg *Config, dial dialFunc) (*prober, error) {
	p := &prober{clients: make(map[string]*kgo.Client), last: make(map[string]probed)}
	for name, c := range cfg.Clusters {
		cl, err := c.client(dial, "catamaran-probe")
		if err != nil {
			p.close()
			return nil, fmt.Errorf("cluster %s: %w", name, err)
		}
		p.clients[name] = cl
	}
	return p, nil
}

func (p *prober) close() {
	for _, cl := range p.clients {
		cl.Close()
	}
}

// Probe implements failover.Prober. It succeeds when any broker answers.
func (p *prober) Probe(ctx context.Context, cluster string) error {
	cl := p.clients[cluster]
	if cl == nil {
		return fmt.Errorf("there is no cluster %q", cluster)
	}
	err := probe(ctx, cl)
	if errors.Is(ctx.Err(), context.Canceled) {
		return err // the process ends, or nobody asks any more
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.last[cluster]
	if now.known, now.err = true, err; err == nil {
		now.heard = time.Now()
	}
	p.last[cluster] = now
	return err
}

func probe(ctx context.Context, cl *kgo.Client) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none: brokers only
	resp, err := metadata(ctx, cl, req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer to a metadata request in time")
	case err != nil:
		return fmt.Errorf("metadata request failed: %w", err)
	case len(resp.Brokers) == 0:
		return errors.New("the cluster names no live broker")
	}
	return nil
}

// metadata asks and returns when ctx ends, which kgo does not do for this request
// while a connection begins; the abandoned request ends by the client's timeout.
func metadata(ctx context.Context, cl *kgo.Client, req *kmsg.MetadataRequest) (*kmsg.MetadataResponse, error) {
	type answer struct {
		resp *kmsg.MetadataResponse
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := req.RequestWith(ctx, cl)
		got <- answer{resp, err}
	}()
	select {
	case a := <-got:
		return a.resp, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// outcome is the last probe's.
func (p *prober) outcome(cluster string) probed {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[cluster]
}

// probeInterval is how often a process that does not vote probes, for its own
// status.
const probeInterval = time.Second

// run probes every cluster in turns until ctx ends.
func (p *prober) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for cluster := range p.clients {
		wg.Go(func() {
			tick := time.NewTicker(probeInterval)
			defer tick.Stop()
			for {
				c, cancel := context.WithTimeout(ctx, probeInterval)
				_ = p.Probe(c, cluster) // kept as the outcome
				cancel()
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
}
