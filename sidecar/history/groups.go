package history

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// groupPartition is what one group read of one partition.
type groupPartition struct {
	group string
	tp    TopicPartition
}

// checkGroups finds what a group skipped, and commits beyond what it read.
func (c *checker) checkGroups(h *History, final []Entry) {
	read := make(map[groupPartition][]int64)
	for _, e := range h.Consumed {
		k := groupPartition{e.Group, e.TopicPartition}
		read[k] = append(read[k], e.Offset)
	}
	log := make(map[TopicPartition][]int64)
	for _, e := range final {
		log[e.TopicPartition] = append(log[e.TopicPartition], e.Offset)
	}
	for tp := range log {
		slices.Sort(log[tp])
	}
	for k, offsets := range read {
		slices.Sort(offsets)
		c.checkSkipped(k, offsets, log[k.tp])
	}
	for _, e := range h.Committed {
		offsets := read[groupPartition{e.Group, e.TopicPartition}]
		// A group that read nothing commits where it was placed.
		if n := len(offsets); n > 0 && e.Offset > offsets[n-1]+1 {
			c.v.CommittedAhead++
			c.v.example("committed ahead", "group %s committed %d of %v and had read to %d", e.Group, e.Offset, e.TopicPartition, offsets[n-1])
		}
	}
}

func (c *checker) checkSkipped(k groupPartition, offsets, log []int64) {
	lo, _ := slices.BinarySearch(log, offsets[0])
	i := 0
	for _, o := range log[lo:] {
		if o > offsets[len(offsets)-1] {
			return
		}
		for i < len(offsets) && offsets[i] < o {
			i++
		}
		if i == len(offsets) || offsets[i] != o {
			c.v.Skipped++
			c.v.example("skipped", "group %s never read offset %d of %v", k.group, o, k.tp)
		}
	}
}

// checkPhantoms finds records that were seen and never produced. A history that
// records no Produced events is not judged.
func (c *checker) checkPhantoms(h *History) {
	if len(h.Produced) == 0 {
		return
	}
	made := make([]sighting, 0, len(h.Produced))
	for _, e := range h.Produced {
		made = append(made, sighting{producer: c.producers.id(e.Producer), number: e.Number})
	}
	order := func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.producer, b.producer), cmp.Compare(a.number, b.number))
	}
	slices.SortFunc(made, order)
	for run := range runs(c.seen, sameRecord) {
		if _, ok := slices.BinarySearchFunc(made, run[0], order); !ok {
			c.v.Phantom++
			c.v.example("phantom", "%v at offset %d of %v", c.record(run[0]), run[0].offset, c.tps.names[run[0].tp])
		}
	}
}

// longestGap is the longest time between two neighbours.
func longestGap[E any](events []E, at func(E) time.Duration) (longest time.Duration) {
	times := make([]time.Duration, len(events))
	for i, e := range events {
		times[i] = at(e)
	}
	slices.Sort(times)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i]-times[i-1])
	}
	return longest
}

// runs are the maximal stretches of neighbours that are the same.
func runs[E any](s []E, same func(a, b E) bool) iter.Seq[[]E] {
	return func(yield func([]E) bool) {
		for len(s) > 0 {
			n := 1
			for n < len(s) && same(s[0], s[n]) {
				n++
			}
			if !yield(s[:n:n]) {
				return
			}
			s = s[n:]
		}
	}
}

// interner numbers names.
type interner[T comparable] struct {
	ids   map[T]int32
	names []T
}

func (n *interner[T]) id(name T) int32 {
	if id, ok := n.ids[name]; ok {
		return id
	}
	if n.ids == nil {
		n.ids = make(map[T]int32)
	}
	id := int32(len(n.names))
	n.ids[name], n.names = id, append(n.names, name)
	return id
}

// tails are the declared ranges by partition; few, so they are searched in turn.
type tails map[TopicPartition][]Tail

func newTails(list []Tail) tails {
	t := make(tails)
	for _, x := range list {
		t[x.TopicPartition] = append(t[x.TopicPartition], x)
	}
	return t
}

func (t tails) hold(tp TopicPartition, offset int64) bool {
	return slices.ContainsFunc(t[tp], func(x Tail) bool { return x.From <= offset && offset < x.To })
}
