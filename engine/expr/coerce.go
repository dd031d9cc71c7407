package expr

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// precisionOf returns the decimal that holds every value of an integral kind.
func precisionOf(k column.Kind) column.Type {
	switch k {
	case column.TinyInt:
		return column.DecimalType(3, 0)
	case column.SmallInt:
		return column.DecimalType(5, 0)
	case column.Int:
		return column.DecimalType(10, 0)
	}
	return column.DecimalType(20, 0)
}

// asDecimal returns the decimal type of an integral or decimal type.
func asDecimal(t column.Type) column.Type {
	if t.Kind == column.Decimal {
		return t
	}
	return precisionOf(t.Kind)
}

// literalDecimal returns the smallest decimal for an integral literal, as Spark picks it in arithmetic.
func literalDecimal(e Expr) column.Type {
	if l, ok := e.(*literal); ok && !l.d.Null && !l.derived && l.t.Kind != column.TinyInt { // a TINYINT counts with its type, as in Spark
		v := strconv.FormatInt(l.d.I, 10)
		if v[0] == '-' {
			v = v[1:]
		}
		return column.DecimalType(uint8(len(v)), 0)
	}
	return asDecimal(e.Type())
}

// bounded is Spark's DecimalType.bounded: precision and scale cut at 38.
func bounded(p, s int) column.Type {
	return column.DecimalType(uint8(min(p, 38)), uint8(min(s, 38)))
}

// adjusted is Spark's adjustPrecisionScale with precision loss allowed.
func adjusted(p, s int) column.Type {
	if p <= 38 {
		return column.DecimalType(uint8(p), uint8(s))
	}
	intDigits := p - s
	minScale := min(s, 6)
	return column.DecimalType(38, uint8(max(38-intDigits, minScale)))
}

// decimalResult is the result type of an arithmetic operator on two decimals.
func decimalResult(op string, a, b column.Type) column.Type {
	p1, s1, p2, s2 := int(a.Precision), int(a.Scale), int(b.Precision), int(b.Scale)
	switch op {
	case "+", "-":
		s := max(s1, s2)
		return adjusted(max(p1-s1, p2-s2)+s+1, s)
	case "*":
		return adjusted(p1+p2+1, s1+s2)
	case "/":
		s := max(6, s1+p2+1)
		return adjusted(p1-s1+s2+s, s)
	}
	s := max(s1, s2)
	return adjusted(min(p1-s1, p2-s2)+s, s)
}

// widerDecimal holds every value of both (bounded at 38 digits).
func widerDecimal(a, b column.Type) column.Type {
	s := max(int(a.Scale), int(b.Scale))
	r := max(int(a.Precision)-int(a.Scale), int(b.Precision)-int(b.Scale))
	if r+s > 38 { // as Spark's boundedPreferIntegralDigits
		return column.DecimalType(38, uint8(max(0, min(s, 38-r))))
	}
	return bounded(r+s, s)
}

func isDatetime(k column.Kind) bool {
	return k == column.Date || k == column.Timestamp || k == column.TimestampNTZ
}

func isInterval(k column.Kind) bool { return k == column.IntervalDT || k == column.IntervalYM }

func isFractional(k column.Kind) bool {
	return k == column.Float || k == column.Double || k == column.Decimal
}

// isAtomic reports whether a kind has no parts.
func isAtomic(k column.Kind) bool {
	return k != column.Array && k != column.Struct && k != column.Map && k != column.Void
}

// tightest is Spark's findTightestCommonType in ANSI mode.
func tightest(a, b column.Type) (column.Type, bool) {
	switch {
	case a.Equal(b):
		return a, true
	case a.Kind == column.Void:
		return b, true
	case b.Kind == column.Void:
		return a, true
	case a.Kind.IsNumeric() && b.Kind.IsNumeric():
		return tightestNumeric(a, b)
	case isDatetime(a.Kind) && isDatetime(b.Kind):
		if a.Kind == column.Timestamp || b.Kind == column.Timestamp {
			return column.Of(column.Timestamp), true
		}
		return column.Of(column.TimestampNTZ), true
	case isInterval(a.Kind) && a.Kind == b.Kind:
		return widerInterval(a, b), true
	}
	return complexCommon(a, b, tightest)
}

func tightestNumeric(a, b column.Type) (column.Type, bool) {
	if a.Kind == column.Decimal || b.Kind == column.Decimal {
		d, o := a, b
		if d.Kind != column.Decimal {
			d, o = b, a
		}
		if !o.Kind.IsIntegral() {
			return column.Type{}, false
		}
		if p := precisionOf(o.Kind); d.Precision-d.Scale >= p.Precision {
			return d, true
		}
		return column.Type{}, false
	}
	wide := column.Of(max(a.Kind, b.Kind))
	if wide.Kind == column.Float {
		wide.Kind = column.Double // an integer and a float meet in double
	}
	return wide, true
}

