package assumptions

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Append at a position: idempotent, non-transactional batches of one producer id, acks = −1.
var appendFacts = []fact{
	{
		name: "a producer id that the cluster never issued may begin at any sequence",
		want: "ok@0, ok@0, ok@0",
		try: func(s *session) string { // three partitions: none was ever written
			t := s.topic(3, nil)
			return list(
				s.append(t, 0, batch{pid: 1<<48 + 7, seq: 0, values: of(1)}),
				s.append(t, 1, batch{pid: 1<<61 + 5, epoch: 3, seq: 17, values: of(1)}),
				s.append(t, 2, batch{pid: 1<<48 + 7, seq: 1_000_000, values: of(1)}))
		},
	},
	{
		name: "the next batch begins at the last sequence + 1",
		want: "ok@0, ok@3, ok@5",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, seq: 40, values: of(3)}),
				s.append(t, 0, batch{pid: p, seq: 43, values: of(2)}),
				s.append(t, 0, batch{pid: p, seq: 45, values: of(1)}))
		},
	},
	{
		name: "a gap in the sequence is refused",
		want: "ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER, end 2",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, seq: 0, values: of(2)}),
				s.append(t, 0, batch{pid: p, seq: 3, values: of(1)}),
				ends(s, t))
		},
	},
	{
		name: "a batch that overlaps with the last is refused",
		want: "ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER, OUT_OF_ORDER_SEQUENCE_NUMBER, end 3",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, seq: 0, values: of(3)}),
				s.append(t, 0, batch{pid: p, seq: 2, values: of(3)}),
				s.append(t, 0, batch{pid: p, seq: 0, values: of(4)}),
				ends(s, t))
		},
	},
	{
		name: "each of the last five batches again succeeds with its own offset and writes nothing",
		want: "ok@2, ok@4, ok@6, ok@8, ok@10, end 12",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			six(s, t, p)
			var again []string
			for i := int32(1); i < 6; i++ {
				again = append(again, s.append(t, 0, batch{pid: p, seq: 2 * i, values: of(2)}))
			}
			return list(append(again, ends(s, t))...)
		},
	},
	{
		name: "a batch older than the last five is refused",
		want: "OUT_OF_ORDER_SEQUENCE_NUMBER, end 12",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			six(s, t, p)
			return list(s.append(t, 0, batch{pid: p, seq: 0, values: of(2)}), ends(s, t))
		},
	},
	{
		name: "a batch is known again by producer, epoch and sequences, not by content",
		want: "ok@0, ok@0, end 1, v0@0",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, seq: 5, values: of(1)}),
				s.append(t, 0, batch{pid: p, seq: 5, values: []string{"something else"}}),
				ends(s, t), s.consumed(t, 0))
		},
	},
	{
		name: "sequences go on at 0 after 2^31-1, between batches and inside one",
		want: "ok@0, ok@2, ok@0, ok@4",
		try: func(s *session) string {
			t, p := s.topic(2, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, seq: math.MaxInt32 - 1, values: of(2)}),
				s.append(t, 0, batch{pid: p, seq: 0, values: of(1)}),
				s.append(t, 1, batch{pid: p, seq: math.MaxInt32 - 1, values: of(4)}), // …, 2^31−1, 0, 1
				s.append(t, 1, batch{pid: p, seq: 2, values: of(1)}))
		},
	},
	{
		name: "a higher epoch begins at sequence 0 only, and shuts out the lower one",
		want: "ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER, ok@1, INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_EPOCH",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, epoch: 4, seq: 0, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 5, seq: 1, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 5, seq: 0, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 4, seq: 1, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 4, seq: 0, values: of(1)})) // even the batch that was accepted
		},
	},
	{
		name: "epochs are kept per partition",
		want: "ok@0, ok@0, ok@1",
		try: func(s *session) string {
			t, p := s.topic(2, nil), pid()
			return list(
				s.append(t, 0, batch{pid: p, epoch: 4, seq: 0, values: of(1)}),
				s.append(t, 1, batch{pid: p, epoch: 5, seq: 0, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 4, seq: 1, values: of(1)}))
		},
	},
	{
		name: "a transactional batch without a transaction is refused",
		want: "TRANSACTIONAL_ID_AUTHORIZATION_FAILED, end 0",
		try: func(s *session) string {
			t := s.topic(1, nil)
			return list(s.append(t, 0, batch{pid: pid(), attrs: attrTransactional, values: of(1)}), ends(s, t))
		},
	},
	{
		name: "a request takes one batch per partition",
		want: "INVALID_RECORD, end 0",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			two := append(batch{pid: p, seq: 0, values: of(1)}.bytes(), batch{pid: p, seq: 1, values: of(1)}.bytes()...)
			return list(s.appendRaw(t, 0, nil, two), ends(s, t))
		},
	},
	{
		name: "a base offset other than 0 is refused",
		want: "INVALID_RECORD, end 0",
		try: func(s *session) string {
			t := s.topic(1, nil)
			return list(s.append(t, 0, batch{base: 7, pid: pid(), values: of(1)}), ends(s, t))
		},
	},
	{
		name: "an unused attribute bit is accepted and kept",
		want: "ok@0, 0-0 0x200",
		try: func(s *session) string {
			t := s.topic(1, nil)
			return list(s.append(t, 0, batch{pid: pid(), attrs: attrUnused, values: of(1)}), s.stored(t, 0))
		},
	},
	{
		name: "a corrupt batch is refused",
		want: "CORRUPT_MESSAGE, end 0",
		try: func(s *session) string {
			t := s.topic(1, nil)
			b := batch{pid: pid(), values: of(1)}.bytes()
			b[len(b)-2] ^= 1
			return list(s.appendRaw(t, 0, nil, b), ends(s, t))
		},
	},
	{
		name: "DescribeProducers has epoch and last sequence of each producer in each partition",
		want: "epoch 3, last sequence 11; epoch 3, last sequence 70; epoch 0, last sequence 0; unknown",
		try: func(s *session) string {
			t, p, other := s.topic(2, nil), pid(), pid()
			s.append(t, 0, batch{pid: p, epoch: 3, seq: 10, values: of(2)})
			s.append(t, 1, batch{pid: p, epoch: 3, seq: 70, values: of(1)})
			s.append(t, 0, batch{pid: other, values: of(1)})
			return strings.Join([]string{s.producer(t, 0, p), s.producer(t, 1, p), s.producer(t, 0, other), s.producer(t, 1, other)}, "; ")
		},
	},
	{
		name: "a producer is forgotten by the timestamps of its records, not by when it wrote them",
		want: "old: ok@0, unknown, again ok@1; gap: ok@0, unknown, ok@1; lower epoch: ok@0, unknown, ok@1",
		try: func(s *session) string {
			t, p := s.topic(3, nil), pid()
			const old = 48 * time.Hour // producer.id.expiration.ms is 24 h
			answers := [3]string{}
			for i := range answers {
				answers[i] = s.append(t, int32(i), batch{pid: p, epoch: 1, seq: 0, age: old, values: of(1)})
			}
			s.sweep()
			return fmt.Sprintf("old: %s, %s, again %s; gap: %s, %s, %s; lower epoch: %s, %s, %s",
				answers[0], s.producer(t, 0, p), s.append(t, 0, batch{pid: p, epoch: 1, seq: 0, age: old, values: of(1)}),
				answers[1], s.producer(t, 1, p), s.append(t, 1, batch{pid: p, epoch: 1, seq: 9, age: old, values: of(1)}),
				answers[2], s.producer(t, 2, p), s.append(t, 2, batch{pid: p, epoch: 0, seq: 1, age: old, values: of(1)}))
		},
	},
	{
		name: "a producer whose records are stamped now is remembered through the sweep",
		want: "ok@0, epoch 1, last sequence 0, ok@0, OUT_OF_ORDER_SEQUENCE_NUMBER",
		try: func(s *session) string {
			t, p := s.topic(1, nil), pid()
			first := s.append(t, 0, batch{pid: p, epoch: 1, values: of(1)})
			s.sweep()
			return list(first, s.producer(t, 0, p),
				s.append(t, 0, batch{pid: p, epoch: 1, values: of(1)}),
				s.append(t, 0, batch{pid: p, epoch: 1, seq: 9, values: of(1)}))
		},
	},
}

// six appends six batches of two records each.
func six(s *session, topic string, pid int64) {
	for i := range int32(6) {
		if answer := s.append(topic, 0, batch{pid: pid, seq: 2 * i, values: of(2)}); answer != fmt.Sprintf("ok@%d", 2*i) {
			s.Fatalf("batch %d: %s", i, answer)
		}
	}
}

// ends is the end of the log of partition 0; if the last stable offset is not the same it is there too.
func ends(s *session, topic string) string {
	end, stable := s.end(topic, 0, false), s.end(topic, 0, true)
	if end == stable {
		return fmt.Sprintf("end %d", end)
	}
	return fmt.Sprintf("end %d, stable %d", end, stable)
}

func list(answers ...string) string { return strings.Join(answers, ", ") }
