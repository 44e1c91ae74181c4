package inmem

import (
	"context"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/catamaran-io/catamaran/protocol"
)

// rig is a one-broker cluster with topic "t" of two partitions and a client for
// raw requests.
type rig struct {
	t  *testing.T
	cl *kgo.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	n := NewNetwork(1)
	c, err := NewCluster(n, "east", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Fake().CreateTopic("t", 2, nil); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.Dialer(n.Host("app").Dial),
		kgo.MaxVersions(kversion.V3_0_0())) // EndTxn 5 would raise the epoch once more, Fetch 13 needs topic ids
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &rig{t, cl}
}

func ask[R kmsg.Response](r *rig, req kmsg.Request) R {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	resp, err := r.cl.Request(ctx, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.(R)
}

func (r *rig) init(txid string) (int64, int16) {
	r.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	if txid != "" {
		req.TransactionalID, req.TransactionTimeoutMillis = &txid, 60000
	}
	resp := ask[*kmsg.InitProducerIDResponse](r, req)
	if resp.ErrorCode != 0 {
		r.t.Fatal(kerr.ErrorForCode(resp.ErrorCode))
	}
	return resp.ProducerID, resp.ProducerEpoch
}

// produce writes one record without a transaction and returns the error code.
func (r *rig) produce(partition int32, id int64, epoch int16, seq int32) int16 {
	r.t.Helper()
	return r.produceBatch(partition, batch(protocol.Producer{ID: id, Epoch: epoch, Sequence: seq}))
}

func (r *rig) produceBatch(partition int32, b protocol.Batch) int16 {
	r.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = 9, -1, 1000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, b
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.Partitions = "t", []kmsg.ProduceRequestTopicPartition{p}
	req.Topics = []kmsg.ProduceRequestTopic{topic}
	resp := ask[*kmsg.ProduceResponse](r, req)
	return resp.Topics[0].Partitions[0].ErrorCode
}

// batch is a batch of one record with a valid CRC.
func batch(p protocol.Producer) protocol.Batch {
	rec := kmsg.Record{Value: []byte("v")}
	rec.Length = int32(len(rec.AppendTo(nil)) - 1)
	b := kmsg.RecordBatch{Magic: 2, PartitionLeaderEpoch: -1, NumRecords: 1, FirstTimestamp: 1, MaxTimestamp: 1, Records: rec.AppendTo(nil)}
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = p.ID, p.Epoch, p.Sequence
	raw := b.AppendTo(nil)
	b.Length = int32(len(raw) - 12)
	b.CRC = int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

func (r *rig) seal(txid string, id int64, epoch int16, partitions ...int32) {
	r.t.Helper()
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch = 3, txid, id, epoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = "t", partitions
	add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{topic}
	for _, p := range ask[*kmsg.AddPartitionsToTxnResponse](r, add).Topics[0].Partitions {
		if p.ErrorCode != 0 {
			r.t.Fatal(kerr.ErrorForCode(p.ErrorCode))
		}
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = txid, id, epoch, true
	if code := ask[*kmsg.EndTxnResponse](r, end).ErrorCode; code != 0 {
		r.t.Fatal(kerr.ErrorForCode(code))
	}
}

func (r *rig) want(what string, got, want int16) {
	r.t.Helper()
	if got != want {
		r.t.Fatalf("%s: %v, want %v", what, kerr.ErrorForCode(got), kerr.ErrorForCode(want))
	}
}

func TestPlainProducerIDsCountFromZero(t *testing.T) {
	r := newRig(t)
	for want := range int64(3) {
		if id, epoch := r.init(""); id != want || epoch != 0 {
			t.Fatalf("producer %d epoch %d, want %d epoch 0", id, epoch, want)
		}
		r.want("first batch", r.produce(0, want, 0, 0), 0)
	}
}

func TestMarkersFenceAndInitProducerIDDoesNot(t *testing.T) {
	r := newRig(t)
	id, old := r.init("slot")
	r.want("first owner", r.produce(0, id, old, 0), 0)
	_, epoch := r.init("slot")
	if epoch != old+1 {
		t.Fatalf("epoch %d after %d", epoch, old)
	}
	r.want("zombie before the seal", r.produce(0, id, old, 1), 0)
	r.want("zombie's gap before the seal", r.produce(0, id, old, 7), kerr.OutOfOrderSequenceNumber.Code)
	r.seal("slot", id, epoch, 0)
	r.want("zombie after the seal", r.produce(0, id, old, 2), kerr.InvalidProducerEpoch.Code)
	r.want("zombie where the seal did not reach", r.produce(1, id, old, 0), 0)
	r.want("new owner", r.produce(0, id, epoch, 0), 0)

	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version, fetch.MaxWaitMillis, fetch.MinBytes, fetch.MaxBytes = 11, 100, 1, 1<<20
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = "t"
	for p := range int32(2) {
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.PartitionMaxBytes, fp.CurrentLeaderEpoch = p, 1<<20, -1
		topic.Partitions = append(topic.Partitions, fp)
	}
	fetch.Topics = []kmsg.FetchRequestTopic{topic}
	for _, p := range ask[*kmsg.FetchResponse](r, fetch).Topics[0].Partitions {
		var epochs []int16
		for b, err := range protocol.Batches(p.RecordBatches) {
			if err != nil || b.ProducerID() != id || !b.ValidCRC() {
				t.Fatalf("batch of producer %d (%v), CRC valid %v", b.ProducerID(), err, b.ValidCRC())
			}
			epochs = append(epochs, b.ProducerEpoch())
		}
		want := map[int32][]int16{0: {old, old, epoch, epoch}, 1: {old}}[p.Partition] // the marker has the new epoch
		if !slices.Equal(epochs, want) {
			t.Fatalf("partition %d has epochs %v, want %v", p.Partition, epochs, want)
		}
	}
}

func TestSealedProducersAreDescribed(t *testing.T) {
	r := newRig(t)
	id, epoch := r.init("slot")
	r.want("batch", r.produce(0, id, epoch, 0), 0)
	_, epoch = r.init("slot")
	r.seal("slot", id, epoch, 0, 1)
	req := kmsg.NewPtrDescribeProducersRequest()
	topic := kmsg.NewDescribeProducersRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 1}
	req.Topics = []kmsg.DescribeProducersRequestTopic{topic}
	for _, p := range ask[*kmsg.DescribeProducersResponse](r, req).Topics[0].Partitions {
		if len(p.ActiveProducers) != 1 {
			t.Fatalf("partition %d: %+v", p.Partition, p)
		}
		if ap := p.ActiveProducers[0]; ap.ProducerID != id || ap.ProducerEpoch != int32(epoch) || ap.LastSequence != -1 {
			t.Fatalf("partition %d: %+v", p.Partition, ap)
		}
	}
	txns := kmsg.NewPtrDescribeTransactionsRequest()
	txns.TransactionalIDs = []string{"slot"}
	if st := ask[*kmsg.DescribeTransactionsResponse](r, txns).TransactionStates[0]; st.State != "CompleteCommit" || st.ProducerEpoch != epoch {
		t.Fatalf("%+v", st)
	}
}

func TestMalformedBatchesAreInvalidRecords(t *testing.T) {
	r := newRig(t)
	one := batch(protocol.NoProducer)
	shifted := slices.Clone(one)
	shifted.SetBaseOffset(7)
	r.want("base offset 7", r.produceBatch(0, shifted), kerr.InvalidRecord.Code)
	r.want("two batches", r.produceBatch(0, append(slices.Clone(one), one...)), kerr.InvalidRecord.Code)
	corrupt := slices.Clone(one)
	corrupt[len(corrupt)-2] ^= 1
	r.want("a flipped bit", r.produceBatch(0, corrupt), kerr.CorruptMessage.Code)
	r.want("the batch itself", r.produceBatch(0, one), 0)
}

func TestFirstSequenceMayBeAnythingForAnUnknownProducer(t *testing.T) {
	r := newRig(t)
	const id = 1<<48 + 7
	r.want("first sequence 17", r.produce(0, id, 3, 17), 0)
	r.want("the same again", r.produce(0, id, 3, 17), 0)
	r.want("a gap", r.produce(0, id, 3, 19), kerr.OutOfOrderSequenceNumber.Code)
	r.want("the next", r.produce(0, id, 3, 18), 0)
}
