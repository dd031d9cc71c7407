package expr

import (
	"slices"

	"signalbox/engine/column"
)

// evalInstr counts characters; a negative place counts from the end and looks backwards.
func evalInstr(a []column.Datum) (column.Datum, *Error) {
	from, nth := int64(1), int64(1)
	if len(a) > 2 {
		from = a[2].I
	}
	if len(a) > 3 {
		nth = a[3].I
	}
	if nth <= 0 {
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE", "22023", "instr: the number of the occurrence must be 1 or more, not %d", nth)
	}
	if len(a) == 2 {
		return column.I64(int64(indexFrom(a[0].S, a[1].S, 0) + 1)), nil
	}
	s, sub := []rune(a[0].S), []rune(a[1].S)
	n := int64(len(s))
	step, at := int64(1), from-1
	if from < 0 {
		step, at = -1, n+from
	}
	if from == 0 {
		return column.I64(0), nil
	}
	for ; at >= 0 && at <= n; at += step {
		if end := at + int64(len(sub)); end <= n && slices.Equal(s[at:end], sub) {
			if nth--; nth == 0 {
				return column.I64(at + 1), nil
			}
		}
	}
	return column.I64(0), nil
}
