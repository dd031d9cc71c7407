package agg

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

var (
	tBig   = column.Of(column.BigInt)
	tInt   = column.Of(column.Int)
	tDbl   = column.Of(column.Double)
	tStr   = column.Of(column.String)
	tBool  = column.Of(column.Boolean)
	tTime  = column.Of(column.Timestamp)
	tDec   = column.DecimalType(10, 2)
	tPair  = column.StructOf(column.Field{Name: "a", Type: tInt}, column.Field{Name: "b", Type: tStr})
	tArr   = column.ArrayOf(tBig)
	tDT    = column.Of(column.IntervalDT)
	half   = constArg{tDbl, column.F64(0.5)}
	comma  = constArg{tStr, column.Str(",")}
	yes    = constArg{tBool, column.I64(1)}
	shares = constArg{column.ArrayOf(tDbl), column.Datum{L: []column.Datum{column.F64(0), column.F64(0.3), column.F64(1)}}}
)

// constArg is an argument that is a literal.
type constArg struct {
	t column.Type
	d column.Datum
}

type aggCase struct {
	name string
	args []any // column.Type or constArg
	opt  Options
	// inexact: merging adds in another order, so that floating results differ in the last digits
	inexact bool
}

var aggCases = []aggCase{
	{name: "count"}, {name: "count", args: []any{tDbl}}, {name: "count", args: []any{tStr, tBig}}, {name: "count_if", args: []any{tBool}},
	{name: "count", args: []any{tStr, tBig}, opt: Options{Distinct: true}},
	{name: "sum", args: []any{tBig}}, {name: "sum", args: []any{tInt}}, {name: "sum", args: []any{tDbl}, inexact: true}, {name: "sum", args: []any{tDec}}, {name: "sum", args: []any{tDT}},
	{name: "sum", args: []any{tBig}, opt: Options{Distinct: true}}, {name: "try_sum", args: []any{tBig}}, {name: "try_sum", args: []any{tDec}},
	{name: "avg", args: []any{tBig}, inexact: true}, {name: "avg", args: []any{tDbl}, inexact: true}, {name: "avg", args: []any{tDec}}, {name: "avg", args: []any{tDT}},
	{name: "avg", args: []any{tBig}, opt: Options{Distinct: true}, inexact: true}, {name: "try_avg", args: []any{tDec}},
	{name: "min", args: []any{tBig}}, {name: "max", args: []any{tBig}}, {name: "min", args: []any{tDbl}}, {name: "max", args: []any{tDbl}}, {name: "min", args: []any{tStr}}, {name: "max", args: []any{tStr}},
	{name: "min", args: []any{tDec}}, {name: "max", args: []any{tDec}}, {name: "max", args: []any{tPair}}, {name: "min", args: []any{tArr}}, {name: "max", args: []any{tTime}},
	{name: "bool_and", args: []any{tBool}}, {name: "any", args: []any{tBool}},
	{name: "min_by", args: []any{tStr, tBig}}, {name: "max_by", args: []any{tBig, tTime}}, {name: "max_by", args: []any{tPair, tPair}}, {name: "max_by", args: []any{tDbl, tDbl}},
	{name: "first", args: []any{tStr}}, {name: "last", args: []any{tDbl, yes}}, {name: "any_value", args: []any{tPair}, opt: Options{IgnoreNulls: true}},
	{name: "bit_and", args: []any{tBig}}, {name: "bit_or", args: []any{tInt}}, {name: "bit_xor", args: []any{tBig}},
	{name: "stddev", args: []any{tDbl}, inexact: true}, {name: "var_pop", args: []any{tDbl}, inexact: true}, {name: "skewness", args: []any{tDbl}, inexact: true}, {name: "kurtosis", args: []any{tDbl}, inexact: true},
	{name: "covar_pop", args: []any{tDbl, tDbl}, inexact: true}, {name: "corr", args: []any{tDbl, tDbl}, inexact: true}, {name: "regr_slope", args: []any{tDbl, tDbl}, inexact: true},
	{name: "regr_intercept", args: []any{tDbl, tDbl}, inexact: true}, {name: "regr_r2", args: []any{tDbl, tDbl}, inexact: true}, {name: "regr_count", args: []any{tDbl, tDbl}},
	{name: "collect_list", args: []any{tStr}}, {name: "array_agg", args: []any{tPair}}, {name: "collect_set", args: []any{tDbl}},
	{name: "listagg", args: []any{tStr, comma}}, {name: "listagg", args: []any{tStr, comma, tStr}, opt: Options{OrderBy: []Order{{Desc: true}}}},
	{name: "string_agg", args: []any{tStr, tStr}, opt: Options{OrderBy: []Order{{NullsFirst: true}}}},
	{name: "string_agg", args: []any{tStr}, opt: Options{Distinct: true}},
	{name: "percentile", args: []any{tBig, half}, inexact: true}, {name: "percentile", args: []any{tDbl, shares}}, {name: "median", args: []any{tDbl}}, {name: "median", args: []any{tDT}},
	{name: "percentile", args: []any{tDbl, half, tInt}}, {name: "percentile_cont", args: []any{half, tDbl}, opt: Options{OrderBy: []Order{{Desc: true}}}},
	{name: "percentile_disc", args: []any{half, tDbl}, opt: Options{OrderBy: []Order{{}}}}, {name: "mode", args: []any{tStr}}, {name: "mode", args: []any{tDbl}, opt: Options{OrderBy: []Order{{Desc: true}}}},
	{name: "approx_count_distinct", args: []any{tStr}}, {name: "approx_count_distinct", args: []any{tDbl}}, {name: "percentile_approx", args: []any{tBig, half}}, {name: "percentile_approx", args: []any{tDbl, shares}}, {name: "approx_percentile", args: []any{tDec, shares}},
	{name: "counter_increase", args: []any{tDbl, tTime}, inexact: true}, {name: "rate_per_second", args: []any{tDbl, tTime}, inexact: true}, {name: "state_duration", args: []any{tBool, tTime}},
}

