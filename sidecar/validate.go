package sidecar

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/catamaran-io/catamaran/mirror"
)

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	variable  = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)
)

const nameRule = "1 to 63 letters, digits, dots, dashes and underscores are accepted"

// validate says everything that is wrong, in the order of the file, and puts
// environment variables into secrets.
func (c *Config) validate() []string {
	v := &validator{}
	v.name("name", c.Name, "it names the virtual cluster")
	v.name("id", c.ID, "it names this process")
	v.listen(c.Listen)
	v.clusters(c)
	v.mirror(c.Mirror)
	v.coordination(&c.Coordination)
	v.failover(c)
	v.address("admin.listen", c.Admin.Listen, true)
	return v.problems
}

type validator struct{ problems []string }

func (v *validator) fail(path, format string, args ...any) {
	v.problems = append(v.problems, path+": "+fmt.Sprintf(format, args...))
}

func (v *validator) name(path, value, why string) {
	switch {
	case value == "":
		v.fail(path, "it is missing; %s, and %s", why, nameRule)
	case !plainName.MatchString(value):
		v.fail(path, "%q is given, %s", value, nameRule)
	}
}

// address wants host:port; a listening address may have no host and port 0.
func (v *validator) address(path, value string, listen bool) {
	host, port, err := net.SplitHostPort(value)
	n, nerr := strconv.Atoi(port)
	low := 1
	if listen {
		low = 0
	}
	if err != nil || nerr != nil || n < low || n > 65535 || host == "" && !listen {
		v.fail(path, "%q is given, host:port with a port from %d to 65535 is accepted", value, low)
	}
}

func (v *validator) listen(l Listen) {
	if l.Host == "" {
		v.fail("listen.host", "it is empty; the address that clients are told is needed, such as 127.0.0.1")
	}
	if l.MaxNodes < 1 || l.MaxNodes > 100 {
		v.fail("listen.max_nodes", "%d is given, 1 to 100 is accepted", l.MaxNodes)
		l.MaxNodes = 1
	}
	switch {
	case l.Port == 0:
		v.fail("listen.port", "it is missing; clients connect to it, and 1 to %d is accepted", 65535-l.MaxNodes)
	case l.Port < 0 || l.Port+l.MaxNodes > 65535:
		v.fail("listen.port", "%d is given, 1 to %d is accepted (%d ports behind it are taken too)", l.Port, 65535-l.MaxNodes, l.MaxNodes)
	}
}

func (v *validator) clusters(c *Config) {
	names := slices.Sorted(maps.Keys(c.Clusters))
	if len(names) != 2 {
		v.fail("clusters", "%d are given (%s), exactly two named entries are accepted", len(names), strings.Join(names, ", "))
	}
	owner := make(map[string]string)
	for _, name := range names {
		p := "clusters." + name
		v.name(p, name, "it names a cluster")
		cl := c.Clusters[name]
		if len(cl.Bootstrap) == 0 {
			v.fail(p+".bootstrap", "it is missing; a list of host:port of the cluster's brokers is accepted")
		}
		for i, b := range cl.Bootstrap {
			v.address(fmt.Sprintf("%s.bootstrap[%d]", p, i), b, false)
			if other := owner[b]; other != "" && other != name {
				v.fail(fmt.Sprintf("%s.bootstrap[%d]", p, i), "%q is given, but it belongs to cluster %s already; two different clusters are needed", b, other)
			}
			owner[b] = name
		}
		v.tls(p+".tls", cl.TLS)
		v.sasl(p+".sasl", cl.SASL)
	}
	switch _, known := c.Clusters[c.Active]; {
	case c.Active == "":
		v.fail("active", "it is missing; the cluster that serves first is accepted: %s", strings.Join(names, " or "))
	case !known:
		v.fail("active", "%q is given, %s is accepted", c.Active, strings.Join(names, " or "))
	}
}

func (v *validator) tls(p string, t *TLS) {
	if t == nil {
		return
	}
	if t.CA != "" {
		if pem, err := os.ReadFile(t.CA); err != nil {
			v.fail(p+".ca", "%q cannot be read (%v), a file of PEM certificates is accepted", t.CA, err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			v.fail(p+".ca", "%q holds no certificate, a file of PEM certificates is accepted", t.CA)
		}
	}
	if (t.Cert == "") != (t.Key == "") {
		v.fail(p, "only one of cert and key is given, both or none are accepted")
	} else if t.Cert != "" {
		if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
			v.fail(p+".cert", "%q and key %q do not load (%v), a PEM certificate and its key are accepted", t.Cert, t.Key, err)
		}
	}
}

