package proxy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// attempt makes one attempt, the n-th. An error is a *protocol.RefusedError or passing.
func (s *session) attempt(e *era, sl *slot, row *protocol.Row, req kmsg.Request, pace pace, n int) (kmsg.Response, error) {
	view, meta := s.p.view(e)
	switch row.Destination {
	case protocol.Leaders:
		return s.attemptLeaders(e, sl, row, req, view, meta, n)
	case protocol.GroupCoordinator:
		if row.PerGroup != nil {
			if parts := row.PerGroup(req); len(parts) != 1 {
				return s.attemptGroups(e, sl, row, req, parts, view, meta)
			}
		}
		return s.attemptGroup(e, sl, row, req, view, meta, pace)
	case protocol.Controller:
		to := meta.controller
		if n > 0 || meta.addrs[to] == "" {
			to = s.ownBroker(meta, n) // every broker of a KRaft cluster forwards
		}
		return s.exchange(e, sl, row, req, to, view, meta, pace)
	default:
		return s.exchange(e, sl, row, req, s.ownBroker(meta, n), view, meta, pace)
	}
}

// ownBroker is the broker that this session's node stands for, if it is there;
// for the bootstrap port, and for a node beyond a smaller cluster's brokers, some
// broker. Repeated attempts go round: metadata names a dead broker for seconds.
func (s *session) ownBroker(meta *metadata, attempt int) int32 {
	at := int(s.id)
	if s.node >= 0 && int(s.node) < len(meta.order) {
		if own := slices.Index(meta.brokers, meta.order[s.node]); own >= 0 {
			at = own
		}
	}
	return meta.brokers[(at+attempt)%len(meta.brokers)]
}

func (s *session) attemptLeaders(e *era, sl *slot, row *protocol.Row, req kmsg.Request, view *protocol.View, meta *metadata, n int) (kmsg.Response, error) {
	parts := row.Split(view, req, func(topic string, partition int32) int32 {
		leader, known := meta.leader(topic, partition)
		if !known {
			return -1
		}
		if leader < 0 {
			return -2
		}
		return leader
	})
	if _, leaderless := parts[-2]; leaderless {
		e.cluster.want()
		return nil, errors.New("a partition has no leader now")
	}
	if _, unknown := parts[-1]; unknown && !meta.at.After(sl.arrived) {
		ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
		defer cancel()
		if _, err := e.cluster.freshFrom(ctx, sl.arrived); err != nil {
			return nil, err
		}
		return nil, errors.New("a partition was not known; metadata was refreshed")
	}
	type outcome struct {
		resp kmsg.Response
		err  error
	}
	outcomes := make(chan outcome, len(parts))
	for broker, part := range parts {
		known := broker >= 0
		if !known {
			broker = s.ownBroker(meta, n) // it will say what is wrong
		}
		go func() {
			resp, err := s.exchange(e, sl, row, part, broker, view, meta, pace{})
			if err == nil && known && anyCode(resp, func(code int16) bool { return code == codeUnknownTopicOrPartition }) {
				e.cluster.want()
				err = fmt.Errorf("broker %d does not know yet a partition that it leads", broker)
			}
			outcomes <- outcome{resp, err}
		}()
	}
	var answers []kmsg.Response
	var failed error
	for range parts {
		o := <-outcomes
		if o.err != nil {
			failed = o.err
			continue
		}
		answers = append(answers, o.resp)
	}
	if failed != nil {
		return nil, failed
	}
	if len(answers) == 1 {
		return answers[0], nil
	}
	return row.Merge(view, req, answers, codeUnknownTopicOrPartition), nil
}

func (s *session) attemptGroups(e *era, sl *slot, row *protocol.Row, req kmsg.Request, parts []kmsg.Request, view *protocol.View, meta *metadata) (kmsg.Response, error) {
	var answers []kmsg.Response
	for _, part := range parts {
		resp, err := s.attemptGroup(e, sl, row, part, view, meta, pace{})
		if err != nil {
			return nil, err
		}
		answers = append(answers, resp)
	}
	return row.Merge(view, req, answers, codeCoordinatorLoading), nil
}

