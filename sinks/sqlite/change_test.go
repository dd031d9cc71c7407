package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/engine/column"
	"signalbox/sinks"
)

// TestFirstHalfOfAnEntry: deliver halves a batch that was refused; the cursor of the first half is before the entry.
func TestFirstHalfOfAnEntry(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err := s.Write(t.Context(), nil, 5); err != nil {
		t.Fatal(err)
	}
	left, right := counterBatch(counterTable(), 6, 1), counterBatch(counterTable(), 6, 2)
	for range 2 { // the second half may fail for now, and the whole comes again
		if err := s.Write(t.Context(), []sinks.Batch{left}, 5); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write(t.Context(), []sinks.Batch{right}, 6); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) * 100 + sum(n) FROM counts`); n != 203 {
		t.Errorf("count and sum are %d, want 203: both halves once", n)
	}
	if upTo, _, err := s.Cursor(t.Context()); upTo != 6 || err != nil {
		t.Errorf("cursor is %d, %v", upTo, err)
	}
}

// TestColumnInAnotherCase: the query was made anew with its names in other letters.
func TestColumnInAnotherCase(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	table := counterTable()
	table.Key, table.Time = []string{"Start"}, "Start"
	table.Schema = &column.Schema{Name: "counts", Fields: []column.Field{
		{Name: "Start", Type: column.Of(column.Timestamp)}, {Name: "N", Type: column.Of(column.BigInt)}}}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	revised := counterBatch(table, 3, 1)
	revised.Revisions[0], revised.Rows.Cols[1].I64[0] = 2, 10
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 2, 2), revised}, 3); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) * 100 + sum(n) FROM counts`); n != 212 {
		t.Errorf("count and sum are %d, want 212", n)
	}
	table.Schema = &column.Schema{Name: "counts", Fields: []column.Field{table.Schema.Fields[0], {Name: "n", Type: column.Of(column.String)}, {Name: "É", Type: column.Of(column.String)}}}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM "counts$1"`); n != 2 {
		t.Errorf("%d rows were set aside, want 2", n)
	}
}

// TestViewsOfUsers: somebody asks through a view, also a broken one, while tables change below it.
func TestViewsOfUsers(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	if err := s.Write(t.Context(), []sinks.Batch{seenBatch(1, seen{id: 1, revision: 1, time: 1e6, n: 1}), counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.conn.exec(`CREATE VIEW mine AS SELECT n FROM seen; CREATE VIEW yours AS SELECT n FROM counts; CREATE VIEW broken AS SELECT x FROM nowhere`); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{seenBatch(2, seen{id: 1, revision: 2, time: 9e6, n: 5})}, 2); err != nil {
		t.Fatal(err)
	}
	layoutIs(t, s, "seen", byID)
	if n := count(t, s, `SELECT sum(n) FROM mine`); n != 5 {
		t.Errorf("the view shows %d, want 5", n)
	}
	table := counterTable()
	table.Schema = &column.Schema{Name: "counts", Fields: []column.Field{table.Schema.Fields[0], {Name: "n", Type: column.Of(column.Double)}}}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM yours`); n != 0 {
		t.Errorf("the view shows %d rows of the table that was set aside", n)
	}
}

// lateContext ends when something has happened.
type lateContext struct {
	context.Context
	late func() bool
}

func (c lateContext) Err() error {
	if c.late() {
		return context.DeadlineExceeded
	}
	return nil
}

// TestLayoutOfALargeTable: to copy a large table takes longer than a write may. Undone, it would begin again for ever.
func TestLayoutOfALargeTable(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	if err := s.Write(t.Context(), []sinks.Batch{seenBatch(1, seen{id: 1, revision: 1, time: 1e6, n: 1})}, 1); err != nil {
		t.Fatal(err)
	}
	ctx := lateContext{t.Context(), func() bool { return s.tables["seen"].layout == byID }}
	batches := []sinks.Batch{seenBatch(2, seen{id: 1, revision: 2, time: 9e6, n: 5}), seenBatch(3, seen{id: 2, revision: 1, time: 9e6, n: 6})}
	if err := s.Write(ctx, batches, 3); err != nil {
		t.Fatal(err)
	}
	layoutIs(t, s, "seen", byID)
	if err := s.Write(ctx, []sinks.Batch{seenBatch(4)}, 4); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the next write, out of time, says %v", err)
	}
}

