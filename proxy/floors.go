package proxy

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// floorsAgain is the pause before what could not be learned is asked for again.
const floorsAgain = time.Second

// floors begin what is exposed. An earlier process of this sidecar has shown
// offsets that this one does not remember, and its clients still hold them. None
// of them is above the ends of the logs as they stand once this process runs, so
// these are where exposed begins, learned before the first client is served. A
// partition whose leader does not answer keeps nobody waiting; but until its
// floor is known an unplanned fence has nothing to say, and fails.
type floors struct {
	mu      sync.Mutex
	have    map[logmap.TopicPartition]bool
	missing int
	begun   bool // by the first Serve
	known   bool // nothing is missing
}

// learnFloors runs in the first Serve; what it cannot learn at once is learned in
// the background.
func (p *Proxy) learnFloors(ctx context.Context, c *cluster) {
	f := &p.floors
	f.mu.Lock()
	begun := f.begun
	f.begun = true
	f.mu.Unlock()
	if begun || p.floorsOf(ctx, c) {
		return
	}
	p.log.Warn("ends of partitions are not known yet; should this process be fenced before they are, a failover leaves a gap in the offsets", "cluster", c.name)
	p.background(func() {
		for {
			select {
			case <-time.After(floorsAgain):
			case <-p.ctx.Done():
				return
			}
			if now := p.gate.now.Load(); now.state == serving && p.floorsOf(p.ctx, now.era.cluster) {
				p.log.Info("ends of all partitions are known", "cluster", now.era.cluster.name)
				return
			}
		}
	})
}

// floorsOf asks once for the ends that are missing, and says whether it has them
// all. Any serving cluster will do: what was shown of an earlier tenure is below
// its stamps.
func (p *Proxy) floorsOf(ctx context.Context, c *cluster) bool {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	f := &p.floors
	f.mu.Lock()
	have := f.have
	f.mu.Unlock()
	req := kmsg.NewPtrListOffsetsRequest()
	missing, asked := 0, false
	for name, t := range c.meta.Load().topics {
		if t.internal || name == logmap.Topic {
			continue
		}
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = name
		for i, leader := range t.leaders {
			if have[logmap.TopicPartition{Topic: name, Partition: int32(i)}] {
				continue
			}
			if missing++; leader < 0 {
				continue
			}
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = int32(i), -1, -1
			rt.Partitions = append(rt.Partitions, rp)
			asked = true
		}
		if len(rt.Partitions) > 0 {
			req.Topics = append(req.Topics, rt)
		}
	}
	learned := make(map[logmap.TopicPartition]bool, len(have)+missing)
	for tp := range have {
		learned[tp] = true
	}
	if asked {
		for _, shard := range c.client.RequestSharded(ctx, req) {
			resp, ok := shard.Resp.(*kmsg.ListOffsetsResponse)
			if shard.Err != nil || !ok {
				continue
			}
			for _, t := range resp.Topics {
				for _, at := range t.Partitions {
					if at.ErrorCode != 0 || at.Offset < 0 {
						continue
					}
					p.exposed.note(t.Topic, at.Partition, int64(c.logMap.mapOf(t.Topic, at.Partition).Position(logmap.Cluster(at.Offset))))
					learned[logmap.TopicPartition{Topic: t.Topic, Partition: at.Partition}] = true
					missing--
				}
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have, f.missing, f.known = learned, missing, missing <= 0; f.known {
		f.have = nil
	}
	return f.known
}

// unknown is an error while a floor is missing.
func (f *floors) unknown() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known {
		return nil
	}
	return fmt.Errorf("what an earlier process showed of %d partitions is not known", f.missing)
}
