// Package consul is a failover.Store on Consul's KV. Keys, all below
// "<prefix>/<virtual cluster>/":
//
//	route                     the Route; compare-and-set by ModifyIndex
//	sidecars/<id>/registered  stays when its process dies: see failover.Sidecar
//	sidecars/<id>/alive       held by the process's session, gone with it
//	acks/<epoch>/<id>         an Ack; those of earlier epochs are removed
//	votes/<observer>/<name>   a Vote on cluster <name>
//
// Whatever decides is read in consistent mode, so that a server that has lost its
// quorum cannot answer. There is no lock and no elected leader: sessions (10 s at
// least, up to twice that) are too slow to wait for. A session only tells people
// which registered sidecars are alive.
//
// KV is not shared between Consul datacenters: every process must name the same
// one.
package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
)

// Options say where the keys are.
type Options struct {
	// Config reaches Consul: address, datacenter, token, TLS. Nil: the defaults
	// and environment variables of the Consul client.
	Config *api.Config
	// Prefix begins every key ("catamaran").
	Prefix string
	// VirtualCluster names the pair of clusters.
	VirtualCluster string
	// Checks registers, with every vote, a service "catamaran-<virtual
	// cluster>-<cluster>" with a TTL check on the Consul agent, so that everyone
	// can see and watch the health of both clusters. It needs service:write.
	Checks bool
	// WatchWait bounds one blocking query (10 s). Raising it delays the notice
	// that a watch hangs; lowering it costs requests.
	WatchWait time.Duration
	// Logger hears about lost sessions and checks. Nil: nobody.
	Logger *slog.Logger
}

// Store implements failover.Store. It is safe for concurrent use and holds no
// goroutine of its own.
type Store struct {
	o      Options
	client *api.Client
	base   string

	mu     sync.Mutex
	checks map[string]*checkState // by service id
}

var _ failover.Store = (*Store)(nil)

// New returns a Store. It does not reach out: an unreachable Consul shows as an
// error of each call.
func New(o Options) (*Store, error) {
	if o.VirtualCluster == "" {
		return nil, errors.New("consul: VirtualCluster is empty; want the name that all processes of this pair share")
	}
	if o.Prefix == "" {
		o.Prefix = "catamaran"
	}
	if strings.HasPrefix(o.Prefix, "/") {
		return nil, fmt.Errorf("consul: prefix %q begins with a slash; Consul's keys do not", o.Prefix)
	}
	if o.WatchWait == 0 {
		o.WatchWait = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := o.Config
	if c == nil {
		c = api.DefaultConfig()
	}
	client, err := api.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("consul: configure the client for %q: %w", c.Address, err)
	}
	base := strings.TrimSuffix(o.Prefix, "/") + "/" + escape(o.VirtualCluster) + "/"
	return &Store{o: o, client: client, base: base, checks: map[string]*checkState{}}, nil
}

// Key returns the key of the route, for people.
func (s *Store) Key() string { return s.base + "route" }

// fail says what was done to which key, and what to do.
func (s *Store) fail(ctx context.Context, doing, key string, err error) error {
	hint := "is the Consul agent running, and has its datacenter a leader?"
	var status api.StatusError
	switch {
	case errors.As(err, &status) && status.Code == 403:
		hint = "the token needs key:write and session:write below " + s.base
	case errors.As(err, &status) && status.Code == 413:
		hint = "the value is above Consul's limit of 512 KB"
	case ctx.Err() != nil:
		hint = "Consul did not answer in time"
	}
	return fmt.Errorf("consul: %s %s: %w (%s)", doing, key, err, hint)
}

func consistent(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func write(ctx context.Context) *api.WriteOptions { return (&api.WriteOptions{}).WithContext(ctx) }

// Route implements failover.Store.
func (s *Store) Route(ctx context.Context) (failover.Route, failover.Version, error) {
	pair, _, err := s.client.KV().Get(s.Key(), consistent(ctx))
	if err != nil {
		return failover.Route{}, 0, s.fail(ctx, "read", s.Key(), err)
	}
	return s.parse(pair)
}

func (s *Store) parse(pair *api.KVPair) (failover.Route, failover.Version, error) {
	if pair == nil {
		return failover.Route{}, 0, failover.ErrNoRoute
	}
	var r failover.Route
	if err := json.Unmarshal(pair.Value, &r); err != nil {
		return failover.Route{}, 0, fmt.Errorf("consul: %s does not hold a route (%w): put the last good value back", pair.Key, err)
	}
	return r, failover.Version(pair.ModifyIndex), nil
}

// Update implements failover.Store. A transaction of one operation is used
// because it answers with the new index; a plain compare-and-set does not.
func (s *Store) Update(ctx context.Context, version failover.Version, r failover.Route) (failover.Version, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("consul: encode the route: %w", err)
	}
	ops := api.TxnOps{{KV: &api.KVTxnOp{Verb: api.KVCAS, Key: s.Key(), Value: value, Index: uint64(version)}}}
	ok, resp, _, err := s.client.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return 0, s.fail(ctx, "compare-and-set", s.Key(), err)
	}
	if ok {
		if len(resp.Results) != 1 || resp.Results[0].KV == nil {
			return 0, fmt.Errorf("consul: compare-and-set %s: the answer has no index", s.Key())
		}
		return failover.Version(resp.Results[0].KV.ModifyIndex), nil
	}
	for _, e := range resp.Errors {
		// The only refusal that is an answer; others (ACLs) are errors.
		if !strings.Contains(e.What, "index is stale") && !strings.Contains(e.What, "key already exists") && !strings.Contains(e.What, "current modify index") {
			return 0, s.fail(ctx, "compare-and-set", s.Key(), errors.New(e.What))
		}
	}
	return 0, failover.ErrConflict
}

// Watch implements failover.Store.
func (s *Store) Watch(ctx context.Context, version failover.Version) (failover.Route, failover.Version, error) {
	wait := uint64(version)
	for {
		// Consul adds up to a sixteenth to the wait; a connection that died
		// silently is given up shortly after.
		qctx, stop := context.WithTimeout(ctx, s.o.WatchWait+s.o.WatchWait/8+2*time.Second)
		q := consistent(qctx)
		q.WaitIndex, q.WaitTime = wait, s.o.WatchWait
		pair, meta, err := s.client.KV().Get(s.Key(), q)
		stop()
		switch {
		case err != nil:
			return failover.Route{}, 0, s.fail(ctx, "watch", s.Key(), err)
		case pair != nil && failover.Version(pair.ModifyIndex) != version:
			return s.parse(pair)
		case pair == nil && version != 0:
			return failover.Route{}, 0, failover.ErrNoRoute
		}
		if meta.LastIndex < wait {
			// The index went back (servers restored): begin again, as Consul's
			// rules for blocking queries say.
			wait = 0
		} else {
			wait = meta.LastIndex
		}
		if wait == 0 {
			wait = 1
		}
	}
}
