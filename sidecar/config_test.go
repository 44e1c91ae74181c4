package sidecar

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const small = `
name: orders
id: host-1
listen: {port: 19092}
clusters:
  east: {bootstrap: [east-1:9092]}
  west: {bootstrap: [west-1:9092, west-2:9092]}
active: east
coordination: {local: {file: /tmp/route.json}}
`

func TestSmallConfigurationGetsDefaults(t *testing.T) {
	c, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Host != "127.0.0.1" || !c.Mirror.Enabled || c.Failover.Mode != "auto" || c.Failover.FailAfter != time.Second ||
		c.Failover.Observers[0] != "host-1" || c.Admin.Listen != "127.0.0.1:19099" || c.Standby("east") != "west" {
		t.Fatalf("%+v", c)
	}
}

func TestEveryDefectIsASentenceThatNamesItsField(t *testing.T) {
	t.Setenv("CATAMARAN_TEST_SET", "x")
	for name, tc := range map[string]struct{ replace, with, want string }{
		"an unknown key":             {"active:", "activ: east\nactive:", `activ: this key is not known, accepted here are name, id,`},
		"an unknown key below":       {"{port: 19092}", "{port: 19092, prot: 1}", `listen.prot: this key is not known, accepted here are host, port, max_nodes`},
		"a missing name":             {"name: orders", "", `name: it is missing`},
		"a wrong name":               {"name: orders", "name: or/ders", `name: "or/ders" is given`},
		"a text for a number":        {"19092", "many", `listen.port: "many" is given, a whole number is accepted`},
		"a port out of range":        {"19092", "65535", `listen.port: 65535 is given`},
		"a missing port":             {"{port: 19092}", "{}", `listen.port: it is missing`},
		"a list for a section":       {"{port: 19092}", "[1]", `listen: a list is given, a section with the keys`},
		"a text for a list":          {"[east-1:9092]", "east-1:9092", `clusters.east.bootstrap: "east-1:9092" is given, a list`},
		"an address without a port":  {"east-1:9092", "east-1", `clusters.east.bootstrap[0]: "east-1" is given, host:port`},
		"one address in two":         {"west-2:9092", "east-1:9092", `clusters.west.bootstrap[1]: "east-1:9092" is given, but it belongs to cluster east`},
		"one cluster":                {"  west: {bootstrap: [west-1:9092, west-2:9092]}\n", "", `clusters: 1 are given (east), exactly two`},
		"an unknown active":          {"active: east", "active: north", `active: "north" is given, east or west is accepted`},
		"no active":                  {"active: east", "", `active: it is missing`},
		"no coordination":            {"coordination: {local: {file: /tmp/route.json}}", "", `coordination: exactly one of`},
		"two coordinations":          {"{local: {file: /tmp/route.json}}", "{local: {file: x}, consul: {}}", `coordination: exactly one of`},
		"a local without a file":     {"{local: {file: /tmp/route.json}}", "{local: {}}", `coordination.local.file: it is missing`},
		"consul without observers":   {"{local: {file: /tmp/route.json}}", "{consul: {}}", `failover.observers: it is missing`},
		"a wrong mode":               {"active:", "failover: {mode: maybe}\nactive:", `failover.mode: "maybe" is given, auto, manual or off is accepted`},
		"a number for a duration":    {"active:", "failover: {fail_after: 5}\nactive:", `failover.fail_after: 5 is given, a duration such as`},
		"a short duration":           {"active:", "failover: {fail_after: 1ms}\nactive:", `failover.fail_after: 1ms is given, 200ms or more`},
		"an observer twice":          {"active:", "failover: {observers: [a, a]}\nactive:", `failover.observers[1]: "a" is listed twice`},
		"a wrong pattern":            {"active:", "mirror: {topics: {include: ['[']}}\nactive:", `mirror.topics.include[0]: "[" is given`},
		"an unknown tail policy":     {"active:", "mirror: {orphan_tail: eat}\nactive:", `mirror.orphan_tail: "eat" is given, stop or dead`},
		"a text for a flag":          {"active:", "mirror: {enabled: perhaps}\nactive:", `mirror.enabled: "perhaps" is given, true or false`},
		"a wrong admin address":      {"active:", "admin: {listen: nowhere}\nactive:", `admin.listen: "nowhere" is given, host:port`},
		"an unknown SASL mechanism":  {"[east-1:9092]", "[east-1:9092], sasl: {mechanism: gssapi, user: u, password: p}", `clusters.east.sasl.mechanism: "gssapi" is given, plain, scram-sha-256, scram-sha-512`},
		"a variable that is not set": {"[east-1:9092]", "[east-1:9092], sasl: {mechanism: plain, user: u, password: '${CATAMARAN_TEST_UNSET}'}", `clusters.east.sasl.password: it refers to the environment variable CATAMARAN_TEST_UNSET`},
		"a missing CA file":          {"[east-1:9092]", "[east-1:9092], tls: {ca: /nowhere.pem}", `clusters.east.tls.ca: "/nowhere.pem" cannot be read`},
		"half a key pair":            {"[east-1:9092]", "[east-1:9092], tls: {cert: c.pem}", `clusters.east.tls: only one of cert and key`},
		"no YAML":                    {"name: orders", "name: [", `not YAML:`},
		"a key twice":                {"active:", "name: again\nactive:", `not YAML:`},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(small, tc.replace) {
				t.Fatalf("%q is not in the configuration", tc.replace)
			}
			_, err := Parse([]byte(strings.Replace(small, tc.replace, tc.with, 1)))
			input := new(InputError)
			if !errors.As(err, &input) {
				t.Fatalf("accepted: %v", err)
			}
			if len(input.Problems) != 1 || !strings.HasPrefix(input.Problems[0], tc.want) {
				t.Fatalf("got\n%v\nwant one sentence that begins\n%s", err, tc.want)
			}
		})
	}
}

func TestAllDefectsAreListedAtOnce(t *testing.T) {
	_, err := Parse([]byte("name: a/b\nclusters: {}\n"))
	input := new(InputError)
	if !errors.As(err, &input) || len(input.Problems) < 4 {
		t.Fatalf("%v", err)
	}
}

func TestSecretsComeFromTheEnvironment(t *testing.T) {
	t.Setenv("CATAMARAN_TEST_PASSWORD", "s3cret")
	c, err := Parse([]byte(strings.Replace(small, "[east-1:9092]", "[east-1:9092], sasl: {mechanism: plain, user: u, password: '${CATAMARAN_TEST_PASSWORD}'}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Clusters["east"].SASL.Password; got != "s3cret" {
		t.Fatalf("password is %q", got)
	}
}

func TestPortsInTheEphemeralRangeAreWarnedOf(t *testing.T) {
	c, err := Parse([]byte(strings.Replace(small, "19092", "32767", 1)))
	if err != nil || len(c.Warnings()) != 1 {
		t.Fatalf("%v %v", c.Warnings(), err)
	}
}
