package proxy

import "time"

// answered notes that a broker of the cluster answered somebody.
func (c *cluster) answered() { c.lastAnswer.Store(time.Now().UnixNano()) }

// failed notes that a connection to the cluster failed.
func (c *cluster) failed(err error) {
	reason := err.Error()
	c.reason.Store(&reason)
	c.lastFailure.Store(time.Now().UnixNano())
}

// watch and unwatch keep the set of connections whose waiting is observed.
func (c *cluster) watch(u *upstream) {
	c.mu.Lock()
	c.watched[u] = struct{}{}
	c.mu.Unlock()
}

func (c *cluster) unwatch(u *upstream) {
	c.mu.Lock()
	delete(c.watched, u)
	c.mu.Unlock()
}

// Observe is what this process' own connections say about a cluster; the zero
// Observation for an unknown one. Safe for concurrent use.
func (p *Proxy) Observe(name string) Observation {
	c := p.clusters[name]
	if c == nil {
		return Observation{}
	}
	o := Observation{LastAnswer: unixNano(c.lastAnswer.Load()), LastFailure: unixNano(c.lastFailure.Load())}
	if r := c.reason.Load(); r != nil {
		o.Reason = *r
	}
	c.mu.Lock()
	watched := make([]*upstream, 0, len(c.watched))
	for u := range c.watched {
		watched = append(watched, u)
	}
	c.mu.Unlock()
	now := time.Now()
	for _, u := range watched {
		o.Waiting = max(o.Waiting, u.waiting(now))
	}
	return o
}

func unixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
