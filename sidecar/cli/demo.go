package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar/demo"
)

func newDemo() *cobra.Command {
	o := demo.Options{}
	verbose := false
	c := &cobra.Command{
		Use:   "demo",
		Short: "Watch two in-memory clusters survive the loss of one (under 30 s)",
		Long: `Starts two Kafka clusters in memory, a sidecar with its mirror, a producer of
numbered records and a consumer group; kills the active cluster; and lets a
checker judge what the clients saw. Needs nothing but this binary. The exit code
is 1 if a promise was broken.`,
		Example: `  catamaran demo
  catamaran demo --rate 5000 --before 3s`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o.Out = c.OutOrStdout()
			o.InPlace = isTerminal(o.Out)
			if verbose {
				o.InPlace = false
				o.Logger = slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil))
			}
			ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
			defer cancel()
			err := demo.Run(ctx, o)
			if errors.Is(err, demo.ErrBroken) {
				return errSilent // the verdict has said so
			}
			return err
		},
	}
	c.Flags().DurationVar(&o.Before, "before", 5*time.Second, "how long to run before the kill")
	c.Flags().DurationVar(&o.After, "after", 5*time.Second, "how long to run after it")
	c.Flags().IntVar(&o.Rate, "rate", 1000, "records per second")
	c.Flags().IntVar(&o.Partitions, "partitions", 6, "partitions of the topic")
	c.Flags().IntVar(&o.Port, "port", 0, "first port to listen on (0: a free one)")
	c.Flags().BoolVar(&verbose, "verbose", false, "print the sidecar's log to stderr")
	return c
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
