package failover

import (
	"errors"
	"fmt"
	"strings"
)

type commandKind uint8

const (
	cmdMove   commandKind = iota // Switchover, Failover
	cmdReturn                    // Abort, Resume
)

// pending is a command whose outcome is not known yet.
type pending struct {
	id   uint64
	kind commandKind
	// epoch is the one that the command's update would begin.
	epoch int64
	to    string
}

// errBusy says that nothing was begun and that it may be tried again at once.
var errBusy = errors.New("the route is being changed at this moment: try again")

// maxPending bounds the commands that wait.
const maxPending = 64

func (m *Machine) refuse(id uint64, err error) {
	m.out.Answers = append(m.out.Answers, Answer{ID: id, Err: err})
}

func (m *Machine) accepts(id uint64, p pending, r Route) {
	m.pending = append(m.pending, p)
	m.move(r)
}

// ready says why no command can be begun now.
func (m *Machine) ready() error {
	switch {
	case m.fault != "":
		return errors.New(m.fault)
	case !m.storeFound:
		return fmt.Errorf("the store does not answer (%s): nothing is decided until it does", m.storeError)
	case !m.known:
		return errors.New("no route is known yet: try again in a moment")
	case m.updating || m.settling:
		return errBusy
	case len(m.pending) >= maxPending:
		return fmt.Errorf("%d commands are waiting: try again later", maxPending)
	}
	return nil
}

// begins checks what Switchover and Failover have in common.
func (m *Machine) begins(to string) error {
	if err := m.ready(); err != nil {
		return err
	}
	switch {
	case to != m.cfg.Clusters[0] && to != m.cfg.Clusters[1]:
		return fmt.Errorf("there is no cluster %q; want %s or %s", to, m.cfg.Clusters[0], m.cfg.Clusters[1])
	case !m.cfg.Drives:
		return fmt.Errorf("%s has no mirror and cannot drive a cutover: ask a process that mirrors", m.cfg.ID)
	case m.route.cutover():
		return fmt.Errorf("%w (to %s, epoch %d)", errNotServing, m.route.Target, m.route.Epoch)
	case to == m.route.Active:
		return fmt.Errorf("%s is active already", to)
	case m.route.Tenure >= MaxTenure:
		return fmt.Errorf("the role has moved %d times, the most that producer ids can express", m.route.Tenure)
	case m.tally(to).IsUnhealthy():
		return fmt.Errorf("a quorum of observers holds %s unhealthy (%s)", to, m.tally(to).Reason)
	}
	return nil
}

// Switchover asks for a planned move. sidecars, read before, spares clients the
// pause of a switchover that would have to be abandoned.
func (m *Machine) Switchover(id uint64, to, reason string, sidecars []Sidecar) {
	err := m.begins(to)
	switch {
	case err != nil:
	case m.route.State == Halted:
		err = fmt.Errorf("the route is halted (%s): resume it, or order a failover", m.route.Reason)
	case !m.tally(to).IsHealthy():
		t := m.tally(to)
		err = fmt.Errorf("%s is held healthy by %d of the %d observers that are needed", to, t.Healthy, t.Quorum)
	default:
		if why := m.forbids(to, true); why != "" {
			err = errors.New(why)
			break
		}
		if silent := (&drive{sidecars: sidecars}).missingSidecars(silentSidecar); len(silent) > 0 {
			err = fmt.Errorf("sidecars that are registered but not heard of may still write to %s: %s (forget those that are gone for good)",
				m.route.Active, strings.Join(silent, ", "))
		}
	}
	if err != nil {
		m.refuse(id, fmt.Errorf("switchover to %s refused: %w", to, err))
		return
	}
	m.accepts(id, pending{id: id, kind: cmdMove, epoch: m.route.Epoch + 1, to: to}, m.fence(to, true, false, orUnsaid(reason)))
}

// Failover asks for an unplanned move that is not judged by the active's health,
// the mirror's lag or the time since the last move: the operator knows better.
func (m *Machine) Failover(id uint64, to, reason string) {
	err := m.begins(to)
	if err == nil && m.cfg.Mode == Off {
		err = errors.New("failover is off in this process's configuration")
	}
	if err != nil {
		m.refuse(id, fmt.Errorf("failover to %s refused: %w", to, err))
		return
	}
	m.accepts(id, pending{id: id, kind: cmdMove, epoch: m.route.Epoch + 1, to: to}, m.fence(to, false, true, orUnsaid(reason)))
}

// Abort takes the running cutover back. Any process can.
func (m *Machine) Abort(id uint64, reason string) {
	err := m.ready()
	if err == nil && !m.route.cutover() {
		err = fmt.Errorf("no cutover is running (the route is %s)", m.route.State)
	}
	if err != nil {
		m.refuse(id, fmt.Errorf("abort refused: %w", err))
		return
	}
	m.accepts(id, pending{id: id, kind: cmdReturn, epoch: m.route.Epoch + 1, to: m.route.Active}, m.back("aborted: "+orUnsaid(reason), true))
}

// Resume lets clients use the active cluster of a halted route again.
func (m *Machine) Resume(id uint64, reason string) {
	err := m.ready()
	if err == nil && m.route.State != Halted {
		err = fmt.Errorf("the route is %s, not halted", m.route.State)
	}
	if err != nil {
		m.refuse(id, fmt.Errorf("resume refused: %w", err))
		return
	}
	m.accepts(id, pending{id: id, kind: cmdReturn, epoch: m.route.Epoch + 1, to: m.route.Active}, m.back("resumed: "+orUnsaid(reason), true))
}

func orUnsaid(reason string) string {
	if reason == "" {
		return "ordered by an operator"
	}
	return reason
}

// failUnbegun answers the command whose update did not succeed, if it is certain
// that nothing was begun. When the outcome is not known the command waits for
// the next observed route.
func (m *Machine) failUnbegun(r Route, err error) {
	if !errors.Is(err, ErrConflict) {
		return
	}
	m.answer(func(p pending) bool { return p.epoch == r.Epoch && m.begun(p) }, Report{}, fmt.Errorf("nothing was begun: %w", err))
}

// begun reports whether p's epoch is still ahead of the observed route.
func (m *Machine) begun(p pending) bool { return m.route.Epoch < p.epoch }

// settlePending answers the commands whose outcome the observed route shows.
func (m *Machine) settlePending() {
	if len(m.pending) == 0 || m.updating {
		return
	}
	r := m.route
	m.answer(func(p pending) bool { return r.Epoch < p.epoch }, Report{},
		errors.New("the store did not take the change, as far as it can be seen now: look at the status before trying again"))
	if r.cutover() {
		m.answer(func(p pending) bool { return p.kind == cmdReturn || r.Began != p.epoch || r.Target != p.to }, Report{},
			fmt.Errorf("another cutover was begun instead (to %s, epoch %d)", r.Target, r.Epoch))
		return
	}
	last := m.lastReport()
	m.answer(func(p pending) bool { return r.serves() && r.Active == p.to }, last, nil)
	m.answer(func(pending) bool { return true }, last, errors.New(r.Reason))
}

func (m *Machine) answer(which func(pending) bool, rep Report, err error) {
	kept := m.pending[:0]
	for _, p := range m.pending {
		if which(p) {
			m.out.Answers = append(m.out.Answers, Answer{ID: p.id, Report: rep, Err: err})
		} else {
			kept = append(kept, p)
		}
	}
	m.pending = kept
}
