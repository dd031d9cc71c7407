package expr

import (
	"fmt"
	"math/big"
	"strings"

	"signalbox/engine/column"
)

// The interval types name a range of fields: INTERVAL HOUR, INTERVAL DAY TO SECOND, INTERVAL YEAR TO MONTH.

var fieldWords = [...]string{"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"}

// fieldSizes are the months or microseconds of one unit.
var fieldSizes = [...]int64{12, 1, dayMicros, hourMicros, minuteMicros, secondMicros}

// fieldSteps say how many of a field make one of the field before it.
var fieldSteps = [...]int64{0, 12, 0, 24, 60, 60}

// fieldSeparators stand before a field that is not the first.
var fieldSeparators = [...]string{"", "-", "", " ", ":", ":"}

// widerInterval covers the fields of both types.
func widerInterval(a, b column.Type) column.Type {
	af, at := a.IntervalFields()
	bf, bt := b.IntervalFields()
	return column.IntervalOf(min(af, bf), max(at, bt))
}

func rangeText(t column.Type) string {
	from, to := t.IntervalFields()
	if from == to {
		return fieldWords[from]
	}
	return fieldWords[from] + " TO " + fieldWords[to]
}

// intervalText renders an interval with the fields of its type, as Spark's ANSI style does.
func intervalText(t column.Type, v int64) string {
	from, to := t.IntervalFields()
	var b strings.Builder
	b.WriteString("INTERVAL '")
	if v < 0 {
		b.WriteByte('-')
	}
	rest := absU(v)
	for f := from; f <= to; f++ {
		if f > from {
			b.WriteString(fieldSeparators[f])
		}
		width := 2
		if f <= column.FieldDay {
			width = 1
		}
		size := uint64(fieldSizes[f])
		fmt.Fprintf(&b, "%0*d", width, rest/size)
		rest %= size
	}
	if to == column.FieldSecond && rest != 0 {
		b.WriteString("." + strings.TrimRight(fmt.Sprintf("%06d", rest), "0"))
	}
	return b.String() + "' " + rangeText(t)
}

// parseInterval casts a string to an interval: its fields as the type names them, alone or as INTERVAL '…' HOUR TO SECOND.
func parseInterval(s string, t column.Type) (int64, bool) {
	s = trimAll(s)
	negative := false
	if rest, ok := cutWord(s, "INTERVAL"); ok {
		negative, rest = cutSign(rest)
		end := strings.LastIndexByte(rest, '\'')
		if end < 1 || rest[0] != '\'' || !strings.EqualFold(strings.Join(strings.Fields(rest[end+1:]), " "), rangeText(t)) {
			return 0, false
		}
		s = rest[1:end]
	}
	inner, s := cutSign(s)
	from, to := t.IntervalFields()
	sum := new(big.Int)
	for f := from; f <= to; f++ {
		if f > from {
			var ok bool
			if s, ok = strings.CutPrefix(s, fieldSeparators[f]); !ok {
				return 0, false
			}
		}
		n, ok := fieldDigits(&s, f == from, fieldSteps[f])
		if !ok {
			return 0, false
		}
		sum.Add(sum, n.Mul(n, big.NewInt(fieldSizes[f])))
	}
	if to == column.FieldSecond {
		us, ok := fractionDigits(&s)
		if !ok {
			return 0, false
		}
		sum.Add(sum, big.NewInt(us))
	}
	if negative != inner {
		sum.Neg(sum)
	}
	lo, hi := limits(t.Kind)
	return sum.Int64(), s == "" && sum.IsInt64() && sum.Int64() >= lo && sum.Int64() <= hi
}

func cutWord(s, word string) (string, bool) {
	if len(s) <= len(word) || !strings.EqualFold(s[:len(word)], word) {
		return s, false
	}
	rest := trimAll(s[len(word):])
	return rest, len(rest) < len(s)-len(word)
}

func cutSign(s string) (negative bool, rest string) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[0] == '-', s[1:]
	}
	return false, s
}

// fieldDigits takes the digits of one field. Only the first may exceed what makes one of the field before it.
func fieldDigits(s *string, first bool, below int64) (*big.Int, bool) {
	n := 0
	for n < len(*s) && (*s)[n] >= '0' && (*s)[n] <= '9' {
		n++
	}
	if n == 0 || n > 20 || !first && n > 2 {
		return nil, false
	}
	v, ok := new(big.Int).SetString((*s)[:n], 10)
	*s = (*s)[n:]
	return v, ok && (first || v.Int64() < below)
}

// fractionDigits takes .123456789 as microseconds; what is finer is cut off.
func fractionDigits(s *string) (int64, bool) {
	rest, ok := strings.CutPrefix(*s, ".")
	if !ok {
		return 0, true
	}
	us, n := int64(0), 0
	for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
		if n < 6 {
			us = us*10 + int64(rest[n]-'0')
		}
		n++
	}
	for i := n; i < 6; i++ {
		us *= 10
	}
	*s = rest[n:]
	return us, n >= 1 && n <= 9
}

// convertInterval converts between intervals, and between numbers and intervals in units of the last field.
func convertInterval(from, to column.Type) convFunc {
	switch {
	case isInterval(from.Kind) && isInterval(to.Kind):
		_, last := to.IntervalFields()
		size := fieldSizes[last]
		if last == column.FieldSecond {
			size = 1
		}
		return func(d column.Datum) (column.Datum, *Error) { return column.I64(d.I / size * size), nil }
	case isInterval(from.Kind):
		return intervalToNumber(from, to)
	}
	_, field := to.IntervalFields()
	size := big.NewInt(fieldSizes[field])
	lo, hi := limits(to.Kind)
	return func(d column.Datum) (column.Datum, *Error) {
		v := big.NewInt(d.I)
		if from.Kind == column.Decimal {
			v = rescale(v.Mul(bigOf(d.Dec), size), int(from.Scale), 0, halfUp)
		} else {
			v.Mul(v, size)
		}
		if !v.IsInt64() || v.Int64() < lo || v.Int64() > hi {
			return column.NullDatum, errCastOverflow(from, to, Text(from, d))
		}
		return column.I64(v.Int64()), nil
	}
}

// intervalToNumber counts whole units; a DECIMAL keeps the fraction of seconds.
func intervalToNumber(from, to column.Type) convFunc {
	_, field := from.IntervalFields()
	size, scale := fieldSizes[field], 0
	if to.Kind == column.Decimal && field == column.FieldSecond {
		size, scale = 1, 6
	}
	whole := convertNumber(column.Of(column.BigInt), to)
	return func(d column.Datum) (column.Datum, *Error) {
		v := d.I / size
		if to.Kind != column.Decimal {
			lo, hi := limits(to.Kind)
			if v < lo || v > hi {
				return column.NullDatum, errCastOverflow(from, to, Text(from, d))
			}
			return whole(column.I64(v))
		}
		dec, ok := toDecimal(big.NewInt(v), scale, to)
		if !ok {
			return column.NullDatum, errOutOfRange(Text(from, d), to)
		}
		return column.Datum{Dec: dec}, nil
	}
}
