package proxy

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// write writes answers in request order.
func (s *session) write() {
	defer s.wg.Done()
	var out outBuffer
	for {
		var sl *slot
		select {
		case sl = <-s.order:
		case <-s.ctx.Done():
			return
		}
		resp := s.settle(sl)
		if resp == nil {
			return
		}
		// Before the write, which may block on a client that does not read: it
		// must not keep others from being read.
		s.settled(sl)
		buf := protocol.AppendResponse(out.get(protocol.SizeHint(resp)), sl.head.CorrelationID, resp)
		_, err := s.conn.Write(buf)
		size := int64(len(buf))
		out.put(buf)
		if err != nil {
			s.end(clientGone(fmt.Errorf("writing to the client: %w", err)))
			return
		}
		s.p.stats.bytesOut.Add(size)
	}
}

// settle waits for the slot's answer and commits to it. An answer that was
// revoked meanwhile is not returned: a produce waits for its replay, the rest is
// served again. nil: the session is over.
func (s *session) settle(sl *slot) kmsg.Response {
	for {
		select {
		case <-sl.ready:
		case <-s.ctx.Done():
			return nil
		}
		a := sl.get()
		if a.resp == nil {
			continue // taken back by its owner
		}
		ok := s.p.gate.commit(a.eras, func() {
			sl.committed.Store(true)
			s.expose(sl, a)
		})
		if ok {
			return a.resp
		}
		if sl.head.Key != int16(kmsg.Produce) {
			s.serveAgain(sl)
		}
	}
}

// expose notes what the client is about to be shown.
func (s *session) expose(sl *slot, a answer) {
	switch sl.head.Key {
	case int16(kmsg.Fetch):
		// Not resp: what is answered empty there shows the client's own position.
		for _, told := range a.told {
			s.p.exposed.noteAnswer(sl.req, told, s.p.nameOf(a.eras[0]))
		}
	case int16(kmsg.ListOffsets), int16(kmsg.OffsetForLeaderEpoch):
		if len(a.eras) > 0 {
			s.p.exposed.noteAnswer(sl.req, a.resp, nil)
		}
	case int16(kmsg.Produce):
		s.producer.expose(sl, a)
	}
}

// settled frees what a request held whose answer is final.
func (s *session) settled(sl *slot) {
	s.open.Add(-1)
	s.p.stats.unanswered.Add(-1)
	if sl.bytes > 0 {
		s.held.Add(-sl.bytes)
		s.p.budget.release(sl.bytes)
	}
	if sl.head.Key == int16(kmsg.Produce) {
		s.producer.answered(sl)
	}
}
