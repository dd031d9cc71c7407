// Package walstore keeps a Raft log and its snapshots on disk: raft-wal for the
// log, files for the snapshots. It promises that what it acknowledged is
// fsynced and that a closed store can be opened again in the same process. It
// stands apart from raftstore so that a simulation can link that without a disk.
package walstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"

	"signalbox/raftstore"
)

// SnapshotsKept is how many snapshots stay on disk: when the newest is damaged the one before it still opens.
const SnapshotsKept = 2

// DefaultSegmentBytes is the size of a log segment, allocated in advance. Entries leave the disk, and
// stop being readable, one whole segment at a time.
const DefaultSegmentBytes = 64 << 20

// Options configures Open. The zero value takes the defaults.
type Options struct {
	SegmentBytes int
	LogOutput    io.Writer
}

// unusable marks an error that another attempt will not cure.
func unusable(err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.EROFS) {
		return err
	}
	return fmt.Errorf("%w: %w", raftstore.ErrDamaged, err)
}

// Open opens or creates the stores below dir.
func Open(dir string, opts Options) (raftstore.Stores, error) {
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = DefaultSegmentBytes
	}
	if opts.LogOutput == nil {
		opts.LogOutput = io.Discard
	}
	var none raftstore.Stores
	logDir := filepath.Join(dir, "log")
	if err := os.MkdirAll(logDir, 0o700); err != nil {
		return none, room(fmt.Errorf("walstore: %w", err), dir, opts.SegmentBytes)
	}
	logger := hclog.New(&hclog.LoggerOptions{Name: "wal", Level: hclog.Warn, Output: opts.LogOutput})
	// The WAL's Close leaves its meta store open, and opening the directory again would wait for its
	// lock for ever; so the meta store is ours to close.
	meta := &metadb.BoltMetaDB{}
	log, err := wal.Open(logDir, wal.WithMetaStore(meta), wal.WithSegmentSize(opts.SegmentBytes), wal.WithLogger(logger))
	if err != nil {
		return none, errors.Join(room(unusable(fmt.Errorf("walstore: open log in %s: %w", logDir, err)), dir, opts.SegmentBytes), meta.Close())
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, SnapshotsKept, logger)
	if err != nil {
		return none, errors.Join(room(fmt.Errorf("walstore: open snapshots in %s: %w", dir, err), dir, opts.SegmentBytes), log.Close(), meta.Close())
	}
	return raftstore.Stores{
		Log: &onDisk{log, dir, opts.SegmentBytes}, Stable: log, Snapshots: snaps,
		Close: func() error { return errors.Join(log.Close(), meta.Close()) },
	}, nil
}
