package logmap

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is a log as a list of cells: the logical offset of each cluster offset,
// -1 where the cluster has something that the logical log lacks.
func TestTranslationAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var cells []Logical
		var extents []Extent
		logical, gen := Logical(rapid.Int64Range(0, 5).Draw(t, "first")), Generation(1)
		found, before, began := logical, logical, Generation(0)
		for range rapid.IntRange(1, 12).Draw(t, "runs") {
			if gen != began {
				before, began = found, gen // what the generation's writer found
			}
			extents = append(extents, Extent{Generation: gen, Cluster: Cluster(len(cells)), Logical: logical, Before: before})
			for range rapid.IntRange(1, 4).Draw(t, "records") {
				cells = append(cells, logical)
				logical++
			}
			found = logical
			for range rapid.IntRange(0, 2).Draw(t, "markers") {
				cells = append(cells, -1)
			}
			logical += Logical(rapid.IntRange(0, 3).Draw(t, "hole"))
			gen += Generation(rapid.IntRange(0, 1).Draw(t, "acquired"))
		}
		var m Map
		for _, i := range rapid.Permutation(indices(len(extents))).Draw(t, "order") {
			m.Add(extents[i])
			m.Add(extents[i])
		}
		if !slices.Equal(m.Extents(), extents) {
			t.Fatalf("order of arrival mattered: %v, want %v", m.Extents(), extents)
		}
		lastExtent := extents[len(extents)-1].Cluster
		for c, want := range cells {
			got, ok := m.Record(Cluster(c))
			if want >= 0 && (!ok || got != want) {
				t.Fatalf("record at %d: %d %v, want %d", c, got, ok, want)
			}
			if want < 0 && ok && Cluster(c) < lastExtent {
				// Only a hole inside a generation can hide a marker: a writer's own
				// seals begin a generation.
				if back := m.Cluster(got); back != Cluster(c) {
					t.Fatalf("marker at %d takes logical %d, which is at %d", c, got, back)
				}
			}
		}
		// The ceiling: the first cell whose logical offset is l or above.
		for l := Logical(0); l < logical && l < cells[lastExtent]; l++ {
			want := slices.IndexFunc(cells, func(x Logical) bool { return x >= l })
			got := m.Cluster(l)
			if l < extents[0].Logical {
				continue // before the first extent a home cluster is the identity
			}
			for int(got) < len(cells) && cells[got] < 0 {
				got++ // a marker in front of the next record reads the same
			}
			if got != Cluster(want) {
				t.Fatalf("logical %d is at %d, want %d (%v)", l, got, want, extents)
			}
		}
	})
}

func indices(n int) (out []int) {
	for i := range n {
		out = append(out, i)
	}
	return out
}

func TestBoundaryGivesOneNumberForTheEndOfTheLog(t *testing.T) {
	var m Map
	m.Add(Extent{Generation: 1, Cluster: 0, Logical: 0})
	m.Add(Extent{Generation: 2, Cluster: 101, Logical: 100, Stamp: true, Before: 100})
	if m.Position(100) != 100 || m.Position(101) != 100 {
		t.Fatalf("end before and after the seal marker: %d and %d, want 100 twice", m.Position(100), m.Position(101))
	}
	if _, ok := m.Record(100); ok {
		t.Fatal("the seal marker was given the logical offset of the record behind it")
	}
	if l, ok := m.Record(101); !ok || l != 100 {
		t.Fatalf("first record of the tenure: %d %v", l, ok)
	}
	if m.Cluster(100) != 101 {
		t.Fatalf("logical 100 is at %d, want 101", m.Cluster(100))
	}
}

func TestMarkersBeforeAGapTakeNoLostOffsets(t *testing.T) {
	var m Map
	m.Add(Extent{Generation: 1})
	m.Add(Extent{Generation: 2, Cluster: 238, Logical: 240, Stamp: true, Before: 236})
	for c := Cluster(236); c < 238; c++ {
		if l, ok := m.Record(c); ok {
			t.Fatalf("the seal marker at %d stands for logical %d, which a client has seen and lost", c, l)
		}
	}
	if l, ok := m.Record(235); !ok || l != 235 {
		t.Fatalf("last record before the gap: %d %v", l, ok)
	}
	if l, ok := m.Record(238); !ok || l != 240 {
		t.Fatalf("first record behind the gap: %d %v", l, ok)
	}
}

func TestLaterGenerationVoidsWhatWasWrittenAhead(t *testing.T) {
	ahead := []Extent{{Generation: 1, Cluster: 0}, {Generation: 1, Cluster: 50, Logical: 60}, {Generation: 1, Cluster: 80, Logical: 99}}
	taken := Extent{Generation: 2, Cluster: 70, Logical: 80}
	for _, order := range [][]Extent{append(slices.Clone(ahead), taken), append([]Extent{taken}, ahead...)} {
		var m Map
		for _, e := range order {
			m.Add(e)
		}
		if want := []Extent{ahead[0], ahead[1], taken}; !slices.Equal(m.Extents(), want) {
			t.Fatalf("got %v, want %v", m.Extents(), want)
		}
	}
}

