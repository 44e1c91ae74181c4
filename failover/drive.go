package failover

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// drive is what the driver of one epoch's cutover keeps. Another process starts
// with none of it and does every step of the state that it finds again.
type drive struct {
	epoch   int64 // 0: this process does not drive
	begun   time.Duration
	entered time.Duration // the state
	// collected: sidecars and acks were read after the fence was written.
	collected bool
	sidecars  []Sidecar
	acks      map[string]Ack
	// running is the step that runs ("" none), attempt its number.
	running   StepName
	attempt   uint64
	notBefore time.Duration
	failures  int
	lastError string
	// draining is when the first drain began (<0: not yet).
	draining time.Duration
	drained  bool
	// sealed: by this process, in this epoch; a failed stamp unsets it.
	sealed  bool
	stamped *StampResult
	jump    bool
	missing []string
	fatal   bool
}

// driving: this process made itself driver of the observed cutover, in this life.
func (m *Machine) driving() bool {
	return m.drive.epoch != 0 && m.drive.epoch == m.route.Epoch && m.route.cutover()
}

// collects is Ready.Collect.
func (m *Machine) collects() int64 {
	if m.known && m.driving() {
		return m.drive.epoch
	}
	return 0
}

// settleDriving takes up or drops the drive after a new route was observed.
func (m *Machine) settleDriving(prev Route) {
	r := m.route
	if !r.cutover() || r.Driver != m.cfg.ID || m.claim != r.Epoch {
		if m.drive.running != "" {
			m.out.CancelStep, m.out.Run = true, nil
		}
		if m.drive.epoch != 0 {
			m.ended = m.drive
		}
		m.drive, m.claim = drive{}, 0
		return
	}
	if m.drive.epoch != r.Epoch {
		m.drive = drive{epoch: r.Epoch, begun: m.now, entered: m.now, draining: -1}
		return
	}
	if prev.State != r.State {
		m.drive.entered, m.drive.failures, m.drive.notBefore = m.now, 0, 0
	}
}

// takeOver continues a cutover whose driver stands still. A driver of this
// process's own name that it does not remember is its own earlier life.
func (m *Machine) takeOver() {
	d := m.route.Driver
	if !m.cfg.Drives || d != "" && d != m.cfg.ID && m.now-m.progressAt < m.cfg.Timing.TakeoverAfter {
		return
	}
	m.move(m.continued())
}

// ObserveAcks brings sidecars and acks, read for epoch as Ready.Collect demands.
func (m *Machine) ObserveAcks(epoch int64, sidecars []Sidecar, acks []Ack) {
	if m.driving() && m.drive.epoch == epoch {
		d := &m.drive
		d.collected, d.sidecars, d.acks = true, sidecars, make(map[string]Ack, len(acks))
		for _, a := range acks {
			if a.Epoch == epoch {
				d.acks[a.Sidecar] = a
			}
		}
	}
	m.evaluate()
}

