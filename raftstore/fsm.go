package raftstore

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// machine adapts a StateMachine to hashicorp/raft. After a fault (a corrupt entry, a failed restore) it
// applies nothing more and refuses snapshots, so that the damage stays on this node.
type machine struct {
	sm      StateMachine
	applied atomic.Uint64
	bytes   atomic.Uint64 // of entries applied
	entries atomic.Uint64
	fault   atomic.Pointer[error]
	onFault func(error)
	waiters notifier
}

var errFaulted = errors.New("raftstore: this node has stopped applying")

func (m *machine) Apply(l *raft.Log) any {
	if m.fault.Load() != nil {
		return errFaulted
	}
	data, err := openEntry(l.Data)
	if err != nil {
		m.fail(fmt.Errorf("log entry %d (term %d): %w", l.Index, l.Term, err))
		return errFaulted
	}
	res := m.sm.Apply(Entry{Index: l.Index, Term: l.Term, Data: data})
	if err, bad := res.(error); bad && errors.Is(err, ErrStopped) {
		m.fail(fmt.Errorf("log entry %d (term %d): %w", l.Index, l.Term, err))
		return errFaulted
	}
	m.entries.Add(1)
	m.bytes.Add(uint64(len(l.Data)))
	m.applied.Store(l.Index)
	m.waiters.notify()
	return res
}

func (m *machine) fail(err error) {
	if m.fault.CompareAndSwap(nil, &err) && m.onFault != nil {
		m.onFault(err)
	}
}

func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if e := m.fault.Load(); e != nil {
		return nil, fmt.Errorf("raftstore: no snapshot after a fault: %w", *e)
	}
	s, err := m.sm.Snapshot()
	if err != nil {
		return nil, err
	}
	return &frozen{snap: s, index: m.applied.Load()}, nil
}

func (m *machine) Restore(rc io.ReadCloser) error {
	defer rc.Close()
	r, err := newSnapshotReader(rc)
	if err != nil {
		return err
	}
	if err := m.sm.Restore(r); err != nil {
		return err
	}
	// The state machine swaps only after io.EOF, which the reader gives only after a good footer.
	if r.state != io.EOF {
		return fmt.Errorf("%w: state machine accepted a snapshot without reading it to its end", ErrCorrupt)
	}
	m.applied.Store(r.index)
	m.waiters.notify()
	return nil
}

type frozen struct {
	snap  Snapshot
	index uint64
}

func (f *frozen) Persist(sink raft.SnapshotSink) error {
	err := func() error {
		w, err := newSnapshotWriter(sink, f.index)
		if err != nil {
			return err
		}
		if err := f.snap.Write(w); err != nil {
			return err
		}
		return w.finish()
	}()
	if err != nil {
		_ = sink.Cancel()
		return err
	}
	return sink.Close()
}

func (f *frozen) Release() { f.snap.Release() }
