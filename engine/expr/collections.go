package expr

import (
	"math"
	"slices"
	"strings"

	"signalbox/engine/column"
)

// maxElements bounds the arrays that one function call may build.
const maxElements = 1 << 20

func errTooMany(fn string) *Error {
	return runtimeErr("COLLECTION_SIZE_LIMIT_EXCEEDED.FUNCTION", "54000", "%s would make an array of more than %d elements", fn, maxElements)
}

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

// typed makes an expression from bound arguments.
func typed(name string, args []Expr, t column.Type, eval evalFunc) Expr {
	return &scalar{name: name, args: args, t: t, eval: eval}
}

// arrayFn binds a function of one array and other arguments; build sees the bound arguments and the element type.
func arrayFn(sig string, build func(name string, b []Expr, elem column.Type) (Expr, error)) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		b, err := bindArgs(name, sig, args)
		if err != nil {
			return nil, err
		}
		return build(name, b, *b[0].Type().Elem)
	}
}

// withElem brings an array and a value to a common element type.
func withElem(name string, args []Expr) ([]Expr, column.Type, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, column.Type{}, err
	}
	b, err := bindArgs(name, "arr any", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	t, ok := wider(*b[0].Type().Elem, b[1].Type())
	if !ok {
		return nil, t, analysisErr("DATATYPE_MISMATCH.ARRAY_FUNCTION_DIFF_TYPES", "42K09", "%s: the array holds %s, the value is %s", name, b[0].Type().Elem, b[1].Type())
	}
	return []Expr{newCast(b[0], column.ArrayOf(t), false), newCast(b[1], t, false)}, t, nil
}

// twoArrays brings two arrays to a common type.
func twoArrays(name string, args []Expr) ([]Expr, column.Type, error) {
	b, err := bindArgs(name, "arr arr", args)
	if err != nil {
		return nil, column.Type{}, err
	}
	t, ok := CommonType(typesOf(b)...)
	if !ok {
		return nil, t, analysisErr("DATATYPE_MISMATCH.BINARY_ARRAY_DIFF_TYPES", "42K09", "%s: the arrays are %s and %s", name, b[0].Type(), b[1].Type())
	}
	return castAll(b, t), *t.Elem, nil
}

