package mirror

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// A drain that returned without them would have the group read again what it had
// committed.
func TestDrainDoesNotLeaveOutTheOffsetsOfASlotThatIsBeingAcquired(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.topic("east", "orders", 1, nil)
	x := tp("orders", 0)
	p.put("east", x, batch(protocol.NoProducer, 0, "a", "b"), nil)
	m := p.mirror()
	p.run(m, eastToWest)
	p.drain(m)
	l := m.running.link
	for range cap(l.acquiring) { // nothing is acquired while the tokens are taken
		l.acquiring <- struct{}{}
	}
	if err := l.call(p.ctx, func() { l.lose(l.parts[x].slot, errors.New("test")) }); err != nil {
		t.Fatal(err)
	}
	var o kadm.Offsets
	o.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 2, LeaderEpoch: -1})
	if err := kadm.NewClient(p.clients["east"]).CommitAllOffsets(p.ctx, "g", o); err != nil {
		t.Fatal(err)
	}
	if err := l.groupsOnce(p.ctx, true); !errors.Is(err, errSlotLost) {
		t.Fatalf("offsets were left out: %v", err)
	}
	for range cap(l.acquiring) {
		<-l.acquiring
	}
	p.drain(m)
	r, err := kadm.NewClient(p.clients["west"]).FetchOffsets(p.ctx, "g")
	if err != nil {
		t.Fatal(err)
	}
	got, _ := r.Lookup("orders", 0)
	if l := p.mapOf("west").Partition(x).Map.Position(logmap.Cluster(got.At)); l != 2 {
		t.Fatalf("after a drain the group stands at %d, logical %d, want 2", got.At, l)
	}
}
