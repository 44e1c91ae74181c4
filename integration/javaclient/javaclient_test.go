package javaclient

import (
	"context"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/twmb/franz-go/pkg/kadm"
)

func TestEveryAcknowledgedRecordIsConsumedOnceAtItsOffset(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Config{})
	adm := kadm.NewClient(cluster.Client(t))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := adm.CreateTopic(ctx, 2, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	c := StartConsumer(t, ConsumerOptions{Bootstrap: cluster.Bootstrap(), Topics: []string{"orders"}, Group: "billing"})
	p := StartProducer(t, ProducerOptions{Bootstrap: cluster.Bootstrap(), Topic: "orders", Prefix: `p"0\`, Rate: 500, Count: 200, Keys: 7})
	p.Await(t, Acked, 200, 30*time.Second)
	p.Stop(t)
	c.Await(t, Consumed, 200, 30*time.Second)
	c.Stop(t)

	type at struct {
		partition int32
		offset    int64
	}
	acked := map[at]string{}
	for _, e := range p.Of(Acked) {
		acked[at{e.Partition, e.Offset}] = e.Value
	}
	for _, e := range c.Of(Consumed) {
		if want := acked[at{e.Partition, e.Offset}]; e.Value != want || want == "" {
			t.Errorf("consumed %v, acknowledged there: %q", e, want)
		}
		delete(acked, at{e.Partition, e.Offset})
	}
	if len(acked) > 0 || len(c.Of(Consumed)) != 200 {
		t.Errorf("%d acknowledged records were not consumed, %d consumed in all", len(acked), len(c.Of(Consumed)))
	}
	if errs := append(p.Errors(), c.Errors()...); len(errs) > 0 {
		t.Errorf("errors: %v", errs)
	}
	if log := p.Log() + c.Log(); log != "" {
		t.Logf("logged:\n%s", log)
	}
	if a := c.Of(Assigned); len(a) == 0 || len(a[len(a)-1].Partitions) != 2 {
		t.Errorf("assigned: %v, want both partitions", a)
	}
	offsets, err := adm.FetchOffsets(ctx, "billing")
	if err != nil {
		t.Fatal(err)
	}
	var committed int64
	offsets.Each(func(o kadm.OffsetResponse) { committed += o.At })
	if committed != 200 {
		t.Errorf("committed %d on close, want 200", committed)
	}
}
