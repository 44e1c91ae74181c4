package proxy

import (
	"fmt"
	"net"
	"strconv"
	"sync"

	"github.com/catamaran-io/catamaran/protocol"
)

// nodes are the virtual nodes that listen. The set grows and never shrinks: a
// client that was told of a node keeps it.
type nodes struct {
	mu        sync.Mutex
	list      []protocol.Node // replaced when it grows
	listeners []net.Listener
	closed    bool
}

func (n *nodes) open() []protocol.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list
}

// openNodes opens listeners until there is a node for every broker that either
// cluster was seen with, at most MaxNodes. A port that cannot be had is tried
// again at the next call; nodes behind it wait, because node i is always port
// Port+1+i.
func (p *Proxy) openNodes() {
	want := 1
	for _, c := range p.clusters {
		if m := c.meta.Load(); m != nil {
			want = max(want, len(m.order))
		}
	}
	want = min(want, p.cfg.MaxNodes)
	n := &p.nodes
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.list) < want && !n.closed {
		i := len(n.list)
		port := p.cfg.Port + 1 + i
		l, err := p.cfg.Network.Listen("tcp", net.JoinHostPort(p.cfg.Host, strconv.Itoa(port)))
		if err != nil {
			p.log.Error("virtual node cannot listen; is the port taken? It is tried again", "node", i, "port", port, "error", err)
			return
		}
		grown := append([]protocol.Node{}, n.list...)
		n.list = append(grown, protocol.Node{ID: int32(i), Host: p.cfg.Host, Port: int32(port)})
		n.listeners = append(n.listeners, l)
		p.accept(l, int32(i))
		p.log.Info("virtual node listens", "node", i, "port", port)
	}
}

// listen opens the bootstrap port.
func (p *Proxy) listen() error {
	l, err := p.cfg.Network.Listen("tcp", p.Addr())
	if err != nil {
		return fmt.Errorf("listening on the bootstrap address %s (port in use? choose another port): %w", p.Addr(), err)
	}
	p.nodes.mu.Lock()
	p.nodes.listeners = append(p.nodes.listeners, l)
	p.nodes.mu.Unlock()
	p.accept(l, bootstrap)
	return nil
}

func (n *nodes) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, l := range n.listeners {
		l.Close()
	}
}
