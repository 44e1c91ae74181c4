package mirror

import (
	"github.com/catamaran-io/catamaran/protocol"
)

const (
	// mergeable is the size up to which a batch is merged with its neighbours. A
	// produce request takes one batch per partition, so a stream of tiny batches
	// could be copied no faster than one per round trip, slower than clients with
	// five in flight write them.
	mergeable = 8 << 10
	// mergedBytes and mergedBatches bound the result.
	mergedBytes   = 128 << 10
	mergedBatches = 200
)

// merge makes one batch of small ones at the head of the queue that follow each
// other without a hole. It decodes them, which is cheap for what is small. On any
// defect they go as they are: the broker is the judge.
func (p *part) merge() {
	first := p.queue[0]
	if first.refused > 0 || first.written || len(first.batch) > mergeable {
		return
	}
	n, size := 1, len(first.batch)
	codec := first.batch.Attributes() & protocol.AttrCodecMask
	for n < len(p.queue) && n < mergedBatches {
		it := p.queue[n]
		if it.extent != nil || len(it.batch) > mergeable || size+len(it.batch) > mergedBytes || it.batch.Attributes()&protocol.AttrCodecMask != codec {
			break
		}
		size += len(it.batch)
		n++
	}
	if n == 1 {
		return
	}
	var records []protocol.Record
	merged := *first
	merged.clients, merged.count = nil, 0
	for _, it := range p.queue[:n] {
		if !it.batch.ValidCRC() {
			return
		}
		rs, err := protocol.Records(it.batch)
		if err != nil {
			return
		}
		for _, c := range it.clients {
			c.offset += merged.count
			merged.clients = append(merged.clients, c)
		}
		records = append(records, rs...)
		merged.count += it.count
		merged.source = it.source
	}
	b, err := compressAs(protocol.BuildBatch(records, protocol.NoProducer, 0), codec)
	if err != nil {
		return
	}
	merged.batch = b
	p.bytes += len(b) - size
	p.queue = append([]*item{&merged}, p.queue[n:]...)
}
