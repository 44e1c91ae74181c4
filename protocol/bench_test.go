package protocol

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// One fetch answer of 64 batches of 16 KiB, as after a cutover.
func BenchmarkFetchAnswer(b *testing.B) {
	m := new(logmap.Map)
	m.Add(logmap.Extent{Generation: 1, Cluster: 0, Logical: 1000, Tenure: 1, Stamp: true})
	v := viewOf(m)
	var records []byte
	for i := range 64 {
		batch := BuildBatch([]Record{{Value: make([]byte, 16<<10)}}, Producer{ID: 5}, 0)
		batch.SetBaseOffset(int64(i))
		records = append(records, batch...)
	}
	work := make([]byte, len(records))
	b.SetBytes(int64(len(records)))
	for b.Loop() {
		copy(work, records)
		_, _ = fetchOnce(v, 1000, func(int64) (p kmsg.FetchResponseTopicPartition) {
			p.RecordBatches = work
			return p
		})
	}
}

// One produce request of 64 KiB, parsed, translated in a later tenure (which
// copies the records once) and written again.
func BenchmarkProduceRequest(b *testing.B) {
	batch := BuildBatch([]Record{{Value: bytes.Repeat([]byte{1}, 64<<10)}}, Producer{ID: 1<<rawBits | 5}, 0)
	frame := AppendRequest(nil, 1, nil, produceOf(9, batch))[4:]
	v := markView()
	var out []byte
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	for b.Loop() {
		h, body, _ := ParseRequest(frame)
		req, _ := ParseBody(h, body)
		sent := Clone(req)
		if err := produce.Request(v, sent); err != nil {
			b.Fatal(err)
		}
		out = AppendRequest(out[:0], 1, nil, sent)
	}
}
