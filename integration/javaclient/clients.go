package javaclient

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ProducerOptions say what a producer sends.
type ProducerOptions struct {
	Bootstrap []string
	Topic     string

	// Prefix makes values unique among producers: they are Prefix0, Prefix1, ...
	Prefix string

	// Rate is in records per second, 1,000 by default.
	Rate float64

	// Count and Duration end the sending, whichever comes first; without them it goes on until Stop.
	Count    int
	Duration time.Duration

	// Keys is how many different keys are used in turn; 0 sends without a key (partitions are filled batch by batch).
	Keys int

	// ValueBytes pads values with " ...." to this size.
	ValueBytes int

	Config  map[string]string // further client settings
	Version string            // of kafka-clients, DefaultVersion if empty
	OnEvent func(Event)       // called in order from one goroutine, before the event is in Events
}

// A Producer is a Java program with a KafkaProducer: idempotent, acks=all, as is the default.
type Producer struct{ *program }

// StartProducer starts a producer. It ends with the test. Under -short it skips the test.
func StartProducer(tb testing.TB, o ProducerOptions) *Producer {
	tb.Helper()
	args := map[string]string{
		"topic":   o.Topic,
		"prefix":  o.Prefix,
		"count":   strconv.Itoa(o.Count),
		"seconds": strconv.FormatFloat(o.Duration.Seconds(), 'f', -1, 64),
		"keys":    strconv.Itoa(o.Keys),
		"size":    strconv.Itoa(o.ValueBytes),
	}
	if o.Rate > 0 {
		args["rate"] = strconv.FormatFloat(o.Rate, 'f', -1, 64)
	}
	config := map[string]string{"bootstrap.servers": strings.Join(o.Bootstrap, ",")}
	maps.Copy(config, o.Config)
	return &Producer{start(tb, "producer of "+o.Topic, "Producer", o.Version, config, args, o.OnEvent)}
}

// Commit is how a consumer commits.
type Commit string

const (
	CommitAuto  Commit = "auto"  // the library does, every auto.commit.interval.ms (5 s by default)
	CommitSync  Commit = "sync"  // the program does, after every poll that returned records
	CommitAsync Commit = "async" // the same without waiting
)

// ConsumerOptions say what a consumer consumes.
type ConsumerOptions struct {
	Bootstrap []string
	Topics    []string
	Group     string

	// Commit is CommitAuto by default; AutoCommitInterval shortens (or lengthens) its interval.
	Commit             Commit
	AutoCommitInterval time.Duration

	Config  map[string]string // further client settings; group.protocol=consumer is KIP-848
	Version string            // of kafka-clients, DefaultVersion if empty
	OnEvent func(Event)       // called in order from one goroutine, before the event is in Events
}

// A Consumer is a Java program with a KafkaConsumer, one member of a group.
type Consumer struct{ *program }

// StartConsumer starts a consumer. It ends with the test. Under -short it skips the test.
func StartConsumer(tb testing.TB, o ConsumerOptions) *Consumer {
	tb.Helper()
	if o.Commit == "" {
		o.Commit = CommitAuto
	}
	args := map[string]string{"topics": strings.Join(o.Topics, ","), "commit": string(o.Commit)}
	config := map[string]string{
		"bootstrap.servers": strings.Join(o.Bootstrap, ","),
		"group.id":          o.Group,
		"auto.offset.reset": "earliest",
	}
	if o.AutoCommitInterval > 0 {
		config["auto.commit.interval.ms"] = strconv.FormatInt(o.AutoCommitInterval.Milliseconds(), 10)
	}
	maps.Copy(config, o.Config)
	return &Consumer{start(tb, "consumer in group "+o.Group, "Consumer", o.Version, config, args, o.OnEvent)}
}
