package sidecar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/failover/consul"
	"github.com/catamaran-io/catamaran/failover/local"
)

// openStore is the store that the configuration names, and how to close it.
func openStore(cfg Config, logger *slog.Logger) (failover.Store, func(), error) {
	if l := cfg.Coordination.Local; l != nil {
		s, err := local.Open(l.File)
		if err != nil {
			return nil, func() {}, &InputError{"configuration", []string{fmt.Sprintf(
				"coordination.local.file: %q is given and cannot be used (%v), a file in a writable directory that no other sidecar uses is accepted", l.File, err)}}
		}
		return s, func() { s.Close() }, nil
	}
	s, err := openConsul(cfg, logger)
	return s, func() {}, err
}

func openConsul(cfg Config, logger *slog.Logger) (*consul.Store, error) {
	c := cfg.Coordination.Consul
	o := consul.Options{Prefix: c.Prefix, VirtualCluster: cfg.Name, Checks: true, Logger: logger}
	o.Config = fresh(o.Config)
	o.Config.Address, o.Config.Datacenter, o.Config.Token = c.Address, c.Datacenter, c.Token
	return consul.New(o)
}

// fresh is a new value of p's type: the type of the Consul client's
// configuration, which only failover/consul imports.
func fresh[T any](*T) *T { return new(T) }

// Prerequisites looks at everything that a start needs and changes nothing. dial
// nil is the real network.
func Prerequisites(ctx context.Context, cfg *Config, dial dialFunc) []Finding {
	return append(Connect(ctx, cfg, dial), coordination(ctx, cfg))
}

func coordination(ctx context.Context, cfg *Config) Finding {
	if l := cfg.Coordination.Local; l != nil {
		f := Finding{Field: "coordination.local.file"}
		dir := filepath.Dir(l.File)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			f.Fatal = true
			f.Text = fmt.Sprintf("%q is given, but there is no directory %s, a file in a writable directory is accepted", l.File, dir)
			return f
		}
		f.OK, f.Text = true, "the route is kept in "+l.File
		return f
	}
	f := Finding{Field: "coordination.consul.address"}
	address := cfg.Coordination.Consul.Address
	s, err := openConsul(*cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var r failover.Route
		if r, _, err = s.Route(ctx); err == nil {
			f.OK, f.Text = true, fmt.Sprintf("the route is %s, active %s, epoch %d", r.State, r.Active, r.Epoch)
			return f
		}
	}
	if errors.Is(err, failover.ErrNoRoute) {
		f.OK, f.Text = true, fmt.Sprintf("Consul answers at %s; no route is stored yet, so %s will serve first", address, cfg.Active)
		return f
	}
	f.Fatal = true
	f.Text = fmt.Sprintf("%q is given and cannot be used (%v), the address of a Consul agent is accepted", address, err)
	return f
}
