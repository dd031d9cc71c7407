package agg

import (
	"math"
	"math/bits"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Guarded is an accumulator whose Add fails for a row that does not fit. A row
// that fails must leave no trace in any aggregate of its query, so whoever has
// several asks first: usually Announce and Bound show for all rows at once that
// nothing can fail, else Fits tells for one row. Sums are told as parts of what
// fits: at 1 and beyond they do not.
type Guarded interface {
	Accumulator
	// Announce tells that rows will be added, at most these, before anything else is; it
	// returns how much they can add to a group, and raises Bound by that.
	Announce(args []*column.Column, sel []int32, rows int) float64
	// Bound is not less than the sum of any group.
	Bound() float64
	// Peak is not less than the sum of any of these groups, and close to it.
	Peak(groups []int32) float64
	// Fits returns why a row cannot be added to a group, nil when it can.
	Fits(group int32, args []*column.Column, row int) *expr.Error
	// Measure makes Bound as low as the groups allow.
	Measure()
	// Widen makes sums too long for their type possible while groups are merged;
	// Value tells whether the result fits. For scratch.
	Widen()
}

// Full is the part of what fits that sums are considered safe up to: the parts are rounded.
const Full = 0.999

// GuardOf returns a as a Guarded when its Add can fail.
func GuardOf(a Accumulator) (Guarded, bool) {
	switch x := a.(type) {
	case *sumInt:
		return x, !x.try
	case *sumDec:
		return x, !x.try
	case *distinctAcc:
		_, ok := GuardOf(x.inner)
		return x, ok
	}
	return nil, false
}

// Widen lets an accumulator merge sums whose order would make them overflow on the way; others it leaves alone.
func Widen(a Accumulator) {
	switch x := a.(type) {
	case *sumInt:
		x.Widen()
	case *sumDec:
		x.Widen()
	case *distinctAcc:
		x.Widen()
	}
}

// bound knows how large the sum of any group can be, without looking at the groups.
type bound struct {
	most      float64 // part of what fits
	announced bool    // rows about to be added are in most
	since     int     // rows since it was measured
}

// measureFrom is the bound from which it is worth measuring.
const measureFrom = 1.0 / (1 << 20)

func (b *bound) announce(part float64, rows, groups int, measure func()) {
	if b.since += rows; b.most+part > measureFrom && b.since >= groups {
		measure()
	}
	b.most += part
	b.announced = true
}

// adding is called by Add: rows that nobody announced may have made any sum.
func (b *bound) adding() {
	if !b.announced {
		b.most = math.Inf(1)
	}
	b.announced = false
}

func (b *bound) raise(part float64) { b.most = max(b.most, part) }

func (b *bound) set(part float64) { b.most, b.since = part, 0 }

// intLimit is the number that sums must stay below.
func (a *sumInt) intLimit() float64 {
	if a.months {
		return 1 << 31
	}
	return 1 << 63
}

// Announce looks at the longest value only.
func (a *sumInt) Announce(args []*column.Column, sel []int32, rows int) float64 {
	v, m := args[0].I64, int64(0)
	if args[0].HasNulls() {
		for i := range rows {
			if row := rowAt(sel, i); !args[0].IsNull(row) {
				m |= v[row] ^ v[row]>>63
			}
		}
	} else if sel == nil {
		m = bitsOf(v[:rows])
	} else {
		for _, r := range sel {
			x := v[r]
			m |= x ^ x>>63
		}
	}
	part := float64(math.Ldexp(1, bits.Len64(uint64(m)))*float64(rows)) / a.intLimit()
	a.bound.announce(part, rows, len(a.sum), a.Measure)
	return part
}

// bitsOf is a value with as many bits as the one of v that is farthest from 0;
// four at a time, because one chain of ORs would wait for itself.
func bitsOf(v []int64) int64 {
	var a, b, c, d int64
	for len(v) >= 4 {
		a |= v[0] ^ v[0]>>63
		b |= v[1] ^ v[1]>>63
		c |= v[2] ^ v[2]>>63
		d |= v[3] ^ v[3]>>63
		v = v[4:]
	}
	for _, x := range v {
		a |= x ^ x>>63
	}
	return a | b | c | d
}

func (a *sumInt) Bound() float64 { return a.bound.most }

func (a *sumInt) Peak(groups []int32) float64 {
	most := 0.0
	for _, g := range groups {
		most = max(most, math.Abs(float64(a.sum[g])))
	}
	return most / a.intLimit()
}

func (a *sumInt) Measure() {
	m := bitsOf(a.sum)
	a.bound.set(math.Ldexp(1, bits.Len64(uint64(m))) / a.intLimit())
	if m == 0 {
		a.bound.set(0)
	}
}

func (a *sumInt) Fits(group int32, args []*column.Column, row int) *expr.Error {
	if args[0].IsNull(row) {
		return nil
	}
	x := args[0].I64[row]
	t := a.sum[group] + x
	bad := (a.sum[group]^t)&(x^t) < 0 || a.months && t != int64(int32(t))
	if a.wide != nil {
		hi, lo := addWide(a.wide[group], a.sum[group], x)
		bad = hi != lo>>63 || a.months && lo != int64(int32(lo))
	}
	if bad {
		return errOverflow
	}
	return nil
}

func (a *sumInt) Widen() { a.wide = make([]int64, len(a.sum)) }

// addWide adds x to a number of two words.
func addWide(hi, lo, x int64) (int64, int64) {
	l, carry := bits.Add64(uint64(lo), uint64(x), 0)
	return hi + x>>63 + int64(carry), int64(l)
}

// decAbs is the amount of an unscaled decimal.
func decAbs(v column.Decimal128) float64 {
	hi, lo := uint64(v.Hi), v.Lo
	if v.Hi < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return math.Ldexp(float64(hi), 64) + float64(lo)
}

func (a *sumDec) Announce(args []*column.Column, sel []int32, rows int) float64 {
	most := 0.0
	for i := range rows {
		if row := rowAt(sel, i); !args[0].IsNull(row) {
			most = max(most, decAbs(args[0].Dec[row]))
		}
	}
	part := float64(most*float64(rows)) / a.decLimit()
	a.bound.announce(part, rows, len(a.vals), a.Measure)
	return part
}

func (a *sumDec) decLimit() float64 { return math.Pow10(int(a.sum.Precision)) }

func (a *sumDec) Bound() float64 { return a.bound.most }

func (a *sumDec) Peak(groups []int32) float64 {
	most := 0.0
	for _, g := range groups {
		most = max(most, decAbs(a.vals[g]))
	}
	return most / a.decLimit()
}

func (a *sumDec) Measure() {
	most := 0.0
	for _, v := range a.vals {
		most = max(most, decAbs(v))
	}
	a.bound.set(most / a.decLimit())
}

func (a *sumDec) Fits(group int32, args []*column.Column, row int) *expr.Error {
	if args[0].IsNull(row) {
		return nil
	}
	x := args[0].Dec[row]
	t, ok := addDec(a.vals[group], x)
	if a.wide != nil {
		var hi int64
		hi, t = addWideDec(a.wide[group], a.vals[group], x)
		ok = hi == t.Hi>>63
	}
	if !ok || !fitsDec(t, a.sum.Precision) {
		return errOverflow
	}
	return nil
}

func (a *sumDec) Widen() { a.wide = make([]int64, len(a.vals)) }

// addWideDec adds x to a number of three words.
func addWideDec(hi int64, v, x column.Decimal128) (int64, column.Decimal128) {
	lo, carry := bits.Add64(v.Lo, x.Lo, 0)
	mid, carry := bits.Add64(uint64(v.Hi), uint64(x.Hi), carry)
	return hi + x.Hi>>63 + int64(carry), column.Decimal128{Hi: int64(mid), Lo: lo}
}

func (a *distinctAcc) guard() Guarded {
	g, _ := GuardOf(a.inner)
	return g
}

func (a *distinctAcc) Announce(args []*column.Column, sel []int32, rows int) float64 {
	return a.guard().Announce(args, sel, rows)
}

func (a *distinctAcc) Bound() float64              { return a.guard().Bound() }
func (a *distinctAcc) Peak(groups []int32) float64 { return a.guard().Peak(groups) }
func (a *distinctAcc) Measure()                    { a.guard().Measure() }
func (a *distinctAcc) Widen()                      { Widen(a.inner) }

// Fits looks for the value first: one that the group has seen adds nothing.
func (a *distinctAcc) Fits(group int32, args []*column.Column, row int) *expr.Error {
	one := []int32{int32(row)}
	a.groupColumn([]int32{group}, args[0].Len(), one)
	a.cols = append(append(a.cols[:0], a.keys), args...)
	if a.ids = a.seen.Find(a.cols, one, a.ids); a.ids[0] >= 0 {
		return nil
	}
	return a.guard().Fits(group, args, row)
}
