//go:build unix

package local

import (
	"os"
	"syscall"
)

// tryLock takes the lock or fails at once. The kernel gives it back when the
// process ends, however it ends.
func tryLock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
