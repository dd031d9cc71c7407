package batch_test

import (
	"errors"
	"strings"
	"testing"

	"signalbox/engine/batch"
	"signalbox/engine/expr"
)

// A sub-query that is computed anew for each row stops at its bound and says what to do.
func TestNestedWorkIsBounded(t *testing.T) {
	tables := hardTables(t)
	const text = "SELECT count(*) AS c FROM range(10000) a WHERE a.id > (SELECT count(*) FROM range(10000) b WHERE b.id < a.id)"
	_, err := tables.run(text, batch.Options{Strict: true})
	var e *expr.Error
	if !errors.As(err, &e) || e.Condition != "QUERY_TOO_LARGE" || !strings.Contains(e.Message, "10000 rows") {
		t.Fatal(err)
	}
	b, err := tables.run(strings.ReplaceAll(text, "10000", "100"), batch.Options{Strict: true})
	if err != nil || b.Len != 1 || b.Cols[0].I64[0] != 0 {
		t.Fatal(b, err)
	}
}

// A recursion without end stops after its steps, or when a LIMIT has what it needs.
func TestRecursionEnds(t *testing.T) {
	tables := hardTables(t)
	const text = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r"
	_, err := tables.run(text, batch.Options{Strict: true})
	var e *expr.Error
	if !errors.As(err, &e) || e.Condition != "RECURSION_LEVEL_LIMIT_EXCEEDED" {
		t.Fatal(err)
	}
	if b, err := tables.run(text+" LIMIT 7", batch.Options{Strict: true}); err != nil || b.Len != 7 {
		t.Fatal(b, err)
	}
	double := strings.Replace(text, "FROM r)", "FROM r, range(2))", 1)
	if _, err := tables.run(double, batch.Options{Strict: true, MaxRows: 1000}); !errors.As(err, &e) || e.Condition != "QUERY_TOO_LARGE" {
		t.Fatal(err)
	}
}
