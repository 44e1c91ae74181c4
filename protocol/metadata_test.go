package protocol

import (
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

func metadataView() *View {
	v := markView()
	v.Nodes = []Node{{0, "127.0.0.1", 9093}, {1, "127.0.0.1", 9094}, {2, "127.0.0.1", 9095}}
	v.Brokers = []int32{101, 205}
	return v
}

func metadataOf(topics ...kmsg.MetadataResponseTopic) *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 12
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 101, Host: "real"}}
	resp.Topics = topics
	return resp
}

func topicOf(name string, id TopicID, partitions ...kmsg.MetadataResponseTopicPartition) kmsg.MetadataResponseTopic {
	return kmsg.MetadataResponseTopic{Topic: &name, TopicID: id, Partitions: partitions}
}

func TestNodesAreConstantWhateverTheClusterAnswers(t *testing.T) {
	resp := metadataOf()
	if err := metadata.Response(metadataView(), kmsg.NewPtrMetadataRequest(), resp); err != nil {
		t.Fatal(err)
	}
	if len(resp.Brokers) != 3 || resp.Brokers[2].Port != 9095 || resp.ControllerID != 0 || *resp.ClusterID != "virtual-cluster" {
		t.Fatalf("%+v", resp)
	}
	v := metadataView()
	v.Nodes = nil
	if err := metadata.Response(v, kmsg.NewPtrMetadataRequest(), metadataOf()); err == nil {
		t.Fatal("an answer without nodes was given")
	}
}

func TestLeadersAndReplicasAreVirtualAndNeverEmpty(t *testing.T) {
	for _, c := range []struct{ leader, want int32 }{{101, 0}, {205, 1}, {999, 0}, {-1, -1}} {
		p := kmsg.MetadataResponseTopicPartition{Leader: c.leader, LeaderEpoch: 9, Replicas: []int32{999, 205}, ISR: []int32{999}, OfflineReplicas: []int32{101, 999}}
		resp := metadataOf(topicOf("orders", upstream.topics[0], p))
		if err := metadata.Response(metadataView(), kmsg.NewPtrMetadataRequest(), resp); err != nil {
			t.Fatal(err)
		}
		got := resp.Topics[0].Partitions[0]
		if got.Leader != c.want || got.LeaderEpoch != -1 || !reflect.DeepEqual(got.OfflineReplicas, []int32{0}) {
			t.Fatalf("leader %d: %+v", c.leader, got)
		}
		replicas, isr := map[int32][]int32{0: {1, 0}, 1: {1}, -1: {1}}[c.want], map[int32][]int32{0: {0}, 1: {1}, -1: {}}[c.want]
		if !reflect.DeepEqual(got.Replicas, replicas) || !reflect.DeepEqual(got.ISR, isr) {
			t.Fatalf("leader %d: replicas %v, in sync %v", c.leader, got.Replicas, got.ISR)
		}
	}
}

func TestTopicWithAnIDNotKnownYetIsAskedForAgain(t *testing.T) {
	resp := metadataOf(topicOf("new", upstream.topics[1], kmsg.MetadataResponseTopicPartition{}))
	if got := MetadataUnknown(metadataView(), resp); len(got) != 1 || got[0] != "new" {
		t.Fatalf("unknown: %v", got)
	}
	if err := metadata.Response(metadataView(), kmsg.NewPtrMetadataRequest(), resp); err != nil {
		t.Fatal(err)
	}
	if got := resp.Topics[0]; got.ErrorCode != codeLeaderNotAvailable || got.TopicID != (TopicID{}) || len(got.Partitions) != 0 {
		t.Fatalf("%+v", got)
	}
}

func TestIDsThatNobodyKnowsComeBackAsTheyWereAsked(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: downstream.topics[1]}, {TopicID: downstream.topics[0]}}
	sent := Clone(req).(*kmsg.MetadataRequest)
	if err := metadata.Request(metadataView(), sent); err != nil {
		t.Fatal(err)
	}
	if sent.Topics[1].TopicID != upstream.topics[0] {
		t.Fatalf("known id became %x", sent.Topics[1].TopicID)
	}
	resp := metadataOf(
		kmsg.MetadataResponseTopic{TopicID: sent.Topics[0].TopicID, ErrorCode: codeUnknownTopicID},
		topicOf("orders", sent.Topics[1].TopicID))
	if err := metadata.Response(metadataView(), req, resp); err != nil {
		t.Fatal(err)
	}
	if resp.Topics[0].TopicID != downstream.topics[1] || resp.Topics[0].ErrorCode != codeUnknownTopicID || resp.Topics[1].TopicID != downstream.topics[0] {
		t.Fatalf("%+v", resp.Topics)
	}
}

func TestTheMapTopicIsHidden(t *testing.T) {
	all := metadataOf(topicOf(logmap.Topic, TopicID{1}), topicOf("orders", upstream.topics[0]))
	if err := metadata.Response(metadataView(), kmsg.NewPtrMetadataRequest(), all); err != nil {
		t.Fatal(err)
	}
	if len(all.Topics) != 1 || *all.Topics[0].Topic != "orders" {
		t.Fatalf("%+v", all.Topics)
	}
}

