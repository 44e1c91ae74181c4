package protocol

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata (API 3) tells clients the nodes, the topics and who leads what.
//
// Versions: 0 to 13.
//
// Request
//   - v12+ topic ids (the version from which they may stand without a name): the
//     client's become the active cluster's.
//
// Response
//   - brokers: all virtual nodes, always, without v1+ racks.
//   - v1+ controller: the first virtual node; v2+ cluster id: the virtual one.
//   - leader, replicas, in-sync and v5+ offline replicas: virtual nodes. Every
//     virtual node serves every partition, so an unknown leader is the first.
//   - v7+ leader epoch: -1, from the first byte (franz-go refuses a fall from 0
//     to -1 for ever, Java and librdkafka refuse any fall).
//   - v10+ topic ids: back to the client's. A topic whose id is not known yet
//     (it is new, and the View older) answers LEADER_NOT_AVAILABLE, which every
//     client retries: an id that is shown once cannot be taken back. Better is to
//     look first (MetadataUnknown) and to make a new View.
//   - the topic of the log map does not exist for clients.
var metadata = Row{
	Key: 3, Name: "Metadata", Min: 0, Max: 13, AdvertisedMin: 0,
	Destination: AnyBroker,
	Request:     metadataToCluster, Response: metadataToClient, Fail: metadataFail,
}

// MetadataUnknown are the topics of the active cluster's answer whose ids v does
// not know.
func MetadataUnknown(v *View, resp *kmsg.MetadataResponse) (names []string) {
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil || t.TopicID == (TopicID{}) || ours(*t.Topic) {
			continue
		}
		if _, _, ok := v.Topics.ByClusterID(t.TopicID); !ok {
			names = append(names, *t.Topic)
		}
	}
	return names
}

func metadataToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.MetadataRequest)
	for i := range req.Topics {
		if t := &req.Topics[i]; t.Topic == nil {
			t.TopicID, _ = v.upstreamID(t.TopicID)
		} else {
			t.TopicID = TopicID{}
		}
	}
	return nil
}

func metadataToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.MetadataRequest), a.(*kmsg.MetadataResponse)
	if len(v.Nodes) == 0 {
		return errors.New("no virtual node is known yet, and a client that is told of none keeps nothing")
	}
	resp.Brokers = make([]kmsg.MetadataResponseBroker, len(v.Nodes))
	for i, n := range v.Nodes {
		b := &resp.Brokers[i]
		b.Default()
		b.NodeID, b.Host, b.Port = n.ID, n.Host, n.Port
	}
	resp.ClusterID, resp.ControllerID = &v.ClusterID, v.Nodes[0].ID
	asked := askedFor(req.Topics, func(t *kmsg.MetadataRequestTopic) TopicID { return t.TopicID })
	kept := resp.Topics[:0]
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic != nil && ours(*t.Topic) {
			if len(req.Topics) == 0 {
				continue
			}
			t.ErrorCode, t.TopicID, t.Partitions = codeTopicAuthorization, TopicID{}, nil
		}
		metadataTopic(v, t, asked)
		kept = append(kept, *t)
	}
	resp.Topics = kept
	return nil
}

func metadataTopic(v *View, t *kmsg.MetadataResponseTopic, asked func(TopicID) bool) {
	id, name, ok := v.downstreamID(t.TopicID, asked)
	if !ok {
		t.TopicID, t.ErrorCode, t.Partitions = TopicID{}, codeLeaderNotAvailable, nil
		return
	}
	if t.TopicID = id; t.Topic == nil && name != "" && t.ErrorCode == 0 {
		t.Topic = &name
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		p.LeaderEpoch = -1
		p.Leader = v.virtualLeader(p.Leader)
		p.Replicas = v.virtualNodes(p.Replicas, p.Leader)
		p.ISR = v.virtualNodes(p.ISR, p.Leader)
		p.OfflineReplicas = v.virtualNodes(p.OfflineReplicas, -1)
	}
}

// virtualLeader is the node that a client is told leads: the first when the
// real leader stands behind none.
func (v *View) virtualLeader(broker int32) int32 {
	if broker < 0 {
		return -1
	}
	if n, ok := v.VirtualNode(broker); ok {
		return n
	}
	return v.Nodes[0].ID
}

// virtualNodes maps real broker ids and leaves out unknown ones, but never the
// leader (when there is one, at least 0).
func (v *View) virtualNodes(brokers []int32, leader int32) []int32 {
	nodes, led := make([]int32, 0, len(brokers)), leader < 0
	for _, b := range brokers {
		if n, ok := v.VirtualNode(b); ok {
			nodes, led = append(nodes, n), led || n == leader
		}
	}
	if !led {
		nodes = append(nodes, leader)
	}
	return nodes
}

func metadataFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	if req.Version >= 13 {
		resp.ErrorCode = code
	}
	resp.ControllerID = -1
	resp.Topics = make([]kmsg.MetadataResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t := &resp.Topics[i]
		t.Default()
		t.ErrorCode, t.Topic, t.TopicID = code, req.Topics[i].Topic, req.Topics[i].TopicID
		if t.Topic == nil && req.Version < 12 {
			t.Topic = new(string)
		}
	}
	return resp
}
