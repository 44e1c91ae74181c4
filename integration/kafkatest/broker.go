package kafkatest

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/integration/internal/harness"
)

// stopGrace is how long a broker may take to shut down in order before it is killed.
const stopGrace = 15 * time.Second

// A Broker is one node of a cluster. Its methods are for the one goroutine that runs the test.
type Broker struct {
	// ID is the node id, as in metadata: 1 to the number of brokers.
	ID int32

	cluster        *Cluster
	port           int
	controllerPort int // 0: not a controller
	proc           *harness.Process
}

// Addr is host:port of the broker, the same through every restart.
func (b *Broker) Addr() string { return "127.0.0.1:" + strconv.Itoa(b.port) }

// Port is the port of [Broker.Addr].
func (b *Broker) Port() int { return b.port }

// PID is the process id of the broker's JVM, for measuring it.
func (b *Broker) PID() int { return b.proc.PID() }

// Running says whether the process exists; a paused one does.
func (b *Broker) Running() bool { return b.proc != nil && b.proc.Running() }

// Kill is kill −9. It returns when the process is gone.
func (b *Broker) Kill() {
	b.cluster.logf("kill -9 of broker %d", b.ID)
	b.proc.Kill()
}

// Stop shuts the broker down in order: leaders move away first if there is another broker.
func (b *Broker) Stop() {
	began := time.Now()
	if !b.proc.Stop(stopGrace) {
		b.cluster.logf("broker %d did not stop within %v and was killed", b.ID, stopGrace)
		return
	}
	b.cluster.logf("broker %d stopped in %v", b.ID, time.Since(began).Round(10*time.Millisecond))
}

// Pause stops the process where it stands (SIGSTOP): connections stay open and nobody answers.
func (b *Broker) Pause() {
	b.cluster.logf("SIGSTOP of broker %d", b.ID)
	b.proc.Pause()
}

// Resume lets a paused broker go on (SIGCONT); it first works on what stands in its sockets.
func (b *Broker) Resume() {
	b.cluster.logf("SIGCONT of broker %d", b.ID)
	b.proc.Resume()
}

// Restart starts the broker again with the same ports and data, killing it first if it runs, and waits until the
// cluster has taken it back (after a kill that is not before its old session has expired: 2 s with one broker, else 4).
func (b *Broker) Restart(tb testing.TB) {
	tb.Helper()
	b.cluster.restart(tb, b)
}

// LogPath is the file with what the broker logged, all its lives in one.
func (b *Broker) LogPath() string { return filepath.Join(b.dir(), "broker.log") }

func (b *Broker) dir() string {
	return filepath.Join(b.cluster.dir, "node"+strconv.Itoa(int(b.ID)))
}

func (b *Broker) dataDir() string { return filepath.Join(b.dir(), "data") }

// format makes the data directory what kafka.tools.StorageTool would make it.
func (b *Broker) format() error {
	if err := os.MkdirAll(b.dataDir(), 0o755); err != nil {
		return err
	}
	meta := renderProperties(map[string]string{
		"version":      "1",
		"cluster.id":   b.cluster.ID,
		"node.id":      strconv.Itoa(int(b.ID)),
		"directory.id": newUUID(),
	})
	if err := os.WriteFile(filepath.Join(b.dataDir(), "meta.properties"), meta, 0o644); err != nil {
		return err
	}
	checkpoint, err := os.ReadFile(filepath.Join(b.cluster.dist.dir, "bootstrap.checkpoint"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dataDir(), "bootstrap.checkpoint"), checkpoint, 0o644)
}

// launch starts the process; it does not wait for it to answer.
func (b *Broker) launch() error {
	config := filepath.Join(b.dir(), "server.properties")
	if err := os.WriteFile(config, renderProperties(b.cluster.properties(b)), 0o644); err != nil {
		return err
	}
	cmd := b.cluster.dist.java(b.cluster.cfg.JVMArgs, "kafka.Kafka", config)
	proc, err := harness.StartProcess(cmd, b.LogPath())
	if err != nil {
		return err
	}
	b.proc = proc
	return nil
}

// complaints returns the last lines in the broker's log that are not information, for an error message.
func (b *Broker) complaints(limit int) string {
	f, err := os.Open(b.LogPath())
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	var kept []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, " INFO ") || strings.TrimSpace(line) == "" {
			continue
		}
		kept = append(kept, "    "+line)
		if len(kept) > limit {
			kept = kept[1:]
		}
	}
	return fmt.Sprintf("  broker %d, %s:\n%s", b.ID, b.LogPath(), strings.Join(kept, "\n"))
}
