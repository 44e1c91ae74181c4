package proxy

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

const (
	// fetchGrace is how long a fetch may be out beyond what it asked to wait
	// before its client gets an empty answer.
	fetchGrace = time.Second
	// scatterWait is the wait of one round when a fetch has to ask several
	// brokers: one that has nothing must not keep what another has.
	scatterWait = 50 * time.Millisecond
)

// fetch answers Fetch: with what the leaders have, and empty while nothing flows
// or nobody answers. Empty is the one answer that every client takes silently.
// No fetch is out longer than FetchWait (and a grace), so that none is parked
// across a cutover.
func (s *session) fetch(sl *slot, req *kmsg.FetchRequest) answer {
	wait := min(max(time.Duration(req.MaxWaitMillis)*time.Millisecond, 0), s.p.cfg.FetchWait)
	// An empty answer is not given at once: the client would spin.
	patient := sl.arrived.Add(max(wait, min(s.p.cfg.FetchWait, 100*time.Millisecond)))
	now := s.p.gate.now.Load()
	for attempt := 0; now.state == serving; attempt++ {
		a, err := s.attemptFetch(now.era, sl, req, wait)
		if err == nil {
			return a
		}
		var refused *protocol.RefusedError
		if errors.As(err, &refused) {
			return answer{resp: sl.row.Fail(req, refused.Code)}
		}
		s.log.Debug("attempt failed", "api", "Fetch", "cluster", now.era.cluster.name, "error", err)
		s.p.stats.retries.Add(1)
		left := time.Until(patient)
		if left <= 0 || !s.pause(now, min(retryAfter(attempt), left)) {
			break
		}
		now = s.p.gate.now.Load()
		wait = min(wait, max(time.Until(patient), 0))
	}
	if left := time.Until(patient); left > 0 {
		timer := time.NewTimer(left)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
		}
	}
	return answer{resp: s.emptyFetch(req)}
}

// emptyFetch is a success without records. The high watermark is the last one
// that was shown, or else the position that is asked for (kafka-go takes a
// watermark at its position for "nothing there"; -1 would look like records).
func (s *session) emptyFetch(req *kmsg.FetchRequest) kmsg.Response {
	row, _ := protocol.Lookup(req.Key())
	resp := row.Fail(req, 0).(*kmsg.FetchResponse)
	var name func(string, protocol.TopicID) string
	if now := s.p.gate.now.Load(); now.era != nil {
		name = s.p.nameOf(now.era)
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			s.emptyPart(&t.Partitions[j], t.Topic, t.TopicID, req.Topics[i].Partitions[j].FetchOffset, name)
		}
	}
	return resp
}

func (s *session) emptyPart(p *kmsg.FetchResponseTopicPartition, topic string, id protocol.TopicID, from int64, name func(string, protocol.TopicID) string) {
	partition := p.Partition
	*p = kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.PreferredReadReplica, p.LogStartOffset = partition, -1, -1
	p.RecordBatches = []byte{} // never null, as from brokers: kafka-clients 2.8 and kafka-python fall over it
	shown := int64(0)
	if name != nil {
		shown = int64(s.p.exposed.of(name(topic, id), partition))
	}
	p.HighWatermark = max(shown, from)
	p.LastStableOffset = p.HighWatermark
}

// attemptFetch asks the leaders once (in rounds, when there are several).
func (s *session) attemptFetch(e *era, sl *slot, req *kmsg.FetchRequest, wait time.Duration) (answer, error) {
	view, meta := s.p.view(e)
	row := sl.row
	parts := row.Split(view, req, func(topic string, partition int32) int32 {
		leader, known := meta.leader(topic, partition)
		switch {
		case !known:
			return -1
		case leader < 0:
			return -2
		}
		return leader
	})
	if part, ok := parts[-1]; ok {
		e.cluster.want()
		// The cluster says what is wrong with partitions that nobody knows.
		delete(parts, -1)
		to := s.ownBroker(meta, 0)
		if have, clash := parts[to]; clash {
			parts[to] = joinFetch(have.(*kmsg.FetchRequest), part.(*kmsg.FetchRequest))
		} else {
			parts[to] = part
		}
	}
	if _, ok := parts[-2]; ok {
		e.cluster.want()
		delete(parts, -2) // answered empty below
	}
	if len(parts) == 0 {
		return answer{}, errors.New("no partition has a leader now")
	}
	if len(parts) == 1 {
		for broker, part := range parts {
			resp, err := s.fetchFrom(e, sl, part.(*kmsg.FetchRequest), broker, view, meta, wait)
			if err != nil {
				return answer{}, err
			}
			return s.completeFetch(e, view, meta, req, []kmsg.Response{resp})
		}
	}
	until := time.Now().Add(wait)
	for round := time.Duration(0); ; round = scatterWait {
		answers, err := s.scatterFetch(e, sl, parts, view, meta, min(round, max(time.Until(until), 0)))
		if err != nil {
			return answer{}, err
		}
		if anyFetched(answers) || !time.Now().Before(until) || s.ctx.Err() != nil || !e.returnable() {
			return s.completeFetch(e, view, meta, req, answers)
		}
	}
}

