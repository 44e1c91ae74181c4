package kafkatest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestRecordsSurviveKillAndPauseOfTheCluster(t *testing.T) {
	c := Start(t, Config{Name: "east"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := c.Client(t, kgo.ConsumeTopics("orders"), kgo.DefaultProduceTopic("orders"))
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	produce := func(value string) {
		t.Helper()
		if err := cl.ProduceSync(ctx, kgo.StringRecord(value)).FirstErr(); err != nil {
			t.Fatalf("producing %q: %v", value, err)
		}
	}
	produce("before")
	c.Kill()
	if c.Broker(1).Running() {
		t.Error("the broker runs after Kill")
	}
	c.Restart(t)
	produce("after kill")
	c.Pause()
	short, stop := context.WithTimeout(ctx, 500*time.Millisecond)
	defer stop()
	if err := cl.Ping(short); err == nil {
		t.Error("a paused broker answered")
	}
	c.Resume()
	produce("after pause")
	c.Stop()
	c.Restart(t)

	var got []string
	for len(got) < 3 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if have, want := strings.Join(got, ", "), "before, after kill, after pause"; have != want {
		t.Errorf("consumed %q, want %q", have, want)
	}
}

func TestThreeBrokersOutliveAnyOne(t *testing.T) {
	c := Start(t, Config{Name: "west", Brokers: 3})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := c.Client(t, kgo.DefaultProduceTopic("orders"), kgo.MetadataMinAge(100*time.Millisecond))
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 6, 3, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	for _, b := range c.Brokers() {
		b.Kill()
		for range 12 { // reaches partitions that the killed one led
			if err := cl.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
				t.Fatalf("without broker %d: %v", b.ID, err)
			}
		}
		b.Restart(t)
	}
}
