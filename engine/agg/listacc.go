package agg

import (
	"io"
	"math"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// listAcc keeps the values of each group and computes the result from them at the end.
type listAcc struct {
	lists  lists
	stored int  // how many of the arguments are stored, from first on
	first  int  // first stored argument
	nulls  bool // rows whose first stored argument is NULL are kept, too
	value  valueOf
}

// valueOf computes a result from the rows of a group.
type valueOf func(a *listAcc, slots []int32, out *column.Column) error

// listFn makes the Func of an aggregate over lists of its arguments first..first+stored-1.
func (c *call) listFn(t column.Type, first, stored int, value valueOf) (Func, error) {
	types := make([]column.Type, stored)
	for i := range types {
		types[i] = c.args[first+i].Type()
	}
	return c.fn(t, func() Accumulator {
		return &listAcc{lists: newLists(types...), first: first, stored: stored, value: value}
	})
}

func (a *listAcc) Grow(n int) { a.lists.grow(n) }

func (a *listAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	cols := args[a.first : a.first+a.stored]
	for i, g := range groups {
		row := rowAt(sel, i)
		if a.nulls || !cols[0].IsNull(row) {
			a.lists.add(g, cols, row)
		}
	}
}

func (a *listAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*listAcc)
	if !ok || len(o.lists.cells) != len(a.lists.cells) {
		return mismatch(a, other)
	}
	a.lists.merge(into, &o.lists, from)
	return nil
}

func (a *listAcc) Value(group int32, out *column.Column) error {
	return a.value(a, a.lists.of(group), out)
}

func (a *listAcc) Clear(group int32)                    { a.lists.clear(group) }
func (a *listAcc) Encode(w io.Writer, n int) error      { return a.lists.encode(w, n) }
func (a *listAcc) Decode(r io.Reader, n int) error      { return a.lists.decode(r, n) }
func (a *listAcc) Bytes() int                           { return a.lists.bytes() }
func (a *listAcc) datum(cell int, s int32) column.Datum { return a.lists.cells[cell].datum(s) }

// constant reads an argument that must be the same for all rows.
func (c *call) constant(i int, what string) (column.Datum, error) {
	c.args[i] = expr.Fold(c.args[i])
	d, ok := expr.Constant(c.args[i])
	if !ok {
		return d, analysis("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "argument %d of %s, the %s, must be a constant", i+1, c.name, what)
	}
	return d, nil
}

// percentages reads a constant percentage or array of them, each in 0..1.
func (c *call) percentages(i int) (ps []float64, array bool, err error) {
	t := column.Of(column.Double)
	if array = c.args[i].Type().Kind == column.Array; array {
		t = column.ArrayOf(t)
	}
	if err := c.coerce(i, t); err != nil {
		return nil, false, err
	}
	d, err := c.constant(i, "percentage")
	if err != nil {
		return nil, false, err
	}
	all := []column.Datum{d}
	if array && !d.Null {
		all = d.L
	}
	for _, p := range all {
		if p.Null {
			return nil, false, analysis("DATATYPE_MISMATCH.UNEXPECTED_NULL", "42K09", "the percentage of %s must not be NULL", c.name)
		}
		if !(p.F >= 0 && p.F <= 1) {
			return nil, false, analysis("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "the percentage of %s must be between 0 and 1, not %v", c.name, p.F)
		}
		ps = append(ps, p.F)
	}
	return ps, array, nil
}

// appendDoubles appends a DOUBLE, or an array of them.
func appendDoubles(out *column.Column, vs []float64, array bool) {
	if !array {
		out.AppendF64(vs[0])
		return
	}
	d := column.Datum{}
	for _, v := range vs {
		d.L = append(d.L, column.F64(v))
	}
	out.Append(d)
}

// interpolate is Spark's exact percentile: linear between the two values around (n-1)*p.
func interpolate(sorted []float64, p float64) float64 {
	pos := float64(len(sorted)-1) * p
	lo, hi := math.Floor(pos), math.Ceil(pos)
	a, b := sorted[int(lo)], sorted[int(hi)]
	if lo == hi || a == b {
		return a
	}
	x := float64((hi - pos) * a)
	y := float64((pos - lo) * b)
	return x + y
}

// discrete is the first value whose cumulative share reaches p.
func discrete(sorted []float64, p float64) float64 {
	i := int(math.Ceil(float64(float64(len(sorted))*p))) - 1
	return sorted[max(i, 0)]
}