func (c *aggCase) String() string { return fmt.Sprintf("%s%v %+v", c.name, c.args, c.opt) }

func (c *aggCase) bind(t testing.TB) (Func, []column.Type) {
	t.Helper()
	var args []expr.Expr
	for i, a := range c.args {
		switch a := a.(type) {
		case column.Type:
			args = append(args, expr.NewColumn(i, fmt.Sprint("c", i), a))
		case constArg:
			args = append(args, expr.NewLiteral(a.t, a.d))
		}
	}
	f, out, err := Lookup(c.name, args, c.opt)
	if err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	var types []column.Type
	for _, a := range out {
		types = append(types, a.Type())
	}
	return f, types
}

// finite draws values whose sums stay small; counters and weights must not be negative.
func finite(r *rand.Rand, c *aggCase, t column.Type) column.Datum {
	switch {
	case r.IntN(8) == 0:
		return column.NullDatum
	case t.Kind == column.Double:
		if c.inexact {
			return column.F64(float64(r.IntN(1000)) / 8)
		}
		return column.F64([]float64{0, math.Copysign(0, -1), 1.5, -2.25, 7, 1e10, math.NaN()}[r.IntN(7)])
	case t.Kind == column.Int, c.name == "percentile" && t.Kind == column.BigInt:
		return column.I64(r.Int64N(5))
	case t.Kind == column.Decimal:
		d, _ := decOf(big.NewInt(r.Int64N(2_000_000) - 1_000_000))
		return column.Datum{Dec: d}
	}
	return randomDatum(r, t)
}

const testGroups = 5

func (c *aggCase) rows(r *rand.Rand, types []column.Type, n int) (groups []int32, cols []*column.Column) {
	for range n {
		groups = append(groups, r.Int32N(testGroups))
	}
	for _, ty := range types {
		col := column.New(ty, n)
		for range n {
			col.Append(finite(r, c, ty))
		}
		cols = append(cols, col)
	}
	return groups, cols
}

// addRange adds rows lo to hi, by selection when they are not all.
func addRange(t testing.TB, a Accumulator, groups []int32, cols []*column.Column, lo, hi int) {
	t.Helper()
	ctx := expr.NewContext()
	if lo == 0 && hi == len(groups) {
		a.Add(ctx, groups, cols, nil)
	} else {
		sel := []int32{}
		for i := lo; i < hi; i++ {
			sel = append(sel, int32(i))
		}
		a.Add(ctx, groups[lo:hi], cols, sel)
	}
	if len(ctx.Errors) > 0 {
		t.Fatal(ctx.Errors[0].Err)
	}
}

func results(t testing.TB, f Func, a Accumulator) *column.Column {
	t.Helper()
	out := column.New(f.Result(), testGroups)
	for g := range int32(testGroups) {
		if err := a.Value(g, out); err != nil {
			t.Fatalf("%s: %v", f.Name(), err)
		}
	}
	if out.Len() != testGroups {
		t.Fatalf("%s: %d values for %d groups", f.Name(), out.Len(), testGroups)
	}
	return out
}

