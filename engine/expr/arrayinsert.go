package expr

import (
	"slices"

	"signalbox/engine/column"
)

func bindArrayInsert(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	pos, err := toClass(name, 1, args[1], "int")
	if err != nil {
		return nil, err
	}
	b, t, err := withElem(name, []Expr{args[0], args[2]})
	if err != nil {
		return nil, err
	}
	e := typed(name, []Expr{b[0], pos, b[1]}, column.ArrayOf(t), func(a []column.Datum) (column.Datum, *Error) {
		if a[0].Null || a[1].Null {
			return column.NullDatum, nil
		}
		return arrayInsert(a[0].L, a[1].I, a[2])
	}).(*scalar)
	e.nulls = true
	return e, nil
}

// arrayInsert pads with NULLs when the position lies outside the array.
func arrayInsert(l []column.Datum, pos int64, v column.Datum) (column.Datum, *Error) {
	n := int64(len(l))
	switch {
	case pos == 0:
		return column.NullDatum, runtimeErr("INVALID_INDEX_OF_ZERO", "22003", "array_insert: the position 0 is invalid; elements are counted from 1, or from -1 at the end")
	case pos > maxElements || -pos > maxElements:
		return column.NullDatum, errTooMany("array_insert")
	case pos > 0:
		pos--
	default:
		pos += n + 1
	}
	switch {
	case pos < 0:
		out := append([]column.Datum{v}, slices.Repeat([]column.Datum{column.NullDatum}, int(-pos))...)
		return column.Datum{L: append(out, l...)}, nil
	case pos > n:
		out := append(slices.Clone(l), slices.Repeat([]column.Datum{column.NullDatum}, int(pos-n))...)
		return column.Datum{L: append(out, v)}, nil
	}
	return column.Datum{L: slices.Insert(slices.Clone(l), int(pos), v)}, nil
}
