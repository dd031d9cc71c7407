package expr

import (
	"testing"

	"signalbox/engine/column"
)

func TestArithmeticSmoke(t *testing.T) {
	a := NewColumn(0, "a", column.Of(column.BigInt))
	e, err := Call("+", a, intLit(1))
	if err != nil {
		t.Fatal(err)
	}
	e, err = Call(">", e, NewLiteral(column.DecimalType(2, 1), column.Datum{Dec: decFromInt(25)}))
	if err != nil {
		t.Fatal(err)
	}
	e = Fold(e)
	b := column.NewBatch(&column.Schema{Fields: []column.Field{{Name: "a", Type: column.Of(column.BigInt)}}, Time: -1}, 4)
	b.AppendRow(column.I64(1))
	b.AppendRow(column.I64(2))
	b.AppendRow(column.NullDatum)
	b.AppendRow(column.I64(1<<63 - 1))
	ctx := NewContext()
	out := e.Eval(ctx, b, nil)
	if out.I64[0] != 0 || out.I64[1] != 1 || !out.IsNull(2) || !out.IsNull(3) {
		t.Fatalf("%s: %v %v", e, out.I64, out.Nulls)
	}
	if len(ctx.Errors) != 1 || ctx.Errors[0].Row != 3 || ctx.Errors[0].Err.Condition != "ARITHMETIC_OVERFLOW" {
		t.Fatalf("errors %v", ctx.Errors)
	}
}
