package failover

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestScripts plays testdata/*. A script's commands:
//
//	processes [mode=…] [max-lag=n]      name=roles lines: d drives, o observes, s is a sidecar
//	run 2s                              lets time pass and prints what was done
//	until serving|fencing|…             the same until the stored route is in that state
//	down|up <cluster>                   a cluster dies, returns
//	kill|start|cut|heal|unsure <name>   a process dies, begins its next life, loses the store, …
//	set <name> fence|seal|…=hang|fail|halt|ok
//	eligible <cluster> [reason] | lag <cluster> <records>
//	forget <name>                       a registration
//	route <epoch> <tenure> <active>     somebody writes a serving route by hand; remove-route
//	switchover|failover|abort|resume <name> [to]
//	status <name>
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		w := newWorld()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			w.out.Reset()
			if err := w.command(d); err != nil {
				d.Fatalf(t, "%v", err)
			}
			return w.out.String()
		})
		for _, b := range w.broken {
			t.Error(b)
		}
	})
}

func (w *world) command(d *datadriven.TestData) error {
	var args []string
	for _, a := range d.CmdArgs {
		args = append(args, a.String())
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	n := w.nodes[arg(0)]
	switch d.Cmd {
	case "processes":
		return w.processes(d)
	case "run":
		t, err := time.ParseDuration(arg(0))
		w.run(t)
		return err
	case "until":
		for i := 0; w.route.State != State(arg(0)); i++ {
			if i > 1200 {
				return fmt.Errorf("not %s within a minute", arg(0))
			}
			w.run(worldStep)
		}
	case "down", "up":
		w.down[arg(0)] = d.Cmd == "down"
	case "eligible":
		w.eligible[arg(0)] = Eligibility{OK: arg(1) == "", Reason: strings.Join(args[1:], " ")}
	case "lag":
		e := Eligibility{OK: true}
		fmt.Sscan(arg(1), &e.LagRecords)
		w.eligible[arg(0)] = e
	case "forget":
		delete(w.sidecars, arg(0))
	case "remove-route":
		w.version, w.route = 0, Route{}
	case "route":
		r := Route{State: Serving, Active: arg(2)}
		fmt.Sscan(arg(0), &r.Epoch)
		fmt.Sscan(arg(1), &r.Tenure)
		w.route = r
		w.version++
	default:
		if n == nil {
			return fmt.Errorf("no process %q", arg(0))
		}
		return w.nodeCommand(d.Cmd, n, args[1:])
	}
	return nil
}

func (w *world) nodeCommand(cmd string, n *node, args []string) error {
	w.commands++
	id := w.commands
	switch cmd {
	case "kill":
		w.kill(n)
	case "start":
		w.start(n)
	case "cut":
		n.cut = true
		if n.cfg.Sidecar {
			w.sidecars[n.id] = false
		}
	case "heal":
		n.cut = false
	case "unsure":
		n.unsure = true
	case "set":
		for _, a := range args {
			what, mode, _ := strings.Cut(a, "=")
			n.modes[what] = strings.TrimPrefix(mode, "ok")
		}
	case "switchover":
		w.input(n, func(m *Machine) { m.Switchover(id, args[0], "a drill", w.sidecarList()) })
	case "failover":
		w.input(n, func(m *Machine) { m.Failover(id, args[0], "an operator says so") })
	case "abort":
		w.input(n, func(m *Machine) { m.Abort(id, "changed my mind") })
	case "resume":
		w.input(n, func(m *Machine) { m.Resume(id, "looked at it") })
	case "status":
		s := n.m.status()
		w.logf("%s: %s; store found %v; serving %q; blocked %q; fault %q", n.id, routeLine(s.Route), s.StoreFound, n.serving, s.Blocked, s.Fault)
	default:
		return fmt.Errorf("unknown command %q", cmd)
	}
	return nil
}

func (w *world) processes(d *datadriven.TestData) error {
	mode, bounds := Auto, Bounds{}
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "mode":
			mode = Mode(a.Vals[0])
		case "max-lag":
			fmt.Sscan(a.Vals[0], &bounds.MaxLagRecords)
		}
	}
	var observers []string
	var cfgs []MachineConfig
	for line := range strings.FieldsSeq(d.Input) {
		id, roles, _ := strings.Cut(line, "=")
		c := MachineConfig{ID: id, Clusters: [2]string{"east", "west"}, Initial: "east", Mode: mode, Bounds: bounds,
			Sidecar: strings.Contains(roles, "s"), Observer: strings.Contains(roles, "o"), Drives: strings.Contains(roles, "d")}
		if c.Observer {
			observers = append(observers, id)
		}
		cfgs = append(cfgs, c)
	}
	for _, c := range cfgs {
		c.Observers = observers
		w.add(c)
		w.start(w.nodes[c.ID])
	}
	return nil
}
