package history

import (
	"fmt"
	"time"
)

// Verdict is what Check found. Counts are of records.
type Verdict struct {
	Produced     int
	Acknowledged int
	Consumed     int
	// Lost were acknowledged, are not there, and no report declared them.
	Lost int
	// LostInDeclaredTail were acknowledged and are not there, as a report said.
	LostInDeclaredTail int
	// Duplicated are surplus copies: the same record at a further offset.
	Duplicated int
	// OutOfOrder stand behind a later record of the same producer in their
	// partition.
	OutOfOrder int
	// WrongOffset are records whose acknowledged offset is not where they are, and
	// offsets that stood for two records.
	WrongOffset int
	// Skipped lie between the first and the last record that a group read of a
	// partition, and the group never read them. Judged only with a final log.
	Skipped int
	// CommittedAhead are commits beyond what their group had read.
	CommittedAhead int
	// Phantom are records that were read and never produced.
	Phantom int

	// Reread are records that a group was given again at the same offset, as any
	// consumer may after a rebalance. Not a fault.
	Reread int
	// ReadInTail are records that a consumer read in a tail before the failover,
	// and that it may have read again at their new offset. Not a fault.
	ReadInTail int
	// Failed are produce calls that ended in an error, and other errors of
	// clients. A promise is broken by any.
	Failed int
	Errors []string

	// ProducePause is the longest time between two acknowledgements (of anyone),
	// ConsumePause between two reads.
	ProducePause, ConsumePause time.Duration

	// Examples are the first findings of each kind, in words.
	Examples []string

	shown map[string]int
}

// LongestPause is the longer of the two pauses.
func (v *Verdict) LongestPause() time.Duration { return max(v.ProducePause, v.ConsumePause) }

// Broken are the broken promises, one sentence each; none when all were kept.
// How long a pause may be is the caller's to judge.
func (v *Verdict) Broken() (out []string) {
	for _, p := range []struct {
		n    int
		what string
	}{
		{v.Lost, "acknowledged records are lost beyond the declared tail"},
		{v.Duplicated, "records are there twice"},
		{v.OutOfOrder, "records are out of order"},
		{v.WrongOffset, "offsets are wrong"},
		{v.Skipped, "records were skipped by a consumer group"},
		{v.CommittedAhead, "commits are ahead of what was read"},
		{v.Phantom, "records were read that nobody produced"},
		{v.Failed, "errors reached a client"},
	} {
		if p.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return out
}

// maxExamples bounds the examples of one kind.
const maxExamples = 5

func (v *Verdict) example(kind, format string, args ...any) {
	if v.shown == nil {
		v.shown = make(map[string]int)
	}
	if v.shown[kind]++; v.shown[kind] <= maxExamples {
		v.Examples = append(v.Examples, kind+": "+fmt.Sprintf(format, args...))
	}
}
