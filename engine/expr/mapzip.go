package expr

import (
	"signalbox/engine/column"
)

// bindMapZipWith merges two maps by their keys, those of the first in front.
func bindMapZipWith(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	for i := range 2 {
		if args[i].Type().Kind != column.Map {
			return nil, errInputType(name, i, "MAP", args[i])
		}
	}
	kt := *args[0].Type().Key
	if !kt.Equal(*args[1].Type().Key) {
		return nil, analysisErr("DATATYPE_MISMATCH.MAP_ZIP_WITH_DIFF_TYPES", "42K09", "%s: the keys of the maps are %s and %s", name, kt, *args[1].Type().Key)
	}
	l, err := bindLambda(name, 2, args[2], 3)
	if err != nil {
		return nil, err
	}
	return &higher{name: name, args: args, t: mapType(kt, l.body.Type()), run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		if a[1].Null {
			return a[1], nil
		}
		var keys, left, right []column.Datum
		find := func(list []column.Datum, k column.Datum) int {
			for i := 0; i < len(list); i += 2 {
				if Compare(kt, list[i], k) == 0 {
					return i
				}
			}
			return -1
		}
		for i := 0; i < len(a[0].L); i += 2 {
			other := column.NullDatum
			if j := find(a[1].L, a[0].L[i]); j >= 0 {
				other = a[1].L[j+1]
			}
			keys, left, right = append(keys, a[0].L[i]), append(left, a[0].L[i+1]), append(right, other)
		}
		for i := 0; i < len(a[1].L); i += 2 {
			if find(a[0].L, a[1].L[i]) < 0 {
				keys, left, right = append(keys, a[1].L[i]), append(left, column.NullDatum), append(right, a[1].L[i+1])
			}
		}
		res, err := c.call(2, len(keys), keys, left, right)
		out := column.Datum{L: make([]column.Datum, 0, 2*len(res))}
		for i, v := range res {
			out.L = append(out.L, keys[i], v)
		}
		return out, err
	}}, nil
}
