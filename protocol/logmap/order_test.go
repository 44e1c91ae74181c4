package logmap

import (
	"testing"
	"time"
)

// What a dead writer wrote ahead, and a stamp that nothing was written behind,
// may stand where only markers do, in front of a later generation's start.
func TestLeftoversInFrontOfALaterGenerationAreVoid(t *testing.T) {
	extents := []Extent{{Generation: 1, Cluster: 0}, {Generation: 1, Cluster: 10, Logical: 20}, {Generation: 1, Cluster: 12, Logical: 30}, {Generation: 2, Cluster: 13, Logical: 20}}
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 3, 0, 1}} {
		var m Map
		for _, i := range order {
			m.Add(extents[i])
		}
		for l := Logical(20); l < 40; l++ {
			if got, want := m.Cluster(l), Cluster(13+l-20); got != want && l > 20 {
				t.Fatalf("logical %d is at %d, want %d; map %v", l, got, want, m.Extents())
			}
		}
		for c := Cluster(0); c < 40; c++ {
			if m.Position(c) > m.Position(c+1) {
				t.Fatalf("the position falls behind %d; map %v", c, m.Extents())
			}
		}
	}
}

// A transactional topic has an extent per transaction; reading the map of a busy
// one must not take longer than an acquisition may.
func TestLongMapsAreReadInReasonableTime(t *testing.T) {
	var m Map
	began := time.Now()
	const n = 200_000
	for i := range Cluster(n) {
		m.Add(Extent{Generation: 1, Cluster: i, Logical: Logical(2 * i)})
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("%d extents took %v", n, took)
	}
}

// A batch that had been announced and did not arrive is announced again when it
// is copied again: the first announcement must not hide the second.
func TestBatchThatWasCopiedAgainIsKnown(t *testing.T) {
	var s State
	tp := TopicPartition{"t", 0}
	b := IntentBatch{FirstSequence: 5, LastSequence: 6, Logical: 100, Cluster: 100, Count: 2, Generation: 1}
	again := b
	again.Cluster, again.Generation = 101, 2
	s.Put(0, &ExtentRecord{TP: tp, Extent: Extent{Generation: 1}}, false)
	s.Put(0, &ExtentRecord{TP: tp, Extent: Extent{Generation: 2, Cluster: 101, Logical: 100, Before: 100}}, false)
	s.Put(0, &Intent{TP: tp, ProducerID: 9, Batches: []IntentBatch{b, again}}, false)
	if l, ok := s.Partition(tp).Mirrored(9, 0, 5, 6, 103); !ok || l != 100 {
		t.Fatalf("%d %v", l, ok)
	}
}
