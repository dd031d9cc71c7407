package walstore_test

import (
	"bytes"
	"testing"

	"github.com/hashicorp/raft"

	"signalbox/raftstore"
	"signalbox/raftstore/walstore"
)

func TestStoreOpensAgainInTheSameProcess(t *testing.T) {
	dir := t.TempDir()
	for i := uint64(1); i <= 3; i++ {
		s, err := walstore.Open(dir, walstore.Options{SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if last, err := s.Log.LastIndex(); err != nil || last != i-1 {
			t.Fatalf("open %d finds last index %d, %v", i, last, err)
		}
		if err := s.Log.StoreLog(&raft.Log{Index: i, Term: 1, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSuffixTakenBackThenRestarted: a follower gives up entries that never got a majority, then restarts. Everything
// before them, and what was written after, must still be readable: raft-wal 0.4.0 left the segment without its
// index, and the node could never start again.
func TestSuffixTakenBackThenRestarted(t *testing.T) {
	dir := t.TempDir()
	open := func() raftstore.Stores {
		s, err := walstore.Open(dir, walstore.Options{SegmentBytes: 64 << 10})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	store := func(s raftstore.Stores, term, from, to uint64) {
		for i := from; i <= to; i++ {
			if err := s.Log.StoreLog(&raft.Log{Index: i, Term: term, Data: []byte{byte(term), byte(i)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := open()
	store(s, 1, 1, 20)
	if err := s.Log.DeleteRange(18, 20); err != nil {
		t.Fatal(err)
	}
	store(s, 2, 18, 25)
	for range 2 { // read as written, and again after a restart
		for i := uint64(1); i <= 25; i++ {
			term := uint64(1)
			if i >= 18 {
				term = 2
			}
			var l raft.Log
			if err := s.Log.GetLog(i, &l); err != nil || l.Term != term || !bytes.Equal(l.Data, []byte{byte(term), byte(i)}) {
				t.Fatalf("entry %d: %+v, %v; want term %d", i, l, err, term)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
