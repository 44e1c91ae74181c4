package assumptions

import (
	"fmt"
	"time"

	"github.com/catamaran-io/catamaran/integration/kafkatest"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A holder is somebody who has taken a transactional id: a slot's writer.
type holder struct {
	s     *session
	txid  string
	pid   int64
	epoch int16
}

// take is InitProducerId, repeated while the coordinator is busy with an earlier transaction.
func (s *session) take(txid string) holder {
	s.Helper()
	h := holder{s: s, txid: txid}
	s.eventually("InitProducerId", func() bool {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &txid, 60_000
		req.ProducerID, req.ProducerEpoch = -1, -1
		resp, err := req.RequestWith(s.ctx, s.cl)
		s.must(err, "InitProducerId")
		if resp.ErrorCode == kerr.ConcurrentTransactions.Code {
			return false
		}
		if resp.ErrorCode != 0 {
			s.Fatalf("InitProducerId: %s", code(resp.ErrorCode))
		}
		h.pid, h.epoch = resp.ProducerID, resp.ProducerEpoch
		return true
	})
	return h
}

// write appends one idempotent, non-transactional batch of one record.
func (h holder) write(topic string, partition, seq int32) string {
	h.s.Helper()
	return h.s.append(topic, partition, batch{pid: h.pid, epoch: h.epoch, seq: seq, values: []string{fmt.Sprintf("%d.%d", h.epoch, seq)}})
}

// writeInTxn appends one transactional batch of one record.
func (h holder) writeInTxn(topic string, partition, seq int32) string {
	h.s.Helper()
	b := batch{pid: h.pid, epoch: h.epoch, seq: seq, attrs: attrTransactional, values: []string{"in a transaction"}}
	return h.s.appendRaw(topic, partition, &h.txid, b.bytes())
}

// add is AddPartitionsToTxn version 3: "ok", or the first error, repeated while an earlier transaction completes.
func (h holder) add(topic string, partitions ...int32) string {
	h.s.Helper()
	var answer string
	h.s.eventually("AddPartitionsToTxn", func() bool {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = h.txid, h.pid, h.epoch
		rt := kmsg.NewAddPartitionsToTxnRequestTopic()
		rt.Topic, rt.Partitions = topic, partitions
		req.Topics = append(req.Topics, rt)
		resp, err := req.RequestWith(h.s.ctx, h.s.cl)
		h.s.must(err, "AddPartitionsToTxn")
		answer = "ok"
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				answer = code(p.ErrorCode)
				return p.ErrorCode != kerr.ConcurrentTransactions.Code
			}
		}
		return true
	})
	return answer
}

// finish is EndTxn in the version that cl sends; it returns the answer and the epoch in it (−1 before version 5).
func (h holder) finish(cl *kgo.Client, commit bool) (string, int16) {
	h.s.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = h.txid, h.pid, h.epoch, commit
	resp, err := req.RequestWith(h.s.ctx, cl)
	h.s.must(err, "EndTxn")
	return code(resp.ErrorCode), resp.ProducerEpoch
}

// commit is EndTxn version 4.
func (h holder) commit() string {
	h.s.Helper()
	answer, _ := h.finish(h.s.cl, true)
	return answer
}

// describe is what DescribeTransactions says: state and producer epoch.
func (h holder) describe() (string, int16) {
	h.s.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{h.txid}
	resp, err := req.RequestWith(h.s.ctx, h.s.cl)
	h.s.must(err, "DescribeTransactions")
	t := resp.TransactionStates[0]
	if t.ErrorCode != 0 {
		return code(t.ErrorCode), -1
	}
	return t.State, t.ProducerEpoch
}

// settle waits until DescribeTransactions no longer says that markers are being written, and returns what it says.
func (h holder) settle() string {
	h.s.Helper()
	var state string
	h.s.eventually("complete markers", func() bool {
		state, _ = h.describe()
		return state != "PrepareCommit" && state != "PrepareAbort" && state != "Ongoing"
	})
	return state
}

// seal writes a marker into partitions: all later writes of earlier holders are refused there.
func (h holder) seal(topic string, partitions ...int32) {
	h.s.Helper()
	if answer := h.add(topic, partitions...); answer != "ok" {
		h.s.Fatalf("AddPartitionsToTxn: %s", answer)
	}
	if answer := h.commit(); answer != "ok" {
		h.s.Fatalf("EndTxn: %s", answer)
	}
	h.settle()
}

// producer is what DescribeProducers, asked of the partition's leader, says of a producer id: epoch and last
// sequence, or "unknown".
func (s *session) producer(topic string, partition int32, pid int64) string {
	s.Helper()
	req := kmsg.NewPtrDescribeProducersRequest()
	rt := kmsg.NewDescribeProducersRequestTopic()
	rt.Topic, rt.Partitions = topic, []int32{partition}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(s.ctx, s.leader(topic, partition))
	s.must(err, "DescribeProducers")
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 {
		return code(p.ErrorCode)
	}
	for _, a := range p.ActiveProducers {
		if a.ProducerID == pid {
			return fmt.Sprintf("epoch %d, last sequence %d", a.ProducerEpoch, a.LastSequence)
		}
	}
	return "unknown"
}

// sweep waits for longer than the interval at which the broker under test forgets producers. Targets in memory forget
// at once or never.
func (s *session) sweep() {
	if _, real := s.target.(*kafkatest.Cluster); real {
		time.Sleep(1500 * time.Millisecond)
	}
}
