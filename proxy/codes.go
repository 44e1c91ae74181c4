package proxy

import (
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka error codes that this package acts on
// (org.apache.kafka.common.protocol.Errors).
const (
	codeUnknownServerError           int16 = -1
	codeUnknownTopicOrPartition      int16 = 3
	codeLeaderNotAvailable           int16 = 5
	codeNotLeader                    int16 = 6
	codeRequestTimedOut              int16 = 7
	codeBrokerNotAvailable           int16 = 8
	codeReplicaNotAvailable          int16 = 9
	codeNetworkException             int16 = 13
	codeCoordinatorLoading           int16 = 14
	codeCoordinatorNotAvailable      int16 = 15
	codeNotCoordinator               int16 = 16
	codeNotEnoughReplicas            int16 = 19
	codeNotEnoughReplicasAfterAppend int16 = 20
	codeIllegalGeneration            int16 = 22
	codeUnknownMemberID              int16 = 25
	codeRebalanceInProgress          int16 = 27
	codeNotController                int16 = 41
	codeOutOfOrderSequence           int16 = 45
	codeStorageError                 int16 = 56
	codeFencedLeaderEpoch            int16 = 74
	codeUnknownLeaderEpoch           int16 = 75
	codeOffsetNotAvailable           int16 = 78
	codeMemberIDRequired             int16 = 79
	codeUnknownTopicID               int16 = 100
	codeInconsistentTopicID          int16 = 103
)

// passing says that a code speaks of a leader, a broker or a coordinator that is
// not there now: a client never sees it, the request is sent again.
func passing(code int16) bool {
	switch code {
	case codeLeaderNotAvailable, codeNotLeader, codeBrokerNotAvailable, codeReplicaNotAvailable, codeNetworkException,
		codeCoordinatorLoading, codeCoordinatorNotAvailable, codeNotCoordinator, codeNotController, codeStorageError,
		codeFencedLeaderEpoch, codeUnknownLeaderEpoch, codeOffsetNotAvailable, codeUnknownTopicID, codeInconsistentTopicID:
		return true
	}
	return false
}

// heldCode is what a request is answered with when it was held too long: the
// error of its API that most clients retry without telling anybody.
func heldCode(key int16) int16 {
	switch key {
	case int16(kmsg.ListOffsets), int16(kmsg.OffsetForLeaderEpoch):
		return codeNotLeader
	case int16(kmsg.OffsetCommit), int16(kmsg.OffsetFetch):
		return codeCoordinatorLoading
	case int16(kmsg.JoinGroup), int16(kmsg.SyncGroup), int16(kmsg.LeaveGroup), int16(kmsg.Heartbeat),
		int16(kmsg.InitProducerID), int16(kmsg.DescribeGroups), int16(kmsg.DeleteGroups):
		return codeCoordinatorNotAvailable
	}
	return codeRequestTimedOut
}

// anyCode calls do for every error code in an answer until it returns true, and
// returns whether it did. It reads the answer by reflection: not for Produce and
// Fetch.
func anyCode(resp kmsg.Response, do func(code int16) bool) bool {
	return anyCodeIn(reflect.ValueOf(resp).Elem(), do)
}

func anyCodeIn(v reflect.Value, do func(int16) bool) bool {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16 {
				if do(int16(v.Field(i).Int())) {
					return true
				}
				continue
			}
			if anyCodeIn(v.Field(i), do) {
				return true
			}
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k != reflect.Struct {
			return false
		}
		for i := range v.Len() {
			if anyCodeIn(v.Index(i), do) {
				return true
			}
		}
	}
	return false
}

// eachTopicID calls do for every topic id that a request names.
func eachTopicID(req kmsg.Request, do func(id [16]byte)) {
	eachTopicIDIn(reflect.ValueOf(req).Elem(), do)
}

func eachTopicIDIn(v reflect.Value, do func([16]byte)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if id, ok := v.Field(i).Interface().([16]byte); !ok {
				eachTopicIDIn(v.Field(i), do)
			} else if f.Name == "TopicID" && id != ([16]byte{}) {
				do(id)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				eachTopicIDIn(v.Index(i), do)
			}
		}
	}
}
