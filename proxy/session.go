package proxy

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

const (
	// bootstrap is the node of a session on the bootstrap port: it stands for
	// no broker.
	bootstrap int32 = -1
	// maxUnanswered bounds the requests of one session that are read and not
	// answered; past it the socket is not read. Brokers serve one at a time, and
	// idempotent clients have at most 5 out.
	maxUnanswered = 128
	// frameWithin is how long a produce request may take to arrive once the
	// budget has room for it: a client that stops in the middle of a large one
	// (paused, say) would keep all others from writing.
	frameWithin = 30 * time.Second
)

// session is one client connection.
//
//	reader ──order──────────────────────────► writer     answers, in request order
//	   ├────produces──► producer (loop, owns the produce lanes)
//	   └────others────► worker (one at a time, as a broker serves a connection)
//
// The reader starts the others when they are first needed. Every goroutine ends
// when ctx does, except that the producer stays until the outcome of what it has
// sent is known (bounded by Hold), because a planned fence waits for that.
type session struct {
	p    *Proxy
	id   uint64
	node int32
	conn net.Conn
	log  *slog.Logger

	ctx    context.Context
	cancel context.CancelCauseFunc
	// gone is set before anything else when the client's end is seen: from then
	// on nothing of it is sent that was not sent before (acks=0 apart).
	gone atomic.Bool

	order    chan *slot
	others   chan *slot
	producer *producer
	held     atomic.Int64 // bytes of the budget
	open     atomic.Int64 // unanswered requests

	wg sync.WaitGroup

	mu     sync.Mutex
	conns  map[int32]*upstream // of the worker, by broker
	era    *era                // that conns belong to
	connWG sync.WaitGroup
}

var (
	errClientGone  = errors.New("the client closed the connection")
	errSessionOver = errors.New("the session is over")
	errProxyOver   = errors.New("the sidecar is shutting down")
)

// slot is the place of one request in the order of answers.
type slot struct {
	head    protocol.RequestHeader
	row     *protocol.Row
	req     kmsg.Request // client form; nobody changes it
	bytes   int64        // taken from the budget
	arrived time.Time
	produce *produceRequest // owned by the producer

	mu     sync.Mutex
	answer answer
	// ready is signalled when answer was set.
	ready chan struct{}
	// committed is set when the answer may no longer be taken back.
	committed atomic.Bool
}

// answer is a response in client form and the eras on whose word it stands.
type answer struct {
	resp kmsg.Response
	eras []*era
	// told is what the leaders said of which a fetch's resp was made.
	told []kmsg.Response
}

func (sl *slot) set(a answer) {
	sl.mu.Lock()
	sl.answer = a
	sl.mu.Unlock()
	select {
	case sl.ready <- struct{}{}:
	default:
	}
}

func (sl *slot) get() answer {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return sl.answer
}

// accept serves a listener until it closes.
func (p *Proxy) accept(l net.Listener, node int32) {
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		for {
			conn, err := l.Accept()
			if err != nil {
				if p.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && !p.nodes.isClosed() {
					p.log.Error("accepting a client", "node", node, "error", err)
					select { // out of file descriptors, perhaps: do not spin
					case <-time.After(100 * time.Millisecond):
						continue
					case <-p.ctx.Done():
					}
				}
				return
			}
			p.begin(conn, node)
		}
	}()
}

func (p *Proxy) begin(conn net.Conn, node int32) {
	ctx, cancel := context.WithCancelCause(p.ctx)
	id := p.stats.sessionsEver.Add(1)
	s := &session{
		p: p, id: id, node: node, conn: conn, log: p.log.With("session", id),
		ctx: ctx, cancel: cancel,
		order: make(chan *slot, maxUnanswered), conns: make(map[int32]*upstream),
	}
	p.stats.sessions.Add(1)
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		defer p.stats.sessions.Add(-1)
		s.run()
	}()
}

func (s *session) run() {
	stop := context.AfterFunc(s.ctx, func() { s.conn.Close() })
	s.wg.Add(1)
	go s.write()
	err := s.read()
	s.gone.Store(true)
	s.end(err)
	if s.producer != nil {
		close(s.producer.in)
	}
	if s.others != nil {
		close(s.others)
	}
	s.wg.Wait()
	stop()
	s.conn.Close()
	s.closeConns()
	s.p.budget.release(s.held.Swap(0))
	s.p.stats.unanswered.Add(-s.open.Swap(0))
	s.p.groups.sessionEnded(s)
}

