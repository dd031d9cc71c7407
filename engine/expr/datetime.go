package expr

import (
	"math"
	"slices"
	"strings"

	"signalbox/engine/column"
)

func dateInt(f func(days int64) int) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.I64(int64(f(a[0].I))), nil }
}

func dateField(name, doc, example, result string, f func(days int64) int) function {
	return fn(name, "date", "int", doc, example, result, dateInt(f)).sure()
}

func clockField(name, doc, example, result string, unit, mod int64) function {
	return bound(name, "time", doc, example, result, func(name string, args []Expr) (Expr, error) {
		b, err := bindTime(name, args)
		if err != nil {
			return nil, err
		}
		return clockExpr(name, b, unit, mod), nil
	})
}

// clockExpr is hour, minute and second of a timestamp.
func clockExpr(name string, e Expr, unit, mod int64) Expr {
	return &mapInt{name: name, e: e, t: column.Of(column.Int), f: func(us int64) (int64, *Error) {
		_, rest := floorDivMod(us, dayMicros)
		return rest / unit % mod, nil
	}}
}

// bindTime takes one TIMESTAMP or TIMESTAMP_NTZ.
func bindTime(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	if args[0].Type().Kind == column.TimestampNTZ {
		return args[0], nil
	}
	return toClass(name, 0, args[0], "ts")
}

func yearOf(d int64) int { y, _, _ := civil(d); return int(y) }

func quarterOf(d int64) int { _, m, _ := civil(d); return (m + 2) / 3 }

func monthOf(d int64) int { _, m, _ := civil(d); return m }

func dayOf(d int64) int { _, _, day := civil(d); return day }

func dayOfWeek(d int64) int { return (weekdayOf(d)+1)%7 + 1 }

// isoWeek returns the ISO week and the year it belongs to.
func isoWeek(days int64) (year, week int) {
	thursday := days - int64(weekdayOf(days)) + 3
	y, _, _ := civil(thursday)
	return int(y), int(thursday-daysOf(y, 1, 1))/7 + 1
}

func weekOf(d int64) int { _, w := isoWeek(d); return w }

func weekYear(d int64) int { y, _ := isoWeek(d); return y }

