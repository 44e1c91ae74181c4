package protocol

// A rule says what happens to a field that may carry an identity. The mark test
// fills each field by its rule and looks for what must not remain.
type rule string

const (
	topicID      rule = "topic id"
	newTopicID   rule = "topic id of a new topic: its home's, which is what clients know"
	logical      rule = "logical offset"
	noEpoch      rule = "leader epoch -1"
	stripped     rule = "stripped"
	virtualNode  rule = "virtual node"
	virtualID    rule = "virtual cluster id"
	nodeName     rule = "node id as a name"
	clientID     rule = "producer id"
	batches      rule = "record batches"
	refused      rule = "refused"
	answeredHere rule = "answered here: made from the View, or not looked at"
)

// exempt is a field that may look like an identity and passes, with the reason.
func exempt(reason string) rule { return rule("exempt: " + reason) }

var (
	aDuration  = exempt("a duration or time, not an offset")
	aCount     = exempt("a count")
	aSelector  = exempt("selects a kind; holds no identity")
	membership = exempt("the group's own epoch, which its coordinator counts")
	opaque     = exempt("assignors' bytes: names, partitions and logical offsets")
)

var rules = map[string]rule{
	"ProduceRequest.TransactionID":                                  refused,
	"ProduceRequest.Topics.TopicID":                                 topicID,
	"ProduceRequest.Topics.Partitions.Records":                      batches,
	"ProduceResponse.Topics.TopicID":                                topicID,
	"ProduceResponse.Topics.Partitions.BaseOffset":                  logical,
	"ProduceResponse.Topics.Partitions.LogStartOffset":              logical,
	"ProduceResponse.Topics.Partitions.LogAppendTime":               aDuration,
	"ProduceResponse.Topics.Partitions.CurrentLeader":               stripped,
	"ProduceResponse.Topics.Partitions.CurrentLeader.LeaderID":      stripped,
	"ProduceResponse.Topics.Partitions.CurrentLeader.LeaderEpoch":   stripped,
	"ProduceResponse.Topics.Partitions.ErrorRecords":                exempt("names records of the request"),
	"ProduceResponse.Topics.Partitions.ErrorRecords.RelativeOffset": exempt("an index into the request's batch"),
	"ProduceResponse.Brokers":                                       stripped,
	"ProduceResponse.Brokers.NodeID":                                stripped,
	"ProduceResponse.Brokers.Host":                                  stripped,
	"ProduceResponse.Brokers.Port":                                  stripped,
	"ProduceResponse.Brokers.Rack":                                  stripped,

	"FetchRequest.ClusterID":                                          stripped,
	"FetchRequest.ReplicaID":                                          stripped,
	"FetchRequest.ReplicaState":                                       stripped,
	"FetchRequest.ReplicaState.ID":                                    stripped,
	"FetchRequest.ReplicaState.Epoch":                                 stripped,
	"FetchRequest.SessionID":                                          refused,
	"FetchRequest.SessionEpoch":                                       stripped,
	"FetchRequest.Topics.TopicID":                                     topicID,
	"FetchRequest.Topics.Partitions.CurrentLeaderEpoch":               noEpoch,
	"FetchRequest.Topics.Partitions.LastFetchedEpoch":                 noEpoch,
	"FetchRequest.Topics.Partitions.FetchOffset":                      logical,
	"FetchRequest.Topics.Partitions.LogStartOffset":                   stripped,
	"FetchRequest.Topics.Partitions.HighWatermark":                    stripped,
	"FetchRequest.Topics.Partitions.ReplicaDirectoryID":               stripped,
	"FetchRequest.ForgottenTopics":                                    stripped,
	"FetchRequest.ForgottenTopics.TopicID":                            stripped,
	"FetchRequest.Rack":                                               stripped,
	"FetchResponse.SessionID":                                         stripped,
	"FetchResponse.Topics.TopicID":                                    topicID,
	"FetchResponse.Topics.Partitions.HighWatermark":                   logical,
	"FetchResponse.Topics.Partitions.LastStableOffset":                logical,
	"FetchResponse.Topics.Partitions.LogStartOffset":                  logical,
	"FetchResponse.Topics.Partitions.DivergingEpoch":                  stripped,
	"FetchResponse.Topics.Partitions.DivergingEpoch.Epoch":            stripped,
	"FetchResponse.Topics.Partitions.DivergingEpoch.EndOffset":        stripped,
	"FetchResponse.Topics.Partitions.CurrentLeader":                   stripped,
	"FetchResponse.Topics.Partitions.CurrentLeader.LeaderID":          stripped,
	"FetchResponse.Topics.Partitions.CurrentLeader.LeaderEpoch":       stripped,
	"FetchResponse.Topics.Partitions.SnapshotID":                      stripped,
	"FetchResponse.Topics.Partitions.SnapshotID.EndOffset":            stripped,
	"FetchResponse.Topics.Partitions.SnapshotID.Epoch":                stripped,
	"FetchResponse.Topics.Partitions.AbortedTransactions.ProducerID":  clientID,
	"FetchResponse.Topics.Partitions.AbortedTransactions.FirstOffset": logical,
	"FetchResponse.Topics.Partitions.PreferredReadReplica":            stripped,
	"FetchResponse.Topics.Partitions.RecordBatches":                   batches,
	"FetchResponse.Brokers":                                           stripped,
	"FetchResponse.Brokers.NodeID":                                    stripped,
	"FetchResponse.Brokers.Host":                                      stripped,
	"FetchResponse.Brokers.Port":                                      stripped,
	"FetchResponse.Brokers.Rack":                                      stripped,

	"ListOffsetsRequest.ReplicaID":                            stripped,
	"ListOffsetsRequest.Topics.Partitions.CurrentLeaderEpoch": noEpoch,
	"ListOffsetsRequest.Topics.Partitions.Timestamp":          aDuration,
	"ListOffsetsRequest.Topics.Partitions.MaxNumOffsets":      aCount,
	"ListOffsetsResponse.Topics.Partitions.OldStyleOffsets":   stripped,
	"ListOffsetsResponse.Topics.Partitions.Timestamp":         aDuration,
	"ListOffsetsResponse.Topics.Partitions.Offset":            logical,
	"ListOffsetsResponse.Topics.Partitions.LeaderEpoch":       noEpoch,

	"MetadataRequest.Topics.TopicID":                     topicID,
	"MetadataResponse.Brokers":                           virtualNode,
	"MetadataResponse.Brokers.NodeID":                    virtualNode,
	"MetadataResponse.Brokers.Host":                      virtualNode,
	"MetadataResponse.Brokers.Port":                      virtualNode,
	"MetadataResponse.Brokers.Rack":                      stripped,
	"MetadataResponse.ClusterID":                         virtualID,
	"MetadataResponse.ControllerID":                      virtualNode,
	"MetadataResponse.Topics.TopicID":                    topicID,
	"MetadataResponse.Topics.Partitions.Leader":          virtualNode,
	"MetadataResponse.Topics.Partitions.LeaderEpoch":     noEpoch,
	"MetadataResponse.Topics.Partitions.Replicas":        virtualNode,
	"MetadataResponse.Topics.Partitions.ISR":             virtualNode,
	"MetadataResponse.Topics.Partitions.OfflineReplicas": virtualNode,

	"OffsetCommitRequest.RetentionTimeMillis":           aDuration,
	"OffsetCommitRequest.Topics.TopicID":                topicID,
	"OffsetCommitRequest.Topics.Partitions.Offset":      logical,
	"OffsetCommitRequest.Topics.Partitions.Timestamp":   aDuration,
	"OffsetCommitRequest.Topics.Partitions.LeaderEpoch": noEpoch,
	"OffsetCommitResponse.Topics.TopicID":               topicID,

	"OffsetFetchRequest.Groups.MemberEpoch":                    membership,
	"OffsetFetchRequest.Groups.Topics.TopicID":                 topicID,
	"OffsetFetchResponse.Topics.Partitions.Offset":             logical,
	"OffsetFetchResponse.Topics.Partitions.LeaderEpoch":        noEpoch,
	"OffsetFetchResponse.Groups.Topics.TopicID":                topicID,
	"OffsetFetchResponse.Groups.Topics.Partitions.Offset":      logical,
	"OffsetFetchResponse.Groups.Topics.Partitions.LeaderEpoch": noEpoch,

	"FindCoordinatorRequest.CoordinatorKey":       answeredHere,
	"FindCoordinatorRequest.CoordinatorKeys":      answeredHere,
	"FindCoordinatorRequest.CoordinatorType":      answeredHere,
	"FindCoordinatorResponse.NodeID":              answeredHere,
	"FindCoordinatorResponse.Host":                answeredHere,
	"FindCoordinatorResponse.Port":                answeredHere,
	"FindCoordinatorResponse.Coordinators.NodeID": answeredHere,
	"FindCoordinatorResponse.Coordinators.Host":   answeredHere,
	"FindCoordinatorResponse.Coordinators.Port":   answeredHere,

	"JoinGroupRequest.SessionTimeoutMillis":             aDuration,
	"JoinGroupRequest.Protocols.Metadata":               opaque,
	"JoinGroupResponse.LeaderID":                        exempt("a member id of the group, not a broker"),
	"JoinGroupResponse.Members.ProtocolMetadata":        opaque,
	"SyncGroupRequest.GroupAssignment.MemberAssignment": opaque,
	"SyncGroupResponse.MemberAssignment":                opaque,

	"DescribeGroupsResponse.Groups.Members.ClientHost":       exempt("where the client's sidecar runs, as the broker saw it"),
	"DescribeGroupsResponse.Groups.Members.ProtocolMetadata": opaque,
	"DescribeGroupsResponse.Groups.Members.MemberAssignment": opaque,

	"ApiVersionsRequest.ClusterID":               answeredHere,
	"ApiVersionsRequest.NodeID":                  answeredHere,
	"ApiVersionsResponse.FinalizedFeaturesEpoch": answeredHere,

	"CreateTopicsRequest.Topics.ReplicationFactor":          aCount,
	"CreateTopicsRequest.Topics.ReplicaAssignment.Replicas": virtualNode,
	"CreateTopicsResponse.Topics.TopicID":                   newTopicID,
	"CreateTopicsResponse.Topics.ReplicationFactor":         aCount,
	"DeleteTopicsRequest.Topics.TopicID":                    topicID,
	"DeleteTopicsResponse.Topics.TopicID":                   topicID,
	"CreatePartitionsRequest.Topics.Assignment.Replicas":    virtualNode,

	"DeleteRecordsRequest.Topics.Partitions.Offset":        logical,
	"DeleteRecordsResponse.Topics.Partitions.LowWatermark": logical,

	"InitProducerIdRequest.TransactionalID":          refused,
	"InitProducerIdRequest.TransactionTimeoutMillis": aDuration,
	"InitProducerIdRequest.ProducerID":               stripped,
	"InitProducerIdRequest.ProducerEpoch":            stripped,
	"InitProducerIdResponse.ProducerID":              clientID,
	"InitProducerIdResponse.ProducerEpoch":           exempt("counts within the producer id, which is translated"),

	"OffsetForLeaderEpochRequest.ReplicaID":                            answeredHere,
	"OffsetForLeaderEpochRequest.Topics.Partitions.CurrentLeaderEpoch": answeredHere,
	"OffsetForLeaderEpochRequest.Topics.Partitions.LeaderEpoch":        answeredHere,
	"OffsetForLeaderEpochResponse.Topics.Partitions.LeaderEpoch":       answeredHere,
	"OffsetForLeaderEpochResponse.Topics.Partitions.EndOffset":         answeredHere,

	"DescribeConfigsRequest.Resources.ResourceName":  nodeName,
	"DescribeConfigsResponse.Resources.ResourceName": nodeName,

	"DescribeClusterRequest.EndpointType":         aSelector,
	"DescribeClusterRequest.IncludeFencedBrokers": aSelector,
	"DescribeClusterResponse.EndpointType":        answeredHere,
	"DescribeClusterResponse.ClusterID":           answeredHere,
	"DescribeClusterResponse.ControllerID":        answeredHere,
	"DescribeClusterResponse.Brokers.NodeID":      answeredHere,
	"DescribeClusterResponse.Brokers.Host":        answeredHere,
	"DescribeClusterResponse.Brokers.Port":        answeredHere,
	"DescribeClusterResponse.Brokers.Rack":        answeredHere,
}
