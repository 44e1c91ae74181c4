package sidecar

import (
	"context"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds a dial, TLS included.
const dialTimeout = 5 * time.Second

// conns are the connections of the mirror. A request of kgo does not end with
// its context while a broker takes connections and answers nothing (SIGSTOP, a
// partition of the network), but a cutover cannot wait for that: it severs them.
type conns struct {
	mu   sync.Mutex
	open map[*trackedConn]struct{}
	// severed is closed by the next sever, which ends dials too: one of kgo's may
	// stand before many requests, with a context of its own.
	severed chan struct{}
}

type trackedConn struct {
	net.Conn
	owner *conns
}

func newConns() *conns {
	return &conns{open: make(map[*trackedConn]struct{}), severed: make(chan struct{})}
}

// track is dial with every connection known to c.
func (c *conns) track(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c.mu.Lock()
		severed := c.severed
		c.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		done := make(chan struct{})
		defer close(done)
		go func() {
			select {
			case <-severed:
				cancel()
			case <-done:
			}
		}()
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		t := &trackedConn{conn, c}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open[t] = struct{}{}
		return t, nil
	}
}

func (t *trackedConn) Close() error {
	t.owner.mu.Lock()
	delete(t.owner.open, t)
	t.owner.mu.Unlock()
	return t.Conn.Close()
}

// sever closes every connection. Requests on them fail, and are repeated on new
// ones by whoever still wants them.
func (c *conns) sever() {
	c.mu.Lock()
	open := c.open
	c.open = make(map[*trackedConn]struct{})
	close(c.severed)
	c.severed = make(chan struct{})
	c.mu.Unlock()
	for t := range open {
		t.Conn.Close()
	}
}
