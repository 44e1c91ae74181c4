package failover

import "time"

// following is where the proxy stands with the route.
type following struct {
	begun     bool
	epoch     int64
	serve     bool
	running   bool
	done      bool
	exposed   []Exposed
	failures  int
	notBefore time.Duration
	// acking: an Acknowledge is in flight; acked: it was written.
	acking, acked bool
	lastError     string
}

// Registered says that this sidecar's registration is visible to everybody, and
// that the observed route was read after that (there was none: nothing observed
// yet). Nothing is served earlier: a switchover that does not know the sidecar
// would not wait for it.
func (m *Machine) Registered() {
	m.registered = true
	m.evaluate()
}

// evaluateFollow makes the proxy obey the observed route. The kind depends on
// nothing but epoch and state, so that Suspect, or a step of a cutover, disturbs
// nobody.
func (m *Machine) evaluateFollow() {
	if !m.cfg.Sidecar || !m.registered || !m.known {
		return
	}
	f, serve := &m.follow, m.route.serves()
	if !f.begun || f.epoch != m.route.Epoch || f.serve != serve {
		*f = following{begun: true, epoch: m.route.Epoch, serve: serve}
	}
	switch {
	case f.running || m.now < f.notBefore:
	case !f.done:
		f.running = true
		m.out.Follow = &Follow{Serve: serve, Route: m.route}
	case !f.serve && !f.acked && !f.acking:
		f.acking = true
		m.out.Acknowledge = &Ack{Sidecar: m.cfg.ID, Epoch: f.epoch, Exposed: f.exposed, Unknown: !m.served}
	}
}

// Followed brings the outcome of a Fence or Serve for epoch.
func (m *Machine) Followed(epoch int64, serve bool, exposed []Exposed, err error) {
	f := &m.follow
	if serve && err == nil {
		m.served = true
	}
	if !f.running || f.epoch != epoch || f.serve != serve {
		return // superseded
	}
	f.running = false
	if err != nil {
		f.failed(m, err)
	} else {
		f.done, f.exposed, f.failures, f.lastError = true, exposed, 0, ""
	}
	m.evaluate()
}

// Acknowledged brings the outcome of an Acknowledge.
func (m *Machine) Acknowledged(epoch int64, err error) {
	f := &m.follow
	if !f.acking || f.epoch != epoch {
		return
	}
	f.acking, f.acked = false, err == nil
	if err != nil {
		f.failed(m, err)
	}
	m.evaluate()
}

func (f *following) failed(m *Machine, err error) {
	f.lastError = err.Error()
	f.notBefore = m.now + backoff(m.cfg.Timing, f.failures)
	f.failures++
}
