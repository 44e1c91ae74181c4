package mirror

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// pair is two in-memory clusters, east and west, and what a test does to them
// from outside, as clients and operators would.
type pair struct {
	*testing.T
	ctx      context.Context
	fakes    map[string]*kfake.Cluster
	clusters map[string]*cluster // for looking in
	clients  map[string]*kgo.Client
	cfg      Config
}

func newPair(t *testing.T, change ...func(*Config)) *pair {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	p := &pair{T: t, ctx: ctx, fakes: map[string]*kfake.Cluster{}, clusters: map[string]*cluster{}, clients: map[string]*kgo.Client{}}
	p.cfg = Config{VirtualCluster: "v", Writer: "test", Clusters: map[string]Cluster{}, Slots: 4,
		Discover: 50 * time.Millisecond, GroupInterval: 20 * time.Millisecond, Logger: testLogger(t)}
	t.Cleanup(cancel)
	for _, name := range []string{"east", "west"} {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V4_1_0()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(fake.Close)
		p.fakes[name] = fake
		p.cfg.Clusters[name] = Cluster{Seeds: fake.ListenAddrs()}
		c, err := newCluster(p.cfg, name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.close)
		p.clusters[name] = c
		cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		p.clients[name] = cl
	}
	for _, f := range change {
		f(&p.cfg)
	}
	return p
}

func testLogger(t *testing.T) *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("MIRROR_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
}

func (p *pair) mirror(change ...func(*Config)) *Mirror {
	p.Helper()
	cfg := p.cfg
	for _, f := range change {
		f(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(m.Close)
	return m
}

// run starts m on l and returns how to end it.
func (p *pair) run(m *Mirror, l Link) (stop func() error) {
	ctx, cancel := context.WithCancel(p.ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, l) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(10 * time.Second):
			p.Fatal("Run does not return")
			return nil
		}
	}
	p.Cleanup(func() { stop() })
	return stop
}

func (p *pair) topic(on, name string, partitions int32, configs map[string]*string) {
	p.Helper()
	if _, err := kadm.NewClient(p.clients[on]).CreateTopic(p.ctx, partitions, 1, configs, name); err != nil {
		p.Fatalf("creating %s on %s: %v", name, on, err)
	}
}

// put produces one batch as it is.
func (p *pair) put(on string, tp topicPartition, b protocol.Batch, txid *string) int64 {
	p.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, 5000, txid
	c := p.clusters[on]
	at, err := c.find(p.ctx, tp)
	if err != nil {
		p.Fatal(err)
	}
	addProduce(req, tp, at.id, b)
	resp, err := tell[*kmsg.ProduceResponse](p.ctx, c.ctl, at.leader, req)
	if err != nil {
		p.Fatal(err)
	}
	rp := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
		p.Fatalf("producing to %s on %s: %v", tp, on, err)
	}
	return rp.BaseOffset
}

// batch is records with the given values, written by producer pr.
func batch(pr protocol.Producer, attributes int16, values ...string) protocol.Batch {
	var records []protocol.Record
	for i, v := range values {
		records = append(records, protocol.Record{Timestamp: 1_700_000_000_000 + int64(i), Key: []byte("k-" + v), Value: []byte(v),
			Headers: []protocol.Header{{Key: "h", Value: []byte(v)}}})
	}
	return protocol.BuildBatch(records, pr, attributes)
}

func compressed(p *pair, codec int16, values ...string) protocol.Batch {
	b, err := compressAs(batch(protocol.NoProducer, 0, values...), codec)
	if err != nil {
		p.Fatal(err)
	}
	return b
}

func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%s%d", prefix, i))
	}
	return out
}

// entry is one committed record in the logical log.
type entry struct {
	offset logmap.Logical
	what   string // key, value, headers, timestamp
}

