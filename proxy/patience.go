package proxy

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// impatient gives the connection up if its oldest call is overdue, and else
// looks again when it would be.
func (u *upstream) impatient() {
	u.mu.Lock()
	oldest := u.oldest()
	if oldest == nil || u.err != nil {
		u.timer = nil
		u.mu.Unlock()
		return
	}
	if left := time.Until(u.due(oldest).Add(u.patience)); left > 0 {
		u.timer = time.AfterFunc(left, u.impatient)
		u.mu.Unlock()
		return
	}
	u.timer = nil
	u.mu.Unlock()
	u.fail(fmt.Errorf("broker %d at %s gave no answer to a %s request for %v", u.broker, u.addr, kmsg.NameForKey(oldest.req.Key()), (oldest.ask + u.patience).Round(time.Millisecond)))
}

func (u *upstream) oldest() *call {
	if len(u.sent) > 0 {
		return u.sent[0]
	}
	if len(u.queue) > 0 {
		return u.queue[0]
	}
	return nil
}

// due is from when on a call, the oldest one, is waited for in vain: it has had
// the time that it asked for, and none of its bytes move.
func (u *upstream) due(c *call) time.Time {
	due := c.since.Add(c.ask)
	if at := time.Unix(0, max(c.moved.Load(), u.heard.Load())); at.After(due) {
		return at
	}
	return due
}

// waiting is for how long the oldest call is out beyond what it asked to wait.
func (u *upstream) waiting(now time.Time) time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.oldest(); c != nil && u.err == nil {
		return max(now.Sub(u.due(c)), 0)
	}
	return 0
}
