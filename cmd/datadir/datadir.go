// Package datadir keeps two processes out of one data folder. It promises that
// the second one is told at once who is there, and that a lock never outlives
// its process; it refuses to know what is in the folder.
package datadir

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// fileName is the lock. Its text is the owner of the folder, for a person and for the next start.
const fileName = "owner.lock"

// maxOwnerBytes bounds what is read of a file that somebody else may have written.
const maxOwnerBytes = 4096

// Lock creates the folder if needed and takes it for this process until the
// returned function is called or the process ends. A folder belongs to the owner
// (for example "node core1") that used it first: its identity is in what it stored.
func Lock(dir, owner string) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data_dir %s: %w; choose a folder that this user may write", dir, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w; choose a folder that this user may write", dir, err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	text, err := io.ReadAll(io.LimitReader(f, maxOwnerBytes))
	if err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	was, process, _ := strings.Cut(string(bytes.TrimSpace(text)), "\n")
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data_dir %s is in use by another process (%s, %s); stop it, or set another data_dir", dir, was, process)
		}
		return nil, fmt.Errorf("data_dir %s: lock: %w", dir, err)
	}
	if owner != "" && was != "" && was != owner {
		return nil, fmt.Errorf("data_dir %s belongs to %s, this is %s; set another data_dir, or the name it had", dir, was, owner)
	}
	if err := write(f, fmt.Sprintf("%s\npid %d\n", owner, os.Getpid())); err != nil {
		return nil, fmt.Errorf("data_dir %s: %w", dir, err)
	}
	return func() { f.Close() }, nil // closing unlocks
}

func write(f *os.File, text string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return f.Sync()
}