// mapOf is all that a cluster's map says.
func (p *pair) mapOf(on string) *logmap.State {
	p.Helper()
	s := new(logmap.State)
	for slot := range p.cfg.Slots {
		at, err := p.clusters[on].find(p.ctx, mapPartition(int32(slot)))
		if err != nil {
			if m, merr := p.clusters[on].metadata(p.ctx); merr == nil && m.topics[logmap.Topic] == nil {
				return s
			}
			p.Fatal(err)
		}
		_, err = p.clusters[on].readMap(p.ctx, int32(slot), at, -1, func(r logmap.Record, gone bool) { s.Put(int32(slot), r, gone) })
		if err != nil {
			p.Fatal(err)
		}
	}
	return s
}

// logical reads a partition as a client would see it through the map.
func (p *pair) logical(on string, tp topicPartition) (out []entry) {
	p.Helper()
	m := &p.mapOf(on).Partition(tp).Map
	c := p.clusters[on]
	end := c.offsets(p.ctx, []topicPartition{tp}, logEnd)[tp]
	if end.err != nil {
		p.Fatal(end.err)
	}
	at, err := c.find(p.ctx, tp)
	if err != nil {
		p.Fatal(err)
	}
	for from := c.offsets(p.ctx, []topicPartition{tp}, logStart)[tp].offset; from < end.offset; {
		rp, err := c.fetchOne(p.ctx, tp, at, from, readCommitted)
		if err != nil {
			p.Fatal(err)
		}
		void := newAborted(rp.AbortedTransactions)
		before := from
		for b, err := range protocol.Batches(rp.RecordBatches) {
			if err != nil {
				p.Fatal(err)
			}
			drop := void.drops(b)
			from = logmap.Cluster(b.NextOffset())
			if drop {
				continue
			}
			records, err := protocol.Records(b)
			if err != nil || !b.ValidCRC() {
				p.Fatalf("batch at %d of %s on %s: %v, checksum %v", b.BaseOffset(), tp, on, err, b.ValidCRC())
			}
			for _, r := range records {
				l, ok := m.Record(logmap.Cluster(b.BaseOffset() + int64(r.OffsetDelta)))
				if ok {
					out = append(out, entry{l, fmt.Sprintf("%q=%q %v @%d", r.Key, r.Value, r.Headers, r.Timestamp)})
				}
			}
		}
		if from == before {
			break // an open transaction
		}
	}
	return out
}

// same checks that both clusters hold the same logical log.
func (p *pair) same(tp topicPartition) []entry {
	p.Helper()
	a, b := p.logical("east", tp), p.logical("west", tp)
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			p.Fatalf("%s: west has %d records more, from %v", tp, len(b)-len(a), b[i])
		case i >= len(b):
			p.Fatalf("%s: east has %d records more, from %v", tp, len(a)-len(b), a[i])
		case a[i] != b[i]:
			p.Fatalf("%s: record %d differs: %v on east, %v on west", tp, i, a[i], b[i])
		}
	}
	return a
}

func values(log []entry) (out []string) {
	for _, e := range log {
		_, v, _ := strings.Cut(e.what, "=")
		v, _, _ = strings.Cut(v, " ")
		out = append(out, strings.Trim(v, `"`))
	}
	return out
}

// drain waits until m has mirrored everything.
func (p *pair) drain(m *Mirror) {
	p.Helper()
	for {
		err := m.Drain(p.ctx)
		if err == nil {
			return
		}
		if p.ctx.Err() != nil || !strings.Contains(err.Error(), "no link runs") {
			p.Fatalf("drain: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// eventually waits for a condition.
func (p *pair) eventually(what string, ok func() bool) {
	p.Helper()
	for !ok() {
		if p.ctx.Err() != nil {
			p.Fatalf("never came: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *pair) state(m *Mirror, tp topicPartition) PartitionState {
	for _, s := range m.Status() {
		if s.TopicPartition == tp {
			return s
		}
	}
	return PartitionState{}
}

// sign computes the checksum of a batch that a test has made by hand.
func sign(b protocol.Batch) {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
}
