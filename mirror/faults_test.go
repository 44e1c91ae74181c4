package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/catamaran-io/catamaran/protocol"
)

// cutNet is a network that loses connections: before a request is sent, or after
// it was sent and before its answer comes, which leaves open what happened.
type cutNet struct {
	rate atomic.Int64 // cuts per 1000 writes
	cuts atomic.Int64
	mu   sync.Mutex
	rng  *rand.Rand
}

func (n *cutNet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &cutConn{c, n}, nil
}

func (n *cutNet) roll() (cut, after bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cut = n.rng.Int64N(1000) < n.rate.Load()
	return cut, n.rng.IntN(3) > 0
}

type cutConn struct {
	net.Conn
	n *cutNet
}

func (c *cutConn) Write(b []byte) (int, error) {
	cut, after := c.n.roll()
	if !cut {
		return c.Conn.Write(b)
	}
	c.n.cuts.Add(1)
	if !after {
		c.Conn.Close()
		return 0, errors.New("cut before sending")
	}
	n, err := c.Conn.Write(b)
	time.AfterFunc(500*time.Microsecond, func() { c.Conn.Close() })
	return n, err
}

// load produces batches of several sizes to some partitions until it is ended.
func (p *pair) load(on string, parts ...topicPartition) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, x := range parts {
		wg.Go(func() {
			pr := protocol.Producer{ID: 9000 + int64(i)}
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				vs := numbered(x.String()+"-"+string(rune('a'+n%26)), n%5+1)
				p.put(on, x, batch(pr, 0, vs...), nil)
				pr.Sequence += int32(len(vs))
			}
		})
	}
	return sync.OnceFunc(func() { close(stop); wg.Wait() })
}

func TestLostConnectionsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	n := &cutNet{rng: rand.New(rand.NewPCG(1, 2))}
	p := newPair(t, func(c *Config) { c.Dial = n.dial })
	p.topic("east", "orders", 4, nil)
	parts := []topicPartition{tp("orders", 0), tp("orders", 1), tp("orders", 2), tp("orders", 3)}
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	end := p.load("east", parts...)
	defer end()
	n.rate.Store(5)
	time.Sleep(4 * time.Second)
	p.eventually("the network is bad enough to prove something", func() bool { return n.cuts.Load() >= 10 })
	n.rate.Store(0)
	end()
	p.drain(m)
	total := 0
	for _, x := range parts {
		total += len(p.same(x))
	}
	t.Logf("%d records, %d connections cut", total, n.cuts.Load())
}

func TestRestartsAtRandomPointsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 4, nil)
	parts := []topicPartition{tp("orders", 0), tp("orders", 1), tp("orders", 2), tp("orders", 3)}
	end := p.load("east", parts...)
	defer end()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 25 {
		m := p.mirror()
		stop := p.run(m, eastToWest)
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond)
		stop()
		m.Close()
	}
	end()
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	for _, x := range parts {
		if n := len(p.same(x)); n == 0 {
			t.Fatal("nothing was produced")
		}
	}
}

func TestTwoMirrorsThatFightForTheSlotsCopyOnce(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 4, nil)
	parts := []topicPartition{tp("orders", 0), tp("orders", 1), tp("orders", 2), tp("orders", 3)}
	end := p.load("east", parts...)
	defer end()
	a, b := p.mirror(), p.mirror()
	stop := p.run(a, eastToWest)
	p.run(b, eastToWest)
	time.Sleep(4 * time.Second)
	stop()
	end()
	p.drain(b)
	for slot := range int32(p.cfg.Slots) {
		pr, err := newProducer(p.ctx, p.clusters["west"], b.slotID(slot))
		if err != nil {
			t.Fatal(err)
		}
		// There are only 32767.
		if pr.epoch > 20 {
			t.Errorf("slot %d: the fight took %d epochs", slot, pr.epoch)
		}
	}
	for _, x := range parts {
		if n := len(p.same(x)); n == 0 {
			t.Fatal("nothing was produced")
		}
	}
}

func TestOneBadPartitionStopsAloneWithAReason(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "big", 2, map[string]*string{"max.message.bytes": kadm.StringPtr("2000000")})
	p.topic("west", "big", 2, map[string]*string{"max.message.bytes": kadm.StringPtr("1000")})
	p.topic("east", "gap", 1, nil)
	p.topic("east", "foreign", 2, nil)
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.put("east", tp("gap", 0), batch(protocol.NoProducer, 0, "a", "b"), nil)
	p.put("east", tp("foreign", 0), batch(protocol.NoProducer, 0, "a", "b"), nil)
	p.drain(m)
	p.put("east", tp("big", 0), batch(protocol.NoProducer, 0, strings.Repeat("x", 2000)), nil)
	p.put("east", tp("big", 1), batch(protocol.NoProducer, 0, "small"), nil)
	stopped := func(m *Mirror, x topicPartition, reason string) {
		t.Helper()
		p.eventually(x.String()+" is stopped: "+reason, func() bool {
			s := p.state(m, x)
			return s.State == stateStopped && strings.Contains(s.Reason, reason)
		})
	}
	stopped(m, tp("big", 0), "MESSAGE_TOO_LARGE")
	p.eventually("the other partition goes on", func() bool { return len(p.logical("west", tp("big", 1))) == 1 })
	// Somebody writes to the standby.
	p.put("west", tp("foreign", 0), batch(protocol.NoProducer, 0, "rogue"), nil)
	for i := range int32(2) {
		p.put("east", tp("foreign", i), batch(protocol.NoProducer, 0, "c"), nil)
	}
	err := m.Drain(p.ctx)
	if err == nil || !strings.Contains(err.Error(), "big-0") {
		t.Fatalf("a drain with a stopped partition ended with %v", err)
	}
	stop()
	// Retention overtakes the mirror.
	p.put("east", tp("gap", 0), batch(protocol.NoProducer, 0, "c", "d", "e"), nil)
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "gap", Partition: 0, At: 4})
	if _, err := kadm.NewClient(p.clients["east"]).DeleteRecords(p.ctx, o); err != nil {
		t.Fatal(err)
	}
	m = p.mirror()
	p.run(m, eastToWest)
	stopped(m, tp("gap", 0), "gap: the source's log starts at offset 4 and was mirrored to 2")
	if s := p.state(m, tp("foreign", 0)); s.State != stateStopped || !strings.Contains(s.Reason, "foreign write") {
		t.Fatalf("a partition that somebody else wrote to: %+v", s)
	}
	// A new topic of an old name.
	p.topic("east", "made", 1, nil)
	p.put("east", tp("made", 0), batch(protocol.NoProducer, 0, "a"), nil)
	p.eventually("it is mirrored", func() bool { return p.state(m, tp("made", 0)).Position == 1 })
	if _, err := kadm.NewClient(p.clients["east"]).DeleteTopics(p.ctx, "made"); err != nil {
		t.Fatal(err)
	}
	p.topic("east", "made", 1, nil)
	p.put("east", tp("made", 0), batch(protocol.NoProducer, 0, "b"), nil)
	stopped(m, tp("made", 0), "made anew")
	if got := values(p.logical("west", tp("made", 0))); len(got) != 1 || got[0] != "a" {
		t.Fatalf("the target's copy of the old topic holds %v", got)
	}
}
