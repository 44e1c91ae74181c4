package proxy

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

func fetchRequestOf(l *lab, topic string, partition int32, from int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 11, 5000, 1, 1<<20, -1
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = partition, from, 1<<20, -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.FetchRequestTopicPartition{rp}
	req.Topics = append(req.Topics, rt)
	return req
}

func TestWhileFencedReadsAreEmptyAndMetadataIsKnown(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		for i := range 3 {
			acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{fmt.Sprintf("v%d", i)}})))
		}
		c.ask(fetchRequestOf(l, "orders", 0, 0))
		l.net.kill("east")
		l.fence("east", 0, false)
		begin := time.Now()
		resp := c.ask(fetchRequestOf(l, "orders", 0, 3)).(*kmsg.FetchResponse)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.RecordBatches == nil || len(p.RecordBatches) != 0 || p.HighWatermark != 3 {
			t.Errorf("fetch while fenced: %+v", p)
		}
		if took := time.Since(begin); took < 400*time.Millisecond || took > 600*time.Millisecond {
			t.Errorf("fetch while fenced took %v, want FetchWait", took)
		}
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version, meta.Topics = 9, nil
		got := c.ask(meta).(*kmsg.MetadataResponse)
		if len(got.Brokers) != 2 || len(got.Topics) != 1 || len(got.Topics[0].Partitions) != 2 || got.Topics[0].ErrorCode != 0 {
			t.Errorf("metadata while fenced: %+v", got)
		}
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.Version, find.CoordinatorKey = 3, "readers"
		if got := c.ask(find).(*kmsg.FindCoordinatorResponse); got.ErrorCode != 0 || got.NodeID < 0 || got.NodeID > 1 {
			t.Errorf("coordinator while fenced: %+v", got)
		}
		list := kmsg.NewPtrListOffsetsRequest()
		list.Version = 4
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = 0, -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic, lt.Partitions = "orders", []kmsg.ListOffsetsRequestTopicPartition{lp}
		list.Topics = append(list.Topics, lt)
		begin = time.Now()
		lo := c.ask(list).(*kmsg.ListOffsetsResponse)
		if code, took := lo.Topics[0].Partitions[0].ErrorCode, time.Since(begin); code != codeNotLeader || took < 7*time.Second || took > 9*time.Second {
			t.Errorf("ListOffsets held: code %d after %v", code, took)
		}
	})
}

func TestPlannedFenceWaitsForTheAnswersThatAreOut(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		slow := make(chan struct{})
		l.east.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			l.east.SleepControl(func() { <-slow })
			return nil, nil, false
		})
		c := l.raw(0)
		defer c.close()
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v0"}}))
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(l.ctx, time.Second)
		defer cancel()
		if _, err := l.proxy.Fence(ctx, Route{Active: "east"}, true); err == nil {
			t.Fatal("the fence ended with a write out")
		}
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v1"}}))
		time.Sleep(100 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { l.fence("east", 0, true) })
		time.Sleep(500 * time.Millisecond)
		close(slow)
		wg.Wait()
		acked(t, c.receive(time.Second))
		sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 1))
	})
}

// A planned fence must not leave a write whose fate is open: it is repeated
// until it is known, although the gate is shut.
func TestPlannedFenceResolvesWritesOfLostConnections(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: 0}, []string{"v0"}})))
		l.net.mute("east")
		for i := 1; i < 4; i++ {
			c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}}))
		}
		time.Sleep(100 * time.Millisecond)
		var wg sync.WaitGroup
		wg.Go(func() { l.fence("east", 0, true) })
		time.Sleep(500 * time.Millisecond)
		l.net.breakAll("east")
		c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: 4}, []string{"v4"}}))
		for range 3 {
			acked(t, c.receive(time.Second))
		}
		wg.Wait()
		c.silent(time.Second)
		sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 4))
		l.serve("east", 0)
		acked(t, c.receive(time.Second))
		sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 5))
	})
}

