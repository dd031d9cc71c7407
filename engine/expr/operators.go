package expr

import (
	"math"

	"signalbox/engine/column"
)

// operators are the entries for what the parser writes as symbols, and their named twins.
func operators() []function {
	op := func(name string, bind func(string, []Expr) (Expr, error)) function {
		return function{name: name, bind: bind, hidden: true}
	}
	return []function{
		op("+", bindArith), op("-", bindArith), op("*", bindArith), op("/", bindArith), op("%", bindArith),
		op("=", bindCompare), op("==", bindCompare), op("<>", bindCompare), op("!=", bindCompare), op("<", bindCompare),
		op("<=", bindCompare), op(">", bindCompare), op(">=", bindCompare), op("<=>", bindCompare),
		op("and", bindJunction), op("or", bindJunction), op("in", bindIn), op("not", bindNot), op("!", bindNot),
		{name: "div", bind: bindArith, params: "a, b", doc: "Quotient without its fraction, as BIGINT.", example: "-7 div 2", result: "-3"},
		{name: "mod", bind: bindArith, params: "a, b", doc: "Remainder with the sign of a; the same as a % b.", example: "mod(-7, 3)", result: "-1"},
		{name: "isnull", bind: bindIsNull, params: "a", doc: "True when a is NULL.", example: "isnull(NULL)", result: "true"},
		{name: "isnotnull", bind: bindIsNull, params: "a", doc: "True when a is not NULL.", example: "isnotnull(1)", result: "true"},
		{name: "equal_null", bind: bindCompare, params: "a, b", doc: "Equality that treats NULL as a value; the same as a <=> b.", example: "equal_null(NULL, NULL)", result: "true"},
		{name: "negative", bind: bindNegative, params: "a", doc: "The value with the opposite sign.", example: "negative(3)", result: "-3"},
		{name: "positive", bind: bindPositive, params: "a", doc: "The value itself.", example: "positive(3)", result: "3"},
		{name: "try_add", bind: bindArith, params: "a, b", doc: "a + b, NULL on overflow.", example: "try_add(2147483647, 1)", result: "NULL"},
		{name: "try_subtract", bind: bindArith, params: "a, b", doc: "a - b, NULL on overflow.", example: "try_subtract(5, 2)", result: "3"},
		{name: "try_multiply", bind: bindArith, params: "a, b", doc: "a * b, NULL on overflow.", example: "try_multiply(2147483647, 2)", result: "NULL"},
		{name: "try_divide", bind: bindArith, params: "a, b", doc: "a / b, NULL when b is 0.", example: "try_divide(1, 0)", result: "NULL"},
		{name: "try_mod", bind: bindArith, params: "a, b", doc: "a % b, NULL when b is 0.", example: "try_mod(1, 0)", result: "NULL"},
	}
}

func needArgs(name string, args []Expr, n int) error {
	if len(args) != n {
		return errWrongNumArgs(name, itoa(n), len(args))
	}
	return nil
}

var arithNames = map[string]string{"mod": "%", "try_add": "+", "try_subtract": "-", "try_multiply": "*", "try_divide": "/", "try_mod": "%"}

// bindArith types + - * / % div with Spark's coercion.
func bindArith(name string, args []Expr) (Expr, error) {
	op, named := arithNames[name]
	if !named {
		op = name
	}
	try := len(name) > 4 && name[:4] == "try_"
	if len(args) == 1 && (op == "-" || op == "+") {
		if op == "-" {
			return bindNegative(name, args)
		}
		return bindPositive(name, args)
	}
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if e, ok, err := datetimeArith(op, a, b, try); ok || err != nil {
		if try && err == nil {
			e = &lenient{e}
		}
		return e, err
	}
	if t, ok := stringPromotion(a.Type(), b.Type()); ok {
		a, b = newCast(a, t, false), newCast(b, t, false)
	}
	if a.Type().Kind == column.Void && b.Type().Kind == column.Void && op != "/" && op != "div" {
		a, b = newCast(a, column.Of(column.Double), false), newCast(b, column.Of(column.Double), false)
	}
	return numericArith(op, a, b, try)
}

