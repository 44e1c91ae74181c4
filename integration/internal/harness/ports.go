package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports are handed out from 20000–31999: below the ephemeral range (32768 and up on Linux), or an outgoing connection
// of some other test takes the port of a broker while that is down for a restart.
const (
	firstPort  = 20000
	blockPorts = 100
	blocks     = 120
)

// ports is this process's share. A block of ports belongs to the process that holds the lock on the block's file,
// for as long as it lives: so parallel test packages never probe, or restart a broker on, each other's ports.
var ports struct {
	sync.Mutex
	next, end int
	held      []*os.File // kept open: closing gives the block back
}

// FreePorts returns n ports on localhost on which nothing listens. They are not handed out again in this process.
func FreePorts(n int) ([]int, error) {
	ports.Lock()
	defer ports.Unlock()
	var free []int
	for len(free) < n {
		if ports.next == ports.end {
			if err := claimBlock(); err != nil {
				return nil, err
			}
		}
		port := ports.next
		ports.next++
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			free = append(free, port)
		}
	}
	return free, nil
}

func claimBlock() error {
	dir := filepath.Join(os.TempDir(), "catamaran-ports")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	// A random start keeps a process off the ports that the one before it just closed (TIME_WAIT, a broker still
	// on its way down).
	start := rand.IntN(blocks)
	for i := range blocks {
		block := (start + i) % blocks
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(block)), os.O_CREATE|os.O_RDWR, 0o666)
		if err != nil {
			return err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			f.Close()
			continue
		}
		ports.held = append(ports.held, f)
		ports.next = firstPort + block*blockPorts
		ports.end = ports.next + blockPorts
		return nil
	}
	return fmt.Errorf("no free block of ports between %d and %d: all %d are locked in %s; are that many tests running?",
		firstPort, firstPort+blocks*blockPorts-1, blocks, dir)
}
