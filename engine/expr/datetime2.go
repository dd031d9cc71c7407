package expr

import (
	"math"
	"math/big"

	"signalbox/engine/column"
)

const defaultPattern = "yyyy-MM-dd HH:mm:ss"

func datetimeConversions() []function {
	parse := func(name, params, doc, example, result string, t column.Kind, try bool) function {
		return bound(name, params, doc, example, result, func(name string, args []Expr) (Expr, error) { return bindParseTime(name, args, t, try) })
	}
	ts := column.Of(column.Timestamp)
	return []function{
		parse("to_timestamp to_timestamp_ltz", "text, pattern?", "Time from a text.", "to_timestamp('2016-12-31 00:12:00')", "2016-12-31 00:12:00", column.Timestamp, false),
		parse("to_timestamp_ntz", "text, pattern?", "Time without zone from a text.", "to_timestamp_ntz('2016-12-31', 'yyyy-MM-dd')", "2016-12-31 00:00:00", column.TimestampNTZ, false),
		parse("try_to_timestamp", "text, pattern?", "Time from a text, NULL when it is malformed.", "try_to_timestamp('foo')", "NULL", column.Timestamp, true),
		parse("to_date", "text, pattern?", "Date from a text.", "to_date('20091201', 'yyyyMMdd')", "2009-12-01", column.Date, false),
		parse("try_to_date", "text, pattern?", "Date from a text, NULL when it is malformed.", "try_to_date('foo')", "NULL", column.Date, true),
		bound("date_format", "time, pattern", "Text of a time by a pattern as in java.time.", "date_format(TIMESTAMP'2016-04-08 13:05:00', 'yyyy/M/d h:mm a')", "2016/4/8 1:05 PM", bindDateFormat),
		bound("from_unixtime", "seconds, pattern?", "Text of a time given in seconds.", "from_unixtime(0)", "1970-01-01 00:00:00", bindFromUnixtime),
		bound("unix_timestamp to_unix_timestamp", "time, pattern?", "Seconds since 1970 of a time or text, cut towards zero.", "unix_timestamp('2016-04-08', 'yyyy-MM-dd')", "1460073600", bindUnixTimestamp),
		fn("unix_seconds", "ts", "bigint", "Seconds since 1970, floor.", "unix_seconds(TIMESTAMP'1970-01-01 00:00:01')", "1", evalUnix(secondMicros)).sure(),
		fn("unix_millis", "ts", "bigint", "Milliseconds since 1970, floor.", "unix_millis(TIMESTAMP'1970-01-01 00:00:01')", "1000", evalUnix(1000)).sure(),
		fn("unix_micros", "ts", "bigint", "Microseconds since 1970.", "unix_micros(TIMESTAMP'1970-01-01 00:00:01')", "1000000", evalUnix(1)).sure(),
		bound("timestamp_seconds", "x", "Time from seconds since 1970.", "timestamp_seconds(1.5)", "1970-01-01 00:00:01.5", bindTimestampSeconds),
		fn("timestamp_millis", "bigint", "ts", "Time from milliseconds since 1970.", "timestamp_millis(1500)", "1970-01-01 00:00:01.5", func(a []column.Datum) (column.Datum, *Error) {
			v, ok := mulInt(a[0].I, 1000)
			if !ok {
				return column.NullDatum, errOverflow("timestamp_millis")
			}
			return column.I64(v), nil
		}),
		fn("timestamp_micros", "bigint", "ts", "Time from microseconds since 1970.", "timestamp_micros(1)", "1970-01-01 00:00:00.000001", func(a []column.Datum) (column.Datum, *Error) { return a[0], nil }).sure(),
		fn("make_date", "int int int", "date", "Date from year, month and day.", "make_date(2013, 7, 15)", "2013-07-15", evalMakeDate),
		bound("make_timestamp make_timestamp_ltz", "year, month, day, hour, minute, second, zone?", "Time from its fields.", "make_timestamp(2014, 12, 28, 6, 30, 45.887)", "2014-12-28 06:30:45.887", bindMakeTimestamp(ts, false)),
		bound("make_timestamp_ntz", "year, month, day, hour, minute, second", "Time without zone from its fields.", "make_timestamp_ntz(2014, 12, 28, 6, 30, 45)", "2014-12-28 06:30:45", bindMakeTimestamp(column.Of(column.TimestampNTZ), false)),
		bound("try_make_timestamp try_make_timestamp_ltz", "year, month, day, hour, minute, second, zone?", "Time from its fields, NULL when they are invalid.", "try_make_timestamp(2014, 13, 28, 6, 30, 45)", "NULL", bindMakeTimestamp(ts, true)),
		bound("try_make_timestamp_ntz", "year, month, day, hour, minute, second", "Time without zone from its fields, NULL when they are invalid.", "try_make_timestamp_ntz(2014, 13, 28, 6, 30, 45)", "NULL", bindMakeTimestamp(column.Of(column.TimestampNTZ), true)),
		bound("make_dt_interval", "days?, hours?, minutes?, seconds?", "Interval from days, hours, minutes and seconds.", "make_dt_interval(1, 12, 30, 1.5)", "INTERVAL '1 12:30:01.5' DAY TO SECOND", bindMakeDT),
		bound("make_interval", "years?, months?, weeks?, days?, hours?, mins?, secs?", "Calendar interval: months, days and seconds that are not converted into each other.", "make_interval(0, 1, 0, 2, 3)", "1 months 2 days 3 hours", bindMakeInterval),
		bound("try_make_interval", "years?, months?, weeks?, days?, hours?, mins?, secs?", "make_interval, NULL on overflow.", "try_make_interval(2147483647)", "NULL", bindMakeInterval),
		fn("make_ym_interval", "int? int?", "ym", "Interval from years and months.", "make_ym_interval(1, 2)", "INTERVAL '1-2' YEAR TO MONTH", func(a []column.Datum) (column.Datum, *Error) {
			v := int64(0)
			for i, d := range a {
				v += d.I * [2]int64{12, 1}[i]
			}
			if v > math.MaxInt32 || v < math.MinInt32 {
				return column.NullDatum, errOverflow("make_ym_interval")
			}
			return column.I64(v), nil
		}),
		bound("from_utc_timestamp", "time, zone", "UTC time shown as local time of a zone.", "from_utc_timestamp(TIMESTAMP'2016-08-31 00:00:00', 'Asia/Seoul')", "2016-08-31 09:00:00", bindUTCShift(true)),
		bound("to_utc_timestamp", "time, zone", "Local time of a zone as UTC.", "to_utc_timestamp(TIMESTAMP'2016-08-31 00:00:00', 'Asia/Seoul')", "2016-08-30 15:00:00", bindUTCShift(false)),
		bound("convert_timezone", "from?, to, time", "Local time of one zone as local time of another.", "convert_timezone('Europe/Brussels', 'America/Los_Angeles', TIMESTAMP_NTZ'2021-12-06 00:00:00')", "2021-12-05 15:00:00", bindConvertTimezone),
	}
}

