package protocol

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// modelLog is a partition of one cluster and what a client should read of it.
type modelLog struct {
	m       logmap.Map
	batches []Batch
	end     logmap.Cluster
	want    []string // values of the live records that compaction left, "logical offset"
}

// add appends a batch of n records. live says that they have logical offsets,
// beginning at l. removed batches leave a hole, as compaction does.
func (g *modelLog) add(n int, l logmap.Logical, live, removed bool, attributes int16) {
	var records []Record
	for i := range n {
		value := "dead"
		if live {
			value = strconv.Itoa(int(l) + i)
			if !removed && attributes&AttrControl == 0 {
				g.want = append(g.want, value)
			}
		}
		records = append(records, Record{Value: []byte(value)})
	}
	b := BuildBatch(records, Producer{ID: 5, Epoch: 1, Sequence: 0}, attributes)
	b.SetBaseOffset(int64(g.end))
	b.SetLeaderEpoch(7)
	if g.end += logmap.Cluster(n); !removed {
		g.batches = append(g.batches, b)
	}
}

// drawLog is several tenures of one partition: live runs, each followed by seal
// markers, perhaps a dead stretch, perhaps a jump of logical offsets; the log
// ends with markers and a stamp.
func drawLog(t *rapid.T) *modelLog {
	g := new(modelLog)
	l, found := logmap.Logical(0), logmap.Logical(0) // found: behind the last live record
	compacted := rapid.Bool().Draw(t, "compacted")
	for seg := range rapid.IntRange(1, 5).Draw(t, "segments") {
		if seg > 0 || rapid.Bool().Draw(t, "explicit") {
			g.m.Add(logmap.Extent{Generation: logmap.Generation(2*seg + 1), Cluster: g.end, Logical: l, Stamp: seg%2 == 0, Tenure: uint16(seg), Before: found})
		}
		for range rapid.IntRange(0, 5).Draw(t, "batches") {
			n := rapid.IntRange(1, 4).Draw(t, "records")
			g.add(n, l, true, compacted && rapid.IntRange(0, 2).Draw(t, "removed") > 0, 0)
			l += logmap.Logical(n)
			found = l
		}
		for range rapid.IntRange(0, 3).Draw(t, "markers") {
			g.add(1, 0, false, false, AttrControl|AttrTransactional)
		}
		jump := logmap.Logical(rapid.SampledFrom([]int{0, 0, 1, 1000}).Draw(t, "jump"))
		if n := rapid.IntRange(0, 6).Draw(t, "dead"); n > 0 {
			g.m.Add(logmap.Extent{Generation: logmap.Generation(2*seg + 2), Cluster: g.end, Logical: l + jump, Dead: true, Before: found})
			for range n {
				g.add(1, 0, false, false, 0)
			}
		}
		l += jump
	}
	g.m.Add(logmap.Extent{Generation: 100, Cluster: g.end, Logical: l, Stamp: true, Tenure: 9, Before: found})
	return g
}

// read is what a broker returns from c on: whole batches, the first of which
// holds c or follows it, and perhaps a part of the next.
func (g *modelLog) read(c logmap.Cluster, limit int, tail int) []byte {
	i := slices.IndexFunc(g.batches, func(b Batch) bool { return logmap.Cluster(b.NextOffset()) > c })
	if i < 0 {
		return nil
	}
	out := bytes.Join(toBytes(g.batches[i:min(i+limit, len(g.batches))]), nil)
	if next := i + limit; next < len(g.batches) {
		out = append(out, g.batches[next][:min(tail, len(g.batches[next])-1)]...)
	}
	return out
}

func toBytes(batches []Batch) (out [][]byte) {
	for _, b := range batches {
		out = append(out, b)
	}
	return out
}

func viewOf(m *logmap.Map) *View {
	v := markView()
	v.Map = func(string, int32) *logmap.Map { return m }
	return v
}

// fetchOnce sends one fetch through the row, as the proxy does.
func fetchOnce(v *View, at int64, serve func(c int64) kmsg.FetchResponseTopicPartition) (kmsg.FetchResponseTopicPartition, error) {
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset = at
	req := kmsg.NewPtrFetchRequest()
	req.Version = 11
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "orders", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	sent := Clone(req).(*kmsg.FetchRequest)
	if err := fetch.Request(v, sent); err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	resp.Topics = []kmsg.FetchResponseTopic{{Topic: "orders", Partitions: []kmsg.FetchResponseTopicPartition{serve(sent.Topics[0].Partitions[0].FetchOffset)}}}
	err := fetch.Response(v, req, resp)
	return resp.Topics[0].Partitions[0], err
}

