package core

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// strikes keeps, in one small file per entry, how often Apply panicked on it.
type strikes struct{ dir string }

func (s strikes) path(index uint64) string { return filepath.Join(s.dir, fmt.Sprintf("%016x", index)) }

// Count implements fsm.Strikes.
func (s strikes) Count(index uint64) int {
	b, err := os.ReadFile(s.path(index))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 1 // the file is there: it happened at least once
	}
	return n
}

// Record implements fsm.Strikes.
func (s strikes) Record(index uint64) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(index)+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(f, s.Count(index)+1); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(s.path(index)+".tmp", s.path(index))
}

// known lists the entries with strikes, so that Apply does not ask the disk for each entry.
func (s strikes) known() (map[uint64]int, error) {
	out := map[uint64]int{}
	names, err := os.ReadDir(s.dir)
	if os.IsNotExist(err) {
		return out, nil
	}
	for _, n := range names {
		if i, err := strconv.ParseUint(n.Name(), 16, 64); err == nil {
			out[i] = s.Count(i)
		}
	}
	return out, err
}

// remembered answers from memory; it is made anew at every start.
type remembered struct {
	strikes
	counts map[uint64]int
}

func (r remembered) Count(index uint64) int { return r.counts[index] }
