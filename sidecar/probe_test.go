package sidecar

import (
	"context"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/sidecar/inmem"
)

func TestProbeOfAPausedClusterEndsWithItsContextAndSeesTheReturn(t *testing.T) {
	n := inmem.NewNetwork(1)
	c, err := inmem.NewCluster(n, "east", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := newProber(&Config{Clusters: map[string]Cluster{"east": {Bootstrap: c.Bootstrap()}}}, n.Host("app").Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	probe := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		begun := time.Now()
		err := p.Probe(ctx, "east")
		if took := time.Since(begun); took > limit+500*time.Millisecond {
			t.Fatalf("a probe of %v took %v", limit, took)
		}
		return err
	}
	c.Pause() // before the first connection: it is taken, and nothing is answered
	for range 3 {
		if probe(200*time.Millisecond) == nil {
			t.Fatal("a paused cluster is healthy")
		}
	}
	if o := p.outcome("east"); !o.known || o.err == nil || !o.heard.IsZero() {
		t.Fatalf("%+v", o)
	}
	c.Resume()
	for end := time.Now().Add(3 * time.Second); probe(500*time.Millisecond) != nil; {
		if time.Now().After(end) {
			t.Fatal("a resumed cluster is not healthy after 3 s")
		}
	}
	c.Kill()
	if probe(500*time.Millisecond) == nil {
		t.Fatal("a killed cluster is healthy")
	}
	if o := p.outcome("east"); o.heard.IsZero() {
		t.Fatal("when it was last heard of was forgotten")
	}
}
