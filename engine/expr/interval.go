package expr

import (
	"math"
	"math/big"
	"strings"

	"signalbox/engine/column"
)

func errInterval(text, why string) *Error {
	return analysisErr("CANNOT_PARSE_INTERVAL", "22006", "cannot read the interval %q: %s; write for example '10 seconds' or '1 day 2 hours'", clip(text), why)
}

var intervalUnits = map[string]struct{ months, days, us int64 }{
	"year": {12, 0, 0}, "quarter": {3, 0, 0}, "month": {1, 0, 0}, "week": {0, 7, 0}, "day": {0, 1, 0},
	"hour": {0, 0, hourMicros}, "minute": {0, 0, minuteMicros}, "second": {0, 0, secondMicros},
	"millisecond": {0, 0, 1000}, "microsecond": {0, 0, 1},
}

// ParseInterval reads '10 seconds', 'INTERVAL 5 MINUTE', '1 day 2 hours' into months, days and microseconds.
func ParseInterval(s string) (months, days, us int64, err error) {
	text := strings.NewReplacer("'", " ", `"`, " ").Replace(strings.ToLower(trimAll(s)))
	f := strings.Fields(text)
	if len(f) > 0 && f[0] == "interval" {
		f = f[1:]
	}
	if len(f) == 0 {
		return 0, 0, 0, errInterval(s, "it is empty")
	}
	for len(f) > 0 {
		num := f[0]
		if (num == "-" || num == "+") && len(f) > 1 {
			num += f[1]
			f = f[1:]
		}
		unit := ""
		if i := strings.IndexFunc(num, func(r rune) bool { return r >= 'a' && r <= 'z' }); i > 0 {
			num, unit, f = num[:i], num[i:], f[1:]
		} else if len(f) > 1 {
			unit, f = f[1], f[2:]
		} else {
			return 0, 0, 0, errInterval(s, "a unit is missing after "+num)
		}
		u, ok := intervalUnits[strings.TrimSuffix(unit, "s")]
		if !ok {
			return 0, 0, 0, errInterval(s, "unknown unit "+unit)
		}
		v, scale, ok := parseDecimalText(num)
		if !ok || scale > 0 && u.us != secondMicros || strings.ContainsAny(num, "e") {
			return 0, 0, 0, errInterval(s, num+" is not a number of "+unit)
		}
		for _, p := range []struct {
			at   *int64
			unit int64
		}{{&months, u.months}, {&days, u.days}, {&us, u.us}} {
			part := rescale(new(big.Int).Mul(v, big.NewInt(p.unit)), scale, 0, down)
			sum := part.Add(part, big.NewInt(*p.at))
			if !sum.IsInt64() {
				return 0, 0, 0, errInterval(s, "it is too long")
			}
			*p.at = sum.Int64()
		}
	}
	return months, days, us, nil
}

// datetimeArith types + - * / where a date, a timestamp or an interval takes part; ok is false when none does.
func datetimeArith(op string, a, b Expr, try bool) (Expr, bool, error) {
	if e, ok, err := calendarArith(op, a, b, try); ok {
		return e, true, err
	}
	x, y := a.Type().Kind, b.Type().Kind
	if !isDatetime(x) && !isDatetime(y) && !isInterval(x) && !isInterval(y) {
		return nil, false, nil
	}
	if op == "+" && (isInterval(x) && !isInterval(y) || isDatetime(y) && (x.IsIntegral() || x == column.Void)) {
		a, b, x, y = b, a, y, x // the date goes first
	}
	switch {
	case (op == "*" || op == "/") && (isInterval(x) || isInterval(y)):
		return scaleInterval(op, a, b, try)
	case op == "div" && isInterval(x) && x == y:
		t := widerInterval(a.Type(), b.Type())
		return &arith{op: 'd', a: newCast(a, t, false), b: newCast(b, t, false), t: column.Of(column.BigInt), try: try}, true, nil
	case op != "+" && op != "-":
		return nil, false, nil
	case isInterval(x) && isInterval(y):
		return addIntervals(op, a, b, try)
	case isInterval(y):
		e, err := shiftTime(op, a, b, try)
		return e, true, err
	case isInterval(x) && y == column.Void:
		return &arith{op: op[0], a: a, b: newCast(b, a.Type(), false), t: a.Type(), try: try}, true, nil
	case x == column.Date && (y.IsIntegral() && y != column.BigInt || y == column.Void):
		t := column.Of(column.Int)
		return &arith{op: op[0], a: a, b: newCast(b, t, false), t: a.Type(), try: try}, true, nil
	case op == "-":
		e, err := subtractTimes(a, b)
		return e, true, err
	}
	return nil, true, errDiffTypes(op, a, b)
}

func addIntervals(op string, a, b Expr, try bool) (Expr, bool, error) {
	if a.Type().Kind != b.Type().Kind {
		return nil, true, errDiffTypes(op, a, b)
	}
	t := widerInterval(a.Type(), b.Type())
	return &arith{op: op[0], a: newCast(a, t, false), b: newCast(b, t, false), t: t, try: try}, true, nil
}

// scaleInterval types interval * number, number * interval and interval / number.
func scaleInterval(op string, a, b Expr, try bool) (Expr, bool, error) {
	if !isInterval(a.Type().Kind) {
		if op == "/" {
			return nil, true, errDiffTypes(op, a, b)
		}
		a, b = b, a
	}
	if k := b.Type().Kind; k == column.String || k == column.Void {
		b = newCast(b, column.Of(column.Double), false)
	}
	t, nt := column.Of(a.Type().Kind), b.Type()
	if !nt.Kind.IsNumeric() {
		return nil, true, errDiffTypes(op, a, b)
	}
	eval := func(d []column.Datum) (column.Datum, *Error) {
		out, err := scaleMicros(op, d[0].I, nt, d[1], t)
		if err != nil && try {
			return column.NullDatum, nil
		}
		return out, err
	}
	return &scalar{name: op, args: []Expr{a, b}, t: t, eval: eval, infix: true, safe: try}, true, nil
}

