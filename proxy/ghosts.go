package proxy

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A ghost is a member that a cluster still counts although its client has moved
// to the other one. When the role comes back before its session there has
// expired (45 s), the first rebalance would wait for it that long. So members
// are taken out of the cluster that lost the role: as soon as the role has moved
// for good, and, where that failed because the cluster was dead, before the
// first join after its return.

const (
	ghostAttempts = 5
	ghostPause    = 2 * time.Second
)

// depart turns the members that joined before e into ghosts of their clusters
// and returns these clusters' names.
func (g *groups) depart(e *era) (clusters []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, gr := range g.m {
		for id, m := range gr.members {
			if m.tenure >= e.route.Tenure || m.ghost {
				continue
			}
			m.ghost = true
			if g.ghosts[m.cluster] == nil {
				g.ghosts[m.cluster] = make(map[string][]string)
				clusters = append(clusters, m.cluster)
			}
			if ids := g.ghosts[m.cluster][name]; len(ids) < maxMembers {
				g.ghosts[m.cluster][name] = append(ids, id)
			}
		}
	}
	return clusters
}

// take takes the ghosts of one group out of the books, or of some group if name
// is "".
func (g *groups) take(cluster, name string) (group string, ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.ghosts[cluster]
	if name == "" {
		for name = range all {
			break
		}
	}
	ids = all[name]
	if delete(all, name); len(all) == 0 {
		delete(g.ghosts, cluster)
	}
	return name, ids
}

func (g *groups) putBack(cluster, name string, ids []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ghosts[cluster] == nil {
		g.ghosts[cluster] = make(map[string][]string)
	}
	g.ghosts[cluster][name] = append(g.ghosts[cluster][name], ids...)
}

// layGhosts takes the ghosts of every group out of a cluster, with a few
// attempts; what stays is tried again before the first join there.
func (p *Proxy) layGhosts(c *cluster) {
	for range ghostAttempts {
		if p.layAll(c) {
			return
		}
		select {
		case <-time.After(ghostPause):
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Proxy) layAll(c *cluster) bool {
	for {
		name, ids := p.groups.take(c.name, "")
		if len(ids) == 0 {
			return true
		}
		if err := c.leaveGroup(p.ctx, name, ids); err != nil {
			p.groups.putBack(c.name, name, ids)
			p.log.Debug("members that have moved cannot leave their group now", "cluster", c.name, "group", name, "error", err)
			return false
		}
	}
}

// layGroup does it for one group, before a join.
func (p *Proxy) layGroup(ctx context.Context, c *cluster, name string) {
	_, ids := p.groups.take(c.name, name)
	if len(ids) == 0 {
		return
	}
	if err := c.leaveGroup(ctx, name, ids); err != nil {
		p.groups.putBack(c.name, name, ids)
		p.log.Warn("members of an earlier tenure cannot be taken out of their group; its rebalance waits until they expire", "cluster", c.name, "group", name, "members", len(ids), "error", err)
	}
}

// leaveGroup takes members out of a group. Those that are not in it are no error.
func (c *cluster) leaveGroup(ctx context.Context, group string, ids []string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = group, ids[0] // a broker before 2.4 takes one
	for _, id := range ids {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.Reason = id, kmsg.StringPtr("moved to the other cluster")
		req.Members = append(req.Members, m)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err == nil && resp.ErrorCode != codeUnknownMemberID {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("leaving group %q on %s: %w", group, c.name, err)
	}
	return nil
}
