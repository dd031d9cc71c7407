package agg

import (
	"io"
	"math"
	"math/big"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

var errOverflow = overflow("the sum does not fit: use try_sum for NULL instead, or cast the argument to DOUBLE or DECIMAL")

// sumInt sums integers and intervals exactly and refuses to wrap around.
type sumInt struct {
	sum                    []int64
	n                      []int64 // only for the mean
	has                    []bool
	broken                 []bool  // try: this group has overflowed
	wide                   []int64 // upper words, of scratch
	bound                  bound
	try                    bool
	interval, months, mean bool
}

func (a *sumInt) Grow(n int) {
	a.sum, a.has = growTo(a.sum, n), growTo(a.has, n)
	if a.mean {
		a.n = growTo(a.n, n)
	}
	if a.try {
		a.broken = growTo(a.broken, n)
	}
	if a.wide != nil {
		a.wide = growTo(a.wide, n)
	}
}

func (a *sumInt) Add(ctx *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	v := arg.I64
	sum, has := a.sum, a.has[:len(a.sum)]
	a.bound.adding()
	if a.mean || a.months || a.try || a.wide != nil || arg.HasNulls() {
		a.addSlow(ctx, groups, arg, sel)
		return
	}
	if sel == nil {
		v = v[:len(groups)]
		for i, g := range groups {
			s, x := sum[g], v[i]
			t := s + x
			if (s^t)&(x^t) < 0 {
				ctx.Fail(int32(i), errOverflow)
				continue
			}
			sum[g] = t
			has[g] = true
		}
		return
	}
	sel = sel[:len(groups)]
	for i, g := range groups {
		s, x := sum[g], v[sel[i]]
		t := s + x
		if (s^t)&(x^t) < 0 {
			ctx.Fail(sel[i], errOverflow)
			continue
		}
		sum[g] = t
		has[g] = true
	}
}

func (a *sumInt) addSlow(ctx *expr.Context, groups []int32, arg *column.Column, sel []int32) {
	for i, g := range groups {
		row := rowAt(sel, i)
		if !arg.IsNull(row) && !a.add(g, arg.I64[row], 1) {
			ctx.Fail(int32(row), errOverflow)
		}
	}
}

// add reports whether the sum still fits; with try it always does, as NULL.
func (a *sumInt) add(g int32, x, n int64) bool {
	if a.wide != nil {
		a.wide[g], a.sum[g] = addWide(a.wide[g], a.sum[g], x)
		a.has[g] = true
		if a.mean {
			a.n[g] += n
		}
		return true
	}
	t := a.sum[g] + x
	bad := (a.sum[g]^t)&(x^t) < 0 || a.months && t != int64(int32(t))
	switch {
	case bad && a.try:
		a.broken[g] = true
		return true
	case bad:
		return false
	}
	a.sum[g], a.has[g] = t, true
	if a.mean {
		a.n[g] += n
	}
	return true
}

func (a *sumInt) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*sumInt)
	if !ok || o.mean != a.mean {
		return mismatch(a, other)
	}
	if a.try && o.broken[from] {
		a.broken[into] = true
	}
	if !o.has[from] {
		return nil
	}
	n := int64(0)
	if a.mean {
		n = o.n[from]
	}
	if o.wide != nil && a.wide != nil {
		a.wide[into] += o.wide[from] - o.sum[from]>>63
	}
	if !a.add(into, o.sum[from], n) {
		return errOverflow
	}
	a.bound.raise(math.Abs(float64(a.sum[into])) / a.intLimit())
	return nil
}

func (a *sumInt) Value(group int32, out *column.Column) error {
	tooLong := a.wide != nil && (a.wide[group] != a.sum[group]>>63 || a.months && a.sum[group] != int64(int32(a.sum[group])))
	switch {
	case !a.has[group] || a.try && (a.broken[group] || tooLong):
		out.AppendNull()
	case tooLong:
		return errOverflow
	case a.mean:
		out.AppendI64(divRound(a.sum[group], a.n[group]))
	default:
		out.AppendI64(a.sum[group])
	}
	return nil
}

// divRound divides and rounds half away from zero; n > 0.
func divRound(v, n int64) int64 {
	q, r := v/n, v%n
	if r >= 0 && r >= n-r {
		return q + 1
	}
	if r < 0 && -r >= n+r {
		return q - 1
	}
	return q
}

func (a *sumInt) Clear(group int32) {
	a.sum[group], a.has[group] = 0, false
	if a.wide != nil {
		a.wide[group] = 0
	}
	if a.mean {
		a.n[group] = 0
	}
	if a.try {
		a.broken[group] = false
	}
}

