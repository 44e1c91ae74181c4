package proxy

import (
	"sync"
	"time"

	"github.com/catamaran-io/catamaran/protocol"
)

const (
	// gatherFor bounds the wait for a group's members: a little more than the
	// heartbeat interval of most clients (3 s), for it is a heartbeat that tells
	// a member to join. Raising it lengthens the pause of those who came first
	// when one never comes.
	gatherFor = 3500 * time.Millisecond
	// memberFor is how long a member is remembered that nothing was heard of: a
	// broker's group.max.session.timeout.ms.
	memberFor = 30 * time.Minute
	// maxMembers bounds the members remembered per group.
	maxMembers = 10_000
)

// groups remembers which members of classic groups joined through this process,
// and in which tenure.
type groups struct {
	mu sync.Mutex
	m  map[string]*group
	// ghosts are, by cluster and group, members that have moved away from it.
	ghosts map[string]map[string][]string
}

type group struct {
	members map[string]*member
	// gathered is the last tenure in which the first joins were let go.
	gathered protocol.Tenure
	gather   *gathering // nil when none is under way
}

type member struct {
	tenure  protocol.Tenure
	cluster string   // that knows it
	s       *session // that was last heard of it; nil when that is over
	seen    time.Time
	ghost   bool // it is among the ghosts
}

// gathering holds the first joins of a group in a tenure until every member that
// is known from before has come.
type gathering struct {
	tenure   protocol.Tenure
	expected map[string]bool // members that have not come
	joins    int             // that wait
	complete chan struct{}   // closed when they are let go
	together int             // joins that were let go, set before complete closes
}

func newGroups() *groups {
	return &groups{m: make(map[string]*group), ghosts: make(map[string]map[string][]string)}
}

// beat notes that a member was heard of, and says whether it is known.
func (g *groups) beat(name, id string, s *session) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	gr := g.m[name]
	if gr == nil || gr.members[id] == nil {
		return false
	}
	m := gr.members[id]
	m.s, m.seen = s, time.Now()
	return true
}

// moved says whether a member joined in an earlier tenure than e's: the cluster
// that serves now does not know it.
func (g *groups) moved(name, id string, e *era) bool {
	if id == "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	gr := g.m[name]
	return gr != nil && gr.members[id] != nil && gr.members[id].tenure < e.route.Tenure
}

// joined notes a member id that e's cluster has given out.
func (g *groups) joined(name, id string, e *era, s *session) {
	if id == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	gr := g.m[name]
	if gr == nil {
		gr = &group{members: make(map[string]*member)}
		g.m[name] = gr
	}
	now := time.Now()
	for old, m := range gr.members {
		if now.Sub(m.seen) > memberFor {
			delete(gr.members, old)
		}
	}
	if len(gr.members) < maxMembers || gr.members[id] != nil {
		gr.members[id] = &member{tenure: e.route.Tenure, cluster: e.route.Active, s: s, seen: now}
	}
}

// left forgets a member.
func (g *groups) left(name, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	gr := g.m[name]
	if gr == nil {
		return
	}
	delete(gr.members, id)
	gr.notExpected(id)
	if len(gr.members) == 0 && gr.gather == nil {
		delete(g.m, name)
	}
}

// sessionEnded stops waiting for members that were last heard of on s, and
// forgets those of which nothing was heard for too long: a group that nobody
// joins again would be remembered for ever.
func (g *groups) sessionEnded(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for name, gr := range g.m {
		for id, m := range gr.members {
			if m.s == s {
				m.s = nil
				gr.notExpected(id)
			}
			if m.s == nil && now.Sub(m.seen) > memberFor {
				delete(gr.members, id)
			}
		}
		if len(gr.members) == 0 && gr.gather == nil {
			delete(g.m, name)
		}
	}
}

func (gr *group) notExpected(id string) {
	if gr.gather != nil {
		delete(gr.gather.expected, id)
		gr.letGo(false)
	}
}

// letGo lets the joins go when all have come, or anyway.
func (gr *group) letGo(anyway bool) {
	gt := gr.gather
	if gt == nil || !anyway && len(gt.expected) > 0 {
		return
	}
	gr.gather, gr.gathered = nil, gt.tenure
	gt.together = gt.joins
	close(gt.complete)
}

// gather waits until the members of a group that are known from an earlier
// tenure have come to join e's, at most gatherFor. It returns how many joins
// were let go together, 0 when nothing was waited for.
func (g *groups) gather(s *session, name, id string, e *era) int {
	gt := g.come(name, id, e)
	if gt == nil {
		return 0
	}
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	select {
	case <-gt.complete:
		return gt.together
	case <-timer.C:
	case <-e.ctx.Done():
	case <-s.ctx.Done():
		g.mu.Lock()
		gt.joins--
		g.mu.Unlock()
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if gr := g.m[name]; gr != nil && gr.gather == gt {
		gr.letGo(true)
	}
	return gt.together
}

// come brings one join to the gathering of e's tenure, begun if need be; nil
// when there is nothing to wait for.
func (g *groups) come(name, id string, e *era) *gathering {
	g.mu.Lock()
	defer g.mu.Unlock()
	gr := g.m[name]
	if gr == nil || e.route.Tenure == 0 || gr.gathered >= e.route.Tenure {
		return nil
	}
	if gr.gather != nil && gr.gather.tenure != e.route.Tenure {
		gr.letGo(true) // of a tenure that is over
	}
	if gr.gather == nil {
		gt := &gathering{tenure: e.route.Tenure, expected: make(map[string]bool), complete: make(chan struct{})}
		for id, m := range gr.members {
			if m.tenure < e.route.Tenure && m.s != nil {
				gt.expected[id] = true
			}
		}
		gr.gather = gt
	}
	gt := gr.gather
	gt.joins++
	delete(gt.expected, id)
	gr.letGo(false)
	return gt
}