// wider is Spark's findWiderTypeForTwo in ANSI mode; strings give way to the other type.
func wider(a, b column.Type) (column.Type, bool) {
	if t, ok := tightest(a, b); ok {
		return t, true
	}
	if t, ok := widerWithDecimal(a, b); ok {
		return t, true
	}
	if t, ok := stringPromotion(a, b); ok {
		return t, true
	}
	return complexCommon(a, b, wider)
}

// widerNoString is wider without the promotion of strings (greatest, least).
func widerNoString(a, b column.Type) (column.Type, bool) {
	if t, ok := tightest(a, b); ok {
		return t, true
	}
	if t, ok := widerWithDecimal(a, b); ok {
		return t, true
	}
	return complexCommon(a, b, widerNoString)
}

func widerWithDecimal(a, b column.Type) (column.Type, bool) {
	if a.Kind != column.Decimal && b.Kind != column.Decimal || !a.Kind.IsNumeric() || !b.Kind.IsNumeric() {
		return column.Type{}, false
	}
	if a.Kind == column.Float || a.Kind == column.Double || b.Kind == column.Float || b.Kind == column.Double {
		return column.Of(column.Double), true
	}
	return widerDecimal(asDecimal(a), asDecimal(b)), true
}

// stringPromotion is Spark's findWiderTypeForString in ANSI mode.
func stringPromotion(a, b column.Type) (column.Type, bool) {
	if b.Kind == column.String {
		a, b = b, a
	}
	if a.Kind != column.String || b.Kind == column.String {
		return column.Type{}, false
	}
	switch {
	case b.Kind.IsIntegral():
		return column.Of(column.BigInt), true
	case isFractional(b.Kind):
		return column.Of(column.Double), true
	case b.Kind == column.Void:
		return a, true
	case isInterval(b.Kind) || !isAtomic(b.Kind):
		return column.Type{}, false
	}
	return b, true
}

// complexCommon finds the common type of arrays, maps and structs by their parts.
func complexCommon(a, b column.Type, common func(a, b column.Type) (column.Type, bool)) (column.Type, bool) {
	if a.Kind != b.Kind {
		return column.Type{}, false
	}
	switch a.Kind {
	case column.Array:
		if e, ok := common(*a.Elem, *b.Elem); ok {
			return column.ArrayOf(e), true
		}
	case column.Map:
		k, ok1 := common(*a.Key, *b.Key)
		v, ok2 := common(*a.Elem, *b.Elem)
		if ok1 && ok2 {
			return column.Type{Kind: column.Map, Key: &k, Elem: &v}, true
		}
	case column.Struct:
		if len(a.Fields) != len(b.Fields) {
			break
		}
		fields := make([]column.Field, len(a.Fields))
		for i := range fields {
			t, ok := common(a.Fields[i].Type, b.Fields[i].Type)
			if !ok || !strings.EqualFold(a.Fields[i].Name, b.Fields[i].Name) {
				return column.Type{}, false
			}
			fields[i] = column.Field{Name: a.Fields[i].Name, Type: t}
		}
		return column.StructOf(fields...), true
	}
	return column.Type{}, false
}

// CommonType returns the type to which CASE, COALESCE, IN, UNION and friends bring values of the given types.
func CommonType(ts ...column.Type) (column.Type, bool) {
	return foldTypes(ts, wider)
}

func foldTypes(ts []column.Type, two func(a, b column.Type) (column.Type, bool)) (column.Type, bool) {
	out := column.Of(column.Void)
	for _, t := range ts {
		var ok bool
		if out, ok = two(out, t); !ok {
			return column.Type{}, false
		}
	}
	return out, true
}

// canStoreAssign is Spark's canANSIStoreAssign: conversions that happen without being asked for.
func canStoreAssign(from, to column.Type) bool {
	switch {
	case from.Equal(to) || from.Kind == column.Void:
		return true
	case from.Kind.IsNumeric() && to.Kind.IsNumeric():
		return true
	case to.Kind == column.String && isAtomic(from.Kind):
		return true
	case isDatetime(from.Kind) && isDatetime(to.Kind), isInterval(from.Kind) && from.Kind == to.Kind:
		return true
	case from.Kind == column.Array && to.Kind == column.Array:
		return canStoreAssign(*from.Elem, *to.Elem)
	case from.Kind == column.Map && to.Kind == column.Map:
		return canStoreAssign(*from.Key, *to.Key) && canStoreAssign(*from.Elem, *to.Elem)
	case from.Kind == column.Struct && to.Kind == column.Struct && len(from.Fields) == len(to.Fields):
		for i := range from.Fields {
			if !canStoreAssign(from.Fields[i].Type, to.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return false
}

// implicitTo returns the type to which a value of type from is brought where `to` is expected.
func implicitTo(from, to column.Type) bool {
	if from.Kind == column.String && isAtomic(to.Kind) {
		return true
	}
	return canStoreAssign(from, to)
}

// ImplicitCast brings e to type t as Spark does for function arguments and stored values.
func ImplicitCast(e Expr, t column.Type) (Expr, error) {
	if e.Type().Equal(t) {
		return e, nil
	}
	if !implicitTo(e.Type(), t) {
		return nil, errInputType("implicit cast", 0, t.String(), e)
	}
	return newCast(e, t, false), nil
}