func arrayFunctions() []function {
	return []function{
		bound("array", "a, b, ...", "Array of the arguments.", "array(1, 2, 3)", "[1, 2, 3]", bindArray),
		bound("[]", "", "", "", "", bindIndex).operator(),
		bound("element_at", "x, i", "Element of an array at a 1-based index (negative: from the end), or value of a map key.", "element_at(array(1, 2, 3), 2)", "2", bindElementAt),
		bound("try_element_at", "x, i", "element_at, NULL when there is none.", "try_element_at(array(1, 2, 3), 4)", "NULL", bindElementAt),
		bound("get", "array, i", "Element of an array at a 0-based index, NULL when there is none.", "get(array(1, 2, 3), 0)", "1", bindIndex),
		bound("size cardinality", "x", "Number of elements of an array or entries of a map.", "size(array('b', 'd'))", "2", bindSize),
		bound("array_size", "array", "Number of elements.", "array_size(array('b', 'd'))", "2", bindSize),
		bound("array_contains", "array, v", "True when the array holds v; NULL when it does not but holds NULLs.", "array_contains(array(1, 2, 3), 2)", "true", bindArrayContains),
		bound("array_position", "array, v", "1-based position of v; 0 when absent.", "array_position(array(312, 773, 708), 708)", "3", bindArrayPosition),
		bound("array_join", "array, sep, nulls?", "Text of the elements with a separator.", "array_join(array('hello', 'world'), ' ')", "hello world", bindArrayJoin),
		bound("sort_array", "array, ascending?", "Array sorted, NULLs first when ascending.", "sort_array(array('b', NULL, 'a'))", "[null, a, b]", bindSortArray),
		bound("array_sort", "array, comparator?", "Array sorted with NULLs last, or by a lambda.", "array_sort(array(5, NULL, 1))", "[1, 5, null]", bindArraySort),
		bound("array_distinct", "array", "Array without duplicates.", "array_distinct(array(1, 2, 2))", "[1, 2]", arrayFn("arr", func(name string, b []Expr, elem column.Type) (Expr, error) {
			return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) { return column.Datum{L: distinct(elem, a[0].L)}, nil }), nil
		})),
		bound("array_max", "array", "Largest element.", "array_max(array(1, 20, NULL))", "20", arrayExtreme(1)),
		bound("array_min", "array", "Smallest element.", "array_min(array(1, 20, NULL))", "1", arrayExtreme(-1)),
		bound("array_append", "array, v", "Array with v at the end.", "array_append(array(1, 2), 3)", "[1, 2, 3]", bindArrayAdd),
		bound("array_prepend", "array, v", "Array with v at the front.", "array_prepend(array(1, 2), 3)", "[3, 1, 2]", bindArrayAdd),
		bound("array_insert", "array, pos, v", "Array with v at a 1-based position; negative counts from the end.", "array_insert(array(1, 2, 4), 3, 3)", "[1, 2, 3, 4]", bindArrayInsert),
		bound("array_remove", "array, v", "Array without the elements equal to v.", "array_remove(array(1, 2, 1), 1)", "[2]", bindArrayRemove),
		bound("array_repeat", "v, n", "Array of n times v.", "array_repeat('a', 2)", "[a, a]", bindArrayRepeat),
		bound("array_compact", "array", "Array without NULLs.", "array_compact(array(1, NULL, 2))", "[1, 2]", arrayFn("arr", func(name string, b []Expr, _ column.Type) (Expr, error) {
			return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) {
				return column.Datum{L: slices.DeleteFunc(slices.Clone(a[0].L), func(d column.Datum) bool { return d.Null })}, nil
			}), nil
		})),
		bound("array_union", "a, b", "Elements of either array, each once.", "array_union(array(1, 2), array(2, 3))", "[1, 2, 3]", bindArraySet),
		bound("array_intersect", "a, b", "Elements of both arrays, each once.", "array_intersect(array(1, 2), array(2, 3))", "[2]", bindArraySet),
		bound("array_except", "a, b", "Elements of a that are not in b, each once.", "array_except(array(1, 2), array(2, 3))", "[1]", bindArraySet),
		bound("arrays_overlap", "a, b", "True when the arrays have an element in common.", "arrays_overlap(array(1, 2), array(2, 3))", "true", bindArraysOverlap),
		bound("slice", "array, start, length", "Part of an array from a 1-based index; negative counts from the end.", "slice(array(1, 2, 3, 4), 2, 2)", "[2, 3]", arrayFn("arr int int", func(name string, b []Expr, _ column.Type) (Expr, error) {
			return typed(name, b, b[0].Type(), evalSlice), nil
		})),
		bound("flatten", "array", "Array of the elements of the arrays in an array.", "flatten(array(array(1, 2), array(3)))", "[1, 2, 3]", bindFlatten),
		bound("sequence", "start, stop, step?", "Array of the numbers or times from start to stop.", "sequence(1, 5, 2)", "[1, 3, 5]", bindSequence),
		bound("arrays_zip", "a, b, ...", "Array of structs of the elements at the same place.", "arrays_zip(array(1, 2), array('a', 'b'))", "[{1, a}, {2, b}]", bindArraysZip),
	}
}

func (f function) operator() function {
	f.hidden = true
	return f
}

func bindArray(name string, args []Expr) (Expr, error) {
	t, ok := CommonType(typesOf(args)...)
	if !ok {
		return nil, errDataDiffTypes(name, typeNames(args))
	}
	return &scalar{name: name, args: castAll(args, t), t: column.ArrayOf(t), nulls: true, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		return column.Datum{L: append([]column.Datum{}, a...)}, nil
	}}, nil
}

// mapKey binds x[key] and element_at(map, key): NULL when the key is absent.
func mapKey(name string, m, key Expr) (Expr, error) {
	kt := *m.Type().Key
	if !implicitTo(key.Type(), kt) {
		return nil, errInputType(name, 1, kt.String(), key)
	}
	return typed(name, []Expr{m, newCast(key, kt, false)}, *m.Type().Elem, func(a []column.Datum) (column.Datum, *Error) {
		for i := 0; i+1 < len(a[0].L); i += 2 {
			if Compare(kt, a[0].L[i], a[1]) == 0 {
				return a[0].L[i+1], nil
			}
		}
		return column.NullDatum, nil
	}), nil
}