func TestDeadStretchHasNoLogicalOffsets(t *testing.T) {
	var m Map
	m.Add(Extent{Generation: 1, Cluster: 0})
	m.Add(Extent{Generation: 2, Cluster: 10, Logical: 10, Dead: true})
	m.Add(Extent{Generation: 3, Cluster: 15, Logical: 10})
	if l, ok := m.Record(12); ok || l != 10 {
		t.Fatalf("dead record: %d %v", l, ok)
	}
	if c := m.Cluster(10); c != 15 {
		t.Fatalf("logical 10 is at %d, want 15", c)
	}
}

func TestEmptyMapIsTheIdentity(t *testing.T) {
	var m Map
	if l, ok := m.Record(7); !ok || l != 7 || m.Cluster(7) != 7 || m.Position(-1) != -1 || m.Cluster(-2) != -2 {
		t.Fatal("a home cluster's offsets are the logical offsets")
	}
}

func TestRecordsSurviveEncoding(t *testing.T) {
	tp := TopicPartition{"orders", 3}
	for _, want := range []Record{
		&Role{RouteEpoch: 7, Active: true, Writer: "a", ProducerID: 9},
		&Birth{TP: tp, TopicID: [16]byte{1, 2, 15: 9}, Home: "east"},
		&ExtentRecord{TP: tp, Extent: Extent{Generation: 2, Cluster: 5, Logical: 6, SequenceBase: 4, Tenure: 3, Dead: true, Stamp: true, Before: 4}},
		&Intent{TP: tp, ProducerID: 77, Batches: []IntentBatch{{Epoch: 1, FirstSequence: 2, LastSequence: 3, Logical: 4, Cluster: 5, Count: 2, Generation: 6}}},
	} {
		key, value := Encode(want)
		got, deleted, err := Decode(key, value)
		if err != nil || deleted || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v %v %v, want %+v", got, deleted, err, want)
		}
		for i := range value {
			value[i] ^= 4
			if _, _, err := Decode(key, value); err == nil {
				t.Fatalf("a flipped bit in byte %d of %T was not noticed", i, want)
			}
			value[i] ^= 4
		}
		if _, deleted, err := Decode(key, nil); err != nil || !deleted {
			t.Fatalf("tombstone: %v %v", deleted, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	key, value := Encode(&Intent{TP: TopicPartition{"t", 0}, ProducerID: 1, Batches: make([]IntentBatch, 2)})
	f.Add(key, value)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if rec, deleted, err := Decode(key, value); err == nil && !deleted {
			k, v := Encode(rec)
			if again, _, err := Decode(k, v); err != nil || !reflect.DeepEqual(again, rec) {
				t.Fatalf("%+v came back as %+v: %v", rec, again, err)
			}
		}
	})
}

func TestIntentIsVoidBeyondTheEndAndUnderALaterGeneration(t *testing.T) {
	var s State
	tp := TopicPartition{"t", 0}
	s.Put(0, &ExtentRecord{TP: tp, Extent: Extent{Generation: 1}}, false)
	s.Put(0, &Intent{TP: tp, ProducerID: 9, Batches: []IntentBatch{{FirstSequence: 10, LastSequence: 19, Logical: 100, Cluster: 90, Count: 10, Generation: 1}}}, false)
	p := s.Partition(tp)
	if l, ok := p.Mirrored(9, 0, 10, 19, 100); !ok || l != 100 {
		t.Fatalf("mirrored batch: %d %v", l, ok)
	}
	if _, ok := p.Mirrored(9, 0, 10, 19, 99); ok {
		t.Fatal("an intent beyond the end of the log was believed")
	}
	if _, ok := p.Mirrored(9, 1, 10, 19, 100); ok {
		t.Fatal("another producer epoch matched")
	}
	// The next writer found records to 110 and its two markers behind them.
	s.Put(0, &ExtentRecord{TP: tp, Extent: Extent{Generation: 2, Cluster: 102, Logical: 110, Before: 110}}, false)
	if _, ok := p.Mirrored(9, 0, 10, 19, 102); !ok {
		t.Fatal("a batch that a later generation found was not believed")
	}
	s.Put(0, &ExtentRecord{TP: tp, Extent: Extent{Generation: 2, Cluster: 102, Logical: 109, Before: 109}}, false)
	if _, ok := p.Mirrored(9, 0, 10, 19, 102); ok {
		t.Fatal("a later generation's markers were taken for the last record of an intent")
	}
}
