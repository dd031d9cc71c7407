package sql

import (
	"math"
	"strconv"
	"strings"
)

// number turns the number at hand into a literal, with the minus before it.
func (p *parser) number(pos Pos, minus bool) Expr {
	t := p.take()
	sign := ""
	if minus {
		sign = "-"
	}
	l := &Literal{Pos: pos, Text: sign + t.val}
	switch {
	case t.suffix == "F":
		l.Kind = LitFloat
		p.checkFloat(t, math.MaxFloat32, "FLOAT")
	case t.suffix == "D" || t.suffix == "" && t.exp:
		l.Kind = LitDouble
		p.checkFloat(t, math.MaxFloat64, "DOUBLE")
	case t.suffix == "BD" || t.point:
		l.Kind, l.Text = LitDecimal, sign+p.plainDecimal(t)
	default:
		p.integer(l, t)
	}
	return l
}

func (p *parser) checkFloat(t *token, most float64, name string) {
	bits := 64
	if name == "FLOAT" {
		bits = 32
	}
	if v, err := strconv.ParseFloat(t.val, bits); err != nil || v > most {
		p.outOfRange(t, name)
	}
}

func (p *parser) outOfRange(t *token, name string) {
	p.failAt(t.pos, "INVALID_NUMERIC_LITERAL_RANGE", "22003", "the number "+clip(t.val)+" does not fit the type "+name, "")
}

// integer picks the kind of an integer: what the suffix says, else the smallest of INT, BIGINT and DECIMAL that holds it.
func (p *parser) integer(l *Literal, t *token) {
	digits := strings.TrimLeft(t.val, "0")
	if digits == "" {
		digits = "0"
	}
	neg := strings.HasPrefix(l.Text, "-")
	if l.Text = digits; neg {
		l.Text = "-" + digits
	}
	fits := func(bits int) bool { _, err := strconv.ParseInt(l.Text, 10, bits); return err == nil }
	kinds := map[string]struct {
		kind LitKind
		bits int
		name string
	}{"Y": {LitTinyInt, 8, "TINYINT"}, "S": {LitSmallInt, 16, "SMALLINT"}, "L": {LitBigInt, 64, "BIGINT"}}
	if k, ok := kinds[t.suffix]; ok {
		if !fits(k.bits) {
			p.outOfRange(t, k.name)
		}
		l.Kind = k.kind
		return
	}
	switch {
	case fits(32):
		l.Kind = LitInt
	case fits(64):
		l.Kind = LitBigInt
	default:
		l.Kind = LitDecimal
		p.checkPrecision(t, len(digits))
	}
}

const maxPrecision = 38

func (p *parser) checkPrecision(t *token, precision int) {
	if precision > maxPrecision {
		p.failAt(t.pos, "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "22003", "the number "+clip(t.val)+" has "+strconv.Itoa(precision)+" digits, more than the 38 of a DECIMAL", "write 1e3 or a suffix D for a DOUBLE")
	}
}

// plainDecimal writes a decimal number without exponent: digits and at most one point.
func (p *parser) plainDecimal(t *token) string {
	mantissa, exp := t.val, 0
	if i := strings.IndexAny(mantissa, "eE"); i >= 0 {
		e, err := strconv.Atoi(mantissa[i+1:])
		if err != nil || e > 100 || e < -100 {
			p.checkPrecision(t, 100)
		}
		mantissa, exp = mantissa[:i], e
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits, scale := whole+frac, len(frac)-exp
	if scale < 0 {
		digits, scale = digits+strings.Repeat("0", -scale), 0
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	whole, frac = strings.TrimLeft(digits[:len(digits)-scale], "0"), digits[len(digits)-scale:]
	p.checkPrecision(t, max(len(whole)+len(frac), 1))
	if whole == "" {
		whole = "0"
	}
	if frac == "" {
		return whole
	}
	return whole + "." + frac
}

// Decimal takes a LitDecimal apart: its unscaled digits with sign, and the precision and scale of its type as Spark derives them.
func (l *Literal) Decimal() (unscaled string, precision, scale int) {
	text, neg := strings.CutPrefix(l.Text, "-")
	whole, frac, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		digits = "0"
	}
	scale = len(frac)
	precision = max(len(digits), scale)
	if neg && digits != "0" {
		digits = "-" + digits
	}
	return digits, precision, scale
}
