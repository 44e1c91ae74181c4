package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"pgregory.net/rapid"
)

// makeBatch is a batch with a valid CRC and opaque records.
func makeBatch(base int64, count int32, payload []byte) Batch {
	b := make(Batch, BatchHeaderSize+len(payload))
	binary.BigEndian.PutUint64(b[batchBaseOffset:], uint64(base))
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchFraming))
	b[batchMagic] = 2
	binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], uint32(count-1))
	binary.BigEndian.PutUint32(b[batchRecordCount:], uint32(count))
	copy(b[BatchHeaderSize:], payload)
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
	return b
}

func TestHeaderEditKeepsCRCValidAndCorruptionVisible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		payload := rapid.SliceOfN(rapid.Byte(), 0, 5000).Draw(t, "payload")
		b := makeBatch(7, 3, payload)
		p := Producer{ID: rapid.Int64().Draw(t, "id"), Epoch: rapid.Int16().Draw(t, "epoch"), Sequence: rapid.Int32().Draw(t, "seq")}
		attrs := rapid.Int16().Draw(t, "attrs")
		b.SetProducer(p, attrs)
		if !b.ValidCRC() {
			t.Fatal("CRC invalid after an edit of the header")
		}
		if got := (Producer{b.ProducerID(), b.ProducerEpoch(), b.BaseSequence()}); got != p || b.Attributes() != attrs {
			t.Fatalf("read back %+v %x, wrote %+v %x", got, b.Attributes(), p, attrs)
		}
		if len(payload) > 0 {
			b[BatchHeaderSize+rapid.IntRange(0, len(payload)-1).Draw(t, "flip")] ^= 1
			b.SetProducer(NoProducer, 0)
			if b.ValidCRC() {
				t.Fatal("an edit laundered a corrupt payload")
			}
		}
	})
}

func TestNextBatchStopsAtEveryTruncation(t *testing.T) {
	one := makeBatch(0, 1, []byte("abc"))
	two := append(bytes.Clone(one), makeBatch(1, 2, []byte("defg"))...)
	for cut := range len(two) {
		n := 0
		for b, err := range Batches(two[:cut]) {
			if err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			n += int(b.RecordCount())
		}
		if want := map[bool]int{true: 1, false: 0}[cut >= len(one)]; n != want {
			t.Fatalf("cut %d: %d records, want %d", cut, n, want)
		}
	}
}

func TestNextBatchNamesWhatIsMalformed(t *testing.T) {
	bad := makeBatch(0, 1, nil)
	bad[batchMagic] = 3
	if _, _, err := NextBatch(bad); err == nil || errors.Is(err, ErrTruncatedBatch) {
		t.Fatalf("magic 3: %v", err)
	}
	bad[batchMagic] = 1
	if _, _, err := NextBatch(bad); !errors.Is(err, ErrOldMagic) {
		t.Fatalf("magic 1: %v", err)
	}
	binary.BigEndian.PutUint32(bad[batchLength:], 0xffffffff)
	if _, _, err := NextBatch(bad); err == nil || errors.Is(err, ErrTruncatedBatch) {
		t.Fatalf("negative length: %v", err)
	}
}

func TestSequenceWraps(t *testing.T) {
	if got := AddSequence(1<<31-1, 1); got != 0 {
		t.Fatalf("after 2^31-1 comes %d, want 0", got)
	}
}

// Invariant: for every issuing <= current the wire form is unique over (raw,
// issuing), inverts, and equals a raw id only in the issuing tenure.
func TestProducerIDFormsInvert(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.Int64Range(0, rawMask).Draw(t, "raw")
		issuing := Tenure(rapid.IntRange(0, int(MaxTenure)).Draw(t, "issuing"))
		current := Tenure(rapid.IntRange(int(issuing), int(MaxTenure)).Draw(t, "current"))
		id, err := IssuedProducerID(raw, issuing)
		if err != nil {
			t.Fatal(err)
		}
		if int64(id) >= 1<<53 {
			t.Fatalf("client form %d is beyond what a JavaScript client can hold", id)
		}
		wire, err := id.Wire(current)
		if err != nil {
			t.Fatal(err)
		}
		if back := wire.Client(current); back != id {
			t.Fatalf("%d on the wire is %d and comes back as %d", id, wire, back)
		}
		if collides := int64(wire) <= rawMask; collides != (issuing == current) {
			t.Fatalf("wire form %d of (raw %d, tenure %d) in tenure %d", wire, raw, issuing, current)
		}
		if issuing > 0 {
			if _, err := id.Wire(issuing - 1); err == nil {
				t.Fatal("an id of a later tenure was accepted")
			}
		}
	})
}
