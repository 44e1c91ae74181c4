// Package local is a failover.Store for one host: in memory, shared by the agents
// of one process (tests, simulations, the demo), and optionally kept in a file,
// so that the route outlives the process.
//
// Only the route is kept. Registrations, votes and acknowledgements are those of
// the processes that run, and with a file there is one such process: the file is
// locked.
package local

import (
	"context"
	"sort"
	"sync"

	"github.com/catamaran-io/catamaran/failover"
)

// Store implements failover.Store. It is safe for concurrent use.
type Store struct {
	mu      sync.Mutex
	route   failover.Route
	version failover.Version
	changed chan struct{} // closed and replaced when the route changes
	// sidecars counts the running registrations of an id (1, by construction).
	sidecars map[string]*registration
	acks     map[string]failover.Ack // newest per sidecar
	votes    map[voteKey]failover.Vote
	file     *file // nil: memory only
}

type voteKey struct{ observer, cluster string }

type registration struct{ replaced chan struct{} }

var _ failover.Store = (*Store)(nil)

// New returns an empty store in memory.
func New() *Store {
	return &Store{
		changed: make(chan struct{}), sidecars: map[string]*registration{},
		acks: map[string]failover.Ack{}, votes: map[voteKey]failover.Vote{},
	}
}

// Route implements failover.Store.
func (s *Store) Route(ctx context.Context) (failover.Route, failover.Version, error) {
	if err := ctx.Err(); err != nil {
		return failover.Route{}, 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version == 0 {
		return failover.Route{}, 0, failover.ErrNoRoute
	}
	return s.route, s.version, nil
}

// Update implements failover.Store. With a file it returns once the route is on
// the disk.
func (s *Store) Update(ctx context.Context, version failover.Version, r failover.Route) (failover.Version, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if version != s.version {
		return 0, failover.ErrConflict
	}
	r.Positions = append([]int64(nil), r.Positions...)
	if s.file != nil {
		if err := s.file.save(content{Version: s.version + 1, Route: r}); err != nil {
			return 0, err
		}
	}
	s.route, s.version = r, s.version+1
	close(s.changed)
	s.changed = make(chan struct{})
	return s.version, nil
}

// Watch implements failover.Store.
func (s *Store) Watch(ctx context.Context, version failover.Version) (failover.Route, failover.Version, error) {
	for {
		s.mu.Lock()
		r, v, changed := s.route, s.version, s.changed
		s.mu.Unlock()
		if v != version {
			return r, v, nil
		}
		select {
		case <-ctx.Done():
			return failover.Route{}, 0, ctx.Err()
		case <-changed:
		}
	}
}

// Register implements failover.Store.
func (s *Store) Register(ctx context.Context, sidecar string, registered func()) error {
	own := &registration{replaced: make(chan struct{})}
	s.mu.Lock()
	if before := s.sidecars[sidecar]; before != nil {
		close(before.replaced)
	}
	s.sidecars[sidecar] = own
	s.mu.Unlock()
	registered()
	select {
	case <-own.replaced:
		return failover.ErrReplaced
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sidecars[sidecar] == own {
		delete(s.sidecars, sidecar)
	}
	return ctx.Err()
}

// Sidecars implements failover.Store.
func (s *Store) Sidecars(ctx context.Context) ([]failover.Sidecar, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []failover.Sidecar
	for id := range s.sidecars {
		out = append(out, failover.Sidecar{ID: id, Alive: true})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

// Forget implements failover.Store. Here every registered sidecar runs, so there
// is nothing to forget but one whose process has hung.
func (s *Store) Forget(ctx context.Context, sidecar string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.sidecars[sidecar]; r != nil {
		close(r.replaced)
		delete(s.sidecars, sidecar)
	}
	return nil
}

// Acknowledge implements failover.Store.
func (s *Store) Acknowledge(ctx context.Context, a failover.Ack) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Epoch >= s.acks[a.Sidecar].Epoch {
		s.acks[a.Sidecar] = a
	}
	return nil
}

// Acks implements failover.Store.
func (s *Store) Acks(ctx context.Context, epoch int64) ([]failover.Ack, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []failover.Ack
	for _, a := range s.acks {
		if a.Epoch == epoch {
			out = append(out, a)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Sidecar < out[j].Sidecar })
	return out, nil
}

// Vote implements failover.Store.
func (s *Store) Vote(ctx context.Context, v failover.Vote) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.votes[voteKey{v.Observer, v.Cluster}] = v
	return nil
}

// Votes implements failover.Store.
func (s *Store) Votes(ctx context.Context) ([]failover.Vote, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []failover.Vote
	for _, v := range s.votes {
		out = append(out, v)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Observer != out[j].Observer {
			return out[i].Observer < out[j].Observer
		}
		return out[i].Cluster < out[j].Cluster
	})
	return out, nil
}