func (a *sumInt) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.has[:n])
	e.ints(a.sum[:n])
	if a.mean {
		e.ints(a.n[:n])
	}
	if a.try {
		e.bools(a.broken[:n])
	}
	return e.flush()
}

func (a *sumInt) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.has, a.sum = d.bools(n), d.ints(n)
	if a.mean {
		a.n = d.ints(n)
		d.positive(a.has, a.n)
	}
	if a.try {
		a.broken = d.bools(n)
	}
	a.Measure()
	return d.err
}

func (a *sumInt) Bytes() int { return 9*len(a.sum) + 8*len(a.n) + len(a.broken) }

// sumDec sums decimals; the mean is rounded half up, as Spark does it.
type sumDec struct {
	vals     []column.Decimal128
	n        []int64
	broken   []bool
	wide     []int64 // upper words, of scratch
	bound    bound
	try      bool
	mean     bool
	sum, out column.Type
}

func (a *sumDec) Grow(n int) {
	a.vals, a.n, a.broken = growTo(a.vals, n), growTo(a.n, n), growTo(a.broken, n)
	if a.wide != nil {
		a.wide = growTo(a.wide, n)
	}
}

func (a *sumDec) Add(ctx *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	a.bound.adding()
	nulls := arg.HasNulls()
	for i, g := range groups {
		row := rowAt(sel, i)
		if nulls && arg.IsNull(row) {
			continue
		}
		if !a.add(g, arg.Dec[row], 1) {
			ctx.Fail(int32(row), errOverflow)
		}
	}
}

func (a *sumDec) add(g int32, x column.Decimal128, n int64) bool {
	if a.wide != nil {
		a.wide[g], a.vals[g] = addWideDec(a.wide[g], a.vals[g], x)
		a.n[g] += n
		return true
	}
	t, ok := addDec(a.vals[g], x)
	if !ok || !fitsDec(t, a.sum.Precision) {
		if a.try {
			a.broken[g] = true
		}
		return a.try
	}
	a.vals[g] = t
	a.n[g] += n
	return true
}

func (a *sumDec) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*sumDec)
	if !ok {
		return mismatch(a, other)
	}
	a.broken[into] = a.broken[into] || o.broken[from]
	if o.wide != nil && a.wide != nil {
		a.wide[into] += o.wide[from] - o.vals[from].Hi>>63
	}
	if o.n[from] > 0 && !a.add(into, o.vals[from], o.n[from]) {
		return errOverflow
	}
	a.bound.raise(decAbs(a.vals[into]) / a.decLimit())
	return nil
}

func (a *sumDec) Value(group int32, out *column.Column) error {
	tooLong := a.wide != nil && (a.wide[group] != a.vals[group].Hi>>63 || !fitsDec(a.vals[group], a.sum.Precision))
	if a.n[group] == 0 || a.broken[group] || a.try && tooLong {
		out.AppendNull()
		return nil
	}
	if tooLong {
		return errOverflow
	}
	if !a.mean {
		out.Append(column.Datum{Dec: a.vals[group]})
		return nil
	}
	v := meanDec(a.vals[group], a.n[group], int(a.sum.Scale), int(a.out.Scale))
	d, ok := decOf(v)
	if !ok || !fitsDec(d, a.out.Precision) {
		if a.try {
			out.AppendNull()
			return nil
		}
		return overflow("the mean does not fit " + a.out.String() + ": use try_avg for NULL instead, or cast the argument to DOUBLE")
	}
	out.Append(column.Datum{Dec: d})
	return nil
}

// meanDec divides to 38 decimals and then to the result's scale, half up both
// times: Spark's division does the same two steps.
func meanDec(sum column.Decimal128, n int64, from, to int) *big.Int {
	const wide = 38
	v := new(big.Int).Mul(bigDec(sum), pow10(wide-from))
	v = divHalfUp(v, big.NewInt(n))
	return divHalfUp(v, pow10(wide-to))
}

func (a *sumDec) Clear(group int32) {
	a.vals[group], a.n[group], a.broken[group] = column.Decimal128{}, 0, false
	if a.wide != nil {
		a.wide[group] = 0
	}
}

func (a *sumDec) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.broken[:n])
	e.ints(a.n[:n])
	e.decimals(a.vals[:n])
	return e.flush()
}

func (a *sumDec) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.broken, a.n, a.vals = d.bools(n), d.ints(n), d.decimals(n)
	d.positive(nil, a.n)
	a.Measure()
	return d.err
}

func (a *sumDec) Bytes() int { return 25 * len(a.vals) }
