package mirror

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"

	"github.com/catamaran-io/catamaran/protocol"
)

func TestNothingRunsAfterRunAndClose(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("", func(t *testing.T) {
		p := newPair(t)
		p.topic("east", "orders", 2, nil)
		end := p.load("east", tp("orders", 0))
		m := p.mirror()
		stop := p.run(m, eastToWest)
		time.Sleep(300 * time.Millisecond)
		if err := stop(); !errors.Is(err, context.Canceled) {
			t.Fatalf("Run ended with %v", err)
		}
		end()
		m.Close()
		m.Close()
	})
}

func TestSealEndsTheLinkOfThisProcess(t *testing.T) {
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	m := p.mirror()
	done := make(chan error, 1)
	go func() { done <- m.Run(p.ctx, eastToWest) }()
	p.drain(m)
	l := eastToWest
	l.Epoch++
	if err := m.Seal(p.ctx, l); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, ErrHigherEpoch) {
			t.Fatalf("Run ended with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Run goes on")
	}
}

// A mirror in another process learns of the seal from the target alone.
func TestSealEndsTheLinkOfAnotherProcess(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	other, m := p.mirror(), p.mirror()
	done := make(chan error, 1)
	go func() { done <- other.Run(p.ctx, eastToWest) }()
	p.drain(other)
	l := eastToWest
	l.Epoch++
	if _, err := m.Stamp(p.ctx, l, nil, false); err != nil {
		t.Fatal(err)
	}
	p.put("east", tp("orders", 0), batch(protocol.NoProducer, 0, "late"), nil)
	select {
	case err := <-done:
		if !errors.Is(err, ErrHigherEpoch) {
			t.Fatalf("Run ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the other mirror goes on")
	}
	if log := p.logical("west", tp("orders", 0)); len(log) != 0 {
		t.Fatalf("a record was mirrored into the active cluster: %v", log)
	}
}

func TestPartitionThatCannotBeSealedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	p.topic("east", "broken", 1, nil)
	ok, bad := tp("orders", 0), tp("broken", 0)
	for _, x := range []topicPartition{ok, bad} {
		p.put("east", x, batch(protocol.NoProducer, 0, "a"), nil)
	}
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.drain(m)
	stop()
	fault := p.fakes["west"].Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "broken", Err: kerr.KafkaStorageError, Count: -1})
	l := eastToWest
	l.Epoch++
	s, err := m.Stamp(p.ctx, l, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, ps := range s.Partitions {
		if held := ps.Held != ""; held != (ps.TopicPartition == bad) {
			t.Fatalf("stamp %+v", ps)
		}
	}
	// A rolled-back cutover: the mirror goes on with the others, and with it
	// when it is back.
	l.Epoch++
	p.run(m, l)
	for _, x := range []topicPartition{ok, bad} {
		p.put("east", x, batch(protocol.NoProducer, 0, "b"), nil)
	}
	p.eventually("the others go on", func() bool { return len(p.logical("west", ok)) == 2 })
	if s := p.state(m, bad); s.State != stateStopped || !strings.Contains(s.Reason, "cannot be sealed") {
		t.Fatalf("state %+v", s)
	}
	fault.Remove()
	p.eventually("it goes on", func() bool { return p.state(m, bad).Position == 2 })
	p.drain(m)
	p.same(ok)
	p.same(bad)
}

