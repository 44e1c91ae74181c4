package proxy

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Classic groups across a cutover. The new cluster has the group's offsets and
// not its members, so every member has to join anew, and must not notice more
// than one ordinary rebalance:
//
//   - a member that joined in an earlier tenure hears REBALANCE_IN_PROGRESS on
//     Heartbeat and SyncGroup: the one signal that every client takes calmly;
//
//   - its commits are still taken, without membership, while the group is empty
//     on the new cluster;
//
//   - its JoinGroup goes out without a member id and brings a new one, which
//     clients adopt; MEMBER_ID_REQUIRED is handled here;
//
//   - the first joins of a group are gathered, so that its first generation has
//     every member (see gather.go).
//
// While the role moves, a known member's heartbeat waits for the end of it, a
// while: what ends it early is the signal to join, which then comes at once and
// not with the next heartbeat (3 s later by most clients' defaults).
const (
	// fencedPatience bounds that wait. Raising it costs commits that queue behind
	// the heartbeat of a cutover that takes long.
	fencedPatience = 3 * time.Second
	// heartbeatPatience is how long a heartbeat of a known member may be under
	// way before it is answered here: its coordinator cannot expire it while
	// it is away, and will tell when it is back.
	heartbeatPatience = 1500 * time.Millisecond
	// syncAsk is how long a SyncGroup may wait for the group's leader.
	syncAsk = 60 * time.Second
	// maxRejoins bounds the joins that complete a first generation.
	maxRejoins = 20
	rejoinGap  = 50 * time.Millisecond
	// joinSlack is what a coordinator may add to the rebalance timeout
	// (group.initial.rebalance.delay.ms is 3 s).
	joinSlack = 10 * time.Second
)

func (s *session) heartbeat(sl *slot, req *kmsg.HeartbeatRequest) kmsg.Response {
	g := s.p.groups
	known := g.beat(req.Group, req.MemberID, s)
	deadline := s.deadline(sl)
	if known {
		deadline = sl.arrived.Add(min(heartbeatPatience, s.p.cfg.Hold))
		if now := s.p.gate.now.Load(); now.state == fenced {
			if _, ok := s.await(sl.arrived.Add(min(fencedPatience, s.p.cfg.Hold))); !ok {
				return sl.row.Fail(req, 0)
			}
		}
	}
	resp, e := s.forwardAs(sl, sl.row, req, deadline, pace{within: heartbeatPatience}, func(e *era) (kmsg.Request, kmsg.Response) {
		if g.moved(req.Group, req.MemberID, e) {
			return nil, sl.row.Fail(req, codeRebalanceInProgress)
		}
		return req, nil
	})
	code := resp.(*kmsg.HeartbeatResponse).ErrorCode
	if e == nil && known && code == heldCode(req.Key()) {
		// The role may have moved while it was out; the next heartbeat is seconds
		// away, and the member would come too late for the first generation.
		if now := s.p.gate.now.Load(); now.state == serving && g.moved(req.Group, req.MemberID, now.era) {
			return sl.row.Fail(req, codeRebalanceInProgress)
		}
		return sl.row.Fail(req, 0)
	}
	if e != nil && !known && (code == 0 || code == codeRebalanceInProgress) {
		// It joined before this process began, or through another one.
		g.joined(req.Group, req.MemberID, e, s)
	}
	return resp
}

func (s *session) syncGroup(sl *slot, req *kmsg.SyncGroupRequest) kmsg.Response {
	resp, _ := s.forwardAs(sl, sl.row, req, s.deadline(sl), pace{ask: syncAsk}, func(e *era) (kmsg.Request, kmsg.Response) {
		if s.p.groups.moved(req.Group, req.MemberID, e) {
			return nil, sl.row.Fail(req, codeRebalanceInProgress)
		}
		return req, nil
	})
	return resp
}

func (s *session) leaveGroup(sl *slot, req *kmsg.LeaveGroupRequest) kmsg.Response {
	ids := []string{req.MemberID}
	if req.Version >= 3 {
		ids = ids[:0]
		for i := range req.Members {
			ids = append(ids, req.Members[i].MemberID)
		}
	}
	resp, e := s.forwardAs(sl, sl.row, req, s.deadline(sl), pace{}, func(e *era) (kmsg.Request, kmsg.Response) {
		for _, id := range ids {
			if !s.p.groups.moved(req.Group, id, e) {
				return req, nil
			}
		}
		return nil, sl.row.Fail(req, 0) // the new cluster never had them
	})
	if e != nil || resp.(*kmsg.LeaveGroupResponse).ErrorCode == 0 {
		for _, id := range ids {
			s.p.groups.left(req.Group, id)
		}
	}
	return resp
}