// end closes the session for a reason; the first one is logged.
func (s *session) end(err error) {
	if s.ctx.Err() != nil {
		return
	}
	s.gone.Store(true)
	s.cancel(err)
	if errors.Is(err, errClientGone) {
		s.log.Debug("session over", "reason", err)
		return
	}
	s.log.Warn("session closed", "reason", err)
}

// read reads requests until the client goes or sends what no broker would take.
func (s *session) read() error {
	r := bufio.NewReaderSize(s.conn, 16<<10)
	for {
		sl, err := s.next(r)
		if err != nil {
			return err
		}
		s.open.Add(1)
		s.p.stats.unanswered.Add(1)
		if !s.hand(sl) {
			return context.Cause(s.ctx)
		}
	}
}

func (s *session) next(r *bufio.Reader) (*slot, error) {
	held, err := s.reserve(r)
	if err != nil {
		return nil, err
	}
	if held > 0 {
		s.conn.SetReadDeadline(time.Now().Add(frameWithin))
	}
	frame, err := protocol.ReadFrame(r, s.p.cfg.MaxRequestBytes)
	if held > 0 {
		s.conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		return nil, clientGone(err)
	}
	s.p.stats.bytesIn.Add(int64(len(frame)) + 4)
	head, body, err := protocol.ParseRequest(frame)
	if err != nil {
		return nil, fmt.Errorf("malformed request: %w", err)
	}
	row, ok := protocol.Lookup(head.Key)
	if !ok {
		return nil, fmt.Errorf("request for API %d (%s), which is not served here", head.Key, kmsg.NameForKey(head.Key))
	}
	sl := &slot{head: head, row: row, bytes: held, arrived: time.Now(), ready: make(chan struct{}, 1)}
	s.p.stats.request(head.Key)
	if head.Key == int16(kmsg.ApiVersions) && (head.Version < row.Min || head.Version > row.Max) {
		// The one API whose unknown versions are answered (KIP-511); the body is
		// of a format that need not be known.
		sl.req = kmsg.NewPtrApiVersionsRequest()
		sl.req.SetVersion(head.Version)
		return sl, nil
	}
	if head.Version < row.Min || head.Version > row.Max {
		return nil, fmt.Errorf("%s request of version %d, %d to %d are served", row.Name, head.Version, row.Min, row.Max)
	}
	if sl.req, err = protocol.ParseBody(head, body); err != nil {
		return nil, fmt.Errorf("malformed request: %w", err)
	}
	return sl, nil
}

// reserve waits until the budget has room for the next frame, if that is a
// produce request. Nothing else counts: a heartbeat must get through while
// writes are held.
func (s *session) reserve(r *bufio.Reader) (int64, error) {
	peek, err := r.Peek(4) // size i32
	if err != nil {
		return 0, clientGone(err)
	}
	size := int32(binary.BigEndian.Uint32(peek))
	if size < 2 || size > s.p.cfg.MaxRequestBytes {
		return 0, nil // ReadFrame will say what is wrong
	}
	if peek, err = r.Peek(6); err != nil { // key i16
		return 0, clientGone(err)
	}
	if binary.BigEndian.Uint16(peek[4:]) != uint16(kmsg.Produce) {
		return 0, nil
	}
	if !s.p.budget.acquire(s.ctx, int64(size)) {
		return 0, context.Cause(s.ctx)
	}
	s.held.Add(int64(size))
	return int64(size), nil
}

func clientGone(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || isReset(err) || errors.Is(err, io.ErrClosedPipe) {
		return fmt.Errorf("%w (%v)", errClientGone, err)
	}
	return err
}

// isReset says whether the peer reset the connection.
func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// hand gives a request to who serves it; it blocks while too many are
// unanswered. false: the session is over.
func (s *session) hand(sl *slot) bool {
	produce, ok := sl.req.(*kmsg.ProduceRequest)
	if !ok || produce.Acks != 0 { // acks=0: no answer is written
		select {
		case s.order <- sl:
		case <-s.ctx.Done():
			return false
		}
	}
	if ok {
		if s.producer == nil {
			s.producer = newProducer(s)
			s.wg.Add(1)
			go s.producer.run()
		}
		select {
		case s.producer.in <- sl:
			return true
		case <-s.ctx.Done():
			return false
		}
	}
	if s.others == nil {
		s.others = make(chan *slot, maxUnanswered)
		s.wg.Add(1)
		go s.work()
	}
	select {
	case s.others <- sl:
		return true
	case <-s.ctx.Done():
		return false
	}
}
