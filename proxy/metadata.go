package proxy

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

// metadataPatience bounds the attempts to have Metadata answered by the cluster
// itself; after that the cache answers. A client without metadata is stuck, so
// this is short.
const metadataPatience = time.Second

// metadata answers Metadata: by the active cluster while it serves, else from
// the cache. It never answers an error for what is known.
func (s *session) metadata(sl *slot, req *kmsg.MetadataRequest) kmsg.Response {
	now, ok := s.awaitFirst(s.deadline(sl))
	if !ok || now.era == nil {
		return sl.row.Fail(req, codeLeaderNotAvailable)
	}
	until := time.Now().Add(metadataPatience)
	for attempt := 0; now.state == serving && time.Now().Before(until); attempt++ {
		resp, err := s.liveMetadata(now.era, sl, req, attempt)
		if err == nil {
			return resp
		}
		s.log.Debug("metadata not had from the cluster", "api", "Metadata", "cluster", now.era.cluster.name, "error", err)
		if !s.pause(now, retryAfter(attempt)) {
			break
		}
		now = s.p.gate.now.Load()
	}
	return s.cachedMetadata(now.era, sl, req)
}

func (s *session) liveMetadata(e *era, sl *slot, req *kmsg.MetadataRequest, attempt int) (kmsg.Response, error) {
	_, meta := s.p.view(e)
	broker := s.ownBroker(meta, attempt)
	addr := meta.addrs[broker]
	send := protocol.Clone(req)
	view, _ := s.p.view(e)
	if err := sl.row.Request(view, send); err != nil {
		return nil, err
	}
	c := &call{req: send, clientID: sl.head.ClientID}
	if _, err := s.ask(e, broker, addr, c, metadataPatience); err != nil {
		e.cluster.want()
		return nil, err
	}
	resp := c.resp.(*kmsg.MetadataResponse)
	if unknown := protocol.MetadataUnknown(view, resp); len(unknown) > 0 {
		// New topics: their ids must be right the first time.
		ctx, cancel := context.WithTimeout(s.ctx, metadataPatience)
		defer cancel()
		if _, err := e.cluster.freshFrom(ctx, c.since); err != nil {
			return nil, err
		}
		view, _ = s.p.view(e)
	}
	if err := sl.row.Response(view, req, resp); err != nil {
		return nil, err
	}
	return resp, s.lead(view, resp)
}

// lead gives every partition that exists a leader: which one hardly matters,
// since every node serves every partition, and a partition without one would be
// an error in the client.
func (s *session) lead(view *protocol.View, resp *kmsg.MetadataResponse) error {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.ErrorCode == codeLeaderNotAvailable && len(t.Partitions) == 0 {
			return errors.New("a topic is being created")
		}
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if p.Leader < 0 {
				p.Leader = view.Nodes[int(p.Partition)%len(view.Nodes)].ID
			}
			if p.ErrorCode == codeLeaderNotAvailable || p.ErrorCode == codeReplicaNotAvailable {
				p.ErrorCode = 0
			}
			if len(p.Replicas) == 0 {
				p.Replicas, p.ISR = []int32{p.Leader}, []int32{p.Leader}
			}
		}
	}
	return nil
}

// cachedMetadata answers from what was last seen of the cluster.
func (s *session) cachedMetadata(e *era, sl *slot, req *kmsg.MetadataRequest) kmsg.Response {
	view, meta := s.p.view(e)
	raw := req.ResponseKind().(*kmsg.MetadataResponse)
	raw.ControllerID = meta.controller
	add := func(name string, id protocol.TopicID, byID bool) {
		t := kmsg.NewMetadataResponseTopic()
		have := meta.topics[name]
		if have == nil {
			if t.ErrorCode = codeLeaderNotAvailable; byID {
				t.TopicID = id
			} else {
				t.Topic = kmsg.StringPtr(name)
			}
			raw.Topics = append(raw.Topics, t)
			return
		}
		t.Topic = kmsg.StringPtr(name)
		if req.Version >= 10 {
			t.TopicID = have.id
		}
		for i, leader := range have.leaders {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader = int32(i), leader
			if leader >= 0 {
				p.Replicas, p.ISR = []int32{leader}, []int32{leader}
			}
			t.Partitions = append(t.Partitions, p)
		}
		raw.Topics = append(raw.Topics, t)
	}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for name := range meta.topics {
			add(name, protocol.TopicID{}, false)
		}
	}
	send := protocol.Clone(req).(*kmsg.MetadataRequest)
	if err := sl.row.Request(view, send); err != nil {
		return sl.row.Fail(req, codeLeaderNotAvailable)
	}
	for i := range req.Topics {
		if t := &req.Topics[i]; t.Topic != nil {
			add(*t.Topic, protocol.TopicID{}, false)
		} else {
			name, _, _ := view.Topics.ByClientID(t.TopicID)
			add(name, send.Topics[i].TopicID, true)
		}
	}
	if err := sl.row.Response(view, req, raw); err != nil {
		return sl.row.Fail(req, codeLeaderNotAvailable)
	}
	// Topics that are not known stay LEADER_NOT_AVAILABLE: retried by clients.
	for i := range raw.Topics {
		if raw.Topics[i].ErrorCode == 0 {
			one := &kmsg.MetadataResponse{Topics: raw.Topics[i : i+1]}
			_ = s.lead(view, one) // cannot fail: the topic exists
		}
	}
	return raw
}
