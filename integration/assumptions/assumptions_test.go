package assumptions

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// A target is something that claims to be Kafka: one broker that nobody else uses and that nobody has asked anything.
type target interface {
	Name() string
	Client(tb testing.TB, opts ...kgo.Opt) *kgo.Client
}

// A pair is a target of two brokers, of which number 2 can be lost.
type pair interface {
	target
	KillSecond()
	RestartSecond(tb testing.TB)
}

// A fact is something that the product takes for granted of brokers.
type fact struct {
	name string // the sentence
	want string // what real Kafka answers
	try  func(s *session) string
}

// facts in the order in which they are tried; the first ones need a cluster that has not been asked for a
// coordinator yet.
func facts() []fact {
	return slices.Concat(freshFacts, appendFacts, sealFacts, groupFacts)
}

func TestRealKafka(t *testing.T) {
	t.Parallel() // with the pair
	runOn(t, kafkatest.Start(t, kafkatest.Config{Name: "assumptions", Properties: map[string]string{
		"producer.id.expiration.check.interval.ms": "500", // 10 minutes by default; what expires is left as it is
	}}), nil)
}

func TestRealKafkaPair(t *testing.T) {
	t.Parallel()
	runPairOn(t, kafkaPair{kafkatest.Start(t, kafkatest.Config{Name: "pair", Brokers: 2})}, nil)
}

type kafkaPair struct{ *kafkatest.Cluster }

func (p kafkaPair) KillSecond() { p.Broker(2).Kill() }

func (p kafkaPair) RestartSecond(tb testing.TB) {
	if !p.Broker(2).Running() {
		p.Broker(2).Restart(tb)
	}
}

func TestKfake(t *testing.T) {
	t.Parallel()
	runOn(t, newKfake(t), kfakeDiffers)
	for _, f := range pairFacts {
		t.Logf("not tried on kfake, which has neither leaderless partitions nor in-sync replicas: %s", f.name)
	}
}

type kfakeTarget struct{ *kfake.Cluster }

// newKfake caps the versions: a kfake without a cap applies the rule of Kafka 4.5 that the first sequence on a
// partition that was never written must be 0.
func newKfake(t *testing.T) kfakeTarget {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V4_3_0()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kfakeTarget{c}
}

func (k kfakeTarget) Name() string { return "kfake" }

func (k kfakeTarget) Client(tb testing.TB, opts ...kgo.Opt) *kgo.Client {
	tb.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(k.ListenAddrs()...)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(cl.Close)
	return cl
}

// runOn tries every fact on a target. differs says, by the fact's sentence, what the target is known to answer
// instead.
func runOn(t *testing.T, target target, differs map[string]string) {
	t.Helper()
	known := map[string]bool{}
	for _, f := range facts() {
		known[f.name] = true
		t.Run(f.name, func(t *testing.T) { check(t, target, f, differs) })
	}
	for _, name := range slices.Sorted(maps.Keys(differs)) {
		if !known[name] {
			t.Errorf("the table of differences of %s has a fact that does not exist: %q", target.Name(), name)
		}
	}
	summarise(t, target, facts(), differs)
}

func runPairOn(t *testing.T, target pair, differs map[string]string) {
	t.Helper()
	for _, f := range pairFacts {
		t.Run(f.name, func(t *testing.T) {
			t.Cleanup(func() { target.RestartSecond(t) })
			check(t, target, fact{f.name, f.want, func(s *session) string { return f.try(s, target) }}, differs)
		})
	}
}

func check(t *testing.T, target target, f fact, differs map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	got := f.try(newSession(ctx, t, target))
	want, differing := differs[f.name]
	if !differing {
		want = f.want
	}
	if got == want {
		return
	}
	switch {
	case differing && got == f.want:
		t.Errorf("%s answers as real Kafka does now (%s): take the fact out of its table of differences", target.Name(), got)
	case differing:
		t.Errorf("%s answered\n  %s\nreal Kafka\n  %s\nits table of differences says\n  %s", target.Name(), got, f.want, want)
	default:
		t.Errorf("%s answered\n  %s\nwant\n  %s", target.Name(), got, want)
	}
}

func summarise(t *testing.T, target target, facts []fact, differs map[string]string) {
	var lines strings.Builder
	for _, f := range facts {
		if instead, ok := differs[f.name]; ok {
			lines.WriteString("\n  " + f.name + "\n      Kafka: " + f.want + "\n      " + target.Name() + ": " + instead)
		}
	}
	t.Logf("%s differs from Kafka %s in %d of %d facts:%s", target.Name(), kafkatest.Version, len(differs), len(facts), lines.String())
}
