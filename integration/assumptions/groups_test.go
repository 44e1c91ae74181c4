package assumptions

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member is one member of a classic group with connections of its own: brokers answer a connection in order, so a
// join that waits would hold up another member's.
type member struct {
	s          *session
	cl         *kgo.Client
	group, id  string
	generation int32
}

func (s *session) member(group string) *member {
	return &member{s: s, cl: s.client(), group: group}
}

// join sends JoinGroup (twice when the broker wants to name the member first) and, as leader or not, SyncGroup with an
// empty assignment. It returns the size of the group, 0 for a follower.
func (m *member) join() (members int) {
	m.s.Helper()
	for {
		req := kmsg.NewPtrJoinGroupRequest()
		req.Group, req.MemberID, req.ProtocolType = m.group, m.id, "consumer"
		req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 30_000, 30_000
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = "range"
		req.Protocols = append(req.Protocols, p)
		resp, err := req.RequestWith(m.s.ctx, m.cl)
		m.s.must(err, "JoinGroup")
		m.id = resp.MemberID
		if resp.ErrorCode == kerr.MemberIDRequired.Code {
			continue
		}
		if resp.ErrorCode != 0 {
			m.s.Fatalf("JoinGroup: %s", code(resp.ErrorCode))
		}
		m.generation, members = resp.Generation, len(resp.Members)
		break
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = m.group, m.id, m.generation
	sync.ProtocolType, sync.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range") // compared since version 5
	resp, err := sync.RequestWith(m.s.ctx, m.cl)
	m.s.must(err, "SyncGroup")
	if resp.ErrorCode != 0 {
		m.s.Fatalf("SyncGroup: %s", code(resp.ErrorCode))
	}
	return members
}

func (m *member) heartbeat() string {
	m.s.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation = m.group, m.id, m.generation
	resp, err := req.RequestWith(m.s.ctx, m.cl)
	m.s.must(err, "Heartbeat")
	return code(resp.ErrorCode)
}

// consumerGroup makes a live group of the KIP-848 kind, with one member.
func (s *session) consumerGroup(topic string) string {
	s.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.MemberEpoch = name("g"), "member-1", 0
	req.RebalanceTimeoutMillis = 30_000
	req.SubscribedTopicNames = []string{topic}
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	resp, err := req.RequestWith(s.ctx, s.cl)
	s.must(err, "ConsumerGroupHeartbeat")
	if resp.ErrorCode != 0 {
		s.Fatalf("ConsumerGroupHeartbeat: %s", code(resp.ErrorCode))
	}
	return req.Group
}

// commitAlone is OffsetCommit with generation −1 and no member, as an administrator's tool sends it.
func (s *session) commitAlone(group, topic string, offset int64) string {
	s.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(s.ctx, s.cl)
	s.must(err, "OffsetCommit")
	return code(resp.Topics[0].Partitions[0].ErrorCode)
}

// commitInTxn is AddOffsetsToTxn and TxnOffsetCommit with generation −1 and empty member; the transaction stays open.
func (h holder) commitInTxn(group, topic string, offset int64) string {
	h.s.Helper()
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = h.txid, h.pid, h.epoch, group
	added, err := add.RequestWith(h.s.ctx, h.s.cl)
	h.s.must(err, "AddOffsetsToTxn")
	if added.ErrorCode != 0 {
		return "AddOffsetsToTxn: " + code(added.ErrorCode)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = h.txid, h.pid, h.epoch, group, -1
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = offset
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(h.s.ctx, h.s.cl)
	h.s.must(err, "TxnOffsetCommit")
	return code(resp.Topics[0].Partitions[0].ErrorCode)
}

// committed is OffsetFetch for partition 0 of a topic: the offset, or the error.
func (s *session) committed(group, topic string, requireStable bool) string {
	s.Helper()
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.Partitions = topic, []int32{0}
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group, rg.Topics = group, []kmsg.OffsetFetchRequestGroupTopic{rt}
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable, req.Groups = requireStable, append(req.Groups, rg)
	resp, err := req.RequestWith(s.ctx, s.cl)
	s.must(err, "OffsetFetch")
	g := resp.Groups[0]
	if g.ErrorCode != 0 {
		return code(g.ErrorCode)
	}
	p := g.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return code(p.ErrorCode)
	}
	return fmt.Sprint(p.Offset)
}

// freshFacts are about a cluster that nobody has asked for a coordinator.
var freshFacts = []fact{
	{
		name: "a fresh cluster answers NOT_COORDINATOR to groups until it is asked for a coordinator",
		want: "no __consumer_offsets, NOT_COORDINATOR; after FindCoordinator UNKNOWN_MEMBER_ID",
		try: func(s *session) string {
			broker := s.cl.SeedBrokers()[0]
			heartbeat := func() string {
				req := kmsg.NewPtrHeartbeatRequest()
				req.Group, req.MemberID = name("g"), "nobody"
				resp, err := req.RequestWith(s.ctx, broker)
				s.must(err, "Heartbeat")
				return code(resp.ErrorCode)
			}
			had := "no __consumer_offsets"
			req := kmsg.NewPtrMetadataRequest()
			resp, err := req.RequestWith(s.ctx, broker)
			s.must(err, "Metadata")
			for _, t := range resp.Topics {
				if t.Topic != nil && *t.Topic == "__consumer_offsets" {
					had = "__consumer_offsets exists"
				}
			}
			before := heartbeat()
			s.eventually("a coordinator", func() bool {
				req := kmsg.NewPtrFindCoordinatorRequest()
				req.CoordinatorKeys = []string{name("g")}
				resp, err := req.RequestWith(s.ctx, broker)
				s.must(err, "FindCoordinator")
				return resp.Coordinators[0].ErrorCode == 0
			})
			var after string
			s.eventually("the coordinator to have loaded", func() bool {
				after = heartbeat()
				return after != "NOT_COORDINATOR" && after != "ok" // a coordinator that loads says ok to any heartbeat
			})
			return fmt.Sprintf("%s, %s; after FindCoordinator %s", had, before, after)
		},
	},
}

var groupFacts = []fact{
	{
		name: "OffsetCommit without a member is taken by an unknown or empty group and refused by a live one",
		want: "unknown ok, empty ok, live classic UNKNOWN_MEMBER_ID, live KIP-848 UNKNOWN_MEMBER_ID",
		try: func(s *session) string {
			t := s.topic(1, nil)
			g := name("g")
			unknown := s.commitAlone(g, t, 1)
			empty := s.commitAlone(g, t, 2)
			m := s.member(name("g"))
			m.join()
			return fmt.Sprintf("unknown %s, empty %s, live classic %s, live KIP-848 %s",
				unknown, empty, s.commitAlone(m.group, t, 3), s.commitAlone(s.consumerGroup(t), t, 3))
		},
	},
	{
		name: "TxnOffsetCommit without a member is taken by a live group and visible after the commit",
		want: "classic ok, -1, committed 41, still a member ok; KIP-848 ok, -1, committed 42",
		try: func(s *session) string {
			t := s.topic(1, nil)
			h := s.take(name("offsets"))
			m := s.member(name("g"))
			m.join()
			commit := func(group string, offset int64) string {
				sent := h.commitInTxn(group, t, offset)
				before := s.committed(group, t, false)
				h.commit()
				h.settle()
				return list(sent, before, "committed "+s.committed(group, t, true))
			}
			classic := list(commit(m.group, 41), "still a member "+m.heartbeat())
			return fmt.Sprintf("classic %s; KIP-848 %s", classic, commit(s.consumerGroup(t), 42))
		},
	},
	{
		name: "TxnOffsetCommit of an earlier holder is refused once the transactional id is taken again",
		want: "AddOffsetsToTxn: PRODUCER_FENCED",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("offsets"))
			s.take(a.txid)
			return a.commitInTxn(name("g"), t, 7)
		},
	},
	{
		name: "OffsetFetch that requires stable offsets does not answer while a transaction holds one",
		want: "open UNSTABLE_OFFSET_COMMIT, not required 8, committed 9",
		try: func(s *session) string {
			t := s.topic(1, nil)
			h := s.take(name("offsets"))
			g := name("g")
			s.commitAlone(g, t, 8)
			h.commitInTxn(g, t, 9)
			open := list(s.committed(g, t, true), "not required "+s.committed(g, t, false))
			h.commit()
			h.settle()
			return fmt.Sprintf("open %s, committed %s", open, s.committed(g, t, true))
		},
	},
	{
		name: "the first join of an empty group waits for the initial rebalance delay",
		want: "generation 1 after the delay",
		try: func(s *session) string {
			m := s.member(name("g"))
			began := time.Now()
			m.join()
			if took := time.Since(began); took < 2500*time.Millisecond { // group.initial.rebalance.delay.ms is 3 s
				return fmt.Sprintf("generation %d at once", m.generation)
			}
			return fmt.Sprintf("generation %d after the delay", m.generation)
		},
	},
	{
		name: "a placeholder member is a barrier: joins wait for it, and then for no delay",
		want: "held, placeholder told REBALANCE_IN_PROGRESS, generation 2 of 2 members at once",
		try: func(s *session) string {
			placeholder := s.member(name("g"))
			placeholder.join()
			joined := make(chan int, 1)
			other := s.member(placeholder.group)
			go func() {
				defer close(joined) // also if the join ends the test
				joined <- other.join()
			}()
			held := "held"
			select {
			case <-joined:
				return "joined without the placeholder"
			case <-time.After(700 * time.Millisecond):
			}
			told := placeholder.heartbeat()
			began := time.Now()
			members := placeholder.join()
			members += <-joined // one of them leads and is told all members
			speed := "at once"
			if took := time.Since(began); took > time.Second {
				speed = fmt.Sprintf("after %v", took)
			}
			return fmt.Sprintf("%s, placeholder told %s, generation %d of %d members %s", held, told, placeholder.generation, members, speed)
		},
	},
}
