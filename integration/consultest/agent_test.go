package consultest

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

func TestCompareAndSetHasOneWinnerAndSurvivesRestart(t *testing.T) {
	agent := Start(t)
	kv := agent.Client(t).KV()

	if ok, _, err := kv.CAS(&api.KVPair{Key: "route", Value: []byte("east")}, nil); err != nil || !ok {
		t.Fatalf("creating the key: %v, %v", ok, err)
	}
	pair, _, err := kv.Get("route", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} { // both set from the same index
		ok, _, err := kv.CAS(&api.KVPair{Key: "route", Value: []byte("west"), ModifyIndex: pair.ModifyIndex}, nil)
		if err != nil || ok != want {
			t.Fatalf("compare-and-set %d: %v, %v, want %v", i, ok, err, want)
		}
	}

	agent.Kill()
	agent.Restart(t)
	pair, _, err = kv.Get("route", &api.QueryOptions{RequireConsistent: true})
	if err != nil || pair == nil || string(pair.Value) != "west" {
		t.Fatalf("after kill and restart: %v, %v, want west", pair, err)
	}

	agent.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := kv.Get("route", (&api.QueryOptions{}).WithContext(ctx)); err == nil {
		t.Error("a paused agent answered")
	}
	agent.Resume()
	agent.Stop()
	agent.Restart(t)
}
