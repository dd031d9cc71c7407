package engine

import (
	"encoding/hex"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"signalbox/engine/column"
)

// maxRowJSON bounds the text of a refused row, in bytes.
const maxRowJSON = 1024

// rowJSON renders a row as a JSON object; when it is too long the last columns are left out.
func rowJSON(s *column.Schema, row []column.Datum) string {
	out := []byte{'{'}
	for i, f := range s.Fields {
		if i >= len(row) || row[i].Null {
			continue
		}
		at := len(out)
		if at > 1 {
			out = append(out, ',')
		}
		out = append(appendJSONString(out, f.Name), ':')
		out = appendJSON(out, f.Type, row[i])
		if len(out) > maxRowJSON-len(`,"…":1}`)-4 {
			out = out[:at]
			if at > 1 {
				out = append(out, ',')
			}
			out = append(out, `"…":1`...)
			break
		}
	}
	return string(append(out, '}'))
}

func appendJSON(b []byte, t column.Type, d column.Datum) []byte {
	if d.Null {
		return append(b, "null"...)
	}
	switch t.Kind {
	case column.Boolean:
		return strconv.AppendBool(b, d.I != 0)
	case column.Float, column.Double:
		if math.IsNaN(d.F) || math.IsInf(d.F, 0) {
			return appendJSONString(b, strconv.FormatFloat(d.F, 'g', -1, 64))
		}
		return strconv.AppendFloat(b, d.F, 'g', -1, 64)
	case column.String:
		return appendJSONString(b, d.S)
	case column.Binary:
		return appendJSONString(b, hex.EncodeToString([]byte(d.S)))
	case column.Timestamp, column.TimestampNTZ:
		return appendJSONString(b, time.UnixMicro(d.I).UTC().Format("2006-01-02T15:04:05.000000Z"))
	case column.TimestampNS:
		return appendJSONString(b, time.Unix(0, d.I).UTC().Format("2006-01-02T15:04:05.000000000Z"))
	case column.Date:
		return appendJSONString(b, time.Unix(d.I*86400, 0).UTC().Format("2006-01-02"))
	case column.Array, column.Map, column.Struct:
		return appendNested(b, t, d)
	case column.Decimal:
		b = append(b, `"unscaled 0x`...)
		b = strconv.AppendUint(b, uint64(d.Dec.Hi), 16)
		b = append(b, '_')
		b = strconv.AppendUint(b, d.Dec.Lo, 16)
		return append(b, '"')
	}
	return strconv.AppendInt(b, d.I, 10)
}

func appendNested(b []byte, t column.Type, d column.Datum) []byte {
	b = append(b, '[')
	for i, x := range d.L {
		if i > 0 {
			b = append(b, ',')
		}
		et := t.Elem
		switch {
		case t.Kind == column.Struct:
			et = &t.Fields[i].Type
		case t.Kind == column.Map && i%2 == 0:
			et = t.Key
		}
		if b = appendJSON(b, *et, x); len(b) > maxRowJSON {
			break
		}
	}
	return append(b, ']')
}

func appendJSONString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s) && len(b) < maxRowJSON; {
		c, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == utf8.RuneError && n == 1:
			b = append(b, `\ufffd`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c < 0x20:
			b = append(b, `\u00`...)
			b = append(b, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}
