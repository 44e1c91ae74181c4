package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// lookEvery is how often a missing map topic is looked for.
const lookEvery = time.Second

// follower reads the log map of one cluster from its beginning, for ever, at
// read_committed. A map topic that does not exist is an empty map, which is
// right for a home cluster before its first cutover.
//
// One goroutine (run) writes; readers share a lock that is held for moments.
type follower struct {
	c *cluster

	mu    sync.RWMutex
	state logmap.State
	maps  map[logmap.TopicPartition]*logmap.Map // copies that nobody changes
	// stale are the partitions whose copy is older than state. A copy is made
	// when it is asked for: the standby's map grows all the time, and is long
	// when the mirror meets many holes, but nobody translates with it.
	stale  map[logmap.TopicPartition]bool
	births map[string]protocol.TopicID
	// changes counts changes of births, so that a View knows when it is old.
	changes uint64
	// next is the next offset to be read, by map partition.
	next   []int64
	looked bool          // whether the topic was looked for successfully
	moved  chan struct{} // closed when next or looked changes
}

var identity = new(logmap.Map)

func newFollower(c *cluster) *follower {
	return &follower{c: c, maps: make(map[logmap.TopicPartition]*logmap.Map), stale: make(map[logmap.TopicPartition]bool), births: make(map[string]protocol.TopicID), moved: make(chan struct{})}
}

// mapOf is the log map of a partition, never nil.
func (f *follower) mapOf(topic string, partition int32) *logmap.Map {
	if m := f.fresh(logmap.TopicPartition{Topic: topic, Partition: partition}); m != nil {
		return m
	}
	return identity
}

// fresh is the newest copy of a partition's map, nil when it has no extents.
func (f *follower) fresh(tp logmap.TopicPartition) *logmap.Map {
	f.mu.RLock()
	m, stale := f.maps[tp], len(f.stale) > 0 && f.stale[tp]
	f.mu.RUnlock()
	if !stale {
		return m
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stale[tp] {
		f.maps[tp] = f.state.Partition(tp).Map.Clone()
		delete(f.stale, tp)
	}
	return f.maps[tp]
}

// stampOf is the extent that began the cluster's service of a partition in
// tenure. sealed is false when the map knows the partition and it was not
// stamped: it could not be sealed, so an earlier mirror might still write there,
// and no client may.
func (f *follower) stampOf(tp logmap.TopicPartition, tenure protocol.Tenure) (stamp logmap.Extent, stamped, sealed bool) {
	m := f.fresh(tp)
	if m == nil {
		f.mu.RLock()
		defer f.mu.RUnlock()
		return stamp, false, f.state.Partition(tp).Birth == nil
	}
	extents := m.Extents()
	for i := len(extents) - 1; i >= 0; i-- {
		if e := extents[i]; e.Stamp && e.Tenure == uint16(tenure) {
			return e, true, true
		}
	}
	return stamp, false, len(extents) == 0
}

// mirrored is the logical offset of a client batch if the cluster's log holds
// it from the mirror's hand, below end.
func (f *follower) mirrored(tp logmap.TopicPartition, b batchID, end logmap.Cluster) (logmap.Logical, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.state.Partition(tp).Mirrored(b.producer, b.epoch, b.first, b.last, end)
}

// birthIDs are the topic ids that clients know, where they differ from the
// cluster's own. changes tells versions of the answer apart.
func (f *follower) birthIDs() (ids map[string]protocol.TopicID, changes uint64) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	ids = make(map[string]protocol.TopicID, len(f.births))
	for name, id := range f.births {
		ids[name] = id
	}
	return ids, f.changes
}

func (f *follower) birthChanges() uint64 {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changes
}

// waitFor waits until every map partition was read up to positions.
func (f *follower) waitFor(ctx context.Context, positions []int64) error {
	for {
		f.mu.RLock()
		moved, behind := f.moved, -1
		for i, end := range positions {
			if end > 0 && (i >= len(f.next) || f.next[i] < end) {
				behind = i
				break
			}
		}
		f.mu.RUnlock()
		if behind < 0 {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("reading the log map of %s up to the stamps (partition %d is not there yet; is %s readable on that cluster?): %w", f.c.name, behind, logmap.Topic, ctx.Err())
		}
	}
}

// waitLooked waits until it is known whether there is a log map.
func (f *follower) waitLooked(ctx context.Context) error {
	for {
		f.mu.RLock()
		moved, looked := f.moved, f.looked
		f.mu.RUnlock()
		if looked {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("looking for the log map of %s: %w", f.c.name, ctx.Err())
		}
	}
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		n, err := f.look(ctx)
		if err == nil {
			f.begin(n)
			if n > 0 {
				f.follow(ctx, n)
				return
			}
		} else if ctx.Err() == nil {
			f.c.log.Debug("log map not found yet", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// look asks for the number of partitions of the map topic, 0 when there is none.
func (f *follower) look(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(logmap.Topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, f.c.client)
	if err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		err := kerr.ErrorForCode(t.ErrorCode)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return 0, nil
		case err != nil:
			return 0, err
		}
		return len(t.Partitions), nil
	}
	return 0, nil
}

func (f *follower) begin(partitions int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next == nil && partitions > 0 {
		f.next = make([]int64, partitions)
	}
	f.looked = true
	f.signal()
}

// signal wakes those who wait. The caller holds f.mu.
func (f *follower) signal() {
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *follower) follow(ctx context.Context, partitions int) {
	from := make(map[int32]kgo.Offset, partitions)
	for i := range partitions {
		from[int32(i)] = kgo.NewOffset().AtStart()
	}
	f.c.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{logmap.Topic: from})
	for {
		fetches := f.c.client.PollFetches(ctx)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, partition int32, err error) {
			f.c.log.Warn("log map cannot be read now", "topic", logmap.Topic, "partition", partition, "error", err)
		})
		f.apply(fetches)
	}
}

// apply brings a poll's records into the state and publishes what changed.
func (f *follower) apply(fetches kgo.Fetches) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		if int(r.Partition) < len(f.next) {
			f.next[r.Partition] = r.Offset + 1
		}
		if r.Attrs.IsControl() {
			return
		}
		rec, deleted, err := logmap.Decode(r.Key, r.Value)
		if err != nil {
			// Not fatal for a reader: what a later release adds does not change
			// the meaning of what this one knows.
			f.c.log.Error("log map record cannot be read; run the newest release everywhere, and export the map before it is compacted", "partition", r.Partition, "offset", r.Offset, "error", err)
			return
		}
		f.state.Put(r.Partition, rec, deleted)
		switch rec := rec.(type) {
		case *logmap.ExtentRecord:
			f.stale[rec.TP] = true
		case *logmap.Birth:
			if deleted {
				delete(f.births, rec.TP.Topic)
			} else {
				f.births[rec.TP.Topic] = rec.TopicID
			}
			f.changes++
		}
	})
	f.signal()
}
