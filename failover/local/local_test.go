package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catamaran-io/catamaran/failover"
	"github.com/catamaran-io/catamaran/failover/local"
	"github.com/catamaran-io/catamaran/failover/storetest"
)

func TestMemoryKeepsThePromisesOfAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) failover.Store { return local.New() })
}

func TestFileKeepsThePromisesOfAStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) failover.Store { return open(t, filepath.Join(t.TempDir(), "route.json")) })
}

func open(t *testing.T, path string) *local.Store {
	t.Helper()
	s, err := local.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestRouteOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "route.json")
	s := open(t, path)
	r := failover.Route{Epoch: 7, Tenure: 2, State: failover.Serving, Active: "west", Positions: []int64{1, 2}}
	v, err := s.Update(t.Context(), 0, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second Close: %v", err)
	}
	if _, err := s.Update(t.Context(), v, r); err == nil {
		t.Fatal("a closed store wrote the file")
	}
	got, gv, err := open(t, path).Route(t.Context())
	if err != nil || gv != v || got.Epoch != 7 || got.Active != "west" || len(got.Positions) != 2 {
		t.Fatalf("read %+v at %d, %v after reopening; wrote version %d", got, gv, err, v)
	}
}

func TestSecondProcessIsToldThatTheFileIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "route.json")
	open(t, path)
	_, err := local.Open(path)
	if err == nil || !strings.Contains(err.Error(), "in use by another process") || !strings.Contains(err.Error(), "Consul") {
		t.Fatalf("got %v; want what to do about it", err)
	}
}

func TestDamagedFileIsNotTakenForAFirstStart(t *testing.T) {
	for _, text := range []string{"", "{", `{"version":0}`, "null"} {
		path := filepath.Join(t.TempDir(), "route.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := local.Open(path); err == nil {
			t.Errorf("%q was accepted", text)
		}
		// The lock was given back.
		if _, err := local.Open(path); err != nil && strings.Contains(err.Error(), "in use") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestUnwritableFileRefusesTheUpdate(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "route.json"))
	if err := os.Mkdir(filepath.Join(dir, "route.json.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), 0, failover.Route{Epoch: 1}); err == nil || !strings.Contains(err.Error(), "route.json") {
		t.Fatalf("got %v; want an error that names the file", err)
	}
	if _, _, err := s.Route(t.Context()); err != failover.ErrNoRoute {
		t.Fatalf("got %v; want that nothing changed", err)
	}
}
