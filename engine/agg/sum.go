package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func sumEntries() []entry {
	return []entry{
		{Info: Info{Name: "sum", Signature: "sum(x)", Doc: "Sum of the values that are not NULL; NULL without any. BIGINT overflow is an error.", Example: "sum(passengers)"},
			bind: bindSum, min: 1, max: 1},
		{Info: Info{Name: "try_sum", Signature: "try_sum(x)", Doc: "Like sum, but NULL on overflow.", Example: "try_sum(passengers)"},
			bind: bindSum, min: 1, max: 1},
		{Info: Info{Name: "avg", Signature: "avg(x)", Doc: "Mean of the values that are not NULL.", Example: "avg(speed)"},
			bind: bindAvg, min: 1, max: 1},
		{Info: Info{Name: "mean", Signature: "mean(x)", Doc: "The same as avg.", Example: "mean(speed)"},
			bind: bindAvg, min: 1, max: 1},
		{Info: Info{Name: "try_avg", Signature: "try_avg(x)", Doc: "Like avg, but NULL on overflow.", Example: "try_avg(speed)"},
			bind: bindAvg, min: 1, max: 1},
	}
}

func bindSum(c *call) (Func, error) {
	if err := c.secondsOfTimes(); err != nil {
		return nil, err
	}
	if err := c.numeric(0); err != nil {
		return nil, err
	}
	t := c.args[0].Type()
	try := c.name == "try_sum"
	switch {
	case t.Kind.IsIntegral():
		return c.fn(column.Of(column.BigInt), func() Accumulator { return &sumInt{try: try} })
	case t.Kind == column.IntervalDT || t.Kind == column.IntervalYM:
		return c.fn(t, func() Accumulator { return &sumInt{try: try, interval: true, months: t.Kind == column.IntervalYM} })
	case t.Kind == column.Decimal:
		r := column.DecimalType(min(t.Precision+10, 38), t.Scale)
		return c.fn(r, func() Accumulator { return &sumDec{try: try, sum: r, out: r} })
	}
	return c.fn(column.Of(column.Double), func() Accumulator { return &sumFloat{} })
}

// secondsOfTimes makes a timestamp the seconds since 1970 as a DOUBLE, as Spark does for sum and avg.
func (c *call) secondsOfTimes() error {
	if c.args[0].Type().Kind != column.Timestamp {
		return nil
	}
	x, err := expr.Cast(c.args[0], column.Of(column.Double), false)
	c.args[0] = x
	return err
}

func bindAvg(c *call) (Func, error) {
	if err := c.secondsOfTimes(); err != nil {
		return nil, err
	}
	if err := c.numeric(0); err != nil {
		return nil, err
	}
	t := c.args[0].Type()
	try := c.name == "try_avg"
	switch {
	case t.Kind == column.IntervalDT || t.Kind == column.IntervalYM:
		return c.fn(column.Of(t.Kind), func() Accumulator {
			return &sumInt{try: try, interval: true, months: t.Kind == column.IntervalYM, mean: true}
		})
	case t.Kind == column.Decimal:
		s := column.DecimalType(min(t.Precision+10, 38), t.Scale)
		r := boundedDecimal(int(t.Precision)+4, int(t.Scale)+4)
		return c.fn(r, func() Accumulator { return &sumDec{try: try, sum: s, out: r, mean: true} })
	}
	return c.fn(column.Of(column.Double), func() Accumulator { return &avgFloat{} })
}

func boundedDecimal(p, s int) column.Type {
	return column.DecimalType(uint8(min(p, 38)), uint8(min(s, 38)))
}

// overflow is the failure of a row whose value does not fit the sum any more.
func overflow(hint string) *expr.Error {
	return &expr.Error{Phase: expr.Runtime, Condition: "ARITHMETIC_OVERFLOW", SQLState: "22003", Message: hint}
}

// sumFloat sums in row order, starting from 0.0.
type sumFloat struct {
	sum []float64
	has []bool
}

func (a *sumFloat) Grow(n int) { a.sum, a.has = growTo(a.sum, n), growTo(a.has, n) }

func (a *sumFloat) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	sum, has := a.sum, a.has[:len(a.sum)]
	switch v := arg.F64; {
	case arg.HasNulls():
		for i, g := range groups {
			if row := rowAt(sel, i); !arg.IsNull(row) {
				sum[g] += v[row]
				has[g] = true
			}
		}
	case sel == nil:
		v = v[:len(groups)]
		for i, g := range groups {
			sum[g] += v[i]
			has[g] = true
		}
	default:
		sel = sel[:len(groups)]
		for i, g := range groups {
			sum[g] += v[sel[i]]
			has[g] = true
		}
	}
}

func (a *sumFloat) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*sumFloat)
	if !ok {
		return mismatch(a, other)
	}
	if o.has[from] {
		a.sum[into] += o.sum[from]
		a.has[into] = true
	}
	return nil
}

func (a *sumFloat) Value(group int32, out *column.Column) error {
	if !a.has[group] {
		out.AppendNull()
		return nil
	}
	out.AppendF64(a.sum[group])
	return nil
}

func (a *sumFloat) Clear(group int32) { a.sum[group], a.has[group] = 0, false }

func (a *sumFloat) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.has[:n])
	e.floats(a.sum[:n])
	return e.flush()
}

func (a *sumFloat) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.has = d.bools(n)
	a.sum = d.floats(n)
	return d.err
}

func (a *sumFloat) Bytes() int { return 9 * len(a.sum) }

// avgFloat is the mean as DOUBLE, also of integers, as Spark does it.
type avgFloat struct {
	sum []float64
	n   []int64
}

func (a *avgFloat) Grow(n int) { a.sum, a.n = growTo(a.sum, n), growTo(a.n, n) }

func (a *avgFloat) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	if arg := args[0]; arg.Type.Kind.Storage() == column.StoreI64 {
		addMean(a.sum, a.n, groups, arg, arg.I64, sel)
	} else if arg.F64 != nil {
		addMean(a.sum, a.n, groups, arg, arg.F64, sel)
	}
}

func addMean[T int64 | float64](sum []float64, n []int64, groups []int32, arg *column.Column, v []T, sel []int32) {
	n = n[:len(sum)]
	switch {
	case arg.HasNulls():
		for i, g := range groups {
			if row := rowAt(sel, i); !arg.IsNull(row) {
				sum[g] += float64(v[row])
				n[g]++
			}
		}
	case sel == nil:
		v = v[:len(groups)]
		for i, g := range groups {
			sum[g] += float64(v[i])
			n[g]++
		}
	default:
		sel = sel[:len(groups)]
		for i, g := range groups {
			sum[g] += float64(v[sel[i]])
			n[g]++
		}
	}
}

func (a *avgFloat) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*avgFloat)
	if !ok {
		return mismatch(a, other)
	}
	a.sum[into] += o.sum[from]
	a.n[into] += o.n[from]
	return nil
}

func (a *avgFloat) Value(group int32, out *column.Column) error {
	if a.n[group] == 0 {
		out.AppendNull()
		return nil
	}
	out.AppendF64(a.sum[group] / float64(a.n[group]))
	return nil
}

func (a *avgFloat) Clear(group int32) { a.sum[group], a.n[group] = 0, 0 }

func (a *avgFloat) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.ints(a.n[:n])
	e.floats(a.sum[:n])
	return e.flush()
}

func (a *avgFloat) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.n = d.ints(n)
	d.positive(nil, a.n)
	a.sum = d.floats(n)
	return d.err
}

func (a *avgFloat) Bytes() int { return 16 * len(a.sum) }
