package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionTimeout bounds how long a transaction that its owner abandoned can
// hold back readers of the map; the next acquisition ends it at once.
const transactionTimeout = 60 * time.Second

// errFenced says that a later owner of the transactional id has taken over.
var errFenced = errors.New("a later owner has taken over the transactional id")

// producer is one epoch of a transactional id. It is used by one goroutine.
type producer struct {
	c     *cluster
	txid  string
	id    int64
	epoch int16
}

// newProducer takes over a transactional id: whoever held it before is refused
// by the coordinator from now on, and by a partition's leader once a marker of
// the new epoch stands there.
func newProducer(ctx context.Context, c *cluster, txid string) (*producer, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &txid
	req.TransactionTimeoutMillis = int32(transactionTimeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	p := &producer{c: c, txid: txid}
	err := p.repeat(ctx, "taking over", func() (int16, error) {
		resp, err := ask[*kmsg.InitProducerIDResponse](ctx, c.ctl, req)
		if err != nil {
			return 0, err
		}
		p.id, p.epoch = resp.ProducerID, resp.ProducerEpoch
		return resp.ErrorCode, nil
	})
	return p, err
}

// repeat asks until the coordinator has come to rest: while it still completes
// the previous transaction it answers CONCURRENT_TRANSACTIONS.
func (p *producer) repeat(ctx context.Context, doing string, ask func() (int16, error)) error {
	wait := 2 * time.Millisecond
	for {
		code, err := ask()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.ProducerFenced):
			return fmt.Errorf("%s transactional id %s on cluster %s: %w", doing, p.txid, p.c.name, errFenced)
		case errors.Is(err, kerr.ConcurrentTransactions), kerr.IsRetriable(err):
		default:
			return fmt.Errorf("%s transactional id %s on cluster %s: %w", doing, p.txid, p.c.name, err)
		}
		if serr := sleep(ctx, wait); serr != nil {
			return fmt.Errorf("%s transactional id %s on cluster %s: %w (last answer: %v)", doing, p.txid, p.c.name, serr, err)
		}
		wait = min(wait*2, 100*time.Millisecond)
	}
}

// add brings partitions into the transaction. A partition without a leader is
// accepted and then left out silently, so callers look for the marker.
func (p *producer) add(ctx context.Context, tps []topicPartition) error {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.txid, p.id, p.epoch
	at := make(map[string]int)
	for _, tp := range tps {
		i, ok := at[tp.Topic]
		if !ok {
			i = len(req.Topics)
			at[tp.Topic] = i
			rt := kmsg.NewAddPartitionsToTxnRequestTopic()
			rt.Topic = tp.Topic
			req.Topics = append(req.Topics, rt)
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, tp.Partition)
	}
	return p.repeat(ctx, "adding partitions to a transaction of", func() (int16, error) {
		resp, err := ask[*kmsg.AddPartitionsToTxnResponse](ctx, p.c.ctl, req)
		if err != nil {
			return 0, err
		}
		for _, t := range resp.Topics {
			for _, rp := range t.Partitions {
				if rp.ErrorCode != 0 && kerr.ErrorForCode(rp.ErrorCode) != kerr.OperationNotAttempted {
					return rp.ErrorCode, nil
				}
			}
		}
		return resp.ErrorCode, nil
	})
}

// commit ends the transaction and returns when its markers are written: EndTxn
// answers before they are.
func (p *producer) commit(ctx context.Context) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.txid, p.id, p.epoch, true
	err := p.repeat(ctx, "ending a transaction of", func() (int16, error) {
		resp, err := ask[*kmsg.EndTxnResponse](ctx, p.c.ctl, req)
		if err != nil {
			return 0, err
		}
		return resp.ErrorCode, nil
	})
	if err != nil {
		return err
	}
	return p.awaitMarkers(ctx)
}

func (p *producer) awaitMarkers(ctx context.Context) error {
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{p.txid}
	for wait := time.Millisecond; ; wait = min(wait*2, 50*time.Millisecond) {
		resp, err := ask[*kmsg.DescribeTransactionsResponse](ctx, p.c.ctl, req)
		state := ""
		if err == nil {
			for _, s := range resp.TransactionStates {
				if err = kerr.ErrorForCode(s.ErrorCode); err == nil {
					state = s.State
				}
				if err == nil && (s.ProducerID != p.id || s.ProducerEpoch != p.epoch) {
					return fmt.Errorf("transactional id %s on cluster %s: %w", p.txid, p.c.name, errFenced)
				}
			}
		}
		switch state {
		case "CompleteCommit", "CompleteAbort", "Empty": // kfake says Empty
			return nil
		}
		if err != nil && !kerr.IsRetriable(err) && ctx.Err() == nil && isKafka(err) {
			return fmt.Errorf("state of transactional id %s on cluster %s: %w", p.txid, p.c.name, err)
		}
		if serr := sleep(ctx, wait); serr != nil {
			return fmt.Errorf("the markers of transactional id %s on cluster %s are not complete (state %q, %v): "+
				"a partition may be below its minimum of in-sync replicas: %w", p.txid, p.c.name, state, err, serr)
		}
	}
}

func isKafka(err error) bool {
	var ke *kerr.Error
	return errors.As(err, &ke)
}