func (s *session) attemptGroup(e *era, sl *slot, row *protocol.Row, req kmsg.Request, view *protocol.View, meta *metadata, pace pace) (kmsg.Response, error) {
	group := row.Group(req)
	// A dead cluster answers no lookup, and the era may end meanwhile.
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	broker, err := e.cluster.coordinator(ctx, group)
	if err != nil {
		return nil, err
	}
	resp, err := s.exchange(e, sl, row, req, broker, view, meta, pace)
	if err != nil {
		e.cluster.forget(group)
	}
	return resp, err
}

// exchange sends a request, given in client form, to one broker and returns the
// answer in client form.
func (s *session) exchange(e *era, sl *slot, row *protocol.Row, req kmsg.Request, broker int32, view *protocol.View, meta *metadata, pace pace) (kmsg.Response, error) {
	if meta.addrs[broker] == "" {
		e.cluster.want()
		return nil, fmt.Errorf("broker %d is not in the cluster's metadata", broker)
	}
	send := protocol.Clone(req)
	if row.Request != nil {
		if err := row.Request(view, send); err != nil {
			return nil, err
		}
	}
	resp, err := s.ask(e, broker, meta.addrs[broker], &call{req: send, clientID: sl.head.ClientID, ask: pace.ask}, pace.within)
	if err != nil {
		e.cluster.want()
		return nil, err
	}
	if row.Key != int16(kmsg.Fetch) {
		if anyCode(resp, func(code int16) bool { return passing(code) && !s.isAboutUnknown(code, view, req) }) {
			e.cluster.want()
			return nil, fmt.Errorf("broker %d answered with an error that will pass", broker)
		}
	}
	if row.Response != nil {
		if err := row.Response(view, req, resp); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// isAboutUnknown says whether an UNKNOWN_TOPIC_ID is the truth: a client asks for
// an id that is no topic's.
func (s *session) isAboutUnknown(code int16, view *protocol.View, req kmsg.Request) bool {
	if code != codeUnknownTopicID {
		return false
	}
	unknown := false
	eachTopicID(req, func(id protocol.TopicID) {
		if _, _, ok := view.Topics.ByClientID(id); !ok {
			unknown = true
		}
	})
	return unknown
}

// ask sends one call and waits for its outcome; with within it gives the
// connection up when nothing has come for that time, so that nothing queues
// behind a broker that does not answer.
func (s *session) ask(e *era, broker int32, addr string, c *call, within time.Duration) (kmsg.Response, error) {
	done := make(chan struct{})
	c.finish = func(*call) { close(done) }
	u := s.workerConn(e, broker, addr)
	u.do(c)
	if within <= 0 {
		within = time.Hour // the connection has its own patience
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case <-done:
			return c.resp, c.err
		case <-late.C:
			if left := time.Until(time.Unix(0, u.heard.Load()).Add(within)); left > 0 {
				late.Reset(left)
				continue
			}
			u.fail(fmt.Errorf("broker %d at %s gave no answer to a %s request within %v", broker, addr, kmsg.NameForKey(c.req.Key()), within))
			<-done
			return c.resp, c.err
		case <-s.ctx.Done():
			return nil, context.Cause(s.ctx)
		}
	}
}

// workerConn is the worker's connection to a broker, made if need be.
func (s *session) workerConn(e *era, broker int32, addr string) *upstream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.era != e {
		for b, u := range s.conns {
			u.fail(errSessionOver)
			delete(s.conns, b)
		}
		s.era = e
	}
	u := s.conns[broker]
	if u == nil || u.broken() || u.addr != addr {
		s.connWG.Add(1)
		u = e.dial(broker, addr, s.p.patience(), s.connWG.Done)
		s.conns[broker] = u
	}
	return u
}

func (s *session) closeConns() {
	s.mu.Lock()
	conns := s.conns
	s.conns = make(map[int32]*upstream)
	s.mu.Unlock()
	for _, u := range conns {
		u.fail(errSessionOver)
	}
	s.connWG.Wait()
}
