package failover

import (
	"context"
	"fmt"
	"log/slog"
)

// Prober asks a cluster whether it serves, on the Kafka level: an open port is
// not health. It returns promptly when ctx ends.
type Prober interface {
	Probe(ctx context.Context, cluster string) error
}

// Config is what an Agent needs. The roles are independent: a process with a
// proxy is a sidecar, one with a mirror can drive, and any can observe.
type Config struct {
	// ID names this process in the route, the votes and the registrations. It
	// must be unique and stay the same over restarts: a crashed sidecar that
	// returns under another name stays registered, silent, and switchovers are
	// refused until it is forgotten.
	ID string
	// Clusters are the two; Initial is active when no route was ever stored.
	Clusters [2]string
	Initial  string
	// Observers are the IDs that vote; a majority decides. All processes must
	// name the same.
	Observers []string
	// Mode says who may order a failover (Auto).
	Mode   Mode
	Timing Timing
	Bounds Bounds

	Store Store
	// Follower is this process's proxy: it registers and acknowledges. Nil: none.
	Follower Follower
	// Mirror makes this process able to decide and drive cutovers. Nil: not.
	Mirror Mirror
	// Prober makes this process an observer, which Observers must name. Nil: not.
	Prober Prober
	// Suspicion is what the sidecar's own connections say about a cluster; it
	// makes one failed probe enough. Nil: nothing. It must not block.
	Suspicion func(cluster string) (bad bool, reason string)
	// Eligible is the mirror's word on a target, asked each PollInterval. It must
	// not block. Nil: always eligible.
	Eligible func(target string) Eligibility

	// OnRoute is called with every observed route, in order, before anything is
	// done for it, from one goroutine that must not be blocked. OnReport likewise
	// with the report of every observed cutover, OnBlocked with why a failover
	// that the votes want is not done ("" when that is over). Nil: not called.
	OnRoute   func(Route)
	OnReport  func(Report)
	OnBlocked func(reason string)
	Logger    *slog.Logger
}

func (c Config) machine() MachineConfig {
	return MachineConfig{
		ID: c.ID, Sidecar: c.Follower != nil, Observer: c.Prober != nil, Drives: c.Mirror != nil,
		Observers: c.Observers, Clusters: c.Clusters, Initial: c.Initial, Mode: c.Mode,
		Timing: c.Timing, Bounds: c.Bounds,
	}
}

// NewAgent checks the configuration and returns an Agent to Run.
func NewAgent(c Config) (*Agent, error) {
	if c.Store == nil {
		return nil, fmt.Errorf("failover: Store is nil; want a failover/consul or failover/local store")
	}
	if c.Mode == "" {
		c.Mode = Auto
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Timing = c.Timing.withDefaults()
	if err := c.machine().validate(); err != nil {
		return nil, err
	}
	return newAgent(c), nil
}
