package api

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"time"

	"signalbox/engine/column"
)

// appendValue writes a value as JSON: integers and decimals with every digit, times RFC 3339 with
// microseconds, not-a-number and infinity as strings, binary as hex.
func appendValue(dst []byte, t column.Type, d column.Datum) []byte {
	if d.Null {
		return append(dst, "null"...)
	}
	switch t.Kind {
	case column.Void:
		return append(dst, "null"...)
	case column.Boolean:
		return strconv.AppendBool(dst, d.I != 0)
	case column.Float, column.Double:
		return appendFloat(dst, t.Kind, d.F)
	case column.Decimal:
		return append(dst, decimal(d.Dec, int(t.Scale))...)
	case column.String:
		return appendText(dst, d.S)
	case column.Binary:
		dst = append(dst, '"')
		for i := range len(d.S) {
			dst = append(dst, "0123456789abcdef"[d.S[i]>>4], "0123456789abcdef"[d.S[i]&15])
		}
		return append(dst, '"')
	case column.Date:
		return appendText(dst, time.Unix(d.I*86400, 0).UTC().Format(time.DateOnly))
	case column.Timestamp:
		return appendText(dst, timestamp(d.I))
	case column.TimestampNTZ:
		return appendText(dst, time.UnixMicro(d.I).UTC().Format("2006-01-02T15:04:05.000000"))
	case column.Array, column.Map, column.Struct:
		return appendNested(dst, t, d)
	}
	return strconv.AppendInt(dst, d.I, 10)
}

func timestamp(us int64) string {
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z")
}

func appendFloat(dst []byte, k column.Kind, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Infinity"`...)
	}
	bits := 64
	if k == column.Float {
		bits = 32
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func decimal(d column.Decimal128, scale int) string {
	v := new(big.Int).Lsh(big.NewInt(d.Hi), 64)
	v.Add(v, new(big.Int).SetUint64(d.Lo))
	neg := v.Sign() < 0
	s := v.Abs(v).String()
	if scale > 0 {
		for len(s) <= scale {
			s = "0" + s
		}
		s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	}
	if neg {
		return "-" + s
	}
	return s
}

func appendText(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return append(dst, "null"...)
	}
	return append(dst, b...)
}

func appendNested(dst []byte, t column.Type, d column.Datum) []byte {
	switch t.Kind {
	case column.Array:
		dst = append(dst, '[')
		for i, v := range d.L {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, *t.Elem, v)
		}
		return append(dst, ']')
	case column.Struct:
		dst = append(dst, '{')
		for i, v := range d.L {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(append(appendText(dst, t.Fields[i].Name), ':'), t.Fields[i].Type, v)
		}
		return append(dst, '}')
	}
	dst = append(dst, '[') // a map: keys need not be strings
	for i := 0; i+1 < len(d.L); i += 2 {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendValue(append(dst, `{"key":`...), *t.Key, d.L[i])
		dst = append(appendValue(append(dst, `,"value":`...), *t.Elem, d.L[i+1]), '}')
	}
	return append(dst, ']')
}

// appendRows writes {"index":…,"columns":[…],"rows":[[…],…]}.
func appendRows(dst []byte, index uint64, b *column.Batch) []byte {
	dst = strconv.AppendUint(append(dst, `{"index":`...), index, 10)
	dst = append(dst, `,"columns":[`...)
	for i, f := range b.Schema.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, `{"name":`...), f.Name)
		dst = append(appendText(append(dst, `,"type":`...), f.Type.String()), '}')
	}
	dst = append(dst, `],"rows":[`...)
	for i := range b.Len {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		for j, c := range b.Cols {
			if j > 0 {
				dst = append(dst, ',')
			}
			if c == nil {
				dst = append(dst, "null"...)
				continue
			}
			dst = appendValue(dst, c.Type, c.Datum(i))
		}
		dst = append(dst, ']')
	}
	return append(dst, "]}\n"...)
}
