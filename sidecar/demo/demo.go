// Package demo shows the product at work without any dependency: two Kafka
// clusters in memory, a sidecar with its mirror, a producer and a consumer group
// over real TCP. It kills the active cluster and lets the history checker judge
// what the clients saw.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/catamaran-io/catamaran/failover/local"
	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
	"github.com/catamaran-io/catamaran/sidecar/inmem"
)

// Options are the demo's measures. The zero value of each gives the default.
type Options struct {
	Out io.Writer
	// InPlace rewrites one line of progress instead of printing each.
	InPlace bool
	// Before and After are how long it runs before and after the kill (5 s each).
	Before, After time.Duration
	// Rate is records per second (1,000), over Partitions (6).
	Rate, Partitions int
	// Brokers of each cluster (3).
	Brokers int
	// Port is the first of the ports that are taken (a free range).
	Port   int
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Before == 0 {
		o.Before = 5 * time.Second
	}
	if o.After == 0 {
		o.After = 5 * time.Second
	}
	if o.Rate == 0 {
		o.Rate = 1000
	}
	if o.Partitions == 0 {
		o.Partitions = 6
	}
	if o.Brokers == 0 {
		o.Brokers = 3
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	topic = "orders"
	group = "billing"
	// patience is the longest pause that the product promises.
	patience = 8 * time.Second
)

// ErrBroken says that a promise was broken; the output names it.
var ErrBroken = errors.New("a promise was broken")

// Run plays the demo and prints it. It returns ErrBroken after a verdict that is
// not clean, and any other error when the demo could not be played.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	w, err := newWorld(o)
	if err != nil {
		return err
	}
	defer w.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	side := make(chan struct{})
	go func() {
		defer close(side)
		if err := w.sidecar.Run(ctx); err != nil {
			cancel(fmt.Errorf("the sidecar stopped: %w", err))
		}
	}()
	err = w.play(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	cancel(nil)
	<-side
	return err
}

// world is everything that the demo runs.
type world struct {
	o          Options
	net        *inmem.Network
	east, west *inmem.Cluster
	sidecar    *sidecar.Sidecar
	recorder   *history.Recorder
	screen     *screen
}

func newWorld(o Options) (_ *world, err error) {
	w := &world{o: o, net: inmem.NewNetwork(uint64(time.Now().UnixNano())), recorder: history.NewRecorder(time.Now())}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	w.net.SetLatency(200*time.Microsecond, 300*time.Microsecond) // two sites close to each other
	if w.east, err = inmem.NewCluster(w.net, "east", o.Brokers); err != nil {
		return nil, err
	}
	if w.west, err = inmem.NewCluster(w.net, "west", o.Brokers); err != nil {
		return nil, err
	}
	if err := w.east.Fake().CreateTopic(topic, int32(o.Partitions), nil); err != nil {
		return nil, fmt.Errorf("creating the topic: %w", err)
	}
	port := o.Port
	if port == 0 {
		if port, err = freePorts(o.Brokers + 1); err != nil {
			return nil, err
		}
	}
	cfg := sidecar.Config{
		Name: "demo", ID: "sidecar-1", Active: "east",
		Listen: sidecar.Listen{Host: "127.0.0.1", Port: port, MaxNodes: o.Brokers},
		Clusters: map[string]sidecar.Cluster{
			"east": {Bootstrap: w.east.Bootstrap()},
			"west": {Bootstrap: w.west.Bootstrap()},
		},
		Mirror:   sidecar.MirrorConfig{Enabled: true},
		Failover: sidecar.Failover{Mode: "auto", Observers: []string{"sidecar-1"}, FailAfter: time.Second, MinBetweenMoves: time.Minute},
		Admin:    sidecar.Admin{Listen: "127.0.0.1:0"},
	}
	w.sidecar, err = sidecar.New(cfg, sidecar.Options{Dial: w.net.Host("sidecar").Dial, Store: local.New(), Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	w.screen = newScreen(o, w)
	return w, nil
}

func (w *world) close() {
	for _, c := range []*inmem.Cluster{w.east, w.west} {
		if c != nil {
			c.Close()
		}
	}
}

// play is the demo's story.
func (w *world) play(ctx context.Context) error {
	w.screen.title()
	// A standby that never was in step is refused as a target, rightly.
	if err := w.await(ctx, 15*time.Second, "the sidecar to serve and the mirror to be in step", func(s sidecar.Status) bool {
		mirrored := 0
		for _, p := range s.Link.Partitions {
			if p.State == "mirroring" {
				mirrored++
			}
		}
		return s.Serving && s.Link.Running && mirrored == w.o.Partitions
	}); err != nil {
		return err
	}
	clients, err := startClients(ctx, w)
	if err != nil {
		return err
	}
	defer clients.stop()
	w.screen.follow(ctx, w.o.Before)
	if err := ctx.Err(); err != nil {
		return err
	}
	w.screen.say("--- kill -9 of every broker of east ---")
	killed := time.Now()
	w.east.Kill()
	w.screen.follow(ctx, w.o.After)
	if err := w.await(ctx, 10*time.Second, "west to serve", func(s sidecar.Status) bool {
		return s.Serving && s.Route != nil && s.Route.Active == "west"
	}); err != nil {
		return err
	}
	if err := clients.finish(ctx); err != nil {
		return err
	}
	final, err := readLog(ctx, w.sidecar.Bootstrap())
	if err != nil {
		return err
	}
	w.declareTails()
	verdict := history.Check(w.recorder.History(), final)
	return w.screen.verdict(verdict, w.sidecar.Reports(), killed)
}

// declareTails takes from the reports what they say was left behind.
func (w *world) declareTails() {
	for _, r := range w.sidecar.Reports() {
		for _, p := range r.Partitions {
			w.recorder.Tail(history.TopicPartition{Topic: p.Topic, Partition: p.Partition}, p.Mirrored, p.First)
		}
	}
}

// await waits until the status is as wanted, looking ten times a second.
func (w *world) await(ctx context.Context, limit time.Duration, what string, ok func(sidecar.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s := w.sidecar.Status()
		if ok(s) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited %v for %s (serving: %v %s; mirror: %v %s; %s)", limit, what,
				s.Serving, s.NotServing, s.Link.Running, s.Link.Problem, s.Decision)
		}
	}
}

// freePorts finds n neighbouring free ports below the ephemeral range.
func freePorts(n int) (int, error) {
	for base := 19092; base < 32000; base += 100 {
		if portsAreFree(base, n) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("no %d neighbouring free ports between 19092 and 32000 on 127.0.0.1", n)
}

func portsAreFree(base, n int) bool {
	for port := base; port < base+n; port++ {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
