package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// dieWithParent: a group of its own, so that ^C in the terminal reaches the test only, which then stops its children
// in order; and SIGKILL from the kernel if the test dies without doing so.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// stopped says whether every thread of a process stands still (proc(5): state T, behind the name in parentheses).
func stopped(pid int) bool {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "stat"))
	if err != nil || len(threads) == 0 {
		return true // it is gone
	}
	for _, t := range threads {
		stat, err := os.ReadFile(t)
		if err != nil {
			continue // that thread has ended
		}
		if i := bytes.LastIndexByte(stat, ')'); i < 0 || i+2 >= len(stat) || stat[i+2] != 'T' {
			return false
		}
	}
	return true
}
