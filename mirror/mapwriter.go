package mirror

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// mapWrite is records that must become durable together, and what then.
type mapWrite struct {
	recs []logmap.Record
	done func()
}

// mapWrite queues records for the slot's map partition. done runs in the loop
// when they are durable, and not at all if the slot is lost before.
func (l *link) mapWrite(s *slot, recs []logmap.Record, done func()) {
	s.queue = append(s.queue, mapWrite{recs, done})
}

// writeMaps sends what is queued: one batch per map partition, one request in
// flight per broker, so that many slots' records share a round trip.
func (l *link) writeMaps() {
	rounds := make(map[int32][]*slot)
	for _, s := range l.slots {
		if s.w != nil && !s.writing && len(s.queue) > 0 && !l.mapping[s.w.at.leader] {
			rounds[s.w.at.leader] = append(rounds[s.w.at.leader], s)
		}
	}
	for leader, slots := range rounds {
		l.mapRound(leader, slots)
	}
}

// mapShare is one slot's part in a round of map writes.
type mapShare struct {
	s      *slot
	run    int
	writes []mapWrite
	count  int
}

func (l *link) mapRound(leader int32, slots []*slot) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(produceTimeout.Milliseconds())
	shares := make(map[int32]*mapShare, len(slots))
	for _, s := range slots {
		sh := &mapShare{s: s, run: s.run}
		var recs []logmap.Record
		for len(s.queue) > 0 && (len(recs) == 0 || len(recs)+len(s.queue[0].recs) <= maxMapRecords) {
			recs = append(recs, s.queue[0].recs...)
			sh.writes = append(sh.writes, s.queue[0])
			s.queue = s.queue[1:]
		}
		sh.count = len(recs)
		s.writing = true
		b := mapBatch(recs, protocol.Producer{ID: s.w.id, Epoch: s.w.epoch, Sequence: s.w.seq}, 0)
		addProduce(req, mapPartition(s.n), s.w.at.id, b)
		shares[s.n] = sh
	}
	l.mapping[leader] = true
	l.spawn(func() func() {
		resp, err := tell[*kmsg.ProduceResponse](l.ctx, l.dst.ctl, leader, req)
		return func() {
			delete(l.mapping, leader)
			answers := make(map[int32]error)
			if err == nil {
				for _, t := range resp.Topics {
					for _, p := range t.Partitions {
						answers[p.Partition] = kerr.ErrorForCode(p.ErrorCode)
					}
				}
			}
			for n, sh := range shares {
				e, answered := answers[n]
				if !answered {
					e = err
					if e == nil {
						e = errors.New("the answer does not hold the partition")
					}
				}
				l.mapWritten(sh, e)
			}
		}
	})
}

func (l *link) mapWritten(sh *mapShare, err error) {
	s := sh.s
	if s.run != sh.run || s.w == nil {
		return
	}
	s.writing = false
	if err != nil {
		l.lose(s, fmt.Errorf("writing the map: %w", err))
		return
	}
	s.w.seq = protocol.AddSequence(s.w.seq, int64(sh.count))
	s.proven, s.failures = time.Now(), 0
	for _, w := range sh.writes {
		for _, r := range w.recs {
			if _, intent := r.(*logmap.Intent); !intent { // kept by the parts
				s.w.state.Put(s.n, r, false)
			}
		}
		if w.done != nil {
			w.done()
		}
	}
}
