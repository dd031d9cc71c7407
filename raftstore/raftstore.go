// Package raftstore replicates a state machine: it binds hashicorp/raft to one
// TLS or loopback port and to a log on disk. It promises that a proposal
// answered without error is on the disks of a majority and applied here, that
// an indeterminate outcome is never reported as either, and that snapshots are
// checksummed. It knows no query, no reading and no sink.
package raftstore

import (
	"context"
	"errors"
	"io"
)

// Entry is a committed command.
type Entry struct {
	Index uint64
	Term  uint64
	Data  []byte // valid only during Apply
}

// StateMachine is what a Partition replicates. Apply, Snapshot and Restore are never called concurrently.
type StateMachine interface {
	// Apply executes a committed entry and returns what Propose returns on the proposing node.
	// It must not fail: an entry that cannot be understood changes nothing and says so in the result.
	Apply(Entry) any
	// Snapshot returns a consistent copy quickly (Apply waits for it); Write runs concurrently with later Applies.
	Snapshot() (Snapshot, error)
	// Restore replaces all state. On error the old state is kept.
	Restore(io.Reader) error
}

// Snapshot is a frozen state.
type Snapshot interface {
	Write(io.Writer) error
	Release()
}

// Errors a caller branches on.
var (
	ErrNotLeader     = errors.New("raftstore: not the leader")             // nothing was proposed; try the leader
	ErrIndeterminate = errors.New("raftstore: outcome unknown, resend")    // it may have been committed; resend the same identity
	ErrOverloaded    = errors.New("raftstore: too many proposals waiting") // nothing was proposed; back off
)

// ErrDamaged means that what this node has on its disk cannot be used any more: parts are missing or garbled. The other
// nodes have it all; this one has to begin anew.
var ErrDamaged = errors.New("raftstore: damaged")

// ErrStopped is wrapped by the error that a StateMachine returns from Apply when its state is no longer
// defined (it panicked). The node applies nothing more, takes no snapshot and reports the fault to its owner,
// who rebuilds from the last snapshot.
var ErrStopped = errors.New("raftstore: state machine stopped")

// Partition is one replicated group, as seen from one node.
type Partition interface {
	// Propose replicates data and returns the result of Apply.
	Propose(ctx context.Context, data []byte) (any, error)
	// Leader returns the id and address of the leader, if one is known.
	Leader() (id, addr string)
	IsLeader() bool
	// Ready reports that this node leads and has applied everything that earlier leaders committed.
	Ready() bool
	AppliedIndex() uint64
	// Barrier waits until everything committed before the call is applied here; leader only.
	Barrier(ctx context.Context) error
	Close() error
}
