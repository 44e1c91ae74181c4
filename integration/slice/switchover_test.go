package slice

import (
	"os/exec"
	"testing"
	"time"

	"github.com/catamaran-io/catamaran/sidecar/history"
)

// TestSwitchoverThereAndBackLosesNothing moves the role by command, twice, under
// load: the second time the link has turned round.
func TestSwitchoverThereAndBackLosesNothing(t *testing.T) {
	w := newWorld(t, "there-and-back", "mode: manual")
	createTopic(t, w.east, "orders", 6)
	w.run(t)
	w.awaitReady(t, "east", 6)
	rec := history.NewRecorder(time.Now())
	clients := startClients(t, rec, w.bootstrap)
	clients.awaitMore(t, 1500, 30*time.Second)
	for _, to := range []string{"west", "east"} {
		out, err := exec.Command(w.binary, "switchover", "--admin", w.admin, "--to", to, "--reason", "test").CombinedOutput()
		if err != nil {
			t.Fatalf("catamaran switchover --to %s: %v\n%s", to, err, out)
		}
		t.Logf("%s", out)
		clients.awaitMore(t, 1500, 30*time.Second)
		w.awaitReady(t, to, 6)
	}
	clients.stopProducers(t)
	clients.awaitAllRead(t, 20*time.Second)
	clients.stopConsumers(t)
	for _, r := range w.reports(t) {
		if r.TailRecords != 0 || r.TailUnknown != 0 {
			t.Errorf("a switchover reports a tail: %+v", r)
		}
	}
	h := rec.History()
	judge(t, h, readLog(t, w.bootstrap, "orders"))
	for who, pause := range pauses(h) {
		t.Logf("longest pause, %s: %v", who, pause.Round(time.Millisecond))
		if pause > hardLimit {
			t.Errorf("%s paused for %v, %v is the limit", who, pause, hardLimit)
		}
	}
	w.checkGroupsAtEnd(t, "orders", "java-group", "go-group")
}
