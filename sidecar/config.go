// Package sidecar puts the parts into one process: it reads the configuration,
// connects the proxy, the mirror and the failover agent, and shows what they do
// (metrics, status, reports). It decides nothing about who is active: that is
// the failover package's.
package sidecar

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/catamaran-io/catamaran/mirror"
)

// Config is the file catamaran.yaml. Keys are the fields' yaml names; a key that
// is not here is refused. Load fills the defaults and validates.
type Config struct {
	// Name names the virtual cluster. Its Kafka cluster id, the mirror's
	// transactional ids and the coordination keys derive from it: it must be the
	// same in every sidecar of the pair and never change.
	Name string `yaml:"name"`
	// ID names this process among the sidecars (default: the host's name).
	ID       string             `yaml:"id"`
	Listen   Listen             `yaml:"listen"`
	Clusters map[string]Cluster `yaml:"clusters"`
	// Active is the cluster that serves first. It is read once, when no route is
	// stored yet; afterwards the route says who is active.
	Active       string       `yaml:"active"`
	Mirror       MirrorConfig `yaml:"mirror"`
	Coordination Coordination `yaml:"coordination"`
	Failover     Failover     `yaml:"failover"`
	Admin        Admin        `yaml:"admin"`
}

// Listen is where clients connect.
type Listen struct {
	// Host is listened on and told to clients (127.0.0.1).
	Host string `yaml:"host"`
	// Port is the bootstrap port; virtual nodes take the MaxNodes ports behind it.
	// Keep them all below the ephemeral range (32768), or an outgoing connection
	// may sit on one.
	Port int `yaml:"port"`
	// MaxNodes is how many ports are taken (3): at least the brokers of the larger
	// cluster, for one connection per broker.
	MaxNodes int `yaml:"max_nodes"`
}

// Cluster is one Kafka cluster.
type Cluster struct {
	Bootstrap []string `yaml:"bootstrap"`
	TLS       *TLS     `yaml:"tls"`
	SASL      *SASL    `yaml:"sasl"`
}

// TLS is how to speak TLS; an empty section means the system's authorities.
type TLS struct {
	CA         string `yaml:"ca"`   // file
	Cert       string `yaml:"cert"` // file
	Key        string `yaml:"key"`  // file
	ServerName string `yaml:"server_name"`
}

// SASL is one credential. Password may be ${NAME} for an environment variable.
type SASL struct {
	Mechanism string `yaml:"mechanism"`
	User      string `yaml:"user"`
	Password  string `yaml:"password"`
}

// MirrorConfig is what this process copies while the other cluster is standby.
type MirrorConfig struct {
	Enabled bool   `yaml:"enabled"`
	Topics  Topics `yaml:"topics"`
	// ReplicationFactor of created topics; 0 copies the source topic's.
	ReplicationFactor int `yaml:"replication_factor"`
	// Adopt permits mirroring into partitions that already hold other records.
	Adopt bool `yaml:"adopt"`
	// OrphanTail is what becomes of records that a returning cluster acknowledged
	// after the last mirrored one: stop (the partition is not mirrored until
	// somebody has looked) or dead (clients never see them again).
	OrphanTail string `yaml:"orphan_tail"`
}

// Topics are shell patterns (orders-*) over topic names.
type Topics struct {
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// Coordination is where sidecars agree: exactly one of its fields.
type Coordination struct {
	Local  *Local  `yaml:"local"`
	Consul *Consul `yaml:"consul"`
}

// Local is a file of the one sidecar of one host: the route survives a restart.
type Local struct {
	File string `yaml:"file"`
}

// Consul is one named Consul datacenter. Token may be ${NAME}.
type Consul struct {
	Address    string `yaml:"address"`
	Datacenter string `yaml:"datacenter"`
	Token      string `yaml:"token"`
	Prefix     string `yaml:"prefix"`
}

// Failover is when the role moves.
type Failover struct {
	// Mode: auto moves on failures and on command, manual on command only, off
	// never.
	Mode string `yaml:"mode"`
	// Observers are the ids of the sidecars whose votes count; a majority decides.
	Observers []string `yaml:"observers"`
	// FailAfter is how long the active cluster must be seen unhealthy (1s).
	// Lower moves sooner, and sooner for nothing.
	FailAfter time.Duration `yaml:"fail_after"`
	// MinBetweenMoves keeps an automatic move from following another (60s).
	MinBetweenMoves time.Duration `yaml:"min_between_moves"`
	// MaxLagRecords and MaxLag bound how far behind the standby may be for an
	// automatic move; 0 is no bound.
	MaxLagRecords int64         `yaml:"max_lag_records"`
	MaxLag        time.Duration `yaml:"max_lag"`
}

// Admin is the operator's interface.
type Admin struct {
	// Listen is host:port (127.0.0.1:19099). Whoever reaches it can move the role.
	Listen string `yaml:"listen"`
}

// InputError is a defect of what the operator gave: every problem is a sentence
// that names the field, the value and what is accepted. The process exits with 2.
type InputError struct {
	Source   string
	Problems []string
}

func (e *InputError) Error() string {
	return fmt.Sprintf("%s:\n  %s", e.Source, strings.Join(e.Problems, "\n  "))
}

func defaults() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "" // then id is required
	}
	return Config{
		ID:       host,
		Listen:   Listen{Host: "127.0.0.1", MaxNodes: 3},
		Mirror:   MirrorConfig{Enabled: true, OrphanTail: mirror.OrphanTailStop},
		Failover: Failover{Mode: "auto", FailAfter: time.Second, MinBetweenMoves: time.Minute},
		Admin:    Admin{Listen: "127.0.0.1:19099"},
	}
}

// Load reads and validates a configuration file. Every defect of the content
// comes in one InputError.
func Load(file string) (Config, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return Config{}, &InputError{file, []string{fmt.Sprintf("the configuration cannot be read: %v", err)}}
	}
	c, err := Parse(raw)
	if in := new(InputError); errors.As(err, &in) {
		in.Source = file
	}
	return c, err
}

// Parse is Load of bytes.
func Parse(raw []byte) (Config, error) {
	c := defaults()
	problems := decode(raw, &c)
	if len(problems) == 0 {
		problems = c.validate()
	}
	if len(problems) > 0 {
		return Config{}, &InputError{"configuration", problems}
	}
	return c, nil
}

// Standby is the cluster that is not name.
func (c *Config) Standby(name string) string {
	for other := range c.Clusters {
		if other != name {
			return other
		}
	}
	return ""
}
