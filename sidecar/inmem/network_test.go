package inmem

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connected dials from app to srv.
func connected(t *testing.T, n *Network) (client, server net.Conn) {
	t.Helper()
	l, err := n.Host("srv").Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = n.Host("app").Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func bubble(t *testing.T, body func(t *testing.T, n *Network)) {
	synctest.Test(t, func(t *testing.T) { body(t, NewNetwork(1)) })
}

func TestBytesTakeTheLatencyAndNeverOvertake(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		n.SetLatency(10*time.Millisecond, 5*time.Millisecond)
		c, s := connected(t, n)
		start := time.Now()
		for i := range 20 {
			c.Write([]byte{byte(i)})
		}
		c.Close()
		got, err := io.ReadAll(s)
		if err != nil || len(got) != 20 {
			t.Fatalf("%v %v", got, err)
		}
		for i, b := range got {
			if int(b) != i {
				t.Fatalf("bytes came in the order %v", got)
			}
		}
		if took := time.Since(start); took < 10*time.Millisecond || took > 16*time.Millisecond {
			t.Fatalf("took %v", took)
		}
		s.Close()
	})
}

func TestWriteWaitsForAReader(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		c, s := connected(t, n)
		c.SetWriteDeadline(time.Now().Add(time.Second))
		wrote, err := c.Write(make([]byte, 2*halfLimit))
		if wrote != halfLimit || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d %v", wrote, err)
		}
		go io.Copy(io.Discard, s)
		c.SetWriteDeadline(time.Time{})
		if wrote, err := c.Write(make([]byte, 2*halfLimit)); wrote != 2*halfLimit || err != nil {
			t.Fatalf("%d %v", wrote, err)
		}
		c.Close()
		s.Close()
	})
}

func TestKillResetsAndRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		l, _ := n.Host("srv").Listen("tcp", ":9092")
		defer l.Close()
		c, err := n.Host("app").Dial(t.Context(), "tcp", "srv:9092")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		n.Kill("srv")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("read: %v", err)
		}
		if _, err := n.Host("app").Dial(t.Context(), "tcp", "srv:9092"); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial: %v", err)
		}
		n.Revive("srv")
		c, err = n.Host("app").Dial(t.Context(), "tcp", "srv:9092")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestPausedHostTakesConnectionsAndBytesAndServesThemLater(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		l, _ := n.Host("srv").Listen("tcp", ":9092")
		defer l.Close()
		n.Pause("srv")
		c, err := n.Host("app").Dial(t.Context(), "tcp", "srv:9092")
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte("x"))
		time.AfterFunc(5*time.Second, func() { n.Resume("srv") })
		start := time.Now()
		s, err := l.Accept()
		if err != nil || time.Since(start) != 5*time.Second {
			t.Fatalf("accepted after %v: %v", time.Since(start), err)
		}
		if _, err := s.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		s.Close()
	})
}

func TestCutDelaysBytesAndHangsDials(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		c, s := connected(t, n)
		n.Cut("srv", "app")
		c.Write([]byte("x"))
		s.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read across a cut: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("app").Dial(ctx, "tcp", "srv:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial across a cut: %v", err)
		}
		n.Heal("app", "srv")
		s.SetReadDeadline(time.Time{})
		if _, err := s.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		c.Close()
		s.Close()
	})
}

func TestCloseWakesAReader(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		c, s := connected(t, n)
		done := make(chan error)
		go func() { _, err := c.Read(make([]byte, 1)); done <- err }()
		time.Sleep(time.Second)
		c.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Fatal(err)
		}
		if _, err := s.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		s.Close()
	})
}

func TestMutedServerIsServedAndNotHeard(t *testing.T) {
	bubble(t, func(t *testing.T, n *Network) {
		c, s := connected(t, n)
		n.Mute("app", "srv", 1)
		c.Write([]byte("x"))
		if _, err := s.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		s.Write([]byte("y"))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("heard a muted server: %v", err)
		}
		c.Close()
		s.Close()
	})
}
