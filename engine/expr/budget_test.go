package expr_test

import (
	"strings"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// TestBatchBytes: the values computed for one batch are bounded together, the
// same rows fail however often a text was seen before, and a new batch starts anew.
func TestBatchBytes(t *testing.T) {
	text := column.Of(column.String)
	x := expr.NewColumn(0, "x", text)
	call := func(name string, args ...expr.Expr) expr.Expr {
		e, err := expr.Call(name, args...)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	long := call("repeat", x, expr.NewLiteral(column.Of(column.Int), column.I64(1<<20)))
	batch := func(values ...string) *column.Batch {
		b := column.NewBatch(&column.Schema{Time: -1, Fields: []column.Field{{Name: "x", Type: text}}}, 0)
		for _, v := range values {
			b.AppendRow(column.Str(v))
		}
		return b
	}
	var distinct []string
	for i := range 40 {
		distinct = append(distinct, strings.Repeat(string(rune('a'+i%26)), 8)+string(rune('a'+i/26))) // 9 MiB each
	}
	const fit = expr.MaxBatchBytes / (9 << 20)
	same := make([]string, 40)
	for i := range same {
		same[i] = distinct[0]
	}
	for name, b := range map[string]*column.Batch{"different texts": batch(distinct...), "one text": batch(same...)} {
		ctx := expr.NewContext()
		for range 2 {
			ctx.Reset()
			out := long.Eval(ctx, b, nil)
			if n := len(ctx.Errors); n != 40-fit || ctx.Errors[0].Row != fit || ctx.Errors[0].Err.SQLState != "54000" {
				t.Fatalf("%s: %d rows failed, want the last %d", name, n, 40-fit)
			}
			if out.IsNull(0) || !out.IsNull(39) {
				t.Fatalf("%s: the wrong rows failed", name)
			}
		}
	}
	v := expr.NewLambdaVar("v", column.Of(column.Int))
	numbers := call("sequence", expr.NewLiteral(column.Of(column.Int), column.I64(1)), call("length", x))
	inLambda := call("size", call("transform", numbers, expr.NewLambda([]expr.Expr{v}, call("repeat", x, expr.NewLiteral(column.Of(column.Int), column.I64(1000))))))
	ctx := expr.NewContext()
	inLambda.Eval(ctx, batch(strings.Repeat("z", 1000), "short"), nil)
	if len(ctx.Errors) != 1 || ctx.Errors[0].Row != 0 {
		t.Fatalf("a lambda that builds 1 GB: errors %v", ctx.Errors)
	}
}
