package expr

import (
	"math/bits"

	"signalbox/engine/column"
)

// cast is an explicit or implicit conversion; the embedded scalar is its boxed path.
type cast struct {
	scalar
	from column.Type
	try  bool
}

// Cast converts e to t as CAST does in ANSI mode; try gives NULL instead of a failure.
func Cast(e Expr, t column.Type, try bool) (Expr, error) {
	if !canCast(e.Type(), t) {
		return nil, analysisErr("DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION", "42K09", "cannot cast %s of type %s to %s", e, e.Type(), t)
	}
	return newCast(e, t, try), nil
}

// newCast is Cast for types known to convert; literals are converted at once.
func newCast(e Expr, t column.Type, try bool) Expr {
	from := e.Type()
	if from.Equal(t) {
		return e
	}
	if from.Kind == column.Void {
		if _, ok := e.(*literal); ok {
			return nullOf(t)
		}
	}
	conv := converter(from, t)
	if l, ok := e.(*literal); ok {
		if l.d.Null {
			return nullOf(t)
		}
		if d, err := conv(l.d); err == nil {
			return &literal{t, d, true}
		} else if try {
			return nullOf(t)
		}
	}
	c := &cast{from: from, try: try}
	c.scalar = scalar{name: "cast", args: []Expr{e}, t: t, safe: try || castSafe(from, t)}
	c.eval = func(a []column.Datum) (column.Datum, *Error) {
		d, err := conv(a[0])
		if err != nil && try {
			return column.NullDatum, nil
		}
		return d, err
	}
	return c
}

func (e *cast) String() string {
	name := "cast("
	if e.try {
		name = "try_cast("
	}
	return name + e.args[0].String() + " as " + e.t.String() + ")"
}

// Eval implements Expr.
func (e *cast) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	f, t := e.from.Kind, e.t.Kind
	switch {
	case f.IsIntegral() && t == column.Double:
		x := e.args[0].Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		for i, v := range x.I64[:b.Len] {
			out.F64[i] = float64(v)
		}
		return out
	case f.IsIntegral() && t.IsIntegral() && t > f, f == column.Boolean && t.IsIntegral(),
		f == column.Timestamp && t == column.TimestampNTZ, f == column.TimestampNTZ && t == column.Timestamp:
		x := e.args[0].Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		copy(out.I64, x.I64)
		return out
	case f == column.Double && t == column.BigInt:
		x := e.args[0].Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		e.floatToLong(ctx, out, x, sel)
		return out
	case f.IsIntegral() && t == column.Decimal && fitsWhole(f, e.t):
		x := e.args[0].Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		scaleInts(out.Dec, x.I64, pow10int(int(e.t.Scale)))
		return out
	case f == column.Float && t == column.Double:
		x := e.args[0].Eval(ctx, b, sel)
		out := ctx.Column(e.t, b.Len)
		copyNulls(out, x)
		copy(out.F64, x.F64)
		return out
	}
	return e.scalar.Eval(ctx, b, sel)
}

func (e *cast) floatToLong(ctx *Context, out, x *column.Column, sel []int32) {
	each(out, sel, func(i int) {
		if v := x.F64[i]; v > -1<<62 && v < 1<<62 {
			out.I64[i] = int64(v)
			return
		}
		d, err := e.eval([]column.Datum{{F: x.F64[i]}})
		if err != nil {
			ctx.Fail(int32(i), err)
			d = column.NullDatum
		}
		out.Set(i, d)
	})
}

// fitsWhole reports whether a decimal type holds every integer of a kind, at a scale that one multiplication reaches.
func fitsWhole(k column.Kind, t column.Type) bool {
	return t.Precision-t.Scale >= precisionOf(k).Precision && t.Scale <= 18
}

// scaleInts multiplies by a power of ten into 128 bits.
func scaleInts(out []column.Decimal128, x []int64, p int64) {
	for i, v := range x[:len(out)] {
		hi, lo := bits.Mul64(absU(v), uint64(p))
		if v < 0 {
			var borrow uint64
			lo, borrow = bits.Sub64(0, lo, 0)
			hi, _ = bits.Sub64(0, hi, borrow)
		}
		out[i] = column.Decimal128{Hi: int64(hi), Lo: lo}
	}
}

