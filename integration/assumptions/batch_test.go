package assumptions

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// A batch is a record batch as a client could send it, right or wrong.
//
//	base offset 8 | length 4 | leader epoch 4 | magic 1 | crc 4 | attributes 2 | last offset delta 4 |
//	base timestamp 8 | max timestamp 8 | producer id 8 | producer epoch 2 | base sequence 4 | records 4 | ...
//
// The CRC (Castagnoli) covers everything from the attributes on: base offset and leader epoch are outside.
type batch struct {
	base   int64 // base offset: 0 unless a test is about that
	pid    int64
	epoch  int16
	seq    int32
	attrs  uint16
	age    time.Duration // how long ago the records are stamped
	values []string
}

const (
	attrTransactional = 0x10
	attrControl       = 0x20
	attrUnused        = 0x200 // no meaning in Kafka 4.3
)

// of returns values for n records.
func of(n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprint("v", i)
	}
	return values
}

func (b batch) bytes() []byte {
	stamp := time.Now().Add(-b.age).UnixMilli()
	out := make([]byte, 61)
	for i, value := range b.values {
		rec := []byte{0}                         // attributes
		rec = binary.AppendVarint(rec, 0)        // timestamp delta
		rec = binary.AppendVarint(rec, int64(i)) // offset delta
		rec = binary.AppendVarint(rec, -1)       // no key
		rec = binary.AppendVarint(rec, int64(len(value)))
		rec = append(rec, value...)
		rec = binary.AppendVarint(rec, 0) // no headers
		out = binary.AppendVarint(out, int64(len(rec)))
		out = append(out, rec...)
	}
	be := binary.BigEndian
	be.PutUint64(out[0:], uint64(b.base))
	be.PutUint32(out[8:], uint32(len(out)-12))
	be.PutUint32(out[12:], 0xffffffff) // leader epoch −1, as franz-go sends it
	out[16] = 2
	be.PutUint16(out[21:], b.attrs)
	be.PutUint32(out[23:], uint32(len(b.values)-1))
	be.PutUint64(out[27:], uint64(stamp))
	be.PutUint64(out[35:], uint64(stamp))
	be.PutUint64(out[43:], uint64(b.pid))
	be.PutUint16(out[51:], uint16(b.epoch))
	be.PutUint32(out[53:], uint32(b.seq))
	be.PutUint32(out[57:], uint32(len(b.values)))
	be.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}
