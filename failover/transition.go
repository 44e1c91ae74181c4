package failover

import (
	"fmt"
	"time"
)

// The routes that a Machine proposes are all made here.

// begin is the first route.
func (m *Machine) begin() Route {
	return Route{Epoch: 1, State: Serving, Active: m.cfg.Initial, Reason: "first start", Since: m.wall()}
}

// fence begins a cutover, which this process drives.
func (m *Machine) fence(target string, planned, manual bool, reason string) Route {
	r := m.route
	r.Epoch++
	r.State, r.Target, r.Planned, r.Manual, r.Reason = Fencing, target, planned, manual, reason
	r.Began, r.Driver, r.Progress, r.Since = r.Epoch, m.cfg.ID, 1, m.wall()
	return r
}

// next moves a cutover on.
func (m *Machine) next(s State) Route {
	r := m.route
	if r.State != s {
		r.State, r.Since = s, m.wall()
	}
	r.Driver = m.cfg.ID
	r.Progress++
	return r
}

// continued makes this process the driver of a cutover that another one, or its
// own earlier life, has begun. From the seal on that takes a new epoch: the old
// driver may only be paused, in the middle of a seal or a stamp, and it would take
// the slots back from this one in the same epoch, even after the switch.
func (m *Machine) continued() Route {
	if m.route.State == Fencing {
		return m.next(Fencing)
	}
	r := m.route
	r.Epoch++
	r.State, r.Driver, r.Since = Sealing, m.cfg.ID, m.wall()
	r.Progress++
	return r
}

// halt stops a cutover for an operator; clients stay fenced.
func (m *Machine) halt(reason string) Route {
	r := m.route
	r.State, r.Reason, r.Since = Halted, reason, m.wall()
	return r
}

// back takes a cutover back. The epoch rises, so that the roles on the target go
// back to "target" at a number higher than any seal's.
func (m *Machine) back(reason string, byOperator bool) Route {
	r := m.route
	r.Epoch++
	r.State, r.Target, r.Planned, r.Manual, r.Driver, r.Progress = Serving, "", false, false, "", 0
	r.Began, r.Reason, r.Since = 0, reason, m.wall()
	if byOperator { // what an operator took back is not redone a second later
		r.Moved = m.wall()
	}
	return r
}

// switched ends a cutover on the target.
func (m *Machine) switched(positions []int64) Route {
	r := m.route
	r.State, r.Active, r.Target, r.Tenure, r.Positions = Serving, r.Target, "", r.Tenure+1, positions
	r.Planned, r.Manual, r.Began, r.Driver, r.Progress = false, false, 0, "", 0
	r.Since, r.Moved = m.wall(), m.wall()
	return r
}

// suspicion shows, or withdraws, that the active is suspected. Clients go on.
func (m *Machine) suspicion(s State, reason string) Route {
	r := m.route
	r.State, r.Reason, r.Since = s, reason, m.wall()
	return r
}

// propose puts an update in flight. An impossible move is a bug of this package
// and must not reach the store.
func (m *Machine) propose(v Version, r Route) {
	if m.updating || m.settling || !m.storeFound {
		panic("failover: a second update while one is in flight, or while the store is lost")
	}
	if v != 0 {
		if err := CheckMove(m.route, r); err != nil {
			panic("failover: " + err.Error())
		}
	}
	if err := r.Validate(m.cfg.Clusters); err != nil {
		panic("failover: " + err.Error())
	}
	m.updating, m.proposed = true, r
	if r.cutover() && r.Driver == m.cfg.ID {
		m.claim = r.Epoch
	}
	m.out.Update = &Update{Version: v, Route: r}
}

func (m *Machine) move(r Route) { m.propose(m.version, r) }

// Updated brings the outcome of the Update in flight.
func (m *Machine) Updated(v Version, err error) {
	if !m.updating {
		panic("failover: an outcome of no update")
	}
	r := m.proposed
	m.updating, m.proposed = false, Route{}
	if err == nil {
		m.observe(r, v)
	} else {
		// Conflict or not known: either way only the store can say.
		m.settling, m.out.Read = true, true
		m.failUnbegun(r, err)
	}
	m.evaluate()
}

// ObserveRoute brings the stored route, read or watched.
func (m *Machine) ObserveRoute(r Route, v Version) {
	m.observe(r, v)
	m.evaluate()
}

// ObserveNoRoute says that no route is stored.
func (m *Machine) ObserveNoRoute() {
	m.settling = false
	m.absent = !m.known
	if m.known {
		// Somebody removed it. Creating a first one now could name the wrong
		// cluster, so the last known one stays in force until a person looks.
		m.fault = fmt.Sprintf("the stored route has vanished (it was epoch %d, active %s): put it back, or stop every process before beginning anew",
			m.route.Epoch, m.route.Active)
	}
	m.evaluate()
}

// storeBehind is for how long an older version than was seen before is taken for
// a late answer; after that for a store that was restored from a backup.
const storeBehind = 5 * time.Second

func (m *Machine) observe(r Route, v Version) {
	if m.known && v < m.version {
		if m.behindSince < 0 {
			m.behindSince = m.now
		}
		if m.now-m.behindSince <= storeBehind {
			return
		}
		// A store that was rebuilt counts anew. What it holds is judged below.
	}
	m.settling, m.absent = false, false
	if m.known && v == m.version && r.Epoch == m.route.Epoch && r.Tenure == m.route.Tenure && r.State == m.route.State {
		m.behindSince = -1
		m.fault = ""
		m.settlePending()
		return
	}
	if err := r.Validate(m.cfg.Clusters); err != nil {
		m.fault = err.Error()
		return
	}
	if m.known && (r.Epoch < m.route.Epoch || r.Tenure < m.route.Tenure) {
		m.fault = fmt.Sprintf("the stored route went back from epoch %d, tenure %d to epoch %d, tenure %d (was the store restored from a backup?): put the higher one back",
			m.route.Epoch, m.route.Tenure, r.Epoch, r.Tenure)
		return
	}
	m.accept(r, v)
}

// accept makes r the observed route. Everything that is kept per epoch, state or
// active cluster is reset here and nowhere else.
func (m *Machine) accept(r Route, v Version) {
	prev, first := m.route, !m.known
	m.known, m.fault, m.route, m.version, m.behindSince = true, "", r, v, -1
	m.out.Routes = append(m.out.Routes, r)
	m.progressAt = m.now
	if first || r.Began != prev.Began {
		m.beganSeen = m.now
	}
	if first || r.Epoch != prev.Epoch || r.State != prev.State {
		m.stateSeen = m.now
	}
	if first || r.Active != prev.Active || r.Epoch != prev.Epoch {
		m.badSince, m.goodSince, m.blocked = -1, -1, ""
	}
	if first || !r.Moved.Equal(prev.Moved) {
		m.movedSeen, m.movedAge = m.now, max(0, m.wall().Sub(r.Moved))
	}
	m.settleDriving(prev)
	m.chronicle(prev, first)
	m.settlePending()
}

// StoreLost says that the store does not answer: nothing is decided until it is
// found again.
func (m *Machine) StoreLost(reason string) {
	m.storeFound, m.storeError = false, reason
	m.book.looked = false // what changes unseen cannot be dated
	m.evaluate()
}

// StoreFound says that the store answers again. What was not seen meanwhile must
// not look like standing still.
func (m *Machine) StoreFound() {
	if !m.storeFound {
		m.storeFound, m.storeError = true, ""
		m.progressAt, m.badSince, m.goodSince = m.now, -1, -1
		m.out.Read = true
	}
	m.evaluate()
}
