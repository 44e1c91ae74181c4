package matrix

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// app is one client at work: a producer and a group of two.
type app struct {
	d        *Driver
	topic    string
	base     int64 // ms, of record 0
	began    time.Time
	producer func() error // stops it and waits
	members  func() error // stops both and waits
	sent     int64        // known when the producer has stopped
}

type apps []*app

// startApps starts every client's driver, one producer and two members each, and
// returns when all groups have their members and the producers run.
func startApps(t *testing.T, w *world, tab *table, clients []Client) apps {
	t.Helper()
	started := make(apps, len(clients))
	limit := make(chan struct{}, 4) // JVMs starting at once
	var wg sync.WaitGroup
	for i, c := range clients {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			a, err := startApp(t.Context(), w, c)
			if err != nil {
				t.Errorf("%s: %v", c.Name, err)
				return
			}
			tab.version(c.Name, a.d.Version())
			started[i] = a
		})
	}
	wg.Wait()
	t.Cleanup(func() {
		for _, a := range started {
			if a != nil {
				a.d.Close()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return started
}

func startApp(ctx context.Context, w *world, c Client) (a *app, err error) {
	a = &app{topic: "work-" + c.Name, began: time.Now(), base: time.Now().Add(-time.Hour).UnixMilli()}
	if a.d, err = startDriver(c, w.bootstrap); err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.bootstrap))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	s := &teller{ctx: ctx, d: a.d, adm: kadm.NewClient(cl), topic: a.topic}
	if _, err := s.topics(); err != nil {
		return nil, err
	}
	stopA, stopB := s.member("a"), s.member("b")
	a.members = func() error {
		var errA error
		var wg sync.WaitGroup
		wg.Go(func() { errA = stopA() })
		errB := stopB()
		wg.Wait()
		return errors.Join(errA, errB)
	}
	if err := s.awaitGroup(2); err != nil {
		return nil, fmt.Errorf("%w; the program logged:\n%s", err, a.d.Log())
	}
	ended := a.d.start("op=produce name=p topic=%s codec=none first=0 count=1000000 rate=%d keys=%d timestamp=%d", a.topic, rate, keys, a.base)
	a.producer = func() error {
		var sent struct{ Sent int64 }
		err := errors.Join(a.d.do(nil, "op=stop name=p"), ended(opTimeout, &sent))
		a.sent = sent.Sent
		return err
	}
	return a, nil
}