func sameResults(t *testing.T, what string, c *aggCase, got, want *column.Column, exact bool) {
	t.Helper()
	for g := range testGroups {
		x, y := got.Datum(g), want.Datum(g)
		if !exact && !x.Null && !y.Null && got.Type.Kind == column.Double {
			if math.Abs(x.F-y.F) <= 1e-9*math.Max(1, math.Max(math.Abs(x.F), math.Abs(y.F))) || x.F != x.F && y.F != y.F {
				continue
			}
		}
		if a, b := datumText(got.Type, x, false), datumText(got.Type, y, false); a != b {
			t.Errorf("%s: %s: group %d is %s, want %s", c, what, g, a, b)
		}
	}
}

// What every aggregate promises: batch borders do not matter, merging partial
// states is adding all rows, a restored state goes on, a cleared group is new.
func TestEveryAggregate(t *testing.T) {
	for i := range aggCases {
		c := &aggCases[i]
		for seed := range uint64(8) {
			checkAggregate(t, c, rand.New(rand.NewPCG(seed, uint64(i))))
		}
	}
}

func checkAggregate(t *testing.T, c *aggCase, r *rand.Rand) {
	t.Helper()
	f, types := c.bind(t)
	n := 1 + r.IntN(120)
	groups, cols := c.rows(r, types, n)
	fresh := func() Accumulator { a := f.New(); a.Grow(testGroups); return a }

	whole := fresh()
	addRange(t, whole, groups, cols, 0, n)
	want := results(t, f, whole)
	cut := r.IntN(n + 1)

	parts := fresh()
	addRange(t, parts, groups, cols, 0, cut)
	restored := reload(t, c, f, parts)
	addRange(t, parts, groups, cols, cut, n)
	sameResults(t, "in two batches", c, results(t, f, parts), want, true)
	addRange(t, restored, groups, cols, cut, n)
	sameResults(t, "restored between", c, results(t, f, restored), want, true)

	left, right := fresh(), fresh()
	addRange(t, left, groups, cols, 0, cut)
	addRange(t, right, groups, cols, cut, n)
	for g := range int32(testGroups) {
		if err := left.Merge(g, right, g); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
	sameResults(t, "merged", c, results(t, f, left), want, !c.inexact)

	for g := range int32(testGroups) {
		whole.Clear(g)
	}
	sameResults(t, "cleared", c, results(t, f, whole), results(t, f, fresh()), true)
	addRange(t, whole, groups, cols, 0, n)
	sameResults(t, "cleared and filled again", c, results(t, f, whole), want, true)
	if whole.Bytes() <= 0 {
		t.Errorf("%s: Bytes is %d", c, whole.Bytes())
	}
}

func reload(t *testing.T, c *aggCase, f Func, a Accumulator) Accumulator {
	t.Helper()
	var buf, again bytes.Buffer
	if err := a.Encode(&buf, testGroups); err != nil {
		t.Fatalf("%s: %v", c, err)
	}
	out := f.New()
	in := bytes.NewReader(buf.Bytes())
	if err := out.Decode(in, testGroups); err != nil {
		t.Fatalf("%s: decode: %v", c, err)
	}
	if in.Len() > 0 {
		t.Fatalf("%s: Decode left %d bytes", c, in.Len())
	}
	if err := out.Encode(&again, testGroups); err != nil || !bytes.Equal(again.Bytes(), buf.Bytes()) {
		t.Errorf("%s: a restored state is written otherwise (%v)", c, err)
	}
	for cut := 0; cut < buf.Len(); cut += 1 + buf.Len()/10 {
		if err := f.New().Decode(bytes.NewReader(buf.Bytes()[:cut]), testGroups); err == nil {
			t.Errorf("%s: a state cut off at byte %d of %d was read without an error", c, cut, buf.Len())
		}
	}
	return out
}

// A decoder given garbage ends with an error or a state, never a panic.
func FuzzDecodeState(f *testing.F) {
	for i := range aggCases {
		f.Add(i, append([]byte{0x1f}, make([]byte, 200)...)) // every group has a value, all counts are 0
		f.Add(i, bytes.Repeat([]byte{1, 2}, 100))
	}
	f.Fuzz(func(t *testing.T, which int, b []byte) {
		c := &aggCases[uint(which)%uint(len(aggCases))]
		fn, _ := c.bind(t)
		a := fn.New()
		if a.Decode(bytes.NewReader(b), testGroups) == nil {
			out := column.New(fn.Result(), testGroups)
			for g := range int32(testGroups) {
				if err := a.Value(g, out); err != nil {
					return
				}
			}
		}
		_ = NewGroupTable(keyTypes[uint(which)%uint(len(keyTypes))]).Decode(bytes.NewReader(b))
	})
}