// A client that reads from the beginning, however the log was cut up, gets every
// live record once at its logical offset, and gets to the end.
func TestClientReadsEveryLiveRecordAndReachesTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawLog(t)
		v := viewOf(&g.m)
		limit, tail := rapid.IntRange(1, 3).Draw(t, "limit"), rapid.IntRange(0, 70).Draw(t, "tail")
		var got []string
		at, end := int64(0), int64(g.m.Position(g.end))
		for step := 0; at < end; step++ {
			p, err := fetchOnce(v, at, func(c int64) kmsg.FetchResponseTopicPartition {
				if c > int64(g.end) {
					t.Fatalf("logical %d became cluster offset %d, the log ends at %d", at, c, g.end)
				}
				return kmsg.FetchResponseTopicPartition{
					HighWatermark: int64(g.end), LastStableOffset: int64(g.end),
					RecordBatches: g.read(logmap.Cluster(c), limit, tail),
				}
			})
			if err != nil || p.ErrorCode != 0 {
				t.Fatalf("fetch at %d: %v, code %d", at, err, p.ErrorCode)
			}
			if p.HighWatermark != end {
				t.Fatalf("high watermark %d, want %d", p.HighWatermark, end)
			}
			before := at
			at = consume(t, p.RecordBatches, at, &got)
			if at == before {
				// Only allowed when nothing live follows.
				if len(got) == len(g.want) {
					break
				}
				t.Fatalf("stuck at %d of %d: got %v, want %v; map %v", at, end, got, g.want, g.m.Extents())
			}
			if step > 1000 {
				t.Fatal("no end in sight")
			}
		}
		if !slices.Equal(got, g.want) {
			t.Fatalf("client read %v\nwant        %v\nmap %v", got, g.want, g.m.Extents())
		}
	})
}

// consume is what a client does with records: it skips what stands before its
// position, and control batches, and steps behind the last batch.
func consume(t *rapid.T, records []byte, at int64, got *[]string) int64 {
	for b, err := range Batches(records) {
		if err != nil {
			t.Fatal(err)
		}
		if !b.ValidCRC() {
			t.Fatal("CRC invalid")
		}
		if b.LeaderEpoch() != -1 {
			t.Fatalf("batch with leader epoch %d", b.LeaderEpoch())
		}
		recs, err := Records(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			o := b.BaseOffset() + int64(r.OffsetDelta)
			if o < at || b.Control() {
				continue
			}
			if string(r.Value) != fmt.Sprint(o) {
				t.Fatalf("record %q came at logical offset %d", r.Value, o)
			}
			*got = append(*got, string(r.Value))
		}
		at = max(at, b.NextOffset())
	}
	return at
}

func TestSealMarkersAtTheEndOfTheLogAreNotShownAndLeaveNoLag(t *testing.T) {
	g := new(modelLog)
	g.m.Add(logmap.Extent{Generation: 1, Cluster: 0, Logical: 0})
	g.add(3, 0, true, false, 0)
	g.add(1, 0, false, false, AttrControl|AttrTransactional)
	g.add(1, 0, false, false, AttrControl|AttrTransactional)
	g.m.Add(logmap.Extent{Generation: 2, Cluster: g.end, Logical: 3, Stamp: true, Tenure: 1})
	for hw := int64(3); hw <= 5; hw++ { // the markers replicate one by one
		p, err := fetchOnce(viewOf(&g.m), 0, func(c int64) kmsg.FetchResponseTopicPartition {
			return kmsg.FetchResponseTopicPartition{HighWatermark: hw, LastStableOffset: hw, LogStartOffset: hw, RecordBatches: g.read(0, 9, 0)}
		})
		if err != nil {
			t.Fatal(err)
		}
		if p.HighWatermark != 3 || p.LastStableOffset != 3 || p.LogStartOffset != 3 {
			t.Fatalf("cluster offset %d reads as %d, %d, %d; want 3", hw, p.HighWatermark, p.LastStableOffset, p.LogStartOffset)
		}
		if b := Batch(p.RecordBatches); len(b) == 0 || b.NextOffset() != 3 {
			t.Fatalf("%d bytes of records, want the one live batch", len(b))
		}
	}
}

func TestCompactedRunBeforeADeadStretchDoesNotStopAClient(t *testing.T) {
	g := new(modelLog)
	g.add(50, 0, true, true, 0) // all removed
	g.m.Add(logmap.Extent{Generation: 1, Cluster: 50, Logical: 50, Dead: true, Before: 50})
	for range 100 {
		g.add(1, 0, false, false, 0)
	}
	g.m.Add(logmap.Extent{Generation: 2, Cluster: 150, Logical: 50, Stamp: true, Tenure: 1, Before: 50})
	p, err := fetchOnce(viewOf(&g.m), 10, func(c int64) kmsg.FetchResponseTopicPartition {
		return kmsg.FetchResponseTopicPartition{RecordBatches: g.read(logmap.Cluster(c), 5, 0)}
	})
	if err != nil {
		t.Fatal(err)
	}
	b := Batch(p.RecordBatches)
	if len(b) != BatchHeaderSize || b.BaseOffset() != 10 || b.NextOffset() != 50 || b.RecordCount() != 0 {
		t.Fatalf("got %d bytes, want one empty batch over [10, 50)", len(b))
	}
}

