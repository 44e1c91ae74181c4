package mirror

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// match says whether a topic is mirrored.
func (r Rules) match(topic string) bool {
	if strings.HasPrefix(topic, "__") {
		return false
	}
	any := func(patterns []string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			ok, err := path.Match(p, topic)
			return err == nil && ok
		})
	}
	return (len(r.Include) == 0 || any(r.Include)) && !any(r.Exclude)
}

// discoverLoop looks for topics, partitions and leaders every Discover, and when
// asked to, at most every 100 ms.
func (l *link) discoverLoop() {
	for failures := 0; ; {
		err := l.discover(l.ctx)
		wait := l.m.cfg.Discover
		if err != nil {
			if l.ctx.Err() != nil {
				return
			}
			failures++
			wait = min(wait, backoff(failures+4))
			l.log.Warn("looking for topics failed; trying again", "attempt", failures, "err", err)
		} else {
			failures = 0
		}
		if sleep(l.ctx, min(wait, 100*time.Millisecond)) != nil {
			return
		}
		rest := time.NewTimer(max(0, wait-100*time.Millisecond))
		select {
		case <-l.ctx.Done():
			rest.Stop()
			return
		case <-l.look:
			rest.Stop()
		case <-rest.C:
		}
	}
}

// discover reads both clusters' metadata and what is new in the source's map,
// creates what the target lacks, and tells the loop.
func (l *link) discover(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	src, err := l.src.metadata(ctx)
	if err != nil {
		return err
	}
	dst, err := l.dst.metadata(ctx)
	if err != nil {
		return err
	}
	if err := l.source.refresh(ctx, src); err != nil {
		return err
	}
	changed, err := l.createTopics(ctx, src, dst)
	if changed {
		if fresh, merr := l.dst.metadata(ctx); merr == nil {
			dst = fresh
		}
	}
	done := make(chan struct{})
	if !l.post(func() { l.discovered(src, dst); close(done) }) {
		return context.Cause(l.ctx)
	}
	select {
	case <-done:
	case <-l.ctx.Done():
	}
	return err
}

// createTopics makes topics and partitions that the target lacks. The error is
// the first of any; the others are made nevertheless.
func (l *link) createTopics(ctx context.Context, src, dst *metadata) (changed bool, first error) {
	note := func(err error) {
		if first == nil && err != nil {
			first = err
		}
	}
	var missing []string
	for name, t := range src.topics {
		if !l.m.cfg.Topics.match(name) {
			continue
		}
		have := dst.topics[name]
		switch {
		case have == nil:
			missing = append(missing, name)
		case len(have.parts) < len(t.parts):
			resps, err := l.dst.adm.UpdatePartitions(ctx, len(t.parts), name)
			if err == nil {
				err = resps.Error()
			}
			if err != nil {
				note(fmt.Errorf("growing topic %s on cluster %s to %d partitions: %w", name, l.dst.name, len(t.parts), err))
				continue
			}
			l.log.Info("topic grown", "topic", name, "partitions", len(t.parts))
			changed = true
		}
	}
	if len(missing) == 0 {
		return changed, first
	}
	slices.Sort(missing)
	configs, err := l.src.adm.DescribeTopicConfigs(ctx, missing...)
	if err != nil {
		return changed, fmt.Errorf("configuration of topics on cluster %s: %w", l.src.name, err)
	}
	for _, rc := range configs {
		t := src.topics[rc.Name]
		if rc.Err != nil || t == nil {
			note(fmt.Errorf("configuration of topic %s on cluster %s: %w", rc.Name, l.src.name, rc.Err))
			continue
		}
		replicas := int16(1)
		if len(t.parts) > 0 {
			replicas = int16(t.parts[0].replicas)
		}
		if l.m.cfg.ReplicationFactor > 0 {
			replicas = l.m.cfg.ReplicationFactor
		}
		replicas = max(1, min(replicas, int16(dst.brokers)))
		changed = true
		_, err := l.dst.adm.CreateTopic(ctx, int32(len(t.parts)), replicas, mirroredConfigs(rc, replicas), rc.Name)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			continue // another mirror was faster, or the metadata is behind
		}
		if err != nil {
			note(fmt.Errorf("creating topic %s on cluster %s: %w", rc.Name, l.dst.name, err))
			continue
		}
		l.log.Info("topic created", "topic", rc.Name, "partitions", len(t.parts), "replicas", replicas)
	}
	return changed, first
}

// mirroredConfigs are what the target's topic needs to hold the same records as
// long as the source's, and to take batches as they are: compressed as they
// come, with their own timestamps, however far those lie ahead.
func mirroredConfigs(rc kadm.ResourceConfig, replicas int16) map[string]*string {
	out := map[string]*string{
		"compression.type":               kadm.StringPtr("producer"),
		"message.timestamp.type":         kadm.StringPtr("CreateTime"),
		"message.timestamp.after.max.ms": kadm.StringPtr(strconv.FormatInt(1<<63-1, 10)),
	}
	for _, kv := range rc.Configs {
		if kv.Value == nil {
			continue
		}
		switch kv.Key {
		case "cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes", "delete.retention.ms", "min.compaction.lag.ms", "max.compaction.lag.ms":
			out[kv.Key] = kv.Value
		case "min.insync.replicas":
			if n, err := strconv.Atoi(*kv.Value); err == nil {
				out[kv.Key] = kadm.StringPtr(strconv.Itoa(max(1, min(n, int(replicas)))))
			}
		}
	}
	return out
}

// discovered brings new metadata in.
func (l *link) discovered(src, dst *metadata) {
	l.found = true
	l.srcMeta, l.dstMeta = src, dst
	for name, t := range src.topics {
		if !l.m.cfg.Topics.match(name) {
			continue
		}
		for n, sp := range t.parts {
			tp := topicPartition{Topic: name, Partition: int32(n)}
			p := l.parts[tp]
			if p == nil {
				p = &part{topicPartition: tp, slot: l.slots[tp.Slot(l.m.cfg.Slots)], state: stateStarting, hw: -1}
				l.parts[tp] = p
				l.starting[tp] = p
			}
			if p.state != stateMirroring {
				continue
			}
			if t.id != p.id {
				l.stop(p, false, "its topic was deleted and made anew on the source; the target holds the old one")
				continue
			}
			if sp.epoch >= p.epoch {
				p.at.leader, p.epoch = sp.leader, sp.epoch
			}
		}
	}
	for tp, p := range l.parts {
		if _, ok := src.partition(tp); ok {
			p.gone = time.Time{}
		} else {
			l.missing(p)
		}
		l.closeIdleHole(p)
	}
}

// forgetAfter is for how many discoveries a partition that the source no longer
// has is shown as stopped.
const forgetAfter = 10

// missing is a partition that the source does not have: deleted, it has nothing
// left to mirror, and as a stopped one it would forbid every cutover for ever. But
// one look at a cluster in trouble is no proof.
func (l *link) missing(p *part) {
	if p.state == stateMirroring {
		l.stop(p, true, "its topic was deleted on the source; the target's copy is kept")
	}
	switch {
	case p.gone.IsZero():
		p.gone = time.Now()
	case time.Since(p.gone) >= forgetAfter*l.m.cfg.Discover && !p.busy && !p.beginning:
		l.log.Info("partition forgotten: the source does not have it", "topic", p.Topic, "partition", p.Partition)
		delete(l.parts, p.topicPartition)
		delete(l.starting, p.topicPartition)
		delete(l.ready, p.topicPartition)
	}
}
