package failover

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// walkWorld is a world of three processes that do everything, and a sidecar.
func walkWorld() *world {
	w := newWorld()
	for _, id := range []string{"a", "b", "c", "s"} {
		all := id != "s"
		w.add(MachineConfig{ID: id, Clusters: [2]string{"east", "west"}, Initial: "east", Mode: Auto, Sidecar: true,
			Observer: all, Drives: all, Observers: []string{"a", "b", "c"}, Timing: Timing{MinBetweenMoves: 5 * time.Second}})
		w.start(w.nodes[id])
	}
	w.run(3 * time.Second)
	return w
}

// act does one of the things that can happen, chosen by op and arg.
func (w *world) act(op, arg byte) {
	ids := []string{"a", "b", "c", "s"}
	clusters := []string{"east", "west"}
	n := w.nodes[ids[arg%4]]
	to := clusters[arg/4%2]
	w.commands++
	id := w.commands
	switch op % 16 {
	case 0, 1, 2:
		w.run(time.Duration(arg%16+1) * worldStep)
	case 3, 4:
		w.run(time.Duration(arg%8+1) * time.Second / 2)
	case 5:
		w.down[to] = true
	case 6:
		w.down[to] = false
	case 7:
		if n.alive {
			w.kill(n)
		} else {
			w.start(n)
		}
	case 8:
		n.cut = !n.cut
		if n.cut && arg/16%2 == 0 { // its session expired
			w.sidecars[n.id] = false
		}
	case 9:
		n.unsure = true
	case 10:
		mode := []string{"", "", "hang", "fail", "fail", "halt"}[arg/4%6]
		n.modes[[]string{"fence", "serve", "drain", "seal", "stamp"}[arg/32%5]] = mode
	case 11:
		w.eligible[to] = Eligibility{OK: arg/8%2 == 0, Reason: "not now"}
	case 12:
		w.trouble(n, to, arg/8)
	case 13:
		if n.alive {
			w.input(n, func(m *Machine) { m.Switchover(id, to, "walk", w.sidecarList()) })
		}
	case 14:
		if n.alive {
			w.input(n, func(m *Machine) { m.Failover(id, to, "walk") })
		}
	case 15:
		if n.alive {
			w.input(n, func(m *Machine) {
				if arg/4%2 == 0 {
					m.Abort(id, "walk")
				} else {
					m.Resume(id, "walk")
				}
			})
		}
	}
}

// trouble is a cutover whose driver is lost in the middle of a step: chance alone
// rarely hits that half second.
func (w *world) trouble(n *node, to string, how byte) {
	if !n.alive {
		return
	}
	step := []string{"seal", "stamp", "drain", "fence"}[how%4]
	n.modes[step] = "hang"
	w.input(n, func(m *Machine) {
		if how/4%2 == 0 {
			m.Switchover(w.commands, to, "trouble", w.sidecarList())
		} else {
			m.Failover(w.commands, to, "trouble")
		}
	})
	w.run(600 * time.Millisecond)
	switch how / 8 % 3 {
	case 0:
		w.kill(n)
	case 1:
		n.cut = true
	case 2: // paused: it wakes with a step that is over
		n.alive = false
		w.run(3 * time.Second)
		n.alive = true
	}
	n.modes[step] = ""
}

// settles heals everything and says what is still wrong a while later.
func (w *world) settles() error {
	for _, id := range []string{"a", "b", "c", "s"} {
		n := w.nodes[id]
		n.cut, n.unsure = false, false
		clear(n.modes)
		if !n.alive {
			w.start(n)
		}
	}
	clear(w.down)
	w.eligible["east"], w.eligible["west"] = Eligibility{OK: true}, Eligibility{OK: true}
	w.run(30 * time.Second)
	switch {
	case len(w.broken) > 0:
		return fmt.Errorf("%v", w.broken)
	case w.route.State == Halted:
		return nil
	case w.route.State != Serving:
		return fmt.Errorf("everything is well for 30 s, and the route is %s", routeLine(w.route))
	}
	for id, n := range w.nodes {
		if n.serving != w.route.Active || n.m.route.Epoch != w.route.Epoch {
			return fmt.Errorf("everything is well for 30 s, and %s serves %q at epoch %d, while the route is %s", id, n.serving, n.m.route.Epoch, routeLine(w.route))
		}
		if len(n.m.pending) > 0 {
			return fmt.Errorf("everything is well for 30 s, and commands of %s are not answered: %+v", id, n.m.pending)
		}
	}
	return nil
}

// TestRandomHistoriesKeepTheInvariants: world checks at every effect that only
// the moves of CheckMove are made (the epoch never falls, the tenure rises by the
// switch alone), that no epoch serves two clusters, that no step runs for an
// epoch that is over, that nobody acknowledges while it serves, and that in a
// switchover no sidecar uses the old active from the drain on.
func TestRandomHistoriesKeepTheInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := walkWorld()
		w.quiet = true
		ops := rapid.SliceOfN(rapid.Byte(), 2, 120).Draw(t, "ops")
		for i := 0; i+1 < len(ops); i += 2 {
			w.act(ops[i], ops[i+1])
			if len(w.broken) > 0 {
				t.Fatalf("%v", w.broken)
			}
		}
		if err := w.settles(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzMachine looks for inputs in any order that make a Machine panic or break an
// invariant.
func FuzzMachine(f *testing.F) {
	f.Add([]byte{12, 4, 0, 15, 7, 0, 3, 7})
	f.Add([]byte{5, 0, 3, 3, 10, 40, 7, 1, 3, 7, 6, 0, 15, 2})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 200 {
			return
		}
		w := walkWorld()
		w.quiet = true
		for i := 0; i+1 < len(ops); i += 2 {
			w.act(ops[i], ops[i+1])
		}
		if err := w.settles(); err != nil {
			t.Fatal(err)
		}
	})
}
