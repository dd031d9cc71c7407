package pack

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// How a block of floats is written: its first byte.
const (
	asBits    = 0 // the bits as integers in the order of the numbers, without the zeros that all end with
	asDecimal = 1 // m / 10^e, and how many floats lie between that and the value
	asSingle  = 2 // m / 10^e rounded to 32 bits first: a FLOAT
	asBinary  = 3 // m * 2^-k
)

const (
	maxExponent = 15
	maxExact    = 1 << 53 // integers below it are exact as floats
	maxBinary   = 62      // bits of m of asBinary
	maxUlps     = 1 << 24 // beyond it a value is written as it is, beside the column
	sampleLen   = 48
	rawLen      = 9 // bytes of a value beside the column, about
)

// pow10 are exact.
var pow10 = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// order maps the bits of floats to integers in the order of the numbers, one to one.
func order(f float64) int64 {
	b := int64(math.Float64bits(f))
	return b ^ int64(uint64(b>>63)>>1)
}

func unorder(o int64) float64 {
	return math.Float64frombits(uint64(o ^ int64(uint64(o>>63)>>1)))
}

// decimal is the float nearest to m / 10^e.
func decimal(m int64, e int, single bool) float64 {
	f := float64(m) / pow10[e]
	if single {
		return float64(float32(f))
	}
	return f
}

// nearest is the m whose m / 10^e is nearest to f; false when there is no exact m.
func nearest(f float64, e int) (int64, bool) {
	m := math.RoundToEven(float64(f * pow10[e]))
	if !(m > -maxExact && m < maxExact) { // NaN, too
		return 0, false
	}
	return int64(m), true
}

// form is a way to write a block.
type form struct {
	kind byte
	e    int // exponent of ten, or k of asBinary
	cost int // bits of a value, estimated
}

// AppendFloats appends a column of floats. Readings that came from decimals are
// few bits; a sum of such readings is a decimal and a few units of rounding;
// floats of 32 bits and binary fractions are integers over a power of two;
// anything else keeps its bits.
func AppendFloats(dst []byte, v []float64) []byte {
	var s floatScratch
	last := form{}
	for len(v) > 0 {
		block := v[:min(BlockLen, len(v))]
		v = v[len(block):]
		last = s.choose(block, last)
		start := len(dst)
		dst = s.append(dst, block, last)
		if last.kind != asBits && (len(dst)-start)*8 > len(block)*56 { // the sample was not typical
			if other := s.append(nil, block, form{kind: asBits}); len(other) < len(dst)-start {
				dst = append(dst[:start], other...)
			}
		}
	}
	return dst
}

// Floats fills out and returns the bytes behind the column.
func Floats(b []byte, out []float64) ([]byte, error) {
	r := reader{b: b}
	var s floatScratch
	for len(out) > 0 && r.err == nil {
		block := out[:min(BlockLen, len(out))]
		out = out[len(block):]
		r.floats(block, &s)
	}
	return r.b, r.err
}

// floatScratch is memory for one block.
type floatScratch struct {
	m, u [BlockLen]int64
	raw  [BlockLen]bool
}

// choose finds the shortest form of a sample; the exponent of the block before
// is kept while it does as well as there.
func (s *floatScratch) choose(v []float64, last form) form {
	var sample [sampleLen]float64
	x := sample[:min(len(v), sampleLen)]
	single, digits := true, 0
	for i := range x {
		x[i] = v[i*(len(v)-1)/max(1, len(x)-1)]
		single = single && (x[i] != x[i] || float64(float32(x[i])) == x[i])
		if x[i] != x[i] || math.IsInf(x[i], 0) {
			digits++
		}
	}
	best := form{kind: asBits, cost: bitsCost(x)}
	if digits == len(x) {
		return best
	}
	if k, cost := binaryCost(x); cost < best.cost {
		best = form{asBinary, k, cost}
	}
	kinds := []byte{asDecimal, asSingle}
	if !single {
		kinds = kinds[:1]
	}
	for _, kind := range kinds {
		if last.kind == kind {
			if cost, exact := decimalCost(x, last.e, kind == asSingle); cost <= best.cost && (exact || cost <= last.cost+len(x)) {
				best = form{kind, last.e, cost}
				continue
			}
		}
		for e := 0; e <= maxExponent; e++ {
			cost, exact := decimalCost(x, e, kind == asSingle)
			if cost < best.cost {
				best = form{kind, e, cost}
			}
			if exact { // a larger exponent only makes longer integers
				break
			}
		}
	}
	return best
}

