package proxy

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// A request that was answered, and whose answer was revoked, is held as one that
// was not: bounded.
func TestRevokedAnswerIsNotHeldForEver(t *testing.T) {
	inLab(t, 1, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		m.begin("orders", 1)
		c := l.raw(0)
		defer c.close()
		l.east.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			if r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Partition != 0 {
				return nil, nil, false
			}
			row, _ := protocol.Lookup(0)
			return row.Fail(r, codeNotLeader), nil, true
		})
		begin := time.Now()
		one := part{"orders", 0, protocol.Producer{ID: 7}, []string{"a"}}
		two := part{"orders", 1, protocol.Producer{ID: 7}, []string{"b"}}
		c.send(produceRequestOf(one))
		c.send(produceRequestOf(two))
		c.silent(time.Second)
		l.fence("east", 0, false)
		for range 2 {
			p := c.receive(20 * time.Second).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
			if took := time.Since(begin); p.ErrorCode != codeNotEnoughReplicas || took > 9*time.Second {
				t.Errorf("partition %d got code %d after %v", p.Partition, p.ErrorCode, took)
			}
		}
		m.stamp("orders", 0, 0)
		l.serve("west", 1, m.stamp("orders", 1, 0)...)
		acked(t, c.ask(produceRequestOf(one)))
		acked(t, c.ask(produceRequestOf(two)))
		sameStrings(t, "west", l.west.logOf(t, "orders", 1), []string{"b"})
	})
}
