package expr

import (
	"math/big"
	"strings"
	"unicode"

	"signalbox/engine/column"
)

// bigOf returns the unscaled value of a decimal.
func bigOf(d column.Decimal128) *big.Int {
	v := big.NewInt(d.Hi)
	v.Lsh(v, 64)
	return v.Add(v, new(big.Int).SetUint64(d.Lo))
}

// decOf packs an unscaled value; ok is false beyond 128 bits.
func decOf(v *big.Int) (column.Decimal128, bool) {
	if v.BitLen() > 127 {
		return column.Decimal128{}, false
	}
	lo := new(big.Int).And(v, maxUint64)
	hi := new(big.Int).Rsh(v, 64)
	return column.Decimal128{Hi: hi.Int64(), Lo: lo.Uint64()}, true
}

var (
	maxUint64 = new(big.Int).SetUint64(^uint64(0))
	bigTen    = big.NewInt(10)
)

// decFromInt makes a decimal of an integer, unscaled.
func decFromInt(v int64) column.Decimal128 { return column.Decimal128{Hi: v >> 63, Lo: uint64(v)} }

// small returns the unscaled value when it fits 64 bits.
func small(d column.Decimal128) (int64, bool) {
	return int64(d.Lo), d.Hi == int64(d.Lo)>>63
}

// pow10 returns 10^n.
func pow10(n int) *big.Int { return new(big.Int).Exp(bigTen, big.NewInt(int64(n)), nil) }

// pow10int returns 10^n for n <= 18.
func pow10int(n int) int64 {
	p := int64(1)
	for range n {
		p *= 10
	}
	return p
}

// rounding modes of rescale.
type rounding uint8

const (
	halfUp rounding = iota
	halfEven
	down
	floorMode
	ceilMode
)

// rescale changes the scale of an unscaled value, rounding when digits are lost.
func rescale(v *big.Int, from, to int, mode rounding) *big.Int {
	if to >= from {
		if to == from {
			return v
		}
		return new(big.Int).Mul(v, pow10(to-from))
	}
	return divRound(v, pow10(from-to), mode)
}

// divRound divides with rounding; d must be positive.
func divRound(v, d *big.Int, mode rounding) *big.Int {
	q, r := new(big.Int).QuoRem(v, d, new(big.Int))
	if r.Sign() == 0 {
		return q
	}
	step := int64(v.Sign())
	twice := new(big.Int).Abs(r)
	twice.Lsh(twice, 1)
	c := twice.Cmp(d)
	away := false
	switch mode {
	case halfUp:
		away = c >= 0
	case halfEven:
		away = c > 0 || c == 0 && q.Bit(0) == 1
	case floorMode:
		away = step < 0
	case ceilMode:
		away = step > 0
	}
	if away {
		q.Add(q, big.NewInt(step))
	}
	return q
}

// digits returns the number of decimal digits of |v|.
func digits(v *big.Int) int {
	if v.Sign() == 0 {
		return 1
	}
	s := v.String()
	if s[0] == '-' {
		return len(s) - 1
	}
	return len(s)
}

// fitDecimal packs v, at the scale of t, when its digits fit the precision of t.
func fitDecimal(v *big.Int, t column.Type) (column.Decimal128, bool) {
	if v.BitLen() > 127 || digits(v) > int(t.Precision) {
		return column.Decimal128{}, false
	}
	return decOf(v)
}

// toDecimal rounds an unscaled value with a scale to the type t; ok is false when it does not fit.
func toDecimal(v *big.Int, scale int, t column.Type) (column.Decimal128, bool) {
	return fitDecimal(rescale(v, scale, int(t.Scale), halfUp), t)
}

// decText renders a decimal plainly with all digits of its scale.
func decText(d column.Decimal128, scale int) string { return bigText(bigOf(d), scale) }

func bigText(v *big.Int, scale int) string {
	s := v.String()
	if scale <= 0 {
		return s
	}
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	if len(s) <= scale {
		s = strings.Repeat("0", scale+1-len(s)) + s
	}
	s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	if neg {
		return "-" + s
	}
	return s
}

// asciiDigits brings the digits of other scripts to 0-9, as Java's BigDecimal reads them.
func asciiDigits(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r <= 0x7f {
			return r
		}
		for _, x := range unicode.Nd.R16 { // every range is a number of blocks of ten
			if rune(x.Lo) <= r && r <= rune(x.Hi) {
				return '0' + (r-rune(x.Lo))%10
			}
		}
		return r
	}, s)
}

