package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/catamaran-io/catamaran/sidecar/cli"
)

func TestHelpTeachesWithExamples(t *testing.T) {
	for command, want := range map[string]string{
		"": "catamaran demo", "run": "name: orders", "check": "writes nothing", "status": "--json", "demo": "exit code",
		"switchover": "nothing is lost or doubled", "failover": "named in the report",
	} {
		var out bytes.Buffer
		if code := cli.Main(append(strings.Fields(command), "--help"), &out, &out); code != 0 {
			t.Errorf("%s --help ended with %d", command, code)
		}
		for _, w := range []string{want, "Examples:"} {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s --help lacks %q:\n%s", command, w, out.String())
			}
		}
	}
}

func TestWrongUseIsBadInput(t *testing.T) {
	for line, want := range map[string]string{
		"fly":                   `"fly" is not a command`,
		"status --nope":         "unknown flag: --nope (see catamaran status --help)",
		"status extra":          `takes no argument, "extra" is given`,
		"switchover --reason x": "--to is missing",
		"failover --to west":    "--reason is missing",
		"run --log-level loud":  `"loud" is given, debug, info, warn or error is accepted`,
		"check -c nowhere.yaml": "the configuration cannot be read",
	} {
		var out bytes.Buffer
		if code := cli.Main(strings.Fields(line), &out, &out); code != 2 || !strings.Contains(out.String(), want) {
			t.Errorf("%q ended with %d and not with %q:\n%s", line, code, want, out.String())
		}
	}
}

func TestVersionIsPrinted(t *testing.T) {
	var out bytes.Buffer
	if code := cli.Main([]string{"version"}, &out, &out); code != 0 || !strings.HasPrefix(out.String(), "catamaran dev") {
		t.Fatalf("%d %s", code, out.String())
	}
}
