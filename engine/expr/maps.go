package expr

import (
	"cmp"
	"slices"
	"strings"

	"signalbox/engine/column"
)

func mapType(k, v column.Type) column.Type { return column.Type{Kind: column.Map, Key: &k, Elem: &v} }

func structFunctions() []function {
	return []function{
		bound("named_struct", "name, v, ...", "Struct with named members.", "named_struct('a', 1, 'b', 2)", "{1, 2}", bindNamedStruct),
		bound("struct", "a, b, ...", "Struct with members col1, col2, …", "struct(1, 2)", "{1, 2}", bindStruct),
		bound("map", "k, v, ...", "Map of keys and values.", "map('a', 1)", "{a -> 1}", bindMap),
		bound("map_from_arrays", "keys, values", "Map from an array of keys and one of values.", "map_from_arrays(array('a', 'b'), array(1, 2))", "{a -> 1, b -> 2}", bindMapFromArrays),
		bound("map_keys", "map", "Array of the keys.", "map_keys(map('a', 1))", "[a]", mapPart(0)),
		bound("map_values", "map", "Array of the values.", "map_values(map('a', 1))", "[1]", mapPart(1)),
		bound("map_contains_key", "map, k", "True when the map has the key.", "map_contains_key(map('a', 1), 'a')", "true", bindMapContains),
		bound("map_entries", "map", "Array of structs of key and value.", "map_entries(map('a', 1))", "[{a, 1}]", bindMapEntries),
		bound("map_from_entries", "array", "Map from an array of structs of key and value.", "map_from_entries(array(struct('a', 1)))", "{a -> 1}", bindMapFromEntries),
		bound("map_concat", "a, b, ...", "Union of maps.", "map_concat(map('a', 1), map('b', 2))", "{a -> 1, b -> 2}", bindMapConcat),
		bound("str_to_map", "text, pairs?, keys?", "Map from a text such as a:1,b:2.", "str_to_map('a:1,b:2')", "{a -> 1, b -> 2}", bindStrToMap),
		bound("transform", "array, x -> ...", "Array of the results of a lambda; (x, i) -> … also sees the index.", "transform(array(1, 2), x -> x + 1)", "[2, 3]", bindTransform),
		bound("filter", "array, x -> ...", "Elements for which a lambda is true.", "filter(array(1, 2, 3), x -> x > 1)", "[2, 3]", bindFilter),
		bound("exists any_match", "array, x -> ...", "True when a lambda is true for an element.", "exists(array(1, 2), x -> x = 2)", "true", bindExists),
		bound("forall", "array, x -> ...", "True when a lambda is true for all elements.", "forall(array(1, 2), x -> x > 0)", "true", bindExists),
		bound("aggregate reduce", "array, start, (acc, x) -> ..., acc -> ...?", "Folds an array.", "aggregate(array(1, 2, 3), 0, (acc, x) -> acc + x)", "6", bindAggregate),
		bound("zip_with", "a, b, (x, y) -> ...", "Array of the results of a lambda on two arrays.", "zip_with(array(1, 2), array(3, 4), (x, y) -> x + y)", "[4, 6]", bindZipWith),
		bound("map_zip_with", "a, b, (k, x, y) -> ...", "Map of the results of a lambda on the values that two maps have for a key.", "map_zip_with(map('a', 1), map('a', 2, 'b', 3), (k, x, y) -> coalesce(x, 0) + y)", "{a -> 3, b -> 3}", bindMapZipWith),
		bound("map_filter", "map, (k, v) -> ...", "Entries for which a lambda is true.", "map_filter(map('a', 1, 'b', 2), (k, v) -> v > 1)", "{b -> 2}", bindMapLambda),
		bound("transform_values", "map, (k, v) -> ...", "Map with values replaced.", "transform_values(map('a', 1), (k, v) -> v + 1)", "{a -> 2}", bindMapLambda),
		bound("transform_keys", "map, (k, v) -> ...", "Map with keys replaced.", "transform_keys(map('a', 1), (k, v) -> upper(k))", "{A -> 1}", bindMapLambda),
	}
}

