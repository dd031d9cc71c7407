package sqlite

import (
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"signalbox/sinks"
)

// TestFullDiskIsNotForGood limits the size of the file, as a full disk does.
func TestFullDiskIsNotForGood(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	table := counterTable()
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	pages := count(t, s, `PRAGMA page_count`)
	if got := count(t, s, `PRAGMA max_page_count = `+strconv.FormatInt(pages+1, 10)); got != pages+1 {
		t.Fatalf("limit is %d", got)
	}
	var batches []sinks.Batch
	for n := uint64(2); n <= 2000; n++ {
		batches = append(batches, counterBatch(table, n, int64(n)))
	}
	if err := s.Write(t.Context(), batches, 2000); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("a full disk gives %v, want an error that can be retried", err)
	}
	if upTo, _, err := s.Cursor(t.Context()); upTo != 1 || err != nil {
		t.Errorf("cursor is %d, %v", upTo, err)
	}
	count(t, s, `PRAGMA max_page_count = 1000000`)
	if err := s.Write(t.Context(), batches, 2000); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 2000 {
		t.Errorf("%d rows, want 2000", n)
	}
}

// TestForeignLockIsWaitedFor lets another program hold the write lock.
func TestForeignLockIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := openTest(t, Options{Path: path, BusyTimeout: 20 * time.Millisecond})
	table := counterTable()
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	other, err := openConn(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 2, 2)}, 2); err == nil || errors.Is(err, sinks.ErrPermanent) {
			t.Fatalf("a locked database gives %v, want an error that can be retried", err)
		}
	}
	if err := other.exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 2, 2)}, 2); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT sum(n) FROM counts`); n != 3 {
		t.Errorf("sum is %d, want 3", n)
	}
}

// TestReadersSeeTimesAsTimes asks as a person with the sqlite3 program would.
func TestReadersSeeTimesAsTimes(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 90)}, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT unixepoch(start) FROM counts WHERE start >= '1970-01-01T01:30' AND start < '1970-01-01T01:31'`); n != 90*60 {
		t.Errorf("start is %d s after the epoch, want %d", n, 90*60)
	}
}

func TestClosedSinkSaysSo(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), nil, 1); !errors.Is(err, errClosed) {
		t.Errorf("got %v", err)
	}
}
