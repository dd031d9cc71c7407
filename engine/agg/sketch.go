package agg

import (
	"io"
	"math"
	"math/big"
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// maxAccuracy bounds the accuracy of percentile_approx: a group keeps up to
// 4 x accuracy values for each doubling of its rows beyond that number.
const maxAccuracy = 1 << 20

func bindPercentileApprox(c *call) (Func, error) {
	t := c.args[0].Type()
	switch {
	case t.Kind.IsNumeric(), t.Kind == column.Date, t.Kind == column.Timestamp, t.Kind == column.TimestampNTZ,
		t.Kind == column.IntervalDT, t.Kind == column.IntervalYM:
	default:
		if err := c.double(0); err != nil {
			return nil, err
		}
		t = column.Of(column.Double)
	}
	ps, array, err := c.percentages(1)
	if err != nil {
		return nil, err
	}
	accuracy := int64(10000)
	if len(c.args) == 3 {
		if err := c.coerce(2, column.Of(column.BigInt)); err != nil {
			return nil, err
		}
		d, err := c.constant(2, "accuracy")
		if err != nil {
			return nil, err
		}
		accuracy = d.I
		if d.Null || accuracy < 1 || accuracy > math.MaxInt32 {
			return nil, analysis("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "the accuracy of %s must be between 1 and %d", c.name, math.MaxInt32)
		}
	}
	result := t
	if array {
		result = column.ArrayOf(t)
	}
	room := int(4 * min(accuracy, maxAccuracy))
	return c.fn(result, func() Accumulator {
		return &sketchAcc{room: room, ps: ps, array: array, elem: t}
	})
}

// sketch keeps values in levels: a value of level l stands for 2^l rows. A full
// level is sorted and every other value moves up, alternating which, so that
// errors cancel; there is no randomness.
type sketch struct {
	levels [][]float64
	odd    []bool
	n      int64
}

func (s *sketch) add(v float64, level, room int) {
	for len(s.levels) <= level {
		s.levels, s.odd = append(s.levels, nil), append(s.odd, false)
	}
	s.levels[level] = append(s.levels[level], v)
	if len(s.levels[level]) > room {
		s.compact(level, room)
	}
}

func (s *sketch) compact(level, room int) {
	vs := s.levels[level]
	slices.SortFunc(vs, compareFloat)
	keep := len(vs) & 1 // an odd one stays
	at := keep
	if s.odd[level] {
		at++
	}
	s.odd[level] = !s.odd[level]
	for ; at < len(vs); at += 2 {
		s.add(vs[at], level+1, room)
	}
	s.levels[level] = vs[:keep]
}

// quantiles are the values of rank ceil(p*n).
func (s *sketch) quantiles(ps []float64) []float64 {
	type weighted struct {
		v float64
		w int64
	}
	var all []weighted
	total := int64(0)
	for l, vs := range s.levels {
		for _, v := range vs {
			all = append(all, weighted{v, 1 << l})
			total += 1 << l
		}
	}
	slices.SortStableFunc(all, func(a, b weighted) int { return compareFloat(a.v, b.v) })
	out := make([]float64, len(ps))
	for i, p := range ps {
		rank := max(int64(math.Ceil(float64(p*float64(total)))), 1)
		for _, w := range all {
			out[i] = w.v
			if rank -= w.w; rank <= 0 {
				break
			}
		}
	}
	return out
}

// sketchAcc computes percentile_approx.
type sketchAcc struct {
	s     []sketch
	room  int
	ps    []float64
	array bool
	elem  column.Type
}

func (a *sketchAcc) Grow(n int) { a.s = growTo(a.s, n) }

func (a *sketchAcc) Add(_ *expr.Context, groups []int32, args []*column.Column, sel []int32) {
	arg := args[0]
	for i, g := range groups {
		row := rowAt(sel, i)
		if arg.IsNull(row) {
			continue
		}
		v := 0.0
		switch arg.Type.Kind.Storage() {
		case column.StoreI64:
			v = float64(arg.I64[row])
		case column.StoreDec: // unscaled: rounded beyond 2^53, as Spark rounds to DOUBLE
			v, _ = new(big.Float).SetInt(bigDec(arg.Dec[row])).Float64()
		default:
			v = arg.F64[row]
		}
		a.s[g].n++
		a.s[g].add(v, 0, a.room)
	}
}

func (a *sketchAcc) Merge(into int32, other Accumulator, from int32) error {
	o, ok := other.(*sketchAcc)
	if !ok || o.room != a.room {
		return mismatch(a, other)
	}
	a.s[into].n += o.s[from].n
	for l, vs := range o.s[from].levels {
		for _, v := range vs {
			a.s[into].add(v, l, a.room)
		}
	}
	return nil
}

func (a *sketchAcc) Value(group int32, out *column.Column) error {
	if a.s[group].n == 0 {
		out.AppendNull()
		return nil
	}
	d := column.Datum{}
	for _, v := range a.s[group].quantiles(a.ps) {
		switch a.elem.Kind.Storage() {
		case column.StoreI64:
			d.L = append(d.L, column.I64(int64(v)))
		case column.StoreDec:
			d.L = append(d.L, decimalOf(v))
		default:
			d.L = append(d.L, column.F64(v))
		}
	}
	if !a.array {
		d = d.L[0]
	}
	out.Append(d)
	return nil
}

// decimalOf is the unscaled decimal of a whole number, NULL when it has more than 128 bits.
func decimalOf(v float64) column.Datum {
	if v != v || math.IsInf(v, 0) {
		return column.NullDatum
	}
	b, _ := big.NewFloat(v).Int(nil)
	d, ok := decOf(b)
	return column.Datum{Dec: d, Null: !ok}
}

func (a *sketchAcc) Clear(group int32) { a.s[group] = sketch{} }

func (a *sketchAcc) Encode(w io.Writer, n int) error {
	e := newEncoder(w)
	for i := range a.s[:n] {
		s := &a.s[i]
		e.varint(s.n)
		e.uvarint(uint64(len(s.levels)))
		for l, vs := range s.levels {
			e.bools(s.odd[l : l+1])
			e.uvarint(uint64(len(vs)))
			e.floats(vs)
		}
	}
	return e.flush()
}

func (a *sketchAcc) Decode(r io.Reader, n int) error {
	d := newDecoder(r)
	a.s = nil
	for i := 0; i < n && d.err == nil; i++ {
		s := sketch{n: d.varint()}
		levels := d.count()
		if levels > 63 {
			d.fail("a sketch of more than 63 levels")
		}
		for l := 0; l < levels && d.err == nil; l++ {
			s.odd = append(s.odd, d.bools(1)...)
			s.levels = append(s.levels, d.floats(d.count()))
		}
		a.s = append(a.s, s)
	}
	return d.err
}

func (a *sketchAcc) Bytes() int {
	n := 56 * len(a.s)
	for i := range a.s {
		for _, vs := range a.s[i].levels {
			n += 24 + 8*len(vs)
		}
	}
	return n
}
