package proxy

import (
	"testing"
	"time"
)

// The sidecar was restarted while the group lived; its members came back with
// the ids that they have.
func TestMemberThatJoinedBeforeARestartHearsOfARebalanceToo(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := &rawMember{rawClient: l.raw(0)}
		defer m.close()
		m.join(t)
		m.sync(t)
		end := l.start(nextPort)
		defer end()
		l.serve("east", 0)
		again := &rawMember{rawClient: l.raw(50), id: m.id, gen: m.gen}
		defer again.close()
		if code := again.beat(); code != 0 {
			t.Fatalf("heartbeat got code %d", code)
		}
		l.flipTo("west", 1, true)
		if code := again.beat(); code != codeRebalanceInProgress {
			t.Errorf("heartbeat got code %d, want REBALANCE_IN_PROGRESS", code)
		}
		if code := again.commit(3); code != 0 {
			t.Errorf("commit got code %d", code)
		}
	})
}

// Tools take a group id of their own and are killed.
func TestGroupsOfMembersThatDiedAreForgotten(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := &rawMember{rawClient: l.raw(0)}
		m.join(t)
		m.close()
		time.Sleep(memberFor + time.Minute)
		l.raw(0).close()
		time.Sleep(time.Second)
		l.proxy.groups.mu.Lock()
		defer l.proxy.groups.mu.Unlock()
		if n := len(l.proxy.groups.m); n != 0 {
			t.Errorf("%d groups are remembered", n)
		}
	})
}
