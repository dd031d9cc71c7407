package pack

import (
	"encoding/binary"
	"math/bits"
)

// Codings of a set.
const (
	firstN  = 0 // exactly 0..n-1
	asWords = 1
	asGaps  = 2
)

// AppendSet appends a set of small integers, given as bits.
func AppendSet(dst []byte, words []uint64) []byte {
	n, top := 0, 0
	for i, w := range words {
		if w != 0 {
			n, top = n+bits.OnesCount64(w), i*64+bits.Len64(w)
		}
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, uint64(top))
	if n == top {
		return append(dst, firstN)
	}
	used := (top + 7) / 8
	if n < used { // a gap takes a few bits; more than a byte each only where the set is very sparse
		if gaps := AppendInts(nil, gapsOf(words, n)); len(gaps) < used {
			return append(append(dst, asGaps), gaps...)
		}
	}
	dst = append(dst, asWords)
	for i := 0; i < used; i++ {
		dst = append(dst, byte(words[i>>3]>>(8*(i&7))))
	}
	return dst
}

func gapsOf(words []uint64, n int) []int64 {
	gaps := make([]int64, 0, n)
	last := -1
	for i, w := range words {
		for ; w != 0; w &= w - 1 {
			at := i*64 + bits.TrailingZeros64(w)
			gaps = append(gaps, int64(at-last-1))
			last = at
		}
	}
	return gaps
}

// Set sets the bits of a set in words, which are zero, and returns the bytes
// behind it. Its integers must be below 64*len(words).
func Set(b []byte, words []uint64) (n int, rest []byte, err error) {
	r := reader{b: b}
	count, top := r.uvarint(), r.uvarint()
	kind := r.byte()
	if top > uint64(64*len(words)) || count > top || kind > asGaps {
		r.fail()
	}
	if r.err != nil {
		return 0, nil, r.err
	}
	switch kind {
	case firstN:
		if count != top {
			r.fail()
		}
		for at := uint64(0); at < count; at += 64 {
			words[at>>6] = ^uint64(0) >> (64 - min(count-at, 64))
		}
	case asWords:
		for i, x := range r.take(int(top+7) / 8) {
			words[i>>3] |= uint64(x) << (8 * (i & 7))
		}
	case asGaps:
		r.gaps(words, int(count))
	}
	return int(count), r.b, r.err
}

func (r *reader) gaps(words []uint64, n int) {
	gaps := make([]int64, n)
	r.column(gaps)
	at := -1
	for _, g := range gaps {
		if g < 0 || g >= int64(64*len(words)-at-1) {
			r.fail()
			return
		}
		at += int(g) + 1
		words[at>>6] |= 1 << (at & 63)
	}
}
