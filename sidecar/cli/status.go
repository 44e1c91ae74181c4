package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar"
)

func newStatus() *cobra.Command {
	a := new(admin)
	asJSON := false
	c := &cobra.Command{
		Use:   "status",
		Short: "Show who is active and how far behind the standby is",
		Long: `Shows what a running sidecar knows: the route and its epoch, both clusters'
health, the mirror's lag, partitions that need attention, and the last cutover.`,
		Example: `  catamaran status
  catamaran status --admin 10.0.0.7:19099
  catamaran status --json | jq .link.lag_records`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(s)
			}
			return printStatus(c.OutOrStdout(), s, time.Now())
		},
	}
	adminFlag(c, a)
	c.Flags().BoolVar(&asJSON, "json", false, "print the whole status as JSON")
	return c
}

func printStatus(out io.Writer, s sidecar.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("virtual cluster", "%s (sidecar %s, clients connect to %s)", s.Name, s.ID, s.Bootstrap)
	if r := s.Route; r == nil {
		row("route", "not known yet")
	} else {
		what := string(r.State)
		if r.Target != "" {
			what += " " + r.Active + " → " + r.Target
		}
		row("active", "%s", r.Active)
		row("route", "%s, epoch %d, tenure %d, since %s ago", what, r.Epoch, r.Tenure, age(now, r.Since))
		if r.Reason != "" {
			row("", "%s", r.Reason)
		}
	}
	if s.Serving {
		row("serving", "yes, %d sessions, %d requests held", s.Proxy.Sessions, s.Proxy.Held)
	} else {
		row("serving", "no: %s", s.NotServing)
	}
	for _, c := range s.Clusters {
		row("cluster "+c.Name, "%s, %s (votes: %d healthy, %d unhealthy)", orNone(c.Role), healthWord(c), c.VotesHealthy, c.VotesUnhealthy)
	}
	printLink(row, s.Link)
	if s.Decision != "" {
		row("decision", "%s", s.Decision)
	}
	if r := s.LastReport; r != nil {
		row("last cutover", "%s", describeReport(*r))
		row("", "%s ago: %s", age(now, r.At), r.Cause)
	}
	return w.Flush()
}

// maxTroubled bounds the partitions that are listed.
const maxTroubled = 20

func printLink(row func(string, string, ...any), l sidecar.LinkStatus) {
	switch {
	case !l.Enabled:
		row("mirror", "not in this process")
		return
	case l.Running:
		row("mirror", "%s → %s, %d records and %.1f s behind, %d records copied", l.Source, l.Target, l.LagRecords, l.LagSeconds, l.Records)
	default:
		row("mirror", "stands: %s", l.Problem)
	}
	troubled := 0
	for _, p := range l.Partitions {
		if p.State == "mirroring" {
			continue
		}
		if troubled++; troubled <= maxTroubled {
			row("", "%s-%d %s %s", p.Topic, p.Partition, p.State, p.Reason)
		}
	}
	if troubled > maxTroubled {
		row("", "and %d partitions more", troubled-maxTroubled)
	}
}

// describeReport is a report in one line.
func describeReport(r sidecar.Report) string {
	kind := "failover"
	if r.Planned {
		kind = "switchover"
	}
	s := fmt.Sprintf("%s %s → %s %s (epoch %d, driven by %s), pause %.2f s", kind, r.From, r.To, r.Outcome, r.Epoch, orNone(r.Driver), r.PauseSeconds)
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	if len(r.Partitions) > 0 {
		s += fmt.Sprintf(", tail %d records", r.TailRecords)
	}
	if r.TailUnknown > 0 {
		s += fmt.Sprintf(" and unknown in %d partitions", r.TailUnknown)
	}
	if r.Held > 0 {
		s += fmt.Sprintf(", %d partitions held", r.Held)
	}
	if len(r.Missing) > 0 {
		s += fmt.Sprintf(", no answer from %v", r.Missing)
	}
	return s
}

func healthWord(c sidecar.ClusterStatus) string {
	switch {
	case !c.Known:
		return "not probed yet"
	case c.Healthy:
		return "healthy"
	default:
		return "unhealthy: " + c.Reason
	}
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func age(now, then time.Time) string {
	if then.IsZero() {
		return "unknown time"
	}
	return now.Sub(then).Round(time.Second).String()
}
