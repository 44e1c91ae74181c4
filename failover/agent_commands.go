package failover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxReports bounds Status.Reports.
const maxReports = 8

// Status is what this process knows.
type Status struct {
	ID string `json:"id"`
	// Known: a route has been observed; Route is the newest.
	Known bool  `json:"known"`
	Route Route `json:"route"`
	// Fault says why the stored route is not obeyed ("" when it is).
	Fault string `json:"fault,omitempty"`
	// StoreFound and StoreError: with the store lost nothing is decided.
	StoreFound bool   `json:"store_found"`
	StoreError string `json:"store_error,omitempty"`
	// Health holds the votes on each cluster as seen here.
	Health map[string]Tally `json:"health"`
	Votes  []Vote           `json:"votes,omitempty"`
	// Blocked says why a failover that the votes want is not done.
	Blocked string `json:"blocked,omitempty"`
	// Driving: this process drives the cutover that runs; Acks have answered it,
	// Missing have not.
	Driving bool     `json:"driving,omitempty"`
	Acks    []string `json:"acks,omitempty"`
	Missing []string `json:"missing,omitempty"`
	// Registered: this sidecar is registered. Following: its proxy obeys the
	// route's epoch; FollowError says why not yet.
	Registered  bool   `json:"registered,omitempty"`
	Following   bool   `json:"following,omitempty"`
	FollowError string `json:"follow_error,omitempty"`
	// Reports are the last cutovers, oldest first.
	Reports []Report `json:"reports,omitempty"`
}

// status is a snapshot without the reports.
func (m *Machine) status() Status {
	s := Status{ID: m.cfg.ID, Known: m.known, Route: m.route, Fault: m.fault, StoreFound: m.storeFound, StoreError: m.storeError,
		Blocked: m.blocked, Driving: m.known && m.driving(), Registered: m.registered,
		Following: m.follow.done, FollowError: m.follow.lastError, Health: map[string]Tally{}}
	for _, c := range m.cfg.Clusters {
		s.Health[c] = m.tally(c)
		for _, o := range m.cfg.Observers {
			if v, ok := m.book.votes[voteKey{o, c}]; ok && m.book.isFresh(m.now, v) {
				s.Votes = append(s.Votes, v.vote)
			}
		}
	}
	if s.Driving {
		s.Missing = m.drive.missingSidecars(anySidecar)
		for _, sc := range m.drive.sidecars {
			if _, ok := m.drive.acks[sc.ID]; ok {
				s.Acks = append(s.Acks, sc.ID)
			}
		}
	}
	return s
}

// publish makes the snapshot that Status returns.
func (a *Agent) publish() {
	s := a.m.status()
	a.mu.Lock()
	blocked := s.Blocked != a.status.Blocked
	s.Reports = a.status.Reports
	a.status = s
	a.mu.Unlock()
	if blocked {
		if s.Blocked != "" {
			a.cfg.Logger.Warn("failover is wanted and not done", "epoch", s.Route.Epoch, "reason", s.Blocked)
		}
		if a.cfg.OnBlocked != nil {
			a.cfg.OnBlocked(s.Blocked)
		}
	}
}

// Status returns what this process knows at this moment.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.status
}

// Route returns the newest observed route (the zero Route before the first).
func (a *Agent) Route() Route { return a.Status().Route }

// Switchover moves the role to a healthy cluster without losing or doubling a
// record, and waits for the outcome. An error says why it was refused or taken
// back; clients then use the same cluster as before. When ctx ends first the
// switchover goes on.
func (a *Agent) Switchover(ctx context.Context, to, reason string) (Report, error) {
	c, stop := a.bounded(ctx)
	sidecars, err := a.cfg.Store.Sidecars(c)
	stop()
	if err != nil {
		return Report{}, fmt.Errorf("switchover to %s refused: the sidecars cannot be listed: %w", to, err)
	}
	return a.command(ctx, func(m *Machine, id uint64) { m.Switchover(id, to, reason, sidecars) })
}

// ManualFailover moves the role although the active is not (known to be) dead,
// or the target is behind: what was not mirrored is lost to clients until it is
// recovered. It waits for the outcome, as Switchover does.
func (a *Agent) ManualFailover(ctx context.Context, to, reason string) (Report, error) {
	return a.command(ctx, func(m *Machine, id uint64) { m.Failover(id, to, reason) })
}

// Abort takes the running cutover back; past the switch it is too late.
func (a *Agent) Abort(ctx context.Context, reason string) error {
	_, err := a.command(ctx, func(m *Machine, id uint64) { m.Abort(id, reason) })
	return err
}

// Resume lets clients use the active cluster of a halted route again.
func (a *Agent) Resume(ctx context.Context, reason string) error {
	_, err := a.command(ctx, func(m *Machine, id uint64) { m.Resume(id, reason) })
	return err
}

// Forget removes the registration of a sidecar that is gone for good. If it still
// runs, cut off from the store, a switchover will not wait for it: two writers.
func (a *Agent) Forget(ctx context.Context, sidecar string) error {
	c, stop := a.bounded(ctx)
	defer stop()
	all, err := a.cfg.Store.Sidecars(c)
	if err != nil {
		return err
	}
	var known []string
	for _, s := range all {
		if s.ID == sidecar && s.Alive {
			return fmt.Errorf("sidecar %s was heard of a moment ago: stop it, and it forgets itself", sidecar)
		}
		known = append(known, s.ID)
	}
	if !slices.Contains(known, sidecar) {
		return fmt.Errorf("sidecar %q is not registered; registered are %s", sidecar, strings.Join(known, ", "))
	}
	return a.cfg.Store.Forget(c, sidecar)
}

var errStopped = errors.New("this process is stopping")

// command gives a command and waits for its outcome. A driver changes the route
// several times a second, so an operator's command that meets such a change, and
// has certainly begun nothing, is judged and tried anew.
func (a *Agent) command(ctx context.Context, f func(*Machine, uint64)) (Report, error) {
	for began := time.Now(); ; {
		rep, err := a.commandOnce(ctx, f)
		busy := errors.Is(err, errBusy) || errors.Is(err, ErrConflict)
		if !busy || time.Since(began) > commandPatience || !sleep(ctx, commandPause) {
			return rep, err
		}
	}
}

const (
	commandPatience = 5 * time.Second
	commandPause    = 20 * time.Millisecond
)

func (a *Agent) commandOnce(ctx context.Context, f func(*Machine, uint64)) (Report, error) {
	answer := make(chan Answer, 1)
	// Run may have ended, or never begun: do not wait for it for ever.
	begin, stop := context.WithTimeout(ctx, commandPatience)
	defer stop()
	sent := a.send(begin, func(m *Machine) {
		a.lastCommand++
		a.answers[a.lastCommand] = answer
		f(m, a.lastCommand)
	})
	if !sent {
		if ctx.Err() != nil {
			return Report{}, ctx.Err()
		}
		return Report{}, errStopped
	}
	select {
	case ans, ok := <-answer:
		if !ok {
			return Report{}, errStopped
		}
		return ans.Report, ans.Err
	case <-ctx.Done():
		return Report{}, fmt.Errorf("the command was given and its outcome is not known yet (see the status): %w", ctx.Err())
	}
}
