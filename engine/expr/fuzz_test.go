package expr_test

import (
	"math"
	"math/rand"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

var fuzzTypes = []column.Type{
	column.Of(column.Void), column.Of(column.Boolean), column.Of(column.TinyInt), column.Of(column.SmallInt), column.Of(column.Int), column.Of(column.BigInt),
	column.Of(column.Float), column.Of(column.Double), column.DecimalType(10, 2), column.DecimalType(38, 18), column.Of(column.String), column.Of(column.String), column.Of(column.Binary),
	column.Of(column.Date), column.Of(column.Timestamp), column.Of(column.TimestampNTZ), column.Of(column.IntervalDT), column.Of(column.IntervalYM),
	column.ArrayOf(column.Of(column.Int)), column.ArrayOf(column.Of(column.String)), column.ArrayOf(column.ArrayOf(column.Of(column.Double))),
	column.StructOf(column.Field{Name: "a", Type: column.Of(column.Int)}, column.Field{Name: "b", Type: column.Of(column.String)}),
	{Kind: column.Map, Key: ptr(column.Of(column.String)), Elem: ptr(column.Of(column.BigInt))},
}

func ptr(t column.Type) *column.Type { return &t }

var fuzzTexts = []string{"", " ", "a", "Spark SQL", "12", "-1.5e3", "1e400", "NaN", "2024-02-30", "2024-02-29 12:00:00.5+02:00", "yyyy-MM-dd", "HH:mm:ss", "[", "(a+)+$", "$1", "%d %s %05.2f", "%",
	"\xff\xfe", "äöü€😀", "{\"a\":[1,{\"b\":null}]}", "$.a[0]", "Europe/Helsinki", "YEAR", "hour", "99,999.99", "S999", "utf-8", "array<int>", "a INT", "POLYGON((0 0,1 0,1 1,0 0))", "MO", "\\", "+14:00", "INTERVAL '1' DAY", "9999999999999999999"}

func fuzzDatum(r *rand.Rand, t column.Type) column.Datum {
	if r.Intn(7) == 0 || t.Kind == column.Void {
		return column.NullDatum
	}
	small := []int64{0, 1, -1, 2, 3, 7, 12, 31, 60, 100, -100, int64(r.Intn(1 << 16))}[r.Intn(12)]
	wide := func(lo, hi int64) column.Datum {
		switch r.Intn(8) {
		case 0:
			return column.I64(lo)
		case 1:
			return column.I64(hi)
		case 2:
			return column.I64(max(min(r.Int63()*(int64(r.Intn(2))*2-1), hi), lo))
		}
		return column.I64(max(min(small, hi), lo))
	}
	switch t.Kind {
	case column.Boolean:
		return column.Bool(r.Intn(2) == 0)
	case column.TinyInt:
		return wide(math.MinInt8, math.MaxInt8)
	case column.SmallInt:
		return wide(math.MinInt16, math.MaxInt16)
	case column.Int, column.Date, column.IntervalYM:
		return wide(math.MinInt32, math.MaxInt32)
	case column.Float, column.Double:
		v := []float64{0, math.Copysign(0, -1), 1, -2.5, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, 5e-324, r.NormFloat64() * 1e6}[r.Intn(10)]
		if t.Kind == column.Float {
			v = float64(float32(v))
		}
		return column.F64(v)
	case column.Decimal:
		v := small * int64(r.Intn(1000))
		return column.Datum{Dec: column.Decimal128{Hi: v >> 63, Lo: uint64(v)}}
	case column.String, column.Binary:
		return column.Str(fuzzTexts[r.Intn(len(fuzzTexts))])
	case column.Array, column.Struct:
		n := r.Intn(4)
		if t.Kind == column.Struct {
			n = len(t.Fields)
		}
		d := column.Datum{L: []column.Datum{}}
		for i := range n {
			e := t.Elem
			if t.Kind == column.Struct {
				e = &t.Fields[i].Type
			}
			d.L = append(d.L, fuzzDatum(r, *e))
		}
		return d
	case column.Map:
		d := column.Datum{L: []column.Datum{}}
		for i := range r.Intn(3) {
			d.L = append(d.L, column.Str(string(rune('a'+i))), fuzzDatum(r, *t.Elem))
		}
		return d
	}
	return wide(math.MinInt64, math.MaxInt64)
}

var operatorNames = []string{"+", "-", "*", "/", "%", "=", "<", ">=", "<=>", "and", "or", "not", "in", "case", "&", "|", "^", "~", "||", "[]", "<<"}

// callAny calls a function with random arguments of random types; analysis errors are fine, panics are not.
func callAny(t *testing.T, r *rand.Rand, name string) (ran bool) {
	n := r.Intn(5)
	schema := &column.Schema{Time: -1}
	args := make([]expr.Expr, n)
	for i := range args {
		typ := fuzzTypes[r.Intn(len(fuzzTypes))]
		schema.Fields = append(schema.Fields, column.Field{Name: "c", Type: typ})
		if r.Intn(2) == 0 {
			args[i] = expr.NewLiteral(typ, fuzzDatum(r, typ))
		} else {
			args[i] = expr.NewColumn(i, "c", typ)
		}
	}
	e, err := expr.Call(name, args...)
	if err != nil {
		x, ok := err.(*expr.Error)
		if !ok || x.Phase != expr.Analysis || x.Condition == "" || x.Message == "" {
			t.Fatalf("%s: analysis error without condition: %v", name, err)
		}
		return false
	}
	if r.Intn(2) == 0 {
		e = expr.Fold(e)
	}
	b := column.NewBatch(schema, 8)
	for range 8 {
		row := make([]column.Datum, n)
		for i := range row {
			row[i] = fuzzDatum(r, schema.Fields[i].Type)
		}
		b.AppendRow(row...)
	}
	ctx := expr.NewContext()
	for _, sel := range [][]int32{nil, {1, 3, 6}} {
		ctx.Reset()
		out := e.Eval(ctx, b, sel)
		if out.Len() != b.Len {
			t.Fatalf("%s: %d rows for %d", e, out.Len(), b.Len)
		}
		if !out.Type.Equal(e.Type()) {
			t.Fatalf("%s: column of %s for an expression of %s", e, out.Type, e.Type())
		}
		rows := sel
		if rows == nil {
			rows = []int32{0, 1, 2, 3, 4, 5, 6, 7}
		}
		for _, i := range rows {
			expr.Text(out.Type, out.Datum(int(i)))
		}
	}
	_ = e.String()
	return true
}

func allNames() []string {
	names := append([]string{}, operatorNames...)
	for _, f := range expr.Functions() {
		names = append(names, f.Name)
	}
	return names
}

func TestNoFunctionPanics(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	for _, name := range allNames() {
		ran := 0
		for range 400 {
			func() {
				defer func() {
					if p := recover(); p != nil {
						t.Errorf("%s panics: %v", name, p)
						panic(p)
					}
				}()
				if callAny(t, r, name) {
					ran++
				}
			}()
		}
		if ran == 0 && !lambdas[name] {
			t.Logf("%s: no random call was accepted", name)
		}
	}
}

// lambdas need a lambda argument, which random arguments are not.
var lambdas = map[string]bool{"transform": true, "filter": true, "exists": true, "any_match": true, "forall": true, "aggregate": true, "reduce": true, "zip_with": true, "map_filter": true, "transform_values": true, "transform_keys": true}

func FuzzCall(f *testing.F) {
	f.Add(int64(1), uint16(3))
	names := allNames()
	f.Fuzz(func(t *testing.T, seed int64, which uint16) {
		callAny(t, rand.New(rand.NewSource(seed)), names[int(which)%len(names)])
	})
}

func FuzzCast(f *testing.F) {
	f.Add("2024-01-01", uint8(3))
	f.Fuzz(func(t *testing.T, s string, which uint8) {
		to := fuzzTypes[int(which)%len(fuzzTypes)]
		e, err := expr.Cast(expr.NewLiteral(column.Of(column.String), column.Str(s)), to, false)
		if err != nil {
			return
		}
		if d, err := expr.EvalDatum(e); err == nil {
			text := expr.Text(to, d)
			if to.Kind == column.BigInt || to.Kind == column.Double || to.Kind == column.Timestamp { // what was read is read again
				again, err := expr.Cast(expr.NewLiteral(column.Of(column.String), column.Str(text)), to, false)
				if err != nil {
					t.Fatal(err)
				}
				if d2, err := expr.EvalDatum(again); err != nil || expr.Text(to, d2) != text {
					t.Fatalf("%q read as %s shows as %q, which reads as %v %v", s, to, text, d2, err)
				}
			}
		}
		expr.ParseType(s)
		_, _, _, _ = expr.ParseInterval(s)
	})
}
