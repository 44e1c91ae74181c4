package failover

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// world is a store, two clusters and some Machines, in one goroutine and one
// virtual clock. Scripts, random walks and the fuzz target drive it; it checks the
// invariants at every effect.
type world struct {
	now      time.Duration
	out      strings.Builder
	route    Route
	version  Version
	votes    map[voteKey]Vote
	acks     map[string]Ack
	sidecars map[string]bool // id → alive
	nodes    map[string]*node
	down     map[string]bool // clusters
	eligible map[string]Eligibility
	broken   []string // invariants that did not hold
	// servedIn records which cluster was served in an epoch, by anybody.
	servedIn map[int64]string
	// sealedBy records which life of which process sealed or stamped in an epoch.
	sealedBy map[int64]*Machine
	commands uint64
	quiet    bool
}

// node is one process.
type node struct {
	cfg   MachineConfig
	id    string
	m     *Machine
	alive bool
	// cut: its store calls fail; unsure: its updates are applied and answered by
	// an error, once.
	cut, unsure bool
	// modes of "fence", "serve", "drain", "seal", "stamp": "" works, "hang",
	// "fail", "halt".
	modes              map[string]string
	polled, probedAt   time.Duration
	step               *Step
	stepEnds           time.Duration
	follow             *Follow
	followEnds         time.Duration
	collect            int64
	serving            string // the cluster its proxy uses ("" fenced)
	servingEpoch       int64
	registered, reread bool
	lastVote           map[string]string
}

const (
	worldStep  = 50 * time.Millisecond
	stepTime   = 100 * time.Millisecond
	followTime = 50 * time.Millisecond
)

var worldStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld() *world {
	return &world{votes: map[voteKey]Vote{}, acks: map[string]Ack{}, sidecars: map[string]bool{}, nodes: map[string]*node{},
		down: map[string]bool{}, eligible: map[string]Eligibility{"east": {OK: true}, "west": {OK: true}}, servedIn: map[int64]string{}, sealedBy: map[int64]*Machine{}}
}

func (w *world) logf(format string, args ...any) {
	if !w.quiet {
		fmt.Fprintf(&w.out, "%6.2fs  %s\n", w.now.Seconds(), fmt.Sprintf(format, args...))
	}
}

func (w *world) breaks(format string, args ...any) {
	w.broken = append(w.broken, fmt.Sprintf("%.2fs: ", w.now.Seconds())+fmt.Sprintf(format, args...))
	w.logf("BROKEN  "+format, args...)
}

func (w *world) add(cfg MachineConfig) {
	w.nodes[cfg.ID] = &node{cfg: cfg, id: cfg.ID, modes: map[string]string{}, lastVote: map[string]string{}}
}

// start begins a process, or its next life.
func (w *world) start(n *node) {
	cfg := n.cfg
	cfg.Start, cfg.Beat = worldStart.Add(w.now), uint64(w.now)+1
	m, err := NewMachine(cfg)
	if err != nil {
		panic(err)
	}
	*n = node{cfg: n.cfg, id: n.id, m: m, alive: true, modes: n.modes, cut: n.cut, lastVote: map[string]string{}, polled: -time.Hour, probedAt: -time.Hour}
	n.cfg.Start = worldStart.Add(w.now)
}

func (w *world) kill(n *node) {
	n.alive, n.serving = false, ""
	if n.cfg.Sidecar && n.registered {
		w.sidecars[n.id] = false
	}
}

func (w *world) each(f func(*node)) {
	for _, id := range slices.Sorted(maps.Keys(w.nodes)) {
		if n := w.nodes[id]; n.alive {
			f(n)
		}
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.now += worldStep
		w.each(w.turn)
	}
}

// input gives the Machine one input and has the effects done.
func (w *world) input(n *node, f func(*Machine)) {
	n.m.Tick(w.now - n.cfg.Start.Sub(worldStart))
	w.do(n, n.m.Ready())
	if !n.alive {
		return
	}
	f(n.m)
	w.do(n, n.m.Ready())
}

// turn is what one process does in one step of time.
func (w *world) turn(n *node) {
	if n.cfg.Sidecar && !n.registered && !n.cut {
		n.registered, w.sidecars[n.id] = true, true
		if w.version > 0 {
			w.input(n, func(m *Machine) { m.ObserveRoute(w.route, w.version) })
		}
		w.input(n, func(m *Machine) { m.Registered() })
	}
	if n.registered && n.cfg.Sidecar && !n.cut {
		w.sidecars[n.id] = true
	}
	if n.follow != nil && w.now >= n.followEnds {
		w.endFollow(n)
	}
	if n.step != nil && w.now >= n.stepEnds {
		w.endStep(n)
	}
	if w.now-n.probedAt >= 300*time.Millisecond {
		n.probedAt = w.now
		for _, c := range n.cfg.Clusters {
			w.input(n, func(m *Machine) { m.Probed(c, !w.down[c], false, "refused") })
		}
	}
	w.readStore(n)
	w.input(n, func(*Machine) {})
}

