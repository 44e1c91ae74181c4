package mirror

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// groupCopier copies committed offsets from source to target. They are written
// with TxnOffsetCommit in a transaction, generation -1 and no member: the one
// way that a broker accepts for a group with live members. And a cutover takes
// the transactional id over, so that a late write is refused.
type groupCopier struct {
	turn chan struct{} // of size 1: one pass at a time
	p    *producer
	// written is what the target has from us, so that only changes are sent.
	written map[groupPartition]committed
}

type groupPartition struct {
	group string
	topicPartition
}

type committed struct {
	offset   logmap.Cluster
	metadata string
}

func (m *Mirror) groupsID() string { return fmt.Sprintf("catamaran-%s-groups", m.cfg.VirtualCluster) }

func (l *link) groupsLoop() {
	l.prepareCoordinators(l.ctx)
	for failures := 0; ; {
		err := l.groupsOnce(l.ctx, false)
		wait := l.m.cfg.GroupInterval
		switch {
		case l.ctx.Err() != nil:
			return
		case errors.Is(err, ErrHigherEpoch):
			l.fail(err)
			return
		case err != nil:
			failures++
			wait = max(wait, backoff(failures))
			if failures == 1 || failures%20 == 0 {
				l.log.Warn("copying group offsets failed; trying again", "attempt", failures, "err", err)
			}
		default:
			failures = 0
		}
		if sleep(l.ctx, wait) != nil {
			return
		}
	}
}

// prepareCoordinators has the target make its internal topics: a cluster that
// was never asked for a coordinator has none, and after a cutover every group
// call would be answered NOT_COORDINATOR for many seconds.
func (l *link) prepareCoordinators(ctx context.Context) {
	for kind := range int8(2) {
		for attempt := 1; attempt <= 50 && ctx.Err() == nil; attempt++ {
			req := kmsg.NewPtrFindCoordinatorRequest()
			req.CoordinatorType, req.CoordinatorKey = kind, "catamaran-prepare"
			req.CoordinatorKeys = []string{"catamaran-prepare"}
			resp, err := ask[*kmsg.FindCoordinatorResponse](ctx, l.dst.ctl, req)
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
				for _, c := range resp.Coordinators {
					err = errors.Join(err, kerr.ErrorForCode(c.ErrorCode))
				}
			}
			if err == nil {
				break
			}
			if sleep(ctx, backoff(min(attempt, 6))) != nil {
				return
			}
		}
	}
}

