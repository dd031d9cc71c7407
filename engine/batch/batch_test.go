package batch_test

import (
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"testing"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// tables is a catalog of rows.
type tables map[string]*column.Batch

func (t tables) Relation(name string) (plan.Relation, bool) {
	b, ok := t[strings.ToLower(name)]
	if !ok {
		return plan.Relation{}, false
	}
	return plan.Relation{Schema: b.Schema}, true
}

func (t tables) Names() []string { return nil }

func (t tables) source(s *plan.Scan) ([]*column.Batch, error) {
	return []*column.Batch{t[strings.ToLower(s.Table)]}, nil
}

func (t tables) run(text string, opt batch.Options) (*column.Batch, error) {
	q, err := sql.ParseSelect(text)
	if err != nil {
		return nil, err
	}
	p, err := plan.Analyze(q, t, plan.AnalyzeOptions{})
	if err != nil {
		return nil, err
	}
	return batch.Run(p, t.source, opt)
}

// rows writes a result, one row a line, sorted unless the query sorts.
func rows(b *column.Batch, sorted bool) string {
	var out []string
	for i := range b.Len {
		var row []string
		for j, c := range b.Cols {
			row = append(row, cell(b.Schema.Fields[j].Type, c.Datum(i)))
		}
		out = append(out, strings.Join(row, " "))
	}
	if !sorted {
		slices.Sort(out)
	}
	return strings.Join(out, "; ")
}

func cell(t column.Type, d column.Datum) string {
	if d.Null || t.Kind == column.Void {
		return "-"
	}
	switch t.Kind.Storage() {
	case column.StoreF64:
		return strconv.FormatFloat(d.F, 'g', -1, 64)
	case column.StoreDict:
		return d.S
	case column.StoreAny:
		return fmt.Sprint(len(d.L))
	}
	return strconv.FormatInt(d.I, 10)
}

const l, r = "(VALUES (1, 'a'), (2, 'b'), (2, 'c'), (NULL, 'd')) l(k, x)", "(VALUES (2, 'B'), (3, 'C'), (NULL, 'D')) r(k, y)"

// TestQueries holds answers worked out by hand.
func TestQueries(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"SELECT l.k, x, y FROM " + l + " JOIN " + r + " ON l.k = r.k", "2 b B; 2 c B"},
		{"SELECT l.k, x, y FROM " + l + " LEFT JOIN " + r + " ON l.k = r.k", "- d -; 1 a -; 2 b B; 2 c B"},
		{"SELECT x, y FROM " + l + " RIGHT JOIN " + r + " ON l.k = r.k", "- C; - D; b B; c B"},
		{"SELECT x, y FROM " + l + " FULL JOIN " + r + " ON l.k = r.k", "- C; - D; a -; b B; c B; d -"},
		{"SELECT x, y FROM " + l + " FULL JOIN " + r + " ON l.k <=> r.k", "- C; a -; b B; c B; d D"},
		{"SELECT x FROM " + l + " LEFT SEMI JOIN " + r + " ON l.k = r.k", "b; c"},
		{"SELECT x FROM " + l + " LEFT ANTI JOIN " + r + " ON l.k = r.k", "a; d"},
		{"SELECT x, y FROM " + l + " JOIN " + r + " ON l.k < r.k", "a B; a C; b C; c C"},
		{"SELECT x, y FROM " + l + " LEFT JOIN " + r + " ON l.k = r.k AND x = 'c'", "a -; b -; c B; d -"},
		{"SELECT count(*) FROM " + l + " CROSS JOIN " + r, "12"},
		{"SELECT k, x, y FROM " + l + " FULL JOIN " + r + " USING (k)", "- - D; - d -; 1 a -; 2 b B; 2 c B; 3 - C"},
		{"SELECT x FROM " + l + " WHERE k IN (SELECT k FROM " + r + ")", "b; c"},
		{"SELECT x FROM " + l + " WHERE k NOT IN (SELECT k FROM " + r + ")", ""},
		{"SELECT x FROM " + l + " WHERE k NOT IN (SELECT k FROM " + r + " WHERE k IS NOT NULL)", "a"},
		{"SELECT x FROM " + l + " WHERE k NOT IN (SELECT k FROM " + r + " WHERE false)", "a; b; c; d"},
		{"SELECT x, k IN (SELECT k FROM " + r + ") FROM " + l, "a 0; b 1; c 1; d 0"},
		{"SELECT x FROM " + l + " WHERE EXISTS (SELECT 1 FROM " + r + " WHERE r.k > l.k)", "a; b; c"},
		{"SELECT x FROM " + l + " WHERE NOT EXISTS (SELECT 1 FROM " + r + " WHERE r.k > l.k)", "d"},
		{"SELECT x, (SELECT count(*) FROM " + r + " WHERE r.k = l.k) FROM " + l, "a 0; b 1; c 1; d 0"},
		{"SELECT x, (SELECT max(y) FROM " + r + " WHERE r.k = l.k) FROM " + l, "a -; b B; c B; d -"},
		{"SELECT x, (SELECT y FROM " + r + " WHERE r.k = l.k) FROM " + l, "a -; b B; c B; d -"},
		{"SELECT (SELECT 1 WHERE false), (SELECT 2)", "- 2"},
		{"SELECT k FROM " + l + " UNION SELECT k FROM " + r, "-; 1; 2; 3"},
		{"SELECT k FROM " + l + " INTERSECT SELECT k FROM " + r, "-; 2"},
		{"SELECT k FROM " + l + " EXCEPT SELECT k FROM " + r, "1"},
		{"SELECT k FROM " + l + " EXCEPT ALL SELECT k FROM " + r, "1; 2"},
		{"SELECT k FROM " + l + " INTERSECT ALL SELECT k FROM " + l, "-; 1; 2; 2"},
		{"SELECT k, count(*), count(DISTINCT x) FROM " + l + " GROUP BY k", "- 1 1; 1 1 1; 2 2 2"},
		{"SELECT count(*), sum(k) FROM " + l + " WHERE false", "0 -"},
		{"SELECT k, sum(length(x)) FILTER (WHERE x <> 'b') FROM " + l + " GROUP BY k HAVING count(*) > 1", "2 1"},
		{"SELECT k, x, count(*) FROM " + l + " WHERE k = 2 GROUP BY ROLLUP (k, x)", "- - 2; 2 - 2; 2 b 1; 2 c 1"},
		{"SELECT k, grouping_id() FROM " + l + " WHERE k = 1 GROUP BY CUBE (k, x)", "- 2; - 3; 1 0; 1 1"},
		{"SELECT explode(array(1, 2)) AS e, k FROM " + r + " WHERE k > 1", "1 2; 1 3; 2 2; 2 3"},
		{"SELECT i, v FROM (SELECT array('p', 'q') a) LATERAL VIEW posexplode(a) t AS i, v", "0 p; 1 q"},
		{"SELECT k, e FROM " + r + " LATERAL VIEW OUTER explode(filter(array(k), v -> v > 2)) t AS e", "- -; 2 -; 3 3"},
		{"SELECT DISTINCT k FROM " + l, "-; 1; 2"},
		{"SELECT stack(2, 1, 'a', 2)", "1 a; 2 -"},
		{"SELECT k, e FROM " + r + ", LATERAL explode(array(k, 0)) t(e) WHERE k = 2", "2 0; 2 2"},
	} {
		b, err := tables{}.run(c.text, batch.Options{Strict: true})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := rows(b, false); got != c.want {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

// TestOrdered holds answers whose order matters.
func TestOrdered(t *testing.T) {
	const v = "(VALUES (3, 1), (1, NULL), (2, 2), (NULL, 4), (2, 5)) t(a, b)"
	for _, c := range []struct{ text, want string }{
		{"SELECT a FROM " + v + " ORDER BY a", "-; 1; 2; 2; 3"},
		{"SELECT a FROM " + v + " ORDER BY a DESC", "3; 2; 2; 1; -"},
		{"SELECT a FROM " + v + " ORDER BY a NULLS LAST, b DESC LIMIT 2 OFFSET 1", "2; 2"},
		{"SELECT b FROM " + v + " ORDER BY a, b LIMIT 3", "4; -; 2"},
		{"SELECT -a AS a FROM " + v + " ORDER BY a LIMIT 2", "-; -3"},
		{"SELECT a, row_number() OVER (ORDER BY a, b), rank() OVER (ORDER BY a), dense_rank() OVER (ORDER BY a) FROM " + v + " ORDER BY a, b",
			"- 1 1 1; 1 2 2 2; 2 3 3 3; 2 4 3 3; 3 5 5 4"},
		{"SELECT a, lag(b) OVER (ORDER BY a, b), lead(b, 2, -1) OVER (ORDER BY a, b) FROM " + v + " ORDER BY a, b", "- - 2; 1 4 5; 2 - 1; 2 2 -1; 3 5 -1"},
		{"SELECT a, lag(b) IGNORE NULLS OVER (ORDER BY a, b) FROM " + v + " ORDER BY a, b", "- -; 1 4; 2 4; 2 2; 3 5"},
		{"SELECT a, sum(b) OVER (ORDER BY a), sum(b) OVER (ORDER BY a, b ROWS 1 PRECEDING), count(*) OVER () FROM " + v + " ORDER BY a, b",
			"- 4 4 5; 1 4 4 5; 2 11 2 5; 2 11 7 5; 3 12 6 5"},
		{"SELECT a, sum(b) OVER (ORDER BY a RANGE BETWEEN 1 PRECEDING AND 1 FOLLOWING) FROM " + v + " WHERE a IS NOT NULL ORDER BY a, b", "1 7; 2 8; 2 8; 3 8"},
		{"SELECT a, sum(b) OVER (ORDER BY a DESC RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) FROM " + v + " WHERE a IS NOT NULL ORDER BY a, b", "1 7; 2 8; 2 8; 3 1"},
		{"SELECT a, ntile(2) OVER (ORDER BY a, b), cume_dist() OVER (ORDER BY a), percent_rank() OVER (ORDER BY a) FROM " + v + " ORDER BY a, b",
			"- 1 0.2 0; 1 1 0.4 0.25; 2 1 0.8 0.5; 2 2 0.8 0.5; 3 2 1 1"},
		{"SELECT a, nth_value(b, 2) OVER (ORDER BY a, b), first_value(b) OVER (ORDER BY a, b ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING) FROM " + v + " ORDER BY a, b",
			"- - -; 1 - 2; 2 - 5; 2 - 1; 3 - -"},
	} {
		b, err := tables{}.run(c.text, batch.Options{Strict: true})
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := rows(b, true); got != c.want {
			t.Errorf("%s: got %q, want %q", c.text, got, c.want)
		}
	}
}

// TestRefusedRows: without strict a row that fails is reported and left out.
func TestRefusedRows(t *testing.T) {
	const text = "SELECT 10 div v AS q FROM (VALUES (1), (0), (5), (NULL)) t(v)"
	var refused []string
	b, err := tables{}.run(text, batch.Options{Refused: func(_ *column.Batch, row int, err *expr.Error) {
		refused = append(refused, fmt.Sprint(row, " ", err.Condition))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(b, true); got != "10; 2; -" || strings.Join(refused, ",") != "1 DIVIDE_BY_ZERO" {
		t.Errorf("got rows %q, refused %v", got, refused)
	}
	var e *expr.Error
	if _, err := (tables{}).run(text, batch.Options{Strict: true}); !errors.As(err, &e) || e.Condition != "DIVIDE_BY_ZERO" {
		t.Errorf("strict: got %v", err)
	}
}

func TestMaxRows(t *testing.T) {
	var e *expr.Error
	_, err := tables{}.run("SELECT count(*) FROM range(1000) a CROSS JOIN range(1000) b", batch.Options{MaxRows: 100_000})
	if !errors.As(err, &e) || e.Condition != "QUERY_TOO_LARGE" {
		t.Errorf("got %v", err)
	}
}

// TestSessionsAgainstOracle merges random events by hand.
func TestSessionsAgainstOracle(t *testing.T) {
	for seed := range int64(50) {
		rnd := rand.New(rand.NewSource(seed))
		s := &column.Schema{Name: "e", Time: 0, Fields: []column.Field{{Name: "ts", Type: column.Of(column.Timestamp)}, {Name: "k", Type: column.Of(column.BigInt)}}}
		b := column.NewBatch(s, 0)
		byKey := map[int64][]int64{}
		for range 200 {
			ts, k := rnd.Int63n(400)*1_000_000, rnd.Int63n(5)
			b.AppendRow(column.I64(ts), column.I64(k))
			byKey[k] = append(byKey[k], ts)
		}
		const gap = 5_000_000
		var want []string
		for k, times := range byKey {
			slices.Sort(times)
			for i := 0; i < len(times); {
				j := i + 1
				for j < len(times) && times[j]-times[j-1] <= gap {
					j++
				}
				want = append(want, fmt.Sprintf("%d %d %d %d", k, times[i], times[j-1]+gap, j-i))
				i = j
			}
		}
		slices.Sort(want)
		got, err := tables{"e": b}.run("SELECT k, session_window.start, session_window.end, count(*) FROM e GROUP BY session_window(ts, '5 seconds'), k", batch.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if g := rows(got, false); g != strings.Join(want, "; ") {
			t.Fatalf("seed %d: got %s, want %s", seed, g, strings.Join(want, "; "))
		}
	}
}

// TestFramesAgainstOracle computes moving sums with two loops.
func TestFramesAgainstOracle(t *testing.T) {
	for seed := range int64(30) {
		rnd := rand.New(rand.NewSource(seed))
		s := &column.Schema{Name: "e", Time: -1, Fields: []column.Field{{Name: "i", Type: column.Of(column.BigInt)}, {Name: "o", Type: column.Of(column.BigInt)}, {Name: "v", Type: column.Of(column.BigInt)}}}
		b := column.NewBatch(s, 0)
		type row struct{ i, o, v int64 }
		var data []row
		for i := range int64(60) {
			x := row{i, rnd.Int63n(20), rnd.Int63n(100)}
			data = append(data, x)
			b.AppendRow(column.I64(x.i), column.I64(x.o), column.I64(x.v))
		}
		lo, hi := rnd.Int63n(5), rnd.Int63n(5)
		slices.SortFunc(data, func(a, b row) int { return int(a.o*1000 + a.i - b.o*1000 - b.i) })
		var want []string
		for p, x := range data {
			var byRows, byRange int64
			for q, y := range data {
				if int64(q) >= int64(p)-lo && int64(q) <= int64(p)+hi {
					byRows += y.v
				}
				if y.o >= x.o-lo && y.o <= x.o+hi {
					byRange += y.v
				}
			}
			want = append(want, fmt.Sprintf("%d %d %d", x.i, byRows, byRange))
		}
		slices.Sort(want)
		text := fmt.Sprintf("SELECT i, sum(v) OVER (ORDER BY o, i ROWS BETWEEN %d PRECEDING AND %d FOLLOWING), sum(v) OVER (ORDER BY o RANGE BETWEEN %d PRECEDING AND %d FOLLOWING) FROM e", lo, hi, lo, hi)
		got, err := tables{"e": b}.run(text, batch.Options{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if g := rows(got, false); g != strings.Join(want, "; ") {
			t.Fatalf("seed %d: %s: got %s, want %s", seed, text, g, strings.Join(want, "; "))
		}
	}
}
