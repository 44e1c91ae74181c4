package failover

import (
	"fmt"
	"slices"
	"time"
)

// Mode says who may order a failover. Switchovers are possible in every mode.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"   // a quorum of observers, or an operator
	Manual Mode = "manual" // an operator; suspicion is shown
	Off    Mode = "off"    // nobody
)

// MachineConfig is what a Machine needs; all of it is constant.
type MachineConfig struct {
	// ID names this process in the route and among the sidecars. It must be
	// unique, and stay the same over restarts.
	ID string
	// Sidecar: it has a Follower, so it registers and acknowledges fences.
	Sidecar bool
	// Observer: it votes, if Observers names it.
	Observer bool
	// Drives: it has a Mirror, so it can decide and drive cutovers.
	Drives bool
	// Observers are all that may vote; a quorum is a majority of them.
	Observers []string
	// Clusters are the two clusters; Initial is the one that is active first.
	Clusters [2]string
	Initial  string
	Mode     Mode
	Timing   Timing
	Bounds   Bounds
	// Start is the wall clock at monotonic time 0; Beat a number that differs
	// from those of earlier runs of this observer (its start time will do).
	Start time.Time
	Beat  uint64
}

func (c MachineConfig) validate() error {
	switch {
	case c.ID == "":
		return fmt.Errorf("failover: ID is empty; want a name that is unique and stays the same over restarts")
	case c.Clusters[0] == "" || c.Clusters[1] == "" || c.Clusters[0] == c.Clusters[1]:
		return fmt.Errorf("failover: Clusters are %q and %q; want two different names", c.Clusters[0], c.Clusters[1])
	case c.Initial != c.Clusters[0] && c.Initial != c.Clusters[1]:
		return fmt.Errorf("failover: Initial is %q; want %q or %q", c.Initial, c.Clusters[0], c.Clusters[1])
	case c.Mode != Auto && c.Mode != Manual && c.Mode != Off:
		return fmt.Errorf("failover: Mode is %q; want auto, manual or off", c.Mode)
	case len(c.Observers) == 0:
		return fmt.Errorf("failover: Observers is empty; want the names of the processes that vote (one, or an odd number)")
	case c.Observer && !slices.Contains(c.Observers, c.ID):
		return fmt.Errorf("failover: %q is to observe, but Observers (%v) does not name it, so its votes would not count", c.ID, c.Observers)
	}
	seen := map[string]bool{}
	for _, o := range c.Observers {
		if o == "" || seen[o] {
			return fmt.Errorf("failover: Observers (%v) holds an empty or repeated name", c.Observers)
		}
		seen[o] = true
	}
	return c.Timing.validate()
}

// Machine decides. It holds no clock: Tick brings the time, by which every other
// input is judged. It is not safe for concurrent use. After each input the caller
// takes Ready and has it done.
type Machine struct {
	cfg MachineConfig
	now time.Duration
	out Ready

	// known: route and version are the newest that was observed.
	known   bool
	route   Route
	version Version
	// fault says why the stored route is not obeyed ("" when it is); the last
	// good route stays in force, and nothing is decided.
	fault       string
	behindSince time.Duration // <0: the store is not behind
	// absent: the store said that no route was ever stored.
	absent bool

	storeFound bool
	storeError string
	// updating: an Update is in flight. settling: one failed, so the route must be
	// observed again before another.
	updating, settling bool
	proposed           Route

	book         voteBook
	health       [2]health
	eligible     map[string]seenEligibility
	badSince     time.Duration // <0: no quorum holds the active unhealthy
	badSeen      time.Duration // when the votes last confirmed it
	goodSince    time.Duration // <0: no quorum holds the active healthy
	blocked      string        // why a wanted failover is not done
	movedSeen    time.Duration
	movedAge     time.Duration // age of route.Moved at movedSeen
	progressAt   time.Duration // when the cutover last showed progress
	beganSeen    time.Duration // when the cutover was first observed
	stateSeen    time.Duration // when route.State was entered, as observed
	registered   bool
	served       bool // a Serve of this process has succeeded
	follow       following
	drive        drive
	claim        int64  // the epoch for which this process has made itself driver
	attempts     uint64 // numbers the attempts of steps
	beat         uint64
	ended        drive   // the drive that was dropped last, for its report
	current      *Report // the cutover that runs, as observed; currentBegan is its Began
	currentBegan int64
	last         Report // the last one that ended
	pending      []pending
}

// NewMachine returns a Machine at time 0 that knows nothing.
func NewMachine(c MachineConfig) (*Machine, error) {
	c.Timing = c.Timing.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	m := &Machine{cfg: c, beat: c.Beat, behindSince: -1, badSince: -1, goodSince: -1, eligible: map[string]seenEligibility{}}
	m.book = newVoteBook(c.Observers, c.Clusters, c.Timing.VoteFresh)
	return m, nil
}

// Tick brings the monotonic time since Start. It never runs backwards.
func (m *Machine) Tick(now time.Duration) {
	if now < m.now {
		panic(fmt.Sprintf("failover: time runs backwards from %v to %v", m.now, now))
	}
	m.now = now
	m.evaluate()
}

// Ready takes the effects of the inputs since the last call.
func (m *Machine) Ready() Ready {
	out := m.out
	m.out = Ready{}
	out.Collect = m.collects()
	return out
}

// evaluate draws the conclusions from everything known. It is called after each
// input, and proposes at most one update.
func (m *Machine) evaluate() {
	m.evaluateVotes()
	m.evaluateFollow()
	m.judgeActive()
	if m.absent && !m.known && m.cfg.Drives && m.storeFound && !m.updating && !m.settling {
		m.propose(0, m.begin())
		return
	}
	if !m.mayPropose() {
		return
	}
	switch {
	case m.route.serves():
		m.decide()
	case m.route.cutover() && m.driving():
		m.advance()
	case m.route.cutover():
		m.takeOver()
	}
}

// mayPropose: the stored route is known, obeyed, and nothing is in flight.
func (m *Machine) mayPropose() bool {
	return m.known && m.fault == "" && m.storeFound && !m.updating && !m.settling
}

func (m *Machine) wall() time.Time { return m.cfg.Start.Add(m.now) }

// other is the cluster that is not name.
func (m *Machine) other(name string) string {
	if name == m.cfg.Clusters[0] {
		return m.cfg.Clusters[1]
	}
	return m.cfg.Clusters[0]
}
