// Package failover decides which cluster is active and moves the role. It
// promises: one record (the Route) says who is active, every change of it is a
// compare-and-set, a switchover moves the role only after every registered
// sidecar has said that it obeys the fence, and what cannot be known (the store
// is lost, votes are stale) decides nothing.
//
// The Machine is pure: inputs in, one ordered Ready out, no clock and no I/O.
// The Agent drives it against a Store (Consul, or a local file), and reaches the
// mirror and the proxy through the interfaces below.
package failover

import (
	"context"
	"errors"
	"time"
)

// State is where a cutover stands. The zero State is not valid.
type State string

const (
	Serving   State = "serving"   // clients use Active
	Suspect   State = "suspect"   // Active is suspected; clients still use it
	Fencing   State = "fencing"   // no new writes; sidecars acknowledge
	Sealing   State = "sealing"   // the driver acquires every slot of Target
	Switching State = "switching" // sealed; stamps being written
	Halted    State = "halted"    // no writes; needs an operator (Resume or Failover)
)

// Route says who is active. It is the one record that every process agrees on.
type Route struct {
	// Epoch is the fencing token: +1 with each fence, each rollback, and each time
	// another process continues a cutover from the seal on. So at most one process
	// seals or stamps in one epoch, and what a paused one does when it wakes is
	// refused by the role records of a higher one.
	Epoch int64 `json:"epoch"`
	// Began is the epoch whose fence began this cutover (only while one runs).
	Began int64 `json:"began,omitempty"`
	// Tenure counts completed cutovers.
	Tenure uint16 `json:"tenure"`
	State  State  `json:"state"`
	// Active serves clients; Target takes over (only while a cutover runs).
	Active string `json:"active"`
	Target string `json:"target,omitempty"`
	// Planned: a switchover (nothing may be lost); else a failover.
	Planned bool `json:"planned,omitempty"`
	// Manual: a failover that an operator asked for. It is not taken back because
	// the old active looks well.
	Manual bool `json:"manual,omitempty"`
	// Driver is who advances the cutover; Progress counts its steps, so that
	// others see it stand still and take over.
	Driver   string `json:"driver,omitempty"`
	Progress uint64 `json:"progress,omitempty"`
	Reason   string `json:"reason,omitempty"`
	// Positions are the ends of the map partitions on Active behind the stamps of
	// this tenure: a sidecar serves only after it has read that far. Empty in
	// the first tenure.
	Positions []int64 `json:"positions,omitempty"`
	// Since is when the state was entered, by the writer's wall clock: for
	// people and for the minimum time between moves, never for fencing.
	Since time.Time `json:"since"`
	// Moved is when the role last moved (or an operator took a move back), from
	// which the minimum time between moves counts. Zero: never.
	Moved time.Time `json:"moved"`
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

// Exposed is the first logical offset of a partition that a sidecar has shown
// to no client (end offsets, high watermarks and acknowledged records below it
// have been shown).
type Exposed struct {
	TopicPartition
	Next int64 `json:"next"`
}

// Ack is one sidecar's word that it obeys the fence of Epoch: it sends no write
// to the old active and returns none of its answers.
type Ack struct {
	Sidecar string    `json:"sidecar"`
	Epoch   int64     `json:"epoch"`
	Exposed []Exposed `json:"exposed,omitempty"`
	// Unknown: this process has never served, so it cannot say what an earlier
	// process of the same name has shown to clients. A failover then leaves a gap
	// in the offsets, as for a sidecar that did not answer.
	Unknown bool `json:"unknown,omitempty"`
}

// Sidecar is a registered sidecar. A registration outlives its process: a
// sidecar that is cut off from the store may still serve clients, so only the
// sidecar itself (on a clean end) or an operator (Forget) removes it.
type Sidecar struct {
	ID string `json:"id"`
	// Alive: the process was heard of lately. False proves nothing.
	Alive bool `json:"alive"`
}

// Vote is one observer's word on the health of a cluster.
type Vote struct {
	Observer string `json:"observer"`
	Cluster  string `json:"cluster"`
	Healthy  bool   `json:"healthy"`
	Reason   string `json:"reason,omitempty"`
	// Beat changes with every vote: a reader counts a vote as stale when its
	// own monotonic clock has seen no new beat for long enough.
	Beat uint64 `json:"beat"`
}

// Version names one state of the stored route, for compare-and-set. A later
// state has a higher version; 0 is the state before any route.
type Version uint64

// ErrConflict says that somebody else changed the route first.
var ErrConflict = errors.New("the route was changed by somebody else")

// ErrNoRoute says that no route was ever stored.
var ErrNoRoute = errors.New("no route is stored")

// ErrReplaced says that another process has registered under the same name.
var ErrReplaced = errors.New("another process has registered under the same sidecar id")

// ErrHalt is wrapped by a Mirror's error that no repetition can cure: a
// switchover is taken back, a failover halts for an operator.
var ErrHalt = errors.New("needs an operator")

// Store is where processes agree. Every method is safe for concurrent use and
// returns promptly when ctx ends. An error means "not known", never "no": an
// Update that failed may still be applied.
type Store interface {
	// Route reads the route consistently (ErrNoRoute when there is none).
	Route(ctx context.Context) (Route, Version, error)
	// Update replaces the route if it still stands at version (0: if there is
	// none) and returns the new version, or ErrConflict.
	Update(ctx context.Context, version Version, r Route) (Version, error)
	// Watch returns the route once it differs from version (at once if so). It
	// waits for a first route; ErrNoRoute when the route was removed.
	Watch(ctx context.Context, version Version) (Route, Version, error)
	// Register makes this sidecar known, and alive, until ctx ends (it blocks),
	// surviving losses of the store. registered is called once, when every later
	// Sidecars by anybody shows it. The end of ctx removes the registration: end
	// it after the proxy has stopped, and not before. ErrReplaced: stop serving.
	Register(ctx context.Context, sidecar string, registered func()) error
	// Sidecars reads consistently who is registered, alive or not.
	Sidecars(ctx context.Context) ([]Sidecar, error)
	// Forget removes the registration of a sidecar that is gone for good.
	Forget(ctx context.Context, sidecar string) error
	// Acknowledge may be repeated; the acks of earlier epochs may vanish.
	Acknowledge(ctx context.Context, a Ack) error
	Acks(ctx context.Context, epoch int64) ([]Ack, error)
	// Vote replaces this observer's vote on that cluster.
	Vote(ctx context.Context, v Vote) error
	Votes(ctx context.Context) ([]Vote, error)
}

// Follower is the part of this process that obeys the route: the proxy. Calls do
// not overlap. A call whose ctx ends (a newer route is there) returns promptly
// and leaves the proxy fenced or serving as it was; the next call follows.
type Follower interface {
	// Fence stops writes to r.Active (r.State is Fencing, Sealing, Switching or
	// Halted; r.Planned says which kind). Planned: it returns once every answer of
	// the old active has been returned to its client. Unplanned: at once after
	// the last answer that will ever be returned. Repeatable.
	Fence(ctx context.Context, r Route) ([]Exposed, error)
	// Serve lets requests flow to r.Active, after the log maps were read to
	// r.Positions. It also ends a fence that was rolled back. Repeatable.
	Serve(ctx context.Context, r Route) error
}

// Mirror is what a cutover asks of the mirror. Every method may be repeated
// after a crash, by another process, and must return promptly when ctx ends.
// Calls by one Agent do not overlap. In a cutover that another process began
// Stamp follows a Seal by this process, always.
type Mirror interface {
	// Drain returns once the target holds every record and group offset that the
	// source held when it was called. Only in a switchover.
	Drain(ctx context.Context, r Route) error
	// Seal acquires every slot of r.Target with the role "active" at r.Epoch.
	Seal(ctx context.Context, r Route) error
	// Stamp writes the extents that begin tenure r.Tenure+1 on r.Target. exposed
	// are floors (no logical offset below is used again); jump says that some
	// sidecar's floors are not known. It returns the positions for the route
	// and the report of what was lost.
	Stamp(ctx context.Context, r Route, exposed []Exposed, jump bool) (StampResult, error)
}

// StampResult is what the driver puts into the route and the report.
type StampResult struct {
	Positions  []int64
	Partitions []PartitionStamp
}

// PartitionStamp says where a partition's new tenure begins.
type PartitionStamp struct {
	TopicPartition
	// Mirrored is the logical end of what the target holds; First is the first
	// logical offset of the new tenure. Planned: equal.
	Mirrored int64 `json:"mirrored"`
	First    int64 `json:"first"`
	// Tail is the number of records known to be acknowledged by the old active
	// and absent here, by the floors; -1 when unknown.
	Tail int64 `json:"tail"`
	// Held is the reason why the partition could not be sealed, "" when it was.
	Held string `json:"held,omitempty"`
}
