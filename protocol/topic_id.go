package protocol

import "github.com/catamaran-io/catamaran/protocol/logmap"

// veil is added to a client's topic id that the View does not know. Nobody ever
// issued the result, so a broker answers UNKNOWN_TOPIC_ID for exactly that
// topic; and it can be undone in the answer, which must echo the client's id (a
// Java client that is answered with another waits for ever). Passing the id as
// it is would be wrong: it might be that of another topic on this cluster.
var veil = TopicID{0xca, 0x7a, 0x3a, 0x6a, 0x9e, 0x11, 0x4d, 0x0c, 0xb2, 0x5f, 0x77, 0x01, 0xe8, 0x34, 0x90, 0x5d}

func veiled(id TopicID) TopicID {
	for i := range id {
		id[i] ^= veil[i]
	}
	return id
}

// upstreamID is the active cluster's id of the topic that a client calls id.
// name is "" when the topic is not known.
func (v *View) upstreamID(id TopicID) (cluster TopicID, name string) {
	if id == (TopicID{}) {
		return id, ""
	}
	if name, cluster, ok := v.Topics.ByClientID(id); ok {
		return cluster, name
	}
	return veiled(id), ""
}

// downstreamID undoes upstreamID. ok is false for an id that is neither known
// nor asked for by the client (asked says which those are): it must not be
// shown, for a client that once learns an id for a topic keeps it for good.
func (v *View) downstreamID(id TopicID, asked func(TopicID) bool) (client TopicID, name string, ok bool) {
	if id == (TopicID{}) {
		return id, "", true
	}
	if name, client, ok := v.Topics.ByClusterID(id); ok {
		return client, name, true
	}
	if u := veiled(id); asked(u) {
		return u, "", true
	}
	return TopicID{}, "", false
}

// askedFor says which topic ids a request names.
func askedFor[T any](topics []T, id func(*T) TopicID) func(TopicID) bool {
	return func(want TopicID) bool {
		for i := range topics {
			if id(&topics[i]) == want {
				return true
			}
		}
		return false
	}
}

// topicName is the name of a topic that a client names by name or, in later
// versions of an API, by id; "" when the id is not known.
func (v *View) topicName(name string, id TopicID) string {
	if name != "" || id == (TopicID{}) {
		return name
	}
	if name, _, ok := v.Topics.ByClientID(id); ok {
		return name
	}
	return ""
}

// ours says that a topic is part of this product and not of the virtual
// cluster: a client that wrote to it would destroy the log map.
func ours(topic string) bool { return topic == logmap.Topic }

var errOurs = &RefusedError{Code: codeTopicAuthorization, Reason: "the topic " + logmap.Topic + " holds the log map and is not for clients"}

// position and ceiling are the map's translations of a bare offset; sentinels
// (below 0) pass.
func (v *View) position(topic string, partition int32, offset int64) int64 {
	if offset < 0 {
		return offset
	}
	return int64(v.Map(topic, partition).Position(logmap.Cluster(offset)))
}

func (v *View) ceiling(topic string, partition int32, offset int64) int64 {
	if offset < 0 {
		return offset
	}
	return int64(v.Map(topic, partition).Cluster(logmap.Logical(offset)))
}
