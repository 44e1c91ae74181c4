package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/catamaran-io/catamaran/sidecar"
)

// configFlag is the one flag of commands that read a configuration.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", "catamaran.yaml", "configuration file")
}

func newRun() *cobra.Command {
	var file, level string
	c := &cobra.Command{
		Use:   "run -c FILE",
		Short: "Start the sidecar, with mirror and failover as configured",
		Long: `Starts one process: the proxy that clients connect to, the mirror and the
failover agent. It runs until it gets SIGINT or SIGTERM.

A cluster that is down at start is a warning; the process starts when at least
one answers. The smallest configuration:

  name: orders
  listen: {port: 19092}
  clusters:
    east: {bootstrap: [east-1:9092, east-2:9092]}
    west: {bootstrap: [west-1:9092, west-2:9092]}
  active: east
  coordination: {local: {file: /var/lib/catamaran/route.json}}`,
		Example: `  catamaran run -c catamaran.yaml
  catamaran run -c catamaran.yaml --log-level debug`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var lv slog.Level
			if err := lv.UnmarshalText([]byte(level)); err != nil {
				return usageError{fmt.Errorf("--log-level: %q is given, debug, info, warn or error is accepted", level)}
			}
			logger := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: lv}))
			cfg, err := sidecar.Load(file)
			if err != nil {
				return err
			}
			if err := startable(c.Context(), file, &cfg, logger); err != nil {
				return err
			}
			s, err := sidecar.New(cfg, sidecar.Options{Logger: logger})
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
	}
	configFlag(c, &file)
	c.Flags().StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return c
}

// startable looks at the clusters and at the coordination before a start.
func startable(ctx context.Context, file string, cfg *sidecar.Config, logger *slog.Logger) error {
	for _, w := range cfg.Warnings() {
		logger.Warn(w)
	}
	var fatal []string
	for _, f := range sidecar.Prerequisites(ctx, cfg, nil) {
		switch {
		case f.Fatal:
			fatal = append(fatal, f.Field+": "+f.Text)
		case !f.OK:
			logger.Warn(f.Field + ": " + f.Text)
		}
	}
	if len(fatal) > 0 {
		return &sidecar.InputError{Source: file, Problems: fatal}
	}
	return nil
}

func newCheck() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "check -c FILE",
		Short: "Validate a configuration and connect, changing nothing",
		Long: `Reads the configuration as run does, connects to both clusters and to the
coordination, and looks whether the brokers can do what the mirror needs. It
writes nothing anywhere. The exit code is 0 when all is well, 1 when something
is missing that run would live with, 2 when run would not start.`,
		Example: `  catamaran check -c catamaran.yaml`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := sidecar.Load(file)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "ok    %s: valid\n", file)
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(out, "note  %s\n", w)
			}
			ctx, cancel := context.WithTimeout(c.Context(), time.Minute)
			defer cancel()
			var bad, fatal []string
			for _, f := range sidecar.Prerequisites(ctx, &cfg, nil) {
				word := "ok  "
				if !f.OK {
					word = "BAD "
					bad = append(bad, f.Text)
				}
				if f.Fatal {
					fatal = append(fatal, f.Field+": "+f.Text)
				}
				fmt.Fprintf(out, "%s  %s: %s\n", word, f.Field, f.Text)
			}
			switch {
			case len(fatal) > 0:
				return &sidecar.InputError{Source: file, Problems: fatal}
			case len(bad) > 0:
				return errors.Join(errSilent)
			}
			return nil
		},
	}
	configFlag(c, &file)
	return c
}