// bindIndex is x[i] and get(x, i).
func bindIndex(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	x, i := args[0], args[1]
	switch x.Type().Kind {
	case column.Map:
		if name == "[]" {
			return mapKey(name, x, i)
		}
	case column.Struct:
		if d, ok := Constant(i); ok && i.Type().Kind == column.String {
			for n, f := range x.Type().Fields {
				if strings.EqualFold(f.Name, d.S) {
					return NewField(x, n), nil
				}
			}
		}
	case column.Array:
		n, err := toClass(name, 1, i, "bigint")
		if err != nil || !i.Type().Kind.IsIntegral() && i.Type().Kind != column.Void {
			return nil, analysisErr("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "the index of an array must be an integer, but %s is %s", i, i.Type())
		}
		return typed(name, []Expr{x, n}, *x.Type().Elem, func(a []column.Datum) (column.Datum, *Error) {
			if a[1].I < 0 || a[1].I >= int64(len(a[0].L)) {
				if name == "get" {
					return column.NullDatum, nil
				}
				return column.NullDatum, errArrayIndex(a[1].I, len(a[0].L))
			}
			return a[0].L[a[1].I], nil
		}), nil
	}
	return nil, analysisErr("INVALID_EXTRACT_BASE_FIELD_TYPE", "42000", "cannot take an element of %s, which is %s", x, x.Type())
}

func bindElementAt(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	if args[0].Type().Kind == column.Map {
		return mapKey(name, args[0], args[1])
	}
	b, err := bindArgs(name, "arr int", args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, *b[0].Type().Elem, func(a []column.Datum) (column.Datum, *Error) {
		i, n := a[1].I, int64(len(a[0].L))
		switch {
		case i == 0:
			return column.NullDatum, runtimeErr("INVALID_INDEX_OF_ZERO", "22003", "%s: the index 0 is invalid; elements are counted from 1, or from -1 at the end", name)
		case i > n || -i > n:
			if name == "try_element_at" {
				return column.NullDatum, nil
			}
			return column.NullDatum, runtimeErr("INVALID_ARRAY_INDEX_IN_ELEMENT_AT", "22003", "%s: the index %d is out of bounds, the array has %d elements; use try_element_at to get NULL instead", name, i, n)
		case i < 0:
			i += n + 1
		}
		return a[0].L[i-1], nil
	}), nil
}

func bindSize(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	k := args[0].Type().Kind
	if k != column.Array && (k != column.Map || name == "array_size") {
		return nil, errInputType(name, 0, "ARRAY or MAP", args[0])
	}
	per := 1
	if k == column.Map {
		per = 2
	}
	return &scalar{name: name, args: args, t: column.Of(column.Int), safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		return column.I64(int64(len(a[0].L) / per)), nil
	}}, nil
}

func bindArrayContains(name string, args []Expr) (Expr, error) {
	b, t, err := withElem(name, args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, column.Of(column.Boolean), func(a []column.Datum) (column.Datum, *Error) {
		null := false
		for _, d := range a[0].L {
			if d.Null {
				null = true
			} else if Compare(t, d, a[1]) == 0 {
				return column.Bool(true), nil
			}
		}
		return column.Datum{Null: null}, nil
	}), nil
}

func bindArrayPosition(name string, args []Expr) (Expr, error) {
	b, t, err := withElem(name, args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, column.Of(column.BigInt), func(a []column.Datum) (column.Datum, *Error) {
		for i, d := range a[0].L {
			if !d.Null && Compare(t, d, a[1]) == 0 {
				return column.I64(int64(i + 1)), nil
			}
		}
		return column.I64(0), nil
	}), nil
}

func bindArrayJoin(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "arr str str?", args)
	if err != nil {
		return nil, err
	}
	b[0] = newCast(b[0], column.ArrayOf(column.Of(column.String)), false)
	return typed(name, b, column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		var parts []string
		n := 0
		for _, d := range a[0].L {
			switch {
			case !d.Null:
				parts = append(parts, d.S)
			case len(a) == 3:
				parts = append(parts, a[2].S)
			default:
				continue
			}
			if n += len(parts[len(parts)-1]) + len(a[1].S); n > maxString {
				return column.NullDatum, errTooLong(name)
			}
		}
		return column.Str(strings.Join(parts, a[1].S)), nil
	}), nil
}

func sorted(t column.Type, l []column.Datum, sign int, nullsLast bool) []column.Datum {
	out := slices.Clone(l)
	slices.SortStableFunc(out, func(a, b column.Datum) int {
		if a.Null != b.Null && nullsLast {
			return -Compare(t, a, b)
		}
		return sign * Compare(t, a, b)
	})
	return out
}

