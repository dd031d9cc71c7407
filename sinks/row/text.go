package row

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// Timestamp writes microseconds since the epoch as RFC 3339 in UTC with exactly
// six decimals: as text it sorts as the times do (years 0 to 9999).
func Timestamp(us int64) string {
	return string(AppendTimestamp(make([]byte, 0, len(timestampForm)), us))
}

const timestampForm = "2006-01-02T15:04:05.000000Z"

// AppendTimestamp appends what Timestamp returns.
func AppendTimestamp(dst []byte, us int64) []byte {
	if us < firstPlainUS || us >= endPlainUS {
		return instant(us).AppendFormat(dst, timestampForm)
	}
	day := us / dayUS
	rest := us - day*dayUS
	year, month, mday := civil(day)
	at := len(dst)
	dst = append(dst, timestampForm...)
	b := dst[at:]
	sec, us6 := uint32(rest/1_000_000), uint32(rest%1_000_000)
	pair(b[0:], uint32(year)/100)
	pair(b[2:], uint32(year)%100)
	pair(b[5:], uint32(month))
	pair(b[8:], uint32(mday))
	pair(b[11:], sec/3600)
	pair(b[14:], sec/60%60)
	pair(b[17:], sec%60)
	pair(b[20:], us6/10_000)
	pair(b[22:], us6/100%100)
	pair(b[24:], us6%100)
	return dst
}

// Times that are written without the help of package time, which takes five times as long: 1970 to 9999.
const (
	dayUS        = 86_400_000_000
	firstPlainUS = 0
	endPlainUS   = 253_402_300_800_000_000
)

// pair writes two digits.
func pair(dst []byte, v uint32) { dst[0], dst[1] = byte('0'+v/10), byte('0'+v%10) }

// civil turns days since 1970-01-01, not negative, into a date of the Gregorian calendar. Years are counted from March,
// so that the leap day is the last.
func civil(day int64) (year, month, mday int64) {
	const days400 = 146_097
	day += 719_468 // since 0000-03-01
	era := day / days400
	d := day - era*days400
	y := (d - d/1460 + d/36_524 - d/146_096) / 365
	d -= 365*y + y/4 - y/100
	m := (5*d + 2) / 153
	mday = d - (153*m+2)/5 + 1
	year, month = y+era*400, m+3
	if month > 12 {
		year, month = year+1, month-12
	}
	return year, month, mday
}

// LocalTimestamp is Timestamp for a date-time without a zone.
func LocalTimestamp(us int64) string { return instant(us).Format("2006-01-02T15:04:05.000000") }

// Date writes days since 1970-01-01 as YYYY-MM-DD.
func Date(days int64) string { return time.Unix(days*86400, 0).UTC().Format("2006-01-02") }

func instant(us int64) time.Time { return time.UnixMicro(us).UTC() }

func nanoInstant(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// BigInt returns the unscaled value of a decimal.
func BigInt(d column.Decimal128) *big.Int {
	v := big.NewInt(d.Hi)
	return v.Lsh(v, 64).Add(v, new(big.Int).SetUint64(d.Lo))
}

// Decimal writes an unscaled value with its scale, all digits kept: 1200 with scale 2 is 12.00.
func Decimal(d column.Decimal128, scale uint8) string {
	digits := BigInt(d).String()
	if scale == 0 {
		return digits
	}
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if pad := int(scale) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	point := len(digits) - int(scale)
	return sign + digits[:point] + "." + digits[point:]
}

// Float writes the shortest text that reads back as the same value; NaN, Infinity and -Infinity in words.
func Float(v float64, kind column.Kind) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	}
	bits := 64
	if kind == column.Float {
		bits = 32
	}
	return strconv.FormatFloat(v, 'g', -1, bits)
}

// Text writes a value that is not NULL as plain text: binary as base64, nested values as JSON.
func Text(t column.Type, d column.Datum) string {
	switch t.Kind {
	case column.Boolean:
		return strconv.FormatBool(d.I != 0)
	case column.Float, column.Double:
		return Float(d.F, t.Kind)
	case column.Decimal:
		return Decimal(d.Dec, t.Scale)
	case column.String:
		return d.S
	case column.Binary:
		return base64.StdEncoding.EncodeToString([]byte(d.S))
	case column.Date:
		return Date(d.I)
	case column.Timestamp:
		return Timestamp(d.I)
	case column.TimestampNTZ:
		return LocalTimestamp(d.I)
	case column.TimestampNS:
		return nanoInstant(d.I)
	case column.Array, column.Struct, column.Map:
		return string(AppendJSON(nil, t, d))
	}
	return strconv.FormatInt(d.I, 10)
}

// AppendJSON appends a value as JSON. Numbers keep every digit (read them with
// a decoder that does not go through a double), values that JSON has no number
// for and times become strings, intervals the number of their unit
// (microseconds, months).
func AppendJSON(dst []byte, t column.Type, d column.Datum) []byte {
	if d.Null || t.Kind == column.Void {
		return append(dst, "null"...)
	}
	switch t.Kind {
	case column.String:
		return AppendString(dst, d.S)
	case column.Float, column.Double:
		if math.IsNaN(d.F) || math.IsInf(d.F, 0) {
			return AppendString(dst, Float(d.F, t.Kind))
		}
		return append(dst, Float(d.F, t.Kind)...)
	case column.Binary, column.Date, column.Timestamp, column.TimestampNTZ, column.TimestampNS:
		return AppendString(dst, Text(t, d))
	case column.Array:
		return appendArray(dst, *t.Elem, d.L)
	case column.Struct:
		return appendStruct(dst, t.Fields, d.L)
	case column.Map:
		return appendMap(dst, t, d.L)
	}
	return append(dst, Text(t, d)...)
}

func appendArray(dst []byte, elem column.Type, values []column.Datum) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSON(dst, elem, v)
	}
	return append(dst, ']')
}

func appendStruct(dst []byte, fields []column.Field, values []column.Datum) []byte {
	dst = append(dst, '{')
	for i := range min(len(fields), len(values)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, fields[i].Name), ':')
		dst = AppendJSON(dst, fields[i].Type, values[i])
	}
	return append(dst, '}')
}

func appendMap(dst []byte, t column.Type, pairs []column.Datum) []byte {
	dst = append(dst, '{')
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, Text(*t.Key, pairs[i])), ':')
		dst = AppendJSON(dst, *t.Elem, pairs[i+1])
	}
	return append(dst, '}')
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r) // RuneError is U+FFFD
			i += size
			continue
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < 0x20 || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
		i++
	}
	return append(dst, '"')
}

// Labels writes labels as a JSON object in their own (sorted) order.
func Labels(labels []alert.Label) string {
	dst := []byte{'{'}
	for i, l := range labels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendString(dst, l.Name), ':')
		dst = AppendString(dst, l.Value)
	}
	return string(append(dst, '}'))
}
