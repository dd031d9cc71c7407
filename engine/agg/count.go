package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func countEntries() []entry {
	return []entry{
		{Info: Info{Name: "count", Signature: "count(*) | count(expr, …)", Doc: "Number of rows, or of rows where no argument is NULL.", Example: "count(*)"},
			bind: bindCount, max: -1},
		{Info: Info{Name: "count_if", Signature: "count_if(condition)", Doc: "Number of rows where the condition is true.", Example: "count_if(passengers > 50)"},
			bind: bindCountIf, min: 1, max: 1},
	}
}

func bindCount(c *call) (Func, error) {
	if c.opt.Distinct && len(c.args) == 0 {
		return nil, analysis("INVALID_USAGE_OF_STAR_OR_REGEX", "42000", "count(DISTINCT *) needs columns: write count(DISTINCT a, b)")
	}
	return c.fn(column.Of(column.BigInt), func() Accumulator { return &countAcc{} })
}

func bindCountIf(c *call) (Func, error) {
	if err := c.coerce(0, column.Of(column.Boolean)); err != nil {
		return nil, err
	}
	return c.fn(column.Of(column.BigInt), func() Accumulator { return &countAcc{onlyTrue: true} })
}

// countAcc counts rows without NULL arguments, or with a true argument.
type countAcc struct {
	n        []int64
	onlyTrue bool
}

func (a *countAcc) Grow(n int) { a.n = growTo(a.n, n) }

func (a *countAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	n := a.n
	if a.onlyTrue {
		a.addTrue(groups, args[0], sel)
		return
	}
	if !anyNulls(args) {
		for _, g := range groups {
			n[g]++
		}
		return
	}
rows:
	for i, g := range groups {
		row := rowAt(sel, i)
		for _, c := range args {
			if c.IsNull(row) {
				continue rows
			}
		}
		n[g]++
	}
}

func (a *countAcc) addTrue(groups []int32, arg *column.Column, sel []int32) {
	nulls := arg.HasNulls()
	for i, g := range groups {
		row := rowAt(sel, i)
		if nulls && arg.IsNull(row) {
			continue
		}
		a.n[g] += arg.I64[row]
	}
}

func anyNulls(args []*column.Column) bool {
	for _, c := range args {
		if c.HasNulls() {
			return true
		}
	}
	return false
}

func (a *countAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*countAcc)
	if !ok {
		return mismatch(a, other)
	}
	a.n[into] += o.n[from]
	return nil
}

func (a *countAcc) Value(group int32, out *column.Column) error {
	out.AppendI64(a.n[group])
	return nil
}

func (a *countAcc) Clear(group int32) { a.n[group] = 0 }

func (a *countAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.counts(a.n[:n])
	return e.flush()
}

func (a *countAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.n = d.counts(n)
	return d.err
}

func (a *countAcc) Bytes() int { return 8 * len(a.n) }
