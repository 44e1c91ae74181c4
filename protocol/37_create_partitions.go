package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// CreatePartitions (API 37) adds partitions to topics of the active cluster; the
// mirror follows.
//
// Versions: 0 to 3.
//
// Request
//   - assignments: virtual nodes become real brokers.
var createPartitions = Row{
	Key: 37, Name: "CreatePartitions", Min: 0, Max: 3, AdvertisedMin: 0,
	Destination: Controller, Write: true,
	Request: createPartitionsToCluster, Fail: createPartitionsFail,
}

func createPartitionsToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.CreatePartitionsRequest)
	for i := range req.Topics {
		t := &req.Topics[i]
		if ours(t.Topic) {
			return errOurs
		}
		for j := range t.Assignment {
			if err := v.realBrokers(t.Assignment[j].Replicas); err != nil {
				return err
			}
		}
	}
	return nil
}

func createPartitionsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	resp.Topics = make([]kmsg.CreatePartitionsResponseTopic, len(req.Topics))
	for i := range req.Topics {
		resp.Topics[i].Topic, resp.Topics[i].ErrorCode = req.Topics[i].Topic, code
	}
	return resp
}