// bindParseTime is to_timestamp, to_date and their try_ forms.
func bindParseTime(name string, args []Expr, k column.Kind, try bool) (Expr, error) {
	t := column.Of(k)
	if len(args) == 0 || len(args) > 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	if len(args) == 1 || args[0].Type().Kind != column.String {
		if k := args[0].Type().Kind; k != column.String && !isDatetime(k) && k != column.Void && !(k.IsNumeric() && t.Kind == column.Timestamp) {
			return nil, errInputType(name, 0, "STRING, DATE or TIMESTAMP", args[0])
		}
		return Cast(args[0], t, try)
	}
	b, err := bindArgs(name, "str str", args)
	if err != nil {
		return nil, err
	}
	p := newParsePatternArg(b[1])
	eval := func(a []column.Datum) (column.Datum, *Error) {
		pat, err := p.of(a[1].S)
		if err != nil {
			return column.NullDatum, err
		}
		parse := pat.parse
		if k == column.TimestampNTZ {
			parse = pat.parseLocal
		}
		us, ok := parse(a[0].S)
		switch {
		case !ok && try:
			return column.NullDatum, nil
		case !ok:
			return column.NullDatum, errCannotParse(name, a[0].S, a[1].S)
		case k == column.Date:
			us = floorDiv(us, dayMicros)
		}
		return column.I64(us), nil
	}
	return &scalar{name: name, args: b, t: t, eval: eval}, nil
}

