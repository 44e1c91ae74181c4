package history

import (
	"cmp"
	"slices"
	"time"
)

// Check judges h. final is the whole log as clients would read it at the end,
// nil when it was not read: then what was consumed stands in for it, and every
// acknowledged record must have been consumed by some group.
//
// The rules, where "tail" is the union of h.Tails and the log is final (or what
// was consumed):
//
//   - an acknowledged record is in the log, or its acknowledged offset is in a
//     tail;
//   - a record is in the log once, outside tails;
//   - an acknowledged offset, a consumed one and the log's are the same for the
//     same record, but for a reader that read it in a tail, before its producer
//     repeated it;
//   - an offset stands for one record, in tails too;
//   - by offset, the records of one producer in one partition ascend.
func Check(h *History, final []Entry) *Verdict {
	v := &Verdict{
		Produced: len(h.Produced), Acknowledged: len(h.Acknowledged), Consumed: len(h.Consumed),
		Failed: len(h.Failed) + len(h.Errors), Errors: slices.Clone(h.Errors),
	}
	for _, f := range h.Failed {
		v.example("failed", "%v: %s", f.Record, f.Err)
	}
	for _, e := range h.Errors {
		v.example("error", "%s", e)
	}
	c := &checker{v: v, tails: newTails(h.Tails), logIsFinal: final != nil}
	c.sightings(h, final)
	c.checkOffsets()
	c.checkRecords()
	c.checkOrder()
	c.checkGroups(h, final)
	c.checkPhantoms(h)
	v.ProducePause = longestGap(h.Acknowledged, func(a Acknowledged) time.Duration { return a.At })
	v.ConsumePause = longestGap(h.Consumed, func(c Consumed) time.Duration { return c.At })
	return v
}

// source says how a sighting came about.
type source uint8

const (
	acked source = iota
	consumed
	inFinal
)

// sighting is one statement that a record is at an offset. Strings are interned
// so that sorting compares numbers.
type sighting struct {
	tp, producer   int32
	group          int32 // of consumed
	src            source
	tail           bool
	offset, number int64
}

type checker struct {
	v          *Verdict
	tails      tails
	logIsFinal bool

	tps       interner[TopicPartition]
	producers interner[string]
	groups    interner[string]
	seen      []sighting
	first     []sighting // of each record in the log, by record
}

func (c *checker) record(s sighting) Record {
	return Record{c.producers.names[s.producer], s.number}
}

func (c *checker) sightings(h *History, final []Entry) {
	c.seen = make([]sighting, 0, len(h.Acknowledged)+len(h.Consumed)+len(final))
	add := func(src source, group string, r Record, tp TopicPartition, offset int64) {
		c.seen = append(c.seen, sighting{
			tp: c.tps.id(tp), producer: c.producers.id(r.Producer), group: c.groups.id(group), src: src,
			tail: c.tails.hold(tp, offset), offset: offset, number: r.Number,
		})
	}
	for _, e := range h.Acknowledged {
		add(acked, "", e.Record, e.TopicPartition, e.Offset)
	}
	for _, e := range h.Consumed {
		add(consumed, e.Group, e.Record, e.TopicPartition, e.Offset)
	}
	for _, e := range final {
		add(inFinal, "", e.Record, e.TopicPartition, e.Offset)
	}
}

// log says whether s is evidence that the record is there.
func (c *checker) log(s sighting) bool {
	if s.tail {
		return false
	}
	return s.src == inFinal || !c.logIsFinal && s.src == consumed
}

func byOffset(a, b sighting) int {
	return cmp.Or(cmp.Compare(a.tp, b.tp), cmp.Compare(a.offset, b.offset), cmp.Compare(a.producer, b.producer),
		cmp.Compare(a.number, b.number), cmp.Compare(a.src, b.src), cmp.Compare(a.group, b.group))
}

func byRecord(a, b sighting) int {
	return cmp.Or(cmp.Compare(a.producer, b.producer), cmp.Compare(a.number, b.number), cmp.Compare(a.tp, b.tp),
		cmp.Compare(a.offset, b.offset), cmp.Compare(a.src, b.src))
}