func bindSortArray(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "arr bool?", args)
	if err != nil {
		return nil, err
	}
	t := *b[0].Type().Elem
	if !comparableType(t) {
		return nil, analysisErr("DATATYPE_MISMATCH.INVALID_ORDERING_TYPE", "42K09", "%s: elements of type %s have no order", name, t)
	}
	return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) {
		sign := 1
		if len(a) == 2 && a[1].I == 0 {
			sign = -1
		}
		return column.Datum{L: sorted(t, a[0].L, sign, false)}, nil
	}), nil
}

func distinct(t column.Type, l []column.Datum) []column.Datum {
	out := make([]column.Datum, 0, len(l))
	for _, d := range l {
		if !holds(t, out, d) {
			out = append(out, d)
		}
	}
	return out
}

// holds reports whether a list has an element equal to d, NULL equal to NULL.
func holds(t column.Type, l []column.Datum, d column.Datum) bool {
	return slices.ContainsFunc(l, func(x column.Datum) bool { return x.Null == d.Null && (d.Null || Compare(t, x, d) == 0) })
}

func arrayExtreme(sign int) func(string, []Expr) (Expr, error) {
	return arrayFn("arr", func(name string, b []Expr, t column.Type) (Expr, error) {
		return typed(name, b, t, func(a []column.Datum) (column.Datum, *Error) {
			best := column.NullDatum
			for _, d := range a[0].L {
				if !d.Null && (best.Null || sign*Compare(t, d, best) > 0) {
					best = d
				}
			}
			return best, nil
		}), nil
	})
}

func bindArrayAdd(name string, args []Expr) (Expr, error) {
	b, t, err := withElem(name, args)
	if err != nil {
		return nil, err
	}
	e := typed(name, b, column.ArrayOf(t), func(a []column.Datum) (column.Datum, *Error) {
		if a[0].Null {
			return a[0], nil
		}
		if name == "array_prepend" {
			return column.Datum{L: append([]column.Datum{a[1]}, a[0].L...)}, nil
		}
		return column.Datum{L: append(slices.Clone(a[0].L), a[1])}, nil
	}).(*scalar)
	e.nulls = true
	return e, nil
}

func bindArrayRemove(name string, args []Expr) (Expr, error) {
	b, t, err := withElem(name, args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) {
		return column.Datum{L: slices.DeleteFunc(slices.Clone(a[0].L), func(d column.Datum) bool { return !d.Null && Compare(t, d, a[1]) == 0 })}, nil
	}), nil
}

func bindArrayRepeat(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "any int", args)
	if err != nil {
		return nil, err
	}
	e := typed(name, b, column.ArrayOf(b[0].Type()), func(a []column.Datum) (column.Datum, *Error) {
		if a[1].Null {
			return column.NullDatum, nil
		}
		if a[1].I > maxElements {
			return column.NullDatum, errTooMany(name)
		}
		return column.Datum{L: slices.Repeat([]column.Datum{a[0]}, int(max(a[1].I, 0)))}, nil
	}).(*scalar)
	e.nulls = true
	return e, nil
}

func bindArraySet(name string, args []Expr) (Expr, error) {
	b, t, err := twoArrays(name, args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) {
		if name == "array_union" {
			return column.Datum{L: distinct(t, append(slices.Clone(a[0].L), a[1].L...))}, nil
		}
		keep := slices.DeleteFunc(slices.Clone(a[0].L), func(d column.Datum) bool { return holds(t, a[1].L, d) != (name == "array_intersect") })
		return column.Datum{L: distinct(t, keep)}, nil
	}), nil
}

func bindArraysOverlap(name string, args []Expr) (Expr, error) {
	b, t, err := twoArrays(name, args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, column.Of(column.Boolean), func(a []column.Datum) (column.Datum, *Error) {
		null := false
		for _, d := range a[0].L {
			if d.Null {
				null = true
			} else if holds(t, a[1].L, d) {
				return column.Bool(true), nil
			}
		}
		null = null || slices.ContainsFunc(a[1].L, func(d column.Datum) bool { return d.Null })
		return column.Datum{Null: null && len(a[0].L) > 0 && len(a[1].L) > 0}, nil
	}), nil
}

func evalSlice(a []column.Datum) (column.Datum, *Error) {
	start, n, size := a[1].I, a[2].I, int64(len(a[0].L))
	switch {
	case start == 0:
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.START", "22023", "slice: the start 0 is invalid; elements are counted from 1, or from -1 at the end")
	case n < 0:
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.LENGTH", "22023", "slice: the length must not be negative")
	case start < 0:
		start += size
	default:
		start--
	}
	if start < 0 || start >= size {
		return column.Datum{L: []column.Datum{}}, nil
	}
	return column.Datum{L: slices.Clone(a[0].L[start:min(start+n, size)])}, nil
}

