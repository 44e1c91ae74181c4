package inmem

import (
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Cluster is a Kafka cluster in memory. Each broker is a host of its own on the
// network, named <cluster>-<broker>, and listens on port 9092.
type Cluster struct {
	n     *Network
	name  string
	hosts []string
	fake  *kfake.Cluster
}

// NewCluster starts a cluster of brokers. opts are further kfake options.
func NewCluster(n *Network, name string, brokers int, opts ...kfake.Opt) (*Cluster, error) {
	c := &Cluster{n: n, name: name}
	state := newBrokerState()
	ready := make(chan struct{})
	listen := func(network, _ string) (net.Listener, error) {
		host := fmt.Sprintf("%s-%d", name, len(c.hosts))
		l, err := n.Host(host).Listen(network, host+":9092")
		if err != nil {
			return nil, err
		}
		c.hosts = append(c.hosts, host)
		return &brokerListener{Listener: l, state: state, ready: ready}, nil
	}
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(brokers),
		kfake.ListenFn(listen),
		kfake.ClusterID(name),
		// An uncapped kfake is a broker of Kafka 4.5 or later, which nobody runs
		// yet: it refuses a first sequence other than 0 (KAFKA-15591).
		kfake.MaxVersions(kversion.V4_1_0()),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("in-memory cluster %s: %w", name, err)
	}
	c.fake, state.cluster = fake, fake
	close(ready)
	return c, nil
}

// Name is the cluster's name, which is also its Kafka cluster id.
func (c *Cluster) Name() string { return c.name }

// Bootstrap are the brokers' addresses.
func (c *Cluster) Bootstrap() []string {
	out := make([]string, len(c.hosts))
	for i, h := range c.hosts {
		out[i] = h + ":9092"
	}
	return out
}

// Hosts are the brokers' hosts.
func (c *Cluster) Hosts() []string { return c.hosts }

// Fake is the kfake cluster, for its control functions.
func (c *Cluster) Fake() *kfake.Cluster { return c.fake }

// Kill is a kill -9 of every broker: connections are reset and dials refused.
// What was stored stays stored, as a page cache survives its process.
func (c *Cluster) Kill() { c.n.Kill(c.hosts...) }

// Revive starts the brokers again with the data that they had.
func (c *Cluster) Revive() { c.n.Revive(c.hosts...) }

// Pause is a SIGSTOP of every broker.
func (c *Cluster) Pause() { c.n.Pause(c.hosts...) }

// Resume is a SIGCONT.
func (c *Cluster) Resume() { c.n.Resume(c.hosts...) }

// Close ends the cluster for good.
func (c *Cluster) Close() {
	c.fake.Close()
	c.n.Kill(c.hosts...)
}
