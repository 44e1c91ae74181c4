// Package cli is the command line: it starts a sidecar, and asks a running one
// through its admin API. Exit codes: 0 done, 1 failed, 2 bad input.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar"
)

// Main runs the command line and returns the exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errSilent) {
		fmt.Fprintln(stderr, "catamaran: "+err.Error())
	}
	if input := new(sidecar.InputError); errors.As(err, &input) || errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}

// errSilent fails a command that has already said why.
var errSilent = errors.New("failed")

// usageError is a wrong use of the command line.
type usageError struct{ error }

const long = `Catamaran puts two Kafka clusters behind one address. Clients connect to a
sidecar on localhost; a mirror keeps the standby cluster in step, offsets
included; when the active cluster fails, or you say so, every sidecar moves to
the other one and clients notice a short pause.`

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "catamaran",
		Short:         "Two Kafka clusters, one log",
		Long:          long,
		SilenceErrors: true,
		SilenceUsage:  true,
		Example: `  catamaran demo                              see it survive the loss of a cluster
  catamaran check -c catamaran.yaml           validate a configuration and connect
  catamaran run -c catamaran.yaml             start the sidecar
  catamaran status                            who is active, how far behind is the standby
  catamaran switchover --to west --reason "maintenance of east"`,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	root.Args = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("%q is not a command (see catamaran --help)", args[0])}
		}
		return nil
	}
	root.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	root.AddCommand(newRun(), newCheck(), newStatus(), newMove("switchover"), newMove("failover"), newAbort(), newResume(), newForget(), newDemo(), newVersion())
	return root
}

// noArgs refuses arguments, with exit code 2.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, %q is given (see %s --help)", c.CommandPath(), args[0], c.CommandPath())}
	}
	return nil
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Run: func(c *cobra.Command, _ []string) {
			revision := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" && len(s.Value) >= 12 {
						revision = " " + s.Value[:12]
					}
				}
			}
			fmt.Fprintf(c.OutOrStdout(), "catamaran %s%s %s %s/%s\n", sidecar.Version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
