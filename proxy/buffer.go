package proxy

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keepBuffer is the largest buffer that an idle connection keeps.
	keepBuffer = 256 << 10
	// shareBuffer is the largest one that connections hand on to each other.
	shareBuffer = 8 << 20
)

var shared = sync.Pool{New: func() any { return new([]byte) }}

// outBuffer is where one connection builds its frames, one at a time. Large ones
// are built in a buffer that all share: hundreds of connections would keep more
// than what is under way.
type outBuffer struct {
	own  []byte
	lent *[]byte
}

// get is an empty buffer with room for n bytes and a header.
func (o *outBuffer) get(n int) []byte {
	if n <= keepBuffer/2 {
		return o.own[:0]
	}
	o.lent = shared.Get().(*[]byte)
	return slices.Grow((*o.lent)[:0], n+keepBuffer/64)
}

// put takes back what get gave, grown perhaps.
func (o *outBuffer) put(b []byte) {
	switch lent := o.lent; {
	case lent == nil && cap(b) <= keepBuffer:
		o.own = b
	case lent != nil && cap(b) <= shareBuffer:
		*lent = b[:0]
		shared.Put(lent)
	}
	o.lent = nil
}

// writeAll writes b in pieces, and notes when each has gone.
func writeAll(conn net.Conn, b []byte, moved *atomic.Int64) error {
	for len(b) > 0 {
		n, err := conn.Write(b[:min(len(b), keepBuffer)])
		if err != nil {
			return err
		}
		moved.Store(time.Now().UnixNano())
		b = b[n:]
	}
	return nil
}

// hearing notes when bytes come.
type hearing struct {
	net.Conn
	heard *atomic.Int64
}

func (h hearing) Read(b []byte) (int, error) {
	n, err := h.Conn.Read(b)
	if n > 0 {
		h.heard.Store(time.Now().UnixNano())
	}
	return n, err
}