// tally counts integers by their length.
type tally [65]int

func (t *tally) add(v int64) { t[bits.Len64(zigzag(v))]++ }

// cost is the least number of bits a value when longer ones are patched at about 16 bits more.
func (t *tally) cost(n int) int {
	best, patches := 64*n, 0
	for w := 64; w >= 0; w-- {
		best = min(best, w*n+patches*(64-w+16))
		patches += t[w]
	}
	return best
}

func bitsCost(x []float64) int {
	var o [sampleLen]int64
	zeros := trailing(x)
	for i, f := range x {
		o[i] = order(f) >> zeros
	}
	return spread(o[:len(x)])
}

// spread is the cost of integers written around a typical one.
func spread(o []int64) int {
	var t tally
	mid := typical(o)
	for _, v := range o {
		t.add(int64(uint64(v) - uint64(mid)))
	}
	return t.cost(len(o))
}

// trailing is the number of zero bits that the order of every value ends with.
func trailing(x []float64) uint {
	or := uint64(0)
	for _, f := range x {
		or |= uint64(order(f))
	}
	return uint(min(bits.TrailingZeros64(or), 63))
}

// binaryRange finds the places of the lowest and highest bit of all finite values.
func binaryRange(x []float64) (lo, hi int, ok bool) {
	lo, hi = 1<<20, -1<<20
	for _, f := range x {
		b := math.Float64bits(f)
		exp, mant := int(b>>52&0x7ff), b&(1<<52-1)
		switch {
		case exp == 0x7ff, exp == 0 && mant == 0:
			continue
		case exp == 0:
			exp = 1
		default:
			mant |= 1 << 52
		}
		lo = min(lo, exp-1075+bits.TrailingZeros64(mant))
		hi = max(hi, exp-1075+bits.Len64(mant))
	}
	return lo, hi, lo <= hi && hi-lo <= maxBinary && lo > -1000 && lo < 1000
}

func binaryCost(x []float64) (k, cost int) {
	lo, _, ok := binaryRange(x)
	if !ok {
		return 0, 1 << 30
	}
	var o [sampleLen]int64
	for i, f := range x {
		o[i], _ = scaled(f, lo)
	}
	return lo, spread(o[:len(x)])
}

// scaled is f * 2^-lo when that is an integer that gives f back.
func scaled(f float64, lo int) (int64, bool) {
	s := math.Ldexp(f, -lo)
	if !(s > -1<<maxBinary && s < 1<<maxBinary) {
		return 0, false
	}
	m := int64(s)
	return m, math.Float64bits(math.Ldexp(float64(m), lo)) == math.Float64bits(f)
}

// decimalCost is the cost of m and of the distances; exact says that no value has a distance.
func decimalCost(x []float64, e int, single bool) (cost int, exact bool) {
	var m, u [sampleLen]int64
	n, raw := 0, 0
	exact = true
	for _, f := range x {
		d, away, ok := split(f, e, single)
		if !ok {
			raw++
			exact = exact && (f != f || math.IsInf(f, 0))
			continue
		}
		m[n], u[n] = d, away
		exact = exact && away == 0
		n++
	}
	cost = raw * 8 * rawLen
	if n > 0 {
		cost += spread(m[:n]) + spread(u[:n])
	}
	return cost, exact
}

