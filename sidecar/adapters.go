package sidecar

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/mirror"
	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
	"github.com/catamaran-io/catamaran/proxy"
)

// follower is the proxy as the failover agent sees it, and remembers for the
// status whether it serves.
type follower struct {
	proxy *proxy.Proxy

	mu      sync.Mutex
	serving bool
	reason  string
}

func newFollower(p *proxy.Proxy) *follower {
	return &follower{proxy: p, reason: "no route is known yet"}
}

func (f *follower) set(serving bool, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.serving, f.reason = serving, reason
}

func (f *follower) state() (serving bool, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.serving, f.reason
}

func proxyRoute(r failover.Route) proxy.Route {
	return proxy.Route{Epoch: r.Epoch, Tenure: protocol.Tenure(r.Tenure), Active: r.Active, Positions: r.Positions}
}

// Fence implements failover.Follower.
func (f *follower) Fence(ctx context.Context, r failover.Route) ([]failover.Exposed, error) {
	f.set(false, fmt.Sprintf("the route is %s: requests are held", r.State))
	exposed, err := f.proxy.Fence(ctx, proxyRoute(r), r.Planned)
	if err != nil {
		return nil, err
	}
	out := make([]failover.Exposed, len(exposed))
	for i, e := range exposed {
		out[i] = failover.Exposed{TopicPartition: failover.TopicPartition{Topic: e.Topic, Partition: e.Partition}, Next: int64(e.Next)}
	}
	return out, nil
}

// Serve implements failover.Follower.
func (f *follower) Serve(ctx context.Context, r failover.Route) error {
	if serving, _ := f.state(); !serving {
		f.set(false, "the log map of "+r.Active+" is being read")
	}
	if err := f.proxy.Serve(ctx, proxyRoute(r)); err != nil {
		f.set(false, fmt.Sprintf("%s cannot be served from yet: %v", r.Active, err))
		return err
	}
	f.set(true, "")
	return nil
}

// steps is the mirror as the failover agent sees it.
type steps struct {
	mirror *mirror.Mirror
	link   *link
}

// Drain implements failover.Mirror.
func (s *steps) Drain(ctx context.Context, r failover.Route) error {
	if _, _, running, problem := s.link.state(); !running {
		return fmt.Errorf("the mirror does not run in this process (%s)", problem)
	}
	return s.mirror.Drain(ctx)
}

// Seal implements failover.Mirror. The link of this process stops first: after
// the seal its writes would be refused, and reported as a fault.
func (s *steps) Seal(ctx context.Context, r failover.Route) error {
	if err := s.link.quiet(ctx, r); err != nil {
		return err
	}
	return needsOperator(s.mirror.Seal(ctx, stepLink(r)))
}

// needsOperator marks the errors that no repetition cures: the target has been
// given a role under a route that is newer than the stored one.
func needsOperator(err error) error {
	if errors.Is(err, mirror.ErrHigherEpoch) {
		return fmt.Errorf("%w: %w", failover.ErrHalt, err)
	}
	return err
}

// Stamp implements failover.Mirror.
func (s *steps) Stamp(ctx context.Context, r failover.Route, exposed []failover.Exposed, jump bool) (failover.StampResult, error) {
	floors := make([]mirror.Floor, len(exposed))
	for i, e := range exposed {
		floors[i] = mirror.Floor{TopicPartition: logmap.TopicPartition{Topic: e.Topic, Partition: e.Partition}, Next: logmap.Logical(e.Next)}
	}
	stamped, err := s.mirror.Stamp(ctx, stepLink(r), floors, jump)
	if err != nil {
		return failover.StampResult{}, needsOperator(err)
	}
	out := failover.StampResult{Positions: stamped.Positions}
	for _, p := range stamped.Partitions {
		out.Partitions = append(out.Partitions, failover.PartitionStamp{
			TopicPartition: failover.TopicPartition{Topic: p.Topic, Partition: p.Partition},
			Mirrored:       int64(p.Mirrored), First: int64(p.First), Tail: p.Tail, Held: p.Held,
		})
	}
	return out, nil
}

func stepLink(r failover.Route) mirror.Link {
	return mirror.Link{Source: r.Active, Target: r.Target, Epoch: r.Epoch, Tenure: protocol.Tenure(r.Tenure)}
}