// parseDecimalText reads [+-]digits[.digits][e[+-]digits] exactly: unscaled value and scale.
func parseDecimalText(s string) (v *big.Int, scale int, ok bool) {
	i, neg := 0, false
	s = asciiDigits(s)
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		neg = s[i] == '-'
		i++
	}
	var d []byte
	point := -1
	for ; i < len(s); i++ {
		c := s[i]
		if c >= '0' && c <= '9' {
			d = append(d, c)
		} else if c == '.' && point < 0 {
			point = len(d)
		} else {
			break
		}
	}
	if len(d) == 0 {
		return nil, 0, false
	}
	if point >= 0 {
		scale = len(d) - point
	}
	if i < len(s) {
		e, ok := parseExponent(s[i:])
		if !ok {
			return nil, 0, false
		}
		scale -= e
	}
	const maxDigits = 10000 // no decimal needs more; bounds the work on hostile text
	if len(d) > maxDigits || scale > maxDigits || scale < -maxDigits {
		return nil, 0, false
	}
	v, _ = new(big.Int).SetString(string(d), 10)
	if neg {
		v.Neg(v)
	}
	if scale < 0 {
		v.Mul(v, pow10(-scale))
		scale = 0
	}
	return v, scale, true
}

func parseExponent(s string) (int, bool) {
	if s[0] != 'e' && s[0] != 'E' {
		return 0, false
	}
	s = s[1:]
	neg := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" || len(s) > 6 {
		return 0, false
	}
	e := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		e = e*10 + int(c-'0')
	}
	if neg {
		e = -e
	}
	return e, true
}

// decCompare compares two decimals of any scales.
func decCompare(a column.Decimal128, as int, b column.Decimal128, bs int) int {
	if as == bs {
		if a.Hi != b.Hi {
			if a.Hi < b.Hi {
				return -1
			}
			return 1
		}
		switch {
		case a.Lo < b.Lo:
			return -1
		case a.Lo > b.Lo:
			return 1
		}
		return 0
	}
	s := max(as, bs)
	return rescale(bigOf(a), as, s, halfUp).Cmp(rescale(bigOf(b), bs, s, halfUp))
}

// decArith computes an operator on decimals; the error is an overflow or a zero divisor.
func decArith(op string, a column.Decimal128, as int, b column.Decimal128, bs int, t column.Type) (column.Decimal128, *Error) {
	if d, ok := decSmall(op, a, as, b, bs, t); ok {
		return d, nil
	}
	x, y := bigOf(a), bigOf(b)
	s := max(as, bs)
	var v *big.Int
	switch op {
	case "+", "-":
		x, y = rescale(x, as, s, halfUp), rescale(y, bs, s, halfUp)
		if op == "+" {
			v = x.Add(x, y)
		} else {
			v = x.Sub(x, y)
		}
	case "*":
		v, s = x.Mul(x, y), as+bs
	case "/":
		if y.Sign() == 0 {
			return column.Decimal128{}, errDivideByZero()
		}
		v, s = decDivide(x, as, y, bs), 38
	case "%", "pmod":
		if y.Sign() == 0 {
			return column.Decimal128{}, errRemainderByZero()
		}
		x, y = rescale(x, as, s, halfUp), rescale(y, bs, s, halfUp)
		v = new(big.Int).Rem(x, y)
		if op == "pmod" && v.Sign() < 0 {
			v.Add(v, y)
			v.Rem(v, y)
		}
	}
	d, ok := toDecimal(v, s, t)
	if !ok {
		return d, errOutOfRange(bigText(v, s), t)
	}
	return d, nil
}

// decDivide returns x/y rounded half up to 38 digits after the point.
func decDivide(x *big.Int, xs int, y *big.Int, ys int) *big.Int {
	num := new(big.Int).Mul(x, pow10(38+ys))
	den := new(big.Int).Mul(y, pow10(xs))
	if den.Sign() < 0 {
		num.Neg(num)
		den.Neg(den)
	}
	return divRound(num, den, halfUp)
}

// decSmall adds, subtracts and multiplies 64-bit values without big integers, when no rounding is needed.
// The precision of the result type covers every result of the operand types, so only 64 bits can overflow.
func decSmall(op string, a column.Decimal128, as int, b column.Decimal128, bs int, t column.Type) (column.Decimal128, bool) {
	x, ok1 := small(a)
	y, ok2 := small(b)
	if !ok1 || !ok2 || t.Precision == 38 {
		return column.Decimal128{}, false
	}
	var v int64
	ok := false
	switch op {
	case "+", "-":
		s := max(as, bs)
		if int(t.Scale) != s || s-as > 18 || s-bs > 18 {
			return column.Decimal128{}, false
		}
		x, ok1 = mulInt(x, pow10int(s-as))
		y, ok2 = mulInt(y, pow10int(s-bs))
		v, ok = intOp(op[0], x, y)
		ok = ok && ok1 && ok2
	case "*":
		v, ok = mulInt(x, y)
		ok = ok && int(t.Scale) == as+bs
	}
	return decFromInt(v), ok
}

func absU(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// bigFloat returns the nearest double of a decimal.
func decFloat(d column.Decimal128, scale int) float64 {
	if v, ok := small(d); ok && scale <= 15 && v > -1<<53 && v < 1<<53 {
		return float64(v) / float64(pow10int(scale))
	}
	f, _ := new(big.Rat).SetFrac(bigOf(d), pow10(scale)).Float64()
	return f
}