func (w *world) readStore(n *node) {
	poll := w.now-n.polled >= 250*time.Millisecond
	if n.cut {
		if poll {
			n.polled = w.now
			w.input(n, func(m *Machine) { m.StoreLost("cut off") })
		}
		return
	}
	if n.reread || poll || w.version != n.m.version {
		n.reread = false
		if w.version == 0 {
			w.input(n, func(m *Machine) { m.ObserveNoRoute() })
		} else {
			w.input(n, func(m *Machine) { m.ObserveRoute(w.route, w.version) })
		}
	}
	if poll {
		n.polled = w.now
		w.input(n, func(m *Machine) {
			for c, e := range w.eligible {
				m.Eligible(c, e)
			}
			m.ObserveVotes(slices.Collect(maps.Values(w.votes)))
		})
		w.input(n, func(m *Machine) { m.StoreFound() })
	}
	if e := n.collect; e != 0 {
		w.input(n, func(m *Machine) { m.ObserveAcks(e, w.sidecarList(), slices.Collect(maps.Values(w.acks))) })
	}
}

func (w *world) sidecarList() []Sidecar {
	var out []Sidecar
	for _, id := range slices.Sorted(maps.Keys(w.sidecars)) {
		out = append(out, Sidecar{id, w.sidecars[id]})
	}
	return out
}

func (w *world) endFollow(n *node) {
	f := *n.follow
	mode := n.modes["fence"]
	if f.Serve {
		mode = n.modes["serve"]
	}
	if mode == "hang" {
		return
	}
	n.follow = nil
	if mode == "fail" {
		w.input(n, func(m *Machine) { m.Followed(f.Route.Epoch, f.Serve, nil, errors.New("not possible")) })
		return
	}
	if f.Serve {
		w.serves(n, f.Route)
	} else {
		n.serving = ""
	}
	w.input(n, func(m *Machine) { m.Followed(f.Route.Epoch, f.Serve, nil, nil) })
}

// serves checks that nobody serves another cluster in the same epoch.
func (w *world) serves(n *node, r Route) {
	n.serving, n.servingEpoch = r.Active, r.Epoch
	if was := w.servedIn[r.Epoch]; was != "" && was != r.Active {
		w.breaks("%s serves %s in epoch %d, in which %s was served", n.id, r.Active, r.Epoch, was)
	}
	w.servedIn[r.Epoch] = r.Active
}

func (w *world) endStep(n *node) {
	s := *n.step
	mode := n.modes[string(s.Name)]
	if mode == "hang" {
		if w.now < n.stepEnds-stepTime+s.Timeout {
			return
		}
		mode = "fail"
	}
	n.step = nil
	var err error
	switch mode {
	case "fail":
		err = errors.New("not possible")
	case "halt":
		err = fmt.Errorf("another producer id: %w", ErrHalt)
	}
	res := StampResult{}
	if s.Name == Stamp && err == nil {
		res.Positions = []int64{s.Route.Epoch}
	}
	w.input(n, func(m *Machine) { m.StepFinished(s.Route.Epoch, s.Name, s.Attempt, res, err) })
}

func (w *world) do(n *node, r Ready) {
	if r.CancelStep {
		n.step = nil
	}
	if r.Follow != nil {
		n.follow, n.followEnds = r.Follow, w.now+followTime
		verb := "fence"
		if r.Follow.Serve {
			verb = "serve " + r.Follow.Route.Active
		}
		w.logf("%s: %s, epoch %d", n.id, verb, r.Follow.Route.Epoch)
	}
	n.reread = n.reread || r.Read
	if r.Acknowledge != nil {
		w.acknowledge(n, *r.Acknowledge)
	}
	for _, v := range r.Votes {
		w.vote(n, v)
	}
	if r.Run != nil {
		w.begin(n, *r.Run)
	}
	for _, rep := range r.Reports {
		w.logf("%s: report %s", n.id, reportLine(rep))
	}
	for _, a := range r.Answers {
		if a.Err != nil {
			w.logf("%s: answer %d: %v", n.id, a.ID, a.Err)
		} else {
			w.logf("%s: answer %d: done", n.id, a.ID)
		}
	}
	n.collect = r.Collect
	if r.Update != nil {
		w.update(n, *r.Update)
	}
}

