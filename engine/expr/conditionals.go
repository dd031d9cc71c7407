package expr

import "signalbox/engine/column"

// conditionals are CASE and the functions that are short for it.
func conditionals() []function {
	return []function{
		{name: "case", bind: bindCase, hidden: true},
		{name: "if", bind: bindIf, params: "cond, a, b", doc: "a when cond is true, else b.", example: "if(1 < 2, 'a', 'b')", result: "a"},
		{name: "iff", bind: bindIf, hidden: true},
		{name: "coalesce", bind: bindCoalesce, params: "a, b, ...", doc: "The first argument that is not NULL.", example: "coalesce(NULL, 1, 2)", result: "1"},
		{name: "nvl ifnull", bind: bindNvl, params: "a, b", doc: "a, or b when a is NULL.", example: "nvl(NULL, 5)", result: "5"},
		{name: "nvl2", bind: bindNvl2, params: "a, b, c", doc: "b when a is not NULL, else c.", example: "nvl2(NULL, 1, 2)", result: "2"},
		{name: "nullif", bind: bindNullif, params: "a, b", doc: "NULL when a = b, else a.", example: "nullif(2, 2)", result: "NULL"},
		{name: "zeroifnull", bind: bindZeroIfNull, params: "a", doc: "0 when a is NULL, else a.", example: "zeroifnull(NULL)", result: "0"},
		{name: "nullifzero", bind: bindNullIfZero, params: "a", doc: "NULL when a = 0, else a.", example: "nullifzero(0)", result: "NULL"},
		{name: "nanvl", bind: bindNanvl, params: "a, b", doc: "b when a is NaN, else a.", example: "nanvl(CAST('NaN' AS DOUBLE), 5)", result: "5.0"},
		{name: "greatest", bind: bindExtreme, params: "a, b, ...", doc: "The largest argument; NULLs are skipped.", example: "greatest(1, 2.5)", result: "2.5"},
		{name: "least", bind: bindExtreme, params: "a, b, ...", doc: "The smallest argument; NULLs are skipped.", example: "least(3, NULL, 2)", result: "2"},
		{name: "assert_true", bind: bindAssertTrue, params: "cond, message?", doc: "NULL when cond is true, else the row fails.", example: "assert_true(1 < 2)", result: "NULL"},
		{name: "raise_error", sig: "str", ret: "void", eval: raiseError, doc: "The row fails with the message.", example: "if(true, 'ok', raise_error('no'))", result: "ok"},
	}
}

func raiseError(a []column.Datum) (column.Datum, *Error) {
	return column.NullDatum, runtimeErr("USER_RAISED_EXCEPTION", "P0001", "%s", a[0].S)
}

// newCase builds a CASE whose branches are brought to their common type.
func newCase(name string, conds, vals []Expr, other Expr) (Expr, error) {
	if other == nil {
		other = nullOf(column.Type{})
	}
	all := append(append([]Expr{}, vals...), other)
	t, ok := CommonType(typesOf(all)...)
	if !ok {
		return nil, errDataDiffTypes(name, typeNames(all))
	}
	e := &branch{vals: castAll(vals, t), other: newCast(other, t, false), t: t}
	for i, c := range conds {
		if name == "if" && c.Type().Kind == column.Void { // Spark refuses an untyped NULL after WHEN only
			c = newCast(c, column.Of(column.Boolean), false)
		}
		if c.Type().Kind != column.Boolean {
			return nil, errInputType(name, i, "BOOLEAN", c)
		}
		e.conds = append(e.conds, c)
	}
	return e, nil
}

func bindCase(name string, args []Expr) (Expr, error) {
	if len(args) < 2 {
		return nil, errWrongNumArgs(name, "two or more", len(args))
	}
	var conds, vals []Expr
	for i := 0; i+1 < len(args); i += 2 {
		conds, vals = append(conds, args[i]), append(vals, args[i+1])
	}
	var other Expr
	if len(args)%2 == 1 {
		other = args[len(args)-1]
	}
	return newCase(name, conds, vals, other)
}

func bindIf(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	return newCase("if", args[:1], args[1:2], args[2])
}

func bindCoalesce(name string, args []Expr) (Expr, error) {
	if len(args) == 0 {
		return nil, errWrongNumArgs(name, "one or more", 0)
	}
	t, ok := CommonType(typesOf(args)...)
	if !ok {
		return nil, errDataDiffTypes(name, typeNames(args))
	}
	return &coalesce{args: castAll(args, t), t: t}, nil
}

func bindNvl(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	return bindCoalesce(name, args)
}

func bindNvl2(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 3); err != nil {
		return nil, err
	}
	return newCase(name, []Expr{&isNull{args[0], true}}, args[1:2], args[2])
}

func bindNullif(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	eq, err := bindCompare("=", args)
	if err != nil {
		return nil, err
	}
	return newCase(name, []Expr{eq}, []Expr{nullOf(args[0].Type())}, args[0])
}

func bindZeroIfNull(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	return bindCoalesce(name, []Expr{args[0], intLit(0)})
}

func bindNullIfZero(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	return bindNullif(name, []Expr{args[0], intLit(0)})
}

func bindNanvl(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "double double", args)
	if err != nil {
		return nil, err
	}
	nan, _ := bindCompare("=", []Expr{b[0], NewLiteral(column.Of(column.Double), column.F64(nanValue))})
	return newCase(name, []Expr{nan}, []Expr{b[1]}, b[0])
}

func bindExtreme(name string, args []Expr) (Expr, error) {
	if len(args) < 2 {
		return nil, errWrongNumArgs(name, "two or more", len(args))
	}
	t, ok := foldTypes(typesOf(args), widerNoString)
	if !ok {
		return nil, errDataDiffTypes(name, typeNames(args))
	}
	if !comparableType(t) {
		return nil, analysisErr("DATATYPE_MISMATCH.INVALID_ORDERING_TYPE", "42K09", "%s: values of type %s have no order", name, t)
	}
	sign := 1
	if name == "least" {
		sign = -1
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		best := column.NullDatum
		for _, d := range a {
			if !d.Null && (best.Null || sign*Compare(t, d, best) > 0) {
				best = d
			}
		}
		return best, nil
	}
	return &scalar{name: name, args: castAll(args, t), t: t, eval: eval, nulls: true, safe: true}, nil
}

func bindAssertTrue(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "bool str?", args)
	if err != nil {
		return nil, err
	}
	text := "'" + b[0].String() + "' is not true!"
	eval := func(a []column.Datum) (column.Datum, *Error) {
		if !a[0].Null && a[0].I != 0 {
			return column.NullDatum, nil
		}
		said := text
		if len(a) > 1 {
			said = a[1].S
		}
		return column.NullDatum, runtimeErr("USER_RAISED_EXCEPTION", "P0001", "%s", said)
	}
	return &scalar{name: name, args: b, eval: eval, nulls: true}, nil
}
