package raftstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"signalbox/raftstore"
	"signalbox/raftstore/walstore"
)

// brokenDisk fails once, like a write whose fsync returned EIO, and works again afterwards: the dangerous kind.
type brokenDisk struct {
	raft.LogStore
	mu     sync.Mutex
	broken error
	after  int // calls that reached the disk after the failure
	failed bool
}

func (d *brokenDisk) IsMonotonic() bool { return d.LogStore.(raft.MonotonicLogStore).IsMonotonic() }

func (d *brokenDisk) StoreLog(l *raft.Log) error { return d.StoreLogs([]*raft.Log{l}) }

func (d *brokenDisk) StoreLogs(l []*raft.Log) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.broken; err != nil {
		d.broken, d.failed = nil, true
		return err
	}
	if d.failed {
		d.after++
	}
	return d.LogStore.StoreLogs(l)
}

// A node whose disk failed once must not go on: the kernel may have dropped what the next fsync pretends to save.
func TestADiskThatFailedOnceStopsTheNode(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		t.Run(cause.Error(), func(t *testing.T) {
			stores, err := walstore.Open(t.TempDir(), walstore.Options{SegmentBytes: 64 << 10})
			if err != nil {
				t.Fatal(err)
			}
			disk := &brokenDisk{LogStore: stores.Log}
			stores.Log = disk
			l := listen(t, "127.0.0.1:0")
			mux := raftstore.NewMux(l, l.Addr().String(), raftstore.TLS{})
			fault := make(chan error, 1)
			sm := &ledger{}
			s, err := raftstore.Open(raftstore.Options{NodeID: "n0", Peers: []raftstore.Peer{{ID: "n0", Addr: l.Addr().String()}}, Stores: stores,
				Stream: mux.Group(0), Timing: raftstore.Timing{Heartbeat: 100 * time.Millisecond}, OnFault: func(err error) { fault <- err }}, sm)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close(); _ = mux.Close() }()
			ctx := deadline(t)
			for !s.Ready() {
				changed := s.Changed()
				if s.Ready() {
					break
				}
				select {
				case <-changed:
				case <-ctx.Done():
					t.Fatal("no leader")
				}
			}
			if _, err := s.Propose(ctx, []byte("good")); err != nil {
				t.Fatal(err)
			}
			disk.mu.Lock()
			disk.broken = fmt.Errorf("fsync: %w", cause)
			disk.mu.Unlock()
			if _, err := s.Propose(ctx, []byte("lost")); !errors.Is(err, raftstore.ErrIndeterminate) {
				t.Errorf("a proposal that the disk refused: %v", err)
			}
			select {
			case err := <-fault:
				if !errors.Is(err, cause) {
					t.Errorf("told %v", err)
				}
			case <-ctx.Done():
				t.Fatal("the node goes on after its disk failed")
			}
			for range 3 {
				again, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				if _, err := s.Propose(again, []byte("again")); err == nil {
					t.Error("a proposal was acknowledged after the disk failed")
				}
				cancel()
			}
			disk.mu.Lock()
			defer disk.mu.Unlock()
			if disk.after != 0 {
				t.Errorf("%d writes after the failure", disk.after)
			}
			if got := fmt.Sprint(sm.list()); got != "[good]" {
				t.Errorf("applied %s", got)
			}
		})
	}
}