func numericArith(op string, a, b Expr, try bool) (Expr, error) {
	ak, bk := a.Type().Kind, b.Type().Kind
	for _, x := range []Expr{a, b} {
		if k := x.Type().Kind; !k.IsNumeric() && k != column.Void {
			if !a.Type().Equal(b.Type()) && ak != column.Void && bk != column.Void {
				return nil, errDiffTypes(op, a, b)
			}
			return nil, errWrongOpType(op, "numeric", x)
		}
	}
	if (ak == column.Decimal || bk == column.Decimal) && !isFloating(ak) && !isFloating(bk) && (ak != column.Void && bk != column.Void) {
		return decimalArith(op, a, b, try), nil
	}
	var t column.Type
	switch {
	case op == "/":
		t = column.Of(column.Double)
	case op == "div":
		if (ak == column.Decimal || bk == column.Decimal) && !isFloating(ak) && !isFloating(bk) {
			t = a.Type()
			if ak != column.Decimal {
				t = b.Type()
			}
			return decimalArith(op, newCast(a, t, false), newCast(b, t, false), try), nil
		}
		if isFloating(ak) || isFloating(bk) {
			bad := a
			if !isFloating(ak) {
				bad = b
			}
			return nil, errWrongOpType("div", "integral", bad)
		}
		t = column.Of(column.BigInt)
	case ak == column.Void && bk == column.Decimal || bk == column.Void && ak == column.Decimal:
		t, _ = tightest(a.Type(), b.Type())
		return decimalArith(op, newCast(a, t, false), newCast(b, t, false), try), nil
	default:
		t, _ = wider(a.Type(), b.Type())
	}
	code := op[0]
	return &arith{op: code, a: newCast(a, t, false), b: newCast(b, t, false), t: t, try: try}, nil
}

func isFloating(k column.Kind) bool { return k == column.Float || k == column.Double }

func decimalArith(op string, a, b Expr, try bool) Expr {
	ta, tb := asDecimalOperand(a, b), asDecimalOperand(b, a)
	a, b = newCast(a, ta, false), newCast(b, tb, false)
	if op == "div" {
		eval := func(d []column.Datum) (column.Datum, *Error) {
			return decDiv(d[0].Dec, int(ta.Scale), d[1].Dec, int(tb.Scale))
		}
		e := &scalar{name: "div", args: []Expr{a, b}, t: column.Of(column.BigInt), eval: eval, infix: true}
		return e
	}
	return &arith{op: op[0], a: a, b: b, t: decimalResult(op, ta, tb), try: try}
}

// asDecimalOperand is the decimal type of an operand: an integer literal beside a decimal takes its own digits only.
func asDecimalOperand(e, other Expr) column.Type {
	if e.Type().Kind.IsIntegral() && other.Type().Kind == column.Decimal {
		return literalDecimal(e)
	}
	return asDecimal(e.Type())
}

func decDiv(a column.Decimal128, as int, b column.Decimal128, bs int) (column.Datum, *Error) {
	s := max(as, bs)
	x, y := rescale(bigOf(a), as, s, halfUp), rescale(bigOf(b), bs, s, halfUp)
	if y.Sign() == 0 {
		return column.NullDatum, errDivideByZero()
	}
	q := x.Quo(x, y)
	if !q.IsInt64() {
		return column.NullDatum, errOverflow("div")
	}
	return column.I64(q.Int64()), nil
}

// bindNegative types unary minus.
func bindNegative(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	if k := e.Type().Kind; k == column.String || k == column.Void {
		e = newCast(e, column.Of(column.Double), false)
	}
	t := e.Type()
	switch {
	case isCalendar(t):
		e, _, err := calendarArith("*", e, NewLiteral(column.Of(column.Double), column.F64(-1)), false)
		return e, err
	case isFloating(t.Kind):
		return &mapFloat{name: "negative", e: e, t: t, f: func(v float64) float64 { return -v }}, nil
	case t.Kind.IsIntegral() || isInterval(t.Kind):
		return &arith{op: '-', a: NewLiteral(t, column.I64(0)), b: e, t: t}, nil
	case t.Kind == column.Decimal:
		eval := func(a []column.Datum) (column.Datum, *Error) {
			d, _ := decOf(bigOf(a[0].Dec).Neg(bigOf(a[0].Dec)))
			return column.Datum{Dec: d}, nil
		}
		return &scalar{name: "negative", args: []Expr{e}, t: t, eval: eval, safe: true}, nil
	}
	return nil, errInputType("-", 0, "numeric or interval", e)
}

func bindPositive(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	if k := e.Type().Kind; k == column.String || k == column.Void {
		e = newCast(e, column.Of(column.Double), false)
	}
	if k := e.Type().Kind; !k.IsNumeric() && !isInterval(k) && !isCalendar(e.Type()) {
		return nil, errInputType("+", 0, "numeric or interval", e)
	}
	return e, nil
}

