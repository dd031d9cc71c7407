package wire

import (
	"encoding/binary"
	"math/bits"

	"signalbox/engine/pack"
)

// How a vector of integers is written. The number is in a column's head byte:
// append, never renumber; 8 modes are the most.
const (
	modeConst    = 0 // one value
	modeFOR      = 1 // frame of reference: minimum, width, packed differences to it
	modeDelta    = 2 // first value, then FOR of the differences
	modeDeltaDel = 3 // first value, first difference, then FOR of the differences of the differences
	modeVarint   = 4 // each value as a zigzag varint
	modeDelVar   = 5 // first value, each difference as a zigzag varint
	modeRuns     = 6 // (value, length - 1) of each run
)

// intStats is what one pass over a vector learns. Differences wrap: decoding wraps back.
type intStats struct {
	min, max   int64
	dmin, dmax int64
	qmin, qmax int64 // of the differences of differences
	runs       int
}

func statsOf(v []int64) intStats {
	s := intStats{min: v[0], max: v[0], runs: 1}
	if len(v) < 2 {
		return s
	}
	prev, pd := v[1], v[1]-v[0]
	s.min, s.max = min(s.min, prev), max(s.max, prev)
	s.dmin, s.dmax = pd, pd
	if pd != 0 {
		s.runs++
	}
	if len(v) > 2 {
		s.qmin, s.qmax = 1<<63-1, -1<<63
	}
	for _, x := range v[2:] {
		d := x - prev
		q := d - pd
		s.min, s.max = min(s.min, x), max(s.max, x)
		s.dmin, s.dmax = min(s.dmin, d), max(s.dmax, d)
		s.qmin, s.qmax = min(s.qmin, q), max(s.qmax, q)
		if d != 0 {
			s.runs++
		}
		prev, pd = x, d
	}
	return s
}

func widthOf(lo, hi int64) uint { return uint(bits.Len64(uint64(hi) - uint64(lo))) }

func zigzag(v int64) uint64 { return uint64(v<<1) ^ uint64(v>>63) }

func uvarintLen(u uint64) int { return (bits.Len64(u|1) + 6) / 7 }

func varintLen(v int64) int { return uvarintLen(zigzag(v)) }

// chooseInts returns the shortest mode; of equal ones the lowest.
func chooseInts(v []int64, s *intStats) int {
	n := len(v)
	if s.min == s.max {
		return modeConst
	}
	best, size := modeFOR, varintLen(s.min)+1+pack.PackedLen(n, widthOf(s.min, s.max))
	try := func(mode, n int) {
		if n < size {
			best, size = mode, n
		}
	}
	try(modeDelta, varintLen(v[0])+varintLen(s.dmin)+1+pack.PackedLen(n-1, widthOf(s.dmin, s.dmax)))
	if n > 2 {
		try(modeDeltaDel, varintLen(v[0])+varintLen(v[1]-v[0])+varintLen(s.qmin)+1+pack.PackedLen(n-2, widthOf(s.qmin, s.qmax)))
	}
	if size > n { // a varint takes a byte at least, so it cannot win otherwise
		plain, delta := varintLens(v)
		try(modeVarint, plain)
		try(modeDelVar, delta)
	}
	if s.runs*2 < size {
		try(modeRuns, runsLen(v))
	}
	return best
}

func varintLens(v []int64) (plain, delta int) {
	var prev int64
	for _, x := range v {
		plain += varintLen(x)
		delta += varintLen(x - prev)
		prev = x
	}
	return plain, delta
}

func runsLen(v []int64) int {
	n, start := 0, 0
	for i := 1; i <= len(v); i++ {
		if i == len(v) || v[i] != v[start] {
			n += varintLen(v[start]) + uvarintLen(uint64(i-start-1))
			start = i
		}
	}
	return n
}

// appendInts appends a non-empty vector in a mode. tmp is scratch of the same length.
func appendInts(dst []byte, mode int, v, tmp []int64, s *intStats) []byte {
	switch mode {
	case modeConst:
		return binary.AppendVarint(dst, v[0])
	case modeFOR:
		return appendFOR(dst, v, s.min, s.max)
	case modeDelta:
		dst = binary.AppendVarint(dst, v[0])
		for i := 1; i < len(v); i++ {
			tmp[i] = v[i] - v[i-1]
		}
		return appendFOR(dst, tmp[1:len(v)], s.dmin, s.dmax)
	case modeDeltaDel:
		dst = binary.AppendVarint(dst, v[0])
		dst = binary.AppendVarint(dst, v[1]-v[0])
		for i := 2; i < len(v); i++ {
			tmp[i] = v[i] - 2*v[i-1] + v[i-2]
		}
		return appendFOR(dst, tmp[2:len(v)], s.qmin, s.qmax)
	case modeVarint:
		for _, x := range v {
			dst = binary.AppendVarint(dst, x)
		}
	case modeDelVar:
		var prev int64
		for _, x := range v {
			dst = binary.AppendVarint(dst, x-prev)
			prev = x
		}
	case modeRuns:
		dst = appendRuns(dst, v)
	}
	return dst
}

func appendFOR(dst []byte, v []int64, lo, hi int64) []byte {
	w := widthOf(lo, hi)
	dst = binary.AppendVarint(dst, lo)
	dst = append(dst, byte(w))
	return pack.AppendBits(dst, v, lo, w)
}

func appendRuns(dst []byte, v []int64) []byte {
	start := 0
	for i := 1; i <= len(v); i++ {
		if i == len(v) || v[i] != v[start] {
			dst = binary.AppendVarint(dst, v[start])
			dst = binary.AppendUvarint(dst, uint64(i-start-1))
			start = i
		}
	}
	return dst
}

// ints fills out, which is not empty, from a vector written in mode.
func (r *reader) ints(mode int, out []int64) {
	switch mode {
	case modeConst:
		v := r.varint()
		for i := range out {
			out[i] = v
		}
	case modeFOR:
		r.frameOfReference(out)
	case modeDelta:
		out[0] = r.varint()
		r.frameOfReference(out[1:])
		for i := 1; i < len(out); i++ {
			out[i] += out[i-1]
		}
	case modeDeltaDel:
		r.deltaOfDelta(out)
	case modeVarint:
		for i := range out {
			out[i] = r.varint()
		}
	case modeDelVar:
		var v int64
		for i := range out {
			v += r.varint()
			out[i] = v
		}
	case modeRuns:
		r.intRuns(out)
	default:
		r.fail("unknown mode %d of a vector of integers", mode)
	}
}

func (r *reader) frameOfReference(out []int64) {
	base := r.varint()
	w := uint(r.byte())
	if w > 64 {
		r.fail("width of %d bits", w)
		return
	}
	if src := r.take(pack.PackedLen(len(out), w)); r.err == nil {
		pack.Bits(out, src, base, w)
	}
}

func (r *reader) deltaOfDelta(out []int64) {
	if len(out) < 2 {
		r.fail("differences of differences of %d values", len(out))
		return
	}
	out[0] = r.varint()
	d := r.varint()
	r.frameOfReference(out[2:])
	if r.err != nil {
		return
	}
	v := out[0] + d
	out[1] = v
	for i, q := range out[2:] {
		d += q
		v += d
		out[i+2] = v
	}
}

func (r *reader) intRuns(out []int64) {
	for i := 0; i < len(out); {
		v, n := r.varint(), r.uvarint()
		if n >= uint64(len(out)-i) {
			r.fail("run of %d values, %d rows are left", n+1, len(out)-i)
		}
		if r.err != nil {
			return
		}
		for end := i + int(n); i <= end; i++ {
			out[i] = v
		}
	}
}
