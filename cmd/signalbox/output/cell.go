package output

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"signalbox/engine/column"
	"signalbox/sinks/row"
)

// appendCell appends row i of a column as text; NULL and absent columns append nothing.
// The frequent kinds are written without boxing, the rest through package row.
func appendCell(dst []byte, c *column.Column, i int, quote func([]byte, string) []byte) []byte {
	if c == nil || c.IsNull(i) {
		return dst
	}
	switch c.Type.Kind {
	case column.TinyInt, column.SmallInt, column.Int, column.BigInt:
		return strconv.AppendInt(dst, c.I64[i], 10)
	case column.Timestamp:
		return AppendTimestamp(dst, c.I64[i])
	case column.Boolean:
		return strconv.AppendBool(dst, c.I64[i] != 0)
	case column.String:
		return quote(dst, c.Str(i))
	case column.Double, column.Float:
		return AppendFloat(dst, c.F64[i], c.Type.Kind)
	}
	return quote(dst, row.Text(c.Type, c.Datum(i)))
}

const microsPerDay = 86_400_000_000

// AppendTimestamp appends microseconds since the epoch as RFC 3339 in UTC with six digits.
func AppendTimestamp(dst []byte, us int64) []byte {
	day, rest := us/microsPerDay, us%microsPerDay
	if rest < 0 {
		day--
		rest += microsPerDay
	}
	if day < -719_162 || day > 2_932_896 { // outside the years 1 to 9999
		return append(dst, row.Timestamp(us)...)
	}
	y, m, d := time.Unix(day*86_400, 0).UTC().Date()
	dst = digits(dst, y, 4)
	dst = digits(append(dst, '-'), int(m), 2)
	dst = digits(append(dst, '-'), d, 2)
	sec := int(rest / 1_000_000)
	dst = digits(append(dst, 'T'), sec/3600, 2)
	dst = digits(append(dst, ':'), sec/60%60, 2)
	dst = digits(append(dst, ':'), sec%60, 2)
	dst = digits(append(dst, '.'), int(rest%1_000_000), 6)
	return append(dst, 'Z')
}

// digits appends n with leading zeros to the given width.
func digits(dst []byte, n, width int) []byte {
	at := len(dst)
	dst = append(dst, "000000"[:width]...)
	for i := at + width - 1; i >= at; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// AppendFloat appends the shortest text that reads back as the same value. A
// whole number keeps a fraction (25.0), so that a DOUBLE never looks like a BIGINT.
func AppendFloat(dst []byte, v float64, kind column.Kind) []byte {
	bits := 64
	if kind == column.Float {
		bits = 32
	}
	size := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return append(dst, row.Float(v, kind)...)
	case v != 0 && (size < 1e-5 || size >= 1e16):
		return strconv.AppendFloat(dst, v, 'e', -1, bits)
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, v, 'f', -1, bits)
	if bytes.IndexByte(dst[at:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}
