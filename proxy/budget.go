package proxy

import (
	"context"
	"sync"
)

// budget bounds the bytes of unanswered writes over all sessions. Who finds it
// full waits, in order, and does not read its socket meanwhile. A single frame
// larger than the whole budget passes when nothing else is held.
type budget struct {
	mu      sync.Mutex
	used    int64
	max     int64
	waiting []*claim // oldest first; as many as there are sessions
}

type claim struct {
	bytes   int64
	granted chan struct{}
}

// acquire waits until n bytes fit; false: ctx ended.
func (b *budget) acquire(ctx context.Context, n int64) bool {
	b.mu.Lock()
	if len(b.waiting) == 0 && b.fits(n) {
		b.used += n
		b.mu.Unlock()
		return true
	}
	c := &claim{bytes: n, granted: make(chan struct{})}
	b.waiting = append(b.waiting, c)
	b.mu.Unlock()
	select {
	case <-c.granted:
		return true
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-c.granted: // both happened
		b.used -= n
	default:
		for i, w := range b.waiting {
			if w == c {
				b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
				break
			}
		}
	}
	b.grant()
	return false
}

func (b *budget) release(n int64) {
	b.mu.Lock()
	b.used -= n
	b.grant()
	b.mu.Unlock()
}

func (b *budget) fits(n int64) bool { return b.used == 0 || b.used+n <= b.max }

func (b *budget) grant() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0].bytes) {
		c := b.waiting[0]
		b.waiting = b.waiting[1:]
		b.used += c.bytes
		close(c.granted)
	}
}

func (b *budget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
