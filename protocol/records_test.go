package protocol

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func drawRecords(t *rapid.T) []Record {
	maybe := func(label string) []byte {
		if rapid.Bool().Draw(t, label+" null") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, label)
	}
	n := rapid.IntRange(1, 20).Draw(t, "records")
	records := make([]Record, n)
	for i := range records {
		r := &records[i]
		r.OffsetDelta, r.Timestamp = int32(i), rapid.Int64Range(0, 1<<45).Draw(t, "timestamp")
		r.Key, r.Value = maybe("key"), maybe("value")
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, Header{Key: rapid.String().Draw(t, "header"), Value: maybe("header value")})
		}
	}
	return records
}

func TestRecordsOfABuiltBatchComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawRecords(t)
		p := Producer{ID: 9, Epoch: 2, Sequence: 1<<31 - 2}
		b := BuildBatch(want, p, AttrTransactional)
		if !b.ValidCRC() || !b.Dense() || b.BaseOffset() != 0 || b.LeaderEpoch() != -1 || b.Attributes() != AttrTransactional {
			t.Fatalf("batch %x", b[:BatchHeaderSize])
		}
		if one, rest, err := NextBatch(b); err != nil || len(rest) != 0 || len(one) != len(b) {
			t.Fatalf("NextBatch: %v", err)
		}
		got, err := Records(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		var other kmsg.RecordBatch // the library's own reading of the same bytes
		if err := other.ReadFrom(b); err != nil || int(other.NumRecords) != len(want) || other.ProducerID != 9 || other.FirstSequence != p.Sequence {
			t.Fatalf("kmsg reads %+v, %v", other, err)
		}
	})
}

func TestCompressedRecordsAreDecoded(t *testing.T) {
	want := []Record{{Value: bytes.Repeat([]byte("abc"), 100)}, {OffsetDelta: 1, Timestamp: 5, Key: []byte("k")}}
	plain := BuildBatch(want, NoProducer, 0)
	for codec, opt := range map[int16]kgo.CompressionCodec{1: kgo.GzipCompression(), 2: kgo.SnappyCompression(), 3: kgo.Lz4Compression(), 4: kgo.ZstdCompression()} {
		c, err := kgo.DefaultCompressor(opt)
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := c.Compress(new(bytes.Buffer), plain[BatchHeaderSize:])
		b := append(bytes.Clone(plain[:BatchHeaderSize]), packed...)
		b[batchAttributes+1] = byte(codec)
		got, err := Records(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("codec %d: %v, %+v", codec, err, got)
		}
	}
}

func TestLogAppendTimeIsTheTimeOfEveryRecord(t *testing.T) {
	b := BuildBatch([]Record{{Timestamp: 1}, {Timestamp: 9}}, NoProducer, AttrLogAppendTime)
	got, err := Records(b)
	if err != nil || got[0].Timestamp != 9 || got[1].Timestamp != 9 {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestEmptyBatchHasNoRecords(t *testing.T) {
	b := Batch(emptyBatch(7, 107))
	got, err := Records(b)
	if err != nil || len(got) != 0 || b.BaseOffset() != 7 || b.NextOffset() != 107 || !b.ValidCRC() {
		t.Fatalf("%v, %d records over [%d, %d)", err, len(got), b.BaseOffset(), b.NextOffset())
	}
}

// FuzzRecords: whatever a broker or client sends as records, nothing panics, and
// header edits neither repair nor break a checksum.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(BuildBatch([]Record{{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h"}}}}, NoProducer, 0)))
	f.Add([]byte(emptyBatch(1, 5)))
	f.Fuzz(func(t *testing.T, records []byte) {
		for b, err := range Batches(bytes.Clone(records)) {
			if err != nil {
				break
			}
			if b.Attributes()&AttrCodecMask == 0 {
				_, _ = Records(b)
			}
			valid := b.ValidCRC()
			if b.SetProducer(Producer{ID: 1}, b.Attributes()); b.ValidCRC() != valid {
				t.Fatal("an edit changed whether the checksum is right")
			}
		}
		if _, err := produceRecords(3, records); err != nil {
			if _, ok := err.(*RefusedError); !ok {
				t.Fatal(err)
			}
		}
		fetchedRecords(markView().Map("", 0), bytes.Clone(records), 5)
	})
}
