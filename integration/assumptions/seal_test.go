package assumptions

import (
	"fmt"
	"time"
)

// The seal: a producer id taken with InitProducerId(transactional id) writes idempotent, non-transactional batches;
// the next one who takes the id shuts it out with the markers of an otherwise empty transaction.
var sealFacts = []fact{
	{
		name: "taking a transactional id again keeps the producer id and raises the epoch by one",
		want: "same id, epoch +1",
		try: func(s *session) string {
			a := s.take(name("slot"))
			b := s.take(a.txid)
			if a.pid != b.pid {
				return "another id"
			}
			return fmt.Sprintf("same id, epoch %+d", b.epoch-a.epoch)
		},
	},
	{
		name: "until the markers are written the first holder can write",
		want: "ok@0, after InitProducerId ok@1, after AddPartitionsToTxn ok@2",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			first := a.write(t, 0, 0)
			b := s.take(a.txid)
			taken := a.write(t, 0, 1)
			b.add(t, 0)
			return fmt.Sprintf("%s, after InitProducerId %s, after AddPartitionsToTxn %s", first, taken, a.write(t, 0, 2))
		},
	},
	{
		name: "after the markers the first holder is refused, also where the new one has written nothing",
		want: "sealed: INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_EPOCH; not sealed: ok@1",
		try: func(s *session) string {
			t := s.topic(3, nil)
			a := s.take(name("slot"))
			a.write(t, 0, 0)
			a.write(t, 2, 0)
			b := s.take(a.txid)
			b.seal(t, 0, 1)
			return fmt.Sprintf("sealed: %s, %s; not sealed: %s", a.write(t, 0, 1), a.write(t, 1, 0), a.write(t, 2, 1))
		},
	},
	{
		name: "the new holder begins at its epoch with sequence 0",
		want: "OUT_OF_ORDER_SEQUENCE_NUMBER, ok@2, ok@3",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			a.write(t, 0, 0)
			b := s.take(a.txid)
			b.seal(t, 0)
			return list(b.write(t, 0, 1), b.write(t, 0, 0), b.write(t, 0, 1))
		},
	},
	{
		name: "a marker takes one offset, no consumer sees it, and the last stable offset follows",
		want: "0-0 0x0, 1-1 marker, 2-2 0x0, 3-3 marker; end 4; consumed 0.0@0 1.0@2",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			a.write(t, 0, 0)
			b := s.take(a.txid)
			b.seal(t, 0)
			b.write(t, 0, 0)
			b.seal(t, 0)
			return fmt.Sprintf("%s; %s; consumed %s", s.stored(t, 0), ends(s, t), s.consumed(t, 0))
		},
	},
	{
		name: "other producers do not notice",
		want: "ok@0, ok@2",
		try: func(s *session) string {
			t, other := s.topic(1, nil), pid()
			before := s.append(t, 0, batch{pid: other, seq: 5, values: of(1)})
			s.take(name("slot")).seal(t, 0)
			return list(before, s.append(t, 0, batch{pid: other, seq: 6, values: of(1)}))
		},
	},
	{
		name: "DescribeProducers shows a sealed, unwritten partition with the new epoch and last sequence -1",
		want: "unknown, then epoch 1, last sequence -1",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			before := s.producer(t, 0, a.pid)
			b := s.take(a.txid)
			b.seal(t, 0)
			return before + ", then " + s.producer(t, 0, a.pid)
		},
	},
	{
		name: "EndTxn version 4 leaves the epoch alone, version 5 raises it and shuts out the one before",
		want: "version 4: ok, epoch +0, write ok@1; version 5: ok, answered epoch +1, write INVALID_PRODUCER_EPOCH, at the new epoch ok@3",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			a.add(t, 0)
			four := a.commit()
			a.settle()
			_, epoch := a.describe()
			wrote := a.write(t, 0, 0)
			a.add(t, 0)
			five, raised := a.finish(s.secondKind(), true)
			a.settle()
			b := a
			b.epoch = raised
			return fmt.Sprintf("version 4: %s, epoch %+d, write %s; version 5: %s, answered epoch %+d, write %s, at the new epoch %s",
				four, epoch-a.epoch, wrote, five, raised-a.epoch, a.write(t, 0, 1), b.write(t, 0, 0))
		},
	},
	{
		name: "DescribeTransactions tells when markers are complete, and raises no epoch",
		want: "Empty, Ongoing, CompleteCommit, CompleteAbort, epoch +0",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			empty, _ := a.describe()
			a.add(t, 0)
			open, _ := a.describe()
			a.commit()
			committed := a.settle()
			a.add(t, 0)
			a.finish(s.cl, false)
			aborted := a.settle()
			_, epoch := a.describe()
			return list(empty, open, committed, aborted, fmt.Sprintf("epoch %+d", epoch-a.epoch))
		},
	},
	{
		name: "a whole acquisition: map transaction with a record, data transaction without, then plain batches on both",
		want: "map ok@0, data ok@1, ok@1, ok@1, map ok@2, small transaction ok@3, data ok@2, map ok@5; after the next acquisition: INVALID_PRODUCER_EPOCH on data, INVALID_PRODUCER_EPOCH on the map, INVALID_PRODUCER_EPOCH where it never wrote",
		try: func(s *session) string {
			data, mapt := s.topic(4, nil), s.topic(1, nil)
			acquire := func(txid string) (holder, string) {
				h := s.take(txid)
				h.add(mapt, 0)
				role := h.writeInTxn(mapt, 0, 0)
				h.commit()
				h.settle()
				h.seal(data, 0, 1, 2, 3)
				return h, role
			}
			a, role := acquire(name("slot"))
			wrote := list("map "+role, "data "+a.write(data, 0, 0), a.write(data, 1, 0), a.write(data, 2, 0), "map "+a.write(mapt, 0, 1))
			a.add(mapt, 0)
			small := a.writeInTxn(mapt, 0, 2)
			a.commit()
			a.settle()
			wrote = list(wrote, "small transaction "+small, "data "+a.write(data, 0, 1), "map "+a.write(mapt, 0, 3))
			acquire(a.txid)
			return fmt.Sprintf("%s; after the next acquisition: %s on data, %s on the map, %s where it never wrote",
				wrote, a.write(data, 0, 2), a.write(mapt, 0, 4), a.write(data, 3, 0))
		},
	},
	{
		name: "with a transaction open its producer may write outside of it only where the transaction has not written",
		want: "elsewhere ok@0, added but unwritten ok@0, written INVALID_TXN_STATE",
		try: func(s *session) string {
			t := s.topic(3, nil)
			a := s.take(name("slot"))
			a.add(t, 0, 1)
			a.writeInTxn(t, 0, 0)
			return fmt.Sprintf("elsewhere %s, added but unwritten %s, written %s", a.write(t, 2, 0), a.write(t, 1, 0), a.write(t, 0, 1))
		},
	},
	{
		name: "the fence is the marker, which is stamped now: old records do not make the broker forget it",
		want: "forgotten unknown, sealed and swept epoch 1, last sequence -1, INVALID_PRODUCER_EPOCH",
		try: func(s *session) string {
			t := s.topic(1, nil)
			a := s.take(name("slot"))
			s.append(t, 0, batch{pid: a.pid, epoch: a.epoch, age: 48 * time.Hour, values: of(1)})
			s.sweep()
			forgotten := s.producer(t, 0, a.pid)
			b := s.take(a.txid)
			b.seal(t, 0)
			s.sweep()
			return fmt.Sprintf("forgotten %s, sealed and swept %s, %s", forgotten, s.producer(t, 0, a.pid), a.write(t, 0, 0))
		},
	},
	{
		name: "a transaction over 400 partitions completes at once",
		want: "sealed within 5 s",
		try: func(s *session) string {
			const n = 400
			t := s.topic(n, nil)
			a := s.take(name("slot"))
			var all []int32
			for p := range int32(n) {
				all = append(all, p)
			}
			began := time.Now()
			a.seal(t, all...)
			took := time.Since(began)
			s.Logf("%d partitions sealed in %v", n, took.Round(time.Millisecond))
			if took > 5*time.Second {
				return fmt.Sprintf("sealed in %v", took)
			}
			return "sealed within 5 s"
		},
	},
}
