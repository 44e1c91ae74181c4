package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// newAbort, newResume and newForget are commands that a sidecar carries out at
// once, without a report.
func newAbort() *cobra.Command {
	return newOrder("abort", "Take the running cutover back",
		`Takes the cutover that is under way back: clients go on with the cluster that
they used. Behind the switch it is too late; then move the role back with
switchover.`,
		`  catamaran abort --reason "wrong cluster"`, "taken back")
}

func newResume() *cobra.Command {
	return newOrder("resume", "Let clients use the active cluster of a halted route",
		`A route is halted when nobody can decide without risking data; status says why.
When the reason is gone, resume lets clients use the active cluster again.`,
		`  catamaran resume --reason "map topic repaired"`, "resumed")
}

func newOrder(verb, short, long, example, done string) *cobra.Command {
	a := new(admin)
	var reason string
	c := &cobra.Command{
		Use: verb + " --reason TEXT", Short: short, Long: long, Example: example, Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if reason == "" {
				return usageError{errors.New("--reason is missing: a few words for the report are needed")}
			}
			var ignored map[string]bool
			if err := a.call(c.Context(), http.MethodPost, "/"+verb, url.Values{"reason": {reason}}, &ignored); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), done)
			return nil
		},
	}
	adminFlag(c, a)
	c.Flags().StringVar(&reason, "reason", "", "why, for the report and the logs")
	return c
}

func newForget() *cobra.Command {
	a := new(admin)
	c := &cobra.Command{
		Use: "forget SIDECAR", Short: "Remove the registration of a sidecar that is gone for good",
		Long: `A sidecar stays registered when its process dies: a switchover waits for its
word, because it might still write. Once it is certain that it never comes back,
forget removes it. If it still runs, cut off from the coordination, the next
switchover has two writers.`,
		Example: `  catamaran forget app-17`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("%d arguments are given, one is needed: the id of the sidecar", len(args))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			var ignored map[string]bool
			if err := a.call(c.Context(), http.MethodPost, "/forget", url.Values{"sidecar": {args[0]}}, &ignored); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is forgotten\n", args[0])
			return nil
		},
	}
	adminFlag(c, a)
	return c
}
