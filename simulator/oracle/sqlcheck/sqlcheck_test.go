package sqlcheck

import (
	"database/sql"
	"fmt"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // what the engine is compared with

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	enginesql "signalbox/engine/sql"
)

const (
	worlds       = 60  // how often the tables get new rows
	queriesEach  = 100 // queries over the same rows
	maxRows      = 14
	seedVariable = "SQLCHECK_SEED"
)

var tableColumns = map[string][]column.Field{
	"t": {{Name: "a", Type: column.Of(column.BigInt)}, {Name: "b", Type: column.Of(column.BigInt)}, {Name: "c", Type: column.Of(column.String)}, {Name: "d", Type: column.Of(column.String)}},
	"u": {{Name: "a", Type: column.Of(column.BigInt)}, {Name: "e", Type: column.Of(column.BigInt)}, {Name: "c", Type: column.Of(column.String)}},
}

// world is the same rows in both systems.
type world struct {
	db     *sql.DB
	tables map[string]*column.Batch
}

func (w *world) Relation(name string) (plan.Relation, bool) {
	b, ok := w.tables[strings.ToLower(name)]
	if !ok {
		return plan.Relation{}, false
	}
	return plan.Relation{Schema: b.Schema}, true
}

func (w *world) Names() []string { return []string{"t", "u"} }

