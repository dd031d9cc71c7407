package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func minMaxEntries() []entry {
	return []entry{
		{Info: Info{Name: "min", Signature: "min(x)", Doc: "Smallest value that is not NULL; NaN is the largest.", Example: "min(speed)"},
			bind: bindMinMax, min: 1, max: 1},
		{Info: Info{Name: "max", Signature: "max(x)", Doc: "Largest value that is not NULL; NaN is the largest.", Example: "max(speed)"},
			bind: bindMinMax, min: 1, max: 1},
		{Info: Info{Name: "bool_and", Signature: "bool_and(condition)", Doc: "True when no value is false.", Example: "bool_and(doors_closed)"},
			bind: bindBool, min: 1, max: 1},
		{Info: Info{Name: "every", Signature: "every(condition)", Doc: "The same as bool_and.", Example: "every(doors_closed)"},
			bind: bindBool, min: 1, max: 1},
		{Info: Info{Name: "bool_or", Signature: "bool_or(condition)", Doc: "True when any value is true.", Example: "bool_or(alarm)"},
			bind: bindBool, min: 1, max: 1},
		{Info: Info{Name: "some", Signature: "some(condition)", Doc: "The same as bool_or.", Example: "some(alarm)"},
			bind: bindBool, min: 1, max: 1},
		{Info: Info{Name: "any", Signature: "any(condition)", Doc: "The same as bool_or.", Example: "any(alarm)"},
			bind: bindBool, min: 1, max: 1},
	}
}

func bindMinMax(c *call) (Func, error) {
	if err := c.orderable(0); err != nil {
		return nil, err
	}
	return c.extreme(c.name == "max")
}

func bindBool(c *call) (Func, error) {
	if k := c.args[0].Type().Kind; k != column.Boolean && k != column.Void {
		return nil, c.typeError(0, "a BOOLEAN")
	}
	if err := c.coerce(0, column.Of(column.Boolean)); err != nil {
		return nil, err
	}
	return c.extreme(c.name != "bool_and" && c.name != "every")
}

func (c *call) extreme(largest bool) (Func, error) {
	t := c.args[0].Type()
	switch t.Kind.Storage() {
	case column.StoreI64:
		return c.fn(t, func() Accumulator { return &extremeInt{largest: largest} })
	case column.StoreF64:
		return c.fn(t, func() Accumulator { return &extremeFloat{largest: largest} })
	}
	return c.fn(t, func() Accumulator { return &extremeAny{vals: newCells(t), largest: largest} })
}

// extremeInt is min or max of a kind stored in I64.
type extremeInt struct {
	val     []int64
	has     []bool
	largest bool
}

func (a *extremeInt) Grow(n int) { a.val, a.has = growTo(a.val, n), growTo(a.has, n) }

func (a *extremeInt) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	switch {
	case arg.HasNulls():
		for i, g := range groups {
			if row := rowAt(sel, i); !arg.IsNull(row) {
				a.add(g, arg.I64[row])
			}
		}
	case sel != nil:
		for i, g := range groups {
			a.add(g, arg.I64[sel[i]])
		}
	case a.largest:
		v, val, has := arg.I64[:len(groups)], a.val, a.has[:len(a.val)]
		for i, g := range groups {
			if x := v[i]; x > val[g] || !has[g] {
				val[g], has[g] = x, true
			}
		}
	default:
		v, val, has := arg.I64[:len(groups)], a.val, a.has[:len(a.val)]
		for i, g := range groups {
			if x := v[i]; x < val[g] || !has[g] {
				val[g], has[g] = x, true
			}
		}
	}
}

func (a *extremeInt) add(g int32, x int64) {
	if !a.has[g] || a.largest && x > a.val[g] || !a.largest && x < a.val[g] {
		a.val[g], a.has[g] = x, true
	}
}

func (a *extremeInt) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*extremeInt)
	if !ok || o.largest != a.largest {
		return mismatch(a, other)
	}
	if o.has[from] {
		a.add(into, o.val[from])
	}
	return nil
}

func (a *extremeInt) Value(group int32, out *column.Column) error {
	if !a.has[group] {
		out.AppendNull()
		return nil
	}
	out.AppendI64(a.val[group])
	return nil
}

