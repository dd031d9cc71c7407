package batch_test

import (
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// large is a table that is computed in several pieces, some of whose pieces bring new texts, NULLs or failing rows.
func large(n int) tables {
	text, number := column.Of(column.String), column.Of(column.BigInt)
	s := &column.Schema{Name: "t", Time: -1, Fields: []column.Field{{Name: "id", Type: number}, {Name: "k", Type: text}, {Name: "v", Type: number},
		{Name: "d", Type: column.Of(column.Double)}, {Name: "at", Type: column.Of(column.Timestamp)}}}
	b, rng := column.NewBatch(s, n), rand.New(rand.NewSource(1))
	for i := range n {
		v := column.I64(int64(rng.Intn(100)))
		if i%7 == 0 && i > n/2 {
			v = column.NullDatum
		}
		b.AppendRow(column.I64(int64(i)), column.Str(fmt.Sprintf("k%d", rng.Intn(1+i/50))), v, column.F64(float64(rng.Intn(1000))/8), column.I64(int64(i)*1_000_000))
	}
	few := column.NewBatch(&column.Schema{Name: "few", Time: -1, Fields: []column.Field{{Name: "x", Type: number}, {Name: "y", Type: text}}}, 0)
	for i := range 120 {
		few.AppendRow(column.I64(int64(i)), column.Str(fmt.Sprintf("k%d", i%90)))
	}
	return tables{"t": b, "few": few}
}

var largeQueries = []string{
	"SELECT id, concat(k, '!') AS x, v + 1 AS y, d * 2 AS z, array(v, id) AS a, CAST(v AS DECIMAL(10,2)) AS c FROM t WHERE id % 3 <> 0 ORDER BY k DESC, id",
	"SELECT k, count(*), sum(v), avg(d), min(k), max_by(k, v), collect_list(v) FROM t GROUP BY k",
	"SELECT upper(k) AS u, count(DISTINCT v) FILTER (WHERE d > 3) FROM t GROUP BY upper(k) HAVING count(*) > 2",
	"SELECT t.id, few.y FROM t JOIN few ON t.k = few.y WHERE t.v > few.x",
	"SELECT t.id, few.x FROM t LEFT JOIN few ON t.k = few.y AND t.v = few.x",
	"SELECT DISTINCT k, v FROM t",
	"SELECT k FROM t INTERSECT SELECT y FROM few",
	"SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id ROWS BETWEEN 3 PRECEDING AND CURRENT ROW) AS s, lag(v) IGNORE NULLS OVER (PARTITION BY k ORDER BY id) AS l FROM t",
	"SELECT id, e FROM t LATERAL VIEW explode(array(v, id)) AS e",
	"SELECT window.start, count(*) FROM t GROUP BY window(at, '10 minutes', '5 minutes')",
	"SELECT session_window.start, k, count(*) FROM t GROUP BY session_window(at, '30 seconds'), k",
	"SELECT id FROM t WHERE v IN (SELECT x FROM few) UNION ALL SELECT x FROM few",
	"SELECT id, (SELECT max(x) FROM few WHERE few.y = t.k) AS m FROM t",
}

// TestPiecesChangeNothing: a query that may be interrupted, which is computed in pieces, answers as one that may not.
func TestPiecesChangeNothing(t *testing.T) {
	db := large(40_000)
	for _, q := range append(largeQueries, "SELECT id, 100 DIV (id - 30000) AS x FROM t WHERE id > 2 AND 1 DIV (id - 17000) = 0") {
		sorted := strings.Contains(q, "ORDER BY k DESC")
		refused := [2]int{}
		var got [2]string
		for i, ask := range []func() error{nil, func() error { return nil }} {
			b, err := db.run(q, batch.Options{Interrupt: ask, MaxBytes: 4 << 30, Refused: func(*column.Batch, int, *expr.Error) { refused[i]++ }})
			if err != nil {
				t.Fatalf("%s: %v", q, err)
			}
			got[i] = rows(b, sorted)
		}
		if got[0] != got[1] || refused[0] != refused[1] {
			t.Errorf("%s: in pieces %d refused, at once %d; or the rows differ", q, refused[1], refused[0])
		}
	}
}

// TestInterrupted: every operator gives way soon, whatever the question it is asked at.
func TestInterrupted(t *testing.T) {
	db := large(40_000)
	enough := errors.New("enough")
	for _, q := range largeQueries {
		asked := 0
		if _, err := db.run(q, batch.Options{Interrupt: func() error { asked++; return nil }}); err != nil {
			t.Fatal(err)
		}
		if asked < 8 {
			t.Errorf("%s: asked only %d times over 40,000 rows", q, asked)
		}
		for _, at := range []int{1, asked / 3, asked - 1} {
			n := 0
			_, err := db.run(q, batch.Options{Interrupt: func() error {
				if n++; n > at {
					return enough
				}
				return nil
			}})
			if !errors.Is(err, enough) || n != at+1 {
				t.Errorf("%s: interrupted at question %d: %v after %d", q, at, err, n)
			}
		}
	}
}

// TestBytesAreBounded: what a query holds is noticed before it holds much more, and what it let go does not count.
func TestBytesAreBounded(t *testing.T) {
	db := large(40_000)
	for _, q := range largeQueries {
		_, err := db.run(q, batch.Options{MaxBytes: 100_000})
		var e *expr.Error
		if !errors.As(err, &e) || e.Condition != "QUERY_TOO_LARGE" || !strings.Contains(err.Error(), "100000 bytes") {
			t.Errorf("%s: %v", q, err)
		}
		if _, err := db.run(q, batch.Options{MaxBytes: 64 << 20}); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	const twelve = "SELECT * FROM (SELECT * FROM (SELECT * FROM (SELECT * FROM t WHERE id >= 0) WHERE id >= 0 ORDER BY v) WHERE id >= 0 ORDER BY id) ORDER BY d"
	if _, err := db.run(twelve, batch.Options{MaxBytes: 12 << 20}); err != nil {
		t.Errorf("steps one after the other: %v", err)
	}
}
