package mirror

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// link is one run of mirroring in one direction. One goroutine, the loop, owns
// all of its state; requests run in goroutines of their own and hand the loop
// what to do with the answer. After every such event the loop starts whatever
// can be started (schedule), so no event needs to know what it makes possible.
//
//	source ──fetch──► queue of items ──extent durable?──► produce ──► position
//	                                   └──────── intent beside it ────┘
type link struct {
	Link
	m        *Mirror
	src, dst *cluster
	source   *sourceMap
	log      *slog.Logger

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	events chan func()
	// looping: somebody takes from events.
	looping atomic.Bool
	// found: both clusters' metadata has been seen.
	found  bool
	groups groupCopier
	look   chan struct{} // asks for discovery now

	// Owned by the loop.
	slots            []*slot
	parts            map[topicPartition]*part
	starting         map[topicPartition]*part // not yet mirroring
	ready            map[topicPartition]*part // with something to produce
	srcMeta, dstMeta *metadata
	fetchers         map[int32]*fetcher
	producing        map[int32]bool // target brokers with a round in flight
	mapping          map[int32]bool // target brokers with a map write in flight
	waiters          []*waiter
	acquiring        chan struct{} // bounds what runs at once
	judging          chan struct{}
	turn             int
	timer            *time.Timer
	wakeAt           time.Time
}

// part is one partition of the link.
type part struct {
	topicPartition
	slot          *slot
	state, reason string
	// again: the reason may pass. tryAt is when to look; tries counts.
	again bool
	tryAt time.Time
	tries int
	gone  time.Time // since when the source does not have it
	// busy: a goroutine is finding something out about it; beginning: the first
	// extent of its generation is being written.
	busy, beginning bool

	// The source.
	id        [16]byte // of its topic
	at        place
	epoch     int32
	cur       cursor
	prep      preparer
	prepared  uint64 // the source map's version in prep
	fetching  bool
	restUntil time.Time // a retriable error: do not fetch before
	position  logmap.Cluster
	hw        logmap.Cluster
	fresh     bool   // nothing was ever mirrored
	defect    string // what is read next cannot be copied

	// The target: what is confirmed, and what is planned behind it.
	end      logmap.Cluster
	planEnd  logmap.Cluster
	plan     logmap.Extent
	queue    []*item
	bytes    int
	inflight bool
	holdOff  time.Time            // do not produce before
	refused  bool                 // the target judges the first batch unfit
	closing  *logmap.ExtentRecord // of a hole at the end, not durable yet
	intents  map[int64]*intent

	records, copied int64
	caughtUp        time.Time
}

// States of a partition.
const (
	stateStarting  = "starting"
	stateMirroring = "mirroring"
	stateStopped   = "stopped"
)

func (m *Mirror) newLink(ctx context.Context, l Link, src, dst *cluster) *link {
	k := &link{
		Link: l, m: m, src: src, dst: dst, source: newSourceMap(src, m.cfg.Slots),
		log:    m.cfg.Logger.With("link", l.Source+"→"+l.Target, "epoch", l.Epoch),
		events: make(chan func(), 64), look: make(chan struct{}, 1),
		parts: make(map[topicPartition]*part), starting: make(map[topicPartition]*part), ready: make(map[topicPartition]*part),
		fetchers: make(map[int32]*fetcher), producing: make(map[int32]bool), mapping: make(map[int32]bool),
		acquiring: make(chan struct{}, 16), judging: make(chan struct{}, 32), timer: time.NewTimer(time.Hour),
	}
	k.groups.turn = make(chan struct{}, 1)
	k.ctx, k.cancel = context.WithCancelCause(ctx)
	for i := range m.cfg.Slots {
		k.slots = append(k.slots, &slot{n: int32(i)})
	}
	return k
}

// run blocks until ctx ends or the link must not go on.
func (l *link) run() error {
	for _, s := range l.slots {
		l.acquire(s)
	}
	l.wg.Go(l.discoverLoop)
	l.wg.Go(l.groupsLoop)
	l.loop()
	l.wg.Wait()
	return context.Cause(l.ctx)
}

func (l *link) loop() {
	l.looping.Store(true)
	defer l.timer.Stop()
	for {
		select {
		case <-l.ctx.Done():
			for _, w := range l.waiters {
				w.done <- context.Cause(l.ctx)
			}
			return
		case f := <-l.events:
			f()
		case <-l.timer.C:
			l.wakeAt = time.Time{}
		}
		for more := true; more; {
			select {
			case f := <-l.events:
				f()
			default:
				more = false
			}
		}
		l.schedule()
	}
}

// schedule starts everything that can be started.
func (l *link) schedule() {
	now := time.Now()
	for _, p := range l.starting {
		l.start(p, now)
	}
	for _, s := range l.slots {
		l.maintain(s, now)
	}
	l.fetch(now)
	l.produce(now)
	l.writeMaps()
	l.waiters = slices.DeleteFunc(l.waiters, l.satisfied)
}

// spawn runs work in a goroutine and what it returns in the loop.
func (l *link) spawn(work func() func()) {
	l.wg.Go(func() {
		if then := work(); then != nil {
			l.post(then)
		}
	})
}

// post hands f to the loop; false when the link has ended.
func (l *link) post(f func()) bool {
	select {
	case l.events <- f:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// call runs f in the loop and waits for it. After an error f may still run,
// later.
func (l *link) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.events <- func() { f(); close(done) }:
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// wait says whether at has not come yet, and has schedule run when it has.
func (l *link) wait(at, now time.Time) bool {
	if !at.After(now) {
		return false
	}
	if l.wakeAt.IsZero() || at.Before(l.wakeAt) {
		l.wakeAt = at
		l.timer.Reset(at.Sub(now))
	}
	return true
}

// fail ends the link.
func (l *link) fail(err error) { l.cancel(err) }

// lookNow asks for metadata soon.
func (l *link) lookNow() {
	select {
	case l.look <- struct{}{}:
	default:
	}
}

// stop closes one partition; the others go on.
func (l *link) stop(p *part, again bool, reason string) {
	if p.state != stateStopped || p.reason != reason {
		l.log.Warn("partition stopped", "topic", p.Topic, "partition", p.Partition, "reason", reason, "again", again)
	}
	p.state, p.reason, p.again = stateStopped, reason, again
	p.tries++
	p.tryAt = time.Now().Add(min(30*time.Second, time.Second<<max(0, min(p.tries-10, 5))))
	p.clear()
	delete(l.ready, p.topicPartition)
	l.starting[p.topicPartition] = p
}

// reset brings a partition back to its beginning: its slot has been lost or has
// been acquired again.
func (l *link) reset(p *part) {
	if p.state == stateMirroring {
		p.state, p.reason = stateStarting, ""
	}
	p.tryAt = time.Time{}
	p.clear()
	delete(l.ready, p.topicPartition)
	l.starting[p.topicPartition] = p
}

func (p *part) clear() {
	p.queue, p.bytes, p.inflight, p.beginning, p.intents, p.closing = nil, 0, false, false, nil, nil
	p.holdOff, p.restUntil, p.refused, p.defect = time.Time{}, time.Time{}, false, ""
}

var errEnded = errors.New("the link was ended")
