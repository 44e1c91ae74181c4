package mirrortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"github.com/catamaran-io/catamaran/mirror"
)

// childEnv tells this test binary to be a mirror: kill −9 needs a process of
// its own.
const childEnv = "CATAMARAN_MIRROR_CHILD"

// orders are what the child is told.
type orders struct {
	East, West []string
	Topic      string
	Link       mirror.Link
}

func child() int {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	m, err := mirror.New(mirror.Config{
		VirtualCluster: "it", Writer: fmt.Sprintf("child-%d", os.Getpid()),
		Clusters: map[string]mirror.Cluster{"east": {Seeds: o.East}, "west": {Seeds: o.West}},
		Topics:   mirror.Rules{Include: []string{o.Topic}},
		Logger:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		err = m.Run(context.Background(), o.Link)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// startChild starts a mirror process. It is killed with the test.
func startChild(t *testing.T, topic string, l mirror.Link) *exec.Cmd {
	t.Helper()
	told, err := json.Marshal(orders{East: east.Bootstrap(), West: west.Bootstrap(), Topic: topic, Link: l})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(told))
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kill(cmd) })
	return cmd
}

func kill(cmd *exec.Cmd) {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		panic(err)
	}
	cmd.Wait()
}
