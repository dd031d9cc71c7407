package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// CopyTo writes a consistent copy of the database, cursor included, to a new
// file and returns the cursor in the copy. Writers wait while it runs.
func (s *Sink) CopyTo(ctx context.Context, path string) (upTo uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return 0, err
	}
	defer s.conn.during(ctx)()
	if err := s.conn.exec("VACUUM INTO ?", path); err != nil {
		return 0, fmt.Errorf("sqlite: copy %s to %s: %w", s.opt.Path, path, err)
	}
	if err := syncPath(path); err != nil {
		return 0, err
	}
	return s.upTo, nil
}

// Install replaces the database by a copy that CopyTo made, on this node or
// another. The copy is checked first; when it is damaged, or older than what is
// here, nothing changes. The file at path is moved.
func (s *Sink) Install(ctx context.Context, path string) (upTo uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return 0, err
	}
	upTo, err = inspect(ctx, path)
	if err != nil {
		return 0, fmt.Errorf("sqlite: the copy %s is not usable: %w", path, err)
	}
	if upTo < s.upTo {
		return s.upTo, fmt.Errorf("sqlite: the copy %s ends at index %d, the database here at %d: keeping it", path, upTo, s.upTo)
	}
	next := s.opt.Path + "-copy"
	if err := move(path, next); err != nil {
		return 0, fmt.Errorf("sqlite: bring the copy to the folder of the database: %w", err)
	}
	if err := s.replace(next); err != nil {
		return 0, err
	}
	return upTo, s.readCursor()
}

// move renames a file, or copies it where the new name is on another file system.
func move(from, to string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return os.Remove(from)
}

// replace closes the database, which folds the write-ahead log into the file
// and removes it: a log of the old file must never meet the new one.
func (s *Sink) replace(path string) error {
	if err := s.conn.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("sqlite: checkpoint before the copy is installed: %w", err)
	}
	err := s.close()
	for _, suffix := range []string{"-wal", "-shm"} {
		if rm := os.Remove(s.opt.Path + suffix); rm != nil && !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	if err == nil {
		err = os.Rename(path, s.opt.Path)
	}
	if err == nil {
		err = syncPath(filepath.Dir(s.opt.Path))
	}
	if open := s.open(); open != nil || err != nil {
		return errors.Join(err, open)
	}
	return nil
}

// inspect checks a database file and returns its cursor.
func inspect(ctx context.Context, path string) (upTo uint64, err error) {
	if _, err := os.Stat(path); err != nil {
		return 0, err
	}
	c, err := openConn(path, time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	defer c.during(ctx)()
	verdict := ""
	err = c.query("PRAGMA quick_check(1)", nil, func(s *stmt) error {
		verdict = c.text(s, 0)
		return nil
	})
	if err != nil {
		return 0, err
	}
	if verdict != "ok" {
		return 0, fmt.Errorf("damaged: %s", verdict)
	}
	n, err := c.number("SELECT up_to FROM _signalbox_cursor")
	return uint64(n), err
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