// missingSidecars are the registered ones that have not acknowledged.
func (d *drive) missingSidecars(which func(Sidecar) bool) []string {
	var ids []string
	for _, s := range d.sidecars {
		if _, ok := d.acks[s.ID]; !ok && which(s) {
			ids = append(ids, s.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

func anySidecar(Sidecar) bool      { return true }
func liveSidecar(s Sidecar) bool   { return s.Alive }
func silentSidecar(s Sidecar) bool { return !s.Alive }

// floors merges the acks: per partition the highest.
func (d *drive) floors() []Exposed {
	highest := map[TopicPartition]int64{}
	for _, a := range d.acks {
		for _, e := range a.Exposed {
			highest[e.TopicPartition] = max(highest[e.TopicPartition], e.Next)
		}
	}
	out := make([]Exposed, 0, len(highest))
	for tp, next := range highest {
		out = append(out, Exposed{tp, next})
	}
	slices.SortFunc(out, func(a, b Exposed) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition) - int(b.Partition)
	})
	return out
}

// advance does the next thing of the cutover that this process drives.
func (m *Machine) advance() {
	switch {
	case m.drive.fatal && m.route.Planned:
		m.takeBack(m.drive.lastError)
	case m.drive.fatal:
		m.move(m.halt(m.drive.lastError))
	case m.route.Planned && m.now-m.beganSeen >= m.cfg.Timing.PlannedPause:
		m.takeBack(fmt.Sprintf("it was not done within %v in state %s%s", m.cfg.Timing.PlannedPause, m.route.State, m.because()))
	case m.route.State == Fencing && m.route.Planned:
		m.fencePlanned()
	case m.route.State == Fencing:
		m.fenceFailover()
	case m.route.State == Sealing:
		m.seal()
	default:
		m.stamp()
	}
	// Show progress, or another process takes over.
	if !m.updating && m.driving() && m.now-m.progressAt >= m.cfg.Timing.TakeoverAfter/4 {
		m.move(m.next(m.route.State))
	}
}

// fencePlanned: nothing may be lost, so every registered sidecar must have
// acknowledged before the drain begins.
func (m *Machine) fencePlanned() {
	d, t := &m.drive, m.cfg.Timing
	late := m.now-d.entered >= t.AckTimeout
	if d.draining < 0 {
		missing := d.missingSidecars(anySidecar)
		switch silent := d.missingSidecars(silentSidecar); {
		case !d.collected && late:
			m.takeBack("the list of sidecars could not be read")
		case !d.collected:
		case len(silent) > 0:
			m.takeBack(fmt.Sprintf("sidecars that are registered but not heard of may still write to %s: %s (forget those that are gone for good)",
				m.route.Active, strings.Join(silent, ", ")))
		case len(missing) > 0 && late:
			m.takeBack(fmt.Sprintf("sidecars did not acknowledge the fence within %v: %s", t.AckTimeout, strings.Join(missing, ", ")))
		case len(missing) == 0:
			d.draining = m.now
		}
	}
	switch {
	case d.draining < 0 || m.updating:
	case d.drained:
		m.move(m.next(Sealing))
	case m.now-d.draining >= t.DrainTimeout:
		m.takeBack(fmt.Sprintf("the mirror did not catch up within %v%s", t.DrainTimeout, m.because()))
	default:
		m.run(Step{Name: Drain, Timeout: t.DrainTimeout - (m.now - d.draining)})
	}
}

// fenceFailover: the old active is held dead, so who does not answer is not
// waited for long. Who is registered but was not heard of is not waited for.
func (m *Machine) fenceFailover() {
	d := &m.drive
	switch {
	case !m.route.Manual && m.tally(m.route.Active).IsHealthy():
		m.takeBack(m.route.Active + " is healthy again")
	case d.collected && len(d.missingSidecars(liveSidecar)) == 0,
		m.now-d.entered >= m.cfg.Timing.FailoverAckTimeout:
		m.move(m.next(Sealing))
	}
}

func (m *Machine) seal() {
	switch {
	case m.drive.sealed:
		m.move(m.next(Switching))
	case m.givesUp():
	default:
		m.run(Step{Name: Seal, Timeout: m.cfg.Timing.StepTimeout})
	}
}

// stamp writes the stamps and switches. In a failover they begin above what the
// acks say was exposed; a driver that took over waits for those of its own epoch.
// In a switchover the drain has brought everything that anybody was shown.
func (m *Machine) stamp() {
	d := &m.drive
	switch {
	case d.stamped != nil:
		m.move(m.switched(d.stamped.Positions))
	case m.givesUp():
	case !d.sealed:
		m.run(Step{Name: Seal, Timeout: m.cfg.Timing.StepTimeout})
	case !m.route.Planned && m.now-d.begun < m.cfg.Timing.FailoverAckTimeout &&
		(!d.collected || len(d.missingSidecars(liveSidecar)) > 0):
	case d.running == "":
		if !m.route.Planned {
			d.missing = d.missingSidecars(anySidecar)
			d.jump = !d.collected || len(d.missing) > 0 || d.anyUnknown()
		}
		m.run(Step{Name: Stamp, Timeout: m.cfg.Timing.StepTimeout, Exposed: d.floors(), Jump: d.jump})
	}
}

func (d *drive) anyUnknown() bool {
	for _, a := range d.acks {
		if a.Unknown {
			return true
		}
	}
	return false
}

// givesUp takes the cutover back when seal or stamp cannot be done in time: a
// switchover always, a failover only if the old active serves again.
func (m *Machine) givesUp() bool {
	d, t := &m.drive, m.cfg.Timing
	if m.now-d.entered < t.StepTimeout {
		return false
	}
	if !m.route.Planned && (m.route.Manual || d.failures == 0 || !m.tally(m.route.Active).IsHealthy()) {
		return false
	}
	m.takeBack(fmt.Sprintf("%s was not done within %v%s", m.route.State, t.StepTimeout, m.because()))
	return true
}

func (m *Machine) because() string {
	if m.drive.lastError == "" {
		return ""
	}
	return ": " + m.drive.lastError
}

func (m *Machine) takeBack(reason string) {
	kind := "failover"
	if m.route.Planned {
		kind = "switchover"
	}
	m.drive.missing = m.drive.missingSidecars(anySidecar)
	m.move(m.back(fmt.Sprintf("%s to %s was taken back: %s", kind, m.route.Target, reason), false))
}

// run begins a step unless one runs or its pause is not over.
func (m *Machine) run(s Step) {
	d := &m.drive
	if d.running != "" || m.now < d.notBefore {
		return
	}
	m.attempts++
	d.running, d.attempt = s.Name, m.attempts
	s.Attempt, s.Route = m.attempts, m.route
	m.out.Run = &s
}

// StepFinished brings the outcome of a step. What an earlier attempt, of whatever
// epoch, has done or failed to do means nothing.
func (m *Machine) StepFinished(epoch int64, name StepName, attempt uint64, res StampResult, err error) {
	d := &m.drive
	if !m.driving() || d.epoch != epoch || d.running != name || d.attempt != attempt {
		return
	}
	d.running = ""
	if err != nil {
		d.lastError = fmt.Sprintf("%s: %v", name, err)
		d.fatal = errors.Is(err, ErrHalt)
		d.notBefore = m.now + backoff(m.cfg.Timing, d.failures)
		d.failures++
		// A failed stamp may mean that somebody else acquired a slot.
		d.sealed = d.sealed && name != Stamp
		m.evaluate()
		return
	}
	if name != Seal || m.route.State == Sealing { // a seal before a failing stamp is no success
		d.failures, d.lastError = 0, ""
	}
	switch name {
	case Drain:
		d.drained = true
	case Seal:
		d.sealed = true
	case Stamp:
		d.stamped = &res
	}
	m.evaluate()
}

// backoff is the pause after the failures+1st failure in a row.
func backoff(t Timing, failures int) time.Duration {
	return min(t.RetryMax, t.RetryMin<<min(failures, 16))
}
