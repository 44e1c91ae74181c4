package protocol

import "github.com/catamaran-io/catamaran/protocol/logmap"

// View is the translation between what clients see and what the active cluster
// stores, under one route. It is a value that nobody changes after it is made,
// so any number of goroutines may translate with it; a change (route, metadata,
// log map) makes a new View.
type View struct {
	// ClusterID is the constant id of the virtual cluster.
	ClusterID string
	// Tenure is the current stay of the active role.
	Tenure Tenure
	// Nodes are the virtual nodes; index i stands for Brokers[i]. The slice may
	// grow over a process' life, never shrink.
	Nodes []Node
	// Brokers are the real ids of the active cluster's brokers in the order in
	// which they were first seen (ascending among those of one answer), so that
	// a broker that joins or dies moves no other: Brokers[i] is what Nodes[i]
	// stands for. It may be shorter than Nodes (a smaller cluster) and is never
	// sent to a client.
	Brokers []int32
	// Topics translates topic ids.
	Topics Topics
	// Map is the log map of one partition on the active cluster, never nil.
	Map func(topic string, partition int32) *logmap.Map
}

// Node is a virtual node: what a client is told of a broker.
type Node struct {
	ID   int32
	Host string
	Port int32
}

// TopicID is Kafka's topic id (a UUID); the zero value is "no id".
type TopicID = [16]byte

// Topics knows the two ids of each topic: the one that clients hold (the home
// cluster's) and the one that the active cluster uses.
type Topics interface {
	// ByClientID finds a topic by the id that clients hold.
	ByClientID(TopicID) (name string, cluster TopicID, ok bool)
	// ByClusterID finds a topic by the active cluster's id.
	ByClusterID(TopicID) (name string, client TopicID, ok bool)
	// ByName finds a topic's ids by its name.
	ByName(name string) (client, cluster TopicID, ok bool)
}

// VirtualNode is the virtual node that stands for a real broker id, and whether
// there is one. An unknown broker (it joined after the View was made) maps to
// node 0 by the callers that must name some node: every virtual node serves
// every partition.
func (v *View) VirtualNode(broker int32) (int32, bool) {
	for i, b := range v.Brokers {
		if b == broker && i < len(v.Nodes) {
			return v.Nodes[i].ID, true
		}
	}
	return -1, false
}

// RealBroker is the real broker that a virtual node stands for, and whether
// there is one (a smaller cluster may be active).
func (v *View) RealBroker(node int32) (int32, bool) {
	for i, n := range v.Nodes {
		if n.ID == node && i < len(v.Brokers) {
			return v.Brokers[i], true
		}
	}
	return -1, false
}
