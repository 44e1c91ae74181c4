package failover

import "time"

// Ready is what the Machine wants done. The fields are effects, in the order in
// which they must be begun; none needs the earlier ones to have finished unless
// its comment says so. Outcomes come back as inputs.
type Ready struct {
	// Routes are newly observed routes, oldest first, for whoever follows them
	// (the mirror link). First, so that nothing below acts for an epoch that the
	// rest of the process has not heard of.
	Routes []Route
	// CancelStep ends the running step before anything else is begun: its cutover
	// is over, or somebody else drives it. Its outcome is still reported.
	CancelStep bool
	// Follow supersedes (cancels) the Fence or Serve that runs; it begins when
	// that one has returned. Outcome: Followed.
	Follow *Follow
	// Update is the one compare-and-set in flight. Outcome: Updated.
	Update *Update
	// Read asks for one consistent read of the route. Outcome: ObserveRoute,
	// ObserveNoRoute or StoreLost.
	Read bool
	// Acknowledge is written only now, after Fence has returned. Outcome:
	// Acknowledged.
	Acknowledge *Ack
	// Votes replace earlier, unwritten votes on the same cluster.
	Votes []Vote
	// Run begins a step, after a cancelled one has returned. Outcome:
	// StepFinished with the same Attempt.
	Run *Step
	// Reports and Answers come last: what they tell has been decided.
	Reports []Report
	Answers []Answer
	// Collect is a level, not an event: while it is not 0, sidecars and acks of
	// that epoch are read again and again (sidecars first) into ObserveAcks.
	// Reads must begin after the Ready that first shows the epoch: then a sidecar
	// missing in them has read the fence before it serves anybody.
	Collect int64
}

// Update is a compare-and-set of the route.
type Update struct {
	Version Version
	Route   Route
}

// Follow tells the proxy to obey Route: Serve, or Fence.
type Follow struct {
	Serve bool
	Route Route
}

// StepName names what the mirror does for a cutover.
type StepName string

// The steps, in order.
const (
	Drain StepName = "drain"
	Seal  StepName = "seal"
	Stamp StepName = "stamp"
)

// Step is one attempt of a step, for Route.Epoch.
type Step struct {
	Name    StepName
	Attempt uint64
	Route   Route
	Timeout time.Duration
	// Exposed and Jump are Stamp's arguments.
	Exposed []Exposed
	Jump    bool
}

// Answer ends a command.
type Answer struct {
	ID     uint64
	Report Report
	Err    error
}

// Outcome says how a cutover ended.
type Outcome string

// The outcomes.
const (
	Switched   Outcome = "switched"
	RolledBack Outcome = "rolled back"
	HaltedOut  Outcome = "halted"
)

// Moment is when this process saw a state entered.
type Moment struct {
	State State     `json:"state"`
	At    time.Time `json:"at"`
}

// Report tells one cutover as this process saw it. Missing, Jump and Partitions
// are known to the process that drove the end of it (Driver).
type Report struct {
	// Epoch is the last one of the cutover.
	Epoch   int64   `json:"epoch"`
	From    string  `json:"from"`
	To      string  `json:"to"`
	Planned bool    `json:"planned"`
	Manual  bool    `json:"manual,omitempty"`
	Cause   string  `json:"cause"`
	Outcome Outcome `json:"outcome"`
	// Reason is why it was rolled back or halted.
	Reason   string   `json:"reason,omitempty"`
	Driver   string   `json:"driver"`
	Timeline []Moment `json:"timeline"`
	// Missing are the sidecars that did not answer the fence: what the old active
	// still acknowledges to them is tail.
	Missing []string `json:"missing,omitempty"`
	// Jump: the floors were not all known, so the offsets leave a gap.
	Jump       bool             `json:"jump,omitempty"`
	Partitions []PartitionStamp `json:"partitions,omitempty"`
}

// Pause is the time from the fence to the end, as this process saw it.
func (r Report) Pause() time.Duration {
	if len(r.Timeline) < 2 {
		return 0
	}
	return r.Timeline[len(r.Timeline)-1].At.Sub(r.Timeline[0].At)
}
