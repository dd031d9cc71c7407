package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// maxExponent is the largest power of ten that doubles are scaled by. 15 in the
// head byte means "not scaled".
const (
	maxExponent = 14
	notScaled   = 15
)

// Modes of doubles that are not scaled, in the place of the integer mode.
const (
	modeXOR = 1 // bytes of the exclusive or with the value before
	modeRaw = 2 // eight bytes each
)

// pow10 are exact as doubles; maxExact bounds the integers that are.
var pow10 = [maxExponent + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14}

const maxExact = 1 << 53

// scale writes v * 10^e into out for the smallest e that gives back every bit of
// every value by one correctly rounded division, or says that there is none.
func scale(v []float64, out []int64) (e int, ok bool) {
	p := pow10[0]
	for i := 0; i < len(v); {
		m := math.RoundToEven(float64(v[i] * p))
		// The comparisons also refuse NaN and the infinities; the bits refuse -0.0.
		if m > -maxExact && m < maxExact && math.Float64bits(float64(int64(m))/p) == math.Float64bits(v[i]) {
			out[i] = int64(m)
			i++
			continue
		}
		if e++; e > maxExponent {
			return 0, false
		}
		p = pow10[e]
		if !rescale(out[:i]) {
			return 0, false
		}
	}
	return e, true
}

// rescale multiplies by ten what was found with the smaller exponent: the
// quotient is the same real number, so it still rounds to the same double.
func rescale(m []int64) bool {
	for i := range m {
		m[i] *= 10
		if m[i] >= maxExact || m[i] <= -maxExact {
			return false
		}
	}
	return true
}

// appendXOR writes each value as a control byte (zero bytes in front, bytes
// that follow) and the differing bytes.
func appendXOR(dst []byte, v []float64) []byte {
	var prev uint64
	for _, f := range v {
		b := math.Float64bits(f)
		x := b ^ prev
		prev = b
		if x == 0 {
			dst = append(dst, 0)
			continue
		}
		lead, trail := bits.LeadingZeros64(x)/8, bits.TrailingZeros64(x)/8
		n := 8 - lead - trail
		dst = append(dst, byte(lead<<4|n))
		x >>= uint(trail) * 8
		for ; n > 0; n-- {
			dst = append(dst, byte(x))
			x >>= 8
		}
	}
	return dst
}

func (r *reader) xor(out []float64) {
	var prev uint64
	for i := range out {
		c := r.byte()
		lead, n := int(c>>4), int(c&15)
		if lead+n > 8 || (n == 0 && lead != 0) {
			r.fail("control byte %#x of a double", c)
		}
		b := r.take(n)
		if r.err != nil {
			return
		}
		var x uint64
		for j, v := range b {
			x |= uint64(v) << (8 * j)
		}
		if n > 0 {
			x <<= uint(8-lead-n) * 8
		}
		prev ^= x
		out[i] = math.Float64frombits(prev)
	}
}

func appendRaw(dst []byte, v []float64) []byte {
	for _, f := range v {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(f))
	}
	return dst
}

func (r *reader) raw(out []float64) {
	b := r.take(8 * len(out))
	if r.err != nil {
		return
	}
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
}

func unscale(out []float64, m []int64, e int) {
	p := pow10[e]
	for i, v := range m {
		out[i] = float64(v) / p
	}
}
