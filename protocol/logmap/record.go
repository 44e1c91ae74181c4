package logmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
)

// Topic is the map topic: compacted, one partition per slot, on the cluster
// that it describes.
const Topic = "__catamaran_map"

// Slots is the number of slots of a link, which is the number of partitions of
// the map topic. It is fixed for the life of a virtual cluster: the slot of a
// partition is a hash modulo this number.
const Slots = 32

// TopicPartition names a partition of a data topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// Slot is the slot that tp belongs to, out of slots.
func (tp TopicPartition) Slot(slots int) int32 {
	h := fnv.New32a()
	h.Write([]byte(tp.Topic))
	var p [4]byte
	binary.BigEndian.PutUint32(p[:], uint32(tp.Partition))
	h.Write(p[:])
	return int32(h.Sum32() % uint32(slots))
}

// A record of the map topic:
//
//	key    version u8 = 1 | kind u8 | fields that identify (strings: uvarint length + bytes; numbers: varint)
//	value  crc32c u32 over key and body | body
//
// The checksum covers the key so that a value cannot be read under another key.
// A tombstone (null value) removes what the key names.
type Record interface {
	kind() byte
	key(b []byte) []byte
	body(b []byte) []byte
	readKey(r *reader)
	readBody(r *reader)
}

const recordVersion = 1

// Role says, once per map partition, what the cluster is to the slot's writer.
// The highest RouteEpoch counts: a writer whose own epoch is lower stops.
type Role struct {
	RouteEpoch int64
	// Active says that clients write here, so that nobody may mirror into it.
	Active bool
	// Writer names the process that wrote the role, for reports.
	Writer string
	// ProducerID is the producer id under which the slot's writer writes, so that
	// a later writer whose transactional id was forgotten by the cluster (and
	// which therefore got another one) knows its predecessors' records.
	ProducerID int64
}

// Birth is written before the first mirrored write to a partition. It carries
// the identity that clients know the topic by.
type Birth struct {
	TP TopicPartition
	// TopicID is the home cluster's id of the topic.
	TopicID [16]byte
	// Home names the cluster that first served the topic.
	Home string
}

// ExtentRecord is one extent of one partition.
type ExtentRecord struct {
	TP     TopicPartition
	Extent Extent
}

// IntentBatches is how many batches an intent keeps of a producer: as many as
// a client may have unacknowledged (max.in.flight.requests.per.connection of an
// idempotent producer is at most 5).
const IntentBatches = 5

// Intent says which client batches the last mirrored records of a producer came
// from, so that a retry after a failover is answered and not written again. One
// record per partition and producer, replaced with each round.
type Intent struct {
	TP TopicPartition
	// ProducerID is the client form (protocol.ClientProducerID).
	ProducerID int64
	Batches    []IntentBatch // oldest first, at most IntentBatches
}

// IntentBatch is one client batch. It is void unless the target holds its last
// record under the same generation.
type IntentBatch struct {
	Epoch         int16
	FirstSequence int32
	LastSequence  int32
	Logical       Logical    // of its first record
	Cluster       Cluster    // of its first record, on the cluster of the map
	Count         int32      // records
	Generation    Generation // that wrote it
}

func (*Role) kind() byte         { return 1 }
func (*Birth) kind() byte        { return 2 }
func (*ExtentRecord) kind() byte { return 3 }
func (*Intent) kind() byte       { return 4 }

func (*Role) key(b []byte) []byte    { return b }
func (v *Birth) key(b []byte) []byte { return v.TP.append(b) }
func (*Role) readKey(*reader)        {}
func (v *Birth) readKey(r *reader)   { v.TP = r.tp() }
func (v *ExtentRecord) key(b []byte) []byte {
	b = v.TP.append(b)
	return appendInts(b, int64(v.Extent.Generation), int64(v.Extent.Cluster))
}
func (v *ExtentRecord) readKey(r *reader) {
	v.TP, v.Extent.Generation, v.Extent.Cluster = r.tp(), Generation(r.int()), Cluster(r.int())
}
func (v *Intent) key(b []byte) []byte { return appendInts(v.TP.append(b), v.ProducerID) }
func (v *Intent) readKey(r *reader)   { v.TP, v.ProducerID = r.tp(), r.int() }

func (v *Role) body(b []byte) []byte {
	return appendInts(appendString(appendInts(b, v.RouteEpoch, flag(v.Active, 1)), v.Writer), v.ProducerID)
}
func (v *Role) readBody(r *reader) {
	v.RouteEpoch, v.Active, v.Writer, v.ProducerID = r.int(), r.int() != 0, r.string(), r.int()
}

func (v *Birth) body(b []byte) []byte { return appendString(append(b, v.TopicID[:]...), v.Home) }
func (v *Birth) readBody(r *reader) {
	copy(v.TopicID[:], r.bytes(16))
	v.Home = r.string()
}

