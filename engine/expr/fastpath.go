package expr

import (
	"math"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// constArith computes x op constant over whole columns; false when there is no loop for it.
func (e *arith) constArith(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	d, ok := Constant(e.b)
	if !ok || d.Null || sel != nil || e.op == 'd' {
		return nil
	}
	switch e.t.Kind {
	case column.Double:
		if (e.op == '/' || e.op == '%') && d.F == 0 || e.op == '%' {
			return nil
		}
		x := e.a.Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		floatConst(e.op, out.F64, x.F64, d.F)
		return out
	case column.BigInt:
		if e.op == '/' || e.op == '%' && d.I <= 0 {
			return nil
		}
		x := e.a.Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		if intConst(e.op, out.I64, x.I64, d.I) {
			lo, hi := limits(e.t.Kind)
			for i := range out.I64 {
				e.oneInt(ctx, out, x.I64[i], d.I, i, lo, hi)
			}
		}
		return out
	}
	return nil
}

func floatConst(op byte, out, x []float64, k float64) {
	x = x[:len(out)]
	switch op {
	case '+':
		for i, v := range x {
			out[i] = v + k
		}
	case '-':
		for i, v := range x {
			out[i] = v - k
		}
	case '*':
		for i, v := range x {
			out[i] = v * k
		}
	default:
		for i, v := range x {
			out[i] = v / k
		}
	}
}

// intConst reports whether a row overflowed.
func intConst(op byte, out, x []int64, k int64) bool {
	x = x[:len(out)]
	var over int64
	switch op {
	case '+':
		for i, v := range x {
			s := v + k
			over |= (v ^ s) & (k ^ s)
			out[i] = s
		}
	case '-':
		for i, v := range x {
			s := v - k
			over |= (v ^ k) & (v ^ s)
			out[i] = s
		}
	case '*':
		for i, v := range x {
			p, ok := mulInt(v, k)
			if !ok {
				return true
			}
			out[i] = p
		}
	default:
		for i, v := range x {
			out[i] = v % k
		}
	}
	return over < 0
}

// floatQuotient divides whole columns; false when a divisor is zero and the rows need a closer look.
func floatQuotient(out, x, y []float64) bool {
	x, y = x[:len(out)], y[:len(out)]
	ok := true
	for i := range out {
		ok = ok && y[i] != 0
		out[i] = x[i] / y[i]
	}
	return ok
}

// roundDigits rounds half up at scale > 0 digits after the point without big numbers; ok is false when it cannot.
func roundDigits(f float64, scale int) (float64, bool) {
	var buf [32]byte
	text := strconv.AppendFloat(buf[:0], math.Abs(f), 'e', -1, 64)
	var m uint64
	digits, i := 0, 0
	for ; text[i] != 'e'; i++ {
		if text[i] != '.' {
			m = m*10 + uint64(text[i]-'0')
			digits++
		}
	}
	exp := 0
	for _, c := range text[i+2:] {
		exp = exp*10 + int(c-'0')
	}
	if text[i+1] == '-' {
		exp = -exp
	}
	drop := digits - 1 - exp - scale
	switch {
	case drop <= 0:
		return f + 0, true
	case drop > 18:
		return 0, true
	case scale > 15:
		return 0, false
	}
	p := uint64(pow10int(drop))
	q := m / p
	if m%p >= p-p/2 {
		q++
	}
	if q >= 1<<53 {
		return 0, false
	}
	r := float64(q) / float64(pow10int(scale)) // both exact, so the quotient is the nearest double
	if f < 0 && r != 0 {
		r = -r
	}
	return r, true
}

// newIn builds IN; a list of constants becomes a look-up.
func newIn(v Expr, list []Expr) Expr {
	s := v.Type().Kind.Storage()
	if s != column.StoreI64 && s != column.StoreDict {
		return &in{v, list}
	}
	null := false
	ints, strs := map[int64]struct{}{}, map[string]struct{}{}
	for _, e := range list {
		d, ok := Constant(e)
		switch {
		case !ok:
			return &in{v, list}
		case d.Null:
			null = true
		case s == column.StoreI64:
			ints[d.I] = struct{}{}
		default:
			strs[d.S] = struct{}{}
		}
	}
	miss := column.Datum{Null: null}
	if s == column.StoreDict {
		return &scalar{name: "in", args: append([]Expr{v}, list...), t: column.Of(column.Boolean), nulls: true, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
			if a[0].Null {
				return a[0], nil
			}
			if _, ok := strs[a[0].S]; ok {
				return column.Bool(true), nil
			}
			return miss, nil
		}}
	}
	return &inInts{in: in{v, list}, set: ints, null: null}
}

// inInts is IN over integers; a short list is searched in order.
type inInts struct {
	in
	set  map[int64]struct{}
	null bool
}

const shortList = 8

// Eval implements Expr.
func (e *inInts) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.v.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	copyNulls(out, x)
	var short [shortList]int64
	n := 0
	if len(e.list) <= shortList {
		for _, item := range e.list {
			if d, _ := Constant(item); !d.Null {
				short[n] = d.I
				n++
			}
		}
	}
	has := func(v int64) bool {
		if len(e.list) > shortList {
			_, ok := e.set[v]
			return ok
		}
		for _, k := range short[:n] {
			if v == k {
				return true
			}
		}
		return false
	}
	each(out, sel, func(i int) {
		hit := has(x.I64[i])
		out.I64[i] = b2i(hit)
		if !hit && e.null {
			out.SetNull(i)
		}
	})
	return out
}

// stringOrder compares a string with a constant by order, once per distinct string.
func stringOrder(op byte, a, b Expr) Expr {
	holds := (&compare{op: op}).holds
	names := map[byte]string{'<': "<", 'l': "<=", '>': ">", 'g': ">="}
	return &scalar{name: names[op], args: []Expr{a, b}, t: column.Of(column.Boolean), infix: true, safe: true, eval: func(d []column.Datum) (column.Datum, *Error) {
		return column.Bool(holds(strings.Compare(d[0].S, d[1].S))), nil
	}}
}

// isStringWithConst reports whether one of the two is a string constant and the other is not constant.
func isStringWithConst(a, b Expr) bool {
	_, ca := Constant(a)
	_, cb := Constant(b)
	return ca != cb && a.Type().Kind.Storage() == column.StoreDict
}
