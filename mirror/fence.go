package mirror

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// belowMinimum finds partitions that have lost replicas and may have too few in
// sync to take a marker. Only those are asked for their configuration.
func (c *cluster) belowMinimum(ctx context.Context, meta *metadata, tps []topicPartition) (map[topicPartition]bool, error) {
	thin := make(map[topicPartition]bool)
	topics := make(map[string]bool)
	for _, tp := range tps {
		if p, _ := meta.partition(tp); p.isr < p.replicas {
			topics[tp.Topic] = true
		}
	}
	if len(topics) == 0 {
		return thin, nil
	}
	minimum := make(map[string]int)
	names := make([]string, 0, len(topics))
	for t := range topics {
		names = append(names, t)
	}
	configs, err := c.adm.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("min.insync.replicas on cluster %s: %w", c.name, err)
	}
	for _, rc := range configs {
		for _, kv := range rc.Configs {
			if kv.Key == "min.insync.replicas" {
				minimum[rc.Name], _ = strconv.Atoi(kv.MaybeValue())
			}
		}
	}
	for _, tp := range tps {
		if p, _ := meta.partition(tp); topics[tp.Topic] && p.isr < minimum[tp.Topic] {
			thin[tp] = true
		}
	}
	return thin, nil
}

// forgotten proves that nobody can write under the producer id that the slot had
// before: the cluster forgot the transactional id and issued another, so our
// markers do not fence the old one. When no broker remembers it, whoever held it
// has been silent for longer than they remember (24 h), and one of our writers
// that has been silent for minutes proves its ownership before it writes.
func (w *writer) forgotten(ctx context.Context, old int64) error {
	tps := []topicPartition{mapPartition(w.slot)}
	for tp := range w.state.Partitions() {
		tps = append(tps, tp)
	}
	meta, err := w.c.metadata(ctx, topicsOf(tps)...)
	if err != nil {
		return err
	}
	requests := make(map[int32]*kmsg.DescribeProducersRequest)
	for _, tp := range tps {
		p, ok := meta.partition(tp)
		if !ok {
			continue
		}
		if p.leader < 0 {
			return fmt.Errorf("the slot's producer id was %d and is now %d, and %s has no leader that could tell whether the old one still writes: bring it back", old, w.id, tp)
		}
		req := requests[p.leader]
		if req == nil {
			req = kmsg.NewPtrDescribeProducersRequest()
			requests[p.leader] = req
		}
		rt := kmsg.NewDescribeProducersRequestTopic()
		rt.Topic, rt.Partitions = tp.Topic, []int32{tp.Partition}
		req.Topics = append(req.Topics, rt)
	}
	for leader, req := range requests {
		resp, err := tell[*kmsg.DescribeProducersResponse](ctx, w.c.ctl, leader, req)
		if err != nil {
			return fmt.Errorf("producers on broker %d of cluster %s: %w", leader, w.c.name, err)
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("producers of %s-%d on cluster %s: %w", t.Topic, p.Partition, w.c.name, err)
				}
				for _, ap := range p.ActiveProducers {
					if ap.ProducerID == old {
						return fmt.Errorf("%w: %s-%d on cluster %s remembers %d; it is forgotten producer.id.expiration.ms (24 h) after its last write, unless a mirror of another virtual cluster uses it",
							errOldProducer, t.Topic, p.Partition, w.c.name, old)
					}
				}
			}
		}
	}
	return nil
}

var errOldProducer = errors.New("the slot has got another producer id and its old one is not fenced")
