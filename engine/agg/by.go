package agg

import (
	"io"
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func byEntries() []entry {
	return []entry{
		{Info: Info{Name: "max_by", Signature: "max_by(x, key [, n])", Doc: "Value of x in the row with the largest key; of equal keys the last row counts. With n an array of the values of the n rows with the largest keys.", Example: "max_by(passengers, time)"},
			bind: bindBy, min: 2, max: 3},
		{Info: Info{Name: "min_by", Signature: "min_by(x, key [, n])", Doc: "Value of x in the row with the smallest key; of equal keys the last row counts. With n an array of the values of the n rows with the smallest keys.", Example: "min_by(passengers, time)"},
			bind: bindBy, min: 2, max: 3},
	}
}

func bindBy(c *call) (Func, error) {
	if err := c.orderable(1); err != nil {
		return nil, err
	}
	t, k, largest := c.args[0].Type(), c.args[1].Type(), c.name == "max_by"
	if len(c.args) == 3 {
		return bindFirstBy(c, t, largest)
	}
	return c.fn(t, func() Accumulator { return &byAcc{vals: newCells(t), keys: newCells(k), largest: largest} })
}

// maxBy bounds the n of max_by and min_by.
const maxBy = 100_000

// bindFirstBy is max_by(x, key, n): the rows in order of the key, rows without a key left out.
func bindFirstBy(c *call, t column.Type, largest bool) (Func, error) {
	if err := c.coerce(2, column.Of(column.Int)); err != nil {
		return nil, err
	}
	n, err := c.constant(2, "number of values")
	if err != nil {
		return nil, err
	}
	if n.Null || n.I < 1 || n.I > maxBy {
		return nil, analysis("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "%s: the number of values must be 1 to %d", c.name, maxBy)
	}
	x, k := c.args[0].Type(), c.args[1].Type()
	return c.fn(column.ArrayOf(t), func() Accumulator {
		return &listAcc{lists: newLists(x, k), stored: 2, nulls: true, value: func(a *listAcc, slots []int32, out *column.Column) error {
			slots = slices.DeleteFunc(slices.Clone(slots), func(s int32) bool { return a.datum(1, s).Null })
			if len(slots) == 0 {
				out.AppendNull()
				return nil
			}
			slices.Reverse(slots) // of equal keys the last row comes first
			slices.SortStableFunc(slots, func(p, q int32) int { return a.order([]Order{{Desc: largest}}, 1, p, q) })
			d := column.Datum{L: []column.Datum{}}
			for _, s := range slots[:min(int(n.I), len(slots))] {
				d.L = append(d.L, a.datum(0, s))
			}
			out.Append(d)
			return nil
		}}
	})
}

// byAcc keeps the value of the row with the extreme key.
type byAcc struct {
	vals, keys cells
	largest    bool
}

func (a *byAcc) Grow(n int) {
	a.vals.grow(n)
	a.keys.grow(n)
}

func (a *byAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	x, k := args[0], args[1]
	if a.plain(x, k) {
		a.addPlain(groups, x.I64, k.I64, sel)
		return
	}
	for i, g := range groups {
		row := rowAt(sel, i)
		if k.IsNull(row) {
			continue
		}
		if a.keys.has[g] && a.worse(-a.keys.compare(g, k, row)) {
			continue
		}
		a.keys.set(g, k, row)
		a.vals.set(g, x, row)
	}
}

// worse takes how a new key compares to the kept one. An equal key replaces it, as in Spark.
func (a *byAcc) worse(c int) bool { return a.largest && c < 0 || !a.largest && c > 0 }

// plain is the case of the live view, max_by(BIGINT, TIMESTAMP), without NULLs.
func (a *byAcc) plain(x, k *column.Column) bool {
	return a.vals.typ.Kind.Storage() == column.StoreI64 && a.keys.typ.Kind.Storage() == column.StoreI64 && a.largest && !x.HasNulls() && !k.HasNulls()
}

func (a *byAcc) addPlain(groups []int32, x, k []int64, sel []int32) {
	kept, vals := a.keys.i64, a.vals.i64[:len(a.keys.i64)]
	has, some := a.keys.has[:len(kept)], a.vals.has[:len(kept)]
	for i, g := range groups {
		row := rowAt(sel, i)
		if key := k[row]; key >= kept[g] || !has[g] {
			kept[g], vals[g] = key, x[row]
			has[g], some[g] = true, true
		}
	}
}

func (a *byAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*byAcc)
	if !ok || o.largest != a.largest {
		return mismatch(a, other)
	}
	if !o.keys.has[from] || a.keys.has[into] && a.worse(o.keys.compareCell(from, &a.keys, into)) {
		return nil
	}
	a.keys.copy(into, &o.keys, from)
	a.vals.copy(into, &o.vals, from)
	return nil
}

func (a *byAcc) Value(group int32, out *column.Column) error {
	a.vals.appendTo(group, out)
	return nil
}

func (a *byAcc) Clear(group int32) {
	a.keys.clear(group)
	a.vals.clear(group)
}

func (a *byAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	a.keys.encode(e, n)
	a.vals.encode(e, n)
	return e.flush()
}

func (a *byAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.keys.decode(d, n)
	a.vals.decode(d, n)
	return d.err
}

func (a *byAcc) Bytes() int { return a.keys.bytes() + a.vals.bytes() }
