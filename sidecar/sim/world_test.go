//go:build synctests

package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/failover/local"
	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
	"github.com/catamaran-io/catamaran/sidecar/inmem"
)

// world is everything that one scenario runs.
type world struct {
	t        *testing.T
	rng      *rand.Rand
	logger   *slog.Logger
	net      *inmem.Network
	clusters map[string]*inmem.Cluster
	topics   map[string]int32 // partitions
	store    *local.Store
	sidecars []*process
	// ended are the reports of sidecars that were restarted.
	ended     []sidecar.Report
	restarted atomic.Bool
	clients   []*client
	recorder  *history.Recorder
	// impaired is the cluster that is killed or paused, "" when none is.
	impaired string
	// bounded: no failover was blocked, so no pause may be long.
	bounded bool
}

// process is one sidecar on a host of its own, with its clients.
type process struct {
	host string
	*sidecar.Sidecar
	stop func()
}

const port = 19092

// play is one scenario: faults for a while, then peace, then the verdict.
func play(t *testing.T, seed uint64, log *journal) {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), logger: log.logger(), net: inmem.NewNetwork(seed),
		clusters: make(map[string]*inmem.Cluster), topics: make(map[string]int32), recorder: history.NewRecorder(time.Now()),
		bounded: true, store: local.New(),
	}
	w.net.SetLatency(time.Duration(100+w.rng.IntN(1500))*time.Microsecond, time.Duration(w.rng.IntN(1000))*time.Microsecond+1)
	w.build()
	defer w.close()
	if !w.await("the first route", 20*time.Second, func(s sidecar.Status) bool { return s.Serving && s.Link.Running }) {
		return
	}
	w.startClients()
	time.Sleep(2 * time.Second)
	for range 1 + w.rng.IntN(3) {
		w.trouble()
		time.Sleep(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
	}
	w.say("peace")
	w.restore()
	if !w.await("peace", time.Minute, func(s sidecar.Status) bool { return s.Serving }) {
		return
	}
	w.judge()
}

func (w *world) say(format string, args ...any) { w.logger.Info("SIM " + fmt.Sprintf(format, args...)) }

func (w *world) build() {
	for _, name := range []string{"east", "west"} {
		c, err := inmem.NewCluster(w.net, name, 1+w.rng.IntN(3))
		if err != nil {
			w.t.Fatal(err)
		}
		w.clusters[name] = c
	}
	for i := range 1 + w.rng.IntN(2) {
		name := fmt.Sprintf("topic-%d", i)
		w.topics[name] = int32(1 + w.rng.IntN(4))
		if err := w.clusters["east"].Fake().CreateTopic(name, w.topics[name], nil); err != nil {
			w.t.Fatal(err)
		}
	}
	for i := range 1 + w.rng.IntN(2) {
		w.sidecars = append(w.sidecars, w.newSidecar(fmt.Sprintf("host-%d", i)))
	}
}

func (w *world) newSidecar(host string) *process {
	s, err := sidecar.New(sidecar.Config{
		Name: "sim", ID: host, Active: "east",
		Listen:   sidecar.Listen{Host: "127.0.0.1", Port: port, MaxNodes: 3},
		Clusters: map[string]sidecar.Cluster{"east": {Bootstrap: w.clusters["east"].Bootstrap()}, "west": {Bootstrap: w.clusters["west"].Bootstrap()}},
		// One mirror: the slots of a link are not shared yet.
		Mirror:   sidecar.MirrorConfig{Enabled: host == "host-0", OrphanTail: "dead"},
		Failover: sidecar.Failover{Mode: "auto", Observers: []string{"host-0"}, FailAfter: time.Second},
		Admin:    sidecar.Admin{Listen: "127.0.0.1:19099"},
	}, sidecar.Options{Dial: w.net.Host(host).Dial, Listen: w.net.Host(host).Listen, Store: w.store, Logger: w.logger.With("host", host)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("sidecar %s ended with %v", host, err)
		}
	}()
	return &process{host, s, func() { cancel(); <-done }}
}

func (w *world) close() {
	w.restore()
	for _, c := range w.clients {
		c.close()
	}
	for _, s := range w.sidecars {
		s.stop()
	}
	for _, c := range w.clusters {
		c.Close()
	}
}

// await waits until every sidecar is as wanted; the mirror's own facts are
// asked of the first.
func (w *world) await(what string, limit time.Duration, ok func(sidecar.Status) bool) bool {
	w.t.Helper()
	return w.awaitFor(what, limit, 0, ok)
}

// awaitFor is await until it has been so for a while.
func (w *world) awaitFor(what string, limit, while time.Duration, ok func(sidecar.Status) bool) bool {
	w.t.Helper()
	end, since := time.Now().Add(limit), time.Now()
	for {
		settled := true
		var last sidecar.Status
		for _, s := range w.sidecars {
			st := s.Status()
			if !st.Link.Enabled {
				st.Link.Running = true
			}
			if !ok(st) {
				settled, last = false, st
			}
		}
		if !settled {
			since = time.Now()
		} else if time.Since(since) >= while {
			return true
		}
		if time.Now().After(end) {
			w.t.Errorf("waited %v for %s: %s serves %v (%s), route %+v, mirror %v (%s), %s", limit, what,
				last.ID, last.Serving, last.NotServing, last.Route, last.Link.Running, last.Link.Problem, last.Decision)
			return false
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *world) active() string {
	if r := w.sidecars[0].Status().Route; r != nil {
		return r.Active
	}
	return "east"
}
