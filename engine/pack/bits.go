package pack

import "encoding/binary"

// PackedLen is the number of bytes that n values of width bits take.
func PackedLen(n int, width uint) int { return (n*int(width) + 7) / 8 }

// AppendBits appends the lowest width bits of each of vals-base, lowest bit first.
func AppendBits(dst []byte, vals []int64, base int64, width uint) []byte {
	if width == 0 {
		return dst
	}
	mask := ^uint64(0) >> (64 - width)
	var acc uint64
	var have uint
	for _, v := range vals {
		d := (uint64(v) - uint64(base)) & mask
		acc |= d << have
		have += width
		if have >= 64 {
			dst = binary.LittleEndian.AppendUint64(dst, acc)
			have -= 64
			acc = d >> (width - have) // shifts of 64 give 0: nothing is left over
		}
	}
	for ; have > 0; have -= min(have, 8) {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	return dst
}

// Bits fills out with base + the values in src, which holds PackedLen bytes.
func Bits(out []int64, src []byte, base int64, width uint) {
	if width == 0 {
		for i := range out {
			out[i] = base
		}
		return
	}
	i := 0
	if width <= 56 {
		i = bitsFast(out, src, base, width)
	}
	mask := ^uint64(0) >> (64 - width)
	for ; i < len(out); i++ {
		out[i] = base + int64(bitsAt(src, uint(i)*width, width)&mask)
	}
}

// bitsFast reads each value with one load of eight bytes and stops where the
// load would pass the end. It returns how many it did.
func bitsFast(out []int64, src []byte, base int64, width uint) int {
	mask := ^uint64(0) >> (64 - width)
	if len(src) < 8 {
		return 0
	}
	n := min(len(out), (len(src)-8)*8/int(width)+1)
	bit := uint(0)
	for i := range out[:n] {
		w := binary.LittleEndian.Uint64(src[bit>>3:])
		out[i] = base + int64(w>>(bit&7)&mask)
		bit += width
	}
	return n
}

// bitsAt reads up to 64 bits near the end of src, byte by byte.
func bitsAt(src []byte, bit, width uint) uint64 {
	var v uint64
	shift := bit & 7
	at := int(bit >> 3)
	for got := uint(0); got < width+shift && at < len(src); got += 8 {
		b := uint64(src[at])
		if got >= shift {
			v |= b << (got - shift)
		} else {
			v |= b >> (shift - got)
		}
		at++
	}
	return v
}
