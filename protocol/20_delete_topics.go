package protocol

import "github.com/twmb/franz-go/pkg/kmsg"

// DeleteTopics (API 20) deletes topics by name or, from version 6 on, by id.
//
// Versions: 0 to 6.
//
// Request and response
//   - v6+ topic ids: as everywhere.
var deleteTopics = Row{
	Key: 20, Name: "DeleteTopics", Min: 0, Max: 6, AdvertisedMin: 0,
	Destination: Controller, Write: true,
	Request: deleteTopicsToCluster, Response: deleteTopicsToClient, Fail: deleteTopicsFail,
}

func deleteTopicsToCluster(v *View, r kmsg.Request) error {
	req := r.(*kmsg.DeleteTopicsRequest)
	for _, name := range req.TopicNames {
		if ours(name) {
			return errOurs
		}
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		var name string
		if t.TopicID, name = v.upstreamID(t.TopicID); ours(name) || t.Topic != nil && ours(*t.Topic) {
			return errOurs
		}
	}
	return nil
}

func deleteTopicsToClient(v *View, r kmsg.Request, a kmsg.Response) error {
	req, resp := r.(*kmsg.DeleteTopicsRequest), a.(*kmsg.DeleteTopicsResponse)
	asked := askedFor(req.Topics, func(t *kmsg.DeleteTopicsRequestTopic) TopicID { return t.TopicID })
	for i := range resp.Topics {
		// An id that is not known belongs to a topic that was named by name: it
		// is left out, as before version 6.
		resp.Topics[i].TopicID, _, _ = v.downstreamID(resp.Topics[i].TopicID, asked)
	}
	return nil
}

func deleteTopicsFail(r kmsg.Request, code int16) kmsg.Response {
	req := r.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	add := func(name *string, id TopicID) {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID, t.ErrorCode = name, id, code
		resp.Topics = append(resp.Topics, t)
	}
	for i := range req.Topics {
		add(req.Topics[i].Topic, req.Topics[i].TopicID)
	}
	for i := range req.TopicNames {
		add(&req.TopicNames[i], TopicID{})
	}
	return resp
}