func (v *validator) sasl(p string, s *SASL) {
	if s == nil {
		return
	}
	if !slices.Contains(mechanisms, s.Mechanism) {
		v.fail(p+".mechanism", "%q is given, %s is accepted", s.Mechanism, strings.Join(mechanisms, ", "))
	}
	if s.User == "" {
		v.fail(p+".user", "it is missing; the user's name is accepted")
	}
	if v.secret(p+".password", &s.Password); s.Password == "" {
		v.fail(p+".password", "it is missing; the password or ${VARIABLE} is accepted")
	}
}

// secret replaces ${NAME} by the environment's value. The value is never shown.
func (v *validator) secret(p string, s *string) {
	*s = variable.ReplaceAllStringFunc(*s, func(ref string) string {
		name := variable.FindStringSubmatch(ref)[1]
		value, ok := os.LookupEnv(name)
		if !ok {
			v.fail(p, "it refers to the environment variable %s, which is not set", name)
			return ref
		}
		return value
	})
}

func (v *validator) mirror(m MirrorConfig) {
	if m.ReplicationFactor < 0 || m.ReplicationFactor > 100 {
		v.fail("mirror.replication_factor", "%d is given, 0 (as the source) to 100 is accepted", m.ReplicationFactor)
	}
	if m.OrphanTail != mirror.OrphanTailStop && m.OrphanTail != mirror.OrphanTailDead {
		v.fail("mirror.orphan_tail", "%q is given, %s or %s is accepted", m.OrphanTail, mirror.OrphanTailStop, mirror.OrphanTailDead)
	}
	for key, list := range map[string][]string{"include": m.Topics.Include, "exclude": m.Topics.Exclude} {
		for i, pattern := range list {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				v.fail(fmt.Sprintf("mirror.topics.%s[%d]", key, i), "%q is given, a topic name with the wildcards * ? [a-z] is accepted", pattern)
			}
		}
	}
}

func (v *validator) coordination(c *Coordination) {
	switch {
	case (c.Local == nil) == (c.Consul == nil):
		v.fail("coordination", "exactly one of the sections local and consul is accepted")
	case c.Local != nil:
		if c.Local.File == "" {
			v.fail("coordination.local.file", "it is missing; the path of a file where this sidecar keeps the route is accepted")
		}
	default:
		if c.Consul.Address == "" {
			c.Consul.Address = "127.0.0.1:8500"
		}
		if c.Consul.Prefix == "" {
			c.Consul.Prefix = "catamaran"
		}
		v.address("coordination.consul.address", c.Consul.Address, false)
		v.secret("coordination.consul.token", &c.Consul.Token)
		if strings.HasPrefix(c.Consul.Prefix, "/") || strings.HasSuffix(c.Consul.Prefix, "/") {
			v.fail("coordination.consul.prefix", "%q is given, a key prefix without slashes at its ends is accepted", c.Consul.Prefix)
		}
	}
}

func (v *validator) failover(c *Config) {
	f := &c.Failover
	if !slices.Contains([]string{"auto", "manual", "off"}, f.Mode) {
		v.fail("failover.mode", "%q is given, auto, manual or off is accepted", f.Mode)
	}
	if len(f.Observers) == 0 && c.Coordination.Consul != nil && c.Coordination.Local == nil && f.Mode == "auto" {
		v.fail("failover.observers", "it is missing; with Consul and mode auto the ids of the few sidecars whose votes count are accepted, such as [%s]", c.ID)
	}
	if len(f.Observers) == 0 {
		f.Observers = []string{c.ID}
	}
	for i, o := range f.Observers {
		v.name(fmt.Sprintf("failover.observers[%d]", i), o, "it is a sidecar's id")
		if slices.Contains(f.Observers[:i], o) {
			v.fail(fmt.Sprintf("failover.observers[%d]", i), "%q is listed twice, each id counts once", o)
		}
	}
	if f.FailAfter < minFailAfter {
		v.fail("failover.fail_after", "%v is given, %v or more is accepted", f.FailAfter, minFailAfter)
	}
	if f.MinBetweenMoves < 0 {
		v.fail("failover.min_between_moves", "%v is given, 0s or more is accepted", f.MinBetweenMoves)
	}
	if f.MaxLagRecords < 0 {
		v.fail("failover.max_lag_records", "%d is given, 0 (no bound) or more is accepted", f.MaxLagRecords)
	}
	if f.MaxLag < 0 {
		v.fail("failover.max_lag", "%v is given, 0s (no bound) or more is accepted", f.MaxLag)
	}
}

// Warnings are sentences about settings that work and may surprise.
func (c *Config) Warnings() (out []string) {
	if last := c.Listen.Port + c.Listen.MaxNodes; last >= 32768 {
		out = append(out, fmt.Sprintf("listen.port: ports %d to %d reach into the ephemeral range (32768 and up), where an outgoing connection may hold one", c.Listen.Port, last))
	}
	return out
}
