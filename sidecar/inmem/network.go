package inmem

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Network joins named hosts. Its methods are safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	rng       *rand.Rand
	latency   time.Duration
	jitter    time.Duration
	hosts     map[string]*hostState
	cuts      map[pair]bool
	listeners map[string]*listener // by host:port
	conns     map[*link]struct{}
	changed   chan struct{} // closed and replaced when a cut heals or a host changes
}

type hostState struct {
	dead, paused bool
	nextPort     int
}

// pair is two hosts in alphabetical order.
type pair struct{ a, b string }

func pairOf(a, b string) pair {
	if a > b {
		a, b = b, a
	}
	return pair{a, b}
}

// NewNetwork is an empty network without latency. seed decides the jitter.
func NewNetwork(seed uint64) *Network {
	return &Network{
		rng:       rand.New(rand.NewPCG(seed, seed^0x9e3779b97f4a7c15)),
		hosts:     make(map[string]*hostState),
		cuts:      make(map[pair]bool),
		listeners: make(map[string]*listener),
		conns:     make(map[*link]struct{}),
		changed:   make(chan struct{}),
	}
}

// SetLatency makes every further chunk of bytes take base plus up to jitter
// between different hosts; within a host it takes no time.
func (n *Network) SetLatency(base, jitter time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latency, n.jitter = base, jitter
}

// Host is the view of the network that processes on one host have. Hosts exist
// by being named.
func (n *Network) Host(name string) Host { return Host{n, name} }

// Kill resets every connection of the hosts and refuses dials to them until
// Revive. Listeners stay: a revived host serves again.
func (n *Network) Kill(hosts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		n.host(h).dead = true
	}
	for l := range n.conns {
		if n.host(l.from).dead || n.host(l.to).dead {
			n.resetLocked(l)
		}
	}
	n.changedLocked()
}

// Revive ends Kill.
func (n *Network) Revive(hosts ...string) {
	n.set(func(s *hostState) { s.dead = false }, hosts)
}

// Pause stops the hosts as SIGSTOP does until Resume.
func (n *Network) Pause(hosts ...string) {
	n.set(func(s *hostState) { s.paused = true }, hosts)
}

// Resume ends Pause.
func (n *Network) Resume(hosts ...string) {
	n.set(func(s *hostState) { s.paused = false }, hosts)
}

func (n *Network) set(f func(*hostState), hosts []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		f(n.host(h))
	}
	n.changedLocked()
}

// Cut stops all traffic between a and b until Heal.
func (n *Network) Cut(a, b string) { n.setCut(a, b, true) }

// Heal ends Cut.
func (n *Network) Heal(a, b string) { n.setCut(a, b, false) }

func (n *Network) setCut(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cut {
		n.cuts[pairOf(a, b)] = true
	} else {
		delete(n.cuts, pairOf(a, b))
	}
	n.changedLocked()
}

// Reset drops every connection between hosts a and b, once.
func (n *Network) Reset(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.conns {
		if pairOf(l.from, l.to) == pairOf(a, b) {
			n.resetLocked(l)
		}
	}
}

// Mute stops, for good, what listeners on host server say on some connections
// that client dialled: each with probability p. Requests still arrive and are
// served, so a server that dies afterwards leaves work done and unanswered.
func (n *Network) Mute(client, server string, p float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.conns {
		if l.from == client && l.to == server && n.rng.Float64() < p {
			l.ba.mute()
		}
	}
}

func (n *Network) host(name string) *hostState {
	h := n.hosts[name]
	if h == nil {
		h = &hostState{nextPort: 20000}
		n.hosts[name] = h
	}
	return h
}

