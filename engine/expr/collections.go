package expr

import "signalbox/engine/column"

func concatArrays(name string, args []Expr) (Expr, error) {
	t, ok := CommonType(typesOf(args)...)
	if !ok || t.Kind != column.Array {
		return nil, errDataDiffTypes(name, typeNames(args))
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		out := column.Datum{L: []column.Datum{}}
		for _, d := range a {
			out.L = append(out.L, d.L...)
		}
		if len(out.L) > maxElements {
			return column.NullDatum, errTooMany(name)
		}
		return out, nil
	}
	return &scalar{name: "concat", args: castAll(args, t), t: t, eval: eval}, nil
}

// maxElements bounds the arrays that one function call may build.
const maxElements = 1 << 20

func errTooMany(fn string) *Error {
	return runtimeErr("COLLECTION_SIZE_LIMIT_EXCEEDED.FUNCTION", "54000", "%s would make an array of more than %d elements", fn, maxElements)
}
