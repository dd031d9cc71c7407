package expr

import (
	"fmt"
	"math"
	"strings"

	"signalbox/engine/column"
)

// Calendar intervals: months, days and microseconds that are not converted into each other. Their type is column.CalendarInterval.

func isCalendar(t column.Type) bool { return t.Equal(column.CalendarInterval()) }

func calendarOf(months, days, us int64) (column.Datum, *Error) {
	if months != int64(int32(months)) || days != int64(int32(days)) {
		return column.NullDatum, errOverflow("interval")
	}
	return column.Datum{L: []column.Datum{column.I64(months), column.I64(days), column.I64(us)}}, nil
}

func calendarParts(d column.Datum) (months, days, us int64) { return d.L[0].I, d.L[1].I, d.L[2].I }

// calendarText renders each unit that is not zero.
func calendarText(d column.Datum) string {
	months, days, us := calendarParts(d)
	var parts []string
	add := func(n int64, unit string) {
		if n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit))
		}
	}
	add(months/12, "years")
	add(months%12, "months")
	add(days, "days")
	add(us/hourMicros, "hours")
	add(us/minuteMicros%60, "minutes")
	if rest := us % minuteMicros; rest != 0 {
		parts = append(parts, strings.TrimRight(strings.TrimRight(decText(decFromInt(rest), 6), "0"), ".")+" seconds")
	}
	if len(parts) == 0 {
		return "0 seconds"
	}
	return strings.Join(parts, " ")
}

func parseCalendar(s string) (column.Datum, bool) {
	months, days, us, err := ParseInterval(s)
	if err != nil {
		return column.NullDatum, false
	}
	d, bad := calendarOf(months, days, us)
	return d, bad == nil
}

func bindMakeInterval(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "int? int? int? int? int? int? any?", args)
	if err != nil {
		return nil, err
	}
	if len(b) == 7 {
		b[6] = newCast(b[6], column.DecimalType(18, 6), false)
	}
	try := strings.HasPrefix(name, "try_")
	units := [...]struct {
		part int
		size int64
	}{{0, 12}, {0, 1}, {1, 7}, {1, 1}, {2, hourMicros}, {2, minuteMicros}, {2, 1}}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		var sums [3]int64
		ok := true
		for i, d := range a {
			v := d.I
			if i == 6 {
				v, ok = small(d.Dec)
			}
			v, ok2 := mulInt(v, units[i].size)
			sum, ok3 := intOp('+', sums[units[i].part], v)
			sums[units[i].part] = sum
			if ok = ok && ok2 && ok3; !ok {
				break
			}
		}
		out, err := calendarOf(sums[0], sums[1], sums[2])
		if !ok {
			out, err = column.NullDatum, errOverflow(name)
		}
		if err != nil && try {
			return column.NullDatum, nil
		}
		return out, err
	}
	return &scalar{name: name, args: b, t: column.CalendarInterval(), eval: eval, safe: try}, nil
}

// calendarArith types + - * / where a calendar interval takes part; ok is false when none does.
func calendarArith(op string, a, b Expr, try bool) (Expr, bool, error) {
	x, y := isCalendar(a.Type()), isCalendar(b.Type())
	if !x && !y {
		return nil, false, nil
	}
	var eval evalFunc
	t := column.CalendarInterval()
	switch {
	case x && y && (op == "+" || op == "-"):
		eval = func(d []column.Datum) (column.Datum, *Error) { return addCalendars(op, d[0], d[1]) }
	case op == "*" || op == "/" && x:
		if !x {
			a, b = b, a
		}
		if k := b.Type().Kind; !k.IsNumeric() && k != column.String && k != column.Void {
			return nil, true, errDiffTypes(op, a, b)
		}
		b = newCast(b, column.Of(column.Double), false)
		eval = func(d []column.Datum) (column.Datum, *Error) { return scaleCalendar(op, d[0], d[1].F) }
	case op == "+" || op == "-" && y:
		if x {
			a, b = b, a
		}
		if k := a.Type().Kind; k == column.String || k == column.Void {
			a = newCast(a, column.Of(column.Timestamp), false)
		}
		if t = a.Type(); !isDatetime(t.Kind) {
			return nil, true, errDiffTypes(op, a, b)
		}
		eval = func(d []column.Datum) (column.Datum, *Error) { return shiftCalendar(op, t, d[0].I, d[1]) }
	default:
		return nil, true, errDiffTypes(op, a, b)
	}
	return &scalar{name: op, args: []Expr{a, b}, t: t, infix: true, safe: try, eval: func(d []column.Datum) (column.Datum, *Error) {
		out, err := eval(d)
		if err != nil && try {
			return column.NullDatum, nil
		}
		return out, err
	}}, true, nil
}

