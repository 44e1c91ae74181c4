package consultest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// Version is the Consul that runs; agent/go.mod requires the same. Later ones did not build when this was written.
const Version = "1.22.6"

// Build makes sure that the agent is in the cache and returns its path. Start calls it; call it yourself to have the
// minutes of the first build behind you.
func Build() (path string, err error) {
	module, err := agentModule()
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", fmt.Errorf("consultest: %w", err)
		}
		files[name] = content
	}
	dir, err := harness.Cached("consul-"+Version+"-"+harness.Hash(files), func(scratch string) error {
		return build(module, filepath.Join(scratch, "consul"))
	})
	if err != nil {
		return "", fmt.Errorf("consultest: Consul %s: %w", Version, err)
	}
	return filepath.Join(dir, "consul"), nil
}

func build(module, binary string) error {
	// Not through tb.Logf, which is silent until the test ends: someone may be wondering what takes so long.
	fmt.Fprintf(os.Stderr, "consultest: building Consul %s, once; this takes about five minutes on two cores\n", Version)
	began := time.Now()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "github.com/hashicorp/consul")
	cmd.Dir = module
	// Whatever flags and workspace the product is tested with, this is another module; go.sum has all checksums.
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly -buildvcs=false", "GOWORK=off", "CGO_ENABLED=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := harness.StartProcess(cmd, "")
	if err != nil {
		return err
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("go build in %s: %w\n%s\nthe build needs Go and a module proxy (go env GOPROXY)", module, err, bytes.TrimSpace(out.Bytes()))
	}
	fmt.Fprintf(os.Stderr, "consultest: built in %v\n", time.Since(began).Round(time.Second))
	return nil
}

// agentModule finds agent/ beside this file. It cannot be embedded: it belongs to another module.
func agentModule() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	candidates := []string{filepath.Join(filepath.Dir(file), "agent")}
	if wd, err := os.Getwd(); err == nil { // built with -trimpath: look from where the test runs, upwards
		for dir := wd; ; dir = filepath.Dir(dir) {
			candidates = append(candidates, filepath.Join(dir, "integration", "consultest", "agent"))
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("consultest: integration/consultest/agent/go.mod not found: run the test inside a checkout of the repository")
}
