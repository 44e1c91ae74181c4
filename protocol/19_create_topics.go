package protocol

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics (API 19) creates topics on the active cluster, which becomes
// their home.
//
// Versions: 0 to 7.
//
// Request
//   - replica assignments: virtual nodes become real brokers; a node that stands
//     for none is refused (INVALID_REPLICA_ASSIGNMENT).
//
// Response
//   - v7+ topic id: a topic of another name's id is mapped; a new one passes:
//     the cluster that creates a topic is its home, and a topic's id for clients
//     is its home's.
var createTopics = Row{
	Key: 19, Name: "CreateTopics", Min: 0, Max: 7, AdvertisedMin: 0,
	Destination: Controller, Write: true,
	Request: createTopicsToCluster, Response: createTopicsToClient, Fail: createTopicsFail,
}

func createTopicsToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.CreateTopicsRequest)
	for i := range req.Topics {
		t := &req.Topics[i]
		if ours(t.Topic) {
			return errOurs
		}
		for j := range t.ReplicaAssignment {
			if err := v.realBrokers(t.ReplicaAssignment[j].Replicas); err != nil {
				return err
			}
		}
	}
	return nil
}

// realBrokers replaces virtual node ids by real broker ids, in place.
func (v *View) realBrokers(nodes []int32) error {
	for i, id := range nodes {
		broker, ok := v.RealBroker(id)
		if !ok {
			return &RefusedError{Code: codeInvalidAssignment, Reason: fmt.Sprintf("node %d stands for no broker of the active cluster", id)}
		}
		nodes[i] = broker
	}
	return nil
}

func createTopicsToClient(v *View, _ kmsg.Request, a kmsg.Response) error {
	resp := a.(*kmsg.CreateTopicsResponse)
	for i := range resp.Topics {
		if _, client, ok := v.Topics.ByClusterID(resp.Topics[i].TopicID); ok {
			resp.Topics[i].TopicID = client
		}
	}
	return nil
}

func createTopicsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t := &resp.Topics[i]
		t.Default()
		t.Topic, t.ErrorCode, t.NumPartitions, t.ReplicationFactor = req.Topics[i].Topic, code, -1, -1
	}
	return resp
}
