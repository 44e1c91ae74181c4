package assumptions

import (
	"fmt"
	"time"
)

type pairFact struct {
	name string
	want string
	try  func(s *session, p pair) string
}

// pairFacts are about partitions that cannot be sealed. Each begins and ends with both brokers up.
var pairFacts = []pairFact{
	{
		name: "a leaderless partition is left out of a seal without a word",
		want: "AddPartitionsToTxn ok, EndTxn ok, CompleteCommit, InitProducerId ok; it is back: epoch 0, last sequence 0, first holder ok@1; the led one: INVALID_PRODUCER_EPOCH",
		try: func(s *session, p pair) string {
			lost, led := s.topic(1, nil, 2), s.topic(1, nil, 1)
			a := s.take(name("slot"))
			a.write(lost, 0, 0)
			a.write(led, 0, 0)
			p.KillSecond()
			s.awaitLeader(lost, 0, func(leader int32) bool { return leader < 0 })
			b := s.take(a.txid)
			added := list(b.add(lost, 0), b.add(led, 0))
			if added == "ok, ok" {
				added = "ok"
			}
			ended := b.commit()
			state := b.settle()
			s.take(a.txid) // answers: it is not waiting for the lost partition
			p.RestartSecond(s)
			s.reconnect()
			s.awaitLeader(lost, 0, func(leader int32) bool { return leader == 2 })
			return fmt.Sprintf("AddPartitionsToTxn %s, EndTxn %s, %s, InitProducerId ok; it is back: %s, first holder %s; the led one: %s",
				added, ended, state, s.producer(lost, 0, a.pid), a.write(lost, 0, 1), a.write(led, 0, 1))
		},
	},
	{
		name: "a partition under its minimum of in-sync replicas keeps a seal from completing until it is above",
		want: "EndTxn ok, after 5 s PrepareCommit, with the replica back CompleteCommit, first holder INVALID_PRODUCER_EPOCH",
		try: func(s *session, p pair) string {
			t := s.topic(1, map[string]string{"min.insync.replicas": "2"}, 1, 2)
			a := s.take(name("slot"))
			a.write(t, 0, 0)
			p.KillSecond()
			// Until the controller has noticed, the ISR is still two and the marker would wait as a record does.
			time.Sleep(5 * time.Second)
			b := s.take(a.txid)
			b.add(t, 0)
			ended := b.commit()
			time.Sleep(5 * time.Second)
			state, _ := b.describe()
			p.RestartSecond(s)
			return fmt.Sprintf("EndTxn %s, after 5 s %s, with the replica back %s, first holder %s", ended, state, b.settle(), a.write(t, 0, 1))
		},
	},
}
