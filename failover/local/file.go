package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/catamaran-io/catamaran/failover"
)

// content is what the file holds.
type content struct {
	Version failover.Version `json:"version"`
	Route   failover.Route   `json:"route"`
}

// file is a locked file that is replaced as a whole.
type file struct {
	path string
	lock *os.File
}

// Open returns a store whose route is kept in the file at path, which is created
// with the first route. A second process that opens it gets an error.
func Open(path string) (*Store, error) {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock of route file %s: %w (check that its directory exists and is writable)", path, err)
	}
	if err := tryLock(lock); err != nil {
		lock.Close()
		return nil, fmt.Errorf("route file %s is in use by another process (%w): stop that one, name another file, or coordinate several processes by Consul", path, err)
	}
	s := New()
	s.file = &file{path: path, lock: lock}
	c, err := s.file.load()
	if err != nil {
		lock.Close()
		return nil, err
	}
	s.route, s.version = c.Route, c.Version
	return s, nil
}

// Close gives the file back. It may be called twice.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || s.file.lock == nil {
		return nil
	}
	err := s.file.lock.Close() // ends the lock
	s.file.lock = nil
	return err
}

func (f *file) load() (content, error) {
	data, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return content{}, nil
	}
	if err != nil {
		return content{}, fmt.Errorf("read route file %s: %w", f.path, err)
	}
	var c content
	// An unreadable file must not count as "never started": that would make the
	// initial cluster active, which may be the wrong one.
	if err := json.Unmarshal(data, &c); err != nil {
		return content{}, fmt.Errorf("route file %s is damaged (%w): restore it; if it is lost, make sure which cluster is active, configure that one as initial, and only then delete the file", f.path, err)
	}
	if c.Version == 0 {
		return content{}, fmt.Errorf("route file %s has version 0: restore it", f.path)
	}
	return c, nil
}

// save replaces the file: written, synced, renamed, directory synced.
func (f *file) save(c content) error {
	if f.lock == nil {
		return fmt.Errorf("write route file %s: the store is closed", f.path)
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return fmt.Errorf("write route file %s: %w", f.path, err)
	}
	fail := func(err error) error {
		return fmt.Errorf("write route file %s: %w (nothing is decided until it can be written)", f.path, err)
	}
	tmp, err := os.OpenFile(f.path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		return fail(err)
	}
	return syncDir(filepath.Dir(f.path), fail)
}

func syncDir(dir string, fail func(error) error) error {
	d, err := os.Open(dir)
	if err != nil {
		return fail(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fail(err)
	}
	return nil
}