// split writes a value as decimal and distance.
func split(f float64, e int, single bool) (m, away int64, ok bool) {
	m, ok = nearest(f, e)
	if !ok {
		return 0, 0, false
	}
	away = order(f) - order(decimal(m, e, single))
	return m, away, away > -maxUlps && away < maxUlps
}

func (s *floatScratch) append(dst []byte, v []float64, f form) []byte {
	dst = append(dst, f.kind)
	switch f.kind {
	case asBits:
		zeros := trailing(v)
		for i, x := range v {
			s.m[i] = order(x) >> zeros
		}
		return AppendInts(append(dst, byte(zeros)), s.m[:len(v)])
	case asBinary:
		lo, _, ok := binaryRange(v)
		if !ok { // the sample did not show it
			lo = f.e
		}
		dst = binary.AppendVarint(dst, int64(lo))
		dst = s.numbers(dst, v, func(x float64) (m, away int64, ok bool) {
			m, ok = scaled(x, lo)
			return m, 0, ok
		})
		return dst
	}
	dst = append(dst, byte(f.e))
	dst = s.numbers(dst, v, func(x float64) (m, away int64, ok bool) { return split(x, f.e, f.kind == asSingle) })
	return AppendInts(dst, s.u[:len(v)])
}

// numbers fills m and u, and appends what has none and then the m.
func (s *floatScratch) numbers(dst []byte, v []float64, number func(float64) (m, away int64, ok bool)) []byte {
	raw, last := 0, int64(0)
	for i, x := range v {
		m, u, ok := number(x)
		s.raw[i] = !ok
		if !ok {
			raw++
			m, u = last, 0
		}
		s.m[i], s.u[i] = m, u
		last = m
	}
	dst = binary.AppendUvarint(dst, uint64(raw))
	for i, at := 0, 0; raw > 0; i++ {
		if s.raw[i] {
			dst = binary.AppendUvarint(dst, uint64(i-at))
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v[i]))
			at = i + 1
			raw--
		}
	}
	return AppendInts(dst, s.m[:len(v)])
}

func (r *reader) floats(out []float64, s *floatScratch) {
	m, u := s.m[:len(out)], s.u[:len(out)]
	switch kind := r.byte(); kind {
	case asBits:
		zeros := r.byte()
		if r.column(m); zeros > 63 || r.err != nil {
			r.fail()
			return
		}
		for i := range out {
			out[i] = unorder(m[i] << zeros)
		}
	case asBinary:
		lo := r.varint()
		if lo < -1000 || lo > 1000 {
			r.fail()
			return
		}
		raw := r.apart(len(out))
		r.column(m)
		for i := range out {
			out[i] = math.Ldexp(float64(m[i]), int(lo))
		}
		r.patch(raw, out)
	case asDecimal, asSingle:
		e := int(r.byte())
		if e > maxExponent {
			r.fail()
			return
		}
		raw := r.apart(len(out))
		r.column(m)
		r.column(u)
		for i := range out {
			out[i] = unorder(order(decimal(m[i], e, kind == asSingle)) + u[i])
		}
		r.patch(raw, out)
	default:
		r.fail()
	}
}

func (r *reader) column(out []int64) {
	if r.err == nil {
		r.b, r.err = Ints(r.b, out)
	}
}

// apart skips the values that are written as they are and returns their bytes.
func (r *reader) apart(n int) reader {
	count := r.uvarint()
	at := reader{b: r.b}
	if count > uint64(n) {
		r.fail()
	}
	for i := uint64(0); i < count && r.err == nil; i++ {
		r.uvarint()
		r.take(8)
	}
	at.b = at.b[:len(at.b)-len(r.b)]
	return at
}

// patch puts them where they belong.
func (r *reader) patch(raw reader, out []float64) {
	for at := 0; len(raw.b) > 0 && r.err == nil; at++ {
		gap := raw.uvarint()
		b := raw.take(8)
		if gap >= uint64(len(out)-at) || raw.err != nil {
			r.fail()
			return
		}
		at += int(gap)
		out[at] = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
}
