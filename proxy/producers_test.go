package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

func numberedPart(i int) part {
	return part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}
}

// heldOnTwoSessions makes batch 3 wait on one node's session and 4 on the other's.
func heldOnTwoSessions(t *testing.T, l *lab) (a, b *rawClient, positions []int64) {
	l.serve("east", 0)
	m := l.mirror(l.east, l.west, 0, 1)
	m.begin("orders", 0)
	a, b = l.raw(0), l.raw(1)
	for i := range 3 {
		acked(t, a.ask(produceRequestOf(numberedPart(i))))
	}
	m.copy("orders", 0, -1)
	l.fence("east", 0, true)
	a.send(produceRequestOf(numberedPart(3)))
	time.Sleep(10 * time.Millisecond)
	b.send(produceRequestOf(numberedPart(4)))
	time.Sleep(10 * time.Millisecond)
	return a, b, m.stamp("orders", 0, 3)
}

// A client that moved a partition to another virtual node has batches of it on
// two sessions. West takes any sequence as the first of an id it has not seen.
func TestFirstBatchOfATenureIsTheEarliestOverAllSessions(t *testing.T) {
	for range 20 { // which session is first to see the flip is a matter of chance
		inLab(t, 2, 1, []string{"orders"}, func(t *testing.T, l *lab) {
			a, b, positions := heldOnTwoSessions(t, l)
			defer a.close()
			defer b.close()
			l.serve("west", 1, positions...)
			acked(t, a.receive(5*time.Second))
			acked(t, b.receive(5*time.Second))
			sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 5))
		})
	}
}

func TestBatchBehindADroppedOneWaitsForItsRetry(t *testing.T) {
	inLab(t, 2, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		a, b, positions := heldOnTwoSessions(t, l)
		defer b.close()
		a.close()
		time.Sleep(100 * time.Millisecond)
		l.serve("west", 1, positions...)
		b.silent(2 * time.Second)
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 3))
		a = l.raw(0) // the client comes back
		defer a.close()
		acked(t, a.ask(produceRequestOf(numberedPart(3))))
		acked(t, b.receive(5*time.Second))
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 5))
	})
}

func TestNewEpochOfAProducerDoesNotWaitForTheOldOne(t *testing.T) {
	inLab(t, 2, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		a, b, positions := heldOnTwoSessions(t, l)
		a.close()
		b.close()
		time.Sleep(100 * time.Millisecond)
		l.serve("west", 1, positions...)
		c := l.raw(0)
		defer c.close()
		begin := time.Now()
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Epoch: 1}, []string{"v3"}})))
		if took := time.Since(begin); took > time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// Until a tenure has accepted a batch of a producer, a second one is not sent:
// if the first were lost on the way, the second would be taken as the first.
func TestOneBatchInFlightUntilTheFirstSuccessOfATenure(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		l.fence("east", 0, true)
		positions := m.stamp("orders", 0, 0)
		c := l.raw(0)
		defer c.close()
		for i := range 5 {
			c.send(produceRequestOf(numberedPart(i)))
		}
		time.Sleep(10 * time.Millisecond)
		lost := 0
		l.west.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			if lost++; lost > 3 {
				return nil, nil, false
			}
			l.west.KeepControl()
			return nil, fmt.Errorf("lost by the test"), true // closes the connection
		})
		l.serve("west", 1, positions...)
		for i := range 5 {
			if got := acked(t, c.receive(8*time.Second)); got[0] != int64(i) {
				t.Errorf("batch %d acknowledged at %d", i, got[0])
			}
		}
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 5))
	})
}

func TestSequencesCompareAcrossTheWrap(t *testing.T) {
	const last = 1<<31 - 1
	for _, tt := range []struct {
		a, b int32
		want bool
	}{{1, 0, true}, {0, 1, false}, {5, 5, false}, {0, last, true}, {last, 0, false}, {3, last - 3, true}} {
		if got := after(tt.a, tt.b); got != tt.want {
			t.Errorf("after(%d, %d) is %v", tt.a, tt.b, got)
		}
	}
}

func TestRetryOnTheSessionOfALaterBatchGoesBeforeIt(t *testing.T) {
	inLab(t, 2, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		a, b, positions := heldOnTwoSessions(t, l)
		defer b.close()
		a.close()
		time.Sleep(100 * time.Millisecond)
		l.serve("west", 1, positions...)
		time.Sleep(time.Second)
		b.send(produceRequestOf(numberedPart(3)))
		acked(t, b.receive(time.Second))
		acked(t, b.receive(time.Second))
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 5))
	})
}
