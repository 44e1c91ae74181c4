package protocol

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Records decodes the records of a batch, decompressing them if need be. Keys,
// values and headers of an uncompressed batch alias it. The caller checks
// ValidCRC if it matters.
func Records(b Batch) ([]Record, error) {
	// A decompressor per call: one kept for all calls would hand decoders made
	// inside one simulation's bubble to another, which testing/synctest forbids.
	payload, err := kgo.DefaultDecompressor().Decompress(b[BatchHeaderSize:], kgo.CompressionCodecType(b.Attributes()&AttrCodecMask))
	if err != nil {
		return nil, fmt.Errorf("decompressing the batch at offset %d (codec %d): %w", b.BaseOffset(), b.Attributes()&AttrCodecMask, err)
	}
	n := b.RecordCount()
	// A record takes at least 7 bytes, so a count from the wire cannot make us
	// allocate more than the payload justifies.
	if n < 0 || int64(n)*7 > int64(len(payload)) {
		return nil, fmt.Errorf("batch at offset %d says it has %d records in %d bytes", b.BaseOffset(), n, len(payload))
	}
	records := make([]Record, n)
	r := recordReader{b: payload}
	for i := range records {
		r.record(&records[i], b)
		if r.err != nil {
			return nil, fmt.Errorf("record %d of the batch at offset %d: %w", i, b.BaseOffset(), r.err)
		}
	}
	if len(r.b) > 0 {
		return nil, fmt.Errorf("batch at offset %d has %d bytes behind its last record", b.BaseOffset(), len(r.b))
	}
	return records, nil
}

// recordReader reads fields and keeps the first defect.
type recordReader struct {
	b   []byte
	err error
}

var errShortRecord = errors.New("the record is cut short")

func (r *recordReader) record(rec *Record, b Batch) {
	size := r.varint()
	if size < 0 || size > int64(len(r.b)) {
		r.fail(errShortRecord)
		return
	}
	in := recordReader{b: r.b[:size]}
	r.b = r.b[size:]
	in.skip(1) // attributes: unused
	rec.Timestamp = b.BaseTimestamp() + in.varint()
	if b.Attributes()&AttrLogAppendTime != 0 {
		rec.Timestamp = b.MaxTimestamp()
	}
	delta := in.varint()
	if delta < 0 || delta > int64(b.LastOffsetDelta()) {
		in.fail(fmt.Errorf("offset delta %d, 0 to %d are possible", delta, b.LastOffsetDelta()))
	}
	rec.OffsetDelta = int32(delta)
	rec.Key, rec.Value = in.nullable(), in.nullable()
	n := in.varint()
	if n < 0 || n*2 > int64(len(in.b)) { // a header takes at least 2 bytes
		in.fail(errShortRecord)
		n = 0
	}
	if n > 0 {
		rec.Headers = make([]Header, n)
	}
	for i := range rec.Headers {
		rec.Headers[i] = Header{Key: string(in.nullable()), Value: in.nullable()}
	}
	if in.err == nil && len(in.b) > 0 {
		in.fail(fmt.Errorf("%d bytes are left over", len(in.b)))
	}
	r.fail(in.err)
}

func (r *recordReader) fail(err error) {
	if r.err == nil && err != nil {
		r.err, r.b = err, nil
	}
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShortRecord)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) skip(n int) {
	if n > len(r.b) {
		r.fail(errShortRecord)
		return
	}
	r.b = r.b[n:]
}

func (r *recordReader) nullable() []byte {
	n := r.varint()
	if n < 0 || r.err != nil {
		return nil
	}
	if n > int64(len(r.b)) {
		r.fail(errShortRecord)
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