func bindNamedStruct(name string, args []Expr) (Expr, error) {
	if len(args)%2 != 0 {
		return nil, errWrongNumArgs(name, "an even number of", len(args))
	}
	var fields []column.Field
	var vals []Expr
	for i := 0; i < len(args); i += 2 {
		d, ok := Constant(Fold(args[i]))
		if !ok || d.Null || args[i].Type().Kind != column.String {
			return nil, analysisErr("DATATYPE_MISMATCH.CREATE_NAMED_STRUCT_WITHOUT_FOLDABLE_STRING", "42K09", "%s: the names must be constant strings", name)
		}
		fields = append(fields, column.Field{Name: d.S, Type: args[i+1].Type()})
		vals = append(vals, args[i+1])
	}
	return makeStruct(fields, vals), nil
}

func makeStruct(fields []column.Field, vals []Expr) Expr {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return &scalar{name: "struct<" + strings.Join(names, ",") + ">", args: vals, t: column.StructOf(fields...), nulls: true, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		return column.Datum{L: append([]column.Datum{}, a...)}, nil
	}}
}

func bindStruct(name string, args []Expr) (Expr, error) {
	fields := make([]column.Field, len(args))
	for i, a := range args {
		fields[i] = column.Field{Name: "col" + itoa(i+1), Type: a.Type()}
		if c, ok := a.(*columnRef); ok {
			fields[i].Name = c.name
		}
		if f, ok := a.(*field); ok {
			fields[i].Name = f.e.Type().Fields[f.ord].Name
		}
	}
	return makeStruct(fields, args), nil
}

// newMap checks keys: none NULL, none twice.
func newMap(k column.Type, l []column.Datum) (column.Datum, *Error) {
	for i := 0; i < len(l); i += 2 {
		if l[i].Null {
			return column.NullDatum, runtimeErr("NULL_MAP_KEY", "2200E", "a map key must not be NULL")
		}
		for j := 0; j < i; j += 2 {
			if Compare(k, l[i], l[j]) == 0 {
				return column.NullDatum, runtimeErr("DUPLICATED_MAP_KEY", "23505", "the map key %s is given twice", Text(k, l[i]))
			}
		}
	}
	return column.Datum{L: l}, nil
}

func bindMap(name string, args []Expr) (Expr, error) {
	if len(args)%2 != 0 {
		return nil, errWrongNumArgs(name, "an even number of", len(args))
	}
	var keys, vals []Expr
	for i := 0; i < len(args); i += 2 {
		keys, vals = append(keys, args[i]), append(vals, args[i+1])
	}
	kt, ok1 := CommonType(typesOf(keys)...)
	vt, ok2 := CommonType(typesOf(vals)...)
	if !ok1 || !ok2 {
		return nil, analysisErr("DATATYPE_MISMATCH.CREATE_MAP_KEY_DIFF_TYPES", "42K09", "map: the keys, and the values, need one type each, got %v", typeNames(args))
	}
	var all []Expr
	for i := range keys {
		all = append(all, newCast(keys[i], kt, false), newCast(vals[i], vt, false))
	}
	e := typed(name, all, mapType(kt, vt), func(a []column.Datum) (column.Datum, *Error) { return newMap(kt, slices.Clone(a)) }).(*scalar)
	e.nulls = true
	return e, nil
}

func bindMapFromArrays(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "arr arr", args)
	if err != nil {
		return nil, err
	}
	kt := *b[0].Type().Elem
	return typed(name, b, mapType(kt, *b[1].Type().Elem), func(a []column.Datum) (column.Datum, *Error) {
		if len(a[0].L) != len(a[1].L) {
			return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.LENGTH", "22023", "map_from_arrays: %d keys for %d values", len(a[0].L), len(a[1].L))
		}
		l := make([]column.Datum, 0, 2*len(a[0].L))
		for i, k := range a[0].L {
			l = append(l, k, a[1].L[i])
		}
		return newMap(kt, l)
	}), nil
}