func addCalendars(op string, a, b column.Datum) (column.Datum, *Error) {
	var v [3]int64
	for i := range v {
		var ok bool
		if v[i], ok = intOp(op[0], a.L[i].I, b.L[i].I); !ok {
			return column.NullDatum, errOverflow(op)
		}
	}
	return calendarOf(v[0], v[1], v[2])
}

// scaleCalendar lets the fraction of a day become microseconds; that of a month is dropped, as in Spark.
func scaleCalendar(op string, d column.Datum, by float64) (column.Datum, *Error) {
	var v [3]float64
	for i := range v {
		if v[i] = float64(d.L[i].I) * by; op == "/" {
			if by == 0 {
				return column.NullDatum, errDivideByZero()
			}
			v[i] = float64(d.L[i].I) / by
		}
	}
	days := math.Trunc(v[1])
	us := math.Floor(v[2] + float64(float64(dayMicros)*(v[1]-days)) + 0.5)
	if !(math.Abs(v[0]) < 1<<31 && math.Abs(days) < 1<<31 && math.Abs(us) < 1<<63) {
		return column.NullDatum, errOverflow(op)
	}
	return calendarOf(int64(v[0]), int64(days), int64(us))
}

// shiftCalendar adds the months, then the days, then the microseconds to a date or timestamp.
func shiftCalendar(op string, t column.Type, v int64, d column.Datum) (column.Datum, *Error) {
	months, days, us := calendarParts(d)
	if op == "-" {
		months, days, us = -months, -days, -us
	}
	date := t.Kind == column.Date
	if date && us != 0 {
		return column.NullDatum, runtimeErr("INVALID_INTERVAL_WITH_MICROSECONDS_ADDITION", "22006", "an interval with hours, minutes or seconds cannot be added to a DATE; cast the date to TIMESTAMP")
	}
	out, err := addMonths(v, months, date)
	if err != nil {
		return out, err
	}
	if !date {
		more, ok := microsOf(days, us)
		sum, ok2 := intOp('+', out.I, more)
		if !ok || !ok2 {
			return column.NullDatum, errDatetimeOverflow("the timestamp is out of range")
		}
		return column.I64(sum), nil
	}
	if out.I += days; out.I != int64(int32(out.I)) {
		return column.NullDatum, errDatetimeOverflow("the date is out of range")
	}
	return out, nil
}

// calendarField is a field of a calendar interval, for extract.
func calendarField(field string, e Expr) Expr {
	pick := func(k column.Kind, f func(months, days, us int64) int64) Expr {
		return &scalar{name: "extract_" + strings.ToLower(field), args: []Expr{e}, t: column.Of(k), safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
			return column.I64(f(calendarParts(a[0]))), nil
		}}
	}
	switch field {
	case "YEAR":
		return pick(column.Int, func(m, _, _ int64) int64 { return m / 12 })
	case "MONTH":
		return pick(column.TinyInt, func(m, _, _ int64) int64 { return m % 12 })
	case "DAY":
		return pick(column.Int, func(_, d, us int64) int64 { return d + us/dayMicros })
	case "HOUR":
		return pick(column.TinyInt, func(_, _, us int64) int64 { return us % dayMicros / hourMicros })
	case "MINUTE":
		return pick(column.TinyInt, func(_, _, us int64) int64 { return us % hourMicros / minuteMicros })
	case "SECOND":
		return &scalar{name: "extract_second", args: []Expr{e}, t: column.DecimalType(8, 6), safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
			return column.Datum{Dec: decFromInt(a[0].L[2].I % minuteMicros)}, nil
		}}
	}
	return nil
}
