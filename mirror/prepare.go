package mirror

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// item is one batch on its way to the target.
type item struct {
	batch   protocol.Batch
	logical logmap.Logical // of its first record
	count   int32
	tenure  uint16 // in which clients wrote it
	// source is the position on the source behind it and behind everything that
	// follows it and is not copied (markers, aborted records).
	source logmap.Cluster
	// clients are the client batches that this is made of, for the intents: none
	// when it has no producer id, was mirrored into the source before or was cut
	// in pieces; several when small ones were merged.
	clients []clientBatch

	// What the link adds: where it will stand on the target, the extent that
	// must be durable before it, and what is done.
	at      logmap.Cluster
	extent  *logmap.Extent
	durable bool // the extent is
	written bool // the batch is
	intent  bool // the intent is
	refused int  // how often the target has refused it
}

// clientBatch identifies what a client sent, in the client's form.
type clientBatch struct {
	producer    int64
	epoch       int16
	first, last int32
	// offset is where it begins in the item, count its records.
	offset, count int32
}

// cursor is where reading a source partition stands.
type cursor struct {
	source logmap.Cluster // next offset to read
	next   logmap.Logical // first logical offset that is wanted
	epoch  int32          // leader epoch of the last batch seen, -1
}

// preparer turns what a fetch returned into items. home: before the source's
// first extent stands a tenure of its own, first.
type preparer struct {
	m     *logmap.Map
	home  bool
	first uint16
}

// newPreparer is for a source that serves in tenure. A partition of its own that
// it was never stamped for was made in that tenure.
func newPreparer(m *logmap.Map, home bool, tenure uint16) preparer {
	if !home || lastTenure(m) > 0 {
		tenure = 0
	}
	return preparer{m, home, tenure}
}

// prepare takes the batches of one read_committed answer. It edits them in
// place; items alias the answer. On an error what was prepared before it counts.
func (p preparer) prepare(at cursor, rp *kmsg.FetchResponseTopicPartition) ([]*item, cursor, error) {
	var items []*item
	void := newAborted(rp.AbortedTransactions)
	for b, err := range protocol.Batches(rp.RecordBatches) {
		if err != nil {
			return items, at, fmt.Errorf("the source's batch at offset %d: %w", at.source, err)
		}
		next := logmap.Cluster(b.NextOffset())
		drop := void.drops(b)
		if next <= at.source {
			continue // a fetch may begin before what was asked for
		}
		epoch := b.LeaderEpoch()
		if !drop {
			made, err := p.batch(at, b)
			if err != nil {
				return items, at, err
			}
			if n := len(made); n > 0 {
				items = append(items, made...)
				at.next = made[n-1].logical + logmap.Logical(made[n-1].count)
			}
		}
		at.source, at.epoch = next, epoch
		if len(items) > 0 {
			items[len(items)-1].source = next
		}
	}
	return items, at, nil
}

// batch makes the items of one committed data batch: itself, if all of it can
// be taken as it is; else its records, in runs without holes.
func (p preparer) batch(at cursor, b protocol.Batch) ([]*item, error) {
	if b.RecordCount() <= 0 {
		return nil, nil // compaction leaves empty batches for their producer state
	}
	base, last := logmap.Cluster(b.BaseOffset()), logmap.Cluster(b.NextOffset()-1)
	first, ok := p.m.Record(base)
	end, okEnd := p.m.Record(last)
	e := p.extentAt(base)
	const rewritten = protocol.AttrLogAppendTime | protocol.AttrDeleteHorizon
	if b.Dense() && b.Attributes()&rewritten == 0 && ok && okEnd &&
		end-first == logmap.Logical(last-base) && base >= at.source && first >= at.next {
		return []*item{{batch: b, logical: first, count: b.RecordCount(), tenure: e.Tenure, clients: p.client(b, e)}}, nil
	}
	return p.rewrite(at, b)
}

func (p preparer) extentAt(c logmap.Cluster) (at logmap.Extent) {
	p.m.Split(c, c+1, func(_, _ logmap.Cluster, e logmap.Extent) bool {
		at = e
		return false
	})
	if at.Generation == 0 {
		at.Tenure = p.first
	}
	return at
}