// mapFloat is a function of one double.
type mapFloat struct {
	name string
	e    Expr
	t    column.Type
	f    func(float64) float64
}

func (e *mapFloat) Type() column.Type { return e.t }
func (e *mapFloat) Children() []Expr  { return []Expr{e.e} }
func (e *mapFloat) String() string    { return callText(e.name, e.Children()) }
func (e *mapFloat) cannotFail() bool  { return true }

// Eval implements Expr.
func (e *mapFloat) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.t, b.Len)
	copyNulls(out, x)
	if sel == nil {
		for i, v := range x.F64[:b.Len] {
			out.F64[i] = e.f(v)
		}
		return out
	}
	for _, r := range sel {
		out.F64[r] = e.f(x.F64[r])
	}
	return out
}

// comparable reports whether values of a type have an order.
func comparableType(t column.Type) bool {
	switch t.Kind {
	case column.Map:
		return false
	case column.Array:
		return comparableType(*t.Elem)
	case column.Struct:
		if isCalendar(t) {
			return false
		}
		for _, f := range t.Fields {
			if !comparableType(f.Type) {
				return false
			}
		}
	}
	return true
}

// bindCompare types comparisons.
func bindCompare(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	t, ok := wider(a.Type(), b.Type())
	if !ok && sameShape(a.Type(), b.Type()) { // structs are compared by position
		t, ok = a.Type(), true
	}
	if !ok {
		return nil, errDiffTypes(name, a, b)
	}
	if !comparableType(t) {
		return nil, errWrongOpType(name, "ordered", a)
	}
	a, b = newCast(a, t, false), newCast(b, t, false)
	code, ordered := map[string]byte{"<": '<', "<=": 'l', ">": '>', ">=": 'g'}[name]
	if ordered && isStringWithConst(a, b) {
		return stringOrder(code, a, b), nil
	}
	switch name {
	case "=", "==":
		return &compare{'=', a, b}, nil
	case "<>", "!=":
		return &compare{'!', a, b}, nil
	case "<":
		return &compare{'<', a, b}, nil
	case "<=":
		return &compare{'l', a, b}, nil
	case ">":
		return &compare{'>', a, b}, nil
	case ">=":
		return &compare{'g', a, b}, nil
	}
	return &compare{'n', a, b}, nil
}

func boolArg(op string, e Expr) (Expr, error) {
	switch e.Type().Kind {
	case column.Boolean:
		return e, nil
	case column.Void:
		return newCast(e, column.Of(column.Boolean), false), nil
	}
	return nil, errWrongOpType(op, "BOOLEAN", e)
}

func bindJunction(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if t, ok := stringPromotion(a.Type(), b.Type()); ok && t.Kind == column.Boolean {
		a, b = newCast(a, t, false), newCast(b, t, false)
	} else if _, ok := tightest(a.Type(), b.Type()); !ok {
		return nil, errDiffTypes(name, a, b)
	}
	a, err := boolArg(name, a)
	if err != nil {
		return nil, err
	}
	if b, err = boolArg(name, b); err != nil {
		return nil, err
	}
	return &junction{or: name == "or", a: a, b: b}, nil
}

func bindNot(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	if k := e.Type().Kind; k == column.String || k == column.Void {
		e = newCast(e, column.Of(column.Boolean), false)
	}
	if e.Type().Kind != column.Boolean {
		return nil, errInputType("NOT", 0, "BOOLEAN", e)
	}
	return &not{e}, nil
}

func bindIsNull(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	return &isNull{args[0], name == "isnotnull"}, nil
}

func bindIn(name string, args []Expr) (Expr, error) {
	if len(args) < 2 {
		return nil, errWrongNumArgs(name, "two or more", len(args))
	}
	t, ok := CommonType(typesOf(args)...)
	if !ok || !comparableType(t) {
		return nil, errDataDiffTypes("IN", typeNames(args))
	}
	cast := castAll(args, t)
	return newIn(cast[0], cast[1:]), nil
}

func typesOf(args []Expr) []column.Type {
	out := make([]column.Type, len(args))
	for i, a := range args {
		out[i] = a.Type()
	}
	return out
}

func typeNames(args []Expr) []string {
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a.Type().String()
	}
	return out
}

func castAll(args []Expr, t column.Type) []Expr {
	out := make([]Expr, len(args))
	for i, a := range args {
		out[i] = newCast(a, t, false)
	}
	return out
}

func isNaN(f float64) bool { return math.IsNaN(f) }
