package failover

// maxMoments bounds a report's timeline.
const maxMoments = 32

// chronicle writes the report of the cutover that is observed. Intermediate
// states can be missed (a watch shows the newest), so only what was seen is told.
func (m *Machine) chronicle(prev Route, first bool) {
	r := m.route
	if m.current != nil && (r.cutover() || r.State == Halted) && r.Began != m.currentBegan {
		m.finish(prev) // over, and another one begun before that was seen
	}
	switch {
	case r.cutover() || r.State == Halted:
		if m.current == nil {
			m.currentBegan = r.Began
			m.current = &Report{Epoch: r.Epoch, From: r.Active, To: r.Target, Planned: r.Planned, Manual: r.Manual, Cause: r.Reason}
		}
		m.current.Driver, m.current.Epoch = r.Driver, r.Epoch
		m.note(r.State)
		if r.State == Halted && prev.State != Halted {
			m.current.Outcome, m.current.Reason = HaltedOut, r.Reason
			m.out.Reports = append(m.out.Reports, *m.current)
		}
	case m.current != nil:
		m.finish(prev)
	case !first && r.Tenure > prev.Tenure:
		m.current = &Report{Epoch: r.Epoch, From: prev.Active, To: r.Active, Cause: r.Reason}
		m.finish(prev)
	}
}

// note enters the state into the timeline once.
func (m *Machine) note(s State) {
	t := m.current.Timeline
	if n := len(t); n > 0 && t[n-1].State == s || len(t) >= maxMoments {
		return
	}
	m.current.Timeline = append(t, Moment{s, m.wall()})
}

// finish ends the report by the route that was observed instead.
func (m *Machine) finish(prev Route) {
	c, r := m.current, m.route
	c.Outcome = RolledBack
	if r.Tenure > prev.Tenure {
		c.Outcome = Switched
	} else if r.serves() {
		c.Reason = r.Reason
	} else {
		c.Reason = "another cutover was begun before its end was seen here"
	}
	if d := m.ended; d.epoch == c.Epoch {
		c.Missing, c.Jump = d.missing, d.jump
		if d.stamped != nil {
			c.Partitions = d.stamped.Partitions
		}
	}
	if r.serves() {
		m.note(Serving)
	}
	m.out.Reports = append(m.out.Reports, *c)
	m.last, m.current = *c, nil
}

// lastReport is the report of the cutover that ended, or halted, last.
func (m *Machine) lastReport() Report {
	if m.current != nil && m.current.Outcome == HaltedOut {
		return *m.current
	}
	return m.last
}
