// Package mirror keeps the standby in step with the active cluster: records
// (batches copied as they are, exactly once, in order), topics and group
// offsets. It writes the log map, and it seals and stamps a cluster that takes
// over.
//
// A Mirror is driven by its caller: Run mirrors in one direction under one route
// epoch until its context ends; Drain, Seal and Stamp are the steps of a
// cutover. What an earlier or a paused process may still do is refused by the
// target's brokers (see acquire.go), so calling any of them twice, late or from
// another process loses nothing.
package mirror

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// Config is what a Mirror needs. The caller validates it.
type Config struct {
	// VirtualCluster names the pair; it is part of the transactional ids.
	VirtualCluster string
	// Writer names this process in role records and reports.
	Writer   string
	Clusters map[string]Cluster
	// Topics says which topics are mirrored.
	Topics Rules
	// Dial opens connections (nil: the real network).
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger
	// Slots is the number of slots (logmap.Slots); fixed for the pair's life.
	Slots int
	// FetchBytes bounds one partition's share of a fetch (1 MiB): memory grows
	// with it times the number of busy partitions.
	FetchBytes int32
	// Discover is how often topics and partitions are looked for (1 s).
	Discover time.Duration
	// GroupInterval is how often group offsets are copied (250 ms).
	GroupInterval time.Duration
	// ReplicationFactor of topics created on a target: 0 means the source
	// topic's, at most the number of brokers.
	ReplicationFactor int16
	// Adopt permits mirroring into partitions of the target that already hold
	// records which this map does not know.
	Adopt bool
	// OrphanTail says what becomes of records that a returning cluster
	// acknowledged after the last mirrored one: OrphanTailStop (default; the
	// partition is not mirrored, and its state names the range) or OrphanTailDead
	// (they are marked dead: clients never see them again).
	OrphanTail string
}

// Policies for an orphan tail.
const (
	OrphanTailStop = "stop"
	OrphanTailDead = "dead"
)

// Cluster is one real cluster.
type Cluster struct {
	Seeds   []string
	Options []kgo.Opt
}

// Rules select topics by name with path.Match patterns; internal topics
// ("__" prefix) are never mirrored.
type Rules struct {
	Include []string // empty: all
	Exclude []string
}

// Link is one direction under one route epoch.
type Link struct {
	Source, Target string
	Epoch          int64
	Tenure         protocol.Tenure
}

// Floor is the first logical offset that no client was shown.
type Floor struct {
	logmap.TopicPartition
	Next logmap.Logical
}

// Stamped is the outcome of Stamp.
type Stamped struct {
	// Positions are the ends of the map partitions behind the stamps, by slot.
	Positions  []int64
	Partitions []PartitionStamp
}

// PartitionStamp says where a partition's new tenure begins.
type PartitionStamp struct {
	logmap.TopicPartition
	Mirrored, First logmap.Logical
	// Tail is Floor minus Mirrored when positive, 0 otherwise: records that a
	// client was shown and that are not here. -1: not known.
	Tail int64
	// Held says why the partition could not be sealed; "" when it was.
	Held string
}

// PartitionState is one partition's standing in a link, for status and metrics.
type PartitionState struct {
	logmap.TopicPartition
	State  string // "starting", "mirroring", "stopped"
	Reason string // of "stopped"
	// Position is the next source offset; End is the source's end as last seen.
	Position, End logmap.Cluster
	Records       int64
	Bytes         int64
	// CaughtUp is when Position last reached End.
	CaughtUp time.Time
}

// The methods that the wiring uses:
//
//	New(Config) (*Mirror, error)
//	(*Mirror) EnsureMap(ctx, cluster string) error   creates the map topic if missing
//	(*Mirror) Run(ctx, Link) error                   blocks; ErrHigherEpoch when the target's
//	                                                 role record is of a higher epoch
//	(*Mirror) Drain(ctx) error                       of the link that runs
//	(*Mirror) Seal(ctx, Link) error                  acquire every slot of l.Target as active
//	(*Mirror) Stamp(ctx, Link, floors []Floor, jump bool) (Stamped, error)
//	(*Mirror) Status() []PartitionState
//	(*Mirror) Close()
