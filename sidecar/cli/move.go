package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar"
)

var moveHelp = map[string]struct{ short, long, example string }{
	"switchover": {
		"Move the active role as planned: nothing is lost",
		`Moves the active role to the other cluster while both work. Writes are held
until the mirror has copied everything, so nothing is lost or doubled; clients
see a pause of well under a second. If any sidecar does not answer or the
mirror does not catch up in time, everything stays where it was.`,
		`  catamaran switchover --to west --reason "maintenance of east"`,
	},
	"failover": {
		"Move the active role now, whatever the active cluster does",
		`Moves the active role to the other cluster without asking the active one. What
the mirror had not copied yet is left behind and named in the report. If the
active cluster still works, use switchover.`,
		`  catamaran failover --to west --reason "east's site is on fire"`,
	},
}

// moveTimeout bounds a cutover that the command waits for; the sidecar goes on
// with it in any case.
const moveTimeout = 2 * time.Minute

func newMove(kind string) *cobra.Command {
	a := new(admin)
	var to, reason string
	help := moveHelp[kind]
	c := &cobra.Command{
		Use: kind + " --to CLUSTER --reason TEXT", Short: help.short, Long: help.long, Example: help.example, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if to == "" {
				return usageError{errors.New("--to is missing: the name of the cluster that shall be active is needed")}
			}
			if reason == "" {
				return usageError{errors.New("--reason is missing: a few words for the report are needed")}
			}
			return move(c.Context(), c.OutOrStdout(), a, kind, to, reason)
		},
	}
	adminFlag(c, a)
	c.Flags().StringVar(&to, "to", "", "cluster that shall be active")
	c.Flags().StringVar(&reason, "reason", "", "why, for the report and the logs")
	return c
}

// move orders the cutover and shows its states until it ends.
func move(ctx context.Context, out io.Writer, a *admin, kind, to, reason string) error {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	start := time.Now()
	var report sidecar.Report
	done := make(chan error, 1)
	go func() {
		done <- a.call(ctx, http.MethodPost, "/"+kind, url.Values{"to": {to}, "reason": {reason}}, &report)
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "%6.2f s  %s\n", time.Since(start).Seconds(), describeReport(report))
			return nil
		case <-tick.C:
			s, err := a.status(ctx)
			if err != nil || s.Route == nil {
				continue
			}
			now := fmt.Sprintf("%s, active %s, epoch %d", s.Route.State, s.Route.Active, s.Route.Epoch)
			if now != last {
				fmt.Fprintf(out, "%6.2f s  %s\n", time.Since(start).Seconds(), now)
				last = now
			}
		}
	}
}
