//go:build linux

package walstore

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/raft"
)

// notTested skips a test that this machine cannot run; in CI it fails.
func notTested(t *testing.T, why string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(why, args...)
	}
	t.Skipf("NOT TESTED: "+why, args...)
}

// TestAFullDiskLosesNothingItTook writes until the disk is full, makes room, and opens the log again, with every amount of
// room left between nothing and two segments: a segment may be full, its successor may not be there or only in part.
func TestAFullDiskLosesNothingItTook(t *testing.T) {
	if os.Geteuid() != 0 {
		notTested(t, "needs root, to mount a small disk")
	}
	const segment = 64 << 10
	for room := 0; room <= 2*segment; room += 20 << 10 {
		t.Run(fmt.Sprint(room), func(t *testing.T) {
			disk := t.TempDir()
			if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk).CombinedOutput(); err != nil {
				notTested(t, "no small disk can be mounted here: %v: %s", err, out)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
					t.Error(err)
				}
			})
			dir, ballast := filepath.Join(disk, "raft"), filepath.Join(disk, "ballast")
			s, err := Open(dir, Options{SegmentBytes: segment})
			if err != nil {
				t.Fatal(err)
			}
			entry := func(i uint64) *raft.Log {
				return &raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 5000)}
			}
			taken := uint64(0)
			for taken < 10 {
				if err := s.Log.StoreLog(entry(taken + 1)); err != nil {
					t.Fatal(err)
				}
				taken++
			}
			leave(t, ballast, disk, room)
			var full error
			for full == nil && taken < 1000 {
				if full = s.Log.StoreLog(entry(taken + 1)); full == nil {
					taken++
				}
			}
			if !errors.Is(full, syscall.ENOSPC) {
				t.Errorf("after %d entries the full disk is told as %v", taken, full)
			}
			_ = s.Close() // its own words come from a disk that is full
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			s, err = Open(dir, Options{SegmentBytes: segment})
			if err != nil {
				t.Fatalf("with room again the log of %d entries does not open: %v", taken, err)
			}
			last, err := s.Log.LastIndex()
			if err != nil || last < taken {
				t.Fatalf("%d entries were taken, %d are there (%v)", taken, last, err)
			}
			for i := range last {
				var l raft.Log
				if err := s.Log.GetLog(i+1, &l); err != nil || !bytes.Equal(l.Data, entry(i+1).Data) {
					t.Fatalf("entry %d: %v", i+1, err)
				}
			}
			for i := last + 1; i < last+30; i++ {
				if err := s.Log.StoreLog(entry(i)); err != nil {
					t.Fatalf("entry %d with room again: %v", i, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// leave fills a disk but for about room bytes.
func leave(t *testing.T, ballast, disk string, room int) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(disk, &st); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, int(st.Bavail)*int(st.Bsize)-room), 0o600); err != nil {
		t.Fatal(err)
	}
}
