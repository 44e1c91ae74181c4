package history

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var tp0 = TopicPartition{"orders", 0}

// clean is a history of ten records of one producer, written, read and
// committed, with its log.
func clean() (*Recorder, []Entry) {
	start := time.Unix(0, 0)
	c := NewRecorder(start)
	var log []Entry
	for i := range int64(10) {
		at := start.Add(time.Duration(i) * time.Millisecond)
		r := Record{"a", i}
		c.Produced(at, r)
		c.Acknowledged(at, r, tp0, i)
		c.Consumed(at, "g", "m", r, tp0, i)
		log = append(log, Entry{r, tp0, i})
	}
	c.Committed(start, "g", tp0, 10)
	return c, log
}

func TestKeptPromisesAreNotBroken(t *testing.T) {
	c, log := clean()
	for _, final := range [][]Entry{nil, log} {
		if v := Check(c.History(), final); v.Broken() != nil || v.Acknowledged != 10 {
			t.Fatalf("%v %v", v.Broken(), v.Examples)
		}
	}
}

func TestEveryBrokenPromiseIsNoticed(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(h *History, log *[]Entry)
		count  func(*Verdict) int
	}{
		"an acknowledged record that nobody has is lost": {
			func(h *History, log *[]Entry) { *log = (*log)[:9]; h.Consumed = h.Consumed[:9]; h.Committed = nil },
			func(v *Verdict) int { return v.Lost },
		},
		"a record that was only consumed is lost from the log": {
			func(h *History, log *[]Entry) { *log = (*log)[:9] },
			func(v *Verdict) int { return v.Lost },
		},
		"a record at two offsets is duplicated": {
			func(h *History, log *[]Entry) { *log = append(*log, Entry{Record{"a", 4}, tp0, 10}) },
			func(v *Verdict) int { return v.Duplicated },
		},
		"a record behind a later one is out of order": {
			func(h *History, log *[]Entry) {
				for _, r := range []int64{12, 11} {
					h.Produced = append(h.Produced, Produced{Record: Record{"a", r}})
					*log = append(*log, Entry{Record{"a", r}, tp0, int64(len(*log))})
				}
			},
			func(v *Verdict) int { return v.OutOfOrder },
		},
		"an acknowledgement of another offset is wrong": {
			func(h *History, log *[]Entry) { h.Acknowledged[9].Offset = 11 },
			func(v *Verdict) int { return v.WrongOffset },
		},
		"a read at another offset is wrong": {
			func(h *History, log *[]Entry) { h.Consumed[9].Offset = 12 },
			func(v *Verdict) int { return v.WrongOffset },
		},
		"an offset of two records is wrong": {
			func(h *History, log *[]Entry) {
				h.Produced = append(h.Produced, Produced{Record: Record{"b", 1}})
				h.Acknowledged = append(h.Acknowledged, Acknowledged{Record{"b", 1}, tp0, 3, 0})
			},
			func(v *Verdict) int { return v.WrongOffset },
		},
		"an offset of a tail that is used again is wrong": {
			func(h *History, log *[]Entry) {
				h.Tails = []Tail{{tp0, 9, 11}}
				h.Produced = append(h.Produced, Produced{Record: Record{"b", 1}})
				*log = append((*log)[:9], Entry{Record{"b", 1}, tp0, 9})
			},
			func(v *Verdict) int { return v.WrongOffset },
		},
		"a record that a group passed over is skipped": {
			func(h *History, log *[]Entry) { h.Consumed = append(h.Consumed[:4], h.Consumed[5:]...) },
			func(v *Verdict) int { return v.Skipped },
		},
		"a commit beyond what was read is ahead": {
			func(h *History, log *[]Entry) { h.Committed[0].Offset = 11 },
			func(v *Verdict) int { return v.CommittedAhead },
		},
		"a record that nobody produced is a phantom": {
			func(h *History, log *[]Entry) { h.Produced = h.Produced[:9] },
			func(v *Verdict) int { return v.Phantom },
		},
		"a produce error is an error": {
			func(h *History, log *[]Entry) {
				h.Failed = append(h.Failed, Failed{Record{"a", 10}, "timed out", 0})
			},
			func(v *Verdict) int { return v.Failed },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, log := clean()
			h := c.History()
			tc.damage(h, &log)
			v := Check(h, log)
			if tc.count(v) != 1 || v.Broken() == nil || len(v.Examples) == 0 {
				t.Fatalf("%+v", v)
			}
		})
	}
	c, _ := clean()
	c.Error(errors.New("fetch failed"))
	if v := Check(c.History(), nil); v.Failed != 1 {
		t.Fatalf("an error of a client was not noticed: %+v", v)
	}
}

func TestDeclaredTailIsNotLoss(t *testing.T) {
	c, log := clean()
	h := c.History()
	h.Tails = []Tail{{tp0, 8, 10}}
	h.Committed = nil
	// The producer saw no acknowledgement of record 9 and wrote it again behind
	// the tail; a consumer had read it in the tail.
	h.Acknowledged = h.Acknowledged[:9]
	h.Acknowledged = append(h.Acknowledged, Acknowledged{Record{"a", 9}, tp0, 10, 0})
	h.Consumed = append(h.Consumed, Consumed{"g", "m", Record{"a", 9}, tp0, 10, 0})
	log = append(log[:8], Entry{Record{"a", 9}, tp0, 10})
	for _, final := range [][]Entry{nil, log} {
		v := Check(h, final)
		if v.Broken() != nil || v.LostInDeclaredTail != 1 || v.ReadInTail != 2 {
			t.Fatalf("%+v", v)
		}
	}
	h.Tails[0].From = 9
	if v := Check(h, log); v.Lost != 1 || v.LostInDeclaredTail != 0 {
		t.Fatalf("a loss outside the tail passed: %+v", v)
	}
}