func mapPart(at int) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		b, err := bindArgs(name, "map", args)
		if err != nil {
			return nil, err
		}
		t := [2]*column.Type{b[0].Type().Key, b[0].Type().Elem}[at]
		return typed(name, b, column.ArrayOf(*t), func(a []column.Datum) (column.Datum, *Error) {
			out := column.Datum{L: []column.Datum{}}
			for i := at; i < len(a[0].L); i += 2 {
				out.L = append(out.L, a[0].L[i])
			}
			return out, nil
		}), nil
	}
}

func bindMapContains(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "map any", args)
	if err != nil {
		return nil, err
	}
	kt := *b[0].Type().Key
	if !implicitTo(b[1].Type(), kt) {
		return nil, errInputType(name, 1, kt.String(), b[1])
	}
	return typed(name, []Expr{b[0], newCast(b[1], kt, false)}, column.Of(column.Boolean), func(a []column.Datum) (column.Datum, *Error) {
		for i := 0; i < len(a[0].L); i += 2 {
			if Compare(kt, a[0].L[i], a[1]) == 0 {
				return column.Bool(true), nil
			}
		}
		return column.Bool(false), nil
	}), nil
}

func bindMapEntries(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "map", args)
	if err != nil {
		return nil, err
	}
	t := column.StructOf(column.Field{Name: "key", Type: *b[0].Type().Key}, column.Field{Name: "value", Type: *b[0].Type().Elem})
	return typed(name, b, column.ArrayOf(t), func(a []column.Datum) (column.Datum, *Error) {
		out := column.Datum{L: []column.Datum{}}
		for i := 0; i+1 < len(a[0].L); i += 2 {
			out.L = append(out.L, column.Datum{L: slices.Clone(a[0].L[i : i+2])})
		}
		return out, nil
	}), nil
}

func bindMapFromEntries(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "arr", args)
	if err != nil {
		return nil, err
	}
	t := *b[0].Type().Elem
	if t.Kind != column.Struct || len(t.Fields) != 2 {
		return nil, errInputType(name, 0, "ARRAY of pairs", b[0])
	}
	return typed(name, b, mapType(t.Fields[0].Type, t.Fields[1].Type), func(a []column.Datum) (column.Datum, *Error) {
		var l []column.Datum
		for _, d := range a[0].L {
			if d.Null {
				return d, nil
			}
			l = append(l, d.L...)
		}
		return newMap(t.Fields[0].Type, l)
	}), nil
}

func bindMapConcat(name string, args []Expr) (Expr, error) {
	t, ok := CommonType(typesOf(args)...)
	if !ok || t.Kind != column.Map {
		return nil, errDataDiffTypes(name, typeNames(args))
	}
	return typed(name, castAll(args, t), t, func(a []column.Datum) (column.Datum, *Error) {
		var l []column.Datum
		for _, d := range a {
			l = append(l, d.L...)
		}
		return newMap(*t.Key, l)
	}), nil
}

func bindStrToMap(name string, args []Expr) (Expr, error) {
	for len(args) < 3 && len(args) > 0 {
		args = append(args, NewLiteral(column.Of(column.String), column.Str([4]string{"", ",", ":"}[len(args)])))
	}
	b, err := bindArgs(name, "str str str", args)
	if err != nil {
		return nil, err
	}
	pairs, keys := newPatterns(name, b[1]), newPatterns(name, b[2])
	str := column.Of(column.String)
	return typed(name, b, mapType(str, str), func(a []column.Datum) (column.Datum, *Error) {
		p, err := pairs.of(a[1].S)
		if err != nil {
			return column.NullDatum, err
		}
		k, err := keys.of(a[2].S)
		if err != nil {
			return column.NullDatum, err
		}
		var l []column.Datum
		parts, _ := regexpSplit(p, []column.Datum{a[0], a[1]})
		for _, part := range parts.L {
			kv, _ := regexpSplit(k, []column.Datum{part, a[2], column.I64(2)})
			if len(kv.L) < 2 {
				kv.L = append(kv.L, column.NullDatum)
			}
			l = append(l, kv.L[0], kv.L[1])
		}
		return newMap(str, l)
	}), nil
}

