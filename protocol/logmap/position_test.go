package logmap

import (
	"testing"

	"pgregory.net/rapid"
)

// Invariant: positions never fall as the cluster offset grows, and a position
// never lies behind a live record that stands at or after it: a client that is
// told a log start or commits a high watermark skips nothing.
func TestPositionsNeverPassALiveRecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map
		c, l := Cluster(0), Logical(0)
		live := make(map[Cluster]Logical)
		for g := range rapid.IntRange(1, 5).Draw(t, "extents") {
			m.Add(Extent{Generation: Generation(2 * g), Cluster: c, Logical: l})
			for range rapid.IntRange(0, 5).Draw(t, "live") {
				live[c] = l
				c, l = c+1, l+1
			}
			c += Cluster(rapid.IntRange(0, 4).Draw(t, "markers"))
			jump := Logical(rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "jump"))
			if n := rapid.IntRange(0, 3).Draw(t, "dead"); n > 0 {
				m.Add(Extent{Generation: Generation(2*g + 1), Cluster: c, Logical: l + jump, Dead: true})
				c += Cluster(n)
			}
			l += jump
		}
		m.Add(Extent{Generation: 100, Cluster: c, Logical: l, Stamp: true})
		next := l // the logical offset of the first live record at or after c
		for at := c; at >= 0; at-- {
			if rec, ok := live[at]; ok {
				next = rec
				if got := m.Position(at); got != rec {
					t.Fatalf("record at %d is logical %d, its position %d; map %v", at, rec, got, m.Extents())
				}
			}
			if got := m.Position(at); got > next || got > m.Position(at+1) {
				t.Fatalf("position of %d is %d, the next live record is %d, the next position %d; map %v", at, got, next, m.Position(at+1), m.Extents())
			}
		}
	})
}
