package raftstore

import (
	"fmt"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// disk is the log as this node trusts it: until its first failed write. After one the kernel may have dropped pages
// that a later fsync would claim to have saved, and the library would go on as a follower; so every later write fails
// too and the owner is told to stop the node.
type disk struct {
	raft.LogStore
	failed  atomic.Pointer[error]
	onFault func(error)
}

// IsMonotonic passes on what the store below promises.
func (d *disk) IsMonotonic() bool {
	m, ok := d.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

func (d *disk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *disk) StoreLogs(logs []*raft.Log) error {
	return d.write(func() error { return d.LogStore.StoreLogs(logs) })
}

func (d *disk) DeleteRange(lo, hi uint64) error {
	return d.write(func() error { return d.LogStore.DeleteRange(lo, hi) })
}

func (d *disk) write(f func() error) error {
	if err := d.failed.Load(); err != nil {
		return *err
	}
	err := f()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("raftstore: the log could not be written: %w; free or replace the disk, then start this node again", err)
	if d.failed.CompareAndSwap(nil, &err) {
		d.onFault(err)
	}
	return err
}
