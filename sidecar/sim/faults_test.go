//go:build synctests

package sim

import (
	"context"
	"time"

	"github.com/catamaran-io/catamaran/sidecar"
)

// trouble does one bad or demanding thing and waits it out, as far as it wants
// to. At most one cluster is impaired at a time: with both gone nothing is
// promised but to wait.
func (w *world) trouble() {
	if w.impaired != "" {
		w.restore()
		w.settle()
	}
	if w.rng.IntN(4) > 0 { // mostly wait until a loss is bearable
		w.settle()
	}
	active := w.active()
	standby := map[string]string{"east": "west", "west": "east"}[active]
	switch w.rng.IntN(8) {
	case 0, 1:
		if w.rng.IntN(2) == 0 { // answers are lost that the mirror's source had given
			w.say("mute connections to %s (active)", active)
			for _, s := range w.sidecars {
				for _, h := range w.clusters[active].Hosts() {
					w.net.Mute(s.host, h, 0.4)
				}
			}
			time.Sleep(time.Duration(w.rng.IntN(300)) * time.Millisecond)
		}
		w.say("kill %s (active)", active)
		w.clusters[active].Kill()
		w.impaired = active
		w.awaitMove(standby)
	case 2:
		w.say("pause %s (active)", active)
		w.clusters[active].Pause()
		w.impaired = active
		w.awaitMove(standby)
	case 3:
		w.settle()
		w.switchover(standby)
	case 4:
		w.say("kill %s (standby)", standby)
		w.clusters[standby].Kill()
		w.impaired = standby
	case 5:
		w.say("reset connections to %s (active)", active)
		for _, s := range w.sidecars {
			for _, h := range w.clusters[active].Hosts() {
				w.net.Reset(s.host, h)
			}
		}
	case 6:
		w.say("cut host-0 (the observer) from %s (active)", active)
		for _, h := range w.clusters[active].Hosts() {
			w.net.Cut("host-0", h)
		}
		w.impaired = active
		w.awaitMove(standby)
	case 7:
		i := w.rng.IntN(len(w.sidecars))
		w.say("restart sidecar %s", w.sidecars[i].host)
		w.restarted.Store(true)
		w.ended = append(w.ended, w.sidecars[i].Reports()...)
		w.sidecars[i].stop()
		time.Sleep(time.Duration(w.rng.IntN(500)) * time.Millisecond)
		w.sidecars[i] = w.newSidecar(w.sidecars[i].host)
		w.await("the sidecar to serve again", 20*time.Second, func(s sidecar.Status) bool { return s.Serving })
	}
}

// restore ends every impairment.
func (w *world) restore() {
	for _, c := range w.clusters {
		c.Revive()
		c.Resume()
		for _, h := range c.Hosts() {
			w.net.Heal("host-0", h)
		}
	}
	w.impaired = ""
}

// settle waits until the link has been in step for a second, so that a next loss
// is bearable and everybody knows it.
func (w *world) settle() {
	w.awaitFor("the mirror to be in step", time.Minute, time.Second, func(s sidecar.Status) bool {
		for _, p := range s.Link.Partitions {
			if p.State != "mirroring" {
				return false
			}
		}
		for _, c := range s.Clusters {
			if !c.Healthy || c.VotesHealthy == 0 && s.Link.Enabled {
				return false
			}
		}
		return s.Serving && s.Link.Running && s.Route.State == "serving" && (!s.Link.Enabled || len(s.Link.Partitions) == w.partitions())
	})
}

func (w *world) partitions() (n int) {
	for _, p := range w.topics {
		n += int(p)
	}
	return n
}

// awaitMove waits for a failover. One that is not done for a good reason ends
// when the active cluster returns.
func (w *world) awaitMove(to string) {
	ok := false
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		s := w.sidecars[0].Status()
		if ok = s.Serving && s.Route.Active == to; ok {
			break
		}
	}
	if s := w.sidecars[0].Status(); !ok && s.Decision == "" {
		w.t.Errorf("no failover to %s within 10 s, and no reason: %+v", to, s)
	}
	w.bounded = w.bounded && ok
	w.say("moved: %v", ok)
}

func (w *world) switchover(to string) {
	w.say("switchover to %s", to)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	report, err := w.sidecars[0].Switchover(ctx, to, "simulation")
	w.say("switchover: %v %v %v", report.Outcome, report.Pause(), err)
	if err != nil {
		w.t.Errorf("switchover to %s: %v", to, err)
	}
}
