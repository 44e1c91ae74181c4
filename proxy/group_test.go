package proxy

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// groupMember is a kgo consumer in a group that notes what happens to it.
type groupMember struct {
	client *kgo.Client
	mu     sync.Mutex
	owned  map[int32]bool
	lost   int
	errs   []error
	seen   map[string]int // values, by how often
	joins  int
	done   chan struct{}
}

func (l *lab) member(group string, opts ...kgo.Opt) *groupMember {
	m := &groupMember{owned: make(map[int32]bool), seen: make(map[string]int), done: make(chan struct{})}
	note := func(own bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.joins++
			for _, p := range parts["orders"] {
				m.owned[p] = own
			}
		}
	}
	m.client = l.kgo(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitInterval(200 * time.Millisecond), kgo.HeartbeatInterval(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(note(true)), kgo.OnPartitionsRevoked(note(false)),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.lost++
			for _, p := range parts["orders"] {
				m.owned[p] = false
			}
		}),
		kgo.AutoCommitCallback(func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if err != nil {
				m.errs = append(m.errs, fmt.Errorf("commit: %w", err))
				return
			}
			for _, rt := range resp.Topics {
				for _, rp := range rt.Partitions {
					if rp.ErrorCode != 0 && rp.ErrorCode != codeRebalanceInProgress {
						m.errs = append(m.errs, fmt.Errorf("commit of %s-%d: code %d", rt.Topic, rp.Partition, rp.ErrorCode))
					}
				}
			}
		}),
	}, opts...)...)
	go func() {
		defer close(m.done)
		for {
			fetches := m.client.PollFetches(l.ctx)
			if fetches.IsClientClosed() || l.ctx.Err() != nil {
				return
			}
			m.mu.Lock()
			fetches.EachError(func(topic string, p int32, err error) { m.errs = append(m.errs, err) })
			fetches.EachRecord(func(r *kgo.Record) { m.seen[string(r.Value)]++ })
			m.mu.Unlock()
		}
	}()
	return m
}

func (m *groupMember) close() { m.client.Close(); <-m.done }

func (m *groupMember) callbacks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.joins
}

func (m *groupMember) owns() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, own := range m.owned {
		if own {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, within time.Duration, what func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if what() {
			return
		}
	}
}

// copyCommits plays the mirror's part for a group.
func (l *lab) copyCommits(from, to *labCluster, group string) {
	l.t.Helper()
	offsets, err := kadm.NewClient(from.client).FetchOffsets(l.ctx, group)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := kadm.NewClient(to.client).CommitAllOffsets(l.ctx, group, offsets.Offsets()); err != nil {
		l.t.Fatal(err)
	}
}

func TestGroupIsCarriedOverWithoutAMembershipError(t *testing.T) {
	for _, planned := range []bool{true, false} {
		t.Run(fmt.Sprintf("planned %v", planned), func(t *testing.T) {
			t.Parallel()
			inRealLab(t, 2, 4, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				a := l.member("readers")
				defer a.close()
				b := l.member("readers")
				defer b.close()
				prod := l.kgo()
				defer prod.Close()
				const n = 150
				produce := func(from, to int) {
					for i := from; i < to; i++ {
						r := &kgo.Record{Topic: "orders", Partition: int32(i % 4), Value: fmt.Appendf(nil, "v%d", i)}
						if err := prod.ProduceSync(l.ctx, r).FirstErr(); err != nil {
							t.Fatal(err)
						}
						time.Sleep(20 * time.Millisecond)
					}
				}
				eventually(t, 10*time.Second, func() bool { return a.owns() == 2 && b.owns() == 2 })
				if a.owns() != 2 || b.owns() != 2 {
					t.Fatalf("before: %d and %d partitions", a.owns(), b.owns())
				}
				produce(0, n/3)
				time.Sleep(time.Second)
				m := l.mirror(l.east, l.west, 0, 1)
				for p := range int32(4) {
					m.begin("orders", p)
				}
				if !planned {
					for p := range int32(4) {
						m.copy("orders", p, -1)
					}
					l.copyCommits(l.east, l.west, "readers")
					l.net.kill("east")
					time.Sleep(time.Second)
				}
				l.fence("east", 0, planned)
				var positions []int64
				for p := range int32(4) {
					if planned {
						m.copy("orders", p, -1)
					}
					positions = m.stampAtEnd("orders", p)
				}
				if planned {
					l.copyCommits(l.east, l.west, "readers")
				}
				time.Sleep(500 * time.Millisecond)
				l.serve("west", 1, positions...)
				before := a.callbacks() + b.callbacks()
				produce(n/3, n)
				time.Sleep(2 * time.Second)
				if a.owns() != 2 || b.owns() != 2 {
					t.Errorf("after: %d and %d partitions", a.owns(), b.owns())
				}
				for name, m := range map[string]*groupMember{"a": a, "b": b} {
					m.mu.Lock()
					if m.lost > 0 {
						t.Errorf("%s lost its partitions %d times", name, m.lost)
					}
					for _, err := range m.errs {
						t.Errorf("%s: %v", name, err)
					}
					m.mu.Unlock()
				}
				a.close()
				b.close()
				for _, v := range numbered(0, n) {
					if got := a.seen[v] + b.seen[v]; got != 1 {
						t.Errorf("%s was consumed %d times", v, got)
					}
				}
				t.Logf("%d callbacks for the cutover", a.callbacks()+b.callbacks()-before)
			})
		})
	}
}

// stampAtEnd stamps a partition that is in the identity everywhere.
func (m *mirror) stampAtEnd(topic string, partition int32) []int64 {
	return m.stamp(topic, partition, logicalEnd(m.to, topic, partition))
}