func errCannotParse(name, text, pattern string) *Error {
	return runtimeErr("CANNOT_PARSE_TIMESTAMP", "22007", "%s: the text %q does not match the pattern %q; use try_to_timestamp to get NULL instead", name, clip(text), clip(pattern))
}

func bindDateFormat(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "ts str", args)
	if err != nil {
		return nil, err
	}
	return formatExpr(name, b), nil
}

// formatExpr formats a TIMESTAMP by a pattern.
func formatExpr(name string, b []Expr) Expr {
	p := newPatternArg(b[1])
	return &scalar{name: name, args: b, t: column.Of(column.String), eval: func(a []column.Datum) (column.Datum, *Error) {
		pat, err := p.of(a[1].S)
		if err != nil {
			return column.NullDatum, err
		}
		s, err := pat.format(a[0].I)
		return column.Str(s), err
	}}
}

func bindFromUnixtime(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "bigint str?", args)
	if err != nil {
		return nil, err
	}
	if len(b) == 1 {
		b = append(b, NewLiteral(column.Of(column.String), column.Str(defaultPattern)))
	}
	p := newPatternArg(b[1])
	return &scalar{name: name, args: b, t: column.Of(column.String), eval: func(a []column.Datum) (column.Datum, *Error) {
		pat, err := p.of(a[1].S)
		if err != nil {
			return column.NullDatum, err
		}
		us, ok := mulInt(a[0].I, secondMicros)
		if !ok {
			us = int64(uint64(a[0].I) * secondMicros) // Spark multiplies without a check here
		}
		s, err := pat.format(us)
		return column.Str(s), err
	}}, nil
}

func bindUnixTimestamp(name string, args []Expr) (Expr, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	bigint := column.Of(column.BigInt)
	if k := args[0].Type().Kind; isDatetime(k) {
		e := newCast(args[0], column.Of(column.Timestamp), false)
		return &mapInt{name: name, e: e, t: bigint, f: func(us int64) (int64, *Error) { return us / secondMicros, nil }}, nil
	}
	if len(args) == 1 {
		args = append(args, NewLiteral(column.Of(column.String), column.Str(defaultPattern)))
	}
	e, err := bindParseTime(name, args, column.Timestamp, false)
	if err != nil {
		return nil, err
	}
	return &mapInt{name: "seconds", e: e, t: bigint, f: func(us int64) (int64, *Error) { return us / secondMicros, nil }}, nil
}

func evalUnix(unit int64) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.I64(floorDiv(a[0].I, unit)), nil }
}

func bindTimestampSeconds(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "num", args)
	if err != nil {
		return nil, err
	}
	t := b[0].Type()
	eval := func(a []column.Datum) (column.Datum, *Error) {
		switch {
		case isFloating(t.Kind):
			if isNaN(a[0].F) || math.IsInf(a[0].F, 0) {
				return column.NullDatum, nil
			}
			return column.I64(saturate(a[0].F * secondMicros)), nil
		case t.Kind == column.Decimal:
			v := new(big.Int).Mul(bigOf(a[0].Dec), big.NewInt(secondMicros))
			q, r := new(big.Int).QuoRem(v, pow10(int(t.Scale)), new(big.Int))
			if r.Sign() != 0 || !q.IsInt64() {
				return column.NullDatum, errOverflow("timestamp_seconds (rounding necessary)")
			}
			return column.I64(q.Int64()), nil
		}
		v, ok := mulInt(a[0].I, secondMicros)
		if !ok {
			return column.NullDatum, errOverflow("timestamp_seconds")
		}
		return column.I64(v), nil
	}
	return &scalar{name: name, args: b, t: column.Of(column.Timestamp), eval: eval}, nil
}

func errField(what string) *Error {
	return runtimeErr("DATETIME_FIELD_OUT_OF_BOUNDS", "22023", "invalid value for %s; use the try_ form to get NULL instead", what)
}

