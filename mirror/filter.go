package mirror

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// aborted knows which data batches of a read_committed fetch belong to aborted
// transactions. A broker returns them, and lists (producer id, first offset) of
// every aborted transaction that touches the returned range: all transactional
// batches of that producer from there to its ABORT marker are void. The state
// is complete for one response, so none is carried to the next.
type aborted map[int64][]int64

func newAborted(list []kmsg.FetchResponseTopicPartitionAbortedTransaction) aborted {
	a := make(aborted)
	for _, t := range list {
		a[t.ProducerID] = append(a[t.ProducerID], t.FirstOffset)
	}
	for _, firsts := range a {
		slices.Sort(firsts)
	}
	return a
}

// drops takes the next batch in offset order and says whether it holds no
// committed records: markers, and what was aborted.
func (a aborted) drops(b protocol.Batch) bool {
	firsts := a[b.ProducerID()]
	if b.Control() {
		if len(firsts) > 0 && firsts[0] <= b.BaseOffset() && abortMarker(b) {
			a[b.ProducerID()] = firsts[1:]
		}
		return true
	}
	return b.Transactional() && len(firsts) > 0 && firsts[0] <= b.BaseOffset()
}

// abortMarker reads the type of a control batch: its one record's key is
// version i16 and type i16, where 0 is ABORT and 1 is COMMIT (KIP-98).
func abortMarker(b protocol.Batch) bool {
	records, err := protocol.Records(b)
	return err == nil && len(records) > 0 && len(records[0].Key) >= 4 && binary.BigEndian.Uint16(records[0].Key[2:]) == 0
}