// An answer that the old active gave, and that stands in the queue behind an
// unanswered request, must not be returned after an unplanned fence.
func TestAnswerBehindAnUnansweredOneIsRevoked(t *testing.T) {
	inLab(t, 1, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		m.begin("orders", 1)
		c := l.raw(0)
		defer c.close()
		// Partition 0 has no leader that answers; partition 1 is written.
		stop := make(chan struct{})
		l.east.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			req := r.(*kmsg.ProduceRequest)
			if req.Topics[0].Partitions[0].Partition != 0 {
				return nil, nil, false
			}
			row, _ := protocol.Lookup(0)
			return row.Fail(r, codeNotLeader), nil, true
		})
		defer close(stop)
		c.send(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: 0}, []string{"a"}}))
		c.send(produceRequestOf(part{"orders", 1, protocol.Producer{ID: 7, Sequence: 0}, []string{"b"}}))
		c.silent(time.Second)
		sameStrings(t, "east", l.east.logOf(t, "orders", 1), []string{"b"})
		for _, x := range l.fence("east", 0, false) {
			t.Errorf("exposed %v although nothing was answered", x)
		}
		m.stamp("orders", 0, 0)
		l.serve("west", 1, m.stamp("orders", 1, 0)...)
		acked(t, c.receive(5*time.Second))
		acked(t, c.receive(5*time.Second))
		sameStrings(t, "west", l.west.logOf(t, "orders", 0), []string{"a"})
		sameStrings(t, "west", l.west.logOf(t, "orders", 1), []string{"b"})
	})
}

func TestDeadClusterIsHeldThenFencedThenReplayedOnTheOther(t *testing.T) {
	inLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		prod := l.kgo()
		defer prod.Close()
		cons := l.kgo(kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cons.Close()
		const n = 500
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				prod.Produce(l.ctx, &kgo.Record{Topic: "orders", Partition: int32(i % 2), Value: fmt.Appendf(nil, "v%d", i)}, func(r *kgo.Record, err error) {
					if err != nil {
						t.Errorf("%s: %v", r.Value, err)
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
		time.Sleep(1500 * time.Millisecond)
		l.net.kill("east")
		time.Sleep(2 * time.Second)
		var positions []int64
		exposed := make(map[int32]logmap.Logical)
		for _, x := range l.fence("east", 0, false) {
			exposed[x.Partition] = x.Next
		}
		for p := range int32(2) {
			m.copy("orders", p, -1)
			end := logicalEnd(l.west, "orders", p)
			if exposed[p] > end {
				t.Fatalf("partition %d: exposed %d, and east holds %d", p, exposed[p], end)
			}
			positions = m.stamp("orders", p, end)
		}
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
		}
	})
}

func TestFailoverContinuesAboveWhatWasExposed(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		c := l.raw(0)
		defer c.close()
		for i := range 10 {
			acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: int32(i)}, []string{fmt.Sprintf("v%d", i)}})))
		}
		m.copy("orders", 0, 6)
		l.net.kill("east")
		exposed := l.fence("east", 0, false)
		if len(exposed) != 1 || exposed[0].Next != 10 {
			t.Fatalf("exposed %v, want 10", exposed)
		}
		l.serve("west", 1, m.stamp("orders", 0, exposed[0].Next)...)
		if got := acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.Producer{ID: 7, Sequence: 10}, []string{"v10"}}))); got[0] != 10 {
			t.Errorf("acknowledged at %d, want 10", got[0])
		}
		// A consumer that had read the lost tail stands at 10 and reads on.
		resp := c.ask(fetchRequestOf(l, "orders", 0, 10)).(*kmsg.FetchResponse)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorCode != 0 || p.HighWatermark != 11 {
			t.Errorf("fetch at 10: code %d, high watermark %d", p.ErrorCode, p.HighWatermark)
		}
		b, _, err := protocol.NextBatch(p.RecordBatches)
		if err != nil || b.BaseOffset() != 10 || b.LeaderEpoch() != -1 || b.ProducerID() != 7 {
			t.Errorf("batch at %d, epoch %d, producer %d: %v", b.BaseOffset(), b.LeaderEpoch(), b.ProducerID(), err)
		}
	})
}

