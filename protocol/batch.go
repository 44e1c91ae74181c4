package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
)

// A record batch of magic 2 (KIP-98; broker class DefaultRecordBatch):
//
//	0  baseOffset i64 | 8 batchLength i32 | 12 partitionLeaderEpoch i32 | 16 magic i8 | 17 crc u32
//	                                                          ── not covered by the CRC ──┘
//	21 attributes i16 | 23 lastOffsetDelta i32 | 27 baseTimestamp i64 | 35 maxTimestamp i64
//	43 producerId i64 | 51 producerEpoch i16 | 53 baseSequence i32 | 57 recordCount i32 | 61 records…
//
// The CRC-32C covers byte 21 to the end. Base offset and leader epoch can be
// edited for free; the other header fields with a CRC corrected by delta, which
// keeps corruption of the payload detectable (recomputing would launder it).
const (
	batchBaseOffset      = 0
	batchLength          = 8
	batchLeaderEpoch     = 12
	batchMagic           = 16
	batchCRC             = 17
	batchAttributes      = 21
	batchLastOffsetDelta = 23
	batchBaseTimestamp   = 27
	batchMaxTimestamp    = 35
	batchProducerID      = 43
	batchProducerEpoch   = 51
	batchBaseSequence    = 53
	batchRecordCount     = 57
	// BatchHeaderSize is the size in bytes of a batch before its records.
	BatchHeaderSize = 61
	batchFraming    = 12 // baseOffset and batchLength: what batchLength does not count
)

// Attribute bits of a record batch.
const (
	AttrCodecMask     int16 = 0x07
	AttrLogAppendTime int16 = 0x08
	AttrTransactional int16 = 0x10
	AttrControl       int16 = 0x20
	AttrDeleteHorizon int16 = 0x40
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is a view of one whole record batch of magic 2 in somebody else's
// bytes. Setters edit those bytes in place.
type Batch []byte

// ErrTruncatedBatch says that the bytes end inside a batch, as a fetch response
// may (KIP-74): what came before is whole.
var ErrTruncatedBatch = errors.New("record batch is truncated")

// ErrOldMagic says that a message set of magic 0 or 1 was met.
var ErrOldMagic = errors.New("message set of magic 0 or 1 (a topic of before Kafka 0.11)")

// NextBatch splits the first batch off records. It returns ErrTruncatedBatch at
// a partial batch (and on empty input), ErrOldMagic (with batch still set, so
// that a caller may skip it) or a description of what is malformed.
func NextBatch(records []byte) (batch Batch, rest []byte, err error) {
	if len(records) < batchMagic+1 {
		return nil, nil, ErrTruncatedBatch
	}
	n := int64(int32(binary.BigEndian.Uint32(records[batchLength:])))
	if n < batchMagic+1-batchFraming {
		return nil, nil, fmt.Errorf("record batch has length %d, at least %d is needed", n, batchMagic+1-batchFraming)
	}
	if int64(len(records)) < n+batchFraming {
		return nil, nil, ErrTruncatedBatch
	}
	batch, rest = Batch(records[:n+batchFraming]), records[n+batchFraming:]
	switch magic := batch[batchMagic]; {
	case magic < 2:
		return batch, rest, ErrOldMagic
	case magic > 2:
		return nil, nil, fmt.Errorf("record batch has magic %d, 0 to 2 are known", magic)
	case len(batch) < BatchHeaderSize:
		return nil, nil, fmt.Errorf("record batch of magic 2 has %d bytes, at least %d are needed", len(batch), BatchHeaderSize)
	}
	return batch, rest, nil
}

// Batches iterates over the whole batches of records and stops silently at a
// truncated last one. Any other defect is yielded as the last pair.
func Batches(records []byte) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		for len(records) > 0 {
			batch, rest, err := NextBatch(records)
			if errors.Is(err, ErrTruncatedBatch) {
				return
			}
			if !yield(batch, err) || err != nil {
				return
			}
			records = rest
		}
	}
}

func (b Batch) BaseOffset() int64  { return int64(binary.BigEndian.Uint64(b[batchBaseOffset:])) }
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[batchLeaderEpoch:])) }
func (b Batch) CRC() uint32        { return binary.BigEndian.Uint32(b[batchCRC:]) }
func (b Batch) Attributes() int16  { return int16(binary.BigEndian.Uint16(b[batchAttributes:])) }
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[batchLastOffsetDelta:]))
}
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[batchBaseTimestamp:])) }
func (b Batch) MaxTimestamp() int64  { return int64(binary.BigEndian.Uint64(b[batchMaxTimestamp:])) }
func (b Batch) ProducerID() int64    { return int64(binary.BigEndian.Uint64(b[batchProducerID:])) }
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[batchProducerEpoch:])) }
func (b Batch) BaseSequence() int32  { return int32(binary.BigEndian.Uint32(b[batchBaseSequence:])) }
func (b Batch) RecordCount() int32   { return int32(binary.BigEndian.Uint32(b[batchRecordCount:])) }

