package protocol

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Destination says which broker of the active cluster serves a request.
type Destination uint8

const (
	// Here: the sidecar answers; nothing is sent upstream. Answer is set, or
	// the API's file has a function that needs more than a View
	// (ApiVersionsResponse, EpochEnds).
	Here Destination = iota
	// AnyBroker: every broker can answer; the virtual node's own is preferred.
	AnyBroker
	// Leaders: the leaders of the partitions named; Split and Merge are set.
	Leaders
	// GroupCoordinator: the coordinator of the group that Group names.
	GroupCoordinator
	// Controller: the active controller.
	Controller
)

// Row is one API of the table: everything that the proxy must know to serve it.
// An API without a row is not advertised, and a version outside Min..Max closes
// the session as an unmodified broker would.
type Row struct {
	Key      int16
	Name     string
	Min, Max int16
	// AdvertisedMin is Min except where a client's feature detection needs a
	// lower number (Produce: 0).
	AdvertisedMin int16
	Destination   Destination
	// Write says that serving the request changes the cluster's data, so that it
	// is held while writes are fenced.
	Write bool
	// Request turns a client's request into the active cluster's, in place. It
	// must not edit bytes that the request shares with the client's frame: a
	// request is kept and translated again when it is replayed. Because it
	// edits the request's fields, keep a Clone (or the parts of another Split).
	// A *RefusedError says that the request must not be sent: answer it with
	// Fail(req, err.Code). nil: there is nothing to translate.
	Request func(v *View, req kmsg.Request) error
	// Response turns the active cluster's answer into the client's, in place.
	// req is the client's request, untranslated, and v the View under which it
	// was translated. It may edit the answer's bytes. nil: there is nothing to
	// translate.
	Response func(v *View, req kmsg.Request, resp kmsg.Response) error
	// Split divides a client's request by the leader of each partition (Leaders
	// only). leader gives -1 for "not known"; those partitions come under -1, as
	// do those whose topic id is not known. The parts share record bytes with
	// req and nothing else. leader may give any other number to set partitions
	// apart (batches that are answered here): a number is a part.
	Split func(v *View, req kmsg.Request, leader func(topic string, partition int32) int32) map[int32]kmsg.Request
	// PerGroup divides a request that names several groups into one request per
	// group, in order; nil for an API that names one (GroupCoordinator only).
	PerGroup func(req kmsg.Request) []kmsg.Request
	// Merge joins answers (client form) into one that answers every partition
	// (or group) of req in req's order; what no part answers gets missing.
	Merge func(v *View, req kmsg.Request, parts []kmsg.Response, missing int16) kmsg.Response
	// Fail is an answer that gives code for everything that req names. Code 0 is
	// of use for Fetch (nothing new) and Heartbeat (all is well) only: elsewhere
	// it would claim what nobody did.
	Fail func(req kmsg.Request, code int16) kmsg.Response
	// Group is the group that a request is about (GroupCoordinator only).
	Group func(req kmsg.Request) string
	// Answer is the whole answer of an API that is served here from the View
	// alone.
	Answer func(v *View, req kmsg.Request) kmsg.Response
}

// RefusedError says that a request must not be sent to any cluster. Code is the
// Kafka error for the client.
type RefusedError struct {
	Code   int16
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s (Kafka error code %d)", e.Reason, e.Code)
}

// rows in key order. Adding one needs rules for its fields in rules_test.go.
var rows = []*Row{
	&produce, &fetch, &listOffsets, &metadata, &offsetCommit, &offsetFetch, &findCoordinator,
	&joinGroup, &heartbeat, &leaveGroup, &syncGroup, &describeGroups, &listGroups, &apiVersions,
	&createTopics, &deleteTopics, &deleteRecords, &initProducerID, &offsetForLeaderEpoch,
	&describeConfigs, &createPartitions, &deleteGroups, &describeCluster,
}

var rowByKey = func() map[int16]*Row {
	m := make(map[int16]*Row, len(rows))
	for _, r := range rows {
		m[r.Key] = r
	}
	return m
}()

// Table is every row in key order. The caller must not change it.
func Table() []*Row { return rows }

// Lookup is the row of an API, and whether there is one.
func Lookup(key int16) (*Row, bool) { r, ok := rowByKey[key]; return r, ok }

// Kafka error codes that this package gives
// (org.apache.kafka.common.protocol.Errors).
const (
	codeUnknownServerError     int16 = -1
	codeInvalidRequest         int16 = 42
	codeLeaderNotAvailable     int16 = 5
	codeTopicAuthorization     int16 = 29
	codeInvalidAssignment      int16 = 39
	codeUnsupportedFormat      int16 = 43 // UNSUPPORTED_FOR_MESSAGE_FORMAT
	codeTransactionalIDAuth    int16 = 53 // TRANSACTIONAL_ID_AUTHORIZATION_FAILED
	codeUnknownProducerID      int16 = 59
	codeFetchSessionIDNotFound int16 = 70
	codeUnknownTopicID         int16 = 100
)
