package inmem

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// link is a connection: two halves, one for each direction.
type link struct {
	n        *Network
	from, to string
	ab, ba   *half
}

// halfLimit bounds the bytes that stand in one direction (a socket's send and
// receive buffers together); past it a write waits.
const halfLimit = 1 << 20

// half carries bytes one way. Its condition variable is broadcast at every
// change, so any number of goroutines may wait for theirs.
type half struct {
	mu      sync.Mutex
	cond    *sync.Cond
	chunks  []chunk
	size    int
	stalled bool // nothing is delivered now
	muted   bool // nor ever
	eof     bool // the writer closed
	gone    bool // the reader closed
	broken  bool // reset
	read    deadline
	write   deadline
	arrival *time.Timer
}

// chunk is what one write put in; it arrives at at.
type chunk struct {
	at   time.Time
	data []byte
}

func newHalf() *half {
	h := new(half)
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) setStalled(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stalled = on
	h.cond.Broadcast()
}

func (h *half) mute() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.muted = true
}

func (h *half) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken, h.chunks, h.size = true, nil, 0
	h.stopLocked()
}

// stopLocked ends the half: every timer is stopped, so that a simulation has
// none left that only wake the dead.
func (h *half) stopLocked() {
	h.read.stop()
	h.write.stop()
	if h.arrival != nil {
		h.arrival.Stop()
	}
	h.cond.Broadcast()
}

func (h *half) get(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.gone:
			return 0, net.ErrClosed
		case h.read.passed():
			return 0, os.ErrDeadlineExceeded
		case h.broken:
			return 0, os.NewSyscallError("read", syscall.ECONNRESET)
		case len(p) == 0:
			return 0, nil
		}
		if stalled := h.stalled || h.muted; !stalled && len(h.chunks) > 0 {
			if wait := time.Until(h.chunks[0].at); wait <= 0 {
				return h.takeLocked(p), nil
			} else if h.arrival == nil {
				h.arrival = time.AfterFunc(wait, h.wake)
			} else {
				h.arrival.Reset(wait)
			}
		} else if !stalled && h.eof {
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

// takeLocked copies what has arrived.
func (h *half) takeLocked(p []byte) (n int) {
	for len(h.chunks) > 0 && n < len(p) && time.Until(h.chunks[0].at) <= 0 {
		c := &h.chunks[0]
		m := copy(p[n:], c.data)
		n += m
		if c.data = c.data[m:]; len(c.data) == 0 {
			h.chunks[0] = chunk{}
			h.chunks = h.chunks[1:]
		}
	}
	h.size -= n
	h.cond.Broadcast()
	return n
}

func (h *half) put(p []byte, delay time.Duration) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(p) > 0 {
		switch {
		case h.eof:
			return n, net.ErrClosed
		case h.write.passed():
			return n, os.ErrDeadlineExceeded
		case h.broken || h.gone:
			return n, os.NewSyscallError("write", syscall.EPIPE)
		case h.size >= halfLimit:
			h.cond.Wait()
			continue
		}
		m := min(len(p), halfLimit-h.size)
		at := time.Now().Add(delay)
		if last := len(h.chunks) - 1; last >= 0 && at.Before(h.chunks[last].at) {
			at = h.chunks[last].at // bytes never overtake
		}
		h.chunks = append(h.chunks, chunk{at, append([]byte(nil), p[:m]...)})
		h.size, n, p = h.size+m, n+m, p[m:]
		h.cond.Broadcast()
	}
	return n, nil
}

func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cond.Broadcast()
}

// closeWriter lets the reader read what stands here, and then EOF.
func (h *half) closeWriter() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof = true
	h.write.stop()
	h.cond.Broadcast()
}

func (h *half) closeReader() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone, h.chunks, h.size = true, nil, 0
	h.stopLocked()
}

func (h *half) setDeadline(d *deadline, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d.stop()
	d.at = t
	if !t.IsZero() && !h.gone && !h.broken {
		d.timer = time.AfterFunc(time.Until(t), h.wake)
	}
	h.cond.Broadcast()
}

// deadline is one of net.Conn's.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// conn is one end of a link.
type conn struct {
	link          *link
	in, out       *half
	local, remote addr
	src, dst      string
	once          sync.Once
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.get(p)
	if err != nil && err != io.EOF {
		err = opError("read", c.remote, err)
	}
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.put(p, c.link.n.delay(c.src, c.dst))
	if err != nil {
		err = opError("write", c.remote, err)
	}
	return n, err
}

func (c *conn) Close() error {
	c.once.Do(func() {
		c.in.closeReader()
		c.out.closeWriter()
		c.link.n.forget(c.link)
	})
	return nil
}

// forget drops a link that both ends have closed.
func (n *Network) forget(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.ab.closed() && l.ba.closed() {
		delete(n.conns, l)
	}
}

func (h *half) closed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.eof && h.gone || h.broken
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.read, t)
	c.out.setDeadline(&c.out.write, t)
	return nil
}
func (c *conn) SetReadDeadline(t time.Time) error  { c.in.setDeadline(&c.in.read, t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.setDeadline(&c.out.write, t); return nil }