func datetimeFunctions() []function {
	return []function{
		dateField("year", "Year of a date.", "year(DATE'2016-07-30')", "2016", yearOf),
		dateField("quarter", "Quarter of a date, 1 to 4.", "quarter(DATE'2016-08-31')", "3", quarterOf),
		dateField("month", "Month of a date, 1 to 12.", "month(DATE'2016-07-30')", "7", monthOf),
		dateField("day dayofmonth", "Day of the month.", "day(DATE'2009-07-30')", "30", dayOf),
		dateField("dayofweek", "Day of the week, 1 = Sunday.", "dayofweek(DATE'2009-07-30')", "5", dayOfWeek),
		dateField("weekday", "Day of the week, 0 = Monday.", "weekday(DATE'2009-07-30')", "3", weekdayOf),
		dateField("dayofyear", "Day of the year.", "dayofyear(DATE'2016-04-09')", "100", yearDay),
		dateField("weekofyear", "ISO week of the year.", "weekofyear(DATE'2008-02-20')", "8", weekOf),
		fn("dayname", "date", "str", "Short name of the day of the week.", "dayname(DATE'2008-02-20')", "Wed", func(a []column.Datum) (column.Datum, *Error) {
			return column.Str(dayNames[weekdayOf(a[0].I)][:3]), nil
		}).sure(),
		fn("monthname", "date", "str", "Short name of the month.", "monthname(DATE'2008-02-20')", "Feb", func(a []column.Datum) (column.Datum, *Error) {
			return column.Str(monthNames[monthOf(a[0].I)-1][:3]), nil
		}).sure(),
		clockField("hour", "Hour of a time, 0 to 23.", "hour(TIMESTAMP'2009-07-30 12:58:59')", "12", hourMicros, 24),
		clockField("minute", "Minute of a time.", "minute(TIMESTAMP'2009-07-30 12:58:59')", "58", minuteMicros, 60),
		clockField("second", "Second of a time.", "second(TIMESTAMP'2009-07-30 12:58:59')", "59", secondMicros, 60),
		bound("extract", "field FROM source", "A field of a date, time or interval.", "extract(YEAR FROM TIMESTAMP'2019-08-12 01:00:00')", "2019", bindExtract),
		bound("date_part datepart", "'field', source", "The same as extract.", "date_part('DOW', DATE'2019-08-12')", "2", bindExtract),
		bound("time_bucket", "width, time, origin?", "Beginning of the interval of that width, counted from the origin (1970-01-01), that a time falls into.", "time_bucket(INTERVAL '15' MINUTE, TIMESTAMP'2024-01-01 11:27:00')", "2024-01-01 11:15:00", bindTimeBucket),
		bound("date_trunc", "unit, time", "Time cut to a unit: YEAR, QUARTER, MONTH, WEEK, DAY, HOUR … MICROSECOND.", "date_trunc('HOUR', TIMESTAMP'2015-03-05 09:32:05')", "2015-03-05 09:00:00", bindDateTrunc),
		fn("trunc", "date str", "date", "Date cut to a unit: YEAR, QUARTER, MONTH or WEEK.", "trunc(DATE'2019-08-04', 'week')", "2019-07-29", func(a []column.Datum) (column.Datum, *Error) {
			d, unit, ok := truncDay(a[0].I, strings.ToUpper(a[1].S))
			if !ok || unit == "DAY" {
				return column.NullDatum, nil
			}
			return column.I64(d), nil
		}),
		bound("date_add dateadd", "date, days", "Date some days later; dateadd(unit, n, time) is timestampadd.", "date_add(DATE'2016-07-30', 1)", "2016-07-31", bindDateAdd),
		bound("date_sub", "date, days", "Date some days earlier.", "date_sub(DATE'2016-07-30', 1)", "2016-07-29", bindDateAdd),
		fn("datediff date_diff", "date date", "int", "Days from the second date to the first.", "datediff(DATE'2009-07-31', DATE'2009-07-30')", "1", func(a []column.Datum) (column.Datum, *Error) {
			return column.I64(int64(int32(a[0].I - a[1].I))), nil
		}).sure(),
		fn("months_between", "ts ts bool?", "double", "Months from the second time to the first, with a fraction of 31-day months.", "months_between(TIMESTAMP'1997-02-28 10:30:00', TIMESTAMP'1996-10-30 00:00:00')", "3.94959677", evalMonthsBetween),
		fn("add_months", "date int", "date", "Date some months later; the day is cut to the length of the month.", "add_months(DATE'2016-08-31', 1)", "2016-09-30", func(a []column.Datum) (column.Datum, *Error) {
			return addMonths(a[0].I, a[1].I, true)
		}),
		fn("last_day", "date", "date", "Last day of the month.", "last_day(DATE'2009-01-12')", "2009-01-31", func(a []column.Datum) (column.Datum, *Error) {
			y, m, _ := civil(a[0].I)
			return column.I64(daysOf(y, m, monthDays(y, m))), nil
		}),
		fn("next_day", "date str", "date", "First date after a date that is a given day of the week.", "next_day(DATE'2015-01-14', 'TU')", "2015-01-20", evalNextDay),
		fn("unix_date", "date", "int", "Days since 1970-01-01.", "unix_date(DATE'1970-01-02')", "1", func(a []column.Datum) (column.Datum, *Error) { return a[0], nil }).sure(),
		fn("date_from_unix_date", "int", "date", "Date from days since 1970-01-01.", "date_from_unix_date(1)", "1970-01-02", func(a []column.Datum) (column.Datum, *Error) { return a[0], nil }).sure(),
		bound("timestampdiff", "unit, start, end", "Whole units from start to end.", "timestampdiff(MINUTE, TIMESTAMP'2021-11-11 01:00:00', TIMESTAMP'2021-11-11 01:02:30')", "2", bindTimestampDiff),
		bound("timestampadd", "unit, n, time", "Time n units later.", "timestampadd(HOUR, 8, TIMESTAMP'2022-02-11 20:30:00')", "2022-02-12 04:30:00", bindTimestampAdd),
	}
}