// client says what the batch is in the producer's own terms, if clients wrote it on the
// source: in a stamped tenure, or in the first tenure of a home cluster. A batch
// of a transaction is never retried on its own after a failover.
func (p preparer) client(b protocol.Batch, e logmap.Extent) []clientBatch {
	native := e.Stamp || e.Generation == 0 && p.home
	if !native || b.Transactional() || b.ProducerID() < 0 || b.BaseSequence() < 0 {
		return nil
	}
	id := protocol.WireProducerID(b.ProducerID()).Client(protocol.Tenure(e.Tenure))
	return []clientBatch{{producer: int64(id), epoch: b.ProducerEpoch(), first: b.BaseSequence(), last: b.LastSequence(), count: b.RecordCount()}}
}

// rewrite decodes a batch and encodes what is wanted of it anew: holes that
// compaction left end a run, because a broker refuses batches with holes;
// timestamps that the source's broker had set are written into the records; the
// delete horizon goes.
func (p preparer) rewrite(at cursor, b protocol.Batch) ([]*item, error) {
	if !b.ValidCRC() {
		return nil, fmt.Errorf("the source's batch at offset %d is corrupt (checksum)", b.BaseOffset())
	}
	records, err := protocol.Records(b)
	if err != nil {
		return nil, fmt.Errorf("the source's batch: %w", err)
	}
	var (
		items []*item
		run   []protocol.Record
		open  *item
	)
	flush := func() error {
		if open == nil {
			return nil
		}
		made, err := compressAs(protocol.BuildBatch(run, protocol.NoProducer, 0), b.Attributes()&protocol.AttrCodecMask)
		if err != nil {
			return fmt.Errorf("encoding records of the source's batch at offset %d anew: %w", b.BaseOffset(), err)
		}
		open.batch, open.count = made, int32(len(run))
		if open.count == b.RecordCount() && b.Dense() {
			open.clients = p.client(b, p.extentAt(logmap.Cluster(b.BaseOffset())))
		}
		items = append(items, open)
		open, run = nil, nil
		return nil
	}
	for _, r := range records {
		offset := logmap.Cluster(b.BaseOffset() + int64(r.OffsetDelta))
		l, ok := p.m.Record(offset)
		if !ok || offset < at.source || l < at.next {
			continue
		}
		tenure := p.extentAt(offset).Tenure
		if open != nil && (l != open.logical+logmap.Logical(len(run)) || tenure != open.tenure) {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if open == nil {
			open = &item{logical: l, tenure: tenure}
		}
		open.source = offset + 1
		run = append(run, r)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return items, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// compressAs compresses the records of an uncompressed batch with the codec that
// its source had, so that it is no larger than the target's limit allows.
func compressAs(b protocol.Batch, codec int16) (protocol.Batch, error) {
	var c kgo.CompressionCodec
	switch codec {
	case 0:
		return b, nil
	case 1:
		c = kgo.GzipCompression()
	case 2:
		c = kgo.SnappyCompression()
	case 3:
		c = kgo.Lz4Compression()
	case 4:
		c = kgo.ZstdCompression()
	default:
		return nil, fmt.Errorf("compression codec %d is not known", codec)
	}
	compressor, err := kgo.DefaultCompressor(c)
	if err != nil {
		return nil, err
	}
	payload, used := compressor.Compress(new(bytes.Buffer), b[protocol.BatchHeaderSize:])
	out := append(bytes.Clone(b[:protocol.BatchHeaderSize]), payload...)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	binary.BigEndian.PutUint16(out[21:], uint16(b.Attributes()&^protocol.AttrCodecMask|int16(used)))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out, nil
}

// address makes the batch what the target must be sent: base offset 0 (anything
// else is INVALID_RECORD), no leader epoch, no transaction, and the slot's
// producer at the sequence that is its position.
func (it *item) address(p protocol.Producer) {
	it.batch.SetBaseOffset(0)
	it.batch.SetLeaderEpoch(-1)
	it.batch.SetProducer(p, it.batch.Attributes()&^protocol.AttrTransactional)
}