func evalMakeDate(a []column.Datum) (column.Datum, *Error) {
	if !fieldsInRange(a[0].I, a[1].I, a[2].I) {
		return column.NullDatum, errField("year, month or day")
	}
	return column.I64(daysOf(a[0].I, int(a[1].I), int(a[2].I))), nil
}

func fieldsInRange(y, m, d int64) bool {
	const maxYear = 5_000_000 // more than the days of a DATE can hold is refused
	return y > -maxYear && y < maxYear && m >= 1 && m <= 12 && d >= 1 && d <= 31 && validDate(y, int(m), int(d))
}

func bindMakeTimestamp(t column.Type, try bool) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		b, err := bindArgs(name, "int int int int int any str?", args)
		if err != nil {
			return nil, err
		}
		if !implicitTo(b[5].Type(), column.DecimalType(16, 6)) {
			return nil, errInputType(name, 5, "DECIMAL(16,6)", b[5])
		}
		b[5] = newCast(b[5], column.DecimalType(16, 6), false)
		zone := zoneArg{}
		if len(b) == 7 {
			zone = newZoneArg(b[6])
		}
		eval := func(a []column.Datum) (column.Datum, *Error) {
			d, err := makeTimestamp(a, zone)
			if err != nil && try {
				return column.NullDatum, nil
			}
			return d, err
		}
		return &scalar{name: name, args: b, t: t, eval: eval}, nil
	}
}

func makeTimestamp(a []column.Datum, zone zoneArg) (column.Datum, *Error) {
	sec, ok := small(a[5].Dec)
	if !ok || !fieldsInRange(a[0].I, a[1].I, a[2].I) {
		return column.NullDatum, errField("year, month or day")
	}
	if a[3].I < 0 || a[3].I > 23 || a[4].I < 0 || a[4].I > 59 || sec < 0 || sec > minuteMicros {
		return column.NullDatum, errField("hour, minute or second")
	}
	us, ok := microsOf(daysOf(a[0].I, int(a[1].I), int(a[2].I)), a[3].I*hourMicros+a[4].I*minuteMicros+sec)
	if !ok {
		return column.NullDatum, errDatetimeOverflow("make_timestamp")
	}
	if len(a) == 7 {
		return zone.shift(us, a[6].S, false)
	}
	return column.I64(us), nil
}

func bindMakeDT(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "int? int? int? any?", args)
	if err != nil {
		return nil, err
	}
	if len(b) == 4 {
		b[3] = newCast(b[3], column.DecimalType(18, 6), false)
	}
	units := [3]int64{dayMicros, hourMicros, minuteMicros}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		v := int64(0)
		for i, d := range a {
			part, ok := int64(0), true
			if i == 3 {
				part, ok = small(d.Dec)
			} else {
				part, ok = mulInt(d.I, units[i])
			}
			sum, ok2 := intOp('+', v, part)
			if !ok || !ok2 {
				return column.NullDatum, errOverflow(name)
			}
			v = sum
		}
		return column.I64(v), nil
	}
	return &scalar{name: name, args: b, t: column.Of(column.IntervalDT), eval: eval}, nil
}

func bindConvertTimezone(name string, args []Expr) (Expr, error) {
	if len(args) == 2 {
		args = append([]Expr{NewLiteral(column.Of(column.String), column.Str("UTC"))}, args...)
	}
	b, err := bindArgs(name, "str str ntz", args)
	if err != nil {
		return nil, err
	}
	from, to := newZoneArg(b[0]), newZoneArg(b[1])
	return &scalar{name: name, args: b, t: column.Of(column.TimestampNTZ), eval: func(a []column.Datum) (column.Datum, *Error) {
		utc, err := from.shift(a[2].I, a[0].S, false)
		if err != nil {
			return utc, err
		}
		return to.shift(utc.I, a[1].S, true)
	}}, nil
}

func bindUTCShift(toLocal bool) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		b, err := bindArgs(name, "ts str", args)
		if err != nil {
			return nil, err
		}
		zone := newZoneArg(b[1])
		return typed(name, b, column.Of(column.Timestamp), func(a []column.Datum) (column.Datum, *Error) {
			return zone.shift(a[0].I, a[1].S, toLocal)
		}), nil
	}
}
