package agg

import (
	"fmt"
	"slices"
)

// copier is an accumulator whose groups are elements of plain arrays: a range
// of them is copied without looking at each.
type copier interface {
	Accumulator
	// copyRange copies groups from..from+n-1 of o to groups at..at+n-1; false when o is of another kind.
	copyRange(at int, o Accumulator, from, n int) bool
}

// CopyGroups copies groups from..from+n-1 of src to groups at..at+n-1 of dst.
// Both are of the same Func, have these groups, and those of dst are empty.
func CopyGroups(dst Accumulator, at int, src Accumulator, from, n int) error {
	if c, ok := dst.(copier); ok {
		if !c.copyRange(at, src, from, n) {
			return mismatch(dst, src)
		}
		return nil
	}
	for i := range n {
		if err := dst.Merge(int32(at+i), src, int32(from+i)); err != nil {
			return fmt.Errorf("agg: copying group %d: %w", from+i, err)
		}
	}
	return nil
}

func copyN[T any](dst []T, at int, src []T, from, n int) {
	if len(dst) > 0 {
		copy(dst[at:at+n], src[from:from+n])
	}
}

func (a *sumFloat) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*sumFloat)
	if ok {
		copyN(a.sum, at, o.sum, from, n)
		copyN(a.has, at, o.has, from, n)
	}
	return ok
}

func (a *avgFloat) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*avgFloat)
	if ok {
		copyN(a.sum, at, o.sum, from, n)
		copyN(a.n, at, o.n, from, n)
	}
	return ok
}

func (a *sumInt) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*sumInt)
	if !ok || o.mean != a.mean || o.try != a.try {
		return false
	}
	copyN(a.sum, at, o.sum, from, n)
	copyN(a.has, at, o.has, from, n)
	copyN(a.n, at, o.n, from, n)
	copyN(a.broken, at, o.broken, from, n)
	a.bound.raise(o.bound.most)
	return true
}

func (a *sumDec) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*sumDec)
	if ok {
		copyN(a.vals, at, o.vals, from, n)
		copyN(a.n, at, o.n, from, n)
		copyN(a.broken, at, o.broken, from, n)
		a.bound.raise(o.bound.most)
	}
	return ok
}

func (a *countAcc) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*countAcc)
	if ok {
		copyN(a.n, at, o.n, from, n)
	}
	return ok
}

func (a *extremeInt) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*extremeInt)
	if ok {
		copyN(a.val, at, o.val, from, n)
		copyN(a.has, at, o.has, from, n)
	}
	return ok
}

func (a *extremeFloat) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*extremeFloat)
	if ok {
		copyN(a.val, at, o.val, from, n)
		copyN(a.has, at, o.has, from, n)
	}
	return ok
}

func (a *momentAcc) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*momentAcc)
	if ok {
		copyN(a.s, at, o.s, from, n)
	}
	return ok
}

// copyRange copies values that are there; texts one by one.
func (c *cells) copyRange(at int, o *cells, from, n int) {
	if len(o.raw.refs) > 0 {
		for i := range n {
			c.copy(int32(at+i), o, int32(from+i))
		}
		return
	}
	copyN(c.has, at, o.has, from, n)
	copyN(c.i64, at, o.i64, from, n)
	copyN(c.f64, at, o.f64, from, n)
	copyN(c.dec, at, o.dec, from, n)
}

func (a *byAcc) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*byAcc)
	if ok {
		a.vals.copyRange(at, &o.vals, from, n)
		a.keys.copyRange(at, &o.keys, from, n)
	}
	return ok
}

func (a *extremeAny) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*extremeAny)
	if ok {
		a.vals.copyRange(at, &o.vals, from, n)
	}
	return ok
}

func (a *pickAcc) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*pickAcc)
	if ok {
		a.vals.copyRange(at, &o.vals, from, n)
		copyN(a.seen, at, o.seen, from, n)
	}
	return ok
}

// copyRange copies the levels as they are: merging would forget which half a level drops next.
func (a *sketchAcc) copyRange(at int, other Accumulator, from, n int) bool {
	o, ok := other.(*sketchAcc)
	if !ok || o.room != a.room {
		return false
	}
	for i := range n {
		x := o.s[from+i]
		levels := make([][]float64, len(x.levels))
		for l, vs := range x.levels {
			levels[l] = slices.Clone(vs)
		}
		a.s[at+i] = sketch{levels: levels, odd: slices.Clone(x.odd), n: x.n}
	}
	return true
}