func (a *extremeInt) Clear(group int32) { a.val[group], a.has[group] = 0, false }

func (a *extremeInt) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.has[:n])
	e.ints(a.val[:n])
	return e.flush()
}

func (a *extremeInt) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.has, a.val = d.bools(n), d.ints(n)
	return d.err
}

func (a *extremeInt) Bytes() int { return 9 * len(a.val) }

// extremeFloat is min or max of FLOAT and DOUBLE. Of equal zeros the first stays.
type extremeFloat struct {
	val     []float64
	has     []bool
	largest bool
}

func (a *extremeFloat) Grow(n int) { a.val, a.has = growTo(a.val, n), growTo(a.has, n) }

func (a *extremeFloat) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	switch {
	case arg.HasNulls():
		for i, g := range groups {
			if row := rowAt(sel, i); !arg.IsNull(row) {
				a.add(g, arg.F64[row])
			}
		}
	case sel != nil:
		for i, g := range groups {
			a.add(g, arg.F64[sel[i]])
		}
	case a.largest:
		v, val, has := arg.F64[:len(groups)], a.val, a.has[:len(a.val)]
		for i, g := range groups {
			if x := v[i]; x > val[g] || x != x || !has[g] {
				val[g], has[g] = x, true
			}
		}
	default:
		v, val, has := arg.F64[:len(groups)], a.val, a.has[:len(a.val)]
		for i, g := range groups {
			if x := v[i]; x < val[g] || val[g] != val[g] || !has[g] {
				val[g], has[g] = x, true
			}
		}
	}
}

func (a *extremeFloat) add(g int32, x float64) {
	if !a.has[g] {
		a.val[g], a.has[g] = x, true
		return
	}
	if c := compareFloat(x, a.val[g]); a.largest && c > 0 || !a.largest && c < 0 {
		a.val[g] = x
	}
}

func (a *extremeFloat) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*extremeFloat)
	if !ok || o.largest != a.largest {
		return mismatch(a, other)
	}
	if o.has[from] {
		a.add(into, o.val[from])
	}
	return nil
}

func (a *extremeFloat) Value(group int32, out *column.Column) error {
	if !a.has[group] {
		out.AppendNull()
		return nil
	}
	out.AppendF64(a.val[group])
	return nil
}

func (a *extremeFloat) Clear(group int32) { a.val[group], a.has[group] = 0, false }

func (a *extremeFloat) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.has[:n])
	e.floats(a.val[:n])
	return e.flush()
}

func (a *extremeFloat) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.has, a.val = d.bools(n), d.floats(n)
	return d.err
}

func (a *extremeFloat) Bytes() int { return 9 * len(a.val) }

// extremeAny is min or max of every other type.
type extremeAny struct {
	vals    cells
	largest bool
}

func (a *extremeAny) Grow(n int) { a.vals.grow(n) }

func (a *extremeAny) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	for i, g := range groups {
		row := rowAt(sel, i)
		if arg.IsNull(row) {
			continue
		}
		if !a.vals.has[g] || a.better(-a.vals.compare(g, arg, row)) {
			a.vals.set(g, arg, row)
		}
	}
}

// better takes how the new value compares to the kept one.
func (a *extremeAny) better(c int) bool { return a.largest && c > 0 || !a.largest && c < 0 }

func (a *extremeAny) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*extremeAny)
	if !ok || o.largest != a.largest || !o.vals.typ.Equal(a.vals.typ) {
		return mismatch(a, other)
	}
	if o.vals.has[from] && (!a.vals.has[into] || a.better(o.vals.compareCell(from, &a.vals, into))) {
		a.vals.copy(into, &o.vals, from)
	}
	return nil
}

func (a *extremeAny) Value(group int32, out *column.Column) error {
	a.vals.appendTo(group, out)
	return nil
}

func (a *extremeAny) Clear(group int32) { a.vals.clear(group) }

func (a *extremeAny) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	a.vals.encode(e, n)
	return e.flush()
}

func (a *extremeAny) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.vals.decode(d, n)
	return d.err
}

func (a *extremeAny) Bytes() int { return a.vals.bytes() }