func bindFlatten(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "arr", args)
	if err != nil {
		return nil, err
	}
	t := *b[0].Type().Elem
	if t.Kind != column.Array {
		return nil, errInputType(name, 0, "ARRAY of ARRAYs", b[0])
	}
	return typed(name, b, t, func(a []column.Datum) (column.Datum, *Error) {
		out := column.Datum{L: []column.Datum{}}
		for _, d := range a[0].L {
			if d.Null {
				return d, nil
			}
			if out.L = append(out.L, d.L...); len(out.L) > maxElements {
				return column.NullDatum, errTooMany(name)
			}
		}
		return out, nil
	}), nil
}

func bindArraysZip(name string, args []Expr) (Expr, error) {
	fields := make([]column.Field, len(args))
	for i, a := range args {
		if a.Type().Kind != column.Array {
			return nil, errInputType(name, i, "ARRAY", a)
		}
		label := itoa(i)
		if c, ok := a.(*columnRef); ok {
			label = c.name
		}
		fields[i] = column.Field{Name: label, Type: *a.Type().Elem}
	}
	return typed(name, args, column.ArrayOf(column.StructOf(fields...)), func(a []column.Datum) (column.Datum, *Error) {
		n := 0
		for _, d := range a {
			n = max(n, len(d.L))
		}
		out := column.Datum{L: make([]column.Datum, n)}
		for i := range out.L {
			row := make([]column.Datum, len(a))
			for j, d := range a {
				row[j] = column.NullDatum
				if i < len(d.L) {
					row[j] = d.L[i]
				}
			}
			out.L[i] = column.Datum{L: row}
		}
		return out, nil
	}), nil
}

// bindSequence makes numbers with a step, or times with an interval.
func bindSequence(name string, args []Expr) (Expr, error) {
	if len(args) != 2 && len(args) != 3 {
		return nil, errWrongNumArgs(name, "2 or 3", len(args))
	}
	t, ok := tightest(args[0].Type(), args[1].Type())
	if !ok || !t.Kind.IsIntegral() && !isDatetime(t.Kind) {
		return nil, analysisErr("DATATYPE_MISMATCH.SEQUENCE_WRONG_INPUT_TYPES", "42K09", "sequence needs integers, dates or timestamps, got %v", typeNames(args))
	}
	b := castAll(args[:2], t)
	var unit column.Kind
	if len(args) == 3 {
		step := args[2]
		if t.Kind.IsIntegral() {
			if !step.Type().Kind.IsIntegral() {
				return nil, errInputType(name, 2, t.String(), step)
			}
			step = newCast(step, t, false)
		} else if unit = step.Type().Kind; !isInterval(unit) {
			return nil, errInputType(name, 2, "INTERVAL", step)
		}
		b = append(b, step)
	}
	return typed(name, b, column.ArrayOf(t), func(a []column.Datum) (column.Datum, *Error) { return evalSequence(t.Kind, unit, a) }), nil
}

func evalSequence(k, unit column.Kind, a []column.Datum) (column.Datum, *Error) {
	from, to, step := a[0].I, a[1].I, int64(1)
	if k == column.Timestamp || k == column.TimestampNTZ {
		step = dayMicros
	}
	if from > to {
		step = -step
	}
	if len(a) == 3 {
		step = a[2].I
		if k == column.Date && unit == column.IntervalDT {
			step /= dayMicros
		}
	}
	if step == 0 && from != to || step > 0 && from > to || step < 0 && from < to {
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.SEQUENCE", "22023", "sequence: the step does not lead from start to stop")
	}
	out := column.Datum{L: []column.Datum{}}
	for i, v := int64(0), from; step >= 0 && v <= to || step < 0 && v >= to; i++ {
		if len(out.L) >= maxElements {
			return column.NullDatum, errTooMany("sequence")
		}
		out.L = append(out.L, column.I64(v))
		if step == 0 {
			break
		}
		if unit == column.IntervalYM {
			d, err := addMonths(from, step*(i+1), k == column.Date)
			if err != nil {
				break
			}
			v = d.I
			continue
		}
		next, ok := intOp('+', v, step)
		if !ok || next == math.MaxInt64 {
			break
		}
		v = next
	}
	return out, nil
}