func (v *ExtentRecord) body(b []byte) []byte {
	e := v.Extent
	return appendInts(b, int64(e.Logical), int64(e.SequenceBase), int64(e.Tenure), flag(e.Dead, 1)|flag(e.Stamp, 2), int64(e.Before))
}
func (v *ExtentRecord) readBody(r *reader) {
	v.Extent.Logical, v.Extent.SequenceBase, v.Extent.Tenure = Logical(r.int()), Cluster(r.int()), uint16(r.int())
	flags := r.int()
	v.Extent.Dead, v.Extent.Stamp = flags&1 != 0, flags&2 != 0
	v.Extent.Before = Logical(r.int())
}

func (v *Intent) body(b []byte) []byte {
	b = appendInts(b, int64(len(v.Batches)))
	for _, x := range v.Batches {
		b = appendInts(b, int64(x.Epoch), int64(x.FirstSequence), int64(x.LastSequence),
			int64(x.Logical), int64(x.Cluster), int64(x.Count), int64(x.Generation))
	}
	return b
}
func (v *Intent) readBody(r *reader) {
	n := r.int()
	if n < 0 || n > IntentBatches {
		r.fail(fmt.Errorf("an intent lists %d batches, 0 to %d are possible", n, IntentBatches))
		return
	}
	for range n {
		v.Batches = append(v.Batches, IntentBatch{
			Epoch: int16(r.int()), FirstSequence: int32(r.int()), LastSequence: int32(r.int()),
			Logical: Logical(r.int()), Cluster: Cluster(r.int()), Count: int32(r.int()), Generation: Generation(r.int()),
		})
	}
}

// Encode is the key and value of r on the map topic.
func Encode(r Record) (key, value []byte) {
	key = r.key([]byte{recordVersion, r.kind()})
	body := r.body(make([]byte, 4, 64))
	binary.BigEndian.PutUint32(body, checksum(key, body[4:]))
	return key, body
}

// Decode reads a record. A tombstone gives the record with its key fields only
// and deleted set. ErrUnknownRecord marks a version or kind of a later release.
func Decode(key, value []byte) (rec Record, deleted bool, err error) {
	if len(key) < 2 {
		return nil, false, fmt.Errorf("log map record has a key of %d bytes, at least 2 are needed", len(key))
	}
	if key[0] != recordVersion {
		return nil, false, fmt.Errorf("%w: version %d, this release knows %d", ErrUnknownRecord, key[0], recordVersion)
	}
	switch key[1] {
	case 1:
		rec = new(Role)
	case 2:
		rec = new(Birth)
	case 3:
		rec = new(ExtentRecord)
	case 4:
		rec = new(Intent)
	default:
		return nil, false, fmt.Errorf("%w: kind %d", ErrUnknownRecord, key[1])
	}
	r := &reader{b: key[2:]}
	rec.readKey(r)
	if err := r.end("key"); err != nil {
		return nil, false, err
	}
	if value == nil {
		return rec, true, nil
	}
	if len(value) < 4 {
		return nil, false, fmt.Errorf("log map record has a value of %d bytes, at least 4 are needed", len(value))
	}
	if got, want := checksum(key, value[4:]), binary.BigEndian.Uint32(value); got != want {
		return nil, false, fmt.Errorf("log map record is corrupt: checksum %08x, computed %08x", want, got)
	}
	r = &reader{b: value[4:]}
	rec.readBody(r)
	return rec, false, r.end("value")
}

// ErrUnknownRecord says that a record was written by a later release.
var ErrUnknownRecord = errors.New("unknown log map record")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body)
}

func (tp TopicPartition) append(b []byte) []byte {
	return binary.AppendVarint(appendString(b, tp.Topic), int64(tp.Partition))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendInts(b []byte, vs ...int64) []byte {
	for _, v := range vs {
		b = binary.AppendVarint(b, v)
	}
	return b
}

func flag(on bool, bit int64) int64 {
	if on {
		return bit
	}
	return 0
}

// reader reads fields and keeps the first defect.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.b = err, nil
	}
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errors.New("a number is cut short"))
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if uint64(len(r.b)) < n {
		r.fail(errors.New("bytes are cut short"))
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	n, w := binary.Uvarint(r.b)
	if w <= 0 {
		r.fail(errors.New("a length is cut short"))
		return ""
	}
	r.b = r.b[w:]
	return string(r.bytes(n))
}

func (r *reader) tp() TopicPartition {
	return TopicPartition{Topic: r.string(), Partition: int32(r.int())}
}

func (r *reader) end(what string) error {
	if r.err != nil {
		return fmt.Errorf("log map record's %s: %w", what, r.err)
	}
	if len(r.b) > 0 {
		return fmt.Errorf("log map record's %s has %d bytes too many", what, len(r.b))
	}
	return nil
}
