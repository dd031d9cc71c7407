package agg

import (
	"math/big"
	"math/bits"

	"signalbox/engine/column"
)

// addDec adds unscaled values; false when the result needs more than 128 bits.
func addDec(a, b column.Decimal128) (column.Decimal128, bool) {
	lo, carry := bits.Add64(a.Lo, b.Lo, 0)
	hi, _ := bits.Add64(uint64(a.Hi), uint64(b.Hi), carry)
	r := column.Decimal128{Hi: int64(hi), Lo: lo}
	return r, (a.Hi^r.Hi)&(b.Hi^r.Hi) >= 0
}

func cmpDec(a, b column.Decimal128) int {
	switch {
	case a.Hi != b.Hi && a.Hi < b.Hi, a.Hi == b.Hi && a.Lo < b.Lo:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// fitsDec reports whether an unscaled value has at most that many digits.
func fitsDec(v column.Decimal128, precision uint8) bool {
	if precision >= 19 && v.Hi == int64(v.Lo)>>63 { // 64 bits are 18 digits and some
		return true
	}
	if v.Hi < 0 {
		lo, borrow := bits.Sub64(0, v.Lo, 0)
		hi, _ := bits.Sub64(0, uint64(v.Hi), borrow)
		v = column.Decimal128{Hi: int64(hi), Lo: lo}
		if v.Hi < 0 {
			return false
		}
	}
	l := decLimit(precision)
	return cmpDec(v, l) < 0
}

// decLimit is 10^precision, for precisions up to 38.
func decLimit(precision uint8) column.Decimal128 {
	hi, lo := uint64(0), uint64(1)
	for range precision {
		h, l := bits.Mul64(lo, 10)
		hi, lo = hi*10+h, l
	}
	return column.Decimal128{Hi: int64(hi), Lo: lo}
}

func bigDec(v column.Decimal128) *big.Int {
	b := big.NewInt(v.Hi)
	b.Lsh(b, 64)
	return b.Add(b, new(big.Int).SetUint64(v.Lo))
}

// decOf is the inverse of bigDec; false when the value needs more than 128 bits.
func decOf(b *big.Int) (column.Decimal128, bool) {
	if b.BitLen() > 126 {
		return column.Decimal128{}, false
	}
	hi := new(big.Int).Rsh(b, 64) // floors, as two's complement needs
	lo := new(big.Int).Sub(b, new(big.Int).Lsh(hi, 64))
	return column.Decimal128{Hi: hi.Int64(), Lo: lo.Uint64()}, true
}

func pow10(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// divHalfUp divides and rounds half away from zero; d > 0.
func divHalfUp(v, d *big.Int) *big.Int {
	q, r := new(big.Int).QuoRem(v, d, new(big.Int))
	if r.Abs(r).Lsh(r, 1).Cmp(d) >= 0 {
		return q.Add(q, big.NewInt(int64(v.Sign())))
	}
	return q
}
