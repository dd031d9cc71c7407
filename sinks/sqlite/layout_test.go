package sqlite

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/engine/column"
	"signalbox/sinks"
)

// asMadeBefore is a database as the program wrote it while every table had the primary key _id.
const asMadeBefore = `
CREATE TABLE _signalbox_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), up_to INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE _signalbox_tables (name TEXT PRIMARY KEY, time_column TEXT NOT NULL, columns TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE "counts" (_id BLOB PRIMARY KEY, "start" TEXT, "n" INTEGER, _revision INTEGER NOT NULL, _complete INTEGER, _expected INTEGER, _index INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX "_counts_time" ON "counts" ("start");
INSERT INTO _signalbox_tables VALUES ('counts', 'start', '{"n":"bigint","start":"timestamp"}');
INSERT INTO _signalbox_cursor VALUES (1, 40, 2400000000);
WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 40)
INSERT INTO counts SELECT unhex(printf('00000000000000%04x00000000000000', n)), strftime('%Y-%m-%dT%H:%M:%f', n * 60, 'unixepoch') || '000Z', n, 1, NULL, NULL, n FROM k;
`

// TestDatabaseMadeBefore goes on where an older program stopped: nothing is lost, changed rows change, old rows leave.
func TestDatabaseMadeBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.db")
	old, err := openConn(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.exec(asMadeBefore); err != nil {
		t.Fatal(err)
	}
	if err := old.close(); err != nil {
		t.Fatal(err)
	}
	for life := range uint64(2) {
		s := openTest(t, Options{Path: path, Retention: time.Hour})
		if upTo, _, err := s.Cursor(t.Context()); upTo != 40+20*life || err != nil {
			t.Fatalf("cursor is %d, %v", upTo, err)
		}
		table := counterTable()
		if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
			t.Fatal(err)
		}
		var batches []sinks.Batch
		for n := 35 + 20*life; n <= 60+20*life; n++ { // some that are there, under their old index and then revised
			batches = append(batches, counterBatch(table, n, int64(n)))
		}
		again := counterBatch(table, 60+20*life, 39)
		again.Revisions[0] = 2
		again.Rows.Cols[1].I64[0] = 1000
		if err := s.Write(t.Context(), append(batches, again), 60+20*life); err != nil {
			t.Fatal(err)
		}
		want, first := int64(60), int64(1)
		if life == 1 {
			want, first = 61, 20 // the first hour is over
		}
		if n := count(t, s, `SELECT count(*) FROM counts`); n != want {
			t.Errorf("life %d: %d rows, want %d", life, n, want)
		}
		if n := count(t, s, `SELECT min(n) FROM counts`); n != first {
			t.Errorf("life %d: oldest is %d, want %d", life, n, first)
		}
		if n := count(t, s, `SELECT n FROM counts WHERE start = '1970-01-01T00:39:00.000000Z'`); n != 1000 {
			t.Errorf("life %d: the revised row holds %d", life, n)
		}
		if n := count(t, s, `SELECT count(*) FROM _signalbox_tables WHERE layout = 'id'`); n != 1 {
			t.Errorf("life %d: the old table's layout is not what it was", life)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCopyOfOlderNode installs what a node with the older program made.
func TestCopyOfOlderNode(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, Options{Path: filepath.Join(dir, "r.db")})
	table := counterTable()
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	old, err := openConn(filepath.Join(dir, "old.db"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.exec(asMadeBefore); err != nil {
		t.Fatal(err)
	}
	if err := old.close(); err != nil {
		t.Fatal(err)
	}
	if upTo, err := s.Install(t.Context(), filepath.Join(dir, "old.db")); err != nil || upTo != 40 {
		t.Fatalf("up to %d, %v", upTo, err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(table, 41, 41), counterBatch(table, 42, 7)}, 42); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 41 {
		t.Errorf("%d rows, want 41", n)
	}
}

// queryPlan is what SQLite does for a question.
func queryPlan(t *testing.T, s *Sink, text string) string {
	t.Helper()
	var lines []string
	err := s.conn.query("EXPLAIN QUERY PLAN "+text, nil, func(r *stmt) error {
		lines = append(lines, s.conn.text(r, 3))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}

// TestTimeIsFoundWithoutASecondTree: a span of time, and retention, take the primary key.
func TestTimeIsFoundWithoutASecondTree(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db")})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'counts'`); n != 0 {
		t.Errorf("%d indexes beside the table", n)
	}
	if p := queryPlan(t, s, `SELECT n FROM counts WHERE start >= '2026'`); !strings.Contains(p, "PRIMARY KEY") {
		t.Errorf("a span of time is answered by: %s", p)
	}
}

// onceTable is a result without a key: a filter.
func onceTable() sinks.Table {
	t := counterTable()
	t.Name, t.Key = "seen", nil
	return t
}

// seen is one row of onceTable.
type seen struct {
	id       byte
	revision uint32
	time, n  int64
	deleted  bool
}

func seenBatch(index uint64, rows ...seen) sinks.Batch {
	t := onceTable()
	b := sinks.Batch{Index: index, Time: int64(index), Table: t, Rows: column.NewBatch(t.Schema, len(rows))}
	for _, r := range rows {
		at := column.I64(r.time)
		if r.time < 0 {
			at = column.NullDatum
		}
		b.Rows.AppendRow(at, column.I64(r.n))
		b.IDs = append(b.IDs, [16]byte{15: r.id})
		b.Revisions, b.Deleted = append(b.Revisions, r.revision), append(b.Deleted, r.deleted)
	}
	return b
}

func layoutIs(t *testing.T, s *Sink, table string, want layout) {
	t.Helper()
	if got := s.tables[table].layout; got != want {
		t.Errorf("layout of %s is %q, want %q", table, got, want)
	}
	var stored layout
	err := s.conn.query(`SELECT layout FROM _signalbox_tables WHERE name = ?`, []any{table}, func(r *stmt) error {
		stored = layout(s.conn.text(r, 0))
		return nil
	})
	if err != nil || stored != want {
		t.Errorf("layout of %s is stored as %q, %v, want %q", table, stored, err, want)
	}
}

// TestRowsThatMoveInTime come from a filter over another table's changing rows: the same row, at another time.
func TestRowsThatMoveInTime(t *testing.T) {
	for name, last := range map[string]seen{
		"a later revision": {id: 1, revision: 2, time: 9e6, n: 5},
		"a deletion":       {id: 1, revision: 2, time: -1, deleted: true},
		"no time":          {id: 3, revision: 1, time: -1, n: 7},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
			first := seenBatch(1, seen{id: 1, revision: 1, time: 1e6, n: 1}, seen{id: 2, revision: 1, time: 2e6, n: 2})
			if err := s.Write(t.Context(), []sinks.Batch{first}, 1); err != nil {
				t.Fatal(err)
			}
			layoutIs(t, s, "seen", byTime)
			if err := s.Write(t.Context(), []sinks.Batch{seenBatch(2, seen{id: 4, revision: 1, time: 3e6, n: 4}), seenBatch(3, last)}, 3); err != nil {
				t.Fatal(err)
			}
			layoutIs(t, s, "seen", byID)
			want := int64(3)
			if last.deleted {
				want = 2
			} else if last.id == 3 {
				want = 4
			}
			if n := count(t, s, `SELECT count(*) FROM seen`); n != want {
				t.Errorf("%d rows, want %d", n, want)
			}
			if n := count(t, s, `SELECT count(*) FROM seen WHERE _id = unhex('00000000000000000000000000000001') AND n = 1`); (n == 1) != (last.id == 3) {
				t.Errorf("%d rows of the first revision", n)
			}
			if p := queryPlan(t, s, `SELECT n FROM seen WHERE start >= '2026'`); !strings.Contains(p, "INDEX _seen_time") {
				t.Errorf("a span of time is answered by: %s", p)
			}
		})
	}
}

// TestAnotherKeyUnderTheSameName: the query was made anew, and its time is no part of the key any more.
func TestAnotherKeyUnderTheSameName(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	if err := s.Write(t.Context(), []sinks.Batch{counterBatch(counterTable(), 1, 1)}, 1); err != nil {
		t.Fatal(err)
	}
	layoutIs(t, s, "counts", byTime)
	table := counterTable()
	table.Key = []string{"n"}
	if err := s.Prepare(t.Context(), []sinks.Table{table}); err != nil {
		t.Fatal(err)
	}
	layoutIs(t, s, "counts", byID)
	moved := counterBatch(table, 2, 1)
	moved.Revisions[0], moved.Rows.Cols[0].I64[0] = 2, 99e6
	if err := s.Write(t.Context(), []sinks.Batch{moved}, 2); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM counts`); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

// TestTheSameRowUnderALaterIndex is what a restored backup does: agents send again what it had not yet seen.
func TestTheSameRowUnderALaterIndex(t *testing.T) {
	s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
	rows := []seen{{id: 1, revision: 1, time: 1e6, n: 1}, {id: 2, revision: 1, time: 2e6, n: 2}, {id: 3, revision: 1, time: 3e6, n: 3}}
	if err := s.Write(t.Context(), []sinks.Batch{seenBatch(1, rows[:2]...)}, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(t.Context(), []sinks.Batch{seenBatch(7, rows...)}, 7); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s, `SELECT count(*) FROM seen WHERE _index = 7`); n != 3 {
		t.Errorf("%d rows have the later index, want 3", n)
	}
	if n := count(t, s, `SELECT count(*) FROM seen`); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	layoutIs(t, s, "seen", byTime)
}

// TestRandomChangesOfATableWithoutKey compares with a map, whatever layout the rows lead to.
func TestRandomChangesOfATableWithoutKey(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := openTest(t, Options{Path: filepath.Join(t.TempDir(), "r.db"), Retention: -1})
		type state struct {
			revision uint32
			n        int64
		}
		want, revisions := map[byte]state{}, map[byte]uint32{}
		changing := rng.IntN(3) > 0 // else rows are new, or come again as they were
		for index := uint64(1); index < 60; {
			var batches []sinks.Batch
			for range 1 + rng.IntN(5) {
				var rows []seen
				for range rng.IntN(6) {
					id := byte(rng.IntN(40))
					r := seen{id: id, revision: 1, time: int64(id) * 1e6, n: int64(id)}
					if changing {
						revisions[id]++
						r.revision, r.n, r.deleted = revisions[id], rng.Int64N(1000), rng.IntN(6) == 0
						if r.time += rng.Int64N(3) * 1e6; rng.IntN(8) == 0 {
							r.time = -1
						}
					}
					rows = append(rows, r)
					if delete(want, id); !r.deleted {
						want[id] = state{r.revision, r.n}
					} else {
						revisions[id] = 0
					}
				}
				batches = append(batches, seenBatch(index, rows...))
				index++
			}
			if err := s.Write(t.Context(), batches, index-1); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		got := map[byte]state{}
		err := s.conn.query(`SELECT instr('0123456789ABCDEF', substr(hex(_id), 31, 1)) * 16 + instr('0123456789ABCDEF', substr(hex(_id), 32, 1)) - 17, _revision, n FROM seen`, nil, func(r *stmt) error {
			id := byte(s.conn.int64(r, 0))
			got[id] = state{uint32(s.conn.int64(r, 1)), s.conn.int64(r, 2)}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("seed %d:\n got %v\nwant %v", seed, got, want)
		}
		if n := count(t, s, `SELECT count(*) FROM seen`); n != int64(len(want)) {
			t.Errorf("seed %d: %d rows, want %d", seed, n, len(want))
		}
		s.Close()
	}
}
