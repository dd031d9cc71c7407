package agg

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func ints(vs ...any) (out []column.Datum) {
	for _, v := range vs {
		switch v := v.(type) {
		case nil:
			out = append(out, column.NullDatum)
		case int:
			out = append(out, column.I64(int64(v)))
		case float64:
			out = append(out, column.F64(v))
		case string:
			out = append(out, column.Str(v))
		case bool:
			out = append(out, column.Bool(v))
		}
	}
	return out
}

// valueCases: what an aggregate gives for columns of rows of one group.
var valueCases = []struct {
	call aggCase
	rows [][]column.Datum // by argument that is not constant
	want string
}{
	{aggCase{name: "count"}, [][]column.Datum{ints(1, 2, nil)}, "3"},
	{aggCase{name: "sum", args: []any{tBig}}, [][]column.Datum{ints(nil, nil)}, "NULL"},
	{aggCase{name: "sum", args: []any{tDbl}}, [][]column.Datum{ints(math.Copysign(0, -1))}, "0"},
	{aggCase{name: "try_sum", args: []any{tBig}}, [][]column.Datum{ints(math.MaxInt64, 1, -5)}, "NULL"},
	{aggCase{name: "avg", args: []any{tBig}}, [][]column.Datum{ints(math.MaxInt64, math.MaxInt64)}, "9.223372036854776e+18"},
	{aggCase{name: "max", args: []any{tDbl}}, [][]column.Datum{ints(math.Copysign(0, -1), 0.0)}, "-0"},
	{aggCase{name: "max", args: []any{tDbl}}, [][]column.Datum{ints(math.Inf(1), math.NaN(), 1.0)}, "NaN"},
	{aggCase{name: "min", args: []any{tDbl}}, [][]column.Datum{ints(math.NaN(), 2.0, math.NaN())}, "2"},
	{aggCase{name: "max_by", args: []any{tStr, tBig}}, [][]column.Datum{ints("a", "b", "c", "d"), ints(1, 7, 7, nil)}, `"c"`},
	{aggCase{name: "min_by", args: []any{tStr, tBig}}, [][]column.Datum{ints("a", "b", nil, "d"), ints(3, 1, 1, 2)}, "NULL"},
	{aggCase{name: "first", args: []any{tStr}}, [][]column.Datum{ints(nil, "x")}, "NULL"},
	{aggCase{name: "first", args: []any{tStr, yes}}, [][]column.Datum{ints(nil, "x", "y")}, `"x"`},
	{aggCase{name: "last", args: []any{tStr}, opt: Options{IgnoreNulls: true}}, [][]column.Datum{ints("x", "y", nil)}, `"y"`},
	{aggCase{name: "var_samp", args: []any{tDbl}}, [][]column.Datum{ints(5.0)}, "NULL"},
	{aggCase{name: "var_pop", args: []any{tDbl}}, [][]column.Datum{ints(5.0, 7.0)}, "1"},
	{aggCase{name: "skewness", args: []any{tDbl}}, [][]column.Datum{ints(5.0, 5.0)}, "NULL"},
	{aggCase{name: "corr", args: []any{tDbl, tDbl}}, [][]column.Datum{ints(1.0, 2.0, 3.0), ints(2.0, 4.0, 6.0)}, "1"},
	{aggCase{name: "median", args: []any{tDbl}}, [][]column.Datum{ints(1.0, 4.0, nil, 2.0, 3.0)}, "2.5"},
	{aggCase{name: "percentile_disc", args: []any{half, tDbl}, opt: Options{OrderBy: []Order{{}}}}, [][]column.Datum{ints(1.0, 4.0, 2.0, 3.0)}, "2"},
	{aggCase{name: "percentile_approx", args: []any{tBig, half}}, [][]column.Datum{ints(1, 4, 2, 3)}, "2"},
	{aggCase{name: "mode", args: []any{tStr}}, [][]column.Datum{ints("b", "a", "a", "b", nil, nil, nil)}, `"a"`},
	{aggCase{name: "listagg", args: []any{tStr, comma, tStr}, opt: Options{OrderBy: []Order{{Desc: true}}}}, [][]column.Datum{ints("a", "b", nil, "c"), ints("1", "2", "9", "3")}, `"c,b,a"`},
	{aggCase{name: "collect_set", args: []any{tBig}}, [][]column.Datum{ints(2, 1, 2, nil)}, "(2,1,)"},
	{aggCase{name: "sum", args: []any{tBig}, opt: Options{Distinct: true}}, [][]column.Datum{ints(2, 1, 2, nil)}, "3"},
	{aggCase{name: "counter_increase", args: []any{tDbl, tTime}}, [][]column.Datum{ints(10.0, 3.0, 15.0, 1.0), ints(1e6, 3e6, 2e6, 4e6)}, "9"},
	{aggCase{name: "rate_per_second", args: []any{tDbl, tTime}}, [][]column.Datum{ints(10.0, 30.0), ints(1000000, 5000000)}, "5"},
	{aggCase{name: "rate_per_second", args: []any{tDbl, tTime}}, [][]column.Datum{ints(10.0), ints(1000000)}, "NULL"},
	{aggCase{name: "state_duration", args: []any{tBool, tTime}}, [][]column.Datum{ints(true, false, true, true), ints(10, 25, 40, 70)}, "45"},
}

