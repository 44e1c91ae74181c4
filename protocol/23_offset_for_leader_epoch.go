package protocol

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// OffsetForLeaderEpoch (API 23) lets a client ask where an epoch ended, to find
// out whether its position was truncated away (KIP-320).
//
// Versions: 0 to 4.
//
// It is answered here, whatever epoch is asked for: that epoch, and the logical
// end of the log. The virtual cluster has no epochs and never truncates what a
// client was shown. A client that was told -1 everywhere does not even ask; one
// that restarts with epochs from elsewhere must not conclude that it lost data.
var offsetForLeaderEpoch = Row{
	Key: 23, Name: "OffsetForLeaderEpoch", Min: 0, Max: 4, AdvertisedMin: 0,
	Destination: Here,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		return EpochEnds(r.(*kmsg.OffsetForLeaderEpochRequest), func(string, int32) (logmap.Logical, int16) { return -1, code })
	},
}

// EpochEnds answers req with the logical ends that end gives, or its error.
func EpochEnds(req *kmsg.OffsetForLeaderEpochRequest, end func(topic string, partition int32) (logmap.Logical, int16)) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	resp.Topics = make([]kmsg.OffsetForLeaderEpochResponseTopic, len(req.Topics))
	for i := range req.Topics {
		from, t := &req.Topics[i], &resp.Topics[i]
		t.Topic = from.Topic
		t.Partitions = make([]kmsg.OffsetForLeaderEpochResponseTopicPartition, len(from.Partitions))
		for j := range from.Partitions {
			p := &t.Partitions[j]
			p.Default()
			p.Partition, p.EndOffset = from.Partitions[j].Partition, -1
			l, code := end(from.Topic, p.Partition)
			if p.ErrorCode = code; code == 0 {
				p.LeaderEpoch, p.EndOffset = from.Partitions[j].LeaderEpoch, int64(l)
			}
		}
	}
	return resp
}