// NextOffset is the offset after the batch's last record.
func (b Batch) NextOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) + 1 }

// Control says whether the batch holds transaction markers.
func (b Batch) Control() bool { return b.Attributes()&AttrControl != 0 }

// Transactional says whether the batch belongs to a transaction.
func (b Batch) Transactional() bool { return b.Attributes()&AttrTransactional != 0 }

// LastSequence is the sequence of the last record: sequences wrap from 2^31-1
// to 0 (broker class DefaultRecordBatch.incrementSequence). It is -1 when the
// batch has no producer id.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() < 0 {
		return -1
	}
	return AddSequence(b.BaseSequence(), int64(b.LastOffsetDelta()))
}

// AddSequence is seq plus n with Kafka's wrap from 2^31-1 to 0.
func AddSequence(seq int32, n int64) int32 { return int32((int64(seq) + n) % (1 << 31)) }

// Dense says that offsets run without holes, which a broker demands of every
// batch it is sent (LogValidator: "Inconsistent batch offset range").
func (b Batch) Dense() bool { return b.RecordCount() > 0 && b.LastOffsetDelta()+1 == b.RecordCount() }

// ValidCRC recomputes the CRC over the covered bytes.
func (b Batch) ValidCRC() bool { return crc32.Checksum(b[batchAttributes:], castagnoli) == b.CRC() }

// SetBaseOffset edits bytes outside the CRC.
func (b Batch) SetBaseOffset(o int64) { binary.BigEndian.PutUint64(b[batchBaseOffset:], uint64(o)) }

// SetLeaderEpoch edits bytes outside the CRC.
func (b Batch) SetLeaderEpoch(e int32) { binary.BigEndian.PutUint32(b[batchLeaderEpoch:], uint32(e)) }

// Producer is the producer triple of a batch header. The zero value is a real
// producer; NoProducer is none.
type Producer struct {
	ID       int64
	Epoch    int16
	Sequence int32
}

// NoProducer is what a batch of a plain producer carries.
var NoProducer = Producer{ID: -1, Epoch: -1, Sequence: -1}

// SetProducer replaces the producer triple and the attributes, and corrects the
// CRC by delta: a batch that was corrupt before is as corrupt after.
func (b Batch) SetProducer(p Producer, attributes int16) {
	head := b[batchAttributes:batchRecordCount]
	before := crc32.Checksum(head, castagnoli)
	binary.BigEndian.PutUint16(b[batchAttributes:], uint16(attributes))
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[batchProducerEpoch:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[batchBaseSequence:], uint32(p.Sequence))
	after := crc32.Checksum(head, castagnoli)
	delta := crcShift(before^after, len(b)-batchRecordCount)
	binary.BigEndian.PutUint32(b[batchCRC:], b.CRC()^delta)
}

// crcShift advances a CRC-32C difference over n bytes: for two messages of one
// length that differ in a prefix, CRC(m1) ^ CRC(m2) is the difference of the
// prefixes' CRCs shifted over the common tail (the technique of zlib's
// crc32_combine: multiplication by x^(8n) modulo the polynomial).
func crcShift(diff uint32, n int) uint32 {
	for i := 0; n != 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			diff = matrixTimes(&crcPowers[i], diff)
		}
	}
	return diff
}

// crcPowers[i] is the operator that advances a CRC over 2^i zero bytes. Batches
// are shorter than 2^31 bytes, so 32 powers suffice.
var crcPowers = func() (powers [32][32]uint32) {
	var bit [32]uint32 // advance over one zero bit, reflected
	bit[0] = crc32.Castagnoli
	for i := 1; i < 32; i++ {
		bit[i] = 1 << (i - 1)
	}
	two := matrixSquare(&bit)
	four := matrixSquare(&two)
	powers[0] = matrixSquare(&four) // eight bits: one byte
	for i := 1; i < 32; i++ {
		powers[i] = matrixSquare(&powers[i-1])
	}
	return powers
}()

func matrixTimes(m *[32]uint32, v uint32) (sum uint32) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func matrixSquare(m *[32]uint32) (sq [32]uint32) {
	for i := range m {
		sq[i] = matrixTimes(m, m[i])
	}
	return sq
}