func TestValues(t *testing.T) {
	for i := range valueCases {
		c := &valueCases[i]
		f, types := c.call.bind(t)
		cols := make([]*column.Column, len(types))
		n, at := len(c.rows[0]), 0
		for j, ty := range types {
			cols[j] = column.New(ty, n)
			if _, constant := c.call.args[j].(constArg); constant || at >= len(c.rows) {
				for range n {
					cols[j].AppendNull() // a constant is taken from the call
				}
				continue
			}
			for _, d := range c.rows[at] {
				if !d.Null && d.F != 0 && ty.Kind.Storage() == column.StoreI64 {
					d = column.I64(int64(d.F))
				}
				cols[j].Append(d)
			}
			at++
		}
		// listagg moves its delimiter behind the keys.
		if c.call.name == "listagg" {
			cols[1] = column.New(tStr, n)
			for _, d := range c.rows[1] {
				cols[1].Append(d)
			}
		}
		a := f.New()
		a.Grow(1)
		a.Add(expr.NewContext(), make([]int32, n), cols, nil)
		out := column.New(f.Result(), 1)
		if err := a.Value(0, out); err != nil {
			t.Errorf("%s: %v", &c.call, err)
			continue
		}
		if got := datumText(out.Type, out.Datum(0), false); got != c.want {
			t.Errorf("%s of %v is %s, want %s", &c.call, c.rows, got, c.want)
		}
	}
}

// An overflow fails the row and leaves the sum as it was.
func TestSumOverflow(t *testing.T) {
	c := aggCase{name: "sum", args: []any{tBig}}
	f, _ := c.bind(t)
	a := f.New()
	a.Grow(1)
	col := column.New(tBig, 3)
	for _, v := range []int64{math.MaxInt64 - 1, 5, 1} {
		col.AppendI64(v)
	}
	ctx := expr.NewContext()
	a.Add(ctx, make([]int32, 3), []*column.Column{col}, nil)
	if len(ctx.Errors) != 1 || ctx.Errors[0].Row != 1 || ctx.Errors[0].Err.Condition != "ARITHMETIC_OVERFLOW" {
		t.Errorf("errors %v", ctx.Errors)
	}
	out := column.New(tBig, 1)
	if err := a.Value(0, out); err != nil || out.I64[0] != math.MaxInt64 {
		t.Errorf("sum %v, %v", out.I64, err)
	}
}

// Sketches keep their promise on more values than they hold, merged or not.
func TestSketchErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const n = 200_000
	vals, strs := column.New(tDbl, n), column.New(tStr, n)
	for range n {
		vals.AppendF64(r.NormFloat64())
		strs.AppendString(fmt.Sprint(r.IntN(30_000)))
	}
	sorted := slices.Clone(vals.F64)
	slices.Sort(sorted)
	low := constArg{tBig, column.I64(500)}
	ps := constArg{column.ArrayOf(tDbl), column.Datum{L: ints(0.01, 0.5, 0.99)}}
	q := aggCase{name: "percentile_approx", args: []any{tDbl, ps, low}}
	f, _ := q.bind(t)
	parts := make([]Accumulator, 4)
	groups := make([]int32, n)
	for i := range parts {
		parts[i] = f.New()
		parts[i].Grow(1)
		addRange(t, parts[i], groups, []*column.Column{vals}, i*n/4, (i+1)*n/4)
		if i > 0 {
			if err := parts[0].Merge(0, parts[i], 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	out := column.New(f.Result(), 1)
	if err := parts[0].Value(0, out); err != nil {
		t.Fatal(err)
	}
	for i, p := range []float64{0.01, 0.5, 0.99} {
		rank, _ := slices.BinarySearch(sorted, out.Any[0].L[i].F)
		if e := math.Abs(float64(rank)/n - p); e > 2.0/500 {
			t.Errorf("percentile %v has rank error %v", p, e)
		}
	}
	h := aggCase{name: "approx_count_distinct", args: []any{tStr, constArg{tDbl, column.F64(0.02)}}}
	hf, _ := h.bind(t)
	a := hf.New()
	a.Grow(1)
	addRange(t, a, groups, []*column.Column{strs}, 0, n)
	count := column.New(tBig, 1)
	if err := a.Value(0, count); err != nil || math.Abs(float64(count.I64[0])-30_000) > 30_000*0.06 {
		t.Errorf("%v distinct of about 30000, %v", count.I64, err)
	}
}

func TestLookupErrors(t *testing.T) {
	x, s := expr.NewColumn(0, "x", tBig), expr.NewColumn(1, "s", tArr)
	out := expr.NewLiteral(tDbl, column.F64(1.5))
	for _, c := range []struct {
		name  string
		args  []expr.Expr
		opt   Options
		state string
	}{
		{"nope", nil, Options{}, "42883"},
		{"sum", nil, Options{}, "42605"},
		{"sum", []expr.Expr{s}, Options{}, "42K09"},
		{"bool_and", []expr.Expr{x}, Options{}, "42K09"},
		{"percentile", []expr.Expr{x, out}, Options{}, "42K09"},
		{"percentile", []expr.Expr{x, x}, Options{}, "42K09"},
		{"sum", []expr.Expr{x, x}, Options{OrderBy: []Order{{}}}, "42605"},
		{"max", []expr.Expr{x}, Options{OrderBy: []Order{{}}}, "42K0K"},
	} {
		_, _, err := Lookup(c.name, c.args, c.opt)
		var e *expr.Error
		if !errors.As(err, &e) || e.SQLState != c.state || e.Phase != expr.Analysis || e.Message == "" {
			t.Errorf("%s%v: %v, want SQLSTATE %s", c.name, c.args, err, c.state)
		}
	}
	for _, f := range Functions() {
		if !Exists(f.Name) || f.Doc == "" || f.Signature == "" || f.Example == "" {
			t.Errorf("%+v is not documented", f)
		}
	}
}
