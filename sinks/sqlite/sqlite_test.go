package sqlite

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // a user's program reads with it

	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
	"signalbox/sinks/sinktest"
)

func openTest(t *testing.T, o Options) *Sink {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Target {
		path := filepath.Join(t.TempDir(), "sub folder?#", "results.db")
		return sinktest.Target{
			Open:   func() (sinks.Sink, error) { return Open(Options{Path: path}) },
			Rows:   func(table sinks.Table) (map[[16]byte]sinktest.Row, error) { return readRows(path, table) },
			Alerts: func() (map[string]sinktest.Alert, error) { return readAlerts(path) },
		}
	})
}

// readRows looks at the file through a connection of its own, as a user's program does.
func readRows(path string, t sinks.Table) (map[[16]byte]sinktest.Row, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	names := row.Names(t.Schema)
	var list strings.Builder
	for _, n := range names {
		list.WriteString(", " + quote(n))
	}
	rows, err := db.Query(fmt.Sprintf(`SELECT _id, _revision, _complete, _expected%s FROM %s`, list.String(), quote(outside(t.Name))))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[[16]byte]sinktest.Row{}
	for rows.Next() {
		var id []byte
		var complete, expected sql.NullInt32
		r := sinktest.Row{Complete: -1, Expected: -1, Values: map[string]string{}}
		values := make([]any, len(names))
		into := []any{&id, &r.Revision, &complete, &expected}
		for i := range values {
			into = append(into, &values[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if complete.Valid {
			r.Complete, r.Expected = complete.Int32, expected.Int32
		}
		for i, f := range t.Schema.Fields {
			if values[i] != nil {
				r.Values[f.Name] = readValue(f.Type, values[i])
			}
		}
		out[[16]byte(id)] = r
	}
	return out, rows.Err()
}

func readValue(t column.Type, v any) string {
	switch x := v.(type) {
	case int64:
		return row.Text(t, column.I64(x))
	case float64:
		return row.Text(t, column.F64(x))
	case []byte:
		return row.Text(t, column.Str(string(x)))
	}
	return fmt.Sprint(v)
}

func readAlerts(path string) (map[string]sinktest.Alert, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.Query(`SELECT id, seq, state, json_extract(labels, '$.bus_id') FROM alerts`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]sinktest.Alert{}
	for rows.Next() {
		var id string
		var a sinktest.Alert
		if err := rows.Scan(&id, &a.Seq, &a.State, &a.Label); err != nil {
			return nil, err
		}
		out[id] = a
	}
	return out, rows.Err()
}

func counterTable() sinks.Table {
	return sinks.Table{Name: "counts", Key: []string{"start"}, Time: "start", Schema: &column.Schema{Name: "counts", Fields: []column.Field{
		{Name: "start", Type: column.Of(column.Timestamp)}, {Name: "n", Type: column.Of(column.BigInt)}}}}
}

// counterBatch is one row whose id and start follow from n; log time is start.
func counterBatch(t sinks.Table, index uint64, n int64) sinks.Batch {
	start := n * 60_000_000
	b := sinks.Batch{Index: index, Time: start, Table: t, Rows: column.NewBatch(t.Schema, 1), IDs: make([][16]byte, 1), Revisions: []uint32{1}}
	b.Rows.AppendRow(column.I64(start), column.I64(n))
	b.IDs[0][7], b.IDs[0][8] = byte(n>>8), byte(n)
	return b
}

func count(t *testing.T, s *Sink, query string) int64 {
	t.Helper()
	n, err := s.conn.number(query)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRetentionIsIncrementalAndByLogTime(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: time.Hour, PruneRows: 10})
	table := counterTable()
	var batches []sinks.Batch
	for n := range int64(300) {
		batches = append(batches, counterBatch(table, uint64(n+1), n))
	}
	if err := s.Write(t.Context(), batches, 300); err != nil {
		t.Fatal(err)
	}
	if got := count(t, s, `SELECT count(*) FROM counts`); got != 290 {
		t.Fatalf("after one write %d rows remain, want 290: ten may leave at a time", got)
	}
	for n := int64(300); n < 330; n++ {
		if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, uint64(n+1), n)}, uint64(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if got := count(t, s, `SELECT count(*) FROM counts`); got != 61 {
		t.Errorf("%d rows remain, want the 61 of the last hour", got)
	}
	if got := count(t, s, `SELECT min(n) FROM counts`); got != 329-60 {
		t.Errorf("oldest row is %d, want %d", got, 329-60)
	}
	if s.Stats().Pruned != 330-61 {
		t.Errorf("pruned counter is %d, want %d", s.Stats().Pruned, 330-61)
	}
}

func TestOldResolvedAlertsLeave(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: time.Hour})
	list := []alert.Transition{{ID: "old", Seq: 1, To: alert.Resolved, At: 0}, {ID: "firing", Seq: 1, To: alert.Firing, At: 0}}
	if err := s.Write(t.Context(), []sinks.Batch{{Index: 1, Time: 3 * 3600e6, Alerts: list}}, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM alerts WHERE id = 'firing'`); n != 1 {
		t.Error("an alert that still fires has been forgotten")
	}
	if n := count(t, s, `SELECT (SELECT count(*) FROM alerts) + (SELECT count(*) FROM alerts_history)`); n != 1 {
		t.Errorf("%d alert rows remain, want the firing one only", n)
	}
}

func TestChangedTypeSetsTheOldTableAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	s := openTest(t, Options{Path: path})
	table := counterTable()
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 1, 7)}, 1); err != nil {
		t.Fatal(err)
	}
	changed := table
	changed.Schema = &column.Schema{Name: "counts", Fields: []column.Field{table.Schema.Fields[0], {Name: "n", Type: column.Of(column.String)}}}
	for range 2 { // the second time there is nothing to do
		if err := s.Prepare(t.Context(), []sinks.Table{changed}); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, s, `SELECT n FROM "counts$1"`); n != 7 {
		t.Errorf("the old table holds %d, want 7", n)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 0 {
		t.Errorf("the new table has %d rows, want none", n)
	}
}

func TestCopyInstallsOnAnotherNode(t *testing.T) {
	dir := t.TempDir()
	leader, follower := openTest(t, Options{Path: filepath.Join(dir, "a.db")}), openTest(t, Options{Path: filepath.Join(dir, "b.db")})
	table := counterTable()
	for n := range int64(50) {
		if err := leader.Write(t.Context(), []sinks.Batch{counterBatch(table, uint64(n+1), n)}, uint64(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := follower.Write(t.Context(), []sinks.Batch{counterBatch(table, 1, 999)}, 3); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "copy.db")
	if upTo, err := leader.CopyTo(t.Context(), copied); err != nil || upTo != 50 {
		t.Fatalf("copy: up to %d, %v", upTo, err)
	}
	if upTo, err := follower.Install(t.Context(), copied); err != nil || upTo != 50 {
		t.Fatalf("install: up to %d, %v", upTo, err)
	}
	if n := count(t, follower, `SELECT sum(n) FROM counts`); n != 49*50/2 {
		t.Errorf("sum on the follower is %d, want %d", n, 49*50/2)
	}
	if err := follower.Write(t.Context(), []sinks.Batch{counterBatch(table, 51, 50)}, 51); err != nil {
		t.Errorf("write after install: %v", err)
	}
	if upTo, _, _ := follower.Cursor(t.Context()); upTo != 51 {
		t.Errorf("cursor is %d, want 51", upTo)
	}
}

func TestInstallRefusesDamageAndThePast(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: filepath.Join(dir, "a.db")})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "old.db")
	if _, err := s.CopyTo(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 2, 2)}, 2); err != nil {
		t.Fatal(err)
	}
	garbage := filepath.Join(dir, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, garbage, filepath.Join(dir, "nowhere.db")} {
		if _, err := s.Install(t.Context(), path); err == nil {
			t.Errorf("%s was installed", path)
		}
	}
	if n := count(t, s, `SELECT sum(n) FROM counts`); n != 3 {
		t.Errorf("after the refusals the sum is %d, want 3", n)
	}
}

// TestAllOrNothing makes the second batch of a write fail and looks for the first.
func TestAllOrNothing(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	bad := counterBatch(counterTable(), 2, 2)
	bad.Revisions = nil
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1), bad}, 2); err == nil {
		t.Fatal("a malformed batch was taken")
	}
	if n := count(t, s, `SELECT count(*) FROM sqlite_master WHERE name = 'counts'`); n != 0 {
		t.Error("a part of a failed write remains")
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestSettingsAreDurable(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if n := count(t, s, `PRAGMA synchronous`); n != 2 {
		t.Errorf("synchronous is %d, want 2 (FULL)", n)
	}
	var mode string
	err := s.conn.query(`PRAGMA journal_mode`, nil, func(r *stmt) error { mode = s.conn.text(r, 0); return nil })
	if err != nil || mode != "wal" {
		t.Errorf("journal mode %q, %v", mode, err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(size, "_rows"), func(b *testing.B) {
			s, err := Open(Options{Path: filepath.Join(b.TempDir(), "bench.db")})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			t, n := counterTable(), int64(0)
			for b.Loop() {
				var batches []sinks.Batch
				for range size {
					n++
					batches = append(batches, counterBatch(t, uint64(n), n))
				}
				if err := s.Write(b.Context(), batches, uint64(n)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