// A batch that was refused for certain may have to be sent through a shut gate:
// one behind it has an open fate, and cannot be settled before it.
func TestPlannedFenceSendsWhatStandsBeforeAnOpenWrite(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		acked(t, c.ask(produceRequestOf(numberedPart(0))))
		n := 0
		l.east.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			switch n++; n {
			case 1:
				row, _ := protocol.Lookup(0)
				return row.Fail(r, codeNotLeader), nil, true
			case 2:
				return nil, fmt.Errorf("the connection is lost"), true
			}
			return nil, nil, false
		})
		c.send(produceRequestOf(numberedPart(1)))
		c.send(produceRequestOf(numberedPart(2)))
		time.Sleep(time.Millisecond) // less than the pause before a retry
		l.fence("east", 0, true)
		acked(t, c.receive(time.Second))
		acked(t, c.receive(time.Second))
		sameStrings(t, "east", l.east.logOf(t, "orders", 0), numbered(0, 3))
	})
}

// The same for an answer that shows offsets: it is asked for again on the new
// active.
func TestOffsetsThatTheOldActiveGaveAreNotShownAfterTheFence(t *testing.T) {
	inLab(t, 1, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := l.mirror(l.east, l.west, 0, 1)
		m.begin("orders", 0)
		m.begin("orders", 1)
		past := &kgo.Record{Topic: "orders", Partition: 1, Value: []byte("past the proxy")}
		if err := l.east.client.ProduceSync(l.ctx, past).FirstErr(); err != nil {
			t.Fatal(err)
		}
		l.east.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.east.KeepControl()
			row, _ := protocol.Lookup(0)
			return row.Fail(r, codeNotLeader), nil, true
		})
		c := l.raw(0)
		defer c.close()
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"a"}}))
		list := kmsg.NewPtrListOffsetsRequest()
		list.Version = 4
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = 1, -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic, lt.Partitions = "orders", []kmsg.ListOffsetsRequestTopicPartition{lp}
		list.Topics = append(list.Topics, lt)
		c.send(list)
		c.send(fetchRequestOf(l, "orders", 1, 0))
		c.silent(2 * time.Second)
		for _, x := range l.fence("east", 0, false) {
			t.Errorf("exposed %v although nothing was answered", x)
		}
		m.stamp("orders", 0, 0)
		l.serve("west", 1, m.stamp("orders", 1, 0)...)
		acked(t, c.receive(5*time.Second))
		if p := c.receive(5 * time.Second).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || p.Offset != 0 {
			t.Errorf("end of log: code %d, offset %d, want west's 0", p.ErrorCode, p.Offset)
		}
		if p := c.receive(5 * time.Second).(*kmsg.FetchResponse).Topics[0].Partitions[0]; p.ErrorCode != 0 || len(p.RecordBatches) > 0 {
			t.Errorf("fetch: code %d, %d bytes of east's records", p.ErrorCode, len(p.RecordBatches))
		}
	})
}

func TestExposedIsWhateverAClientWasShown(t *testing.T) {
	inLab(t, 1, 3, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		for p := range int32(3) {
			for range p + 2 {
				if err := l.east.client.ProduceSync(l.ctx, &kgo.Record{Topic: "orders", Partition: p, Value: []byte("x")}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		c := l.raw(0)
		defer c.close()
		c.ask(fetchRequestOf(l, "orders", 0, 0)) // a high watermark
		list := kmsg.NewPtrListOffsetsRequest()  // an end of the log
		list.Version = 4
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = 1, -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic, lt.Partitions = "orders", []kmsg.ListOffsetsRequestTopicPartition{lp}
		list.Topics = append(list.Topics, lt)
		c.ask(list)
		acked(t, c.ask(produceRequestOf(part{"orders", 2, protocol.NoProducer, []string{"a", "b", "c"}}))) // an acknowledgement
		want := map[int32]logmap.Logical{0: 2, 1: 3, 2: 7}
		got := l.fence("east", 0, false)
		if len(got) != len(want) {
			t.Errorf("exposed %v", got)
		}
		for _, x := range got {
			if x.Next != want[x.Partition] {
				t.Errorf("partition %d: exposed %d, want %d", x.Partition, x.Next, want[x.Partition])
			}
		}
	})
}
