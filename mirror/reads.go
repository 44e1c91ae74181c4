package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// listed is the answer of ListOffsets for one partition.
type listed struct {
	offset logmap.Cluster
	err    error
}

// Selectors of ListOffsets.
const (
	logEnd   int64 = -1
	logStart int64 = -2
)

// offsets asks the leaders for the end (high watermark) or start of each log.
// Every partition asked for is in the answer.
func (c *cluster) offsets(ctx context.Context, tps []topicPartition, which int64) map[topicPartition]listed {
	out := make(map[topicPartition]listed, len(tps))
	for _, tp := range tps {
		out[tp] = listed{err: errors.New("no answer")}
	}
	if len(tps) == 0 {
		return out
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	at := make(map[string]int)
	for _, tp := range tps {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[tp.Topic] = i
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = tp.Topic
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = tp.Partition, which, -1
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	for _, shard := range c.ctl.RequestSharded(ctx, req) {
		if shard.Err != nil {
			if sr, ok := shard.Req.(*kmsg.ListOffsetsRequest); ok {
				for _, t := range sr.Topics {
					for _, p := range t.Partitions {
						out[topicPartition{Topic: t.Topic, Partition: p.Partition}] = listed{err: shard.Err}
					}
				}
			}
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				out[topicPartition{Topic: t.Topic, Partition: p.Partition}] = listed{logmap.Cluster(p.Offset), kerr.ErrorForCode(p.ErrorCode)}
			}
		}
	}
	return out
}

// ends are the ends of all the logs; a partition whose leader does not answer is
// asked again for a while, for it may just have been made or moved.
func (c *cluster) ends(ctx context.Context, tps []topicPartition) (map[topicPartition]logmap.Cluster, error) {
	out := make(map[topicPartition]logmap.Cluster, len(tps))
	for attempt := 1; ; attempt++ {
		var left []topicPartition
		var last error
		for tp, end := range c.offsets(ctx, tps, logEnd) {
			if end.err != nil {
				left, last = append(left, tp), fmt.Errorf("end of %s on cluster %s: %w", tp, c.name, end.err)
				continue
			}
			out[tp] = end.offset
		}
		if len(left) == 0 {
			return out, nil
		}
		if attempt == 10 {
			return nil, last
		}
		if err := sleep(ctx, backoff(min(attempt+3, 7))); err != nil {
			return nil, last
		}
		tps = left
	}
}

// place is where a partition is found: its leader and its topic's id.
type place struct {
	leader int32
	id     [16]byte
}

// find resolves one partition from fresh metadata of its topic only.
func (c *cluster) find(ctx context.Context, tp topicPartition) (place, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(tp.Topic)
	req.Topics = append(req.Topics, rt)
	resp, err := ask[*kmsg.MetadataResponse](ctx, c.ctl, req)
	if err != nil {
		return place{leader: -1}, fmt.Errorf("leader of %s on cluster %s: %w", tp, c.name, err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition == tp.Partition && p.Leader >= 0 {
				return place{p.Leader, t.TopicID}, nil
			}
		}
	}
	return place{leader: -1}, fmt.Errorf("%s on cluster %s has no leader: bring its brokers back", tp, c.name)
}

// Isolation levels of a fetch.
const (
	readUncommitted int8 = 0
	readCommitted   int8 = 1
)

// fetchOne reads one partition once from its leader.
func (c *cluster) fetchOne(ctx context.Context, tp topicPartition, at place, from logmap.Cluster, isolation int8) (*kmsg.FetchResponseTopicPartition, error) {
	req := newFetch(isolation, 0, 8<<20)
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = tp.Topic, at.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = tp.Partition, int64(from), 8<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := tell[*kmsg.FetchResponse](ctx, c.ctl, at.leader, req)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil && (len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1) {
		err = errors.New("the answer does not hold the partition")
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s at offset %d on cluster %s: %w", tp, from, c.name, err)
	}
	return &resp.Topics[0].Partitions[0], nil
}

// newFetch is a fetch outside any fetch session.
func newFetch(isolation int8, wait time.Duration, maxBytes int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.SessionID, req.SessionEpoch = -1, 0, -1
	req.MinBytes, req.MaxBytes, req.MaxWaitMillis, req.IsolationLevel = 1, maxBytes, int32(wait.Milliseconds()), isolation
	return req
}