func TestRereadIsNotADuplicate(t *testing.T) {
	c, log := clean()
	h := c.History()
	h.Consumed = append(h.Consumed, h.Consumed[5:]...)
	if v := Check(h, log); v.Broken() != nil || v.Reread != 5 {
		t.Fatalf("%+v", v)
	}
	h.Consumed = append(h.Consumed, Consumed{"other", "m", Record{"a", 0}, tp0, 0, 0})
	if v := Check(h, log); v.Reread != 5 {
		t.Fatalf("the first read of another group was counted as a re-read: %+v", v)
	}
}

func TestLongestPauseIsBetweenNeighbours(t *testing.T) {
	c, _ := clean()
	c.Acknowledged(time.Unix(3, 0), Record{"a", 10}, tp0, 10)
	if v := Check(c.History(), nil); v.ProducePause != 3*time.Second-9*time.Millisecond || v.LongestPause() != v.ProducePause {
		t.Fatalf("%v", v.ProducePause)
	}
}

// A model of the product: producers append to a log with in-order partitions,
// cutovers drop a tail and leave a gap, some acknowledgements are not seen and
// their records repeated. Its histories are clean; with one random damage they
// are not.
func TestModelHistoriesAreCleanAndDamagedOnesAreNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, log := model(t)
		if v := Check(h, log); v.Broken() != nil {
			t.Fatalf("clean history: %v %v", v.Broken(), v.Examples)
		}
		if len(log) == 0 {
			return
		}
		i := rapid.IntRange(0, len(log)-1).Draw(t, "where")
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0: // lose
			log = append(log[:i:i], log[i+1:]...)
		case 1: // double
			e := log[i]
			e.Offset = 1 << 40
			log = append(log, e)
		case 2: // overwrite
			e := log[i]
			e.Record = Record{"zombie", 1}
			log[i] = e
		case 3: // shift
			log[i].Offset = 1 << 40
		}
		if v := Check(h, log); v.Broken() == nil {
			t.Fatalf("damage at %d was not noticed: %+v", i, v)
		}
	})
}

func model(t *rapid.T) (*History, []Entry) {
	const partitions, producers = 2, 2
	c := NewRecorder(time.Unix(0, 0))
	var log []Entry
	var next [partitions]int64
	var number [producers]int64
	for range rapid.IntRange(1, 4).Draw(t, "tenures") {
		var tail [partitions][]Entry
		for range rapid.IntRange(0, 30).Draw(t, "records") {
			p, who := rapid.IntRange(0, partitions-1).Draw(t, "partition"), rapid.IntRange(0, producers-1).Draw(t, "producer")
			tp := TopicPartition{"orders", int32(p)}
			e := Entry{Record{string(rune('a' + who)), number[who]}, tp, next[p]}
			c.Produced(time.Unix(0, 0), e.Record)
			number[who]++
			next[p]++
			inTail := len(tail[p]) > 0 || rapid.IntRange(0, 9).Draw(t, "tail starts") == 0
			if inTail {
				tail[p] = append(tail[p], e)
				if rapid.Bool().Draw(t, "read in tail") {
					c.Consumed(time.Unix(0, 0), "g", "m", e.Record, tp, e.Offset)
				}
				continue
			}
			log = append(log, e)
			c.Acknowledged(time.Unix(0, 0), e.Record, tp, e.Offset)
			c.Consumed(time.Unix(0, 0), "g", "m", e.Record, tp, e.Offset)
		}
		for p := range tail {
			if len(tail[p]) == 0 {
				continue
			}
			tp := tail[p][0].TopicPartition
			c.Tail(tp, tail[p][0].Offset, next[p])
			next[p] += rapid.Int64Range(0, 100).Draw(t, "jump")
			// The acknowledgements of the last few were not seen: repeated in order.
			seen := rapid.IntRange(0, len(tail[p])).Draw(t, "seen")
			for _, e := range tail[p][:seen] {
				c.Acknowledged(time.Unix(0, 0), e.Record, tp, e.Offset)
			}
			for _, e := range tail[p][seen:] {
				e.Offset = next[p]
				next[p]++
				log = append(log, e)
				c.Acknowledged(time.Unix(0, 0), e.Record, tp, e.Offset)
				c.Consumed(time.Unix(0, 0), "g", "m", e.Record, tp, e.Offset)
			}
		}
	}
	return c.History(), log
}

func BenchmarkCheckMillionRecords(b *testing.B) {
	c := NewRecorder(time.Unix(0, 0))
	for i := range int64(1_000_000) {
		tp := TopicPartition{"orders", int32(i % 8)}
		r := Record{"a", i}
		c.Produced(time.Unix(0, i), r)
		c.Acknowledged(time.Unix(0, i), r, tp, i/8)
		c.Consumed(time.Unix(0, i), "g", "m", r, tp, i/8)
	}
	h := c.History()
	for b.Loop() {
		if v := Check(h, nil); v.Broken() != nil {
			b.Fatal(v.Broken())
		}
	}
}
