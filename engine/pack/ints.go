package pack

import (
	"encoding/binary"
	"math/bits"
)

// How a block of integers is written: bits of its first byte. The second byte
// is the width; then come the base, the packed bits and what did not fit them.
const (
	deltas   = 1 // differences to the value before; the first value comes first
	overflow = 2 // some values need more bits than the width: their high parts follow
)

// AppendInts appends a column of integers: per block a base and the fewest bits
// that most values need, with the few others patched.
func AppendInts(dst []byte, v []int64) []byte {
	var diff [BlockLen]int64
	for len(v) > 0 {
		block := v[:min(BlockLen, len(v))]
		v = v[len(block):]
		if p, d := planOf(block), planOfDeltas(block, &diff); d.size < p.size {
			dst = append(dst, byte(deltas)|d.flag(), byte(d.width))
			dst = binary.AppendVarint(dst, block[0])
			dst = d.append(dst, diff[1:len(block)])
		} else {
			dst = append(dst, p.flag(), byte(p.width))
			dst = p.append(dst, block)
		}
	}
	return dst
}

// Ints fills out and returns the bytes behind the column.
func Ints(b []byte, out []int64) ([]byte, error) {
	r := reader{b: b}
	for len(out) > 0 && r.err == nil {
		block := out[:min(BlockLen, len(out))]
		out = out[len(block):]
		r.ints(block)
	}
	return r.b, r.err
}

func (r *reader) ints(out []int64) {
	kind, width := r.byte(), uint(r.byte())
	if kind > deltas|overflow || width > 64 {
		r.fail()
		return
	}
	if kind&deltas != 0 {
		out[0] = r.varint()
		r.plan(out[1:], width, kind&overflow != 0)
		for i := 1; i < len(out); i++ {
			out[i] += out[i-1]
		}
		return
	}
	r.plan(out, width, kind&overflow != 0)
}

func (r *reader) plan(out []int64, width uint, patched bool) {
	base := r.varint()
	src := r.take(PackedLen(len(out), width))
	if r.err != nil {
		return
	}
	Bits(out, src, base, width)
	if !patched {
		return
	}
	at := 0
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		gap, high := r.uvarint(), r.uvarint()
		if gap >= uint64(len(out)-at) {
			r.fail()
			return
		}
		at += int(gap)
		out[at] += int64(high << width)
		at++
	}
}

// plan says how to write a block.
type plan struct {
	base    int64
	width   uint
	patches int
	size    int // bytes, estimated
}

func (p *plan) flag() byte {
	if p.patches > 0 {
		return overflow
	}
	return 0
}

func (p *plan) append(dst []byte, v []int64) []byte {
	dst = binary.AppendVarint(dst, p.base)
	dst = AppendBits(dst, v, p.base, p.width)
	if p.patches == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(p.patches))
	last := -1
	for i, x := range v {
		if u := uint64(x) - uint64(p.base); u>>p.width != 0 {
			dst = binary.AppendUvarint(dst, uint64(i-last-1))
			dst = binary.AppendUvarint(dst, u>>p.width)
			last = i
		}
	}
	return dst
}

// smallRange is the width below which a block is written from its minimum
// without looking for something better.
const smallRange = 4

// planOf finds a base and a width. The base is the minimum, or lies below a
// typical value so that outliers on both sides are patches.
func planOf(v []int64) plan {
	lo, hi := v[0], v[0]
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	whole := uint(bits.Len64(uint64(hi) - uint64(lo)))
	best := plan{base: lo, width: whole, size: 2 + varintLen(lo) + PackedLen(len(v), whole)}
	if whole <= smallRange {
		return best
	}
	var hist [65]int32
	for _, x := range v {
		hist[bits.Len64(uint64(x)-uint64(lo))]++
	}
	best.narrow(&hist, len(v), lo, false)
	if whole <= 2*smallRange || len(v) < 8 {
		return best
	}
	mid := typical(v)
	hist = [65]int32{}
	for _, x := range v {
		hist[bits.Len64(zigzag(int64(uint64(x)-uint64(mid))))]++
	}
	if around := best.around(&hist, len(v), mid); around.size < best.size {
		if around.count(v); around.size < best.size {
			best = around
		}
	}
	return best
}

// narrow takes fewer bits when patching the larger values is shorter.
func (p *plan) narrow(hist *[65]int32, n int, base int64, signed bool) {
	patches, highs := 0, 0 // values longer than w bits, and the sum of their lengths
	for w := len(hist) - 2; w >= 0; w-- {
		patches += int(hist[w+1])
		highs += int(hist[w+1]) * (w + 1)
		high := (highs - patches*w + 6*patches) / 7 // bytes of the high parts, rounded up one by one on average
		if signed {
			high = patches * ((64-w)/7 + 1)
		}
		size := 2 + varintLen(base) + PackedLen(n, uint(w)) + high + patches + 2
		if size < p.size {
			*p = plan{base: base, width: uint(w), patches: patches, size: size}
		}
	}
}

// around is the best plan whose base is half a width below mid.
func (p *plan) around(hist *[65]int32, n int, mid int64) plan {
	a := plan{size: p.size}
	a.narrow(hist, n, mid, true)
	if a.width > 0 {
		a.base = mid - 1<<(a.width-1)
	}
	return a
}

// count corrects what around estimated.
func (p *plan) count(v []int64) {
	p.patches, p.size = 0, 2+varintLen(p.base)+PackedLen(len(v), p.width)+2
	for _, x := range v {
		if u := uint64(x) - uint64(p.base); u>>p.width != 0 {
			p.patches++
			p.size += 1 + uvarintLen(u>>p.width)
		}
	}
}

// planOfDeltas plans the differences, when a few of them look shorter than the values.
func planOfDeltas(v []int64, diff *[BlockLen]int64) plan {
	none := plan{size: 1 << 30}
	if len(v) < 8 {
		return none
	}
	plain, delta, step := 0, 0, max(1, len(v)/32)
	for i := step; i < len(v); i += step {
		plain += bits.Len64(zigzag(v[i] - v[0]))
		delta += bits.Len64(zigzag(v[i] - v[i-1]))
	}
	if delta >= plain {
		return none
	}
	for i := 1; i < len(v); i++ {
		diff[i] = v[i] - v[i-1]
	}
	p := planOf(diff[1:len(v)])
	p.size += varintLen(v[0])
	return p
}

// typical is the median of nine values that are spread over v.
func typical(v []int64) int64 {
	var s [9]int64
	for i := range s {
		x := v[i*(len(v)-1)/8]
		k := i
		for ; k > 0 && s[k-1] > x; k-- {
			s[k] = s[k-1]
		}
		s[k] = x
	}
	return s[4]
}

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

func varintLen(v int64) int { return uvarintLen(zigzag(v)) }
