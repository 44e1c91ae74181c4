package matrix

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
	"github.com/catamaran-io/catamaran/integration/javaclient"
)

//go:embed python/*.py node/*.js java/*.java
var drivers embed.FS

// goClient builds goclients, a module beside this package: embedding cannot reach
// into it, tests run where it is.
func goClient(c Client) ([]string, error) {
	files := make(map[string][]byte)
	names, err := filepath.Glob("goclients/*")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if files[name], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	dir, err := harness.Cached("goclients-"+harness.Hash(files), func(scratch string) error {
		cmd := exec.Command("go", "build", "-o", filepath.Join(scratch, "goclients"), ".")
		cmd.Dir = "goclients"
		return run(cmd, "needs a Go module proxy")
	})
	return []string{filepath.Join(dir, "goclients"), c.Name}, err
}

// javaClient compiles the driver against the jars of package javaclient.
func javaClient(c Client) ([]string, error) {
	jars, err := javaclient.Build(c.Version)
	if err != nil {
		return nil, err
	}
	classPath := filepath.Join(jars, "jars", "*")
	dir, err := installed("matrix-java-"+c.Version, "java", "", func(dir string) *exec.Cmd {
		return exec.Command("javac", "-d", dir, "-cp", classPath, filepath.Join(dir, "Driver.java"))
	})
	return []string{"java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS", "-cp", dir + ":" + classPath, "Driver"}, err
}

// pythonClient installs with --target rather than into a virtual environment,
// which could not be moved into its place in the cache.
func pythonClient(script string) func(Client) ([]string, error) {
	return func(Client) ([]string, error) {
		dir, err := installed("matrix-python", "python", python, func(dir string) *exec.Cmd {
			return exec.Command("python3", append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check",
				"--only-binary", ":all:", "--target", filepath.Join(dir, "packages")}, strings.Fields(python)...)...)
		})
		return []string{"env", "PYTHONPATH=" + filepath.Join(dir, "packages"), "python3", filepath.Join(dir, script)}, err
	}
}

func nodeClient(Client) ([]string, error) {
	dir, err := installed("matrix-node", "node", node, func(dir string) *exec.Cmd {
		cmd := exec.Command("npm", append([]string{"install", "--no-save", "--no-audit", "--no-fund", "--loglevel", "error"}, strings.Fields(node)...)...)
		cmd.Dir = dir
		return cmd
	})
	return []string{"node", filepath.Join(dir, "driver.js")}, err
}

// installed is a cache directory with the driver sources of one language, in
// which command has run. It is made again when sources or versions change.
func installed(name, language, versions string, command func(dir string) *exec.Cmd) (string, error) {
	files := map[string][]byte{"versions": []byte(versions)}
	entries, err := drivers.ReadDir(language)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if files[e.Name()], err = drivers.ReadFile(path.Join(language, e.Name())); err != nil {
			return "", err
		}
	}
	return harness.Cached(name+"-"+harness.Hash(files), func(scratch string) error {
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(scratch, name), content, 0o644); err != nil {
				return err
			}
		}
		return run(command(scratch), "needs the language's package registry")
	})
}

func run(cmd *exec.Cmd, hint string) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := harness.StartProcess(cmd, "")
	if err == nil {
		err = p.Err()
	}
	if err != nil {
		return fmt.Errorf("matrix: %s: %w (%s)\n%s", strings.Join(cmd.Args, " "), err, hint, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}
