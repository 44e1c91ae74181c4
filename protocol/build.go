package protocol

import (
	"encoding/binary"
	"hash/crc32"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte // nil is null
}

// Record is one record of a batch. Nil keys and values are null, which is not
// the same as empty.
type Record struct {
	// OffsetDelta is the record's offset less the batch's base offset.
	OffsetDelta int32
	// Timestamp is in milliseconds since the Unix epoch.
	Timestamp int64
	Key       []byte
	Value     []byte
	Headers   []Header
}

// BuildBatch is an uncompressed batch of magic 2 at base offset 0 with leader
// epoch -1, ready to be produced: offsets are dense, whatever OffsetDelta says,
// because a broker refuses holes. The codec bits of attributes are ignored.
// Without records it is an empty batch, which only a broker may send.
func BuildBatch(records []Record, p Producer, attributes int16) Batch {
	b := make(Batch, BatchHeaderSize, BatchHeaderSize+sizeHint(records))
	var base, latest int64
	if len(records) > 0 {
		base, latest = records[0].Timestamp, records[0].Timestamp
	}
	var body []byte
	for i := range records {
		r := &records[i]
		latest = max(latest, r.Timestamp)
		body = appendRecord(body[:0], r, r.Timestamp-base, int64(i))
		b = binary.AppendVarint(b, int64(len(body)))
		b = append(b, body...)
	}
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchFraming))
	b[batchMagic] = 2
	binary.BigEndian.PutUint16(b[batchAttributes:], uint16(attributes&^AttrCodecMask))
	binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], uint32(max(len(records)-1, 0)))
	binary.BigEndian.PutUint64(b[batchBaseTimestamp:], uint64(base))
	binary.BigEndian.PutUint64(b[batchMaxTimestamp:], uint64(latest))
	binary.BigEndian.PutUint64(b[batchProducerID:], uint64(p.ID))
	binary.BigEndian.PutUint16(b[batchProducerEpoch:], uint16(p.Epoch))
	binary.BigEndian.PutUint32(b[batchBaseSequence:], uint32(p.Sequence))
	binary.BigEndian.PutUint32(b[batchRecordCount:], uint32(len(records)))
	b.SetLeaderEpoch(-1)
	b.sign()
	return b
}

// setLastOffsetDelta is for batches that are made here: it computes the CRC anew.
func (b Batch) setLastOffsetDelta(d int32) {
	binary.BigEndian.PutUint32(b[batchLastOffsetDelta:], uint32(d))
	b.sign()
}

func (b Batch) sign() {
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
}

// A record: length varint, then attributes i8 (unused), timestamp delta varint,
// offset delta varint, key and value (varint length, -1 for null), headers
// (varint count; key and value each). Varints are zigzag.
func appendRecord(dst []byte, r *Record, timestampDelta, offsetDelta int64) []byte {
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, offsetDelta)
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for i := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(r.Headers[i].Key)))
		dst = append(dst, r.Headers[i].Key...)
		dst = appendNullable(dst, r.Headers[i].Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func sizeHint(records []Record) (n int) {
	for i := range records {
		n += len(records[i].Key) + len(records[i].Value) + 24
	}
	return n
}
