package expr

import (
	"signalbox/engine/column"
)

// bindTimeBucket cuts a time to a multiple of an interval after an origin (default 1970-01-01).
func bindTimeBucket(name string, args []Expr) (Expr, error) {
	if len(args) != 2 && len(args) != 3 {
		return nil, errWrongNumArgs(name, "2 or 3", len(args))
	}
	width, ok := Constant(Fold(args[0]))
	k := args[0].Type().Kind
	if !isInterval(k) {
		return nil, errInputType(name, 0, "an interval", args[0])
	}
	if !ok || !width.Null && width.I <= 0 {
		return nil, analysisErr("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "%s: the width must be a constant longer than nothing", name)
	}
	b := make([]Expr, 0, 3)
	t, err := bindTime(name, args[1:2])
	if err != nil {
		return nil, err
	}
	b = append(b, args[0], t)
	if len(args) == 3 {
		origin, err := toClass(name, 2, args[2], map[bool]string{true: "ntz", false: "ts"}[t.Type().Kind == column.TimestampNTZ])
		if err != nil {
			return nil, err
		}
		b = append(b, origin)
	}
	return typed(name, b, t.Type(), func(a []column.Datum) (column.Datum, *Error) {
		origin := int64(0)
		if len(a) == 3 {
			origin = a[2].I
		}
		if k == column.IntervalDT {
			d, ok := intOp('-', a[1].I, origin)
			if !ok {
				return column.NullDatum, errDatetimeOverflow("the timestamp is out of range")
			}
			_, rest := floorDivMod(d, a[0].I)
			return column.I64(a[1].I - rest), nil
		}
		return monthBucket(a[0].I, a[1].I, origin)
	}), nil
}

// monthBucket counts whole steps of some months from the origin.
func monthBucket(months, at, origin int64) (column.Datum, *Error) {
	y, m, _ := civil(floorDiv(at, dayMicros))
	oy, om, _ := civil(floorDiv(origin, dayMicros))
	n := floorDiv((y*12+int64(m))-(oy*12+int64(om)), months)
	d, err := addMonths(origin, n*months, false)
	if err == nil && d.I > at { // the day or the clock of the origin is later in its month
		d, err = addMonths(origin, (n-1)*months, false)
	}
	return d, err
}
