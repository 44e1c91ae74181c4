// Package proxy is the sidecar's Kafka side: it listens on localhost, speaks
// the Kafka protocol with clients as one constant virtual cluster, and routes
// their requests to the active cluster.
//
// A client sees nothing change, ever: not the cluster id, not the nodes, not a
// topic id, not an epoch, not an offset. While the role moves requests are held
// and replayed, not refused.
package proxy

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// Network is where connections come from: the real one, or a simulation's.
type Network struct {
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Listen func(network, address string) (net.Listener, error)
}

// Config is what a Proxy needs. The caller validates it.
type Config struct {
	// VirtualCluster is the name from which the constant cluster id is derived.
	VirtualCluster string
	// Host is the address that is listened on and advertised ("127.0.0.1").
	Host string
	// Port is the bootstrap port; virtual node i listens on Port+1+i.
	Port int
	// MaxNodes bounds the virtual nodes (ports Port+1..Port+MaxNodes). A broker
	// beyond it is served through the other nodes.
	MaxNodes int
	// Clusters are the two clusters by name.
	Clusters map[string]Cluster
	Network  Network
	Logger   *slog.Logger
	// Hold bounds how long a request is kept unanswered (8 s): raising it costs
	// errors in clients with short timeouts.
	Hold time.Duration
	// FetchWait bounds an outstanding fetch (500 ms), so that none is parked
	// across a cutover. Lowering it costs idle requests.
	FetchWait time.Duration
	// MaxRequestBytes bounds a frame from a client (100 MiB as a broker's
	// socket.request.max.bytes); a larger one closes that session.
	MaxRequestBytes int32
	// MaxHeldBytes bounds the held requests of all sessions (64 MiB); past it
	// sockets are not read.
	MaxHeldBytes int64
}

// Cluster is one real cluster.
type Cluster struct {
	// Seeds are host:port addresses.
	Seeds []string
	// Options are further options of the clients used for metadata and the map
	// (TLS, SASL); sessions' own connections use the same credentials.
	Options []kgo.Opt
}

// State is where the route stands, as far as the proxy cares.
type State uint8

const (
	// Serving: requests flow to Active.
	Serving State = iota
	// Fenced: writes are held, reads answer empty, heartbeats are answered here.
	Fenced
)

// Route is who is active, as the proxy needs it.
type Route struct {
	Epoch  int64
	Tenure protocol.Tenure
	Active string
	// Positions are the ends of Active's map partitions behind the stamps of
	// Tenure; requests flow only after the map was read that far.
	Positions []int64
}

// Exposed is the first logical offset of a partition that no client was shown.
type Exposed struct {
	logmap.TopicPartition
	Next logmap.Logical
}

// The methods that the wiring uses (implemented in this package):
//
//	New(Config) (*Proxy, error)
//	(*Proxy) Run(ctx) error                     blocks; listens, follows both maps, serves
//	(*Proxy) Serve(ctx, Route) error            returns once requests flow to r.Active
//	(*Proxy) Fence(ctx, Route, planned bool) ([]Exposed, error)
//	(*Proxy) ClusterID() string; Addr() string  bootstrap address
//	(*Proxy) Observe(cluster string) Observation  its own view of its connections
//	(*Proxy) Stats() Stats                       for metrics and status

// Observation is what the sessions' own connections say about a cluster: a dead
// cluster is suspected from it long before a probe times out.
type Observation struct {
	// LastAnswer is when any broker last answered; LastFailure when a
	// connection last failed or was refused, or a request passed the patience.
	LastAnswer, LastFailure time.Time
	// Waiting is for how long the oldest unanswered request has been out, beyond
	// what it asked to wait.
	Waiting time.Duration
	Reason  string
}
