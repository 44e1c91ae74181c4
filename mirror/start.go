package mirror

import (
	"time"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// start brings one partition to where it can be copied: it judges what the
// target holds, and begins a generation there.
func (l *link) start(p *part, now time.Time) {
	s := p.slot
	if p.busy || p.beginning || s.w == nil || s.paused || l.wait(p.tryAt, now) {
		return
	}
	k := s.w.known[p.topicPartition]
	if k != nil && k.reason != "" {
		if p.state != stateStopped {
			l.stop(p, k.again, k.reason)
		}
		return // maintain seals it again if that can help
	}
	if p.state == stateStopped && !p.again {
		return
	}
	src, ok := l.srcMeta.partition(p.topicPartition)
	if !ok {
		l.stop(p, true, "it is no longer on the source; the target's copy is kept")
		return
	}
	id := l.srcMeta.id(p.Topic)
	if p.id != ([16]byte{}) && id != p.id {
		l.stop(p, false, "its topic was deleted and made anew on the source; the target holds the old one")
		return
	}
	dst, ok := l.dstMeta.partition(p.topicPartition)
	if !ok || dst.leader < 0 {
		l.delay(p, "the target has no such partition, or no leader for it")
		l.lookNow()
		return
	}
	p.id, p.at, p.epoch = id, place{src.leader, id}, src.epoch
	p.busy = true
	j := judge{l: l, tp: p.topicPartition, srcID: id, dst: place{dst.leader, l.dstMeta.id(p.Topic)}, w: s.w, known: k}
	part := s.w.state.Partition(p.topicPartition)
	j.m, j.birth = part.Map.Clone(), part.Birth
	run := s.run
	l.spawn(func() func() {
		select {
		case l.judging <- struct{}{}:
		case <-l.ctx.Done():
			return nil
		}
		v := j.decide()
		<-l.judging
		return func() {
			p.busy = false
			if s.run != run {
				return
			}
			switch {
			case v.soon:
				l.delay(p, v.reason)
				return
			case v.reason != "":
				l.stop(p, v.again, v.reason)
				return
			}
			l.begin(p, v)
		}
	})
}

// delay tries a partition again in moments; if that lasts, it is stopped.
func (l *link) delay(p *part, reason string) {
	if p.tries >= 10 {
		l.stop(p, true, reason)
		return
	}
	p.tries++
	p.reason = reason
	p.tryAt = time.Now().Add(backoff(p.tries))
}

// judge decides how a partition goes on. It holds copies, so that it can run
// beside the loop.
type judge struct {
	l     *link
	tp    topicPartition
	srcID [16]byte
	dst   place
	w     *writer
	known *standing
	m     *logmap.Map // the target's
	birth *logmap.Birth
}

// abandoned judges a partition with the stamp of a tenure that never came: the
// cutover was rolled back before any client was sent here. The stamp is voided,
// or the next cutover would take it for its own.
func (v *verdict) abandoned(k *standing, m *logmap.Map, tenure uint16) {
	s := *k
	v.standing = &s
	for _, e := range m.Extents() {
		if !e.Stamp || e.Tenure <= tenure {
			continue
		}
		if s.data {
			v.standing = closed(s.topicPartition, false, "records stand behind the stamp of tenure %d (offset %d), which never served; find out who wrote them", e.Tenure, e.Cluster)
			return
		}
		s.next, s.native, v.void, v.voids = e.Before, false, e.Cluster, true
		return
	}
}

// verdict is a standing, and what the map must be told first.
type verdict struct {
	*standing
	void  logmap.Cluster // where an abandoned stamp begins, if voids
	voids bool
	birth *logmap.Birth
	fresh bool // nothing was ever mirrored here
	m     *logmap.Map
}

func (j judge) decide() verdict {
	l := j.l
	srcMap, srcBirth := l.source.partition(j.tp)
	home, id := l.Source, j.srcID
	if srcBirth != nil {
		home, id = srcBirth.Home, srcBirth.TopicID
	}
	v := verdict{m: j.m}
	if j.birth == nil {
		v.birth = &logmap.Birth{TP: j.tp, TopicID: id, Home: home}
	} else if j.birth.TopicID != id {
		v.standing = closed(j.tp, false, "its topic was deleted and made anew: clients knew it as %x (home %s), and the source has it as %x; "+
			"the target holds the old one", j.birth.TopicID, j.birth.Home, id)
		return v
	}
	served := home == l.Target
	switch {
	case j.known != nil && j.m.Generation() == 0:
		v.standing = closed(j.tp, false, "the map of cluster %s mentions it without an extent; check the map", l.Target)
	case j.known != nil && lastTenure(j.m) > uint16(l.Tenure):
		v.abandoned(j.known, j.m, uint16(l.Tenure))
	case j.known != nil && j.known.native:
		// Its last records were written by clients, here.
		s := *j.known
		before, ok := tookOver(srcMap, lastTenure(j.m))
		v.standing = l.dst.returned(l.ctx, &s, j.m, j.dst, before, ok, l.m.cfg.OrphanTail)
	case j.known != nil:
		s := *j.known
		v.standing = &s
		if e := j.m.Extents(); !s.data && len(e) > 0 && e[0].Logical == s.next {
			v.fresh = true
		}
	default:
		v.standing, v.fresh = j.unknown(served, srcMap)
	}
	return v
}

// unknown judges a partition that the map does not mention: no mirror has ever
// written to it.
func (j judge) unknown(served bool, srcMap *logmap.Map) (s *standing, fresh bool) {
	l, one := j.l, []topicPartition{j.tp}
	end, start := l.dst.offsets(l.ctx, one, logEnd)[j.tp], l.dst.offsets(l.ctx, one, logStart)[j.tp]
	srcStart := l.src.offsets(l.ctx, one, logStart)[j.tp]
	for _, e := range []error{end.err, start.err, srcStart.err} {
		if e != nil {
			return notYet(j.tp, "asking for the log's bounds: %v", e), false
		}
	}
	s = &standing{topicPartition: j.tp, end: end.offset, next: srcMap.Position(srcStart.offset), dead: -1}
	switch {
	case served && end.offset > 0:
		s.next = j.m.Position(end.offset)
		before, ok := tookOver(srcMap, 0)
		return l.dst.returned(l.ctx, s, j.m, j.dst, before, ok, l.m.cfg.OrphanTail), false
	case end.offset == start.offset:
		return s, true
	case l.m.cfg.Adopt:
		s.dead = 0
		return s, true
	}
	return closed(j.tp, true, "the target's partition is not empty (offsets %d to %d) and was never mirrored; "+
		"delete the topic there, or configure the mirror to adopt what it holds", start.offset, end.offset), false
}

// begin starts a generation: from here the sequence is the position.
func (l *link) begin(p *part, v verdict) {
	gen := v.m.Generation() + 1
	var tenure uint16
	if e := v.m.Extents(); len(e) > 0 {
		tenure = e[len(e)-1].Tenure
	}
	next, at := l.source.follows(p.topicPartition, v.next)
	var recs []logmap.Record
	if v.birth != nil {
		recs = append(recs, v.birth)
	}
	if v.dead >= 0 {
		// A generation of its own: the next acquisition looks no further back
		// than the start of the last one, and must not take these for ours.
		recs = append(recs, &logmap.ExtentRecord{TP: p.topicPartition, Extent: logmap.Extent{
			Generation: gen, Cluster: v.dead, Logical: next, SequenceBase: v.end, Tenure: tenure, Dead: true, Before: v.next}})
		gen++
	}
	if v.voids {
		recs = append(recs, &logmap.ExtentRecord{TP: p.topicPartition, Extent: logmap.Extent{
			Generation: gen, Cluster: v.void, Logical: v.next, SequenceBase: v.end, Tenure: uint16(l.Tenure), Before: v.next}})
		tenure = uint16(l.Tenure)
	}
	first := logmap.Extent{Generation: gen, Cluster: v.end, Logical: next, SequenceBase: v.end, Tenure: tenure, Before: v.next}
	recs = append(recs, &logmap.ExtentRecord{TP: p.topicPartition, Extent: first})
	p.beginning = true
	// From here the standing is history: to begin again takes a seal, so that it
	// is read from the log anew.
	p.slot.w.known[p.topicPartition] = closed(p.topicPartition, true, "it was stopped")
	l.mapWrite(p.slot, recs, func() {
		p.beginning = false
		p.cur = cursor{source: at, next: next, epoch: -1}
		p.position, p.end, p.planEnd, p.plan, p.fresh = at, v.end, v.end, first, v.fresh
		p.intents = make(map[int64]*intent)
		for id, in := range p.slot.w.state.Partition(p.topicPartition).Intents() {
			if n := len(in.Batches); n > 0 {
				p.intents[id] = &intent{in, in.Batches[n-1].Logical}
			}
		}
		p.state, p.reason, p.tries = stateMirroring, "", 0
		delete(l.starting, p.topicPartition)
	})
}
