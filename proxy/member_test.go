package proxy

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// rawMember is a group member that speaks for itself.
type rawMember struct {
	*rawClient
	id  string
	gen int32
}

func joinRequestOf(id string) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = 6, "readers", id, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 45000, 10000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte("x")
	req.Protocols = append(req.Protocols, p)
	return req
}

// join joins for the first time, as a client does.
func (m *rawMember) join(t *testing.T) *kmsg.JoinGroupResponse {
	t.Helper()
	resp := m.ask(joinRequestOf(m.id)).(*kmsg.JoinGroupResponse)
	if resp.ErrorCode == codeMemberIDRequired {
		resp = m.ask(joinRequestOf(resp.MemberID)).(*kmsg.JoinGroupResponse)
	}
	if resp.ErrorCode != 0 {
		t.Fatalf("join got code %d", resp.ErrorCode)
	}
	m.id, m.gen = resp.MemberID, resp.Generation
	return resp
}

func (m *rawMember) sync(t *testing.T) int16 {
	t.Helper()
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 3, "readers", m.gen, m.id
	a := kmsg.NewSyncGroupRequestGroupAssignment()
	a.MemberID, a.MemberAssignment = m.id, []byte("all")
	req.GroupAssignment = append(req.GroupAssignment, a)
	return m.ask(req).(*kmsg.SyncGroupResponse).ErrorCode
}

func (m *rawMember) beat() int16 {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 3, "readers", m.gen, m.id
	return m.ask(req).(*kmsg.HeartbeatResponse).ErrorCode
}

func (m *rawMember) commit(offset int64) int16 {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation, req.MemberID = 7, "readers", m.gen, m.id
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Partition, rp.Offset = 0, offset
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic, rt.Partitions = "orders", []kmsg.OffsetCommitRequestTopicPartition{rp}
	req.Topics = append(req.Topics, rt)
	return m.ask(req).(*kmsg.OffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
}

// flipTo moves the role with nothing to copy.
func (l *lab) flipTo(to string, tenure protocol.Tenure, planned bool) {
	from := map[string]string{"east": "west", "west": "east"}[to]
	l.fence(from, tenure-1, planned)
	l.serve(to, tenure)
}

func TestMovedMemberHearsOfARebalanceAndNothingElse(t *testing.T) {
	for _, planned := range []bool{true, false} {
		inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
			l.serve("east", 0)
			m := &rawMember{rawClient: l.raw(0)}
			defer m.close()
			m.join(t)
			if code := m.sync(t); code != 0 {
				t.Fatalf("sync got code %d", code)
			}
			if a, b := m.beat(), m.commit(3); a != 0 || b != 0 {
				t.Fatalf("heartbeat %d, commit %d", a, b)
			}
			l.fence("east", 0, planned)
			if code := m.beat(); code != 0 {
				t.Errorf("heartbeat while fenced got code %d", code)
			}
			l.serve("west", 1)
			if code := m.beat(); code != codeRebalanceInProgress {
				t.Errorf("heartbeat got code %d, want REBALANCE_IN_PROGRESS", code)
			}
			if code := m.sync(t); code != codeRebalanceInProgress {
				t.Errorf("sync got code %d, want REBALANCE_IN_PROGRESS", code)
			}
			if code := m.commit(5); code != 0 {
				t.Errorf("commit got code %d", code)
			}
			old := m.id
			resp := m.ask(joinRequestOf(old)).(*kmsg.JoinGroupResponse)
			if resp.ErrorCode != 0 || resp.MemberID == "" || resp.MemberID == old {
				t.Fatalf("join got code %d, member id %q (was %q)", resp.ErrorCode, resp.MemberID, old)
			}
			m.id, m.gen = resp.MemberID, resp.Generation
			if a, b, c := m.sync(t), m.beat(), m.commit(6); a != 0 || b != 0 || c != 0 {
				t.Errorf("after the join: sync %d, heartbeat %d, commit %d", a, b, c)
			}
			fetch := kmsg.NewPtrOffsetFetchRequest()
			fetch.Version, fetch.Group = 5, "readers"
			ft := kmsg.NewOffsetFetchRequestTopic()
			ft.Topic, ft.Partitions = "orders", []int32{0}
			fetch.Topics = append(fetch.Topics, ft)
			if p := m.ask(fetch).(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0]; p.Offset != 6 || p.LeaderEpoch != -1 {
				t.Errorf("committed %d, leader epoch %d", p.Offset, p.LeaderEpoch)
			}
		})
	}
}

// The group lives on the new cluster and one of its old members has not heard:
// its commit must not go over the new owner's, and must not end the member.
func TestCommitOfALateMemberIsRefusedAsInARebalance(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		late := &rawMember{rawClient: l.raw(0)}
		defer late.close()
		late.join(t)
		late.sync(t)
		l.flipTo("west", 1, true)
		other := &rawMember{rawClient: l.raw(0)}
		defer other.close()
		begin := time.Now()
		other.join(t) // waits for the late one, but not for ever
		if took := time.Since(begin); took < 3*time.Second || took > 9*time.Second {
			t.Errorf("the first join took %v", took)
		}
		other.sync(t)
		if code := late.commit(5); code != codeRebalanceInProgress {
			t.Errorf("commit got code %d, want REBALANCE_IN_PROGRESS", code)
		}
		late.id = late.ask(joinRequestOf(late.id)).(*kmsg.JoinGroupResponse).MemberID
	})
}

