package javaclient

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// A Kind of event. The text is what the programs print.
type Kind string

const (
	Ready     Kind = "ready"     // the client object exists; nothing is connected yet
	Acked     Kind = "ack"       // a record was acknowledged: Topic, Partition, Offset, Key, Value, Timestamp
	Consumed  Kind = "record"    // a record was consumed: the same
	Error     Kind = "error"     // an exception reached the program: Err; for a produce also Topic, Key, Value
	Assigned  Kind = "assigned"  // Partitions were added to the member's
	Revoked   Kind = "revoked"   // Partitions were taken in order
	Lost      Kind = "lost"      // Partitions were lost: the member had been thrown out
	Committed Kind = "committed" // a commit that the program made succeeded: Topic, Partition, Offset (not for CommitAuto)
	Done      Kind = "done"      // the program closed its client and ends: Count records were sent or consumed
)

// An Event is something that a Java program saw.
type Event struct {
	Kind Kind
	At   time.Time // when, by the program's clock (the same host's)

	Topic      string
	Partition  int32
	Offset     int64
	Timestamp  time.Time // the record's
	Key, Value string    // an absent key is ""
	Partitions []string  // "topic-partition", sorted
	Count      int64
	Err        string // class names and messages of the exception and its causes
}

func (e Event) String() string {
	switch e.Kind {
	case Acked, Consumed, Committed:
		return fmt.Sprintf("%s %s-%d@%d %q", e.Kind, e.Topic, e.Partition, e.Offset, e.Value)
	case Error:
		return fmt.Sprintf("error %s %q", e.Err, e.Value)
	case Assigned, Revoked, Lost:
		return fmt.Sprintf("%s %s", e.Kind, strings.Join(e.Partitions, ","))
	default:
		return string(e.Kind)
	}
}

func parseEvent(line []byte) (Event, error) {
	var j struct {
		Kind       Kind   `json:"kind"`
		AtMicros   int64  `json:"at"`
		Topic      string `json:"topic"`
		Partition  int32  `json:"partition"`
		Offset     int64  `json:"offset"`
		Timestamp  int64  `json:"timestamp"`
		Key        string `json:"key"`
		Value      string `json:"value"`
		Partitions string `json:"partitions"`
		Count      int64  `json:"count"`
		Error      string `json:"error"`
	}
	if err := json.Unmarshal(line, &j); err != nil {
		return Event{}, fmt.Errorf("a line that is no event: %q: %w", line, err)
	}
	e := Event{
		Kind: j.Kind, At: time.UnixMicro(j.AtMicros), Topic: j.Topic, Partition: j.Partition, Offset: j.Offset,
		Timestamp: time.UnixMilli(j.Timestamp), Key: j.Key, Value: j.Value, Count: j.Count, Err: j.Error,
	}
	if j.Partitions != "" {
		e.Partitions = strings.Split(j.Partitions, ",")
	}
	return e, nil
}
