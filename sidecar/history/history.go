// Package history judges what clients saw. Every scenario, from the demo to
// real clusters under faults, records one History and asks one Check; what the
// product promises is decided here and nowhere else.
//
// It is pure: no clock, no network. Check sorts, so millions of events take
// seconds and a few hundred bytes each.
package history

import (
	"fmt"
	"time"
)

// Record is the identity of one produced record: the producer's name and its
// number. A producer numbers its records upwards in the order in which it
// produces them; the order inside a partition is judged by the number.
type Record struct {
	Producer string
	Number   int64
}

func (r Record) String() string { return fmt.Sprintf("%s/%d", r.Producer, r.Number) }

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// History is what happened, by kind. Times are offsets from any common origin.
// Within a kind order does not matter.
type History struct {
	Produced     []Produced
	Acknowledged []Acknowledged
	Failed       []Failed
	Consumed     []Consumed
	Committed    []Committed
	Tails        []Tail
	// Errors are what else a client reported: none is allowed.
	Errors []string
}

// Produced says that a client handed a record to its producer.
type Produced struct {
	Record
	At time.Duration
}

// Acknowledged says that a producer was told that the record is at Offset.
type Acknowledged struct {
	Record
	TopicPartition
	Offset int64
	At     time.Duration
}

// Failed says that a producer was told that the record was not written.
type Failed struct {
	Record
	Err string
	At  time.Duration
}

// Consumed says that a member of Group was given the record at Offset.
type Consumed struct {
	Group, Member string
	Record
	TopicPartition
	Offset int64
	At     time.Duration
}

// Committed says that a commit of Offset (the next to read) succeeded.
type Committed struct {
	Group string
	TopicPartition
	Offset int64
	At     time.Duration
}

// Tail is a range of offsets, From inclusive to To exclusive, that a failover's
// report declared as not carried over.
type Tail struct {
	TopicPartition
	From, To int64
}

// Entry is one record of a log that was read at the end, with the offset under
// which clients know it.
type Entry struct {
	Record
	TopicPartition
	Offset int64
}