func TestAPIVersionsIsWhatEveryClusterServes(t *testing.T) {
	east := map[int16]VersionRange{0: {0, 12}, 1: {4, 18}, 3: {0, 13}, 8: {2, 9}, 12: {5, 7}}
	west := map[int16]VersionRange{0: {0, 13}, 1: {6, 15}, 3: {0, 12}, 12: {0, 4}}
	resp := ApiVersionsResponse(4, east, west)
	got := VersionRanges(resp)
	want := map[int16]VersionRange{
		0: {0, 12}, 1: {6, 15}, 3: {0, 12},
		10: {0, 6}, 18: {0, 4}, 23: {0, 4}, 60: {0, 2}, // answered here
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
	if resp.Version != 4 || resp.ErrorCode != 0 || len(resp.FinalizedFeatures) != 0 || len(resp.SupportedFeatures) != 0 {
		t.Fatalf("%+v", resp)
	}
}

func TestAPIVersionsOfALaterVersionIsRefusedInVersionZero(t *testing.T) {
	for _, version := range []int16{5, 99, -1} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = version
		frame := AppendResponse(nil, 3, ApiVersionsResponse(version))
		_, answer, err := ParseResponse(frame[4:], req)
		if err != nil {
			t.Fatal(err)
		}
		got := answer.(*kmsg.ApiVersionsResponse)
		if got.ErrorCode != codeUnsupported || !reflect.DeepEqual(VersionRanges(got), map[int16]VersionRange{18: {0, 4}}) {
			t.Fatalf("version %d: %+v", version, got)
		}
	}
}

func TestCoordinatorIsStableAndGrowthMovesOnlyToTheNewNode(t *testing.T) {
	nodes := metadataView().Nodes
	used := make(map[int32]int)
	for i := range 300 {
		key := string(rune('a'+i%26)) + string(rune('a'+i/26))
		two, three := coordinatorNode(nodes[:2], key), coordinatorNode(nodes, key)
		if three != two && three != nodes[2] {
			t.Fatalf("key %q moved from %d to %d when node 2 came", key, two.ID, three.ID)
		}
		used[three.ID]++
	}
	for id, n := range used {
		if n < 60 || len(used) != 3 {
			t.Fatalf("node %d has %d of 300 keys", id, n)
		}
	}
	for version := int16(0); version <= 6; version++ {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.Version, req.CoordinatorKey, req.CoordinatorKeys = version, "g", []string{"g", "h"}
		_, answer, err := ParseResponse(AppendResponse(nil, 1, findCoordinator.Answer(metadataView(), req))[4:], req)
		if err != nil {
			t.Fatal(err)
		}
		want, got := coordinatorNode(nodes, "g"), answer.(*kmsg.FindCoordinatorResponse)
		if version < 4 && (got.NodeID != want.ID || got.Port != want.Port) || version >= 4 && (len(got.Coordinators) != 2 || got.Coordinators[0].Port != want.Port) {
			t.Fatalf("version %d: %+v", version, got)
		}
	}
}

func TestDescribeClusterNamesTheVirtualNodes(t *testing.T) {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 2, 1
	got := describeCluster.Answer(metadataView(), req).(*kmsg.DescribeClusterResponse)
	if got.ErrorCode != 0 || got.ClusterID != "virtual-cluster" || len(got.Brokers) != 3 || got.ControllerID != 0 {
		t.Fatalf("%+v", got)
	}
	req.EndpointType = 2
	if got := describeCluster.Answer(metadataView(), req).(*kmsg.DescribeClusterResponse); got.ErrorCode != codeMismatchedEndpoint || len(got.Brokers) != 0 {
		t.Fatalf("controllers: %+v", got)
	}
}

func TestEpochsEndAtTheEndOfTheLogWhateverIsAsked(t *testing.T) {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version = 4
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "orders", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{Partition: 1, LeaderEpoch: 42}, {Partition: 2, LeaderEpoch: 3}}}}
	got := EpochEnds(req, func(_ string, p int32) (logmap.Logical, int16) { return 1000, int16(p-1) * 5 }).Topics[0].Partitions
	if got[0].EndOffset != 1000 || got[0].LeaderEpoch != 42 || got[0].ErrorCode != 0 || got[1].ErrorCode != 5 || got[1].EndOffset != -1 {
		t.Fatalf("%+v", got)
	}
}

func TestIssuedProducerIDsNameTheirTenure(t *testing.T) {
	v := markView()
	req, resp := kmsg.NewPtrInitProducerIDRequest(), kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID = 12
	if err := initProducerID.Response(v, req, resp); err != nil || resp.ProducerID != 3<<rawBits|12 {
		t.Fatalf("%d, %v", resp.ProducerID, err)
	}
	if resp.ProducerID = -1; initProducerID.Response(v, req, resp) != nil || resp.ProducerID != -1 {
		t.Fatalf("an error's id became %d", resp.ProducerID)
	}
	if resp.ProducerID = 1 << 62; initProducerID.Response(v, req, resp) == nil {
		t.Fatal("an id that does not fit was passed on")
	}
	id := "tx"
	req.TransactionalID = &id
	if err, ok := initProducerID.Request(v, req).(*RefusedError); !ok || err.Code != codeTransactionalIDAuth {
		t.Fatalf("transactional id: %v", err)
	}
}

func TestAssignmentsNameRealBrokersOrAreRefused(t *testing.T) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "t", ReplicaAssignment: []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{1, 0}}}}}
	sent := Clone(req).(*kmsg.CreateTopicsRequest)
	if err := createTopics.Request(metadataView(), sent); err != nil || !reflect.DeepEqual(sent.Topics[0].ReplicaAssignment[0].Replicas, []int32{205, 101}) {
		t.Fatalf("%v, %+v", err, sent)
	}
	req.Topics[0].ReplicaAssignment[0].Replicas = []int32{2} // a node that stands for no broker
	if err, ok := createTopics.Request(metadataView(), req).(*RefusedError); !ok || err.Code != codeInvalidAssignment {
		t.Fatalf("%v", err)
	}
}