// A coordinator may complete the first generation before all who were let go
// have arrived; no assignment may be made in it.
func TestShortFirstGenerationIsJoinedAgain(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		a, b := &rawMember{rawClient: l.raw(0)}, &rawMember{rawClient: l.raw(0)}
		defer a.close()
		defer b.close()
		a.join(t)
		a.sync(t)
		b.send(joinRequestOf("")) // MEMBER_ID_REQUIRED
		id := b.receive(time.Second).(*kmsg.JoinGroupResponse).MemberID
		b.send(joinRequestOf(id))
		time.Sleep(100 * time.Millisecond)
		a.send(joinRequestOf(a.id))
		for _, m := range []*rawMember{a, b} {
			resp := m.receive(20 * time.Second).(*kmsg.JoinGroupResponse)
			m.id, m.gen = resp.MemberID, resp.Generation
		}
		short := true
		l.west.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.west.KeepControl()
			req := r.(*kmsg.JoinGroupRequest)
			if req.MemberID == "" || !short {
				return nil, nil, false
			}
			short = false
			resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
			resp.Generation, resp.LeaderID, resp.MemberID = 1, req.MemberID, req.MemberID
			resp.Protocol = kmsg.StringPtr("range")
			resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{MemberID: req.MemberID, ProtocolMetadata: []byte("x")})
			return resp, nil, true
		})
		l.flipTo("west", 1, true)
		a.send(joinRequestOf(a.id))
		b.send(joinRequestOf(b.id))
		members := 0
		for _, m := range []*rawMember{a, b} {
			resp := m.receive(20 * time.Second).(*kmsg.JoinGroupResponse)
			if resp.ErrorCode != 0 {
				t.Fatalf("join got code %d", resp.ErrorCode)
			}
			members = max(members, len(resp.Members))
		}
		if members != 2 || short {
			t.Errorf("the first generation that a client saw has %d members, want 2 (intercepted: %v)", members, !short)
		}
	})
}

// The role goes to west and comes back before the sessions on east expire.
func TestMembersThatMovedDoNotDelayTheGroupWhenTheRoleReturns(t *testing.T) {
	for name, dead := range map[string]bool{"left at once": false, "left before the first join": true} {
		t.Run(name, func(t *testing.T) {
			inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				m := &rawMember{rawClient: l.raw(0)}
				defer m.close()
				m.join(t)
				m.sync(t)
				if dead {
					l.net.kill("east")
				}
				l.flipTo("west", 1, !dead)
				resp := m.ask(joinRequestOf(m.id)).(*kmsg.JoinGroupResponse)
				m.id, m.gen = resp.MemberID, resp.Generation
				m.sync(t)
				time.Sleep(15 * time.Second)
				if info := l.east.GroupInfo("readers"); !dead && info != nil && len(info.Members) > 0 {
					t.Errorf("east still counts %d members", len(info.Members))
				}
				m.beat()
				l.net.heal("east")
				l.flipTo("east", 2, true)
				begin := time.Now()
				resp = m.ask(joinRequestOf(m.id)).(*kmsg.JoinGroupResponse)
				if took := time.Since(begin); resp.ErrorCode != 0 || took > 6*time.Second {
					t.Errorf("join got code %d after %v", resp.ErrorCode, took)
				}
			})
		})
	}
}

// The role moves again while the first join on the new cluster is under way.
func TestJoinThatIsUnderWayFollowsTheRole(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		m := &rawMember{rawClient: l.raw(0)}
		defer m.close()
		m.join(t)
		m.sync(t)
		l.west.ControlKey(int16(kmsg.JoinGroup), func(r kmsg.Request) (kmsg.Response, error, bool) {
			l.west.KeepControl()
			if r.(*kmsg.JoinGroupRequest).MemberID == "" {
				return nil, nil, false
			}
			return nil, nil, true // never answered
		})
		l.flipTo("west", 1, true)
		m.send(joinRequestOf(m.id))
		m.silent(2 * time.Second)
		l.flipTo("east", 2, false)
		begin := time.Now()
		resp := m.receive(20 * time.Second).(*kmsg.JoinGroupResponse)
		if took := time.Since(begin); resp.ErrorCode != 0 || took > 1500*time.Millisecond {
			t.Errorf("join got code %d after %v", resp.ErrorCode, took)
		}
		m.id, m.gen = resp.MemberID, resp.Generation
		if a, b := m.sync(t), m.beat(); a != 0 || b != 0 {
			t.Errorf("sync %d, heartbeat %d", a, b)
		}
	})
}