// offsetCommit stores positions. A member of an earlier tenure commits without
// membership, which a coordinator takes while the group is empty there; once the
// group lives, its partitions may have another owner, so the commit is refused
// as in any rebalance that the member has not followed yet.
func (s *session) offsetCommit(sl *slot, req *kmsg.OffsetCommitRequest) kmsg.Response {
	moved := false
	resp, e := s.forwardAs(sl, sl.row, req, s.deadline(sl), pace{}, func(e *era) (kmsg.Request, kmsg.Response) {
		if moved = s.p.groups.moved(req.Group, req.MemberID, e); !moved {
			return req, nil
		}
		send := *req
		send.Generation, send.MemberID, send.InstanceID = -1, "", nil
		return &send, nil
	})
	if moved && e != nil && anyCode(resp, func(code int16) bool {
		return code == codeUnknownMemberID || code == codeIllegalGeneration
	}) {
		return sl.row.Fail(req, codeRebalanceInProgress)
	}
	return resp
}

func (s *session) joinGroup(sl *slot, req *kmsg.JoinGroupRequest) kmsg.Response {
	rebalance := time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	if req.Version == 0 {
		rebalance = time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	}
	rebalance = min(max(rebalance, 0), time.Hour)
	// A client waits for as long as the rebalance may take, and then some.
	deadline := s.deadline(sl).Add(rebalance)
	j := &join{s: s, sl: sl, req: req, id: req.MemberID, pace: pace{ask: rebalance + joinSlack}}
	for rejoins := 0; ; rejoins++ {
		resp, e := s.forwardAs(sl, sl.row, req, deadline, j.pace, j.prepare)
		if e == nil {
			return resp
		}
		answer := resp.(*kmsg.JoinGroupResponse)
		if j.done(answer, e, rejoins) {
			return answer
		}
	}
}

// join is one JoinGroup of a client, which may take several upstream.
type join struct {
	s    *session
	sl   *slot
	req  *kmsg.JoinGroupRequest
	pace pace
	id   string // the member id to join with
	in   *era   // that issued id here; nil: the client brought it
	// together is how many members were gathered with this one.
	together int
}

// prepare waits for the group's other members and makes the request for e.
func (j *join) prepare(e *era) (kmsg.Request, kmsg.Response) {
	g := j.s.p.groups
	moved := g.moved(j.req.Group, j.req.MemberID, e)
	if j.in != nil && !j.in.sameStay(e) {
		j.id, j.in = j.req.MemberID, nil // another flip meanwhile
	}
	if moved && j.in == nil {
		j.id = ""
	}
	j.s.p.layGroup(j.s.ctx, e.cluster, j.req.Group)
	begin := time.Now()
	if n := g.gather(j.s, j.req.Group, j.req.MemberID, e); n > 0 {
		j.together = n
		j.s.log.Info("member of a group that moved joins anew", "api", "JoinGroup", "group", j.req.Group, "cluster", e.cluster.name, "together", n, "waited", time.Since(begin).Round(time.Millisecond))
	}
	send := *j.req
	send.MemberID = j.id
	return &send, nil
}

// done says whether an answer is the client's, and remembers its member id.
func (j *join) done(answer *kmsg.JoinGroupResponse, e *era, rejoins int) bool {
	g := j.s.p.groups
	switch answer.ErrorCode {
	case 0:
		j.s.log.Debug("member joined", "api", "JoinGroup", "group", j.req.Group, "cluster", e.cluster.name, "generation", answer.Generation, "members", len(answer.Members))
		g.joined(j.req.Group, answer.MemberID, e, j.s)
		short := answer.LeaderID == answer.MemberID && len(answer.Members) < j.together
		if short && rejoins < maxRejoins && j.s.pause(j.s.p.gate.now.Load(), rejoinGap) {
			// The first generation lacks members whose joins are under way.
			// Nobody has an assignment in it before the leader gives one, so
			// the leader joins again and the coordinator waits for them.
			j.id, j.in = answer.MemberID, e
			return false
		}
		if answer.MemberID != j.req.MemberID {
			g.left(j.req.Group, j.req.MemberID)
		}
		return true
	case codeMemberIDRequired:
		if j.req.MemberID == "" || rejoins >= maxRejoins {
			// The client's own first join: it will come with this id, perhaps
			// when the role has moved.
			g.joined(j.req.Group, answer.MemberID, e, j.s)
			return true
		}
		j.id, j.in = answer.MemberID, e
		return false
	case codeUnknownMemberID:
		if j.in == nil || rejoins >= maxRejoins {
			return true
		}
		j.id, j.in = "", nil // the id that was issued to us here has expired
		return false
	}
	return true
}