func sameRecord(a, b sighting) bool { return a.producer == b.producer && a.number == b.number }
func sameOffset(a, b sighting) bool { return a.tp == b.tp && a.offset == b.offset }

// checkOffsets finds offsets that stood for two records, and counts re-reads.
func (c *checker) checkOffsets() {
	slices.SortFunc(c.seen, byOffset)
	for i := 1; i < len(c.seen); i++ {
		a, b := c.seen[i-1], c.seen[i]
		if !sameOffset(a, b) {
			continue
		}
		if !sameRecord(a, b) {
			c.v.WrongOffset++
			c.v.example("wrong offset", "offset %d of %v stood for %v and for %v", b.offset, c.tps.names[b.tp], c.record(a), c.record(b))
		} else if a.src == consumed && b.src == consumed && a.group == b.group {
			c.v.Reread++
		}
	}
}

// checkRecords judges each record's places.
func (c *checker) checkRecords() {
	slices.SortFunc(c.seen, byRecord)
	for run := range runs(c.seen, sameRecord) {
		var places []sighting // in the log, one for each offset
		ack, inTail := -1, false
		for i, s := range run {
			switch {
			case c.log(s):
				if len(places) == 0 || !sameOffset(places[len(places)-1], s) {
					places = append(places, s)
				}
			case s.src == consumed && s.tail:
				inTail = true
			}
			if s.src == acked {
				if ack >= 0 && !sameOffset(run[ack], s) {
					c.v.WrongOffset++
					c.v.example("wrong offset", "%v was acknowledged at %d and at %d", c.record(s), run[ack].offset, s.offset)
				}
				ack = i
			}
		}
		if inTail {
			c.v.ReadInTail++
		}
		if len(places) > 0 {
			c.first = append(c.first, places[0])
		}
		if len(places) > 1 {
			c.v.Duplicated += len(places) - 1
			c.v.example("duplicated", "%v of %v is at %d and at %d", c.record(run[0]), c.tps.names[places[0].tp], places[0].offset, places[1].offset)
		}
		if ack >= 0 {
			c.checkAck(run[ack], places)
		}
		if c.logIsFinal {
			c.checkReaders(run, places)
		}
	}
}

func (c *checker) checkAck(ack sighting, places []sighting) {
	tp := c.tps.names[ack.tp]
	switch {
	case slices.ContainsFunc(places, func(s sighting) bool { return sameOffset(s, ack) }):
	case len(places) > 0:
		c.v.WrongOffset++
		c.v.example("wrong offset", "%v was acknowledged at %v offset %d and is at %v offset %d", c.record(ack), tp, ack.offset, c.tps.names[places[0].tp], places[0].offset)
	case ack.tail:
		c.v.LostInDeclaredTail++
	default:
		c.v.Lost++
		c.v.example("lost", "%v, acknowledged at offset %d of %v", c.record(ack), ack.offset, tp)
	}
}

// checkReaders finds reads outside tails at an offset that the final log does
// not have the record at.
func (c *checker) checkReaders(run, places []sighting) {
	for i, s := range run {
		if s.src != consumed || s.tail || i > 0 && run[i-1].src == consumed && sameOffset(run[i-1], s) {
			continue
		}
		if !slices.ContainsFunc(places, func(p sighting) bool { return sameOffset(p, s) }) {
			c.v.WrongOffset++
			c.v.example("wrong offset", "%v was read at offset %d of %v, where the log does not have it", c.record(s), s.offset, c.tps.names[s.tp])
		}
	}
}

// checkOrder looks at each record's first place, so that a duplicate is not
// also counted here.
func (c *checker) checkOrder() {
	slices.SortFunc(c.first, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.tp, b.tp), cmp.Compare(a.producer, b.producer), cmp.Compare(a.offset, b.offset))
	})
	for run := range runs(c.first, func(a, b sighting) bool { return a.tp == b.tp && a.producer == b.producer }) {
		highest := run[0]
		for _, s := range run[1:] {
			if s.number > highest.number {
				highest = s
				continue
			}
			c.v.OutOfOrder++
			c.v.example("out of order", "%v is at offset %d of %v, behind %v at %d", c.record(s), s.offset, c.tps.names[s.tp], c.record(highest), highest.offset)
		}
	}
}