// groupsOnce copies every group's offsets once. all: those of a partition whose
// slot is just being acquired must not be left out.
func (l *link) groupsOnce(ctx context.Context, all bool) error {
	g := &l.groups
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	wanted, err := l.sourceOffsets(ctx)
	if err != nil {
		return err
	}
	targets := make(map[groupPartition]committed)
	left := false
	if err := l.call(ctx, func() {
		for gp, c := range wanted {
			if at, ok := l.onTarget(gp.topicPartition, c.offset); ok {
				targets[gp] = committed{at, c.metadata}
			} else if _, there := l.srcMeta.partition(gp.topicPartition); there {
				left = true
			}
		}
	}); err != nil {
		return err
	}
	if left && all {
		return errSlotLost
	}
	changed := make(map[string][]groupPartition)
	for gp, c := range targets {
		if have, ok := g.written[gp]; !ok || have != c {
			changed[gp.group] = append(changed[gp.group], gp)
		}
	}
	if g.p == nil {
		if err := l.takeGroups(ctx); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := l.commitGroups(ctx, changed, targets); err != nil {
		g.p = nil // take the id over again, which ends what was left open
		return err
	}
	return nil
}

// takeGroups takes the transactional id over, and only then looks at the role:
// a cutover writes its role first and takes the id over after that, so either we
// see its role here or it fences us.
func (l *link) takeGroups(ctx context.Context) error {
	p, err := newProducer(ctx, l.dst, l.m.groupsID())
	if err != nil {
		return err
	}
	if err := l.dst.ensureMap(ctx, l.m.cfg.Slots); err != nil {
		return err
	}
	at, err := l.dst.find(ctx, mapPartition(0))
	if err != nil {
		return err
	}
	var state logmap.State
	if _, err := l.dst.readMap(ctx, 0, at, -1, func(r logmap.Record, deleted bool) { state.Put(0, r, deleted) }); err != nil {
		return err
	}
	if role, ok := state.Role(0); ok && (role.RouteEpoch > l.Epoch || role.RouteEpoch == l.Epoch && role.Active) {
		return fmt.Errorf("group offsets: %w: %d, ours is %d", ErrHigherEpoch, role.RouteEpoch, l.Epoch)
	}
	l.groups.p, l.groups.written = p, make(map[groupPartition]committed)
	return nil
}

// sourceOffsets are the source's commits for mirrored topics.
func (l *link) sourceOffsets(ctx context.Context) (map[groupPartition]committed, error) {
	listed, err := l.src.adm.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("groups of cluster %s: %w", l.src.name, err)
	}
	var names []string
	for _, g := range listed {
		if g.ProtocolType == "consumer" || g.ProtocolType == "" {
			names = append(names, g.Group)
		}
	}
	out := make(map[groupPartition]committed)
	if len(names) == 0 {
		return out, nil
	}
	slices.Sort(names)
	for name, resp := range l.src.adm.FetchManyOffsets(ctx, names...) {
		if resp.Err != nil {
			if errors.Is(resp.Err, kerr.GroupIDNotFound) {
				continue // deleted meanwhile
			}
			return nil, fmt.Errorf("offsets of group %s on cluster %s: %w", name, l.src.name, resp.Err)
		}
		for topic, parts := range resp.Fetched {
			if !l.m.cfg.Topics.match(topic) {
				continue
			}
			for n, o := range parts {
				// A commit in an open transaction is unstable: it is taken when
				// the transaction has ended.
				if o.Err == nil && o.At >= 0 {
					out[groupPartition{name, topicPartition{Topic: topic, Partition: n}}] = committed{logmap.Cluster(o.At), o.Metadata}
				}
			}
		}
	}
	return out, nil
}

// onTarget is where a position on the source is on the target, at most at the
// mirrored end: the rest follows as the data arrives. It runs in the loop.
func (l *link) onTarget(tp topicPartition, at logmap.Cluster) (logmap.Cluster, bool) {
	p := l.parts[tp]
	if p == nil || p.state != stateMirroring || p.slot.w == nil {
		return 0, false
	}
	to := p.slot.w.state.Partition(tp).Map.Cluster(l.source.position(tp, min(at, p.position)))
	return min(to, p.end), true
}

// commitGroups writes changed offsets in one transaction.
func (l *link) commitGroups(ctx context.Context, changed map[string][]groupPartition, targets map[groupPartition]committed) error {
	p := l.groups.p
	for group := range changed {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = p.txid, p.id, p.epoch, group
		if err := p.repeat(ctx, "adding group "+group+" to a transaction of", func() (int16, error) {
			resp, err := ask[*kmsg.AddOffsetsToTxnResponse](ctx, l.dst.ctl, add)
			if err != nil {
				return 0, err
			}
			return resp.ErrorCode, nil
		}); err != nil {
			return err
		}
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.txid, p.id, p.epoch, group
		req.Generation = -1
		topics := make(map[string]int)
		for _, gp := range changed[group] {
			i, ok := topics[gp.Topic]
			if !ok {
				i = len(req.Topics)
				topics[gp.Topic] = i
				rt := kmsg.NewTxnOffsetCommitRequestTopic()
				rt.Topic = gp.Topic
				req.Topics = append(req.Topics, rt)
			}
			rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch = gp.Partition, int64(targets[gp].offset), -1
			rp.Metadata = kmsg.StringPtr(targets[gp].metadata)
			req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		}
		if err := p.repeat(ctx, "committing offsets of group "+group+" with", func() (int16, error) {
			resp, err := ask[*kmsg.TxnOffsetCommitResponse](ctx, l.dst.ctl, req)
			if err != nil {
				return 0, err
			}
			for _, t := range resp.Topics {
				for _, rp := range t.Partitions {
					if rp.ErrorCode != 0 {
						return rp.ErrorCode, nil
					}
				}
			}
			return 0, nil
		}); err != nil {
			return err
		}
	}
	if err := p.commit(ctx); err != nil {
		return err
	}
	for _, gps := range changed {
		for _, gp := range gps {
			l.groups.written[gp] = targets[gp]
		}
	}
	return nil
}
