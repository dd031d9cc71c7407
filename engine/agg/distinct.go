package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// distinctFunc gives each combination of arguments to the inner aggregate once per group.
type distinctFunc struct {
	Func
	types []column.Type
}

func distinctOf(f Func, args []expr.Expr) Func {
	d := &distinctFunc{Func: f}
	for _, a := range args {
		d.types = append(d.types, a.Type())
	}
	return d
}

func (f *distinctFunc) New() Accumulator {
	types := append([]column.Type{column.Of(column.BigInt)}, f.types...)
	a := &distinctAcc{inner: f.Func.New(), types: f.types, seen: NewGroupTable(types)}
	for _, t := range f.types {
		a.floats = a.floats || hasFloat(t)
	}
	return a
}

// distinctAcc remembers (group, arguments) in one table; the entries of a group
// are a chain through it, in order of first use.
type distinctAcc struct {
	inner  Accumulator
	types  []column.Type
	seen   *GroupTable
	chains chains
	floats bool // an argument may contain floats

	// scratch: entries, groups and rows of first occurrences
	keys   *column.Column
	cols   []*column.Column
	ids    []int32
	firsts []int32
	fresh  []int32
	rows   []int32
}

func (a *distinctAcc) Grow(n int) {
	a.inner.Grow(n)
	a.chains.grow(n)
}

func (a *distinctAcc) Add(ctx *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	if len(groups) == 0 {
		return
	}
	a.groupColumn(groups, args[0].Len(), sel)
	a.cols = append(append(a.cols[:0], a.keys), args...)
	a.fresh, a.rows, a.firsts = a.fresh[:0], a.rows[:0], a.firsts[:0]
	a.ids = a.seen.Groups(a.cols, sel, a.ids)
	for i, id := range a.ids {
		if a.chains.link(groups[i], id) {
			a.fresh = append(a.fresh, groups[i])
			a.rows = append(a.rows, int32(rowAt(sel, i)))
			a.firsts = append(a.firsts, id)
		}
	}
	if a.floats {
		a.addKeys(ctx, len(args))
		return
	}
	a.inner.Add(ctx, a.fresh, args, a.rows)
}

// addKeys gives the inner aggregate the values as the table keeps them, with
// one zero and one NaN, so that it does not matter which came first.
func (a *distinctAcc) addKeys(ctx *expr.Context, n int) {
	keys := make([]*column.Column, 1+n)
	keys[0] = column.New(column.Of(column.BigInt), len(a.fresh))
	for i, t := range a.types {
		keys[1+i] = column.New(t, len(a.fresh))
	}
	a.seen.AppendKeys(a.firsts, keys)
	own := expr.NewContext()
	a.inner.Add(own, a.fresh, keys[1:], nil)
	for _, e := range own.Errors {
		ctx.Fail(a.rows[e.Row], e.Err)
	}
}

// hasFloat reports whether values of a type may contain a float.
func hasFloat(t column.Type) bool {
	if t.Kind.Storage() == column.StoreF64 {
		return true
	}
	for _, f := range t.Fields {
		if hasFloat(f.Type) {
			return true
		}
	}
	return t.Elem != nil && hasFloat(*t.Elem) || t.Key != nil && hasFloat(*t.Key)
}

// groupColumn makes the group a key column beside the arguments.
func (a *distinctAcc) groupColumn(groups []int32, rows int, sel []int32) {
	if a.keys == nil {
		a.keys = column.New(column.Of(column.BigInt), rows)
	}
	a.keys.Resize(rows)
	for i, g := range groups {
		a.keys.I64[rowAt(sel, i)] = int64(g)
	}
}

func (a *distinctAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*distinctAcc)
	if !ok {
		return mismatch(a, other)
	}
	var entries []int32
	for e := o.chains.first(from); e >= 0; e = o.chains.following(e) {
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	cols := []*column.Column{column.New(column.Of(column.BigInt), 0)}
	for _, t := range a.types {
		cols = append(cols, column.New(t, len(entries)))
	}
	o.seen.AppendKeys(entries, cols)
	groups := make([]int32, len(entries))
	for i := range groups {
		groups[i] = into
	}
	ctx := &expr.Context{}
	a.Add(ctx, groups, cols[1:], nil)
	if len(ctx.Errors) > 0 {
		return ctx.Errors[0].Err
	}
	return nil
}

func (a *distinctAcc) Value(group int32, out *column.Column) error {
	return a.inner.Value(group, out)
}

func (a *distinctAcc) Clear(group int32) {
	a.inner.Clear(group)
	for e := a.chains.first(group); e >= 0; {
		next := a.chains.following(e)
		a.seen.Remove(e)
		a.chains.unlink(e)
		e = next
	}
	a.chains.clear(group)
}

func (a *distinctAcc) Encode(w io.Writer, n int) error {
	if err := a.seen.Encode(w); err != nil {
		return err
	}
	if err := a.chains.encode(w, n); err != nil {
		return err
	}
	return a.inner.Encode(w, n)
}

func (a *distinctAcc) Decode(r io.Reader, n int) error {
	if err := a.seen.Decode(r); err != nil {
		return err
	}
	if err := a.chains.decode(r, n, a.seen.Len()); err != nil {
		return err
	}
	return a.inner.Decode(r, n)
}

func (a *distinctAcc) Bytes() int {
	return a.seen.Bytes() + a.chains.bytes(a.seen.Live()) + a.inner.Bytes()
}
