package walstore_test

import (
	"testing"

	"github.com/hashicorp/raft"

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