// lambdaOver binds an array and a lambda with the given number of parameters.
func lambdaOver(name string, args []Expr, params ...int) ([]Expr, *lambda, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, nil, err
	}
	if args[0].Type().Kind != column.Array {
		return nil, nil, errInputType(name, 0, "ARRAY", args[0])
	}
	n := params[0]
	if l, ok := args[1].(*lambda); ok && slices.Contains(params, len(l.params)) {
		n = len(l.params)
	}
	l, err := bindLambda(name, 1, args[1], n)
	return args, l, err
}

// elements gives the parameter values of a lambda over an array: the elements and, when asked for, their indexes.
func elements(l []column.Datum, params int) [][]column.Datum {
	out := [][]column.Datum{l}
	if params == 2 {
		idx := make([]column.Datum, len(l))
		for i := range idx {
			idx[i] = column.I64(int64(i))
		}
		out = append(out, idx)
	}
	return out
}

func bindTransform(name string, args []Expr) (Expr, error) {
	b, l, err := lambdaOver(name, args, 1, 2)
	if err != nil {
		return nil, err
	}
	return &higher{name: name, args: b, t: column.ArrayOf(l.body.Type()), run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		out, err := c.call(1, len(a[0].L), elements(a[0].L, len(l.params))...)
		return column.Datum{L: out}, err
	}}, nil
}

func mustBool(name string, l *lambda) error {
	if k := l.body.Type().Kind; k != column.Boolean && k != column.Void {
		return analysisErr("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "%s: the lambda must give a BOOLEAN, not %s", name, l.body.Type())
	}
	return nil
}

func bindFilter(name string, args []Expr) (Expr, error) {
	b, l, err := lambdaOver(name, args, 1, 2)
	if err == nil {
		err = mustBool(name, l)
	}
	if err != nil {
		return nil, err
	}
	return &higher{name: name, args: b, t: b[0].Type(), run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		keep, err := c.call(1, len(a[0].L), elements(a[0].L, len(l.params))...)
		if err != nil {
			return column.NullDatum, err
		}
		out := column.Datum{L: []column.Datum{}}
		for i, k := range keep {
			if !k.Null && k.I != 0 {
				out.L = append(out.L, a[0].L[i])
			}
		}
		return out, nil
	}}, nil
}

func bindExists(name string, args []Expr) (Expr, error) {
	b, l, err := lambdaOver(name, args, 1)
	if err == nil {
		err = mustBool(name, l)
	}
	if err != nil {
		return nil, err
	}
	decided := b2i(name != "forall")
	return &higher{name: name, args: b, t: column.Of(column.Boolean), run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		res, err := c.call(1, len(a[0].L), a[0].L)
		if err != nil {
			return column.NullDatum, err
		}
		null := false
		for _, r := range res {
			if r.Null {
				null = true
			} else if r.I == decided {
				return column.I64(decided), nil
			}
		}
		return column.Datum{Null: null, I: 1 - decided}, nil
	}}, nil
}

func bindAggregate(name string, args []Expr) (Expr, error) {
	if len(args) != 3 && len(args) != 4 {
		return nil, errWrongNumArgs(name, "3 or 4", len(args))
	}
	if args[0].Type().Kind != column.Array {
		return nil, errInputType(name, 0, "ARRAY", args[0])
	}
	merge, err := bindLambda(name, 2, args[2], 2)
	if err != nil {
		return nil, err
	}
	acc := args[1].Type()
	if !merge.body.Type().Equal(acc) {
		if !canStoreAssign(merge.body.Type(), acc) || acc.Kind == column.Void {
			return nil, analysisErr("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "%s: the lambda gives %s, but the start value is %s; cast the start value", name, merge.body.Type(), acc)
		}
		merge = &lambda{merge.params, newCast(merge.body, acc, false)}
	}
	t := acc
	b := []Expr{args[0], args[1], merge}
	if len(args) == 4 {
		finish, err := bindLambda(name, 3, args[3], 1)
		if err != nil {
			return nil, err
		}
		t = finish.body.Type()
		b = append(b, finish)
	}
	return &higher{name: name, args: b, t: t, run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		v := []column.Datum{a[1]}
		for _, x := range a[0].L {
			var err *Error
			if v, err = c.call(2, 1, v, []column.Datum{x}); err != nil {
				return column.NullDatum, err
			}
		}
		if len(b) == 4 {
			var err *Error
			if v, err = c.call(3, 1, v); err != nil {
				return column.NullDatum, err
			}
		}
		return v[0], nil
	}}, nil
}

