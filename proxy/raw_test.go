package proxy

import (
	"bufio"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// rawClient is one connection to the proxy that sends what a test wants, in
// frames, pipelined.
type rawClient struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	id   int32
	sent []kmsg.Request
}

func (l *lab) raw(node int) *rawClient {
	l.t.Helper()
	conn, err := l.net.dial(l.ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(labPort+1+node)))
	if err != nil {
		l.t.Fatal(err)
	}
	return &rawClient{t: l.t, conn: conn, r: bufio.NewReader(conn)}
}

func (c *rawClient) close() { c.conn.Close() }

// send writes a request without waiting for its answer.
func (c *rawClient) send(req kmsg.Request) {
	c.t.Helper()
	c.id++
	c.sent = append(c.sent, req)
	if _, err := c.conn.Write(protocol.AppendRequest(nil, c.id, kmsg.StringPtr("raw"), req)); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads the answer to the oldest request without one.
func (c *rawClient) receive(within time.Duration) kmsg.Response {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(within))
	frame, err := protocol.ReadFrame(c.r, 1<<30)
	if err != nil {
		c.t.Fatalf("waiting for the answer to a %s request: %v", kmsg.NameForKey(c.sent[0].Key()), err)
	}
	id, resp, err := protocol.ParseResponse(frame, c.sent[0])
	if err != nil {
		c.t.Fatal(err)
	}
	if want := c.id - int32(len(c.sent)) + 1; id != want {
		c.t.Fatalf("answer carries correlation id %d, want %d", id, want)
	}
	c.sent = c.sent[1:]
	return resp
}

func (c *rawClient) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(req)
	return c.receive(20 * time.Second)
}

// silent fails the test if an answer comes within d.
func (c *rawClient) silent(d time.Duration) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(d))
	if _, err := c.r.Peek(1); err == nil {
		c.t.Fatalf("an answer came while none was expected")
	}
	c.r.Reset(c.conn)
}

// part is a batch for one partition.
type part struct {
	topic     string
	partition int32
	producer  protocol.Producer
	values    []string
}

func produceRequestOf(parts ...part) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 30000
	for _, p := range parts {
		var records []protocol.Record
		for _, v := range p.values {
			records = append(records, protocol.Record{Timestamp: time.Now().UnixMilli(), Value: []byte(v)})
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = p.partition, protocol.BuildBatch(records, p.producer, 0)
		if n := len(req.Topics); n > 0 && req.Topics[n-1].Topic == p.topic {
			req.Topics[n-1].Partitions = append(req.Topics[n-1].Partitions, rp)
			continue
		}
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.Partitions = p.topic, []kmsg.ProduceRequestTopicPartition{rp}
		req.Topics = append(req.Topics, rt)
	}
	return req
}

// acked checks that every partition of an answer is a success and returns the
// base offsets in order.
func acked(t *testing.T, resp kmsg.Response) (offsets []int64) {
	t.Helper()
	for _, rt := range resp.(*kmsg.ProduceResponse).Topics {
		for _, rp := range rt.Partitions {
			if rp.ErrorCode != 0 {
				t.Fatalf("produce to %s-%d got error code %d", rt.Topic, rp.Partition, rp.ErrorCode)
			}
			offsets = append(offsets, rp.BaseOffset)
		}
	}
	return offsets
}

// mirror plays the mirror: it copies the batches [from, to) of a partition, in
// the source's batch count, to the target with an intent for each, and returns
// the map records that must be written, intents last.
type mirror struct {
	l        *lab
	from, to *labCluster
	tenure   protocol.Tenure
	gen      logmap.Generation
	intents  map[int64]*logmap.Intent
}

func (l *lab) mirror(from, to *labCluster, tenure protocol.Tenure, gen logmap.Generation) *mirror {
	return &mirror{l: l, from: from, to: to, tenure: tenure, gen: gen, intents: make(map[int64]*logmap.Intent)}
}

// begin writes the birth of a partition and the extent of the mirror's run.
func (m *mirror) begin(topic string, partition int32) []int64 {
	tp := logmap.TopicPartition{Topic: topic, Partition: partition}
	end := m.to.PartitionInfo(topic, partition).HighWatermark
	return m.to.writeMap(m.l.t,
		&logmap.Birth{TP: tp, TopicID: m.from.TopicInfo(topic).TopicID, Home: m.from.name},
		&logmap.ExtentRecord{TP: tp, Extent: logmap.Extent{Generation: m.gen, Cluster: logmap.Cluster(end), Logical: logmap.Logical(end), SequenceBase: logmap.Cluster(end), Tenure: uint16(m.tenure)}},
	)
}

// copy copies the first n batches of a partition that the target lacks. The
// partition must be in the identity on both sides up to there.
func (m *mirror) copy(topic string, partition int32, n int) {
	t := m.l.t
	tp := logmap.TopicPartition{Topic: topic, Partition: partition}
	have := m.to.PartitionInfo(topic, partition).HighWatermark
	for _, b := range m.from.batches(t, topic, partition) {
		if b.BaseOffset() < have || n == 0 {
			continue
		}
		n--
		c := append(protocol.Batch{}, b...)
		c.SetBaseOffset(0)
		c.SetProducer(protocol.NoProducer, c.Attributes())
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis = -1, 1000
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.TopicID = topic, m.to.TopicInfo(topic).TopicID
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = partition, c
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp, err := m.to.client.Broker(int(m.to.LeaderFor(topic, partition))).Request(m.l.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
		if got.ErrorCode != 0 || got.BaseOffset != b.BaseOffset() {
			t.Fatalf("copy of the batch at %d: code %d, offset %d", b.BaseOffset(), got.ErrorCode, got.BaseOffset)
		}
		if b.ProducerID() < 0 {
			continue
		}
		id := int64(protocol.WireProducerID(b.ProducerID()).Client(m.tenure))
		in := m.intents[id]
		if in == nil {
			in = &logmap.Intent{TP: tp, ProducerID: id}
			m.intents[id] = in
		}
		in.Batches = append(in.Batches, logmap.IntentBatch{
			Epoch: b.ProducerEpoch(), FirstSequence: b.BaseSequence(), LastSequence: b.LastSequence(),
			Logical: logmap.Logical(b.BaseOffset()), Cluster: logmap.Cluster(got.BaseOffset), Count: b.RecordCount(), Generation: m.gen,
		})
		if len(in.Batches) > logmap.IntentBatches {
			in.Batches = in.Batches[1:]
		}
		m.to.writeMap(t, in)
	}
}

// stamp begins the target's service at the next logical offset first.
func (m *mirror) stamp(topic string, partition int32, first logmap.Logical) []int64 {
	end := logmap.Cluster(m.to.PartitionInfo(topic, partition).HighWatermark)
	return m.to.writeMap(m.l.t, &logmap.ExtentRecord{
		TP:     logmap.TopicPartition{Topic: topic, Partition: partition},
		Extent: logmap.Extent{Generation: m.gen + 1, Cluster: end, Logical: first, SequenceBase: end, Before: logmap.Logical(end), Tenure: uint16(m.tenure) + 1, Stamp: true},
	})
}

func logicalEnd(c *labCluster, topic string, partition int32) logmap.Logical {
	return logmap.Logical(c.PartitionInfo(topic, partition).HighWatermark)
}
