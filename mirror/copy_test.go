package mirror

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/catamaran-io/catamaran/protocol"
)

var eastToWest = Link{Source: "east", Target: "west", Epoch: 1}

func tp(topic string, n int32) topicPartition { return topicPartition{Topic: topic, Partition: n} }

func TestEveryKindOfBatchArrivesAsItIsAndAtItsOffset(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 2, nil)
	one := tp("orders", 0)
	want := []string{}
	add := func(b protocol.Batch, vs ...string) {
		p.put("east", one, b, nil)
		want = append(want, vs...)
	}
	add(batch(protocol.NoProducer, 0, "a", "b"), "a", "b")
	for codec := int16(1); codec <= 4; codec++ {
		vs := numbered("c"+string(rune('0'+codec))+"-", 20)
		add(compressed(p, codec, vs...), vs...)
	}
	add(batch(protocol.Producer{ID: 77, Epoch: 0, Sequence: 0}, 0, "i0", "i1"), "i0", "i1")
	// A committed, an aborted and another committed transaction of one producer.
	txid := "tx"
	for i, commit := range []bool{true, false, true} {
		pr, err := newProducer(p.ctx, p.clusters["east"], txid)
		if err != nil {
			t.Fatal(err)
		}
		if err := pr.add(p.ctx, []topicPartition{one}); err != nil {
			t.Fatal(err)
		}
		v := "t" + string(rune('0'+i))
		p.put("east", one, batch(protocol.Producer{ID: pr.id, Epoch: pr.epoch}, protocol.AttrTransactional, v), &txid)
		p.put("east", one, batch(protocol.NoProducer, 0, "between"+v), nil)
		want = append(want, "between"+v)
		if commit {
			want = slices.Insert(want, len(want)-1, v)
			if err := pr.commit(p.ctx); err != nil {
				t.Fatal(err)
			}
		} else if _, err := newProducer(p.ctx, p.clusters["east"], txid); err != nil { // aborts
			t.Fatal(err)
		}
	}
	add(batch(protocol.NoProducer, 0, "last"), "last")
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	log := p.same(one)
	if got := values(log); !slices.Equal(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	p.same(tp("orders", 1))
	// And what comes while it runs.
	p.put("east", one, batch(protocol.NoProducer, 0, "live"), nil)
	p.put("east", tp("orders", 1), batch(protocol.NoProducer, 0, "live"), nil)
	p.topic("east", "later", 1, nil)
	p.put("east", tp("later", 0), batch(protocol.NoProducer, 0, "x"), nil)
	p.drain(m)
	for _, x := range []topicPartition{one, tp("orders", 1), tp("later", 0)} {
		p.same(x)
	}
	if n := len(p.logical("west", tp("later", 0))); n != 1 {
		t.Fatalf("a topic that was made later has %d records on the target, want 1", n)
	}
}

func TestHigherRoleEpochRefuses(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	m := p.mirror()
	if err := m.Seal(p.ctx, Link{Source: "east", Target: "west", Epoch: 7}); err != nil {
		t.Fatal(err)
	}
	if err := p.mirror().Run(p.ctx, Link{Source: "east", Target: "west", Epoch: 6}); !errors.Is(err, ErrHigherEpoch) {
		t.Fatalf("a mirror of an earlier epoch ended with %v, want ErrHigherEpoch", err)
	}
	if err := p.mirror().Run(p.ctx, Link{Source: "east", Target: "west", Epoch: 7}); !errors.Is(err, errOtherRole) {
		t.Fatalf("a mirror into the active cluster ended with %v", err)
	}
	// A rollback is a role at a higher epoch.
	stop := p.run(m, Link{Source: "east", Target: "west", Epoch: 8})
	p.drain(m)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Fatalf("Run ended with %v", err)
	}
}
