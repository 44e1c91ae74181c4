package failover

import (
	"errors"
	"fmt"
	"slices"
)

// MaxTenure is the highest tenure: client producer ids carry 11 bits of it.
const MaxTenure = 1<<11 - 1

// cutover reports whether the role is on its way.
func (r Route) cutover() bool {
	return r.State == Fencing || r.State == Sealing || r.State == Switching
}

// serves reports whether clients use r.Active.
func (r Route) serves() bool { return r.State == Serving || r.State == Suspect }

// Validate says in a sentence why a stored route cannot be obeyed. A route comes
// from a store that other versions and people can write.
func (r Route) Validate(clusters [2]string) error {
	known := func(name string) bool { return name == clusters[0] || name == clusters[1] }
	switch {
	case r.Epoch < 1:
		return fmt.Errorf("the stored route has epoch %d; the first is 1", r.Epoch)
	case r.Tenure > MaxTenure:
		return fmt.Errorf("the stored route has tenure %d; the highest is %d", r.Tenure, MaxTenure)
	case !known(r.Active):
		return fmt.Errorf("the stored route names %q as active; this process knows %q and %q: check that it uses the key of its own virtual cluster",
			r.Active, clusters[0], clusters[1])
	}
	switch r.State {
	case Serving, Suspect:
		if r.Target != "" {
			return fmt.Errorf("the stored route is %s and has a target (%q)", r.State, r.Target)
		}
	case Fencing, Sealing, Switching, Halted:
		if r.Began < 1 || r.Began > r.Epoch {
			return fmt.Errorf("the stored route is %s in epoch %d, of a cutover that began in epoch %d", r.State, r.Epoch, r.Began)
		}
		if !known(r.Target) || r.Target == r.Active {
			return fmt.Errorf("the stored route is %s from %q and names %q as target; want the other of %q and %q",
				r.State, r.Active, r.Target, clusters[0], clusters[1])
		}
	default:
		return fmt.Errorf("the stored route has state %q, which this version does not know", r.State)
	}
	return nil
}

// CheckMove says why next must not follow prev. It is the only statement of which
// moves exist; a Machine panics rather than propose another one.
//
//	Serving ⇄ Suspect                    same epoch
//	Serving, Suspect, Halted → Fencing   epoch + 1
//	Fencing → Sealing → Switching        same epoch
//	Switching → Serving(Target)          same epoch, tenure + 1: the switch
//	a cutover, Halted → Serving(Active)  epoch + 1: taken back
//	a cutover → Halted                   same epoch
//	a cutover → itself                   progress + 1; in Fencing perhaps another driver
//	Sealing, Switching → Sealing         epoch + 1: another driver
func CheckMove(prev, next Route) error {
	wrong := func(what string) error {
		return fmt.Errorf("route %s/%d may not become %s/%d: %s", prev.State, prev.Epoch, next.State, next.Epoch, what)
	}
	sameCutover := func() error {
		if next.Target != prev.Target || next.Planned != prev.Planned || next.Manual != prev.Manual || next.Began != prev.Began {
			return wrong("the cutover changes its kind")
		}
		return stays(prev, next, wrong)
	}
	same := func() error {
		switch {
		case next.Epoch != prev.Epoch:
			return wrong("the epoch changes")
		case (prev.State == Sealing || prev.State == Switching) && next.Driver != prev.Driver:
			return wrong("another driver takes a new epoch")
		}
		return sameCutover()
	}
	switch {
	case prev.serves() && next.serves():
		return same()
	case !prev.cutover() && next.State == Fencing:
		if next.Epoch != prev.Epoch+1 {
			return wrong("a fence raises the epoch by one")
		}
		if next.Target == "" || next.Target == next.Active || next.Began != next.Epoch {
			return wrong("a fence begins a cutover, to the other cluster")
		}
		return stays(prev, next, wrong)
	case (prev.State == Sealing || prev.State == Switching) && next.State == Sealing && next.Epoch == prev.Epoch+1:
		if next.Progress <= prev.Progress {
			return wrong("no progress")
		}
		return sameCutover()
	case prev.cutover() && (next.State == prev.State || next.State == Halted):
		if next.State == prev.State && next.Progress <= prev.Progress {
			return wrong("no progress")
		}
		return same()
	case prev.State == Fencing && next.State == Sealing, prev.State == Sealing && next.State == Switching:
		if next.Progress <= prev.Progress {
			return wrong("no progress")
		}
		return same()
	case next.State == Serving && prev.Target != "" && next.Active == prev.Target:
		if prev.State != Switching {
			return wrong("the switch comes after the stamps")
		}
		if next.Epoch != prev.Epoch || next.Tenure != prev.Tenure+1 || next.Target != "" {
			return wrong("a switch keeps the epoch and raises the tenure by one")
		}
		return nil
	case next.State == Serving && !prev.serves():
		if next.Epoch != prev.Epoch+1 || next.Target != "" {
			return wrong("taking a cutover back raises the epoch by one")
		}
		return stays(prev, next, wrong)
	}
	return wrong("there is no such move")
}

// stays checks what only the switch may change.
func stays(prev, next Route, wrong func(string) error) error {
	if next.Active != prev.Active || next.Tenure != prev.Tenure || !slices.Equal(next.Positions, prev.Positions) {
		return wrong("only the switch changes the active cluster, the tenure or the positions")
	}
	return nil
}

// errNotServing is the common answer to commands that need a settled route.
var errNotServing = errors.New("a cutover is running: wait for it, or abort it")