// fieldNames maps what extract accepts to one name of each field.
var fieldNames = fieldAliases(`YEAR Y YEARS YR YRS;YEAROFWEEK;QUARTER QTR;MONTH MON MONS MONTHS;WEEK W WEEKS;DAY D DAYS;DAYOFWEEK DOW;DAYOFWEEK_ISO DOW_ISO;
DOY;HOUR H HOURS HR HRS;MINUTE M MIN MINS MINUTES;SECOND S SEC SECONDS SECS`)

func fieldAliases(text string) map[string]string {
	out := map[string]string{}
	for _, group := range strings.Split(text, ";") {
		names := strings.Fields(group)
		for _, n := range names {
			out[n] = names[0]
		}
	}
	return out
}

func bindExtract(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	d, ok := Constant(Fold(args[0]))
	if !ok || args[0].Type().Kind != column.String {
		return nil, analysisErr("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "%s: the field must be a constant", name)
	}
	src := args[1]
	field, ok := fieldNames[strings.ToUpper(d.S)]
	bad := analysisErr("INVALID_EXTRACT_FIELD", "42000", "%s: cannot take the field %s from %s", name, d.S, src.Type())
	if !ok {
		return nil, bad
	}
	if isCalendar(src.Type()) {
		if e := calendarField(field, src); e != nil {
			return e, nil
		}
		return nil, bad
	}
	if isInterval(src.Type().Kind) {
		if e := intervalField(field, src); e != nil {
			return e, nil
		}
		return nil, bad
	}
	if k := src.Type().Kind; k == column.String {
		src = newCast(src, column.Of(column.Timestamp), false)
	} else if !isDatetime(k) && k != column.Void {
		return nil, analysisErr("INVALID_EXTRACT_BASE_FIELD_TYPE", "42000", "%s: %s is no date, time or interval but %s", name, src, src.Type())
	}
	days := map[string]func(int64) int{"YEAR": yearOf, "YEAROFWEEK": weekYear, "QUARTER": quarterOf, "MONTH": monthOf, "WEEK": weekOf, "DAY": dayOf,
		"DAYOFWEEK": dayOfWeek, "DAYOFWEEK_ISO": func(d int64) int { return weekdayOf(d) + 1 }, "DOY": yearDay}
	if f, ok := days[field]; ok {
		return &scalar{name: "extract_" + strings.ToLower(field), args: []Expr{newCast(src, column.Of(column.Date), false)}, t: column.Of(column.Int), eval: dateInt(f), safe: true}, nil
	}
	t, err := bindTime(name, []Expr{src})
	if err != nil {
		return nil, err
	}
	switch field {
	case "HOUR":
		return clockExpr("hour", t, hourMicros, 24), nil
	case "MINUTE":
		return clockExpr("minute", t, minuteMicros, 60), nil
	}
	return secondsOf(t), nil
}

// secondsOf is seconds with their fraction, DECIMAL(8,6).
func secondsOf(e Expr) Expr {
	return &scalar{name: "extract_second", args: []Expr{e}, t: column.DecimalType(8, 6), safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		v := a[0].I
		if isInterval(e.Type().Kind) {
			return column.Datum{Dec: decFromInt(v % minuteMicros)}, nil
		}
		_, rest := floorDivMod(v, minuteMicros)
		return column.Datum{Dec: decFromInt(rest)}, nil
	}}
}

func intervalField(field string, e Expr) Expr {
	part := func(k column.Kind, unit, mod int64) Expr {
		return &mapInt{name: "extract_" + strings.ToLower(field), e: e, t: column.Of(k), f: func(v int64) (int64, *Error) {
			v /= unit
			if mod > 0 {
				v %= mod
			}
			return v, nil
		}}
	}
	from, to := e.Type().IntervalFields()
	i := slices.Index(fieldWords[:], field)
	if i < int(from) || i > int(to) {
		return nil
	}
	switch uint8(i) {
	case column.FieldYear:
		return part(column.Int, 12, 0)
	case column.FieldMonth:
		return part(column.TinyInt, 1, 12)
	case column.FieldDay:
		return part(column.Int, dayMicros, 0)
	case column.FieldHour:
		return part(column.TinyInt, hourMicros, 24)
	case column.FieldMinute:
		return part(column.TinyInt, minuteMicros, 60)
	}
	return secondsOf(e)
}

