package proxy

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// work serves everything but Produce, one request at a time in arrival order:
// that is what a broker does with one connection, and what clients rely on (a
// commit never overtakes an earlier one).
func (s *session) work() {
	defer s.wg.Done()
	for sl := range s.others {
		if s.ctx.Err() != nil {
			continue
		}
		sl.set(s.serve(sl))
	}
}

// serveAgain replaces an answer that stood on a revoked word. It runs on the
// writer's goroutine, which has nothing else to do before the slot is answered.
func (s *session) serveAgain(sl *slot) {
	switch sl.head.Key {
	case int16(kmsg.Fetch):
		sl.set(answer{resp: s.emptyFetch(sl.req.(*kmsg.FetchRequest))})
	default:
		sl.set(s.serve(sl))
	}
}

// serve makes the answer to a request. Answers that show offsets of a cluster
// carry its era, so that a fence can take them back; what the others say stays
// true after a fence.
func (s *session) serve(sl *slot) answer {
	switch req := sl.req.(type) {
	case *kmsg.ApiVersionsRequest:
		return answer{resp: s.apiVersions(sl)}
	case *kmsg.MetadataRequest:
		return answer{resp: s.metadata(sl, req)}
	case *kmsg.FetchRequest:
		return s.fetch(sl, req)
	case *kmsg.OffsetForLeaderEpochRequest:
		return s.epochEnds(sl, req)
	case *kmsg.JoinGroupRequest:
		return answer{resp: s.joinGroup(sl, req)}
	case *kmsg.SyncGroupRequest:
		return answer{resp: s.syncGroup(sl, req)}
	case *kmsg.HeartbeatRequest:
		return answer{resp: s.heartbeat(sl, req)}
	case *kmsg.LeaveGroupRequest:
		return answer{resp: s.leaveGroup(sl, req)}
	case *kmsg.OffsetCommitRequest:
		return answer{resp: s.offsetCommit(sl, req)}
	}
	if sl.row.Answer != nil {
		if _, ok := s.awaitFirst(s.deadline(sl)); !ok {
			return answer{resp: sl.row.Fail(sl.req, heldCode(sl.head.Key))}
		}
		return answer{resp: sl.row.Answer(s.p.hereView(), sl.req)}
	}
	pace := pace{}
	if timed, ok := sl.req.(kmsg.TimeoutRequest); ok {
		// What changes topics may take the controller long. To repeat it would
		// bring the client an error about what it has just done itself.
		pace.ask = min(max(time.Duration(timed.Timeout())*time.Millisecond, 0), s.p.cfg.Hold)
	}
	resp, e := s.forwardAs(sl, sl.row, sl.req, s.deadline(sl), pace, nil)
	if e != nil && sl.head.Key == int16(kmsg.ListOffsets) {
		return answer{resp: resp, eras: []*era{e}}
	}
	return answer{resp: resp}
}

// deadline is when a request must be answered at the latest.
func (s *session) deadline(sl *slot) time.Time { return sl.arrived.Add(s.p.cfg.Hold) }

// await waits until requests flow. false: not before deadline, or the session
// is over.
func (s *session) await(deadline time.Time) (*situation, bool) {
	return s.awaitState(deadline, func(now *situation) bool { return now.state == serving })
}

// awaitFirst waits until something was served once.
func (s *session) awaitFirst(deadline time.Time) (*situation, bool) {
	return s.awaitState(deadline, func(now *situation) bool { return now.state != waiting })
}

func (s *session) awaitState(deadline time.Time, want func(*situation) bool) (*situation, bool) {
	var timer *time.Timer
	for {
		now := s.p.gate.now.Load()
		if want(now) {
			return now, s.ctx.Err() == nil
		}
		if timer == nil {
			timer = time.NewTimer(time.Until(deadline))
			defer timer.Stop()
		}
		select {
		case <-now.changed:
		case <-timer.C:
			return now, false
		case <-s.ctx.Done():
			return now, false
		}
	}
}

// pause waits d, less if the situation changes. false: the session is over.
func (s *session) pause(now *situation, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-now.changed:
	case <-s.ctx.Done():
	}
	return s.ctx.Err() == nil
}

func retryAfter(attempt int) time.Duration { return min(firstBackoff<<min(attempt, 4), maxBackoff) }

