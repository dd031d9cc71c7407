package batch_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"signalbox/engine/agg"
	"signalbox/engine/batch"
	"signalbox/engine/expr"
)

// hardArgs are arguments of every type, many of them out of place.
var hardArgs = []string{"i", "j", "f", "s", "b", "ts", "NULL", "1", "-1", "0", "9223372036854775807", "1.5", "-0.0D", "'a'", "''", "'2024-02-30'",
	"DATE'2024-02-29'", "TIMESTAMP'9999-12-31 23:59:59.999999'", "INTERVAL 1 DAY", "INTERVAL 13 MONTHS", "array(1, NULL, 3)", "array()", "array('a', s)",
	"map('a', 1)", "struct(1 AS a, 'x' AS b)", "X'FF00'", "CAST(f AS FLOAT)", "CAST(99.99 AS DECIMAL(38,10))", "TIMESTAMP_NTZ'1582-10-10 00:00:00'",
	"x -> x", "(x, y) -> x", "true", "2147483647", "'yyyy-MM-dd'", "'%d %s'", "1e308", "split(s, '')", "transform(array(i), x -> x)"}

// TestEveryFunctionOnHardValues calls every function with arguments of every
// kind: errors are fine, panics are not.
func TestEveryFunctionOnHardValues(t *testing.T) {
	tables := hardTables(t)
	var names []string
	for _, f := range expr.Functions() {
		names = append(names, f.Name)
	}
	for _, f := range agg.Functions() {
		names = append(names, f.Name)
	}
	rnd := rand.New(rand.NewSource(1))
	const calls = 12
	accepted := 0
	for _, name := range names {
		for range calls {
			args := make([]string, rnd.Intn(5))
			for i := range args {
				args[i] = hardArgs[rnd.Intn(len(hardArgs))]
			}
			call := name + "(" + strings.Join(args, ", ") + ")"
			for _, text := range []string{"SELECT " + call + " FROM edge", "SELECT b, " + call + " FROM edge GROUP BY b", "SELECT " + call + " OVER (PARTITION BY b ORDER BY i) FROM edge"} {
				ok, err := safely(tables, text)
				if err != nil {
					t.Error(err)
				}
				if ok {
					accepted++
				}
			}
		}
	}
	if accepted < len(names) {
		t.Errorf("only %d calls of %d functions were accepted: the arguments test nothing", accepted, len(names))
	}
}

func safely(t tables, text string) (ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v", text, p)
		}
	}()
	for _, strict := range []bool{true, false} {
		b, err := t.run(text, batch.Options{Strict: strict, MaxRows: 10_000})
		if err != nil {
			continue
		}
		ok = true
		for i := range b.Len {
			b.Row(i)
		}
	}
	return ok, nil
}
