package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/catamaran-io/catamaran/protocol"
)

func TestBadInputClosesThatSessionAndNoOther(t *testing.T) {
	frame := func(b ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...) }
	header := func(key, version int16) []byte {
		return append(binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(key)), uint16(version)), 0, 0, 0, 1, 0xff, 0xff)
	}
	for name, bytes := range map[string][]byte{
		"negative size":          {0xff, 0xff, 0xff, 0xff},
		"oversize":               {0x7f, 0xff, 0xff, 0xff, 0, 0},
		"oversize produce":       {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 9},
		"HTTP":                   []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"empty frame":            frame(),
		"short header":           frame(0, 0, 0),
		"unknown API":            frame(header(999, 0)...),
		"unserved API":           frame(header(1000, 0)...),
		"inter-broker API":       frame(header(4, 0)...),
		"version too high":       frame(header(0, 99)...),
		"version negative":       frame(header(1, -1)...),
		"empty produce body":     frame(header(0, 9)...),
		"truncated body":         frame(append(header(3, 9), 0, 0x7f)...),
		"array longer than body": frame(append(header(8, 2), 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff)...),
	} {
		t.Run(name, func(t *testing.T) {
			inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
				l.serve("east", 0)
				other := l.raw(0)
				defer other.close()
				conn, err := l.net.dial(l.ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(labPort)))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go conn.Write(bytes) // a pipe blocks when the other end stops reading
				conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				if n, err := conn.Read(make([]byte, 1)); err != io.EOF {
					t.Errorf("read %d bytes, %v; want the connection to be closed", n, err)
				}
				acked(t, other.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}})))
			})
		})
	}
}

func TestMalformedRecordsAreJudgedByTheBroker(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		req := produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}})
		req.Topics[0].Partitions[0].Records = req.Topics[0].Partitions[0].Records[:30]
		if code := c.ask(req).(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code == 0 {
			t.Error("a truncated batch was acknowledged")
		}
		acked(t, c.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}})))
	})
}

func TestApiVersionsOfALaterReleaseIsAnsweredInTheFormatOfVersionZero(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		c := l.raw(0)
		defer c.close()
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version = 5
		if got := c.ask(req).(*kmsg.ApiVersionsResponse); got.ErrorCode != 35 {
			t.Errorf("error code %d, want UNSUPPORTED_VERSION", got.ErrorCode)
		}
		req = kmsg.NewPtrApiVersionsRequest()
		req.Version = 4
		got := c.ask(req).(*kmsg.ApiVersionsResponse)
		for _, k := range got.ApiKeys {
			if k.ApiKey == 0 && k.MinVersion != 0 {
				t.Errorf("Produce is advertised from version %d, want 0", k.MinVersion)
			}
		}
		if got.ErrorCode != 0 || len(got.ApiKeys) < 15 {
			t.Errorf("code %d, %d APIs", got.ErrorCode, len(got.ApiKeys))
		}
	})
}

func TestHeldBytesAreBoundedAndSocketsNotReadBeyond(t *testing.T) {
	const limit = 64 << 10
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		l.fence("east", 0, true)
		payload := string(make([]byte, 30<<10))
		var clients []*rawClient
		written := make(chan int, 20)
		for i := range 20 {
			c := l.raw(0)
			clients = append(clients, c)
			go func() {
				c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{fmt.Sprint(i, payload)}}))
				written <- i
			}()
		}
		time.Sleep(2 * time.Second)
		if held := l.proxy.Stats().HeldBytes; held > limit || held < limit/2 {
			t.Errorf("%d bytes are held, the limit is %d", held, limit)
		}
		if n := len(written); n >= 20 {
			t.Errorf("all %d requests were read", n)
		}
		// What is not a write is served all the same.
		c := l.raw(0)
		meta := kmsg.NewPtrMetadataRequest()
		meta.Version, meta.Topics = 9, nil
		c.ask(meta)
		c.close()
		l.serve("east", 0)
		for _, c := range clients {
			<-written
			_ = c
		}
		for _, c := range clients {
			acked(t, c.receive(5*time.Second))
			c.close()
		}
		time.Sleep(time.Second)
		if held := l.proxy.Stats().HeldBytes; held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
		if got := len(l.east.logOf(t, "orders", 0)); got != 20 {
			t.Errorf("%d records, want 20", got)
		}
	}, func(cfg *Config) { cfg.MaxHeldBytes = limit })
}

// The budget is taken before the bytes are there.
func TestClientThatStopsInsideARequestDoesNotKeepOthersFromWriting(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		paused := l.raw(0)
		defer paused.close()
		half := binary.BigEndian.AppendUint32(nil, 90<<20)
		if _, err := paused.conn.Write(append(half, 0, 0, 0, 9, 0, 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		c := l.raw(0)
		defer c.close()
		c.send(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}}))
		acked(t, c.receive(time.Minute))
	})
}

// Bytes of real requests, some of them changed: whatever a session makes of
// them, it is over soon after its client is, and the others go on.
func TestMutatedRequestsHurtNobodyElse(t *testing.T) {
	inLab(t, 1, 1, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		other := l.raw(0)
		defer other.close()
		rng := rand.New(rand.NewPCG(3, 4))
		for i := range 600 {
			var req kmsg.Request
			switch row := protocol.Table()[i%len(protocol.Table())]; row.Key {
			case 0:
				req = produceRequestOf(part{"orders", 0, protocol.Producer{ID: int64(i)}, []string{"v"}})
			case 1:
				req = fetchRequestOf(l, "orders", 0, 0)
			case 11:
				req = joinRequestOf("")
			default:
				req = kmsg.RequestForKey(row.Key)
				req.SetVersion(row.Min + int16(rng.IntN(int(row.Max-row.Min)+1)))
			}
			frame := protocol.AppendRequest(nil, 1, kmsg.StringPtr("fuzz"), req)
			for range 1 + rng.IntN(4) {
				frame[8+rng.IntN(len(frame)-8)] = byte(rng.Uint32())
			}
			c := l.raw(0)
			c.conn.SetDeadline(time.Now().Add(time.Second))
			c.conn.Write(frame)
			c.conn.Read(make([]byte, 100))
			c.close()
			if i%50 == 0 {
				acked(t, other.ask(produceRequestOf(part{"orders", 0, protocol.NoProducer, []string{"v"}})))
			}
		}
		time.Sleep(2 * l.proxy.cfg.Hold)
		if s := l.proxy.Stats(); s.Sessions != 1 || s.Unanswered != 0 || s.HeldBytes != 0 {
			t.Errorf("%d sessions, %d unanswered, %d bytes held are left", s.Sessions, s.Unanswered, s.HeldBytes)
		}
	})
}