// scatterFetch asks every leader; an error only if none answered.
func (s *session) scatterFetch(e *era, sl *slot, parts map[int32]kmsg.Request, view *protocol.View, meta *metadata, wait time.Duration) ([]kmsg.Response, error) {
	type outcome struct {
		resp kmsg.Response
		err  error
	}
	outcomes := make(chan outcome, len(parts))
	for broker, part := range parts {
		go func() {
			resp, err := s.fetchFrom(e, sl, part.(*kmsg.FetchRequest), broker, view, meta, wait)
			outcomes <- outcome{resp, err}
		}()
	}
	var answers []kmsg.Response
	var failed error
	for range parts {
		if o := <-outcomes; o.err != nil {
			failed = o.err
		} else {
			answers = append(answers, o.resp)
		}
	}
	if len(answers) == 0 {
		return nil, failed
	}
	return answers, nil
}

func (s *session) fetchFrom(e *era, sl *slot, part *kmsg.FetchRequest, broker int32, view *protocol.View, meta *metadata, wait time.Duration) (kmsg.Response, error) {
	addr := meta.addrs[broker]
	if addr == "" {
		e.cluster.want()
		return nil, errors.New("the leader is not in the cluster's metadata")
	}
	send := protocol.Clone(part).(*kmsg.FetchRequest)
	if err := sl.row.Request(view, send); err != nil {
		return nil, err
	}
	send.MaxWaitMillis = int32(wait / time.Millisecond)
	c := &call{req: send, clientID: sl.head.ClientID, ask: wait}
	if _, err := s.ask(e, broker, addr, c, wait+fetchGrace); err != nil {
		e.cluster.want()
		return nil, err
	}
	if err := sl.row.Response(view, part, c.resp); err != nil {
		return nil, err
	}
	return c.resp, nil
}

// errNothingNow says that a fetch got no records and an error that will pass.
var errNothingNow = errors.New("a leader is not there now")

// completeFetch answers every partition of req: what the leaders said, and empty
// for those whose leader is not there now. When that is all there is, it is an
// error: answered at once, the client would spin.
func (s *session) completeFetch(e *era, view *protocol.View, meta *metadata, req *kmsg.FetchRequest, answers []kmsg.Response) (answer, error) {
	row, _ := protocol.Lookup(req.Key())
	resp := row.Merge(view, req, answers, codeNotLeader).(*kmsg.FetchResponse)
	for _, a := range answers {
		if code := a.(*kmsg.FetchResponse).ErrorCode; passing(code) {
			return answer{}, errNothingNow
		} else if code != 0 {
			resp.ErrorCode = code
		}
	}
	name, emptied := s.p.nameOf(e), false
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.ErrorCode == 0 || !willPass(p, t.Topic, t.TopicID, view, meta) {
				continue
			}
			emptied = true
			s.emptyPart(p, t.Topic, t.TopicID, req.Topics[i].Partitions[j].FetchOffset, name)
		}
	}
	if emptied {
		e.cluster.want()
		if !anyFetched([]kmsg.Response{resp}) {
			return answer{}, errNothingNow
		}
	}
	return answer{resp: resp, eras: []*era{e}, told: answers}, nil
}

// willPass says whether a partition's error is one that its client must not see:
// UNKNOWN_TOPIC_* is the truth only about what this process does not know either.
func willPass(p *kmsg.FetchResponseTopicPartition, topic string, id protocol.TopicID, view *protocol.View, meta *metadata) bool {
	switch p.ErrorCode {
	case codeUnknownTopicID:
		_, _, known := view.Topics.ByClientID(id)
		return known
	case codeUnknownTopicOrPartition:
		_, known := meta.leader(topic, p.Partition)
		return known
	}
	return passing(p.ErrorCode)
}

func anyFetched(answers []kmsg.Response) bool {
	for _, a := range answers {
		for _, t := range a.(*kmsg.FetchResponse).Topics {
			for i := range t.Partitions {
				if len(t.Partitions[i].RecordBatches) > 0 || t.Partitions[i].ErrorCode != 0 {
					return true
				}
			}
		}
	}
	return false
}

// joinFetch is one request for the partitions of two.
func joinFetch(a, b *kmsg.FetchRequest) *kmsg.FetchRequest {
	both := *a
	both.Topics = append(append([]kmsg.FetchRequestTopic{}, a.Topics...), b.Topics...)
	return &both
}
