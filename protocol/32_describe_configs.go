package protocol

import (
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs (API 32) lists the configuration of topics, brokers and others.
//
// Versions: 0 to 4.
//
// Request
//   - resource names of brokers and broker loggers are node ids: virtual ones
//     become real. A broker describes itself only, so the request must reach the
//     broker that the virtual node stands for, where clients send it.
//
// Response
//   - the same names: back to virtual. Values pass: a broker's own addresses
//     (listeners) are what somebody who describes a broker asks for.
var describeConfigs = Row{
	Key: 32, Name: "DescribeConfigs", Min: 0, Max: 4, AdvertisedMin: 0,
	Destination: AnyBroker,
	Request:     describeConfigsToCluster, Response: describeConfigsToClient, Fail: describeConfigsFail,
}

func namesBroker(t kmsg.ConfigResourceType, name string) bool {
	return name != "" && (t == kmsg.ConfigResourceTypeBroker || t == kmsg.ConfigResourceTypeBrokerLogger)
}

func describeConfigsToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.DescribeConfigsRequest)
	for i := range req.Resources {
		res := &req.Resources[i]
		if !namesBroker(res.ResourceType, res.ResourceName) {
			continue
		}
		id, err := strconv.ParseInt(res.ResourceName, 10, 32)
		if err != nil {
			continue // the broker says what is wrong with it
		}
		broker, ok := v.RealBroker(int32(id))
		if !ok {
			return &RefusedError{Code: codeInvalidRequest, Reason: fmt.Sprintf("node %d stands for no broker of the active cluster", id)}
		}
		res.ResourceName = strconv.Itoa(int(broker))
	}
	return nil
}

func describeConfigsToClient(v *View, _ kmsg.Request, a kmsg.Response) error {
	resp := a.(*kmsg.DescribeConfigsResponse)
	for i := range resp.Resources {
		res := &resp.Resources[i]
		if !namesBroker(res.ResourceType, res.ResourceName) {
			continue
		}
		if id, err := strconv.ParseInt(res.ResourceName, 10, 32); err == nil {
			node, _ := v.VirtualNode(int32(id))
			res.ResourceName = strconv.Itoa(int(node))
		}
	}
	return nil
}

func describeConfigsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	resp.Resources = make([]kmsg.DescribeConfigsResponseResource, len(req.Resources))
	for i := range req.Resources {
		res := &resp.Resources[i]
		res.Default()
		res.ErrorCode, res.ResourceType, res.ResourceName = code, req.Resources[i].ResourceType, req.Resources[i].ResourceName
	}
	return resp
}
