package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// InitProducerId (API 22) gives a producer its id.
//
// Versions: 0 to 5.
//
// Request
//   - v3+ producer id and epoch: -1. A broker uses them only for a transactional
//     id, and a client's form means nothing to it.
//   - a transactional id is refused (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which
//     is fatal in every client and says why).
//
// Response
//   - producer id: the raw id becomes the client's form, which carries the
//     tenure that issued it. v must be of the tenure in which the request was sent.
var initProducerID = Row{
	Key: 22, Name: "InitProducerId", Min: 0, Max: 5, AdvertisedMin: 0,
	Destination: AnyBroker,
	Request:     initProducerIDToCluster, Response: initProducerIDToClient,
	Fail: func(r kmsg.Request, code int16) kmsg.Response {
		resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code, -1, -1
		return resp
	},
}

func initProducerIDToCluster(_ *View, r kmsg.Request) error {
	req := r.(*kmsg.InitProducerIDRequest)
	if req.TransactionalID != nil {
		return &RefusedError{Code: codeTransactionalIDAuth, Reason: "transactions are not supported through the sidecar"}
	}
	req.ProducerID, req.ProducerEpoch = -1, -1
	return nil
}

func initProducerIDToClient(v *View, _ kmsg.Request, a kmsg.Response) error {
	resp := a.(*kmsg.InitProducerIDResponse)
	id, err := IssuedProducerID(resp.ProducerID, v.Tenure)
	resp.ProducerID = int64(id)
	return err
}
