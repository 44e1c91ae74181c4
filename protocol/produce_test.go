package protocol

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/catamaran-io/catamaran/protocol/logmap"
)

// produceOf is a request with one batch per partition of "orders".
func produceOf(version int16, records ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks = version, 1
	t := kmsg.NewProduceRequestTopic()
	if t.Topic = "orders"; version >= 13 {
		t.Topic, t.TopicID = "", downstream.topics[0]
	}
	for i, r := range records {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), r
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func batchOf(id int64, attributes int16) Batch {
	return BuildBatch([]Record{{Value: []byte("v")}}, Producer{ID: id, Epoch: 3, Sequence: 8}, attributes)
}

// Invariant: what goes upstream holds the wire form of every producer id and is
// otherwise the client's bytes; the client's own bytes never change.
func TestProducerIDsGoUpstreamInWireFormAndTheFrameStaysAsItIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		current := Tenure(rapid.IntRange(0, 5).Draw(t, "current"))
		issuing := Tenure(rapid.IntRange(0, int(current)).Draw(t, "issuing"))
		id, err := IssuedProducerID(rapid.Int64Range(0, rawMask).Draw(t, "raw"), issuing)
		if err != nil {
			t.Fatal(err)
		}
		records := []byte(batchOf(int64(id), 0))
		whole := len(records)
		records = append(records, rapid.SliceOfN(rapid.Byte(), 0, 16).Draw(t, "garbage")...)
		frame := bytes.Clone(records)
		req := produceOf(9, records)
		v := markView()
		v.Tenure = current
		if err := produce.Request(v, req); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(records, frame) {
			t.Fatal("the client's bytes were edited")
		}
		sent := req.Topics[0].Partitions[0].Records
		wire, _ := id.Wire(current)
		b := Batch(sent[:whole])
		if b.ProducerID() != int64(wire) || b.ProducerEpoch() != 3 || b.BaseSequence() != 8 || !b.ValidCRC() {
			t.Fatalf("producer %d epoch %d sequence %d, valid %v; want %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), b.ValidCRC(), wire)
		}
		if int64(wire) == int64(id) && &sent[0] != &records[0] {
			t.Fatal("records were copied although nothing changes")
		}
		if req.Acks != -1 {
			t.Fatalf("acks %d", req.Acks)
		}
	})
}

func TestProduceRefusesWhatMustNotBeWritten(t *testing.T) {
	transaction := "tx"
	inTransaction := produceOf(9, batchOf(1, 0))
	inTransaction.TransactionID = &transaction
	ofMap := produceOf(9, batchOf(1, 0))
	ofMap.Topics[0].Topic = logmap.Topic
	for name, c := range map[string]struct {
		req  *kmsg.ProduceRequest
		code int16
	}{
		"a transactional id":                    {inTransaction, codeTransactionalIDAuth},
		"a transactional batch":                 {produceOf(9, batchOf(1, AttrTransactional)), codeTransactionalIDAuth},
		"a producer id of a later tenure":       {produceOf(9, batchOf(9<<rawBits, 0)), codeUnknownProducerID},
		"a producer id that nobody here issued": {produceOf(9, batchOf(1<<60, 0)), codeUnknownProducerID},
		"the topic of the log map":              {ofMap, codeTopicAuthorization},
	} {
		var refused *RefusedError
		if err := produce.Request(markView(), c.req); !errors.As(err, &refused) || refused.Code != c.code {
			t.Errorf("%s: %v, want code %d", name, err, c.code)
		}
	}
}

func TestProduceBatchesYieldsWhatIsWellFormed(t *testing.T) {
	bad := batchOf(2, 0)
	bad[batchMagic] = 9
	req := produceOf(13, append(bytes.Clone(batchOf(1, 0)), batchOf(2, 0)...), bad, batchOf(3, 0))
	var ids []int64
	for b := range ProduceBatches(req) {
		if b.TopicID != downstream.topics[0] {
			t.Fatalf("topic id %x", b.TopicID)
		}
		ids = append(ids, b.Batch.ProducerID())
	}
	if len(ids) != 3 || ids[0] != 1 || ids[1] != 2 || ids[2] != 3 {
		t.Fatalf("producers %v", ids)
	}
}

// A retry that the log already holds is answered here, the rest upstream, and
// the client sees one answer in its order.
func TestAnswersFromHereAndFromUpstreamMakeOne(t *testing.T) {
	for _, version := range []int16{12, 13} {
		req := produceOf(version, batchOf(1, 0), batchOf(2, 0), batchOf(3, 0))
		v := markView()
		parts := produce.Split(v, req, func(topic string, p int32) int32 {
			if topic != "orders" {
				t.Fatalf("leader of %q was asked for", topic)
			}
			return map[int32]int32{0: 7, 1: -2, 2: 7}[p]
		})
		up := parts[7].(*kmsg.ProduceRequest)
		if n := len(parts[-2].(*kmsg.ProduceRequest).Topics[0].Partitions); len(parts) != 2 || n != 1 || len(up.Topics) != 1 || len(up.Topics[0].Partitions) != 2 {
			t.Fatalf("parts %+v", parts)
		}
		answer := produce.Fail(up, 0).(*kmsg.ProduceResponse)
		answer.Topics[0].Partitions[0].BaseOffset, answer.ThrottleMillis = 11, 5
		answer.Topics[0].Partitions = answer.Topics[0].Partitions[:1] // the broker forgot one
		here := ProduceSuccess(version, req.Topics[0].Topic, req.Topics[0].TopicID, 1, 22)
		got := produce.Merge(v, req, []kmsg.Response{here, answer}, 19).(*kmsg.ProduceResponse)
		ps := got.Topics[0].Partitions
		if len(ps) != 3 || ps[0].BaseOffset != 11 || ps[1].BaseOffset != 22 || ps[1].ErrorCode != 0 || ps[2].ErrorCode != 19 || ps[2].BaseOffset != -1 || got.ThrottleMillis != 5 {
			t.Fatalf("version %d: %+v", version, got)
		}
	}
}

func TestTopicWithAnUnknownIDHasNoLeader(t *testing.T) {
	req := produceOf(13, batchOf(1, 0))
	req.Topics[0].TopicID = downstream.topics[1]
	parts := produce.Split(markView(), req, func(string, int32) int32 { t.Fatal("a leader was asked for"); return 0 })
	if len(parts) != 1 || parts[-1] == nil {
		t.Fatalf("parts %+v", parts)
	}
	got := produce.Merge(markView(), req, nil, 100).(*kmsg.ProduceResponse)
	if got.Topics[0].TopicID != downstream.topics[1] || got.Topics[0].Partitions[0].ErrorCode != 100 {
		t.Fatalf("%+v", got)
	}
}
