package expr

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// javaDouble is Double.toString, or Float.toString when single, of Java 17, on
// which Spark runs: its digits tell the number apart, but are not always the
// fewest that do (2^62 is 4.6116860184273879E18).
func javaDouble(f float64, single bool) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		if math.Signbit(f) {
			return "-0.0"
		}
		return "0.0"
	}
	size, sure := 64, 15
	if single {
		size, sure = 32, 6
	}
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, size)
		if len(strings.TrimLeft(s, "-0.")) <= sure { // a number of so few digits has no rival
			if !strings.Contains(s, ".") {
				s += ".0"
			}
			return s
		}
	}
	digits, exp := javaDigits(math.Abs(f), single)
	s := javaNotation(digits, exp)
	if f < 0 {
		s = "-" + s
	}
	return s
}

// javaNotation writes 0.digits · 10^exp as Java does.
func javaNotation(digits string, exp int) string {
	n := len(digits)
	switch {
	case exp > 0 && exp < 8 && n <= exp:
		return digits + strings.Repeat("0", exp-n) + ".0"
	case exp > 0 && exp < 8:
		return digits[:exp] + "." + digits[exp:]
	case exp <= 0 && exp > -3:
		return "0." + strings.Repeat("0", -exp) + digits
	case n == 1:
		digits += "0"
	}
	return digits[:1] + "." + digits[1:] + "E" + strconv.Itoa(exp-1)
}

// javaDigits is jdk.internal.math.FloatingDecimal.dtoa of Java 17: the value is 0.digits · 10^exp.
func javaDigits(f float64, single bool) (digits string, exp int) {
	frac, binExp, significant := javaParts(f, single)
	tail := bits.TrailingZeros64(frac)
	nFrac := 53 - tail
	tiny := max(0, nFrac-binExp-1)
	if binExp <= 62 && binExp >= -21 && tiny == 0 {
		return wholeDigits(frac, binExp, significant)
	}
	d := &javaDivision{dec: estimateExponent(frac, binExp)}
	b5, s5 := max(0, -d.dec), max(0, d.dec)
	b2, s2 := b5+tiny+binExp, s5+tiny
	m5, m2 := b5, b2-significant
	frac >>= uint(tail)
	b2 -= nFrac - 1
	common := min(b2, s2)
	b2, s2, m2 = b2-common, s2-common, m2-common
	if nFrac == 1 { // the next smaller number is only half as far away
		m2--
	}
	if m2 < 0 {
		b2, s2, m2 = b2-m2, s2-m2, 0
	}
	bBits, tenBits := nFrac+b2+bitsOf5(b5), s2+1+bitsOf5(s5+1)
	b := new(big.Int).Mul(new(big.Int).SetUint64(frac), scaled5(b5, b2))
	switch {
	case bBits < 32 && tenBits < 32:
		divide(d, int32(b.Int64()), int32(scaled5(s5, s2).Int64()), int32(scaled5(m5, m2).Int64()))
	case bBits < 64 && tenBits < 64:
		divide(d, b.Int64(), scaled5(s5, s2).Int64(), scaled5(m5, m2).Int64())
	default:
		d.divideBig(b, scaled5(s5, s2), scaled5(m5, m2))
	}
	d.round()
	return string(d.digits), d.dec + 1
}

// javaParts takes a positive number apart: a fraction of 53 bits (the first is
// set), its exponent and the number of bits that the format keeps.
func javaParts(f float64, single bool) (frac uint64, binExp, significant int) {
	width, bias := 23, 127
	raw := uint64(math.Float32bits(float32(f)))
	if !single {
		width, bias, raw = 52, 1023, math.Float64bits(f)
	}
	frac, binExp, significant = raw&(1<<width-1), int(raw>>width), width+1
	if binExp == 0 {
		significant = bits.Len64(frac)
		shift := width + 1 - significant
		frac, binExp = frac<<shift, 1-shift
	} else {
		frac |= 1 << width
	}
	return frac << (52 - width), binExp - bias, significant
}

// wholeDigits is the case of whole numbers below 2^63.
func wholeDigits(frac uint64, binExp, significant int) (string, int) {
	v, exp := frac, 0
	if binExp >= 52 {
		v <<= uint(binExp - 52)
	} else {
		v >>= uint(52 - binExp)
	}
	if binExp > significant {
		if p := binExp - significant - 1; p > 1 { // the digits that 2^p has too many
			n := len(strconv.FormatUint(1<<uint(p), 10)) - 1
			ten := uint64(math.Pow10(n))
			rest := v % ten
			v /= ten
			exp = n
			if n > 0 && rest >= ten/2 {
				v++
			}
		}
	}
	s := strconv.FormatUint(v, 10)
	return strings.TrimRight(s, "0"), len(s) + exp
}

// estimateExponent is the decimal exponent, or one more.
func estimateExponent(frac uint64, binExp int) int {
	d2 := math.Float64frombits(1023<<52 | frac&(1<<52-1))
	d := float64((d2-1.5)*0.289529654) + 0.176091259 + float64(float64(binExp)*0.301029995663981)
	return int(math.Floor(d))
}

func bitsOf5(n int) int {
	if n < 27 {
		return bits.Len64(uint64(math.Pow(5, float64(n)))) - b2int(n == 0)
	}
	return n * 3
}

// scaled5 is 5^n · 2^shift.
func scaled5(n, shift int) *big.Int {
	v := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(n)), nil)
	return v.Lsh(v, uint(shift))
}

// javaDivision collects the digits of a quotient until the rest is within half a unit.
type javaDivision struct {
	digits    []byte
	dec       int
	low, high bool
	rest      int // the sign of twice the rest less ten divisors
}

func (d *javaDivision) digit(q int, first bool) {
	switch {
	case first && q == 0 && !d.high:
		d.dec--
	default:
		d.digits = append(d.digits, byte('0'+q))
	}
	if first && (d.dec < -3 || d.dec >= 8) { // the notation with E has two digits at least
		d.low, d.high = false, false
	}
}

// divide works in machine words; that m may overflow is part of the algorithm.
func divide[T int32 | int64](d *javaDivision, b, s, m T) {
	tens := s * 10
	for first := true; first || !d.low && !d.high; first = false {
		q := b / s
		b, m = 10*(b%s), m*10
		if d.low, d.high = true, true; first || m > 0 {
			d.low, d.high = b < m, b+m > tens
		}
		d.digit(int(q), first)
	}
	switch x := b<<1 - tens; {
	case x < 0:
		d.rest = -1
	case x > 0:
		d.rest = 1
	}
}

func (d *javaDivision) divideBig(b, s, m *big.Int) {
	ten := big.NewInt(10)
	tens := new(big.Int).Mul(s, ten)
	q := new(big.Int)
	for first := true; first || !d.low && !d.high; first = false {
		q.QuoRem(b, s, b)
		b.Mul(b, ten)
		m.Mul(m, ten)
		d.low, d.high = b.Cmp(m) < 0, new(big.Int).Add(b, m).Cmp(tens) >= 0
		d.digit(int(q.Int64()), first)
	}
	d.rest = new(big.Int).Lsh(b, 1).Cmp(tens)
}

// round rounds the last digit by the reason for which the division ended.
func (d *javaDivision) round() {
	last := len(d.digits) - 1
	if !d.high || d.low && (d.rest < 0 || d.rest == 0 && d.digits[last]&1 == 0) {
		return
	}
	for i := last; i >= 0; i-- {
		if d.digits[i] != '9' {
			d.digits[i]++
			return
		}
		d.digits[i] = '0'
	}
	d.digits[0] = '1'
	d.dec++
}
