package consul

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
)

const (
	sessionTTL = 10 * time.Second // the least that Consul permits
	renewEvery = 3 * time.Second
	retryEvery = time.Second
	leaveLimit = 2 * time.Second
	// callLimit bounds each call of the loop below: a Consul that accepts and
	// never answers must not stop it.
	callLimit = 2 * time.Second
)

// life is the value of sidecars/<id>/registered. Incarnation tells two processes
// of one id apart: the newer one takes the registration over (its predecessor has
// usually crashed), and the older one, if it lives, learns it and stops.
type life struct {
	Incarnation string    `json:"incarnation"`
	Since       time.Time `json:"since"`
}

// registration is one Register call.
type registration struct {
	s          *Store
	id         string
	value      []byte
	own        life
	taken      bool // the registration was ours before
	session    string
	registered func()
}

// Register implements failover.Store.
func (s *Store) Register(ctx context.Context, sidecar string, registered func()) error {
	own := life{Incarnation: rand.Text(), Since: time.Now().UTC()}
	value, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("consul: encode a registration: %w", err)
	}
	r := &registration{s: s, id: sidecar, own: own, value: value, registered: registered}
	failing := false // logged once per loss
	for {
		wait, err := renewEvery, r.keep(ctx)
		switch {
		case ctx.Err() != nil:
			r.leave(ctx)
			return ctx.Err()
		case errors.Is(err, failover.ErrReplaced):
			return fmt.Errorf("consul: %s: %w: give each process an id of its own", r.key(), err)
		case err != nil:
			if !failing {
				s.o.Logger.Warn("this sidecar cannot be registered, or renewed, for now", "key", r.key(), "error", err)
			}
			wait = retryEvery
		}
		failing = err != nil
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func (r *registration) key() string {
	return r.s.base + "sidecars/" + escape(r.id) + "/registered"
}
func (r *registration) alive() string {
	return r.s.base + "sidecars/" + escape(r.id) + "/alive"
}

// keep makes sure, once, that the registration is ours and the session lives.
func (r *registration) keep(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, callLimit)
	defer stop()
	if err := r.hold(ctx); err != nil {
		return err
	}
	if r.registered != nil {
		r.registered()
		r.registered = nil
	}
	if r.session != "" {
		entry, _, err := r.s.client.Session().Renew(r.session, write(ctx))
		if err != nil {
			return r.s.fail(ctx, "renew the session of", r.alive(), err)
		}
		if entry != nil {
			return nil
		}
		r.s.o.Logger.Warn("session lost", "key", r.alive())
		r.session = ""
	}
	return r.beAlive(ctx)
}

// hold writes the registration the first time, and looks at it later.
func (r *registration) hold(ctx context.Context) error {
	kv, key := r.s.client.KV(), r.key()
	if !r.taken {
		if _, err := kv.Put(&api.KVPair{Key: key, Value: r.value}, write(ctx)); err != nil {
			return r.s.fail(ctx, "write", key, err)
		}
		r.taken = true
		return nil
	}
	pair, _, err := kv.Get(key, consistent(ctx))
	if err != nil {
		return r.s.fail(ctx, "read", key, err)
	}
	if pair == nil {
		// Forgotten by an operator although it lives: be known again.
		_, _, err := kv.CAS(&api.KVPair{Key: key, Value: r.value}, write(ctx))
		if err != nil {
			return r.s.fail(ctx, "write", key, err)
		}
		return nil
	}
	var l life
	if err := json.Unmarshal(pair.Value, &l); err != nil {
		return fmt.Errorf("consul: %s cannot be read (%w): delete the key", key, err)
	}
	if l.Incarnation != r.own.Incarnation {
		return failover.ErrReplaced
	}
	return nil
}

// beAlive takes the alive key with a new session, from a dead predecessor's too.
func (r *registration) beAlive(ctx context.Context) error {
	kv, sessions, key := r.s.client.KV(), r.s.client.Session(), r.alive()
	// The lock delay would keep the next life of this process from the key.
	session, _, err := sessions.CreateNoChecks(&api.SessionEntry{Name: key, TTL: sessionTTL.String(),
		Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}, write(ctx))
	if err != nil {
		return r.s.fail(ctx, "create the session of", key, err)
	}
	for range 3 {
		ok, _, err := kv.Acquire(&api.KVPair{Key: key, Value: r.value, Session: session}, write(ctx))
		if err != nil {
			return r.s.fail(ctx, "acquire", key, err)
		}
		if ok {
			r.session = session
			return nil
		}
		pair, _, err := kv.Get(key, consistent(ctx))
		if err != nil {
			return r.s.fail(ctx, "read", key, err)
		}
		if pair != nil && pair.Session != "" {
			if _, err := sessions.Destroy(pair.Session, write(ctx)); err != nil {
				return r.s.fail(ctx, "end the previous session of", key, err)
			}
		}
	}
	sessions.Destroy(session, write(ctx))
	return fmt.Errorf("consul: acquire %s: it is held, again and again, by others", key)
}

// leave removes the registration, if it is still this process's. ctx has ended,
// so it has a limit of its own.
func (r *registration) leave(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), leaveLimit)
	defer stop()
	if r.taken {
		pair, _, err := r.s.client.KV().Get(r.key(), consistent(ctx))
		var l life
		if err == nil && pair != nil && json.Unmarshal(pair.Value, &l) == nil && l.Incarnation == r.own.Incarnation {
			_, _, err = r.s.client.KV().DeleteCAS(pair, write(ctx))
		}
		if err != nil {
			r.s.o.Logger.Warn("this sidecar stays registered: forget it if it does not return", "key", r.key(), "error", err)
		}
	}
	if r.session != "" {
		r.s.client.Session().Destroy(r.session, write(ctx))
	}
}

// Sidecars implements failover.Store.
func (s *Store) Sidecars(ctx context.Context) ([]failover.Sidecar, error) {
	prefix := s.base + "sidecars/"
	// One listing shows registrations and lives at one moment.
	keys, _, err := s.client.KV().Keys(prefix, "", consistent(ctx))
	if err != nil {
		return nil, s.fail(ctx, "list", prefix, err)
	}
	var out []failover.Sidecar
	alive := map[string]bool{}
	for _, k := range keys {
		escaped, kind, _ := strings.Cut(strings.TrimPrefix(k, prefix), "/")
		id, err := unescape(escaped)
		if err != nil {
			return nil, fmt.Errorf("consul: %s is no sidecar's key: delete it", k)
		}
		switch kind {
		case "registered":
			out = append(out, failover.Sidecar{ID: id})
		case "alive":
			alive[id] = true
		}
	}
	for i := range out {
		out[i].Alive = alive[out[i].ID]
	}
	slices.SortFunc(out, func(a, b failover.Sidecar) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// Forget implements failover.Store.
func (s *Store) Forget(ctx context.Context, sidecar string) error {
	prefix := s.base + "sidecars/" + escape(sidecar) + "/"
	if _, err := s.client.KV().DeleteTree(prefix, write(ctx)); err != nil {
		return s.fail(ctx, "delete", prefix, err)
	}
	return nil
}
