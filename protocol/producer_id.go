package protocol

import "fmt"

// Tenure numbers the stays of the active role: 0 is the home cluster's first
// stay, and every completed cutover starts the next. It is monotone for the
// life of a virtual cluster and never reused.
type Tenure uint16

// MaxTenure is the highest tenure that fits in a producer id (11 bits).
const MaxTenure Tenure = 1<<tenureBits - 1

const (
	rawBits    = 40
	tenureBits = 11
	rawMask    = 1<<rawBits - 1
	tenureMask = 1<<tenureBits - 1
)

// A producer id has two forms, and the difference matters because both
// clusters issue ids from 0 while a broker acknowledges a batch that it
// believes it has seen without writing it: a collision is silent loss.
//
//	ClientProducerID (what a client holds)      0 | issuing tenure (11) | raw id (40)
//	WireProducerID (what a cluster is sent)     raw id, in the tenure that issued it;
//	  current tenure (11) | issuing tenure (11) | raw id (40), in every later one
//
// In tenure 0 both forms are the raw id. Negative values (no producer id) pass
// unchanged in both directions.
type (
	ClientProducerID int64
	WireProducerID   int64
)

// IssuedProducerID is the client form of an id that a broker has just issued
// in tenure issuing.
func IssuedProducerID(raw int64, issuing Tenure) (ClientProducerID, error) {
	if raw < 0 {
		return ClientProducerID(raw), nil
	}
	if raw > rawMask {
		return 0, fmt.Errorf("producer id %d does not fit in %d bits: no cluster that issues ids from 0 gets there", raw, rawBits)
	}
	if issuing > MaxTenure {
		return 0, fmt.Errorf("tenure %d is beyond the highest that a producer id can carry (%d)", issuing, MaxTenure)
	}
	return ClientProducerID(int64(issuing)<<rawBits | raw), nil
}

// Wire is the form of id that the active cluster of tenure current is sent. It
// is a pure function, so it survives restarts of the sidecar without a table.
func (id ClientProducerID) Wire(current Tenure) (WireProducerID, error) {
	if id < 0 {
		return WireProducerID(id), nil
	}
	issuing := id.Issuing()
	if int64(id)>>(rawBits+tenureBits) != 0 || issuing > current || current > MaxTenure {
		return 0, fmt.Errorf("producer id %d was never issued here: it names tenure %d, and the current tenure is %d", id, issuing, current)
	}
	raw := int64(id) & rawMask
	if issuing == current {
		return WireProducerID(raw), nil
	}
	return WireProducerID(int64(current)<<(rawBits+tenureBits) | int64(issuing)<<rawBits | raw), nil
}

// Issuing is the tenure in which id was issued.
func (id ClientProducerID) Issuing() Tenure { return Tenure(int64(id) >> rawBits & tenureMask) }

// Client is the inverse of Wire, for a batch that was written by a client in
// tenure written.
func (id WireProducerID) Client(written Tenure) ClientProducerID {
	if id < 0 {
		return ClientProducerID(id)
	}
	if int64(id) <= rawMask {
		return ClientProducerID(int64(written)<<rawBits | int64(id))
	}
	return ClientProducerID(int64(id) & (1<<(rawBits+tenureBits) - 1))
}
