package proxy

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

func TestPlannedSwitchIsInvisibleToProducerAndConsumer(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		// West has another layout, so that nothing is aligned after the switch.
		for p := range int32(2) {
			if err := l.west.MoveTopicPartition("orders", p, 1-l.east.LeaderFor("orders", p)); err != nil {
				t.Fatal(err)
			}
		}
		prod := l.kgo()
		defer prod.Close()
		cons := l.kgo(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cons.Close()
		const n = 400
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				r := &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: fmt.Appendf(nil, "v%d", i)}
				prod.Produce(l.ctx, r, func(r *kgo.Record, err error) {
					if err != nil {
						t.Errorf("record %s: %v", r.Value, err)
					}
				})
				time.Sleep(10 * time.Millisecond)
			}
			if err := prod.Flush(l.ctx); err != nil {
				t.Error(err)
			}
		})
		m := l.mirror(l.east, l.west, 0, 1)
		for p := range int32(2) {
			m.begin("orders", p)
		}
		time.Sleep(2 * time.Second)
		l.fence("east", 0, true)
		var positions []int64
		for p := range int32(2) {
			m.copy("orders", p, -1)
			end := l.east.PartitionInfo("orders", p).HighWatermark
			positions = m.stamp("orders", p, logmap.Logical(end))
		}
		time.Sleep(500 * time.Millisecond)
		east := [2]int64{l.east.PartitionInfo("orders", 0).HighWatermark, l.east.PartitionInfo("orders", 1).HighWatermark}
		l.serve("west", 1, positions...)
		wg.Wait()
		got := consume(t, l, cons, n)
		next := [2]int64{}
		for _, r := range got {
			if r.Offset != next[r.Partition] {
				t.Fatalf("partition %d: offset %d, want %d", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
		}
		for p := range int32(2) {
			var want []string
			for i := int(p); i < n; i += 2 {
				want = append(want, fmt.Sprintf("v%d", i))
			}
			sameStrings(t, "west", l.west.logOf(t, "orders", p), want)
			if end := l.east.PartitionInfo("orders", p).HighWatermark; end != east[p] {
				t.Errorf("east grew to %d after the fence, from %d", end, east[p])
			}
		}
	})
}

// unplanned plays a kill of east with batches in all states: acknowledged and
// mirrored, mirrored and not acknowledged, neither.
func TestUnansweredProducesAreReplayedInOrderAndNotDoubled(t *testing.T) {
	for _, mirrored := range []int{0, 1, 3, 5} {
		t.Run(fmt.Sprintf("%d of 5 mirrored", mirrored), func(t *testing.T) {
			inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				m := l.mirror(l.east, l.west, 0, 1)
				m.begin("orders", 0)
				c := l.raw(0)
				defer c.close()
				for i := range 10 {
					acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}})))
				}
				m.copy("orders", 0, -1)
				l.net.mute("east")
				for i := 10; i < 15; i++ {
					c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}))
				}
				c.silent(time.Second) // written on east, and nobody was told
				sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 15))
				m.copy("orders", 0, mirrored)
				l.net.kill("east")
				c.silent(time.Second)
				exposed := l.fence("east", 0, false)
				if len(exposed) != 1 || exposed[0].Next != 10 {
					t.Errorf("exposed %v, want 10", exposed)
				}
				positions := m.stamp("orders", 0, logmap.Logical(10+mirrored))
				l.serve("west", 1, positions...)
				for i := 15; i < 20; i++ { // newer ones, behind
					c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}))
				}
				for i := 10; i < 20; i++ {
					if got := acked(t, c.receive(20*time.Second)); got[0] != int64(i) {
						t.Errorf("batch %d acknowledged at %d", i, got[0])
					}
				}
				sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 20))
				if got := l.proxy.Stats().Deduplicated; got != int64(mirrored) {
					t.Errorf("%d batches answered from the map, want %d", got, mirrored)
				}
			})
		})
	}
}

func TestRetryOnANewConnectionIsLookedUpToo(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		c := l.raw(0)
		for i := range 3 {
			acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}})))
		}
		m.copy("orders", 0, -1)
		c.close()
		l.fence("east", 0, false)
		l.serve("west", 1, m.stamp("orders", 0, 3)...)
		c = l.raw(0)
		defer c.close()
		// The client never saw the answers to the last two.
		for i := 1; i < 5; i++ {
			c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}))
		}
		for i := 1; i < 5; i++ {
			if got := acked(t, c.receive(20*time.Second)); got[0] != int64(i) {
				t.Errorf("batch %d acknowledged at %d", i, got[0])
			}
		}
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), numbered(0, 5))
	})
}

func TestRolledBackFenceReplaysOnTheSameCluster(t *testing.T) {
	for _, planned := range []bool{true, false} {
		t.Run(fmt.Sprintf("planned %v", planned), func(t *testing.T) {
			inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				c := l.raw(0)
				defer c.close()
				at := func(i int) part {
					return part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}
				}
				acked(t, c.ask(produceRequestOf(at(0))))
				l.fence("east", 0, planned)
				l.fence("east", 0, planned) // repeatable
				for i := 1; i < 4; i++ {
					c.send(produceRequestOf(at(i)))
				}
				c.silent(2 * time.Second)
				l.serve("east", 0)
				l.serve("east", 0)
				for i := 1; i < 4; i++ {
					if got := acked(t, c.receive(5*time.Second)); got[0] != int64(i) {
						t.Errorf("batch %d acknowledged at %d", i, got[0])
					}
				}
				sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 4))
			})
		})
	}
}

func TestUnsealedPartitionStaysClosedWhileOthersGoOn(t *testing.T) {
	inLab(t, 1, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		m.begin("orders", 1)
		l.fence("east", 0, true)
		l.serve("west", 1, m.stamp("orders", 0, 0)...)
		c := l.raw(0)
		defer c.close()
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v0"}})))
		c.send(produceRequestOf(part{"orders", 1, protocol.NoProducer, []string{"v0"}}))
		c.silent(3 * time.Second)
		sameStrings(t, "west", l.west.logOf(t, "orders", 1), nil)
		m.stamp("orders", 1, 0)
		acked(t, c.receive(5*time.Second))
	})
}
