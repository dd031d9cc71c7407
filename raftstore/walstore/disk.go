package walstore

import (
	"fmt"
	"syscall"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// onDisk says with every failed write how much room there is. The library allocates the next segment behind the scenes: on
// a full disk the write after that fails with "segment is sealed", which tells an operator nothing.
type onDisk struct {
	*wal.WAL
	dir     string
	segment int
}

func (d *onDisk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *onDisk) StoreLogs(logs []*raft.Log) error {
	return room(d.WAL.StoreLogs(logs), d.dir, d.segment)
}

// room adds to an error that the disk is full, when it is.
func room(err error, dir string, segment int) error {
	if err == nil {
		return nil
	}
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return err
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); free < uint64(segment) {
		return fmt.Errorf("%w: %s has %d bytes left and the next segment of the log needs %d: %w", syscall.ENOSPC, dir, free, segment, err)
	}
	return err
}
