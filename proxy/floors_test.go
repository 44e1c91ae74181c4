package proxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// nextPort makes a second proxy of the lab, the process after a restart.
func nextPort(cfg *Config) { cfg.Port = labPort + 50 }

// What the process before has shown counts too: its clients keep their offsets.
func TestRestartedProcessKnowsWhatTheOneBeforeItMayHaveShown(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		for i := range 10 {
			acked(t, c.ask(produceRequestOf(part{"orders", int32(i % 2), protocol.NoProducer, []string{fmt.Sprintf("v%d", i)}})))
		}
		end := l.start(nextPort)
		defer end()
		l.serve("east", 0)
		got := l.fence("east", 0, false)
		if len(got) != 2 || got[0].Next != 5 || got[1].Next != 5 {
			t.Errorf("exposed %v, want 5 of each partition", got)
		}
	})
}

// Floors that nobody can know must not read as "nothing was shown".
func TestUnplannedFenceFailsWhileTheFloorsOfAnEarlierProcessAreNotKnown(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		for p := range int32(2) {
			if err := l.east.MoveTopicPartition("orders", p, p); err != nil {
				t.Fatal(err)
			}
		}
		answer := false
		l.east.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			if answer || l.east.CurrentNode() == 0 {
				return nil, nil, false
			}
			return nil, nil, true // never answered
		})
		begin := time.Now()
		l.serve("east", 0)
		if took := time.Since(begin); took > 4*time.Second {
			t.Errorf("serving waited %v for a broker that does not answer", took)
		}
		c := l.raw(0)
		defer c.close()
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}})))
		r := Route{Epoch: 2, Active: "east"}
		if got, err := l.proxy.Fence(l.ctx, r, false); err == nil {
			t.Errorf("the fence gave the floors %v", got)
		}
		l.serve("east", 0)
		if _, err := l.proxy.Fence(l.ctx, r, true); err != nil {
			t.Errorf("a planned fence needs no floors: %v", err)
		}
		answer = true
		l.serve("east", 0)
		time.Sleep(10 * time.Second)
		if _, err := l.proxy.Fence(l.ctx, r, false); err != nil {
			t.Errorf("the floors are not known in the end: %v", err)
		}
	})
}

// A position that a client made up is no offset that somebody was shown.
func TestPositionThatAClientAsksForIsNotExposed(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		for p := range int32(2) {
			if err := l.east.MoveTopicPartition("orders", p, p); err != nil {
				t.Fatal(err)
			}
		}
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		acked(t, c.ask(produceRequestOf(part{"orders", 1, protocol.NoProducer, []string{"v"}})))
		l.east.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			if l.east.CurrentNode() != 0 {
				return nil, nil, false
			}
			row, _ := protocol.Lookup(int16(kmsg.Fetch))
			return row.Fail(r, codeNotLeader), nil, true
		})
		req := fetchRequestOf(l, "orders", 0, 1<<50)
		req.Topics = append(req.Topics, fetchRequestOf(l, "orders", 1, 0).Topics...)
		resp := c.ask(req).(*kmsg.FetchResponse)
		if len(resp.Topics[1].Partitions[0].RecordBatches) == 0 {
			t.Fatalf("nothing fetched: %+v", resp)
		}
		for _, x := range l.fence("east", 0, false) {
			if x.Partition == 0 || x.Next != 1 {
				t.Errorf("exposed %v", x)
			}
		}
	})
}

// The end of an epoch is an end of the log.
func TestEndsOfEpochsAreExposed(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		if err := l.east.client.ProduceSync(l.ctx, record("orders", 0, "past the proxy")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		c := l.raw(0)
		defer c.close()
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		req.Version = 3
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic, rt.Partitions = "orders", append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		if p := c.ask(req).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]; p.EndOffset != 1 {
			t.Fatalf("end of epoch: %+v", p)
		}
		want := Exposed{logmap.TopicPartition{Topic: "orders"}, 1}
		if got := l.fence("east", 0, false); len(got) != 1 || got[0] != want {
			t.Errorf("exposed %v, want %v", got, want)
		}
	})
}