// castSafe reports whether a conversion never fails.
func castSafe(from, to column.Type) bool {
	f, t := from.Kind, to.Kind
	switch {
	case f == column.Void, t == column.String && isAtomic(f), isInterval(f) && f == t, f == column.Boolean && t.IsNumeric() && t != column.Decimal:
		return true
	case f.IsIntegral() && t.IsIntegral():
		return t > f
	case f.IsIntegral() && t == column.Decimal:
		return fitsWhole(f, to)
	case f.IsNumeric() && isFloating(t), f.IsNumeric() && t == column.Boolean:
		return true
	case isDatetime(f) && isDatetime(t):
		return f != column.Date
	case f == column.Timestamp && (t == column.BigInt || isFloating(t)):
		return true
	}
	return false
}

// canCast is Spark's canAnsiCast.
func canCast(from, to column.Type) bool {
	f, t := from.Kind, to.Kind
	switch {
	case from.Equal(to) || f == column.Void || t == column.String:
		return true
	case f == column.String:
		return isAtomic(t) || isCalendar(to)
	case isCalendar(from) || isCalendar(to):
		return false
	case f.IsNumeric() && (t.IsNumeric() || t == column.Boolean || t == column.Timestamp):
		return !(t == column.Boolean && false)
	case f == column.Boolean && t.IsNumeric(), f == column.Timestamp && t.IsNumeric():
		return true
	case isDatetime(f) && isDatetime(t):
		return true
	case isInterval(f) && (t.IsIntegral() || t == column.Decimal || f == t), (f.IsIntegral() || f == column.Decimal) && isInterval(t):
		return true
	}
	return canCastNested(from, to)
}

func canCastNested(from, to column.Type) bool {
	if from.Kind != to.Kind {
		return false
	}
	switch from.Kind {
	case column.Array:
		return canCast(*from.Elem, *to.Elem)
	case column.Map:
		return canCast(*from.Key, *to.Key) && canCast(*from.Elem, *to.Elem)
	case column.Struct:
		if len(from.Fields) != len(to.Fields) {
			return false
		}
		for i := range from.Fields {
			if !canCast(from.Fields[i].Type, to.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return false
}

// convFunc converts one value that is not NULL.
type convFunc func(d column.Datum) (column.Datum, *Error)

// converter returns the conversion between two types that canCast allows.
func converter(from, to column.Type) convFunc {
	f, t := from.Kind, to.Kind
	switch {
	case f == column.Void:
		return func(column.Datum) (column.Datum, *Error) { return column.NullDatum, nil }
	case from.Equal(to):
		return func(d column.Datum) (column.Datum, *Error) { return d, nil }
	case t == column.String:
		return func(d column.Datum) (column.Datum, *Error) { return column.Str(Text(from, d)), nil }
	case f == column.String:
		return parseTo(from, to)
	case t == column.Array || t == column.Map || t == column.Struct:
		return convertNested(from, to)
	case t == column.Boolean:
		return func(d column.Datum) (column.Datum, *Error) {
			return column.Bool(d.I != 0 || d.F != 0 || d.Dec != column.Decimal128{}), nil
		}
	case isDatetime(f) || isDatetime(t):
		return convertDatetime(from, to)
	case isInterval(f) || isInterval(t):
		return convertInterval(from, to)
	}
	return convertNumber(from, to)
}

func convertNested(from, to column.Type) convFunc {
	if from.Kind == column.Array {
		elem := converter(*from.Elem, *to.Elem)
		return func(d column.Datum) (column.Datum, *Error) {
			return convertParts(d, func(int) convFunc { return elem })
		}
	}
	if from.Kind == column.Map {
		k, v := converter(*from.Key, *to.Key), converter(*from.Elem, *to.Elem)
		return func(d column.Datum) (column.Datum, *Error) {
			return convertParts(d, func(i int) convFunc {
				if i%2 == 0 {
					return k
				}
				return v
			})
		}
	}
	parts := make([]convFunc, len(from.Fields))
	for i := range parts {
		parts[i] = converter(from.Fields[i].Type, to.Fields[i].Type)
	}
	return func(d column.Datum) (column.Datum, *Error) {
		return convertParts(d, func(i int) convFunc { return parts[i] })
	}
}

func convertParts(d column.Datum, conv func(i int) convFunc) (column.Datum, *Error) {
	out := column.Datum{L: make([]column.Datum, len(d.L))}
	for i, x := range d.L {
		if x.Null {
			out.L[i] = x
			continue
		}
		var err *Error
		if out.L[i], err = conv(i)(x); err != nil {
			return column.NullDatum, err
		}
	}
	return out, nil
}
