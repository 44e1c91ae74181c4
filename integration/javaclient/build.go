package javaclient

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// DefaultVersion is the version of kafka-clients that runs unless options say otherwise; pom.xml names the same.
const DefaultVersion = "4.3.0"

//go:embed pom.xml src/*.java
var sources embed.FS

// Build makes sure that the programs, compiled against the given version of kafka-clients ("" is [DefaultVersion]), are
// in the cache, and returns the directory: jars/ and classes/.
func Build(version string) (dir string, err error) {
	if version == "" {
		version = DefaultVersion
	}
	files, err := sourceFiles()
	if err != nil {
		return "", err
	}
	dir, err = harness.Cached("javaclient-"+version+"-"+harness.Hash(files), func(scratch string) error {
		return build(scratch, version, files)
	})
	if err != nil {
		return "", fmt.Errorf("javaclient: kafka-clients %s: %w", version, err)
	}
	return dir, nil
}

func sourceFiles() (map[string][]byte, error) {
	files := map[string][]byte{}
	entries, err := sources.ReadDir("src")
	if err != nil {
		return nil, err
	}
	names := []string{"pom.xml"}
	for _, e := range entries {
		names = append(names, "src/"+e.Name())
	}
	for _, name := range names {
		content, err := sources.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

func build(dir, version string, files map[string][]byte) error {
	for _, tool := range []string{"java", "javac", "mvn"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%s is not installed: Java clients need a JDK of 17 or newer and, the first time, Maven", tool)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "src"), 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := run(exec.Command("mvn", "-q", "-B", "-f", filepath.Join(dir, "pom.xml"), "-Dkafka.version="+version,
		"dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "jars"))); err != nil {
		return fmt.Errorf("%w\nfetching the jars needs a Maven that reaches its repository (mirror and proxy: ~/.m2/settings.xml)", err)
	}
	args := []string{"-Xlint:all,-path", "-d", filepath.Join(dir, "classes"), "-cp", filepath.Join(dir, "jars", "*")}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".java") {
			args = append(args, filepath.Join(dir, name))
		}
	}
	return run(exec.Command("javac", args...))
}

func run(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := harness.StartProcess(cmd, "")
	if err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
