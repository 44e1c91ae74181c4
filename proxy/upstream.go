package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// upstream is one connection of a session to a broker of an era's cluster.
// Requests are pipelined; a broker answers them in order. It dials when made.
// The first failure ends it: every call that was not answered finishes with the
// error, in the order in which they were made.
type upstream struct {
	era    *era
	addr   string
	broker int32
	// patience is how long a request may be out, beyond what it asked to wait,
	// before the connection is given up.
	patience time.Duration
	done     func() // called when all goroutines of the connection have ended
	// heard is when bytes last came (Unix nanoseconds). Answers come in order,
	// so they are those of the oldest call: what is large, or comes over a slow
	// link, is not given up while it moves.
	heard atomic.Int64

	mu    sync.Mutex
	conn  net.Conn
	err   error   // why it ended
	queue []*call // not handed to the network yet
	sent  []*call // handed to the network, oldest first
	last  int32   // correlation id
	timer *time.Timer
	wake  chan struct{}
	ended chan struct{} // closed with err
}

// call is one request on an upstream connection.
type call struct {
	req      kmsg.Request // as sent
	clientID *string
	// ask is how long the request asks the broker to wait.
	ask time.Duration
	// finish runs once, on the connection's goroutine, when resp or err is set.
	// It must not block.
	finish func(*call)

	resp kmsg.Response
	err  error
	// sent says whether the broker may have seen the request: an error without
	// it is proof that nothing was written.
	sent bool

	id    int32
	since time.Time
	// moved is when bytes of it last went out (Unix nanoseconds).
	moved atomic.Int64
	parts []*item // of a produce
	view  *protocol.View
	span  time.Duration
}

// maxAnswer bounds a frame from a broker: a fetch answer may exceed the
// client's max bytes by one batch, and both are below 2^31.
const maxAnswer = math.MaxInt32

// dial makes a connection of e to a broker. started is told before each
// goroutine starts, done when both have ended.
func (e *era) dial(broker int32, addr string, patience time.Duration, done func()) *upstream {
	u := &upstream{
		era: e, addr: addr, broker: broker, patience: patience, done: done,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	e.mu.Lock()
	e.conns[u] = struct{}{}
	e.mu.Unlock()
	e.cluster.watch(u)
	go u.run()
	return u
}

// do queues c. It never blocks; the outcome comes through c.finish.
func (u *upstream) do(c *call) {
	c.since = time.Now()
	u.mu.Lock()
	if err := u.err; err != nil {
		u.mu.Unlock()
		c.err = err
		c.finish(c)
		return
	}
	u.last++
	c.id = u.last
	u.queue = append(u.queue, c)
	if u.timer == nil {
		u.timer = time.AfterFunc(c.ask+u.patience, u.impatient)
	}
	u.mu.Unlock()
	select {
	case u.wake <- struct{}{}:
	default:
	}
}

// broken says whether the connection has ended.
func (u *upstream) broken() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err != nil
}

// fail ends the connection. Bytes that the kernel still holds are discarded
// where that is possible: a paused broker would append them when it wakes.
func (u *upstream) fail(err error) {
	u.mu.Lock()
	if u.err != nil {
		u.mu.Unlock()
		return
	}
	u.err = err
	conn, calls := u.conn, append(u.sent, u.queue...)
	u.sent, u.queue = nil, nil
	if u.timer != nil {
		u.timer.Stop()
		u.timer = nil
	}
	close(u.ended)
	u.mu.Unlock()
	if conn != nil {
		abandon(conn)
	}
	u.era.mu.Lock()
	delete(u.era.conns, u)
	u.era.mu.Unlock()
	u.era.cluster.unwatch(u)
	if !errors.Is(err, errEraOver) && !errors.Is(err, errSessionOver) {
		u.era.cluster.failed(err)
	}
	for _, c := range calls {
		c.err = err
		c.finish(c)
	}
}

func abandon(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // best effort: the connection is given up anyway
	}
	conn.Close()
}

// run dials, then writes until the connection ends.
func (u *upstream) run() {
	defer u.done()
	ctx, cancel := context.WithTimeout(u.era.ctx, u.patience)
	conn, err := u.era.cluster.dial(ctx, u.addr)
	cancel()
	if u.era.ctx.Err() != nil {
		err = errEraOver
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		u.fail(fmt.Errorf("connecting to broker %d at %s: %w", u.broker, u.addr, err))
		return
	}
	u.mu.Lock()
	u.conn = conn
	gone := u.err != nil
	u.mu.Unlock()
	if gone {
		abandon(conn)
		return
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		u.read(conn)
	}()
	u.write(conn)
	<-read
}

func (u *upstream) write(conn net.Conn) {
	var out outBuffer
	for {
		c := u.next()
		if c == nil {
			select {
			case <-u.wake:
				continue
			case <-u.ended:
				return
			}
		}
		buf := protocol.AppendRequest(out.get(protocol.SizeHint(c.req)), c.id, c.clientID, c.req)
		err := writeAll(conn, buf, &c.moved)
		out.put(buf)
		if err != nil {
			u.fail(fmt.Errorf("writing to broker %d at %s: %w", u.broker, u.addr, err))
			return
		}
	}
}

// next moves the first queued call to the sent ones.
func (u *upstream) next() *call {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.queue) == 0 || u.err != nil {
		return nil
	}
	c := u.queue[0]
	u.queue = u.queue[1:]
	c.sent = true
	u.sent = append(u.sent, c)
	return c
}

func (u *upstream) read(conn net.Conn) {
	r := bufio.NewReaderSize(hearing{conn, &u.heard}, 32<<10)
	for {
		frame, err := protocol.ReadFrame(r, maxAnswer)
		if err != nil {
			u.fail(fmt.Errorf("reading from broker %d at %s: %w", u.broker, u.addr, err))
			return
		}
		u.mu.Lock()
		if u.err != nil {
			u.mu.Unlock()
			return
		}
		var c *call
		if len(u.sent) > 0 {
			c = u.sent[0]
		}
		u.mu.Unlock()
		if c == nil {
			u.fail(fmt.Errorf("broker %d at %s sent an answer that nobody asked for", u.broker, u.addr))
			return
		}
		id, resp, err := protocol.ParseResponse(frame, c.req)
		if err == nil && id != c.id {
			err = fmt.Errorf("answer carries correlation id %d, expected %d", id, c.id)
		}
		if err != nil {
			u.fail(fmt.Errorf("broker %d at %s: %w", u.broker, u.addr, err))
			return
		}
		if !u.pop(c) {
			return
		}
		u.era.cluster.answered()
		c.resp, c.span = resp, time.Since(c.since)
		c.finish(c)
	}
}

// pop removes the answered call, unless the connection has ended meanwhile and
// the call with it.
func (u *upstream) pop(c *call) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil || len(u.sent) == 0 || u.sent[0] != c {
		return false
	}
	u.sent = u.sent[1:]
	return true
}