// truncDay cuts a date to a unit; unit tells its canonical name.
func truncDay(days int64, name string) (out int64, unit string, ok bool) {
	y, m, _ := civil(days)
	switch name {
	case "YEAR", "YYYY", "YY":
		return daysOf(y, 1, 1), "YEAR", true
	case "QUARTER":
		return daysOf(y, (m-1)/3*3+1, 1), "QUARTER", true
	case "MONTH", "MM", "MON":
		return daysOf(y, m, 1), "MONTH", true
	case "WEEK":
		return days - int64(weekdayOf(days)), "WEEK", true
	case "DAY", "DD":
		return days, "DAY", true
	}
	return 0, "", false
}

func bindDateTrunc(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	unit, err := toClass(name, 0, args[0], "str")
	if err != nil {
		return nil, err
	}
	t, err := toClass(name, 1, args[1], "ts")
	if err != nil {
		return nil, err
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		units := map[string]int64{"HOUR": hourMicros, "MINUTE": minuteMicros, "SECOND": secondMicros, "MILLISECOND": 1000, "MICROSECOND": 1}
		u := strings.ToUpper(a[0].S)
		if size, ok := units[u]; ok {
			_, rest := floorDivMod(a[1].I, size)
			return column.I64(a[1].I - rest), nil
		}
		days, _, ok := truncDay(floorDiv(a[1].I, dayMicros), u)
		if !ok {
			return column.NullDatum, nil
		}
		us, ok := microsOf(days, 0)
		if !ok {
			return column.NullDatum, errDatetimeOverflow("date_trunc leaves the range of a timestamp")
		}
		return column.I64(us), nil
	}
	return &scalar{name: name, args: []Expr{unit, t}, t: t.Type(), eval: eval}, nil
}

// bindDateAdd is date_add and date_sub; the days are an integer of at most 32 bits.
func bindDateAdd(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	d, err := toClass(name, 0, args[0], "date")
	if err != nil {
		return nil, err
	}
	n := args[1]
	switch n.Type().Kind {
	case column.TinyInt, column.SmallInt, column.Int:
	case column.String, column.Void:
		n = newCast(n, column.Of(column.Int), false)
	default:
		return nil, errInputType(name, 1, "INT, SMALLINT or TINYINT", n)
	}
	sign := int64(1)
	if name == "date_sub" {
		sign = -1
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		return column.I64(int64(int32(a[0].I + sign*a[1].I))), nil
	}
	return &scalar{name: name, args: []Expr{d, n}, t: column.Of(column.Date), eval: eval, safe: true}, nil
}

func evalMonthsBetween(a []column.Datum) (column.Datum, *Error) {
	d1, r1 := floorDivMod(a[0].I, dayMicros)
	d2, r2 := floorDivMod(a[1].I, dayMicros)
	y1, m1, day1 := civil(d1)
	y2, m2, day2 := civil(d2)
	months := float64((y1-y2)*12 + int64(m1-m2))
	if day1 == day2 || day1 == monthDays(y1, m1) && day2 == monthDays(y2, m2) {
		return column.F64(months), nil
	}
	sec := int64(day1-day2)*86400 + r1/secondMicros - r2/secondMicros
	diff := months + float64(sec)/(31*86400)
	if len(a) == 3 && a[2].I == 0 {
		return column.F64(diff), nil
	}
	return column.F64(math.Floor(float64(diff*1e8)+0.5) / 1e8), nil
}

func evalNextDay(a []column.Datum) (column.Datum, *Error) {
	names := map[string]int{"MO": 0, "MON": 0, "TU": 1, "TUE": 1, "WE": 2, "WED": 2, "TH": 3, "THU": 3, "FR": 4, "FRI": 4, "SA": 5, "SAT": 5, "SU": 6, "SUN": 6}
	for i, n := range dayNames {
		names[strings.ToUpper(n)] = i
	}
	want, ok := names[strings.ToUpper(trimAll(a[1].S))]
	if !ok {
		return column.NullDatum, runtimeErr("ILLEGAL_DAY_OF_WEEK", "22009", "next_day: %q is no day of the week; write for example 'MON'", clip(a[1].S))
	}
	_, ahead := floorDivMod(int64(want-weekdayOf(a[0].I)-1), 7)
	return column.I64(a[0].I + ahead + 1), nil
}

