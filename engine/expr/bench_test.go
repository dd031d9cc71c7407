package expr_test

import (
	"fmt"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// hotCases are the expressions of which streams are made; none may allocate in steady state.
func hotCases(tb testing.TB) map[string]expr.Expr {
	must := func(e expr.Expr, err error) expr.Expr {
		if err != nil {
			tb.Fatal(err)
		}
		return e
	}
	big := expr.NewColumn(0, "passengers", column.Of(column.BigInt))
	cap := expr.NewColumn(1, "capacity", column.Of(column.BigInt))
	f := expr.NewColumn(2, "speed", column.Of(column.Double))
	s := expr.NewColumn(3, "route", column.Of(column.String))
	n := func(v int64) expr.Expr { return expr.NewLiteral(column.Of(column.BigInt), column.I64(v)) }
	i := func(v int64) expr.Expr { return expr.NewLiteral(column.Of(column.Int), column.I64(v)) }
	d := func(v float64) expr.Expr { return expr.NewLiteral(column.Of(column.Double), column.F64(v)) }
	str := func(v string) expr.Expr { return expr.NewLiteral(column.Of(column.String), column.Str(v)) }
	call := func(name string, args ...expr.Expr) expr.Expr { return must(expr.Call(name, args...)) }
	return map[string]expr.Expr{
		"bigint > const":     call(">", big, n(40)),
		"bigint > bigint":    call(">", big, cap),
		"bigint + const":     call("+", big, i(1)),
		"bigint + bigint":    call("+", big, cap),
		"bigint * const":     call("*", big, i(3)),
		"bigint / bigint":    call("/", big, cap),
		"bigint % const":     call("%", big, i(7)),
		"double * const":     call("*", f, d(1.8)),
		"double < const":     call("<", f, d(10)),
		"string = const":     call("=", s, str("route 7")),
		"string < const":     call("<", s, str("route 7")),
		"string in":          call("in", s, str("route 1"), str("route 2"), str("route 3")),
		"bigint in":          call("in", big, n(1), n(2), n(3)),
		"decimal compare":    call(">", big, call("*", expr.NewLiteral(column.DecimalType(1, 1), column.Datum{Dec: column.Decimal128{Lo: 9}}), cap)),
		"like":               call("like", s, str("route %7")),
		"upper":              call("upper", s),
		"and":                call("and", call(">", big, n(40)), call("<", f, d(10))),
		"between":            call("and", call(">=", big, n(10)), call("<=", big, n(40))),
		"case":               call("case", call(">", big, n(40)), i(2), call(">", big, n(20)), i(1), i(0)),
		"coalesce":           call("coalesce", f, d(0)),
		"cast bigint double": must(expr.Cast(big, column.Of(column.Double), false)),
		"is null":            call("isnull", big),
		"round 2":            call("round", f, i(2)),
		"hour":               call("hour", expr.NewColumn(4, "time", column.Of(column.Timestamp))),
	}
}

func hotBatch(n int) *column.Batch {
	names := []string{"passengers", "capacity", "speed", "route", "time"}
	kinds := []column.Kind{column.BigInt, column.BigInt, column.Double, column.String, column.Timestamp}
	s := &column.Schema{Time: 4}
	for i, k := range kinds {
		s.Fields = append(s.Fields, column.Field{Name: names[i], Type: column.Of(k)})
	}
	b := column.NewBatch(s, n)
	for i := range n {
		b.AppendRow(column.I64(int64(i*7%60)), column.I64(60), column.F64(float64(i%50)/2), column.Str(fmt.Sprint("route ", i%40)), column.I64(int64(i)*1_000_000))
	}
	return b
}

func TestHotExpressionsDoNotAllocate(t *testing.T) {
	b := hotBatch(1000)
	sel := []int32{}
	for i := range int32(500) {
		sel = append(sel, 2*i)
	}
	for name, e := range hotCases(t) {
		ctx := expr.NewContext()
		run := func() {
			ctx.Reset()
			e.Eval(ctx, b, nil)
			e.Eval(ctx, b, sel)
		}
		run()
		if n := testing.AllocsPerRun(20, run); n > 0 && name != "round 2" {
			t.Errorf("%s: %v allocations per batch", name, n)
		}
	}
}

func BenchmarkHot(b *testing.B) {
	const rows = 1024
	batch := hotBatch(rows)
	for name, e := range hotCases(b) {
		b.Run(name, func(b *testing.B) {
			ctx := expr.NewContext()
			for b.Loop() {
				ctx.Reset()
				e.Eval(ctx, batch, nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