func TestNewTopicsAndPartitionsAreFollowed(t *testing.T) {
	t.Parallel()
	p := newPair(t, func(c *Config) { c.Topics = Rules{Include: []string{"a*"}, Exclude: []string{"ax"}} })
	p.topic("east", "a1", 1, map[string]*string{"max.message.bytes": kadm.StringPtr("12345")})
	p.topic("east", "ax", 1, nil)
	p.topic("east", "b1", 1, nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	if _, err := kadm.NewClient(p.clients["east"]).UpdatePartitions(p.ctx, 3, "a1"); err != nil {
		t.Fatal(err)
	}
	p.put("east", tp("a1", 2), batch(protocol.NoProducer, 0, "x"), nil)
	p.drain(m)
	p.same(tp("a1", 2))
	adm := kadm.NewClient(p.clients["west"])
	topics, err := adm.ListTopics(p.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if topics.Has("ax") || topics.Has("b1") || len(topics["a1"].Partitions) != 3 {
		t.Fatalf("topics on the target: %v", topics.Names())
	}
	configs, err := adm.DescribeTopicConfigs(p.ctx, "a1")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range configs[0].Configs {
		if want := map[string]string{"max.message.bytes": "12345", "compression.type": "producer", "message.timestamp.type": "CreateTime"}[kv.Key]; want != "" && kv.MaybeValue() != want {
			t.Errorf("%s is %s on the target, want %s", kv.Key, kv.MaybeValue(), want)
		}
	}
}

func TestNonEmptyTargetIsRefusedUnlessAdopted(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	x := tp("orders", 0)
	for _, c := range []string{"east", "west"} {
		p.topic(c, "orders", 1, nil)
	}
	p.put("west", x, batch(protocol.NoProducer, 0, "old1", "old2"), nil)
	p.put("east", x, batch(protocol.NoProducer, 0, "a"), nil)
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.eventually("it is refused", func() bool { return strings.Contains(p.state(m, x).Reason, "not empty") })
	stop()
	m = p.mirror(func(c *Config) { c.Adopt = true })
	p.run(m, eastToWest)
	p.drain(m)
	if log := p.same(x); len(log) != 1 || log[0].offset != 0 {
		t.Fatalf("log %v", log)
	}
}

// The whole package runs in virtual time: nothing spins, and nothing waits on a
// lock while it waits for the network.
func TestMirrorRunsInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var net kfake.VirtualNetwork
		cfg := Config{VirtualCluster: "v", Writer: "sim", Clusters: map[string]Cluster{}, Slots: 4, Dial: net.DialContext, Discover: time.Minute, GroupInterval: time.Minute, Logger: testLogger(t)}
		clients := map[string]*kgo.Client{}
		for i, name := range []string{"east", "west"} {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9000+i), kfake.ListenFn(net.Listen), kfake.MaxVersions(kversion.V4_1_0()), kfake.SeedTopics(2, map[string]string{"east": "orders", "west": "local"}[name]))
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			cfg.Clusters[name] = Cluster{Seeds: fake.ListenAddrs()}
			cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.Dialer(net.DialContext), kgo.DefaultProduceTopic("orders"))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			clients[name] = cl
		}
		m, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx, eastToWest) }()
		for _, pause := range []time.Duration{100 * time.Millisecond, 3 * time.Minute, 5 * time.Hour} {
			for range 5 {
				if err := clients["east"].ProduceSync(ctx, kgo.StringRecord("v")).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			if err := m.Drain(ctx); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Fatalf("drained in %v", took)
			}
			// Idle past the proof of ownership, then past the keepalive.
			time.Sleep(pause)
		}
		for _, s := range m.Status() {
			if s.State != stateMirroring || s.Position != s.End {
				t.Fatalf("%+v", s)
			}
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatalf("Run ended with %v", err)
		}
		m.Close()
	})
}

// A stopped partition forbids every cutover, so one without anything to mirror
// must not stay one.
func TestDeletedTopicDoesNotStayStopped(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	p.topic("east", "gone", 2, nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.put("east", tp("gone", 0), batch(protocol.NoProducer, 0, "a"), nil)
	p.drain(m)
	if _, err := kadm.NewClient(p.clients["east"]).DeleteTopics(p.ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	p.eventually("it is stopped", func() bool { return p.state(m, tp("gone", 0)).State == stateStopped })
	p.eventually("it is forgotten", func() bool { return len(m.Status()) == 1 })
	// A topic of the old name is not the old topic, and one that is restored goes on.
	p.topic("east", "gone", 2, nil)
	p.put("east", tp("gone", 0), batch(protocol.NoProducer, 0, "b"), nil)
	p.eventually("the new topic is recognised", func() bool { return strings.Contains(p.state(m, tp("gone", 0)).Reason, "made anew") })
	p.put("east", tp("orders", 0), batch(protocol.NoProducer, 0, "c"), nil)
	p.eventually("the other goes on", func() bool { return len(p.logical("west", tp("orders", 0))) == 1 })
}
