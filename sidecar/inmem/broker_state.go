package inmem

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerState corrects kfake where the product leans on what a real broker
// does. What a real one does was run against Apache Kafka 4.3.0:
//
//   - Plain idempotent producers get small ids that count from 0 (kfake: random
//     63-bit numbers). Both clusters of a pair thus issue the same ids.
//   - InitProducerId fences nobody; the marker of the transaction that follows
//     does, per partition (kfake fences every partition at once). So a zombie
//     can write between the two, and a partition that was left out of the
//     transaction stays open to it. Epochs of plain producers, too, are raised per
//     partition.
//   - DescribeProducers lists every producer that a partition knows, a sealed
//     one with last sequence -1 (kfake: only producers in a transaction).
//   - DescribeTransactions says CompleteCommit or CompleteAbort once the markers
//     are written (kfake: Empty).
//   - A base offset other than 0, two batches in one partition and a wrong
//     offset range are INVALID_RECORD (kfake: CORRUPT_MESSAGE).
//
// Known and left: kfake's sequences wrap one number early (2^31-1 never
// appears), it never forgets a producer, its transactional producer ids are
// hashes, and a dying broker forgets nothing.
//
// One brokerState serves all brokers of a cluster.
type brokerState struct {
	cluster *kfake.Cluster // set before the first connection is read

	mu sync.Mutex
	// nextID is the next id of a plain idempotent producer.
	nextID int64
	// current is the latest epoch of each producer id that has one above 0.
	current map[int64]int16
	txns    map[string]*txn
	// known is what each partition knows of each producer.
	known map[partition]map[int64]*producer
	// shadows are the stand-in ids under which kfake stores what a superseded
	// epoch still writes; aliases is the way back, for fetches.
	shadows map[epochOf]int64
	aliases map[int64]epochOf
	names   map[[16]byte]string
}

type partition struct {
	topic string
	n     int32
}

type epochOf struct {
	id    int64
	epoch int16
}

type producer struct {
	epoch        int16
	lastSequence int32
	lastWrite    int64
}

type txn struct {
	id         int64
	partitions map[partition]bool
	complete   string // state after the last EndTxn, "" before
}

func newBrokerState() *brokerState {
	return &brokerState{
		current: make(map[int64]int16),
		txns:    make(map[string]*txn),
		known:   make(map[partition]map[int64]*producer),
		shadows: make(map[epochOf]int64),
		aliases: make(map[int64]epochOf),
		names:   make(map[[16]byte]string),
	}
}

// concerns says whether requests of key are looked at.
func (s *brokerState) concerns(key int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce, kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn, kmsg.DescribeProducers, kmsg.DescribeTransactions:
		return true
	case kmsg.Fetch:
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.aliases) > 0
	}
	return false
}

// amend edits a request before kfake sees it and says whether it did.
func (s *brokerState) amend(x *exchange) bool {
	if req, ok := x.request.(*kmsg.ProduceRequest); ok {
		return s.amendProduce(x, req)
	}
	return false
}

// learn corrects an answer, and keeps what it says about producers.
func (s *brokerState) learn(x *exchange, resp kmsg.Response) {
	if x.fix != nil {
		x.fix(resp)
	}
	switch resp := resp.(type) {
	case *kmsg.ProduceResponse:
		s.learnProduce(x.request.(*kmsg.ProduceRequest), resp)
	case *kmsg.FetchResponse:
		s.unshadow(resp)
	case *kmsg.InitProducerIDResponse:
		s.learnInit(x.request.(*kmsg.InitProducerIDRequest), resp)
	case *kmsg.AddPartitionsToTxnResponse:
		s.learnAdd(x.request.(*kmsg.AddPartitionsToTxnRequest), resp)
	case *kmsg.EndTxnResponse:
		s.learnEnd(x.request.(*kmsg.EndTxnRequest), resp)
	case *kmsg.DescribeProducersResponse:
		s.describe(resp)
	case *kmsg.DescribeTransactionsResponse:
		s.describeTxns(resp)
	}
}

