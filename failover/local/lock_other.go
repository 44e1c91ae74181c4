//go:build !unix

package local

import (
	"errors"
	"os"
)

// tryLock refuses: without a lock two processes could each name an active cluster.
func tryLock(*os.File) error {
	return errors.New("files cannot be locked on this system")
}
