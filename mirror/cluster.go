package mirror

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

type topicPartition = logmap.TopicPartition

// produceTimeout is how long a broker may wait for replicas before it answers.
const produceTimeout = 5 * time.Second

// cluster is the two clients of one Kafka cluster. It is safe for concurrent use.
type cluster struct {
	name string
	// ctl does everything but data: metadata, transactions, the map topic. It is
	// pinned to the first transaction protocol, because EndTxn 5 raises the
	// producer epoch, which would fence the writer that has just sealed.
	ctl *kgo.Client
	// data fetches and produces records, on connections of its own, so that a
	// map record does not wait behind megabytes.
	data *kgo.Client
	adm  *kadm.Client
}

func newCluster(cfg Config, name string) (*cluster, error) {
	c, ok := cfg.Clusters[name]
	if !ok {
		return nil, fmt.Errorf("cluster %q is not configured", name)
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Seeds...),
		kgo.ClientID("catamaran-mirror"),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RequestTimeoutOverhead(5 * time.Second),
		kgo.MetadataMinAge(100 * time.Millisecond),
		// The default, up to 2.5 s, is longer than a cutover may take.
		kgo.RetryBackoffFn(func(n int) time.Duration { return min(500*time.Millisecond, 20*time.Millisecond<<min(n, 10)) }),
	}
	if cfg.Dial != nil {
		opts = append(opts, kgo.Dialer(cfg.Dial))
	}
	opts = append(opts, c.Options...)
	data, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("client of cluster %s: %w", name, err)
	}
	ctl, err := kgo.NewClient(append(opts, kgo.MaxVersions(firstTransactionProtocol()))...)
	if err != nil {
		data.Close()
		return nil, fmt.Errorf("client of cluster %s: %w", name, err)
	}
	return &cluster{name: name, ctl: ctl, data: data, adm: kadm.NewClient(ctl)}, nil
}

func firstTransactionProtocol() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	v.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	v.SetMaxKeyVersion(int16(kmsg.AddOffsetsToTxn), 3)
	v.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	return v
}

func (c *cluster) close() {
	c.ctl.Close()
	c.data.Close()
}

// topic is what metadata says of a topic.
type topic struct {
	id    [16]byte
	parts []partition // by partition number
}

// partition is what metadata says of a partition. leader is -1 when it has none.
type partition struct {
	leader, epoch int32
	replicas, isr int
}

// metadata is one cluster's, never changed after it was made.
type metadata struct {
	topics  map[string]*topic
	brokers int
}

func (m *metadata) partition(tp topicPartition) (partition, bool) {
	if m == nil {
		return partition{leader: -1}, false
	}
	t := m.topics[tp.Topic]
	if t == nil || int(tp.Partition) >= len(t.parts) {
		return partition{leader: -1}, false
	}
	return t.parts[tp.Partition], true
}

func (m *metadata) id(name string) [16]byte {
	if t := m.topics[name]; t != nil {
		return t.id
	}
	return [16]byte{}
}

// metadata asks for some topics, or for all.
func (c *cluster) metadata(ctx context.Context, only ...string) (*metadata, error) {
	req := kmsg.NewPtrMetadataRequest() // nil topics: all
	for _, name := range only {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := ask[*kmsg.MetadataResponse](ctx, c.data, req)
	if err != nil {
		return nil, fmt.Errorf("metadata of cluster %s: %w", c.name, err)
	}
	// ctl learns of brokers that joined.
	none := kmsg.NewPtrMetadataRequest()
	none.Topics = []kmsg.MetadataRequestTopic{}
	if _, err := c.ctl.Request(ctx, none); err != nil {
		return nil, fmt.Errorf("metadata of cluster %s: %w", c.name, err)
	}
	m := &metadata{topics: make(map[string]*topic, len(resp.Topics)), brokers: len(resp.Brokers)}
	for _, t := range resp.Topics {
		if t.Topic == nil || t.ErrorCode != 0 {
			continue
		}
		to := &topic{id: t.TopicID, parts: make([]partition, len(t.Partitions))}
		for i := range to.parts {
			to.parts[i].leader = -1
		}
		for _, p := range t.Partitions {
			if int(p.Partition) < len(to.parts) {
				leader := p.Leader
				if p.ErrorCode != 0 && kerr.ErrorForCode(p.ErrorCode) != kerr.ReplicaNotAvailable {
					leader = -1
				}
				to.parts[p.Partition] = partition{leader: leader, epoch: p.LeaderEpoch, replicas: len(p.Replicas), isr: len(p.ISR)}
			}
		}
		m.topics[*t.Topic] = to
	}
	return m, nil
}

// ask sends a request wherever the client routes it, with the client's retries.
func ask[R kmsg.Response](ctx context.Context, cl *kgo.Client, req kmsg.Request) (R, error) {
	resp, err := cl.Request(ctx, req)
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}

// tell sends a request to one broker, once.
func tell[R kmsg.Response](ctx context.Context, cl *kgo.Client, broker int32, req kmsg.Request) (R, error) {
	resp, err := cl.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		var none R
		return none, err
	}
	return resp.(R), nil
}

// neverSent says that err proves that no byte of the request left this process.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// sleep waits, or returns ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// backoff is the wait before attempt n (from 1), doubling from 10 ms to 1 s.
func backoff(n int) time.Duration {
	return min(time.Second, 10*time.Millisecond<<min(max(n-1, 0), 10))
}
