package mirror

import (
	"testing"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// intents are what the proxy asks after a failover: was this batch, which the
// client sends again, mirrored?
func TestRetriesOfMirroredBatchesAreRecognised(t *testing.T) {
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	type sent struct {
		protocol.Producer
		values []string
		at     int64
	}
	var all []sent
	send := func(pr protocol.Producer, n int) {
		vs := numbered("v", n)
		all = append(all, sent{pr, vs, p.put("east", x, batch(pr, 0, vs...), nil)})
	}
	for i := range int32(4) { // merged on the way: they are small and wait together
		send(protocol.Producer{ID: 70, Sequence: 3 * i}, 3)
		send(protocol.Producer{ID: 71, Epoch: 2, Sequence: 100 + i}, 1)
	}
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	send(protocol.Producer{ID: 70, Sequence: 12}, 2)
	p.drain(m)
	part := p.mapOf("west").Partition(x)
	end := p.clusters["west"].offsets(p.ctx, []topicPartition{x}, logEnd)[x].offset
	for _, s := range all {
		last := protocol.AddSequence(s.Sequence, int64(len(s.values)-1))
		l, ok := part.Mirrored(s.ID, s.Epoch, s.Sequence, last, end)
		if !ok || l != logmap.Logical(s.at) {
			t.Fatalf("batch %+v: %d %v, want %d; the map has %+v, the log ends at %d", s, l, ok, s.at, part.Intents(), end)
		}
	}
	if _, ok := part.Mirrored(70, 0, 14, 14, end); ok {
		t.Fatal("a batch that was never sent was recognised")
	}
	p.same(x)
	if len(m.Status()) != 1 {
		t.Fatalf("status %+v", m.Status())
	}
	// Across a cutover: what clients wrote on west under their old ids is known
	// on east by the ids that the clients hold.
	next, _ := p.switchover(m, eastToWest)
	wire, err := protocol.ClientProducerID(70).Wire(1)
	if err != nil {
		t.Fatal(err)
	}
	at := p.put("west", x, batch(protocol.Producer{ID: int64(wire), Sequence: 14}, 0, "w"), nil)
	p.run(m, next)
	p.drain(m)
	log := p.same(x)
	part = p.mapOf("east").Partition(x)
	end = p.clusters["east"].offsets(p.ctx, []topicPartition{x}, logEnd)[x].offset
	if l, ok := part.Mirrored(70, 0, 14, 14, end); !ok || l != log[len(log)-1].offset {
		t.Fatalf("batch of tenure 1 at west's offset %d: %d %v", at, l, ok)
	}
}

func TestForgottenProducersMakeRoomForNewOnes(t *testing.T) {
	p := &part{topicPartition: tp("t", 0), intents: map[int64]*intent{}}
	for i := range int64(maxIntents) + 10 {
		recs := p.declare(&item{logical: logmap.Logical(i), clients: []clientBatch{{producer: i, count: 1}}})
		if want := 1 + int(min(1, max(0, i-maxIntents+1))); len(recs) != want {
			t.Fatalf("producer %d: %d records, want %d", i, len(recs), want)
		}
	}
	if len(p.intents) != maxIntents || p.intents[9] != nil || p.intents[10] == nil {
		t.Fatalf("%d producers are kept, or not the last", len(p.intents))
	}
}

// A mirror that starts again finds what the one before it had announced.
func TestIntentsOutliveTheGenerationThatWroteThem(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.Producer{ID: 70}, 0, "a", "b"), nil)
	check := func(what string, seqs ...int32) {
		t.Helper()
		part := p.mapOf("west").Partition(x)
		end := p.clusters["west"].offsets(p.ctx, []topicPartition{x}, logEnd)[x].offset
		for _, seq := range seqs {
			if l, ok := part.Mirrored(70, 0, seq, seq+1, end); !ok {
				t.Errorf("%s: the batch of sequence %d is not known (%d); map %v, intents %+v", what, seq, l, part.Map.Extents(), part.Intents())
			}
		}
	}
	m := p.mirror()
	stop := p.run(m, eastToWest)
	p.drain(m)
	check("as written", 0)
	stop()
	m = p.mirror()
	stop = p.run(m, eastToWest)
	p.drain(m)
	check("after a restart", 0)
	// A hole at the start of a generation, and one in the middle.
	for i := range int32(2) {
		p.transact("east", x, "t")
		p.put("east", x, batch(protocol.Producer{ID: 70, Sequence: 2 + 2*i}, 0, "c", "d"), nil)
	}
	p.drain(m)
	check("behind holes", 0, 2, 4)
	stop()
	m = p.mirror()
	p.run(m, eastToWest)
	p.transact("east", x, "t")
	p.switchover(m, eastToWest)
	check("after a cutover", 0, 2, 4)
}

func TestTopicMadeInALaterTenureHasItsProducersKnown(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	m := p.mirror()
	p.run(m, eastToWest)
	next, _ := p.switchover(m, eastToWest)
	p.topic("west", "fresh", 1, nil)
	x := tp("fresh", 0)
	id, err := protocol.IssuedProducerID(5, 1)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := id.Wire(1)
	if err != nil {
		t.Fatal(err)
	}
	p.put("west", x, batch(protocol.Producer{ID: int64(wire)}, 0, "a"), nil)
	p.run(m, next)
	p.drain(m)
	part := p.mapOf("east").Partition(x)
	if _, ok := part.Mirrored(int64(id), 0, 0, 0, 1); !ok {
		t.Fatalf("the batch of producer %d is not known: %+v", id, part.Intents())
	}
}

// Of the producers that an earlier mirror has left, the longest silent go first,
// and all of them before one that has just written.
func TestProducersOfAnEarlierMirrorAreForgottenInOrder(t *testing.T) {
	p := &part{topicPartition: tp("t", 0), intents: map[int64]*intent{}}
	for i := range int64(maxIntents) {
		p.intents[i] = &intent{used: logmap.Logical(i)}
	}
	for i := range int64(3) {
		p.declare(&item{logical: logmap.Logical(maxIntents + i), clients: []clientBatch{{producer: 1000 + i, count: 1}}})
	}
	for _, id := range []int64{3, maxIntents - 1, 1000, 1001, 1002} {
		if p.intents[id] == nil {
			t.Errorf("producer %d is forgotten", id)
		}
	}
}
