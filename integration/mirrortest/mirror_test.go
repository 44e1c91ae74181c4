package mirrortest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/mirror"
)

func TestCopyEqualsSourceForEveryProducerKind(t *testing.T) {
	const topic = "kinds"
	createTopic(t, east, topic, 3)
	codecs := map[string][]kgo.Opt{
		"plain":  {kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression())},
		"lz4":    {kgo.ProducerBatchCompression(kgo.Lz4Compression())},
		"zstd":   {kgo.ProducerBatchCompression(kgo.ZstdCompression())},
		"gzip":   {kgo.ProducerBatchCompression(kgo.GzipCompression())},
		"snappy": {kgo.ProducerBatchCompression(kgo.SnappyCompression())},
	}
	m := newMirror(t, config(topic))
	began := time.Now()
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	drain(t, m)
	t.Logf("from Run to drained: %v", time.Since(began))
	want := 0
	for name, opts := range codecs {
		cl := east.Client(t, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond))...)
		for p := range int32(3) {
			for i := range 6 {
				produce(t, cl, topic, p, i*100, 100, name)
				want += 100
			}
		}
		cl.Close()
	}
	txn := east.Client(t, kgo.TransactionalID("kinds-tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range 20 {
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, txn, topic, int32(i%3), i*50, 50, fmt.Sprintf("tx%d", i))
		commit := kgo.TransactionEndTry(i%4 != 0)
		if err := txn.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
		if commit {
			want += 50
		}
	}
	drain(t, m)
	if got := requireSame(t, topic); got != want {
		t.Fatalf("%d records, want %d", got, want)
	}
}

func TestAcquisitionOfAllSlotsTakesWellUnderASecond(t *testing.T) {
	const topic = "acquire"
	createTopic(t, east, topic, 64)
	m := newMirror(t, config(topic))
	l := mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()}
	stop := runLink(t, m, l)
	drain(t, m)
	stop()
	for range 3 {
		began := time.Now()
		l.Epoch = nextEpoch()
		if err := m.Seal(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		t.Logf("Seal of 32 slots with 64 partitions: %v", took)
		if took > 5*time.Second { // a tenth of that on a quiet machine
			t.Errorf("a cutover cannot wait %v for the seal", took)
		}
	}
	began := time.Now()
	st, err := m.Stamp(t.Context(), l, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Stamp: %v, %d partitions", time.Since(began), len(st.Partitions))
}

// The mirror is exactly-once without transactions: kill −9 it in the middle of
// copying, ten times, and the target equals the source.
func TestTenKillsOfTheMirrorUnderLoadLoseAndDoubleNothing(t *testing.T) {
	const topic = "kills"
	createTopic(t, east, topic, 4)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var produced atomic.Int64
	for p := range int32(4) {
		cl := east.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				for range 4 {
					cl.Produce(context.Background(), &kgo.Record{Topic: topic, Partition: p, Value: fmt.Appendf(nil, "p%d-%d-%d", p, n, produced.Add(1))}, func(_ *kgo.Record, err error) {
						if err != nil {
							t.Errorf("producing: %v", err)
						}
					})
				}
			}
		})
		defer cl.Flush(context.Background())
	}
	defer wg.Wait()
	end := sync.OnceFunc(func() { close(stop) })
	defer end()

	l := mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()}
	for i := range 10 {
		c := startChild(t, topic, l)
		time.Sleep(time.Duration(700+i*130) * time.Millisecond)
		kill(c)
	}
	end()
	wg.Wait()
	m := newMirror(t, config(topic))
	began := time.Now()
	runLink(t, m, l)
	drain(t, m)
	t.Logf("caught up %v after the last kill", time.Since(began))
	n := requireSame(t, topic)
	if n != int(produced.Load()) {
		t.Fatalf("%d records, %d were produced", n, produced.Load())
	}
	seals := 0
	for _, p := range readMap(t, west).Partitions() {
		seals = max(seals, int(p.Map.Generation()))
	}
	t.Logf("%d records; a partition had up to %d generations", n, seals)
	if seals < 5 {
		t.Fatal("the mirror was killed before it copied anything")
	}
}

func TestSwitchoverAndBackOnRealBrokers(t *testing.T) {
	const topic = "turn"
	createTopic(t, east, topic, 2)
	clients := map[string]*kgo.Client{
		"east": east.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())),
		"west": west.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())),
	}
	m := newMirror(t, config(topic))
	l := mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()}
	want := 0
	for round := range 4 {
		for p := range int32(2) {
			for range 3 {
				produce(t, clients[l.Source], topic, p, want, 20, fmt.Sprintf("r%d", round))
				want += 20
			}
		}
		runLink(t, m, l)
		drain(t, m)
		l.Epoch = nextEpoch()
		began := time.Now()
		if err := m.Seal(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		sealed := time.Since(began)
		s, err := m.Stamp(t.Context(), l, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: seal %v, stamp %v", round, sealed, time.Since(began)-sealed)
		for _, ps := range s.Partitions {
			if ps.Topic == topic && (ps.Held != "" || int(ps.First) != want/2 || ps.Mirrored != ps.First) {
				t.Fatalf("round %d: stamp %+v, want first %d", round, ps, want/2)
			}
		}
		if n := requireSame(t, topic); n != want {
			t.Fatalf("round %d: %d records, want %d", round, n, want)
		}
		l = mirror.Link{Source: l.Target, Target: l.Source, Epoch: l.Epoch, Tenure: l.Tenure + 1}
	}
}

func TestThroughputOfOneLink(t *testing.T) {
	const topic = "throughput"
	createTopic(t, east, topic, 4)
	cl := east.Client(t, kgo.ProducerBatchMaxBytes(900_000), kgo.ProducerLinger(20*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()))
	value := make([]byte, 1024)
	const records = 100_000
	for range records {
		cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: value}, nil)
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := newMirror(t, config(topic))
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	for len(m.Status()) == 0 || m.Status()[0].State != "mirroring" {
		time.Sleep(5 * time.Millisecond)
	}
	began := time.Now()
	drain(t, m)
	took := time.Since(began)
	var bytes, copied int64
	for _, s := range m.Status() {
		bytes += s.Bytes
		copied += s.Records
	}
	if copied != records {
		t.Fatalf("%d records were copied, %d produced", copied, records)
	}
	t.Logf("%d records, %d MB in %v: %.0f MB/s", records, bytes>>20, took, float64(bytes)/1e6/took.Seconds())
}

// A client without linger writes a batch per record, five in flight; the mirror
// must keep up though a request takes one batch per partition.
func TestTinyBatchesDoNotFallBehind(t *testing.T) {
	const topic = "tiny"
	createTopic(t, east, topic, 1)
	m := newMirror(t, config(topic))
	runLink(t, m, mirror.Link{Source: "east", Target: "west", Epoch: nextEpoch()})
	drain(t, m)
	cl := east.Client(t, kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(1024), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	began := time.Now()
	const records = 20_000
	for i := range records {
		cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: fmt.Appendf(make([]byte, 0, 400), "%0400d", i)}, nil)
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	produced := time.Since(began)
	drain(t, m)
	behind := time.Since(began) - produced
	t.Logf("%d records produced in %v, mirrored %v later", records, produced, behind)
	if behind > 3*time.Second {
		t.Errorf("the mirror fell behind by %v", behind)
	}
	if n := requireSame(t, topic); n != records {
		t.Fatalf("%d records, want %d", n, records)
	}
}
