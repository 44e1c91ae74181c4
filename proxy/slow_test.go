package proxy

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

func record(topic string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}

// The other cluster may be far away: what takes long because it is large is not
// given up, or a consumer with the usual 50 MiB would never get anything.
func TestLargeAnswerOverASlowLinkArrives(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		noise := make([]byte, 900_000) // that no codec makes small
		for i, rng := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
			noise[i] = byte(rng.Uint32())
		}
		if err := l.east.client.ProduceSync(l.ctx, record("orders", 0, string(noise))).FirstErr(); err != nil {
			t.Fatal(err)
		}
		l.net.slow("east", 100_000)
		c := l.raw(0)
		defer c.close()
		begin := time.Now()
		resp := c.ask(fetchRequestOf(l, "orders", 0, 0)).(*kmsg.FetchResponse)
		if p := resp.Topics[0].Partitions[0]; len(p.RecordBatches) < 900_000 {
			t.Errorf("%d bytes after %v", len(p.RecordBatches), time.Since(begin))
		}
		if w := l.proxy.Observe("east").Waiting; w > time.Second {
			t.Errorf("waiting %v for a broker that answers", w)
		}
	})
}

// A controller may take its time, as long as the client says. To ask it again
// would be answered with TOPIC_ALREADY_EXISTS.
func TestSlowCreationOfATopicIsNotRepeated(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		slow := true
		l.east.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			if !slow {
				return nil, nil, false
			}
			slow = false
			l.east.SleepControl(func() {
				if err := l.east.CreateTopic("new", 1, nil); err != nil {
					t.Error(err)
				}
				time.Sleep(6 * time.Second)
			})
			row, _ := protocol.Lookup(int16(kmsg.CreateTopics))
			return row.Fail(r, 0), nil, true
		})
		c := l.raw(0)
		defer c.close()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Version, req.TimeoutMillis = 5, 30_000
		rt := kmsg.NewCreateTopicsRequestTopic()
		rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "new", 1, 1
		req.Topics = append(req.Topics, rt)
		if code := c.ask(req).(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
			t.Errorf("creation got code %d", code)
		}
		time.Sleep(6 * time.Second)
	})
}
