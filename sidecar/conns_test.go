package sidecar

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catamaran-io/catamaran/sidecar/inmem"
)

func TestSeverEndsConnectionsAndDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := inmem.NewNetwork(1)
		l, err := n.Host("srv").Listen("tcp", ":9092")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c := newConns()
		dial := c.track(n.Host("app").Dial)
		conn, err := dial(t.Context(), "tcp", "srv:9092")
		if err != nil {
			t.Fatal(err)
		}
		read, dialed := make(chan error), make(chan error)
		go func() { _, err := conn.Read(make([]byte, 1)); read <- err }()
		n.Cut("app", "srv")
		go func() { _, err := dial(context.Background(), "tcp", "srv:9092"); dialed <- err }()
		time.Sleep(time.Second)
		c.sever()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
		if err := <-dialed; !errors.Is(err, context.Canceled) {
			t.Errorf("dial: %v", err)
		}
		n.Heal("app", "srv")
		conn, err = dial(t.Context(), "tcp", "srv:9092")
		if err != nil {
			t.Fatalf("a dial after sever: %v", err)
		}
		conn.Close()
		c.sever() // knows it no more
	})
}
