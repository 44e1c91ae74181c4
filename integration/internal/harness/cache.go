package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
)

// CacheEnv names the environment variable that moves the cache.
const CacheEnv = "CATAMARAN_CACHE"

// CacheDir is the directory below which everything fetched or built is kept.
func CacheDir() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory for jars and binaries: %w; set %s to a directory", err, CacheEnv)
	}
	return filepath.Join(dir, "catamaran"), nil
}

// Cached returns the cache's directory called name, and makes it by calling build if it is not there. name carries
// whatever the content depends on (a version, a [Hash]), so that a directory once made is never stale.
//
// Test packages run at the same time in processes of their own: a lock file lets one of them build while the others
// wait, and build fills a scratch directory that is renamed when complete, so that a build cut short (a test
// timeout, ^C) leaves nothing that looks finished.
func Cached(name string, build func(scratch string) error) (string, error) {
	base, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, name)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", fmt.Errorf("cache: %w; set %s to a directory that can be written", err, CacheEnv)
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) { // someone else built it while we waited
		return dir, nil
	}
	scratch := dir + ".tmp"
	if err := os.RemoveAll(scratch); err != nil { // left by a build that was killed; the lock says it is ours now
		return "", err
	}
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return "", err
	}
	if err := build(scratch); err != nil {
		os.RemoveAll(scratch)
		return "", err
	}
	if err := os.Rename(scratch, dir); err != nil {
		return "", fmt.Errorf("cache: putting %s in place: %w", name, err)
	}
	return dir, nil
}

// Hash returns a short key that changes when a name or content in files does.
func Hash(files map[string][]byte) string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	sort.Strings(names)
	h := sha256.New()
	for _, name := range names {
		fmt.Fprintf(h, "%q %d\n", name, len(files[name]))
		h.Write(files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:10]
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// lockFile waits for an exclusive lock that the kernel gives back if this process dies.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cache lock: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}
