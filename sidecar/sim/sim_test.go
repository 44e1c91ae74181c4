//go:build synctests

package sim

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
)

func TestPromisesHoldUnderRandomFaults(t *testing.T) {
	first, count := 1, 100
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		count = number(t, s)
	}
	if s := os.Getenv("SIM_SEED"); s != "" {
		first, count = number(t, s), 1
	}
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			log := new(journal)
			defer func() {
				if t.Failed() || count == 1 {
					t.Logf("log of seed %d:\n%s", seed, log.String())
				}
			}()
			synctest.Test(t, func(t *testing.T) { play(t, uint64(seed), log) })
		})
	}
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// journal is the log of one scenario, shown only when it fails.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// maxJournal bounds the log of a scenario; what comes later is dropped.
const maxJournal = 1 << 20

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.buf.Len() < maxJournal {
		j.buf.Write(p)
	}
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

func (j *journal) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}