func (s *brokerState) learnInit(req *kmsg.InitProducerIDRequest, resp *kmsg.InitProducerIDResponse) {
	if resp.ErrorCode != 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.TransactionalID == nil {
		resp.ProducerID, resp.ProducerEpoch = s.nextID, 0
		s.nextID++
		return
	}
	s.current[resp.ProducerID] = resp.ProducerEpoch
	s.txns[*req.TransactionalID] = &txn{id: resp.ProducerID, partitions: make(map[partition]bool)}
}

func (s *brokerState) learnAdd(req *kmsg.AddPartitionsToTxnRequest, resp *kmsg.AddPartitionsToTxnResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.txns[req.TransactionalID]
	if t == nil {
		return
	}
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			if rp.ErrorCode == 0 {
				t.partitions[partition{rt.Topic, rp.Partition}] = true
			}
		}
	}
}

// learnEnd applies the markers: they raise the producer's epoch in every
// partition of the transaction, and a raised epoch has no sequence yet.
func (s *brokerState) learnEnd(req *kmsg.EndTxnRequest, resp *kmsg.EndTxnResponse) {
	if resp.ErrorCode != 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.txns[req.TransactionalID]
	if t == nil {
		return
	}
	now, epoch := time.Now().UnixMilli(), req.ProducerEpoch
	if req.Version >= 5 { // KIP-890: the marker has the epoch that the answer gives
		epoch = resp.ProducerEpoch
		s.current[resp.ProducerID] = epoch
	}
	for p := range t.partitions {
		k := s.producerLocked(p, t.id)
		if k.epoch < epoch {
			k.epoch, k.lastSequence = epoch, -1
		}
		k.lastWrite = now
	}
	t.partitions = make(map[partition]bool)
	t.complete = "CompleteAbort"
	if req.Commit {
		t.complete = "CompleteCommit"
	}
}

func (s *brokerState) producerLocked(p partition, id int64) *producer {
	if s.known[p] == nil {
		s.known[p] = make(map[int64]*producer)
	}
	if s.known[p][id] == nil {
		s.known[p][id] = &producer{epoch: -1, lastSequence: -1}
	}
	return s.known[p][id]
}

func (s *brokerState) describe(resp *kmsg.DescribeProducersResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			if rp.ErrorCode != 0 {
				continue
			}
			open := make(map[int64]int64) // kfake lists those in a transaction
			for _, ap := range rp.ActiveProducers {
				open[ap.ProducerID] = ap.CurrentTxnStartOffset
			}
			rp.ActiveProducers = nil
			for id, k := range s.known[partition{rt.Topic, rp.Partition}] {
				ap := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				ap.ProducerID, ap.ProducerEpoch, ap.LastSequence = id, int32(k.epoch), k.lastSequence
				ap.LastTimestamp, ap.CoordinatorEpoch, ap.CurrentTxnStartOffset = k.lastWrite, 0, -1
				if start, ok := open[id]; ok {
					ap.CurrentTxnStartOffset = start
				}
				rp.ActiveProducers = append(rp.ActiveProducers, ap)
			}
		}
	}
}

func (s *brokerState) describeTxns(resp *kmsg.DescribeTransactionsResponse) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range resp.TransactionStates {
		st := &resp.TransactionStates[i]
		if t := s.txns[st.TransactionalID]; t != nil && st.ErrorCode == 0 && st.State == "Empty" && t.complete != "" {
			st.State = t.complete
		}
	}
}

// topic is the name of a topic id, "" when kfake does not know it.
func (s *brokerState) topic(id [16]byte) string {
	s.mu.Lock()
	name := s.names[id]
	s.mu.Unlock()
	if name != "" {
		return name
	}
	info := s.cluster.TopicIDInfo(id)
	if info == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[id] = info.Topic
	return info.Topic
}
