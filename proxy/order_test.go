package proxy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// storm makes a cluster answer some produce requests with code.
func (c *labCluster) storm(rng *rand.Rand, share float64, code func() int16) (stop func()) {
	over := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-over:
			c.DropControl()
			return nil, nil, false
		default:
		}
		c.KeepControl()
		if rng.Float64() >= share {
			return nil, nil, false
		}
		row, _ := protocol.Lookup(int16(kmsg.Produce))
		return row.Fail(r, code()), nil, true
	})
	return func() { close(over) }
}

func TestPipelinedProducesStayInOrderUnderErrorStorms(t *testing.T) {
	for _, tt := range []struct {
		name     string
		producer protocol.Producer
	}{
		{"idempotent", protocol.Producer{ID: 7}},
		{"plain", protocol.NoProducer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				rng := rand.New(rand.NewPCG(1, 2))
				codes := []int16{codeNotLeader, codeNotEnoughReplicas, codeLeaderNotAvailable, codeStorageError}
				stop := l.east.storm(rng, 0.4, func() int16 { return codes[rng.IntN(len(codes))] })
				defer stop()
				c := l.raw(0)
				defer c.close()
				const n, window = 200, 5
				seq := int32(0)
				for i := range n {
					if i%25 == 0 {
						if err := l.east.MoveTopicPartition("orders", 1, int32(i/25%2)); err != nil {
							t.Fatal(err)
						}
					}
					p := tt.producer
					if p.ID >= 0 {
						p.Sequence = seq
					}
					c.send(produceRequestOf(
						part{"orders", 0, p, []string{fmt.Sprintf("v%d", i)}},
						part{"orders", 1, p, []string{fmt.Sprintf("v%d", i)}},
					))
					seq++
					if len(c.sent) == window {
						acked(t, c.receive(20*time.Second))
					}
				}
				for len(c.sent) > 0 {
					acked(t, c.receive(20*time.Second))
				}
				for p := range int32(2) {
					sameStrings(t, fmt.Sprintf("partition %d", p), l.east.logOf(t, "orders", p), numbered(0, n))
				}
			})
		})
	}
}

func TestLostConnectionsAreInvisibleToAnIdempotentProducer(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		const n, window = 300, 5
		for i := range n {
			if i%20 == 10 {
				l.net.breakAll("east")
			}
			c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}))
			if len(c.sent) == window {
				acked(t, c.receive(20*time.Second))
			}
		}
		for len(c.sent) > 0 {
			acked(t, c.receive(20*time.Second))
		}
		sameStrings(t, "log", l.east.logOf(t, "orders", 0), numbered(0, n))
	})
}

func TestProduceHeldTooLongAsksTheClientToRepeatIt(t *testing.T) {
	inLab(t, 1, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		l.net.kill("east")
		c := l.raw(0)
		defer c.close()
		begin := time.Now()
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v0"}}))
		resp := c.receive(20 * time.Second).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != codeNotEnoughReplicas {
			t.Errorf("error code %d, want NOT_ENOUGH_REPLICAS", code)
		}
		if took := time.Since(begin); took < 8*time.Second || took > 8500*time.Millisecond {
			t.Errorf("answered after %v, want 8s", took)
		}
		l.net.heal("east")
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v0"}})))
	})
}

func TestProduceOfAClientThatIsGoneIsDropped(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		l.fence("east", 0, true)
		c := l.raw(0)
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"gone"}}))
		time.Sleep(time.Second)
		c.close()
		time.Sleep(time.Second)
		l.serve("east", 0)
		time.Sleep(time.Second)
		sameStrings(t, "log", l.east.logOf(t, "orders", 0), nil)
	})
}

func TestUnknownTopicIsReported(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		resp := c.ask(produceRequestOf(part{"nothing", 0, protocol.NoProducer, []string{"v"}})).(*kmsg.ProduceResponse)
		if code := resp.Topics[0].Partitions[0].ErrorCode; code != codeUnknownTopicOrPartition {
			t.Errorf("error code %d, want UNKNOWN_TOPIC_OR_PARTITION", code)
		}
	})
}

func TestAcksZeroGetsNoAnswerAndIsWritten(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		for i := range 3 {
			req := produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{fmt.Sprintf("v%d", i)}})
			req.Acks = 0
			c.send(req)
		}
		c.close() // as a client that flushes and ends
		time.Sleep(time.Second)
		sameStrings(t, "log", l.east.logOf(t, "orders", 0), numbered(0, 3))
	})
}