func (w *world) fill(r *rand.Rand) error {
	w.tables = map[string]*column.Batch{}
	for _, name := range []string{"t", "u"} {
		b := column.NewBatch(&column.Schema{Name: name, Time: -1, Fields: tableColumns[name]}, 0)
		w.tables[name] = b
		if _, err := w.db.Exec("DELETE FROM " + name); err != nil {
			return err
		}
		for range r.Intn(maxRows) {
			var row []column.Datum
			var args, marks []any
			for _, f := range b.Schema.Fields {
				d := column.NullDatum
				var arg any
				if r.Intn(7) > 0 {
					if f.Type.Kind == column.BigInt {
						d = column.I64(int64(r.Intn(8) - 3))
						arg = d.I
					} else {
						d = column.Str([]string{"", "a", "b", "ab", "Ab", " a ", "ba_", "100%"}[r.Intn(8)])
						arg = d.S
					}
				}
				row, args, marks = append(row, d), append(args, arg), append(marks, "?")
			}
			b.AppendRow(row...)
			if _, err := w.db.Exec("INSERT INTO "+name+" VALUES ("+strings.TrimSuffix(strings.Repeat("?,", len(marks)), ",")+")", args...); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *world) ours(text string) ([]string, error) {
	q, err := enginesql.ParseSelect(text)
	if err != nil {
		return nil, err
	}
	p, err := plan.Analyze(q, w, plan.AnalyzeOptions{Text: text})
	if err != nil {
		return nil, err
	}
	b, err := batch.Run(p, func(s *plan.Scan) ([]*column.Batch, error) {
		return []*column.Batch{w.tables[strings.ToLower(s.Table)]}, nil
	}, batch.Options{Strict: true})
	if err != nil {
		return nil, err
	}
	return rowTexts(b), nil
}

// rowTexts renders rows as lite does.
func rowTexts(b *column.Batch) []string {
	var out []string
	for i := range b.Len {
		var cells []string
		for c, d := range b.Row(i) {
			switch t := b.Schema.Fields[c].Type; {
			case d.Null:
				cells = append(cells, "NULL")
			case t.Kind == column.Double:
				cells = append(cells, strconv.FormatFloat(d.F, 'g', 12, 64))
			case t.Kind == column.String:
				cells = append(cells, "'"+d.S+"'")
			default:
				cells = append(cells, strconv.FormatInt(d.I, 10))
			}
		}
		out = append(out, strings.Join(cells, ","))
	}
	return out
}

func (w *world) lite(text string) ([]string, error) {
	rows, err := w.db.Query(text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var out []string
	values, into := make([]any, len(names)), make([]any, len(names))
	for i := range into {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		var cells []string
		for _, v := range values {
			switch v := v.(type) {
			case nil:
				cells = append(cells, "NULL")
			case float64:
				cells = append(cells, strconv.FormatFloat(v, 'g', 12, 64))
			case string:
				cells = append(cells, "'"+v+"'")
			default:
				cells = append(cells, fmt.Sprint(v))
			}
		}
		out = append(out, strings.Join(cells, ","))
	}
	return out, rows.Err()
}

func open(t *testing.T) *world {
	t.Helper()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1) // each connection has a database of its own
	for _, s := range []string{"PRAGMA case_sensitive_like = ON", "CREATE TABLE t (a INTEGER, b INTEGER, c TEXT, d TEXT)", "CREATE TABLE u (a INTEGER, e INTEGER, c TEXT)"} {
		if _, err := db.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	return &world{db: db}
}

// compare returns what differs, "" when nothing does.
func (w *world) compare(q both, ordered bool) string {
	want, err := w.lite(q.lite)
	if err != nil {
		return "SQLite refuses: " + err.Error()
	}
	got, err := w.ours(q.ours)
	if err != nil {
		return "the engine refuses: " + err.Error()
	}
	if !ordered {
		slices.Sort(got)
		slices.Sort(want)
	}
	if slices.Equal(got, want) {
		return ""
	}
	return fmt.Sprintf("got\n  %s\nSQLite says\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
}

// TestAgainstSQLite answers random queries in both systems. SQLCHECK_SEED runs another sequence.
func TestAgainstSQLite(t *testing.T) {
	seed := int64(1)
	if s := os.Getenv(seedVariable); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = n
	}
	w := open(t)
	r := rand.New(rand.NewSource(seed))
	bad, rows := 0, 0
	for range worlds {
		if err := w.fill(r); err != nil {
			t.Fatal(err)
		}
		for range queriesEach {
			q, ordered := (&gen{r: r}).query()
			if diff := w.compare(q, ordered); diff != "" {
				bad++
				t.Errorf("seed %d:\n%s\n%s\nt: %v\nu: %v", seed, q.ours, diff, dump(w.tables["t"]), dump(w.tables["u"]))
				if bad == 5 {
					t.FailNow()
				}
			}
			if l, err := w.lite(q.lite); err == nil && len(l) > 0 {
				rows++
			}
		}
	}
	t.Logf("seed %d: %d queries agree, %d of them have rows", seed, worlds*queriesEach, rows)
	if rows < worlds*queriesEach/2 {
		t.Errorf("only %d of %d queries have rows: the test proves less than it should", rows, worlds*queriesEach)
	}
}

// TestNoticesDifferences: a check is trusted after it has caught something.
func TestNoticesDifferences(t *testing.T) {
	w := open(t)
	if err := w.fill(rand.New(rand.NewSource(3))); err != nil {
		t.Fatal(err)
	}
	for _, q := range []both{
		{"SELECT count(*) + 1 FROM t", "SELECT count(*) FROM t"},
		{"SELECT t.a FROM t WHERE NOT (t.a < 1)", "SELECT t.a FROM t WHERE (t.a < 1) IS NOT 1"}, // NULL is not false
		{"SELECT DISTINCT t.c FROM t", "SELECT t.c FROM t"},
	} {
		if w.compare(q, false) == "" {
			t.Errorf("no difference between %s and %s", q.ours, q.lite)
		}
	}
	if w.compare(both{"SELECT t.a FROM t ORDER BY t.a", "SELECT t.a FROM t ORDER BY t.a DESC"}, true) == "" {
		t.Error("the order was not compared")
	}
}

func dump(b *column.Batch) [][]string {
	var out [][]string
	for i := range b.Len {
		var row []string
		for _, d := range b.Row(i) {
			switch {
			case d.Null:
				row = append(row, "NULL")
			case d.S != "":
				row = append(row, d.S)
			default:
				row = append(row, fmt.Sprint(d.I))
			}
		}
		out = append(out, row)
	}
	return out
}