func unitOf(name string, e Expr) (string, error) {
	d, ok := Constant(Fold(e))
	if ok {
		switch u := strings.ToUpper(d.S); u {
		case "YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "DAYOFYEAR", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND":
			return u, nil
		}
	}
	return "", analysisErr("INVALID_PARAMETER_VALUE.DATETIME_UNIT", "22023", "%s: the unit %s is not one of YEAR, QUARTER, MONTH, WEEK, DAY, DAYOFYEAR, HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND", name, e)
}

// unitMicros is the length of a unit that has a fixed one; 0 for months and longer.
func unitMicros(unit string) int64 {
	switch unit {
	case "WEEK":
		return 7 * dayMicros
	case "DAY", "DAYOFYEAR":
		return dayMicros
	case "HOUR":
		return hourMicros
	case "MINUTE":
		return minuteMicros
	case "SECOND":
		return secondMicros
	case "MILLISECOND":
		return 1000
	case "MICROSECOND":
		return 1
	}
	return 0
}

func unitMonths(unit string) int64 {
	switch unit {
	case "YEAR":
		return 12
	case "QUARTER":
		return 3
	}
	return 1
}

func bindTimestampDiff(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	unit, err := unitOf(name, args[0])
	if err != nil {
		return nil, err
	}
	a, err := toClass(name, 1, args[1], "ts")
	if err != nil {
		return nil, err
	}
	b, err := toClass(name, 2, args[2], "ts")
	if err != nil {
		return nil, err
	}
	eval := func(d []column.Datum) (column.Datum, *Error) {
		size := unitMicros(unit)
		if size == 0 {
			return column.I64(monthsUntil(d[0].I, d[1].I) / unitMonths(unit)), nil
		}
		diff, ok := intOp('-', d[1].I, d[0].I)
		if !ok {
			return column.NullDatum, errDatetimeOverflow("timestampdiff")
		}
		return column.I64(diff / size), nil
	}
	return &scalar{name: name + "_" + strings.ToLower(unit), args: []Expr{a, b}, t: column.Of(column.BigInt), eval: eval}, nil
}

// monthsUntil counts whole months from a to b as java.time does.
func monthsUntil(a, b int64) int64 {
	d1, r1 := floorDivMod(a, dayMicros)
	d2, r2 := floorDivMod(b, dayMicros)
	if d2 > d1 && r2 < r1 {
		d2--
	} else if d2 < d1 && r2 > r1 {
		d2++
	}
	packed := func(d int64) int64 {
		y, m, day := civil(d)
		return (y*12+int64(m)-1)*32 + int64(day)
	}
	return (packed(d2) - packed(d1)) / 32
}

func bindTimestampAdd(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	unit, err := unitOf(name, args[0])
	if err != nil {
		return nil, err
	}
	n, err := toClass(name, 1, args[1], "bigint")
	if err != nil {
		return nil, err
	}
	t, err := bindTime(name, args[2:])
	if err != nil {
		return nil, err
	}
	eval := func(d []column.Datum) (column.Datum, *Error) {
		bad := errDatetimeOverflow("timestampadd leaves the range of a timestamp")
		if size := unitMicros(unit); size > 0 {
			by, ok1 := mulInt(d[0].I, size)
			us, ok2 := intOp('+', d[1].I, by)
			if !ok1 || !ok2 {
				return column.NullDatum, bad
			}
			return column.I64(us), nil
		}
		m, ok := mulInt(d[0].I, unitMonths(unit))
		if !ok || m > math.MaxInt32 || m < math.MinInt32 {
			return column.NullDatum, bad
		}
		return addMonths(d[1].I, m, false)
	}
	return &scalar{name: name + "_" + strings.ToLower(unit), args: []Expr{n, t}, t: t.Type(), eval: eval}, nil
}
