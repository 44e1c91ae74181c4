package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeCluster (API 60) tells admin clients the nodes and the cluster id.
//
// Versions: 0 to 2.
//
// It is answered here, from the virtual nodes. Controller endpoints (v1+, type
// 2) are not served: a client must not learn the real ones
// (MISMATCHED_ENDPOINT_TYPE). Authorized operations are "not given".
var describeCluster = Row{
	Key: 60, Name: "DescribeCluster", Min: 0, Max: 2, AdvertisedMin: 0,
	Destination: Here,
	Answer:      describeClusterAnswer, Fail: describeClusterFail,
}

const (
	endpointBrokers        int8  = 1
	codeMismatchedEndpoint int16 = 114
)

func describeClusterAnswer(v *View, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DescribeClusterRequest)
	if req.Version >= 1 && req.EndpointType != endpointBrokers {
		return describeClusterFail(r, codeMismatchedEndpoint)
	}
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ClusterID, resp.ControllerID = v.ClusterID, -1
	for i, n := range v.Nodes {
		if i == 0 {
			resp.ControllerID = n.ID
		}
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port = n.ID, n.Host, n.Port
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func describeClusterFail(r kmsg.Request, code int16) kmsg.Response {
	resp := r.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ErrorCode, resp.ControllerID = code, -1
	return resp
}
