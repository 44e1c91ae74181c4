package inmem

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerListener hands kfake connections on which kfake's answers become those
// of a real broker (see brokerState).
type brokerListener struct {
	net.Listener
	state *brokerState
	ready chan struct{} // closed when state is complete
}

func (l *brokerListener) Accept() (net.Conn, error) {
	<-l.ready
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	bc := &brokerConn{Conn: c, state: l.state}
	bc.cond = sync.NewCond(&bc.mu)
	return bc, nil
}

// brokerConn stands between the network and kfake. It reads whole request
// frames and gives kfake the next one only when the one before was answered,
// which a real broker does too (it mutes the channel), so at most one request
// is pending and every answer belongs to it.
type brokerConn struct {
	net.Conn
	state *brokerState
	rest  []byte // of the frame that kfake is reading

	mu      sync.Mutex
	cond    *sync.Cond
	pending *exchange
	closed  bool
}

// exchange is a request and what its answer needs to be corrected with.
type exchange struct {
	key, version int16
	corr         int32
	flexible     bool
	request      kmsg.Request // nil: the answer passes as it is
	// fix edits the answer, which kfake gave to the request as it was sent on.
	fix func(kmsg.Response)
}

func (c *brokerConn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		frame, err := readFrame(c.Conn)
		if err != nil {
			return 0, err
		}
		if err := c.begin(frame); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// maxFrame bounds a request (socket.request.max.bytes of a broker).
const maxFrame = 100 << 20

// readFrame reads one frame, its length included.
func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 8 || n > maxFrame {
		return nil, fmt.Errorf("request frame of %d bytes, 8 to %d are possible", n, maxFrame)
	}
	frame := make([]byte, 4+n)
	copy(frame, size[:])
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

// begin waits until the request before is answered and makes frame the pending
// one.
func (c *brokerConn) begin(frame []byte) error {
	x := &exchange{
		key:     int16(binary.BigEndian.Uint16(frame[4:])),
		version: int16(binary.BigEndian.Uint16(frame[6:])),
		corr:    int32(binary.BigEndian.Uint32(frame[8:])),
	}
	answered := true
	if c.state.concerns(x.key) {
		header, req, err := parseRequest(frame)
		if err != nil {
			return err
		}
		x.request, x.flexible = req, req.IsFlexible()
		if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
			answered, x.request = false, nil // as kfake gives no answer, nothing is corrected
		} else if err := c.waitIdle(); err != nil {
			return err
		} else if c.state.amend(x) {
			frame = encodeFrame(header, req)
		}
	}
	if err := c.waitIdle(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if answered {
		c.pending = x
	}
	c.rest = frame
	return nil
}

func (c *brokerConn) waitIdle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.pending != nil {
		if c.closed {
			return net.ErrClosed
		}
		c.cond.Wait()
	}
	return nil
}

// Write takes one answer: kfake writes each with one call.
func (c *brokerConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	x := c.pending
	c.mu.Unlock()
	out := p
	if x != nil && x.request != nil {
		var err error
		if out, err = c.correct(x, p); err != nil {
			return 0, err
		}
	}
	c.mu.Lock() // before the answer is out: the client may be faster than this goroutine
	c.pending = nil
	c.cond.Broadcast()
	c.mu.Unlock()
	if _, err := c.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *brokerConn) correct(x *exchange, frame []byte) ([]byte, error) {
	body := frame[8:]
	resp := x.request.ResponseKind()
	resp.SetVersion(x.version)
	if x.flexible {
		body = body[1:] // kfake's header tags are empty
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("kfake's answer to %s version %d: %w", kmsg.NameForKey(x.key), x.version, err)
	}
	c.state.learn(x, resp)
	out := append(make([]byte, 0, len(frame)+64), 0, 0, 0, 0)
	out = binary.BigEndian.AppendUint32(out, uint32(x.corr))
	if x.flexible {
		out = append(out, 0)
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out, nil
}

func (c *brokerConn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.cond.Broadcast()
	c.mu.Unlock()
	return c.Conn.Close()
}

// parseRequest splits a frame into its header (without the length) and request.
func parseRequest(frame []byte) (header []byte, req kmsg.Request, err error) {
	r := kbin.Reader{Src: frame[4:]}
	key, version := r.Int16(), r.Int16()
	r.Int32()
	r.NullableString()
	req = kmsg.RequestForKey(key)
	if req == nil {
		return nil, nil, fmt.Errorf("request of unknown key %d", key)
	}
	req.SetVersion(version)
	if req.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err := r.Complete(); err != nil && len(r.Src) == 0 {
		return nil, nil, err
	}
	header = frame[4 : len(frame)-len(r.Src)]
	if err := req.ReadFrom(r.Src); err != nil {
		return nil, nil, fmt.Errorf("%s version %d: %w", kmsg.NameForKey(key), version, err)
	}
	return header, req, nil
}

func encodeFrame(header []byte, req kmsg.Request) []byte {
	out := append(make([]byte, 4, len(header)+1024), header...)
	out = req.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	return out
}