// pace is how long an attempt may take.
type pace struct {
	// ask is how long the request asks its broker to wait.
	ask time.Duration
	// within, if set, bounds the attempt: the connection is given up after it.
	within time.Duration
}

// forward sends a request to where its row says until it has an answer that a
// client may see, at most for Hold. The era is nil when the answer is ours.
func (s *session) forward(sl *slot, row *protocol.Row, req kmsg.Request) (kmsg.Response, *era) {
	return s.forwardAs(sl, row, req, s.deadline(sl), pace{}, nil)
}

// prepare turns a client's request into what is sent in an era, or answers it
// here.
type prepare func(e *era) (send kmsg.Request, here kmsg.Response)

// forwardAs is forward with a deadline after which no attempt begins. With as,
// each attempt asks it what to send.
func (s *session) forwardAs(sl *slot, row *protocol.Row, req kmsg.Request, deadline time.Time, pace pace, as prepare) (kmsg.Response, *era) {
	for attempt := 0; ; attempt++ {
		now, ok := s.await(deadline)
		if !ok {
			return row.Fail(req, heldCode(row.Key)), nil
		}
		send := req
		if as != nil {
			var here kmsg.Response
			if send, here = as(now.era); here != nil {
				return here, nil
			}
		}
		if row.Write && !now.era.beginWrite(false) {
			continue // it was shut a moment ago: wait for the next situation
		}
		resp, err := s.attempt(now.era, sl, row, send, pace, attempt)
		if row.Write {
			now.era.endWrite()
		}
		if err == nil {
			return resp, now.era
		}
		var refused *protocol.RefusedError
		if errors.As(err, &refused) {
			s.log.Warn("request refused", "api", row.Name, "reason", refused.Reason)
			return row.Fail(req, refused.Code), nil
		}
		s.log.Debug("attempt failed", "api", row.Name, "cluster", now.era.cluster.name, "error", err)
		s.p.stats.retries.Add(1)
		if !time.Now().Before(deadline) || !s.pause(now, retryAfter(attempt)) {
			return row.Fail(req, heldCode(row.Key)), nil
		}
	}
}

// epochEnds answers OffsetForLeaderEpoch with the logical ends of the log.
func (s *session) epochEnds(sl *slot, req *kmsg.OffsetForLeaderEpochRequest) answer {
	row, _ := protocol.Lookup(int16(kmsg.ListOffsets))
	list := kmsg.NewPtrListOffsetsRequest()
	list.Version = 4
	for i := range req.Topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = req.Topics[i].Partitions[j].Partition, -1
			t.Partitions = append(t.Partitions, p)
		}
		list.Topics = append(list.Topics, t)
	}
	resp, e := s.forward(sl, row, list)
	ends := make(map[logmap.TopicPartition]kmsg.ListOffsetsResponseTopicPartition)
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			ends[logmap.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = p
		}
	}
	a := answer{resp: protocol.EpochEnds(req, func(topic string, partition int32) (logmap.Logical, int16) {
		p, ok := ends[logmap.TopicPartition{Topic: topic, Partition: partition}]
		if !ok {
			return -1, codeUnknownTopicOrPartition
		}
		return logmap.Logical(p.Offset), p.ErrorCode
	})}
	if e != nil {
		a.eras = []*era{e}
	}
	return a
}

// apiVersions answers with what the table and the clusters serve. An answer
// holds for the connection's life, so it waits until each cluster was asked once;
// one that was never reached is left out.
func (s *session) apiVersions(sl *slot) kmsg.Response {
	deadline := s.deadline(sl)
	s.awaitFirst(deadline)
	var known []map[int16]protocol.VersionRange
	for _, name := range s.p.clusterNames {
		c := s.p.clusters[name]
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-c.tried:
		case <-timer.C:
		case <-s.ctx.Done():
		}
		timer.Stop()
		if v := c.versions.Load(); v != nil {
			known = append(known, *v)
			continue
		}
		c.unversed.Do(func() {
			s.log.Warn("a cluster was never reached; clients are offered versions that it may not have", "cluster", name, "api", "ApiVersions")
		})
	}
	if len(known) == 0 {
		s.end(errors.New("no cluster was reached yet, so no versions can be advertised"))
	}
	return protocol.ApiVersionsResponse(sl.head.Version, known...)
}
