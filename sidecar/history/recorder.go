package history

import (
	"slices"
	"sync"
	"time"
)

// Recorder collects a History from any number of goroutines.
type Recorder struct {
	start time.Time

	mu sync.Mutex
	h  History
}

// NewRecorder starts a history at now.
func NewRecorder(now time.Time) *Recorder { return &Recorder{start: now} }

// Produced records that r was handed to a producer, before it is.
func (c *Recorder) Produced(now time.Time, r Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Produced = append(c.h.Produced, Produced{r, now.Sub(c.start)})
}

// Acknowledged records a producer's success.
func (c *Recorder) Acknowledged(now time.Time, r Record, tp TopicPartition, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Acknowledged = append(c.h.Acknowledged, Acknowledged{r, tp, offset, now.Sub(c.start)})
}

// Failed records a producer's error.
func (c *Recorder) Failed(now time.Time, r Record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Failed = append(c.h.Failed, Failed{r, err.Error(), now.Sub(c.start)})
}

// Consumed records a read.
func (c *Recorder) Consumed(now time.Time, group, member string, r Record, tp TopicPartition, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Consumed = append(c.h.Consumed, Consumed{group, member, r, tp, offset, now.Sub(c.start)})
}

// Committed records a commit that succeeded.
func (c *Recorder) Committed(now time.Time, group string, tp TopicPartition, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Committed = append(c.h.Committed, Committed{group, tp, offset, now.Sub(c.start)})
}

// Tail records a declared tail; an empty range is ignored.
func (c *Recorder) Tail(tp TopicPartition, from, to int64) {
	if from >= to {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Tails = append(c.h.Tails, Tail{tp, from, to})
}

// Error records any other error that a client reported.
func (c *Recorder) Error(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h.Errors = append(c.h.Errors, err.Error())
}

// Counts are the acknowledged and consumed records so far.
func (c *Recorder) Counts() (acknowledged, consumed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.h.Acknowledged), len(c.h.Consumed)
}

// Last says when the last acknowledgement and the last read were.
func (c *Recorder) Last() (acknowledged, consumed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.h.Acknowledged); n > 0 {
		acknowledged = c.start.Add(c.h.Acknowledged[n-1].At)
	}
	if n := len(c.h.Consumed); n > 0 {
		consumed = c.start.Add(c.h.Consumed[n-1].At)
	}
	return acknowledged, consumed
}

// History is a copy of what was recorded.
func (c *Recorder) History() *History {
	c.mu.Lock()
	defer c.mu.Unlock()
	return &History{
		Produced: slices.Clone(c.h.Produced), Acknowledged: slices.Clone(c.h.Acknowledged), Failed: slices.Clone(c.h.Failed),
		Consumed: slices.Clone(c.h.Consumed), Committed: slices.Clone(c.h.Committed), Tails: slices.Clone(c.h.Tails), Errors: slices.Clone(c.h.Errors),
	}
}
