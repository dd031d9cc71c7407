package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

var nanValue = math.NaN()

func itoa(n int) string { return strconv.Itoa(n) }

// convertNumber converts between numbers, and booleans to numbers.
func convertNumber(from, to column.Type) convFunc {
	switch {
	case to.Kind == column.Decimal:
		return numberToDecimal(from, to)
	case isFloating(to.Kind):
		return func(d column.Datum) (column.Datum, *Error) {
			f := asFloat(from, d)
			if to.Kind == column.Float {
				f = float64(float32(f))
			}
			return column.F64(f), nil
		}
	case isFloating(from.Kind):
		return func(d column.Datum) (column.Datum, *Error) { return floatToInt(from, to, d.F) }
	case from.Kind == column.Decimal:
		return func(d column.Datum) (column.Datum, *Error) { return decimalToInt(from, to, d.Dec) }
	}
	lo, hi := limits(to.Kind)
	return func(d column.Datum) (column.Datum, *Error) {
		if d.I < lo || d.I > hi {
			return column.NullDatum, errCastOverflow(from, to, Text(from, d))
		}
		return column.I64(d.I), nil
	}
}

func asFloat(t column.Type, d column.Datum) float64 {
	switch {
	case isFloating(t.Kind):
		return d.F
	case t.Kind == column.Decimal:
		return decFloat(d.Dec, int(t.Scale))
	}
	return float64(d.I)
}

func floatToInt(from, to column.Type, f float64) (column.Datum, *Error) {
	lo, hi := limits(to.Kind)
	if !(math.Floor(f) <= float64(hi) && math.Ceil(f) >= float64(lo)) {
		return column.NullDatum, errCastOverflow(from, to, Text(from, column.F64(f)))
	}
	if f >= 1<<63 { // Java saturates
		return column.I64(math.MaxInt64), nil
	}
	return column.I64(int64(f)), nil
}

func decimalToInt(from, to column.Type, d column.Decimal128) (column.Datum, *Error) {
	v := rescale(bigOf(d), int(from.Scale), 0, down)
	lo, hi := limits(to.Kind)
	if !v.IsInt64() || v.Int64() < lo || v.Int64() > hi {
		return column.NullDatum, errCastOverflow(from, to, decText(d, int(from.Scale)))
	}
	return column.I64(v.Int64()), nil
}

func numberToDecimal(from, to column.Type) convFunc {
	return func(d column.Datum) (column.Datum, *Error) {
		v, scale := new(big.Int), 0
		switch {
		case isFloating(from.Kind):
			if math.IsNaN(d.F) || math.IsInf(d.F, 0) {
				return column.NullDatum, nil
			}
			v, scale, _ = parseDecimalText(Text(from, d))
		case from.Kind == column.Decimal:
			v, scale = bigOf(d.Dec), int(from.Scale)
		default:
			v.SetInt64(d.I)
		}
		out, ok := toDecimal(v, scale, to)
		if !ok {
			return column.NullDatum, errOutOfRange(bigText(v, scale), to)
		}
		return column.Datum{Dec: out}, nil
	}
}

// trimAll removes what Java's String.trim and Spark's trimAll remove.
func trimAll(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// parseTo converts strings.
func parseTo(from, to column.Type) convFunc {
	one := textParser(to)
	return func(d column.Datum) (column.Datum, *Error) {
		out, ok, err := one(d.S)
		if err == nil && !ok {
			err = errCastInvalid(from, to, d.S)
		}
		return out, err
	}
}

// textParser returns the parser of a type; ok is false when the text is malformed.
func textParser(to column.Type) func(s string) (column.Datum, bool, *Error) {
	simple := func(f func(s string) (column.Datum, bool)) func(string) (column.Datum, bool, *Error) {
		return func(s string) (column.Datum, bool, *Error) {
			d, ok := f(s)
			return d, ok, nil
		}
	}
	switch to.Kind {
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		lo, hi := limits(to.Kind)
		return simple(func(s string) (column.Datum, bool) {
			v, ok := parseInt(s)
			return column.I64(v), ok && v >= lo && v <= hi
		})
	case column.Float, column.Double:
		return simple(func(s string) (column.Datum, bool) {
			v, ok := parseDouble(s, to.Kind == column.Float)
			return column.F64(v), ok
		})
	case column.Boolean:
		return simple(parseBool)
	case column.Binary:
		return simple(func(s string) (column.Datum, bool) { return column.Str(s), true })
	case column.Decimal:
		return func(s string) (column.Datum, bool, *Error) {
			v, scale, ok := parseDecimalText(trimAll(s))
			if !ok {
				return column.NullDatum, false, nil
			}
			d, ok := toDecimal(v, scale, to)
			if !ok {
				return column.NullDatum, true, errOutOfRange(s, to)
			}
			return column.Datum{Dec: d}, true, nil
		}
	case column.Date:
		return simple(func(s string) (column.Datum, bool) {
			v, ok := ParseDate(s)
			return column.I64(v), ok
		})
	case column.Timestamp, column.TimestampNTZ:
		return simple(func(s string) (column.Datum, bool) {
			v, ok := parseTimestamp(s, to.Kind == column.Timestamp)
			return column.I64(v), ok
		})
	case column.Struct: // a calendar interval
		return simple(parseCalendar)
	case column.IntervalDT, column.IntervalYM:
		return simple(func(s string) (column.Datum, bool) {
			v, ok := parseInterval(s, to)
			return column.I64(v), ok
		})
	}
	return simple(func(string) (column.Datum, bool) { return column.NullDatum, false })
}

func parseInt(s string) (int64, bool) {
	s = trimAll(s)
	if s == "" || strings.ContainsRune(s, '_') {
		return 0, false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	return v, err == nil
}

// parseDouble reads what Java's Double.parseDouble reads, and Spark's extra spellings of infinity and NaN.
func parseDouble(s string, single bool) (float64, bool) {
	s = trimAll(s)
	if s == "" {
		return 0, false
	}
	switch strings.ToLower(s) {
	case "inf", "+inf", "infinity", "+infinity":
		return math.Inf(1), true
	case "-inf", "-infinity":
		return math.Inf(-1), true
	case "nan":
		return math.NaN(), true
	}
	hex := strings.ContainsAny(s, "xX")
	if strings.ContainsRune(s, '_') || strings.ContainsAny(s, "iInN") {
		return 0, false
	}
	if last := s[len(s)-1]; !hex || strings.ContainsAny(s, "pP") {
		if last == 'd' || last == 'D' || last == 'f' || last == 'F' {
			s = s[:len(s)-1]
		}
	}
	size := 64
	if single {
		size = 32
	}
	v, err := strconv.ParseFloat(s, size)
	if err != nil {
		if ne, ok := err.(*strconv.NumError); !ok || ne.Err != strconv.ErrRange {
			return 0, false
		}
	}
	return v, true
}

func parseBool(s string) (column.Datum, bool) {
	switch strings.ToLower(trimAll(s)) {
	case "t", "true", "y", "yes", "1":
		return column.Bool(true), true
	case "f", "false", "n", "no", "0":
		return column.Bool(false), true
	}
	return column.NullDatum, false
}