func scaleMicros(op string, v int64, nt column.Type, n column.Datum, t column.Type) (column.Datum, *Error) {
	if isFloating(nt.Kind) {
		f := float64(v) * n.F
		if op == "/" {
			if n.F == 0 {
				return column.NullDatum, errDivideByZero()
			}
			f = float64(v) / n.F
		}
		lo, hi := limits(t.Kind)
		f = roundHalfUp(f)
		if isNaN(f) || f < float64(lo) || f >= float64(hi) {
			return column.NullDatum, errOverflow(op)
		}
		return column.I64(int64(f)), nil
	}
	num, scale := big.NewInt(n.I), 0
	if nt.Kind == column.Decimal {
		num, scale = bigOf(n.Dec), int(nt.Scale)
	}
	r := big.NewInt(v)
	if op == "*" {
		r = rescale(r.Mul(r, num), scale, 0, halfUp)
	} else {
		if num.Sign() == 0 {
			return column.NullDatum, errDivideByZero()
		}
		r.Mul(r, pow10(scale))
		if num.Sign() < 0 {
			r.Neg(r)
			num = new(big.Int).Neg(num)
		}
		r = divRound(r, num, halfUp)
	}
	lo, hi := limits(t.Kind)
	if !r.IsInt64() || r.Int64() < lo || r.Int64() > hi {
		return column.NullDatum, errOverflow(op)
	}
	return column.I64(r.Int64()), nil
}

func roundHalfUp(f float64) float64 { return math.Round(f) }

// shiftTime types a date or timestamp plus or minus an interval.
func shiftTime(op string, a, b Expr, try bool) (Expr, error) {
	if k := a.Type().Kind; k == column.String && b.Type().Kind == column.IntervalDT { // a text stays a text
		e, err := shiftTime(op, newCast(a, column.Of(column.Timestamp), try), b, try)
		if err != nil {
			return nil, err
		}
		return newCast(e, column.Of(column.String), false), nil
	} else if k == column.Void {
		a = newCast(a, column.Of(column.Timestamp), false)
	}
	if !isDatetime(a.Type().Kind) {
		return nil, errDiffTypes(op, a, b)
	}
	sign := int64(1)
	if op == "-" {
		sign = -1
	}
	if b.Type().Kind == column.IntervalYM {
		date := a.Type().Kind == column.Date
		eval := func(d []column.Datum) (column.Datum, *Error) {
			out, err := addMonths(d[0].I, sign*d[1].I, date)
			if err != nil && try {
				return column.NullDatum, nil
			}
			return out, err
		}
		return &scalar{name: op, args: []Expr{a, b}, t: a.Type(), eval: eval, infix: true, safe: try}, nil
	}
	if a.Type().Kind == column.Date {
		if b.Type().Equal(column.IntervalOf(column.FieldDay, column.FieldDay)) {
			days, err := Cast(b, column.Of(column.Int), false)
			return &arith{op: op[0], a: a, b: days, t: a.Type(), try: try}, err
		}
		a = newCast(a, column.Of(column.Timestamp), false)
	}
	return &arith{op: op[0], a: a, b: b, t: a.Type(), try: try}, nil
}

// addMonths shifts a date (days) or timestamp (µs) by months; the day is cut to the length of the month.
func addMonths(v, months int64, date bool) (column.Datum, *Error) {
	days, rest := v, int64(0)
	if !date {
		days, rest = floorDivMod(v, dayMicros)
	}
	y, m, d := civil(days)
	total := y*12 + int64(m) - 1 + months
	y, mm := floorDivMod(total, 12)
	days = daysOf(y, int(mm)+1, min(d, monthDays(y, int(mm)+1)))
	if date {
		if days < math.MinInt32 || days > math.MaxInt32 {
			return column.NullDatum, errDatetimeOverflow("the date is out of range")
		}
		return column.I64(days), nil
	}
	us, ok := microsOf(days, rest)
	if !ok {
		return column.NullDatum, errDatetimeOverflow("the timestamp is out of range")
	}
	return column.I64(us), nil
}

// subtractTimes types date - date and timestamp - timestamp.
func subtractTimes(a, b Expr) (Expr, error) {
	x, y := a.Type().Kind, b.Type().Kind
	t := column.Of(column.IntervalDT)
	fix := func(e Expr, other column.Kind) Expr {
		if k := e.Type().Kind; k == column.String || k == column.Void {
			return newCast(e, column.Of(other), false)
		}
		return e
	}
	if isDatetime(x) {
		b = fix(b, x)
	} else {
		a = fix(a, y)
	}
	x, y = a.Type().Kind, b.Type().Kind
	if !isDatetime(x) || !isDatetime(y) {
		return nil, errDiffTypes("-", a, b)
	}
	if x == column.Date && y == column.Date {
		t = column.IntervalOf(column.FieldDay, column.FieldDay)
		eval := func(d []column.Datum) (column.Datum, *Error) {
			v, ok := mulInt(d[0].I-d[1].I, dayMicros)
			if !ok {
				return column.NullDatum, errOverflow("-")
			}
			return column.I64(v), nil
		}
		return &scalar{name: "-", args: []Expr{a, b}, t: t, eval: eval, infix: true}, nil
	}
	us := column.Of(column.Timestamp)
	return &arith{op: '-', a: newCast(a, us, false), b: newCast(b, us, false), t: t}, nil
}
