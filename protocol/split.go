package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// partitionKey names a partition as a request or an answer does: by topic name
// or by topic id.
type partitionKey struct {
	topic     string
	id        TopicID
	partition int32
}

// byLeader groups the partitions of one topic by leader, in order; all come
// under -1 when the topic's name is not known.
func byLeader[P any](name string, partitions []P, number func(*P) int32, leader func(string, int32) int32) map[int32][]P {
	groups := make(map[int32][]P, 1)
	for i := range partitions {
		to := int32(-1)
		if name != "" {
			to = leader(name, number(&partitions[i]))
		}
		groups[to] = append(groups[to], partitions[i])
	}
	return groups
}

// partFor is the part that goes to leader to, made by empty when it is new.
func partFor[R kmsg.Request](parts map[int32]kmsg.Request, to int32, empty func() R) R {
	if have, ok := parts[to]; ok {
		return have.(R)
	}
	part := empty()
	parts[to] = part
	return part
}

// fill puts into want what have answers.
func fill[P any](topic string, id TopicID, want []P, number func(*P) int32, have map[partitionKey]*P) {
	for i := range want {
		if p := have[partitionKey{topic, id, number(&want[i])}]; p != nil {
			want[i] = *p
		}
	}
}

// note adds what one topic of a part answers to have.
func note[P any](topic string, id TopicID, got []P, number func(*P) int32, have map[partitionKey]*P) {
	for i := range got {
		have[partitionKey{topic, id, number(&got[i])}] = &got[i]
	}
}

// mergeTags keeps the tagged fields of all parts; of two with one number the
// later stays.
func mergeTags(dst, src *kmsg.Tags) {
	src.Each(func(tag uint32, value []byte) { dst.Set(tag, value) })
}
