//go:build unix && !linux

package harness

import "syscall"

// dieWithParent: only Linux can promise that a child dies with a parent killed by −9; elsewhere the cleanup of the
// test has to do.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// stopped cannot be asked here: the signal was sent, and that has to do.
func stopped(int) bool { return true }