func TestBatchAcrossExtentsIsRefusedAndWhatIsBeforeItIsServed(t *testing.T) {
	g := new(modelLog)
	g.add(2, 0, true, false, 0)
	g.add(4, 2, true, false, 0) // offsets 2..5, and an extent begins at 4
	g.m.Add(logmap.Extent{Generation: 1, Cluster: 4, Logical: 10, Stamp: true, Tenure: 1, Before: 4})
	serve := func(c int64) kmsg.FetchResponseTopicPartition {
		return kmsg.FetchResponseTopicPartition{RecordBatches: g.read(logmap.Cluster(c), 9, 0)}
	}
	p, err := fetchOnce(viewOf(&g.m), 0, serve)
	if err != nil || p.ErrorCode != 0 || Batch(p.RecordBatches).NextOffset() != 2 || len(p.RecordBatches) != len(g.batches[0]) {
		t.Fatalf("%v, code %d, %d bytes; want the first batch alone", err, p.ErrorCode, len(p.RecordBatches))
	}
	p, err = fetchOnce(viewOf(&g.m), 2, serve)
	if err != nil || p.ErrorCode != codeUnknownServerError || len(p.RecordBatches) != 0 {
		t.Fatalf("%v, code %d, %d bytes; want an error", err, p.ErrorCode, len(p.RecordBatches))
	}
}

func TestOldMessageSetsPassOnlyWhereOffsetsAreTheSame(t *testing.T) {
	old := make([]byte, 40)
	binary.BigEndian.PutUint64(old, 7)
	binary.BigEndian.PutUint32(old[batchLength:], uint32(len(old)-batchFraming))
	old[batchMagic] = 1
	moved := new(logmap.Map)
	moved.Add(logmap.Extent{Generation: 1, Cluster: 1, Logical: 0})
	for _, c := range []struct {
		m    *logmap.Map
		code int16
	}{{new(logmap.Map), 0}, {moved, codeUnsupportedFormat}} {
		p, err := fetchOnce(viewOf(c.m), 6, func(int64) kmsg.FetchResponseTopicPartition {
			return kmsg.FetchResponseTopicPartition{RecordBatches: bytes.Clone(old)}
		})
		if err != nil || p.ErrorCode != c.code || (c.code == 0) != bytes.Equal(p.RecordBatches, old) {
			t.Fatalf("%v, code %d, records %x; want code %d", err, p.ErrorCode, p.RecordBatches, c.code)
		}
	}
}

func TestAbortedTransactionsAndTheirBatchesNameOneProducer(t *testing.T) {
	for _, stamp := range []bool{true, false} {
		m := new(logmap.Map)
		m.Add(logmap.Extent{Generation: 1, Cluster: 10, Logical: 100, Tenure: 2, Stamp: stamp})
		b := BuildBatch([]Record{{Value: []byte("v")}}, Producer{ID: 77, Epoch: 1}, AttrTransactional)
		b.SetBaseOffset(12)
		p, err := fetchOnce(viewOf(m), 102, func(int64) kmsg.FetchResponseTopicPartition {
			return kmsg.FetchResponseTopicPartition{
				RecordBatches:       bytes.Clone(b),
				AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 77, FirstOffset: 12}},
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		got, a := Batch(p.RecordBatches), p.AbortedTransactions[0]
		if got.ProducerID() != a.ProducerID || got.BaseOffset() != a.FirstOffset || !got.ValidCRC() {
			t.Fatalf("batch of producer %d at %d, aborted transaction of %d at %d", got.ProducerID(), got.BaseOffset(), a.ProducerID, a.FirstOffset)
		}
	}
}

func TestMirroredBatchKeepsItsBytesButOffsetAndEpoch(t *testing.T) {
	m := new(logmap.Map)
	m.Add(logmap.Extent{Generation: 1, Cluster: 1, Logical: 0, Tenure: 2})
	b := BuildBatch([]Record{{Value: []byte("v")}}, Producer{ID: 77, Epoch: 1}, 0)
	b.SetBaseOffset(5)
	p, err := fetchOnce(viewOf(m), 4, func(int64) kmsg.FetchResponseTopicPartition {
		return kmsg.FetchResponseTopicPartition{RecordBatches: bytes.Clone(b)}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := Batch(p.RecordBatches); got.BaseOffset() != 4 || !bytes.Equal(got[batchMagic:], b[batchMagic:]) {
		t.Fatalf("base offset %d, or other bytes changed", got.BaseOffset())
	}
}

func TestFetchWithASessionStartsOver(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.SessionID, req.SessionEpoch = 12, 99, 4
	err := fetch.Request(markView(), Clone(req))
	refused, ok := err.(*RefusedError)
	if !ok || refused.Code != codeFetchSessionIDNotFound {
		t.Fatalf("got %v", err)
	}
	if resp := fetch.Fail(req, refused.Code).(*kmsg.FetchResponse); resp.ErrorCode != refused.Code || len(resp.Topics) != 0 {
		t.Fatalf("got %+v, want the error at the top", resp)
	}
}