// changedLocked tells every connection and every waiting dial and accept.
func (n *Network) changedLocked() {
	for l := range n.conns {
		stalled := n.stalledLocked(l.from, l.to)
		l.ab.setStalled(stalled)
		l.ba.setStalled(stalled)
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) stalledLocked(a, b string) bool {
	return n.cuts[pairOf(a, b)] || n.host(a).paused || n.host(b).paused
}

func (n *Network) resetLocked(l *link) {
	delete(n.conns, l)
	l.ab.reset()
	l.ba.reset()
}

func (n *Network) delay(from, to string) time.Duration {
	if from == to {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.latency
	if n.jitter > 0 {
		d += time.Duration(n.rng.Int64N(int64(n.jitter)))
	}
	return d
}

// Host is one host's view of a Network.
type Host struct {
	n    *Network
	name string
}

// Name is the host's name.
func (h Host) Name() string { return h.name }

// resolve gives the listener's key for an address as this host writes it:
// loopback and the empty host are the host itself.
func (h Host) resolve(address string) (host, key string, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "", err
	}
	switch host {
	case "", "localhost", "127.0.0.1", "::1", "0.0.0.0":
		host = h.name
	}
	return host, net.JoinHostPort(host, port), nil
}

// Dial connects to a listener. A dead host refuses; a host that is cut off
// keeps the dial waiting until ctx ends.
func (h Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, key, err := h.resolve(address)
	if err != nil {
		return nil, opError("dial", addr(address), err)
	}
	if d := h.n.delay(h.name, host); d > 0 { // the handshake's round trip
		t := time.NewTimer(2 * d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, opError("dial", addr(key), ctx.Err())
		}
	}
	for {
		c, wait, err := h.n.connect(h.name, host, key)
		if err != nil {
			return nil, opError("dial", addr(key), err)
		}
		if c != nil {
			return c, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, opError("dial", addr(key), ctx.Err())
		}
	}
}

// connect makes a connection, or says what to wait for.
func (n *Network) connect(from, to, key string) (net.Conn, <-chan struct{}, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.host(from).dead || n.host(from).paused || n.cuts[pairOf(from, to)] {
		return nil, n.changed, nil
	}
	refused := os.NewSyscallError("connect", syscall.ECONNREFUSED)
	ln := n.listeners[key]
	if ln == nil || n.host(to).dead {
		return nil, nil, refused
	}
	src := n.host(from)
	src.nextPort++
	local := addr(net.JoinHostPort(from, strconv.Itoa(src.nextPort)))
	l := &link{n: n, from: from, to: to, ab: newHalf(), ba: newHalf()}
	stalled := n.stalledLocked(from, to)
	l.ab.setStalled(stalled)
	l.ba.setStalled(stalled)
	select {
	case ln.backlog <- &conn{link: l, in: l.ab, out: l.ba, local: addr(key), remote: local, src: to, dst: from}:
	default:
		return nil, nil, refused // the backlog is full
	}
	n.conns[l] = struct{}{}
	return &conn{link: l, in: l.ba, out: l.ab, local: local, remote: addr(key), src: from, dst: to}, nil, nil
}

// Listen listens on a port of this host; port 0 picks one. The host part of
// address must be this host or loopback.
func (h Host) Listen(network, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, opError("listen", addr(address), err)
	}
	if resolved, _, _ := h.resolve(address); resolved != h.name {
		return nil, opError("listen", addr(address), fmt.Errorf("%s is not an address of host %s", host, h.name))
	}
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	if port == "0" {
		st := h.n.host(h.name)
		for {
			st.nextPort++
			port = strconv.Itoa(st.nextPort)
			if h.n.listeners[net.JoinHostPort(h.name, port)] == nil {
				break
			}
		}
	}
	key := net.JoinHostPort(h.name, port)
	if h.n.listeners[key] != nil {
		return nil, opError("listen", addr(key), os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	ln := &listener{n: h.n, host: h.name, key: key, backlog: make(chan *conn, backlog), closed: make(chan struct{})}
	h.n.listeners[key] = ln
	return ln, nil
}

// backlog bounds the connections that a listener has not accepted yet; past it
// dials are refused.
const backlog = 256

type listener struct {
	n       *Network
	host    string
	key     string
	backlog chan *conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Addr() net.Addr { return addr(l.key) }

// Accept waits while the host is paused: its kernel takes connections, the
// process does not.
func (l *listener) Accept() (net.Conn, error) {
	for {
		l.n.mu.Lock()
		paused, changed := l.n.host(l.host).paused, l.n.changed
		l.n.mu.Unlock()
		queue := l.backlog
		if paused {
			queue = nil
		}
		select {
		case c := <-queue:
			return c, nil
		case <-changed:
		case <-l.closed:
			return nil, opError("accept", addr(l.key), net.ErrClosed)
		}
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.n.mu.Lock()
		delete(l.n.listeners, l.key)
		l.n.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.backlog:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

type addr string

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return string(a) }

func opError(op string, a net.Addr, err error) error {
	return &net.OpError{Op: op, Net: "tcp", Addr: a, Err: err}
}
