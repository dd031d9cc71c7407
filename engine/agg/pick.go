package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func pickEntries() []entry {
	e := func(name, doc, example string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x [, ignoreNulls])", Doc: doc, Example: example}, bind: bindPick, min: 1, max: 2}
	}
	return []entry{
		e("first", "Value of the first row, in order of arrival.", "first(route)"),
		e("first_value", "The same as first.", "first_value(route)"),
		e("any_value", "Some value of the group: the first.", "any_value(route)"),
		e("last", "Value of the last row, in order of arrival.", "last(route)"),
		e("last_value", "The same as last.", "last_value(route)"),
	}
}

func bindPick(c *call) (Func, error) {
	ignore := c.opt.IgnoreNulls
	if len(c.args) == 2 {
		d, err := c.constant(1, "flag")
		if err != nil {
			return nil, err
		}
		if c.args[1].Type().Kind != column.Boolean || d.Null {
			return nil, c.typeError(1, "a BOOLEAN constant")
		}
		ignore = ignore || d.I != 0
	}
	t, last := c.args[0].Type(), c.name == "last" || c.name == "last_value"
	return c.fn(t, func() Accumulator { return &pickAcc{vals: newCells(t), last: last, ignore: ignore} })
}

// pickAcc keeps the first or the last value, which may be NULL.
type pickAcc struct {
	vals   cells
	seen   []bool
	last   bool
	ignore bool // NULLs do not count
}

func (a *pickAcc) Grow(n int) {
	a.vals.grow(n)
	a.seen = growTo(a.seen, n)
}

func (a *pickAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	for i, g := range groups {
		if a.seen[g] && !a.last {
			continue
		}
		row := rowAt(sel, i)
		if a.ignore && arg.IsNull(row) {
			continue
		}
		a.vals.set(g, arg, row)
		a.seen[g] = true
	}
}

func (a *pickAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*pickAcc)
	if !ok || o.last != a.last {
		return mismatch(a, other)
	}
	if o.seen[from] && (a.last || !a.seen[into]) {
		a.vals.copy(into, &o.vals, from)
		a.seen[into] = true
	}
	return nil
}

func (a *pickAcc) Value(group int32, out *column.Column) error {
	a.vals.appendTo(group, out)
	return nil
}

func (a *pickAcc) Clear(group int32) {
	a.vals.clear(group)
	a.seen[group] = false
}

func (a *pickAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.seen[:n])
	a.vals.encode(e, n)
	return e.flush()
}

func (a *pickAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.seen = d.bools(n)
	a.vals.decode(d, n)
	return d.err
}

func (a *pickAcc) Bytes() int { return a.vals.bytes() + len(a.seen) }
