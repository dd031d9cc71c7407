package expr

import (
	"math"

	"signalbox/engine/column"
)

// GroupingKey is the value by which rows are grouped: Spark gives groups 0.0 and
// not -0.0 as their key, also inside structs and arrays.
func GroupingKey(e Expr) Expr {
	t := e.Type()
	switch {
	case t.Kind == column.Double || t.Kind == column.Float:
		return &mapFloat{name: "grouped", e: e, t: t, f: withoutMinusZero}
	case holdsFloats(t):
		return &scalar{name: "grouped", args: []Expr{e}, t: t, eval: func(d []column.Datum) (column.Datum, *Error) {
			return zerosOf(t, d[0]), nil
		}}
	}
	return e
}

func withoutMinusZero(v float64) float64 { return v + 0 }

func holdsFloats(t column.Type) bool {
	switch t.Kind {
	case column.Double, column.Float:
		return true
	case column.Array:
		return holdsFloats(*t.Elem)
	case column.Struct:
		for _, f := range t.Fields {
			if holdsFloats(f.Type) {
				return true
			}
		}
	}
	return false
}

// zerosOf copies a value with 0.0 in the place of -0.0.
func zerosOf(t column.Type, d column.Datum) column.Datum {
	if d.Null || !holdsFloats(t) {
		return d
	}
	if t.Kind == column.Double || t.Kind == column.Float {
		d.F = withoutMinusZero(d.F)
		return d
	}
	out := d
	out.L = make([]column.Datum, len(d.L))
	for i, x := range d.L {
		out.L[i] = zerosOf(memberType(t, i), x)
	}
	return out
}

// doubleBits is Double.doubleToLongBits with 0.0 for -0.0: there is one NaN.
func doubleBits(f float64) uint64 {
	if f != f {
		return 0x7ff8000000000000
	}
	return math.Float64bits(f + 0)
}

// sameShape reports whether types differ in the names of struct fields only.
func sameShape(a, b column.Type) bool {
	if a.Kind != b.Kind {
		return false
	}
	switch a.Kind {
	case column.Array:
		return sameShape(*a.Elem, *b.Elem)
	case column.Struct:
		if len(a.Fields) != len(b.Fields) {
			return false
		}
		for i := range a.Fields {
			if !sameShape(a.Fields[i].Type, b.Fields[i].Type) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