func bindZipWith(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	for i := range 2 {
		if args[i].Type().Kind != column.Array {
			return nil, errInputType(name, i, "ARRAY", args[i])
		}
	}
	l, err := bindLambda(name, 2, args[2], 2)
	if err != nil {
		return nil, err
	}
	return &higher{name: name, args: args, t: column.ArrayOf(l.body.Type()), run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		if a[1].Null {
			return a[1], nil
		}
		n := max(len(a[0].L), len(a[1].L))
		pad := func(l []column.Datum) []column.Datum {
			return append(slices.Clone(l), slices.Repeat([]column.Datum{column.NullDatum}, n-len(l))...)
		}
		out, err := c.call(2, n, pad(a[0].L), pad(a[1].L))
		return column.Datum{L: out}, err
	}}, nil
}

func bindMapLambda(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	if args[0].Type().Kind != column.Map {
		return nil, errInputType(name, 0, "MAP", args[0])
	}
	l, err := bindLambda(name, 1, args[1], 2)
	if err != nil {
		return nil, err
	}
	mt := args[0].Type()
	t := mt
	switch name {
	case "map_filter":
		err = mustBool(name, l)
	case "transform_values":
		t = mapType(*mt.Key, l.body.Type())
	default:
		t = mapType(l.body.Type(), *mt.Elem)
	}
	if err != nil {
		return nil, err
	}
	return &higher{name: name, args: args, t: t, run: func(c *caller, a []column.Datum) (column.Datum, *Error) {
		var keys, vals, out []column.Datum
		for i := 0; i+1 < len(a[0].L); i += 2 {
			keys, vals = append(keys, a[0].L[i]), append(vals, a[0].L[i+1])
		}
		res, err := c.call(1, len(keys), keys, vals)
		if err != nil {
			return column.NullDatum, err
		}
		for i, r := range res {
			switch {
			case name == "transform_values":
				out = append(out, keys[i], r)
			case name == "transform_keys":
				out = append(out, r, vals[i])
			case !r.Null && r.I != 0:
				out = append(out, keys[i], vals[i])
			}
		}
		return newMap(*t.Key, out)
	}}, nil
}

// bindArraySort sorts with NULLs last, or by a lambda that compares two elements.
func bindArraySort(name string, args []Expr) (Expr, error) {
	if len(args) == 2 {
		b, l, err := lambdaOver(name, args, 2)
		if err != nil {
			return nil, err
		}
		if k := l.body.Type().Kind; k != column.Int {
			return nil, analysisErr("DATATYPE_MISMATCH.UNEXPECTED_RETURN_TYPE", "42K09", "%s: the lambda must give an INT, not %s", name, l.body.Type())
		}
		return &higher{name: name, args: b, t: b[0].Type(), run: sortByLambda}, nil
	}
	b, err := bindArgs(name, "arr", args)
	if err != nil {
		return nil, err
	}
	t := *b[0].Type().Elem
	if !comparableType(t) {
		return nil, analysisErr("DATATYPE_MISMATCH.INVALID_ORDERING_TYPE", "42K09", "%s: elements of type %s have no order", name, t)
	}
	return typed(name, b, b[0].Type(), func(a []column.Datum) (column.Datum, *Error) {
		return column.Datum{L: sorted(t, a[0].L, 1, true)}, nil
	}), nil
}

func sortByLambda(c *caller, a []column.Datum) (column.Datum, *Error) {
	out := slices.Clone(a[0].L)
	var failed *Error
	slices.SortStableFunc(out, func(x, y column.Datum) int {
		if failed != nil {
			return 0
		}
		r, err := c.call(1, 1, []column.Datum{x}, []column.Datum{y})
		switch {
		case err != nil:
			failed = err
			return 0
		case r[0].Null:
			failed = runtimeErr("COMPARATOR_RETURNS_NULL", "22004", "array_sort: the lambda gave NULL")
			return 0
		}
		return cmp.Compare(r[0].I, 0)
	})
	return column.Datum{L: out}, failed
}