// TestRetentionKeepsUp writes more rows at a time than leave in one look.
func TestRetentionKeepsUp(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: time.Hour, PruneRows: 5})
	n := int64(0)
	for index := uint64(1); index <= 60; index++ {
		var batches []sinks.Batch
		for range 20 {
			n++
			batches = append(batches, counterBatch(counterTable(), index, n))
		}
		if err := s.Write(t.Context(), batches, index); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, s, `SELECT count(*) FROM counts`); got > 200 {
		t.Errorf("%d rows, of which 61 are of the last hour", got)
	}
}

// TestStrangeNamesAndValues writes a wide table whose names and values are what nobody expects.
func TestStrangeNamesAndValues(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	names := []string{"select", "_id", "_revision", "_rev", "_index", "", `a"b`, "a'b", "Group", "GROUP", "ts", "x y", "_a\x00b", "c0", "rowid", "é", "É", "$1", "?", "main.t"}
	fields := []column.Field{{Name: "ts", Type: column.Of(column.Timestamp)}}
	for _, name := range names {
		fields = append(fields, column.Field{Name: name, Type: column.Of(column.String)})
	}
	for i := range 200 {
		fields = append(fields, column.Field{Name: fmt.Sprint("col", i), Type: column.Of(column.Double)})
	}
	fields = append(fields, column.Field{Name: "i", Type: column.Of(column.BigInt)}, column.Field{Name: "b", Type: column.Of(column.Binary)}, column.Field{Name: "v", Type: column.Type{Kind: column.Void}})
	table := sinks.Table{Name: `sel"ect`, Time: "ts", Schema: &column.Schema{Name: "select", Fields: fields}}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	times := []int64{math.MinInt64, -1, 0, 1, math.MaxInt64}
	floats := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64}
	texts := []string{"", "\x00", "a\x00b", "\xff\xfe", strings.Repeat("x", 3<<20)}
	b := sinks.Batch{Index: 1, Table: table, Rows: column.NewBatch(table.Schema, 5)}
	for i := range 5 {
		row := []column.Datum{column.I64(times[i])}
		for range names {
			row = append(row, column.Str(texts[i]))
		}
		for range 200 {
			row = append(row, column.F64(floats[i]))
		}
		row = append(row, column.I64(times[i]), column.Str(texts[i]), column.NullDatum)
		b.Rows.AppendRow(row...)
		b.IDs, b.Revisions = append(b.IDs, [16]byte{byte(i)}), append(b.Revisions, 1)
	}
	if err := s.Write(t.Context(), []sinks.Batch{b}, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM "sel""ect"`); n != 5 {
		t.Fatalf("%d rows", n)
	}
	i := 0
	err := s.conn.query(`SELECT i, length(CAST("select" AS BLOB)), length(b), typeof("c0"), typeof(b), col7 = 9e999, col7 = 'NaN', col0 = 4.9406564584124654e-324, v IS NULL FROM "sel""ect" ORDER BY _id`, nil, func(r *stmt) error {
		for c, want := range []int64{times[i], int64(len(texts[i])), int64(len(texts[i]))} {
			if got := s.conn.int64(r, c); got != want {
				t.Errorf("row %d, column %d: %d, want %d", i, c, got, want)
			}
		}
		if s.conn.text(r, 3) != "text" || s.conn.text(r, 4) != "blob" || s.conn.int64(r, 5) != bit(i == 1) || s.conn.int64(r, 6) != bit(i == 0) || s.conn.int64(r, 7) != bit(i == 4) || s.conn.int64(r, 8) != 1 {
			t.Errorf("row %d is not what was written", i)
		}
		i++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// TestInstallUnderAReader replaces the file while somebody reads the old one, and closes it afterwards.
func TestInstallUnderAReader(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.db")
	s := openTest(t, Options{Path: path, BusyTimeout: 20 * time.Millisecond})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	reader, err := openConn(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	if n, err := reader.number("SELECT count(*) FROM counts"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 2, 2)}, 2); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy.db")
	if _, err := s.CopyTo(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if upTo, err := s.Install(t.Context(), copied); err != nil || upTo != 2 {
		t.Fatal(upTo, err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 3, 3)}, 3); err != nil {
		t.Fatal(err)
	}
	if n, err := reader.number("SELECT count(*) FROM counts"); n != 1 || err != nil {
		t.Errorf("the reader sees %d rows, %v", n, err)
	}
	if err := errors.Join(reader.exec("COMMIT"), reader.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + "-wal"); err != nil {
		t.Errorf("the reader took the new log away: %v", err)
	}
	other := openTest(t, Options{Path: path})
	if n := count(t, other, `SELECT count(*) FROM counts`); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

// renamedTime is counterTable made anew with its time under another name, or without.
func renamedTime(name string) sinks.Table {
	t := counterTable()
	t.Key, t.Time = []string{name}, name
	t.Schema = &column.Schema{Name: "counts", Fields: []column.Field{{Name: name, Type: column.Of(column.Timestamp)}, t.Schema.Fields[1]}}
	return t
}

// TestTimeUnderAnotherName: rows leave after their time, under whatever name the time came.
func TestTimeUnderAnotherName(t *testing.T) {
	without := counterTable()
	without.Key, without.Time = []string{"n"}, ""
	without.Schema = &column.Schema{Name: "counts", Fields: without.Schema.Fields[1:]}
	for name, first := range map[string]sinks.Table{"another": counterTable(), "none": without} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: time.Hour})
			b := counterBatch(counterTable(), 1, 1)
			b.Table = first
			if name == "none" {
				b.Rows = column.NewBatch(first.Schema, 1)
				b.Rows.AppendRow(column.I64(1))
			}
			if err := s.Write(t.Context(), []sinks.Batch{b}, 1); err != nil {
				t.Fatal(err)
			}
			table := renamedTime("ws")
			for range 2 {
				if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 2, 2)}, 2); err != nil {
				t.Fatal(err)
			}
			if n := count(t, s, `SELECT count(*) FROM counts WHERE n = 2`); n != 1 {
				t.Fatalf("%d rows of the new definition", n)
			}
			if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 3, 100)}, 3); err != nil {
				t.Fatal(err)
			}
			if n := count(t, s, `SELECT count(*) FROM counts WHERE n IN (2, 100)`); n != 1 {
				t.Errorf("%d rows, want the one of the last hour", n)
			}
			if name == "another" {
				if n := count(t, s, `SELECT count(*) FROM "counts$1"`); n != 0 {
					t.Errorf("%d rows that were set aside did not age out", n)
				}
			}
		})
	}
}

// TestReaderForAWhile: somebody reads one state for long; writes go on, and the log is small again when he has finished.
func TestReaderForAWhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := openTest(t, Options{Path: path, BusyTimeout: 20 * time.Millisecond})
	write := func(index uint64) {
		b := counterBatch(counterTable(), index, int64(index))
		b.Rows.Cols[1].I64[0] = 1
		if err := s.Write(t.Context(), []sinks.Batch{b}, index); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	reader, err := openConn(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.close()
	if err := reader.exec("BEGIN"); err != nil {
		t.Fatal(err)
	}
	for index := uint64(2); index < 700; index++ {
		if n, err := reader.number("SELECT count(*) FROM counts"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		write(index)
	}
	size := func() int64 {
		st, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	during := size()
	if err := reader.exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	for index := uint64(700); index < 1400; index++ {
		write(index)
	}
	if size() > max(during+1<<20, 64<<20) {
		t.Errorf("the log grew to %d bytes, and to %d after the reader had gone", during, size())
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 1399 {
		t.Errorf("%d rows, want 1399", n)
	}
}

// TestInstallFromAnotherFileSystem: the database may lie elsewhere than the node's own data.
func TestInstallFromAnotherFileSystem(t *testing.T) {
	elsewhere, err := os.MkdirTemp("/dev/shm", "signalbox-test-")
	if err != nil {
		t.Skip("no second file system:", err)
	}
	defer os.RemoveAll(elsewhere)
	dir := t.TempDir()
	s := openTest(t, Options{Path: filepath.Join(dir, "r.db")})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(elsewhere, "copy")
	if _, err := s.CopyTo(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	if upTo, err := s.Install(t.Context(), copied); err != nil || upTo != 1 {
		t.Fatalf("up to %d, %v", upTo, err)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	for _, path := range []string{copied, filepath.Join(dir, "r.db-copy")} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}

// TestWhatCannotBeWrittenOrRead: a read-only file is written once it may be; a damaged one gives an error, not a panic.
func TestWhatCannotBeWrittenOrRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := openTest(t, Options{Path: path, Retention: -1})
	for index := uint64(1); index <= 300; index++ {
		if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), index, int64(index))}, index); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.conn.exec("PRAGMA query_only = ON"); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 301, 301)}, 301); err == nil || errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("a connection that may not write says %v", err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 301, 301)}, 301); err != nil {
		t.Fatalf("opened anew it says %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 1021 { // page after page
		bad := append([]byte(nil), good...)
		for i := at; i < min(at+200, len(bad)); i++ {
			bad[i] ^= 0x5a
		}
		hurt := filepath.Join(t.TempDir(), "h.db")
		if err := os.WriteFile(hurt, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(Options{Path: hurt, Retention: -1}); err == nil {
			var batches []sinks.Batch
			for n := range int64(350) {
				b := counterBatch(counterTable(), 400, n)
				b.Revisions[0] = 2
				batches = append(batches, b)
			}
			_ = s.Write(t.Context(), batches, 400)
			_ = s.Close()
		}
	}
}

// TestTooManyColumns: SQLite takes 2000. A table with more is refused, the others are not; one that had others before is set aside.
func TestTooManyColumns(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	wide := func(prefix string, n int) sinks.Table {
		var fields []column.Field
		for i := range n {
			fields = append(fields, column.Field{Name: fmt.Sprint(prefix, i), Type: column.Of(column.BigInt)})
		}
		return sinks.Table{Name: "wide", Schema: &column.Schema{Name: "wide", Fields: fields}}
	}
	one := func(index uint64, table sinks.Table) sinks.Batch {
		b := sinks.Batch{Index: index, Table: table, Rows: column.NewBatch(table.Schema, 1), IDs: make([][16]byte, 1), Revisions: []uint32{1}}
		row := make([]column.Datum, len(table.Schema.Fields))
		b.Rows.AppendRow(row...)
		b.IDs[0][0] = byte(index)
		return b
	}
	if err := s.Prepare(t.Context(), []sinks.Table{wide("a", maxColumns+1), counterTable()}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1), one(1, wide("a", maxColumns+1))}, 1); !errors.Is(err, sinks.ErrPermanent) {
		t.Fatalf("%v, want a refusal for good", err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1), one(1, wide("a", maxColumns))}, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Prepare(t.Context(), []sinks.Table{wide("b", maxColumns)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{one(2, wide("b", maxColumns))}, 2); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT (SELECT count(*) FROM wide) * 10 + (SELECT count(*) FROM "wide$1")`); n != 11 {
		t.Errorf("rows in the two tables: %d, want 11", n)
	}
}
