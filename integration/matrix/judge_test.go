package matrix

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
)

// history is what this app saw.
func (a *app) history(reports []sidecar.Report) *history.History {
	rec := history.NewRecorder(a.began)
	for i := range a.sent {
		rec.Produced(a.began, history.Record{Producer: "p", Number: i})
	}
	for _, e := range a.d.Events(func(e Event) bool { return e.Ack != "" || e.Got != "" }) {
		r, err := identity(e.Ack + e.Got)
		if err != nil {
			rec.Error(err)
			continue
		}
		tp := history.TopicPartition{Topic: a.topic, Partition: e.P}
		if e.Ack != "" {
			rec.Acknowledged(e.At, r, tp, e.O)
		} else {
			rec.Consumed(e.At, "group", e.Name, r, tp, e.O)
		}
	}
	for _, trouble := range a.d.Troubles() {
		rec.Error(errors.New(trouble))
	}
	for _, report := range reports {
		for _, p := range report.Partitions {
			if p.Topic == a.topic {
				rec.Tail(history.TopicPartition{Topic: p.Topic, Partition: p.Partition}, p.Mirrored, p.First)
			}
		}
	}
	return rec.History()
}

// awaitAllRead waits until the group has read every record of the log.
func (a *app) awaitAllRead(log map[place]logged) error {
	why := poll(20*time.Second, func() string {
		read := make(map[place]bool)
		for _, e := range a.d.Events(isGot) {
			read[place{e.P, e.O}] = true
		}
		missing := 0
		for at := range log {
			if !read[at] {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Sprintf("%d of %d records were never read by the group", missing, len(log))
		}
		return ""
	})
	if why != "" {
		return errors.New(why)
	}
	return nil
}

// entries are a log as the checker takes it.
func entries(topic string, log map[place]logged) (out []history.Entry) {
	for at, l := range log {
		if r, err := identity(l.value); err == nil {
			out = append(out, history.Entry{Record: r, TopicPartition: history.TopicPartition{Topic: topic, Partition: at.partition}, Offset: at.offset})
		}
	}
	return out
}

// readAcross seeks, by offset and by time, to records just before each cutover
// and reads over it.
func (a *app) readAcross(ctx context.Context, w *world, log map[place]logged, marks []time.Time) error {
	s := &teller{ctx: ctx, d: a.d, topic: a.topic, log: log}
	acks := a.d.Events(isAck)
	for _, mark := range marks {
		i := slices.IndexFunc(acks, func(e Event) bool { return e.At.After(mark) })
		if i < 0 {
			return errors.New("nothing was acknowledged after the cutover")
		}
		p := acks[i].P
		offsets := slices.Sorted(func(yield func(int64) bool) {
			for at := range maps.Keys(log) {
				if at.partition == p && !yield(at.offset) {
					return
				}
			}
		})
		at, _ := slices.BinarySearch(offsets, acks[i].O)
		at = max(0, min(at-2, len(offsets)-5))
		if len(offsets) < 5 {
			return fmt.Errorf("partition %d has %d records", p, len(offsets))
		}
		for _, what := range []string{fmt.Sprintf("offset=%d", offsets[at]), fmt.Sprintf("at=%d", log[place{p, offsets[at]}].at-1)} {
			if err := s.readList(p, offsets[at:at+5], what); err != nil {
				return err
			}
		}
	}
	return nil
}

// committedAtEnd demands that the group's commits are the ends of the log.
func (w *world) committedAtEnd(ctx context.Context, topic string, log map[place]logged) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.bootstrap))
	if err != nil {
		return err
	}
	defer cl.Close()
	s := &teller{ctx: ctx, adm: kadm.NewClient(cl), topic: topic, log: log}
	return s.committed()
}

// summarise makes each row of tab one cell of the table of all outcomes.
func summarise(apps apps, tab *table, column string) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	for _, a := range apps {
		name := a.d.client.Name
		cell := "ok " + tab.cells[name]["pause"]
		for _, c := range tab.cells[name] {
			if c == "FAIL" || c == "STUCK" {
				cell = c
			}
		}
		all.version(name, a.d.Version())
		all.set(name, column, cell, "")
	}
}

// longestGap is the longest time between two neighbours.
func longestGap(events []Event) (longest time.Duration) {
	for i := 1; i < len(events); i++ {
		longest = max(longest, events[i].At.Sub(events[i-1].At))
	}
	return longest
}
