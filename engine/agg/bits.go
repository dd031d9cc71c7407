package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

func bitEntries() []entry {
	e := func(name, doc string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x)", Doc: doc, Example: name + "(flags)"}, bind: bindBits, min: 1, max: 1}
	}
	return []entry{
		e("bit_and", "Bitwise AND of the integers that are not NULL."),
		e("bit_or", "Bitwise OR of the integers that are not NULL."),
		e("bit_xor", "Bitwise XOR of the integers that are not NULL."),
	}
}

func bindBits(c *call) (Func, error) {
	if k := c.args[0].Type().Kind; k == column.String || k == column.Void {
		if err := c.coerce(0, column.Of(column.BigInt)); err != nil {
			return nil, err
		}
	} else if !k.IsIntegral() {
		return nil, c.typeError(0, "an integer")
	}
	op := c.name[len("bit_")]
	return c.fn(c.args[0].Type(), func() Accumulator { return &bitAcc{op: op} })
}

// bitAcc folds integers bit by bit; op is the first letter of and, or, xor.
type bitAcc struct {
	val []int64
	has []bool
	op  byte
}

func (a *bitAcc) Grow(n int) { a.val, a.has = growTo(a.val, n), growTo(a.has, n) }

func (a *bitAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	for i, g := range groups {
		if row := rowAt(sel, i); !args[0].IsNull(row) {
			a.add(g, args[0].I64[row])
		}
	}
}

func (a *bitAcc) add(g int32, v int64) {
	switch {
	case !a.has[g]:
		a.val[g], a.has[g] = v, true
	case a.op == 'a':
		a.val[g] &= v
	case a.op == 'o':
		a.val[g] |= v
	default:
		a.val[g] ^= v
	}
}

func (a *bitAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*bitAcc)
	if !ok || o.op != a.op {
		return mismatch(a, other)
	}
	if o.has[from] {
		a.add(into, o.val[from])
	}
	return nil
}

func (a *bitAcc) Value(group int32, out *column.Column) error {
	if !a.has[group] {
		out.AppendNull()
		return nil
	}
	out.AppendI64(a.val[group])
	return nil
}

func (a *bitAcc) Clear(group int32) { a.val[group], a.has[group] = 0, false }

func (a *bitAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	e.bools(a.has[:n])
	e.ints(a.val[:n])
	return e.flush()
}

func (a *bitAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.has, a.val = d.bools(n), d.ints(n)
	return d.err
}

func (a *bitAcc) Bytes() int { return 9 * len(a.val) }
