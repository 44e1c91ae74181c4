package proxy

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

// The other tests find leaks too: a bubble fails when a goroutine outlives it.
// This one runs over TCP, where reads and writes block in the kernel.
func TestRunLeavesNoGoroutineBehindOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tcp := func(cfg *Config) { cfg.Network.Listen, cfg.Port = net.Listen, freePorts(t, 4) }
	inRealLab(t, 2, 2, []string{"orders"}, func(t *testing.T, l *lab) {
		l.serve("east", 0)
		cl, err := kgo.NewClient(kgo.SeedBrokers(l.proxy.Addr()), kgo.ConsumeTopics("orders"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableClientMetrics())
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for i := range 20 {
			if err := cl.ProduceSync(l.ctx, &kgo.Record{Topic: "orders", Value: fmt.Appendf(nil, "v%d", i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		consume(t, l, cl, 20)
		l.net.kill("east") // with requests held
		go cl.ProduceSync(l.ctx, &kgo.Record{Topic: "orders", Value: []byte("held")})
		time.Sleep(100 * time.Millisecond)
	}, tcp)
}

// freePorts is the first of n neighbouring ports that were free a moment ago,
// below the ephemeral range.
func freePorts(t *testing.T, n int) int {
	t.Helper()
next:
	for first := 21000; first < 32000; first += n {
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+i))
			if err != nil {
				continue next
			}
			l.Close()
		}
		return first
	}
	t.Fatal("no free ports")
	return 0
}
