package consul

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/catamaran-io/catamaran/failover"
)

// maxAckBytes stays well below Consul's limit of 512 KB for a value.
const maxAckBytes = 400_000

func (s *Store) acksPrefix(epoch int64) string {
	return s.base + "acks/" + strconv.FormatInt(epoch, 10) + "/"
}

// Acknowledge implements failover.Store. Floors that do not fit are given up for
// the word "unknown": a failover then leaves a gap in the offsets, a switchover
// does not need them.
func (s *Store) Acknowledge(ctx context.Context, a failover.Ack) error {
	value, err := json.Marshal(a)
	if err == nil && len(value) > maxAckBytes {
		a.Exposed, a.Unknown = nil, true
		value, err = json.Marshal(a)
	}
	if err != nil {
		return fmt.Errorf("consul: encode an acknowledgement: %w", err)
	}
	key := s.acksPrefix(a.Epoch) + escape(a.Sidecar)
	if _, err := s.client.KV().Put(&api.KVPair{Key: key, Value: value}, write(ctx)); err != nil {
		return s.fail(ctx, "write", key, err)
	}
	s.removeOldAcks(ctx, a.Epoch)
	return nil
}

// removeOldAcks is hygiene: what is left is removed with the next fence.
func (s *Store) removeOldAcks(ctx context.Context, epoch int64) {
	prefix := s.base + "acks/"
	keys, _, err := s.client.KV().Keys(prefix, "/", (&api.QueryOptions{AllowStale: true}).WithContext(ctx))
	if err != nil {
		return
	}
	for _, k := range keys {
		e, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(k, prefix), "/"), 10, 64)
		if err == nil && e < epoch {
			s.client.KV().DeleteTree(s.acksPrefix(e), write(ctx))
		}
	}
}

// Acks implements failover.Store.
func (s *Store) Acks(ctx context.Context, epoch int64) ([]failover.Ack, error) {
	return list[failover.Ack](ctx, s, s.acksPrefix(epoch))
}

// Vote implements failover.Store.
func (s *Store) Vote(ctx context.Context, v failover.Vote) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("consul: encode a vote: %w", err)
	}
	key := s.base + "votes/" + escape(v.Observer) + "/" + escape(v.Cluster)
	if _, err := s.client.KV().Put(&api.KVPair{Key: key, Value: value}, write(ctx)); err != nil {
		return s.fail(ctx, "write", key, err)
	}
	if s.o.Checks {
		s.publish(ctx, v)
	}
	return nil
}

// Votes implements failover.Store.
func (s *Store) Votes(ctx context.Context) ([]failover.Vote, error) {
	return list[failover.Vote](ctx, s, s.base+"votes/")
}

// list reads all values below prefix. A value that cannot be read is an error: to
// leave out an acknowledgement or a vote would be to invent its absence.
func list[T any](ctx context.Context, s *Store, prefix string) ([]T, error) {
	pairs, _, err := s.client.KV().List(prefix, consistent(ctx))
	if err != nil {
		return nil, s.fail(ctx, "list", prefix, err)
	}
	out := make([]T, 0, len(pairs))
	for _, p := range pairs {
		var v T
		if err := json.Unmarshal(p.Value, &v); err != nil {
			return nil, fmt.Errorf("consul: %s cannot be read (%w): delete the key", p.Key, err)
		}
		out = append(out, v)
	}
	return out, nil
}
