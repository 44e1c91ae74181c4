package mirror

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

const (
	fetchWait = 500 * time.Millisecond // long poll when nothing else is to do
	restAfter = 10 * time.Millisecond  // between empty answers while something is
	// maxFetchBytes bounds one answer.
	maxFetchBytes = 32 << 20
)

// fetcher is what is known of one source broker.
type fetcher struct {
	busy bool
	rest time.Time
}

// fetch has one request in flight per source broker. A partition takes part
// while less than one answer's worth of it waits for the target. As long as some
// partition does not take part, the broker is not asked to wait for records of
// the others: the one that is left out may be the busy one.
func (l *link) fetch(now time.Time) {
	type chosen struct {
		parts []*part
		all   bool
	}
	byBroker := make(map[int32]*chosen)
	for _, p := range l.parts {
		if p.state != stateMirroring || p.at.leader < 0 || p.defect != "" {
			continue
		}
		c := byBroker[p.at.leader]
		if c == nil {
			if f := l.fetchers[p.at.leader]; f != nil && f.busy {
				continue
			}
			c = &chosen{all: true}
			byBroker[p.at.leader] = c
		}
		if p.fetching || p.busy || p.bytes >= int(l.m.cfg.FetchBytes) || len(p.queue) > 1000 || l.wait(p.restUntil, now) {
			c.all = false
			continue
		}
		c.parts = append(c.parts, p)
	}
	for broker, c := range byBroker {
		f := l.fetchers[broker]
		if f == nil {
			f = new(fetcher)
			l.fetchers[broker] = f
		}
		if len(c.parts) == 0 || !c.all && l.wait(f.rest, now) {
			continue
		}
		wait := time.Duration(0)
		if c.all {
			wait = fetchWait
		}
		f.busy = true
		l.fetchRound(f, broker, c.parts, wait)
	}
}

// fetched is one partition's part in a round of fetching.
type fetched struct {
	p     *part
	run   int
	from  cursor
	prep  preparer
	items []*item
	to    cursor
	rp    *kmsg.FetchResponseTopicPartition
	err   error // the batches are defective
}

func (l *link) fetchRound(f *fetcher, broker int32, parts []*part, wait time.Duration) {
	req := newFetch(readCommitted, wait, maxFetchBytes)
	asked := make(map[topicPartition]*fetched, len(parts))
	topics := make(map[string]int)
	byID := make(map[[16]byte]string)
	l.turn++
	for i := range parts {
		p := parts[(i+l.turn)%len(parts)] // only the first is sure of a whole batch (KIP-74)
		at, ok := topics[p.Topic]
		if !ok {
			at = len(req.Topics)
			topics[p.Topic] = at
			byID[p.id] = p.Topic
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = p.Topic, p.id
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = p.Partition, int64(p.cur.source), l.m.cfg.FetchBytes
		rp.CurrentLeaderEpoch, rp.LastFetchedEpoch = p.epoch, p.cur.epoch
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, rp)
		if v := l.source.version.Load(); p.prepared != v || p.prep.m == nil {
			m, birth := l.source.partition(p.topicPartition)
			p.prep, p.prepared = newPreparer(m, birth == nil || birth.Home == l.Source, uint16(l.Tenure)), v
		}
		asked[p.topicPartition] = &fetched{p: p, run: p.slot.run, from: p.cur, prep: p.prep}
		p.fetching = true
	}
	l.spawn(func() func() {
		resp, err := tell[*kmsg.FetchResponse](l.ctx, l.src.data, broker, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			for i := range resp.Topics {
				t := &resp.Topics[i]
				name := t.Topic
				if name == "" {
					name = byID[t.TopicID]
				}
				for j := range t.Partitions {
					if a := asked[topicPartition{Topic: name, Partition: t.Partitions[j].Partition}]; a != nil {
						a.rp = &t.Partitions[j]
						if a.rp.ErrorCode == 0 && a.rp.DivergingEpoch.EndOffset < 0 {
							a.items, a.to, a.err = a.prep.prepare(a.from, a.rp)
						}
					}
				}
			}
		}
		return func() {
			f.busy = false
			any := false
			for _, a := range asked {
				a.p.fetching = false
				if a.run != a.p.slot.run || a.p.state != stateMirroring || a.p.cur != a.from {
					continue // the partition has begun anew meanwhile
				}
				any = l.took(a, err) || any
			}
			if !any {
				f.rest = time.Now().Add(restAfter)
			}
		}
	})
}

