package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/catamaran-io/catamaran/sidecar"
	"github.com/catamaran-io/catamaran/sidecar/history"
)

// screen prints the demo.
type screen struct {
	o     Options
	w     *world
	begun time.Time

	lastAt               time.Time
	lastAcked, lastGiven int
}

func newScreen(o Options, w *world) *screen {
	now := time.Now()
	return &screen{o: o, w: w, begun: now, lastAt: now}
}

func (s *screen) printf(format string, args ...any) { fmt.Fprintf(s.o.Out, format, args...) }

func (s *screen) title() {
	s.printf(`catamaran demo: two Kafka clusters in memory (east, west; %d brokers each), one sidecar on
%s with mirror and failover; a producer of numbered records and a consumer group.

  time  active  route      produced  consumed     lag   pause
`, s.o.Brokers, s.w.sidecar.Bootstrap())
}

// say prints a line of its own.
func (s *screen) say(text string) {
	if s.o.InPlace {
		s.printf("\r\x1b[K")
	}
	s.printf("%6.1f  %s\n", time.Since(s.begun).Seconds(), text)
}

// follow prints progress twice a second for d.
func (s *screen) follow(ctx context.Context, d time.Duration) {
	end := time.NewTimer(d)
	defer end.Stop()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case now := <-tick.C:
			s.progress(now)
		}
	}
}

func (s *screen) progress(now time.Time) {
	st := s.w.sidecar.Status()
	acked, given := s.w.recorder.Counts()
	seconds := now.Sub(s.lastAt).Seconds()
	lastAck, _ := s.w.recorder.Last()
	pause := "    –"
	if gap := now.Sub(lastAck); gap > 100*time.Millisecond && !lastAck.IsZero() {
		pause = fmt.Sprintf("%4.1fs", gap.Seconds())
	}
	active, state := "?", "?"
	if st.Route != nil {
		active, state = st.Route.Active, string(st.Route.State)
	}
	line := fmt.Sprintf("%6.1f  %-6s  %-9s  %6.0f/s  %6.0f/s  %6s  %s", now.Sub(s.begun).Seconds(), active, state,
		float64(acked-s.lastAcked)/seconds, float64(given-s.lastGiven)/seconds, lag(st.Link), pause)
	s.lastAt, s.lastAcked, s.lastGiven = now, acked, given
	if s.o.InPlace {
		s.printf("\r\x1b[K%s", line)
		return
	}
	s.printf("%s\n", line)
}

// lag is how far the standby is behind, "–" while nothing mirrors.
func lag(l sidecar.LinkStatus) string {
	if !l.Running {
		return "–"
	}
	return fmt.Sprint(l.LagRecords)
}

// verdict prints the last screen.
func (s *screen) verdict(v *history.Verdict, reports []sidecar.Report, killed time.Time) error {
	if s.o.InPlace {
		s.printf("\r\x1b[K")
	}
	s.printf("\n")
	broken := v.Broken()
	for _, r := range reports {
		s.printf("cutover %s → %s: %s, %.2f s from the kill to the switch, %.2f s of it fenced; epoch %d, tail %d records\n",
			r.From, r.To, r.Outcome, r.At.Sub(killed).Seconds(), r.PauseSeconds, r.Epoch, r.TailRecords)
	}
	if len(reports) == 0 {
		broken = append(broken, "the role never moved")
	}
	if p := v.LongestPause(); p > patience {
		broken = append(broken, fmt.Sprintf("the pause of %.1f s is longer than %v", p.Seconds(), patience))
	}
	s.printf(`
  records acknowledged   %7d
  lost                   %7d   beyond the tail that the report declares
  lost in declared tail  %7d   acknowledged by east, not yet mirrored when it died
  duplicated             %7d
  out of order           %7d
  wrong offsets          %7d
  errors in clients      %7d
  records re-read        %7d   by the group after the rebalance
  longest pause          %6.2fs   producing %.2fs, consuming %.2fs

`, v.Acknowledged, v.Lost, v.LostInDeclaredTail, v.Duplicated, v.OutOfOrder, v.WrongOffset, v.Failed, v.Reread,
		v.LongestPause().Seconds(), v.ProducePause.Seconds(), v.ConsumePause.Seconds())
	if len(broken) == 0 {
		s.printf("every promise was kept\n")
		return nil
	}
	s.printf("BROKEN: %s\n", strings.Join(broken, "; "))
	for _, e := range v.Examples {
		s.printf("  %s\n", e)
	}
	return ErrBroken
}
