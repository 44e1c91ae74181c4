package mirror

import (
	"bytes"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// at places a batch in a source log.
func at(b protocol.Batch, offset int64) protocol.Batch {
	b = bytes.Clone(b)
	b.SetBaseOffset(offset)
	b.SetLeaderEpoch(3)
	return b
}

func answer(batches ...protocol.Batch) *kmsg.FetchResponseTopicPartition {
	rp := kmsg.NewFetchResponseTopicPartition()
	for _, b := range batches {
		rp.RecordBatches = append(rp.RecordBatches, b...)
	}
	return &rp
}

func contents(t interface{ Fatal(...any) }, items []*item) (out []entry) {
	for _, it := range items {
		if !it.batch.Dense() || it.batch.RecordCount() != it.count || !it.batch.ValidCRC() {
			t.Fatal("a broker would refuse the batch")
		}
		records, err := protocol.Records(it.batch)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range records {
			out = append(out, entry{it.logical + logmap.Logical(i), string(r.Value)})
		}
	}
	return out
}

// However a log is cut into fetches and wherever one resumes, every wanted
// record comes once, in order, at its logical offset.
func TestPrepareCoversTheLogWhereverItResumes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m logmap.Map
		var log []protocol.Batch
		var want []entry
		offset, logical, gen := int64(0), logmap.Logical(0), logmap.Generation(0)
		for range rapid.IntRange(1, 10).Draw(t, "batches") {
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0: // an extent begins: some markers, a hole
				gen++
				offset += int64(rapid.IntRange(0, 2).Draw(t, "markers"))
				found := logical
				logical += logmap.Logical(rapid.IntRange(0, 3).Draw(t, "hole"))
				m.Add(logmap.Extent{Generation: gen, Cluster: logmap.Cluster(offset), Logical: logical, Stamp: true, Before: found})
				fallthrough
			default:
				n := rapid.IntRange(1, 5).Draw(t, "records")
				vs := numbered("v", n)
				codec := int16(rapid.IntRange(0, 4).Draw(t, "codec"))
				b, err := compressAs(batch(protocol.Producer{ID: 5, Sequence: 0}, 0, vs...), codec)
				if err != nil {
					t.Fatal(err)
				}
				log = append(log, at(b, offset))
				for _, v := range vs {
					want = append(want, entry{logical, v})
					offset++
					logical++
				}
			}
		}
		p := preparer{m: &m, home: true}
		cur := cursor{epoch: -1}
		if i := rapid.IntRange(0, len(want)-1).Draw(t, "resume"); i > 0 {
			cur = cursor{source: m.Cluster(want[i].offset), next: want[i].offset, epoch: -1}
			want = want[i:]
		}
		var got []entry
		for len(log) > 0 {
			n := rapid.IntRange(1, len(log)).Draw(t, "fetch")
			items, next, err := p.prepare(cur, answer(log[:n]...))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, contents(t, items)...)
			if k := len(items); k > 0 && items[k-1].source != next.source {
				t.Fatalf("the last item moves the position to %d, the cursor stands at %d", items[k-1].source, next.source)
			}
			cur, log = next, log[n:]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v\nwant %v", got, want)
		}
	})
}

func TestHolesAndAppendTimeAreEncodedAnew(t *testing.T) {
	// Compaction keeps offsets 10, 11 and 14 of a batch of 10 to 15.
	full := batch(protocol.Producer{ID: 5}, 0, numbered("v", 6)...)
	records, err := protocol.Records(full)
	if err != nil {
		t.Fatal(err)
	}
	kept := holed(t, full, records, 0, 1, 4)
	stamped := batch(protocol.NoProducer, protocol.AttrLogAppendTime, "a", "b")
	items, cur, err := preparer{m: new(logmap.Map), home: true}.prepare(cursor{source: 10, next: 10, epoch: -1}, answer(at(kept, 10), at(stamped, 16)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, items), []entry{{10, "v0"}, {11, "v1"}, {14, "v4"}, {16, "a"}, {17, "b"}}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if cur.source != 18 || cur.epoch != 3 || cur.next != 18 {
		t.Fatalf("cursor %+v", cur)
	}
	last := items[len(items)-1].batch
	if last.Attributes()&protocol.AttrLogAppendTime != 0 || last.BaseTimestamp() != stamped.MaxTimestamp() {
		t.Fatalf("append time: attributes %x, timestamp %d, want %d", last.Attributes(), last.BaseTimestamp(), stamped.MaxTimestamp())
	}
	for _, it := range items[:2] {
		if len(it.clients) > 0 {
			t.Fatal("a piece of a batch was taken for a client's batch")
		}
	}
}

// holed is what compaction leaves of an uncompressed batch.
func holed(t *testing.T, full protocol.Batch, records []protocol.Record, keep ...int) protocol.Batch {
	t.Helper()
	var kb kmsg.RecordBatch
	if err := kb.ReadFrom(full); err != nil {
		t.Fatal(err)
	}
	kb.Records, kb.NumRecords = nil, int32(len(keep))
	for _, i := range keep {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: records[i].Timestamp - kb.FirstTimestamp, Key: records[i].Key, Value: records[i].Value}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		kb.Records = append(kb.Records, r.AppendTo(nil)...)
	}
	kb.Length = int32(len(kb.AppendTo(nil)) - 12)
	b := protocol.Batch(kb.AppendTo(nil))
	sign(b)
	return b
}