func reportLine(r Report) string {
	var states []string
	for _, m := range r.Timeline {
		states = append(states, string(m.State))
	}
	s := fmt.Sprintf("%d %s→%s %s after %.2fs (%s)", r.Epoch, r.From, r.To, r.Outcome, r.Pause().Seconds(), strings.Join(states, " "))
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	if len(r.Missing) > 0 {
		s += fmt.Sprintf(" missing=%v", r.Missing)
	}
	if r.Jump {
		s += " jump"
	}
	return s
}

func (w *world) acknowledge(n *node, a Ack) {
	if n.cut {
		w.input(n, func(m *Machine) { m.Acknowledged(a.Epoch, errors.New("cut off")) })
		return
	}
	if n.serving != "" {
		w.breaks("%s acknowledges epoch %d while it serves %s", n.id, a.Epoch, n.serving)
	}
	w.acks[a.Sidecar] = a
	w.input(n, func(m *Machine) { m.Acknowledged(a.Epoch, nil) })
}

func (w *world) vote(n *node, v Vote) {
	if n.cut {
		return
	}
	w.votes[voteKey{v.Observer, v.Cluster}] = v
	word := "healthy"
	if !v.Healthy {
		word = "unhealthy"
	}
	if n.lastVote[v.Cluster] != word {
		n.lastVote[v.Cluster] = word
		w.logf("%s: votes %s %s", n.id, v.Cluster, word)
	}
}

// begin checks what must hold when the mirror is asked to do something.
func (w *world) begin(n *node, s Step) {
	if n.step != nil {
		w.breaks("%s begins %s while %s runs", n.id, s.Name, n.step.Name)
	}
	if s.Route.Epoch != n.m.route.Epoch || !n.m.route.cutover() {
		w.breaks("%s begins %s for epoch %d in %s/%d", n.id, s.Name, s.Route.Epoch, n.m.route.State, n.m.route.Epoch)
	}
	if s.Name != Drain {
		if by := w.sealedBy[s.Route.Epoch]; by != nil && by != n.m {
			w.breaks("%s begins %s in epoch %d, in which another process did", n.id, s.Name, s.Route.Epoch)
		}
		w.sealedBy[s.Route.Epoch] = n.m
	}
	if s.Route.Planned && s.Route.Epoch == w.route.Epoch && w.route.cutover() {
		w.noWriter(n, s)
	}
	jump := ""
	if s.Jump {
		jump = " with a jump"
	}
	w.logf("%s: runs %s, epoch %d%s", n.id, s.Name, s.Route.Epoch, jump)
	n.step, n.stepEnds = &s, w.now+stepTime
}

// noWriter: in a switchover nobody uses the old active from the drain on.
func (w *world) noWriter(n *node, s Step) {
	w.each(func(o *node) {
		if o.serving != "" && o.servingEpoch < s.Route.Epoch {
			w.breaks("%s begins %s for the switchover of epoch %d while %s serves %s", n.id, s.Name, s.Route.Epoch, o.id, o.serving)
		}
	})
}

func (w *world) update(n *node, u Update) {
	switch {
	case n.cut:
		w.input(n, func(m *Machine) { m.Updated(0, errors.New("cut off")) })
		return
	case u.Version != w.version:
		w.logf("%s: conflict over %s/%d", n.id, u.Route.State, u.Route.Epoch)
		w.input(n, func(m *Machine) { m.Updated(0, ErrConflict) })
		return
	}
	if w.version > 0 {
		if err := CheckMove(w.route, u.Route); err != nil {
			w.breaks("%v", err)
		}
	}
	if u.Route.State != w.route.State || u.Route.Epoch != w.route.Epoch || u.Route.Driver != w.route.Driver {
		w.logf("%s: route %s", n.id, routeLine(u.Route))
	}
	w.route = u.Route
	w.version++
	v := w.version
	if n.unsure {
		n.unsure = false
		w.input(n, func(m *Machine) { m.Updated(0, errors.New("no answer in time")) })
		return
	}
	w.input(n, func(m *Machine) { m.Updated(v, nil) })
}

func routeLine(r Route) string {
	s := fmt.Sprintf("%s epoch %d tenure %d active %s", r.State, r.Epoch, r.Tenure, r.Active)
	if r.Target != "" {
		s += " → " + r.Target + " by " + r.Driver
	}
	return s + " (" + r.Reason + ")"
}
