package expr

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// Text renders a value as CAST(… AS STRING) does; NULL gives "NULL".
func Text(t column.Type, d column.Datum) string {
	if d.Null || t.Kind == column.Void {
		return "NULL"
	}
	switch t.Kind {
	case column.Boolean:
		if d.I != 0 {
			return "true"
		}
		return "false"
	case column.Float, column.Double:
		return javaDouble(d.F, t.Kind == column.Float)
	case column.Decimal:
		return decText(d.Dec, int(t.Scale))
	case column.String, column.Binary:
		return d.S
	case column.Date:
		return dateText(d.I)
	case column.Timestamp, column.TimestampNTZ:
		return timestampText(d.I)
	case column.IntervalDT, column.IntervalYM:
		return intervalText(t, d.I)
	case column.Array, column.Struct, column.Map:
		if isCalendar(t) {
			return calendarText(d)
		}
		return nestedText(t, d)
	}
	return strconv.FormatInt(d.I, 10)
}

func partText(t column.Type, d column.Datum) string {
	if d.Null {
		return "null"
	}
	return Text(t, d)
}

func nestedText(t column.Type, d column.Datum) string {
	var b strings.Builder
	open, shut := "{", "}"
	if t.Kind == column.Array {
		open, shut = "[", "]"
	}
	b.WriteString(open)
	for i, x := range d.L {
		switch {
		case i == 0:
		case t.Kind == column.Map && i%2 == 1:
			b.WriteString(" -> ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(partText(memberType(t, i), x))
	}
	return b.String() + shut
}

// literalText renders a constant canonically: two constants are equal when their texts are.
func literalText(t column.Type, d column.Datum) string {
	if d.Null {
		if t.Kind == column.Void {
			return "NULL"
		}
		return "CAST(NULL AS " + t.String() + ")"
	}
	switch t.Kind {
	case column.Int, column.Boolean:
		return Text(t, d)
	case column.BigInt:
		return Text(t, d) + "L"
	case column.Double:
		return Text(t, d) + "D"
	case column.String:
		return "'" + strings.ReplaceAll(strings.ReplaceAll(d.S, `\`, `\\`), "'", `\'`) + "'"
	case column.Binary:
		return "X'" + hex.EncodeToString([]byte(d.S)) + "'"
	case column.Decimal:
		return fmt.Sprintf("CAST(%s AS %s)", Text(t, d), t)
	case column.Array, column.Struct, column.Map:
		if isCalendar(t) {
			return "INTERVAL '" + calendarText(d) + "'"
		}
		parts := make([]string, len(d.L))
		for i, x := range d.L {
			parts[i] = literalText(memberType(t, i), x)
		}
		return t.String() + "(" + strings.Join(parts, ", ") + ")"
	}
	return strings.ToUpper(t.String()) + "'" + Text(t, d) + "'"
}

func dateText(days int64) string {
	y, m, d := civil(days)
	return yearText(y) + fmt.Sprintf("-%02d-%02d", m, d)
}

func yearText(y int64) string {
	switch {
	case y > 9999:
		return fmt.Sprintf("+%d", y)
	case y < 0:
		return fmt.Sprintf("-%04d", -y)
	}
	return fmt.Sprintf("%04d", y)
}

func timestampText(us int64) string {
	days, rest := floorDivMod(us, dayMicros)
	s := dateText(days) + fmt.Sprintf(" %02d:%02d:%02d", rest/hourMicros, rest/minuteMicros%60, rest/secondMicros%60)
	if f := rest % secondMicros; f != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%06d", f), "0")
	}
	return s
}