// took brings one partition's answer in, and says whether it held anything.
func (l *link) took(a *fetched, err error) bool {
	p := a.p
	if err == nil && a.rp == nil {
		err = errors.New("the answer does not hold the partition")
	}
	if err == nil {
		err = kerr.ErrorForCode(a.rp.ErrorCode)
	}
	switch {
	case err == nil && a.rp.DivergingEpoch.EndOffset >= 0:
		l.stop(p, false, fmt.Sprintf("the source lost records that were mirrored: its log of leader epoch %d ends at %d, and the mirror had read to %d "+
			"(an unclean election); decide which of the clusters is right", a.rp.DivergingEpoch.Epoch, a.rp.DivergingEpoch.EndOffset, a.from.source))
		return true
	case errors.Is(err, kerr.OffsetOutOfRange):
		l.outOfRange(p)
		return true
	case err != nil:
		p.restUntil = time.Now().Add(100 * time.Millisecond)
		l.lookNow()
		return true
	}
	p.hw = logmap.Cluster(a.rp.HighWatermark)
	moved := a.to.source > a.from.source
	p.cur = a.to
	if err := l.enqueue(p, a.items); err != nil {
		l.stop(p, false, err.Error())
		return true
	}
	if n := len(p.queue); n > 0 {
		p.queue[n-1].source = p.cur.source
	} else {
		p.position = p.cur.source
	}
	if a.err != nil { // what stands before the defect is copied first
		p.defect = a.err.Error()
		l.stopAtDefect(p)
	}
	l.noteCaughtUp(p)
	return moved
}

func (l *link) stopAtDefect(p *part) {
	if p.defect != "" && len(p.queue) == 0 {
		l.stop(p, false, p.defect)
	}
}

func (l *link) noteCaughtUp(p *part) {
	if p.position >= p.hw {
		p.caughtUp = time.Now()
	}
}

// holdsRecord says whether a record may have stood in [from, to) of the source:
// in the holes between its extents there were markers only.
func holdsRecord(m *logmap.Map, from, to logmap.Cluster) bool {
	for ; from < to; from++ {
		if _, ok := m.Record(from); ok {
			return true
		}
	}
	return false
}

// outOfRange finds out on which side the source's log has left us.
func (l *link) outOfRange(p *part) {
	p.busy = true
	run, at := p.slot.run, p.cur.source
	l.spawn(func() func() {
		one := []topicPartition{p.topicPartition}
		start, end := l.src.offsets(l.ctx, one, logStart)[p.topicPartition], l.src.offsets(l.ctx, one, logEnd)[p.topicPartition]
		return func() {
			p.busy = false
			if p.slot.run != run || p.state != stateMirroring || p.cur.source != at {
				return
			}
			p.restUntil = time.Now().Add(100 * time.Millisecond)
			srcMap, _ := l.source.partition(p.topicPartition)
			switch {
			case start.err != nil || end.err != nil:
			case at < start.offset && p.fresh && p.records == 0 && len(p.queue) == 0:
				p.cur = cursor{source: start.offset, next: max(p.cur.next, srcMap.Position(start.offset)), epoch: -1}
				p.position = start.offset
			case at < start.offset && !holdsRecord(srcMap, at, start.offset):
				p.cur = cursor{source: start.offset, next: p.cur.next, epoch: -1}
				if len(p.queue) == 0 {
					p.position = start.offset
				}
			case at < start.offset:
				l.stop(p, false, fmt.Sprintf("gap: the source's log starts at offset %d and was mirrored to %d: %d offsets were deleted before they were copied",
					start.offset, at, start.offset-at))
			case at > end.offset:
				l.stop(p, false, fmt.Sprintf("the source's log ends at offset %d and was mirrored to %d: it was truncated", end.offset, at))
			}
		}
	})
}
