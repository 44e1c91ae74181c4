package mirrortest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/catamaran-io/catamaran/mirror"
)

// east and west are shared by the tests of this package, one after the other:
// each uses topics and route epochs of its own.
var east, west *kafkatest.Cluster

var lastEpoch int64

// nextEpoch is a route epoch that is higher than all before.
func nextEpoch() int64 { lastEpoch++; return lastEpoch }

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	flag.Parse()
	if testing.Short() {
		fmt.Println("mirrortest: NOT RUN with -short: needs two real Kafka brokers; left to make test")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	start := func(name string) (*kafkatest.Cluster, error) {
		return kafkatest.StartContext(context.Background(), kafkatest.Config{Name: name, Brokers: 1, Properties: map[string]string{"log.cleaner.backoff.ms": "200"}})
	}
	var err error
	if east, err = start("east"); err == nil {
		defer func() { east.Close() }()
		west, err = start("west")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer west.Close()
	return m.Run()
}

// config is a mirror between the two clusters for one test.
func config(topics ...string) mirror.Config {
	return mirror.Config{
		VirtualCluster: "it", Writer: "mirrortest",
		Clusters: map[string]mirror.Cluster{
			"east": {Seeds: east.Bootstrap()}, "west": {Seeds: west.Bootstrap()},
		},
		Topics:   mirror.Rules{Include: topics},
		Discover: 200 * time.Millisecond, GroupInterval: 100 * time.Millisecond,
	}
}

func newMirror(t *testing.T, cfg mirror.Config) *mirror.Mirror {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	m, err := mirror.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func runLink(t *testing.T, m *mirror.Mirror, l mirror.Link) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, l) }()
	ended := false
	stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { stop() })
	return stop
}

func createTopic(t *testing.T, c *kafkatest.Cluster, name string, partitions int32) {
	t.Helper()
	cl := c.Client(t)
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
		t.Fatal(err)
	}
}

func produce(t *testing.T, cl *kgo.Client, topic string, partition int32, from, n int, prefix string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var recs []*kgo.Record
	for i := from; i < from+n; i++ {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: partition, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "%s-%d", prefix, i),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}}})
	}
	if err := cl.ProduceSync(ctx, recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func drain(t *testing.T, m *mirror.Mirror) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := m.Drain(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil || err.Error() != "draining: no link runs" {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
