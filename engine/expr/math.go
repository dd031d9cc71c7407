package expr

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// fn makes the table entry of a plain function.
func fn(name, sig, ret, doc, example, result string, eval evalFunc) function {
	return function{name: name, sig: sig, ret: ret, doc: doc, example: example, result: result, eval: eval}
}

// bound makes the table entry of a function that types itself.
func bound(name, params, doc, example, result string, bind func(string, []Expr) (Expr, error)) function {
	return function{name: name, params: params, doc: doc, example: example, result: result, bind: bind}
}

func bindFloat(f func(float64) float64) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		b, err := bindArgs(name, "double", args)
		if err != nil {
			return nil, err
		}
		return &mapFloat{name: name, e: b[0], t: column.Of(column.Double), f: f}, nil
	}
}

// floats are the functions of one double that give a double.
func floatFunctions() []function {
	f := func(name, doc, example, result string, f func(float64) float64) function {
		return bound(name, "x", doc, example, result, bindFloat(f))
	}
	return []function{
		f("sqrt", "Square root.", "sqrt(4)", "2.0", math.Sqrt),
		f("cbrt", "Cube root.", "cbrt(27)", "3.0", math.Cbrt),
		f("exp", "e to the power of x.", "exp(0)", "1.0", math.Exp),
		f("expm1", "exp(x) - 1, exact near 0.", "expm1(0)", "0.0", math.Expm1),
		f("sin", "Sine of an angle in radians.", "sin(0)", "0.0", math.Sin),
		f("cos", "Cosine of an angle in radians.", "cos(0)", "1.0", math.Cos),
		f("tan", "Tangent of an angle in radians.", "tan(0)", "0.0", math.Tan),
		f("cot", "Cotangent of an angle in radians.", "round(cot(1), 6)", "0.642093", func(x float64) float64 { return 1 / math.Tan(x) }),
		f("sec", "Secant of an angle in radians.", "sec(0)", "1.0", func(x float64) float64 { return 1 / math.Cos(x) }),
		f("csc", "Cosecant of an angle in radians.", "round(csc(1), 6)", "1.188395", func(x float64) float64 { return 1 / math.Sin(x) }),
		f("asin", "Arc sine in radians.", "asin(0)", "0.0", math.Asin),
		f("acos", "Arc cosine in radians.", "acos(1)", "0.0", math.Acos),
		f("atan", "Arc tangent in radians.", "atan(0)", "0.0", math.Atan),
		f("sinh", "Hyperbolic sine.", "sinh(0)", "0.0", math.Sinh),
		f("cosh", "Hyperbolic cosine.", "cosh(0)", "1.0", math.Cosh),
		f("tanh", "Hyperbolic tangent.", "tanh(0)", "0.0", math.Tanh),
		f("asinh", "Inverse hyperbolic sine.", "asinh(0)", "0.0", math.Asinh),
		f("acosh", "Inverse hyperbolic cosine.", "acosh(1)", "0.0", math.Acosh),
		f("atanh", "Inverse hyperbolic tangent.", "atanh(0)", "0.0", math.Atanh),
		f("degrees", "Radians to degrees.", "degrees(pi())", "180.0", func(x float64) float64 { return x * (180 / math.Pi) }),
		f("radians", "Degrees to radians.", "radians(180)", "3.141592653589793", func(x float64) float64 { return x * (math.Pi / 180) }),
		f("rint", "Nearest integral double, half to even.", "rint(2.5)", "2.0", math.RoundToEven),
		bound("sign signum", "x", "-1.0, 0.0 or 1.0 as x is negative, zero or positive.", "sign(-40)", "-1.0", overIntervals(bindFloat(signum))),
	}
}

// overIntervals lets a function of numbers take intervals of one kind, as their months or microseconds.
func overIntervals(bind func(string, []Expr) (Expr, error)) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		out := slices.Clone(args)
		for i, a := range args {
			if k := a.Type().Kind; isInterval(k) && args[0].Type().Kind == k {
				out[i] = &scalar{name: "length_of", args: []Expr{a}, t: column.Of(column.Double), safe: true, eval: func(d []column.Datum) (column.Datum, *Error) {
					return column.F64(float64(d[0].I)), nil
				}}
			} else if isInterval(args[0].Type().Kind) && i < 3 {
				return nil, errDiffTypes(name, args[0], a)
			}
		}
		return bind(name, out)
	}
}

func bindWidthBucket(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "double double double bigint", args)
	if err != nil {
		return nil, err
	}
	return typed(name, b, column.Of(column.BigInt), evalWidthBucket), nil
}

func signum(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// positiveOnly makes a logarithm that is NULL at or below a bound.
func positiveOnly(bound float64, f func(float64) float64) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		if a[0].F <= bound {
			return column.NullDatum, nil
		}
		return column.F64(f(a[0].F)), nil
	}
}

func float2(f func(x, y float64) float64) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.F64(f(a[0].F, a[1].F)), nil }
}

func mathFunctions() []function {
	return []function{
		fn("ln", "double", "double", "Natural logarithm; NULL when x is not positive.", "ln(1)", "0.0", positiveOnly(0, math.Log)),
		fn("log10", "double", "double", "Logarithm to base 10; NULL when x is not positive.", "log10(10)", "1.0", positiveOnly(0, math.Log10)),
		fn("log2", "double", "double", "Logarithm to base 2; NULL when x is not positive.", "log2(8)", "3.0", positiveOnly(0, math.Log2)),
		fn("log1p", "double", "double", "ln(1 + x); NULL when x <= -1.", "log1p(0)", "0.0", positiveOnly(-1, math.Log1p)),
		fn("log", "double double?", "double", "Logarithm of x, or log(base, x); NULL where it is not defined.", "log(2, 8)", "3.0", evalLog),
		fn("pow power", "double double", "double", "x to the power of y.", "pow(2, 3)", "8.0", float2(javaPow)),
		fn("atan2", "double double", "double", "Angle of the point (x, y), as atan2(y, x).", "atan2(0, 1)", "0.0", float2(func(y, x float64) float64 { return math.Atan2(y+0, x+0) })),
		fn("hypot", "double double", "double", "Length of the hypotenuse.", "hypot(3, 4)", "5.0", float2(math.Hypot)),
		fn("e", "", "double", "Euler's number.", "e()", "2.718281828459045", constFloat(math.E)),
		fn("pi", "", "double", "Pi.", "pi()", "3.141592653589793", constFloat(math.Pi)),
		fn("factorial", "int", "bigint", "n!; NULL outside 0..20.", "factorial(5)", "120", evalFactorial),
		bound("width_bucket", "v, lo, hi, n", "Number of the bucket, of n equal ones between lo and hi, that v falls into.", "width_bucket(5.3, 0.2, 10.6, 5)", "3", overIntervals(bindWidthBucket)),
		fn("bin", "bigint", "str", "The number in binary.", "bin(13)", "1101", func(a []column.Datum) (column.Datum, *Error) {
			return column.Str(strconv.FormatUint(uint64(a[0].I), 2)), nil
		}),
		fn("conv", "str int int", "str", "Converts a number between bases 2..36.", "conv('100', 2, 10)", "4", evalConv),
		fn("isnan", "double", "bool", "True when x is NaN, false when it is NULL.", "isnan(CAST('NaN' AS DOUBLE))", "true", nil).seesNulls(func(a []column.Datum) (column.Datum, *Error) {
			return column.Bool(!a[0].Null && math.IsNaN(a[0].F)), nil
		}),
		bound("abs", "x", "Absolute value.", "abs(-1)", "1", bindAbs),
		bound("ceil ceiling", "x, scale?", "Smallest integral number not below x.", "ceil(-0.1)", "0", bindCeilFloor),
		bound("floor", "x, scale?", "Largest integral number not above x.", "floor(-0.1)", "-1", bindCeilFloor),
		bound("round", "x, scale?", "x rounded half up to scale digits after the point.", "round(2.5)", "3", bindRound),
		bound("bround", "x, scale?", "x rounded half to even.", "bround(2.5)", "2", bindRound),
		bound("pmod", "a, b", "Remainder that is never negative for a positive b.", "pmod(-10, 3)", "2", bindPmod),
		bound("bit_count", "x", "Number of bits set.", "bit_count(7)", "3", bindBitCount),
		bound("shiftleft <<", "x, n", "Bits shifted left.", "shiftleft(2, 1)", "4", bindShift),
		bound("shiftright >>", "x, n", "Bits shifted right with the sign.", "shiftright(-4, 1)", "-2", bindShift),
		bound("shiftrightunsigned >>>", "x, n", "Bits shifted right without the sign.", "shiftrightunsigned(4, 1)", "2", bindShift),
		bound("bit_get getbit", "x, pos", "Bit at a position, from the right, 0-based.", "bit_get(11, 0)", "1", bindBitGet),
		{name: "&", bind: bindBits, hidden: true}, {name: "|", bind: bindBits, hidden: true}, {name: "^", bind: bindBits, hidden: true},
		{name: "~", bind: bindBitNot, hidden: true},
		bound("hex", "x", "Hexadecimal digits of a number, a string or bytes.", "hex(17)", "11", bindHex),
	}
}

// seesNulls makes an entry evaluate for NULL arguments too.
func (f function) seesNulls(eval evalFunc) function {
	f.nulls = true
	if eval != nil {
		f.eval = eval
	}
	return f
}

func constFloat(v float64) evalFunc {
	return func([]column.Datum) (column.Datum, *Error) { return column.F64(v), nil }
}

// javaPow differs from C in one point: 1 to the power of NaN or infinity is NaN.
func javaPow(x, y float64) float64 {
	if math.IsNaN(y) || math.Abs(x) == 1 && math.IsInf(y, 0) {
		return math.NaN()
	}
	return math.Pow(x, y)
}

func evalLog(a []column.Datum) (column.Datum, *Error) {
	if a[0].F <= 0 || len(a) > 1 && a[1].F <= 0 {
		return column.NullDatum, nil
	}
	if len(a) == 1 {
		return column.F64(math.Log(a[0].F)), nil
	}
	return column.F64(math.Log(a[1].F) / math.Log(a[0].F)), nil
}

func evalFactorial(a []column.Datum) (column.Datum, *Error) {
	if a[0].I < 0 || a[0].I > 20 {
		return column.NullDatum, nil
	}
	v := int64(1)
	for i := int64(2); i <= a[0].I; i++ {
		v *= i
	}
	return column.I64(v), nil
}

func evalWidthBucket(a []column.Datum) (column.Datum, *Error) {
	v, lo, hi, n := a[0].F, a[1].F, a[2].F, a[3].I
	if n <= 0 || n == math.MaxInt64 || math.IsNaN(v) || lo == hi || math.IsNaN(lo) || math.IsInf(lo, 0) || math.IsNaN(hi) || math.IsInf(hi, 0) {
		return column.NullDatum, nil
	}
	if lo < hi {
		switch {
		case v < lo:
			return column.I64(0), nil
		case v >= hi:
			return column.I64(n + 1), nil
		}
		return column.I64(saturate(float64(float64(n)*(v-lo))/(hi-lo)) + 1), nil
	}
	switch {
	case v > lo:
		return column.I64(0), nil
	case v <= hi:
		return column.I64(n + 1), nil
	}
	return column.I64(saturate(float64(float64(n)*(lo-v))/(lo-hi)) + 1), nil
}

func evalConv(a []column.Datum) (column.Datum, *Error) {
	s, from, to := strings.Trim(a[0].S, " "), a[1].I, a[2].I
	if from < 2 || from > 36 || to == math.MinInt32 || absU(to) < 2 || absU(to) > 36 || s == "" {
		return column.NullDatum, nil
	}
	neg := s[0] == '-'
	if neg {
		s = s[1:]
	}
	var v uint64
	for _, c := range []byte(s) {
		d := digitValue(c)
		if d < 0 || int64(d) >= from {
			break
		}
		hi, lo := bits.Mul64(v, uint64(from))
		sum, carry := bits.Add64(lo, uint64(d), 0)
		if hi != 0 || carry != 0 {
			return column.NullDatum, errOverflow("conv")
		}
		v = sum
	}
	if neg {
		if to > 0 && v>>63 != 0 {
			v = math.MaxUint64
		} else {
			v = -v
		}
	}
	if to > 0 {
		return column.Str(upperASCII(strconv.FormatUint(v, int(to)))), nil
	}
	return column.Str(upperASCII(strconv.FormatInt(int64(v), int(-to)))), nil
}

func digitValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return -1
}

func upperASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 32
		}
	}
	return string(b)
}

// mapInt is a function of one integer; a failure is reported for its row.
type mapInt struct {
	name string
	e    Expr
	t    column.Type
	f    func(int64) (int64, *Error)
}

func (e *mapInt) Type() column.Type { return e.t }
func (e *mapInt) Children() []Expr  { return []Expr{e.e} }
func (e *mapInt) String() string    { return callText(e.name, e.Children()) }

// Eval implements Expr.
func (e *mapInt) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.t, b.Len)
	copyNulls(out, x)
	each(out, sel, func(i int) {
		v, err := e.f(x.I64[i])
		if err != nil {
			ctx.Fail(int32(i), err)
			out.SetNull(i)
		}
		out.I64[i] = v
	})
	return out
}

func bindAbs(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	if !isInterval(e.Type().Kind) {
		var err error
		if e, err = toClass(name, 0, e, "num"); err != nil {
			return nil, err
		}
	}
	t := e.Type()
	switch {
	case isFloating(t.Kind):
		return &mapFloat{name: name, e: e, t: t, f: math.Abs}, nil
	case t.Kind == column.Decimal:
		eval := func(a []column.Datum) (column.Datum, *Error) {
			v := bigOf(a[0].Dec)
			d, _ := decOf(v.Abs(v))
			return column.Datum{Dec: d}, nil
		}
		return &scalar{name: name, args: []Expr{e}, t: t, eval: eval, safe: true}, nil
	}
	lo, _ := limits(t.Kind)
	return &mapInt{name: name, e: e, t: t, f: func(v int64) (int64, *Error) {
		switch {
		case v == lo:
			return 0, errOverflow("abs")
		case v < 0:
			return -v, nil
		}
		return v, nil
	}}, nil
}

func bindCeilFloor(name string, args []Expr) (Expr, error) {
	mode, f := ceilMode, math.Ceil
	if name == "floor" {
		mode, f = floorMode, math.Floor
	}
	if len(args) == 2 {
		return bindCeilFloorScale(name, args, mode)
	}
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e, err := toClass(name, 0, args[0], "num")
	if err != nil {
		return nil, err
	}
	t := e.Type()
	switch {
	case t.Kind == column.Decimal:
		s := int(t.Scale)
		out := bounded(int(t.Precision)-s+1, 0)
		if s == 0 {
			out = t
		}
		return decimalMap(name, e, out, func(d column.Decimal128) column.Decimal128 {
			v, _ := decOf(rescale(bigOf(d), s, 0, mode))
			return v
		}), nil
	case t.Kind.IsIntegral():
		return newCast(e, column.Of(column.BigInt), false), nil
	}
	e = newCast(e, column.Of(column.Double), false)
	return &floatToBig{name: name, e: e, f: f}, nil
}

// floatToBig is ceil and floor of doubles: rounded, then converted as Java does.
type floatToBig struct {
	name string
	e    Expr
	f    func(float64) float64
}

func (e *floatToBig) Type() column.Type { return column.Of(column.BigInt) }
func (e *floatToBig) Children() []Expr  { return []Expr{e.e} }
func (e *floatToBig) String() string    { return callText(e.name, e.Children()) }

// Eval implements Expr.
func (e *floatToBig) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	copyNulls(out, x)
	each(out, sel, func(i int) {
		v := e.f(x.F64[i])
		if v < -(1<<63) || v >= 1<<63 {
			ctx.Fail(int32(i), errOverflow(e.name))
			out.SetNull(i)
			return
		}
		out.I64[i] = saturate(v)
	})
	return out
}

func decimalMap(name string, e Expr, t column.Type, f func(column.Decimal128) column.Decimal128) Expr {
	return &scalar{name: name, args: []Expr{e}, t: t, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		return column.Datum{Dec: f(a[0].Dec)}, nil
	}}
}

// bindCeilFloorScale is ceil(x, scale) and floor(x, scale), which Spark computes in decimals.
func bindCeilFloorScale(name string, args []Expr, mode rounding) (Expr, error) {
	scale, err := constInt(name, args, 1)
	if err != nil {
		return nil, err
	}
	e, err := toClass(name, 0, args[0], "num")
	if err != nil {
		return nil, err
	}
	switch k := e.Type().Kind; {
	case k == column.Double:
		e = newCast(e, column.DecimalType(30, 15), false)
	case k == column.Float:
		e = newCast(e, column.DecimalType(14, 7), false)
	case k.IsIntegral():
		e = newCast(e, precisionOf(k), false)
	}
	return roundDecimal(name, e, scale, mode), nil
}

// constInt reads an argument that must be a constant INT.
func constInt(name string, args []Expr, i int) (int, error) {
	e, err := toClass(name, i, args[i], "int")
	if err != nil {
		return 0, err
	}
	d, ok := Constant(Fold(e))
	if !ok {
		return 0, analysisErr("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "%s: argument %d must be a constant", name, i+1)
	}
	return int(d.I), nil
}

func bindRound(name string, args []Expr) (Expr, error) {
	if len(args) == 0 || len(args) > 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	mode := halfUp
	if name == "bround" {
		mode = halfEven
	}
	scale := 0
	if len(args) == 2 {
		var err error
		if scale, err = constInt(name, args, 1); err != nil {
			return nil, err
		}
		if d, ok := Constant(Fold(args[1])); ok && d.Null {
			return nullOf(args[0].Type()), nil
		}
	}
	e, err := toClass(name, 0, args[0], "num")
	if err != nil {
		return nil, err
	}
	t := e.Type()
	label := name
	if scale != 0 {
		label += "/" + itoa(scale)
	}
	switch {
	case t.Kind == column.Decimal:
		return roundDecimal(name, e, scale, mode), nil
	case isFloating(t.Kind):
		single := t.Kind == column.Float
		return &mapFloat{name: label, e: e, t: t, f: func(v float64) float64 { return roundFloat(v, scale, mode, single) }}, nil
	case scale >= 0:
		return e, nil
	}
	lo, hi := limits(t.Kind)
	return &mapInt{name: label, e: e, t: t, f: func(v int64) (int64, *Error) {
		r := big.NewInt(0)
		if -scale <= 19 {
			r = rescale(rescale(big.NewInt(v), 0, scale, mode), scale, 0, mode)
		}
		if !r.IsInt64() || r.Int64() < lo || r.Int64() > hi {
			return 0, errOverflow(name)
		}
		return r.Int64(), nil
	}}, nil
}

// roundDecimal rounds a decimal to a number of digits after the point (negative: before it).
func roundDecimal(name string, e Expr, scale int, mode rounding) Expr {
	t := e.Type()
	p, s := int(t.Precision), int(t.Scale)
	var out column.Type
	if scale < 0 {
		out = column.DecimalType(uint8(min(max(p-s+1, -scale+1), 38)), 0)
	} else {
		ns := min(s, scale)
		out = column.DecimalType(uint8(min(p-s+1+ns, 38)), uint8(ns))
	}
	label := name
	if scale != 0 {
		label += "/" + itoa(scale)
	}
	return &scalar{name: label, args: []Expr{e}, t: out, eval: func(a []column.Datum) (column.Datum, *Error) {
		if scale < -38 {
			return column.Datum{}, nil
		}
		v := rescale(bigOf(a[0].Dec), s, min(scale, s), mode)
		d, ok := fitDecimal(rescale(v, min(scale, s), int(out.Scale), mode), out)
		if !ok {
			return column.NullDatum, errOutOfRange(decText(a[0].Dec, s), out)
		}
		return column.Datum{Dec: d}, nil
	}}
}

// roundFloat rounds the decimal text of a double, as Spark does; the sign of zero is lost.
func roundFloat(f float64, scale int, mode rounding, single bool) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	if scale == 0 {
		if mode == halfUp {
			return math.Round(f) + 0
		}
		return math.RoundToEven(f) + 0
	}
	if scale > 0 && math.Abs(f) >= 1<<53 || scale > 400 {
		return f + 0
	}
	if scale < -400 {
		return 0
	}
	if scale > 0 && mode == halfUp && !single {
		if r, ok := roundDigits(f, scale); ok {
			return r
		}
	}
	v, s, _ := parseDecimalText(strconv.FormatFloat(f, 'e', -1, 64))
	if s <= scale {
		return f + 0
	}
	r := rescale(v, s, scale, mode)
	out, _ := strconv.ParseFloat(r.String()+"e"+itoa(-scale), 64)
	if single {
		out = float64(float32(out))
	}
	return out + 0
}

func bindPmod(name string, args []Expr) (Expr, error) {
	m, err := bindArith("%", args)
	if err != nil {
		return nil, err
	}
	a, ok := m.(*arith)
	if !ok {
		return nil, errWrongOpType(name, "numeric", args[0])
	}
	t, ta, tb := a.t, a.a.Type(), a.b.Type()
	eval := func(d []column.Datum) (column.Datum, *Error) {
		switch {
		case t.Kind == column.Decimal:
			v, err := decArith("pmod", d[0].Dec, int(ta.Scale), d[1].Dec, int(tb.Scale), t)
			return column.Datum{Dec: v}, err
		case isFloating(t.Kind):
			if d[1].F == 0 {
				return column.NullDatum, errRemainderByZero()
			}
			r := math.Mod(d[0].F, d[1].F)
			if r < 0 {
				r = math.Mod(r+d[1].F, d[1].F)
			}
			return column.F64(r), nil
		}
		if d[1].I == 0 {
			return column.NullDatum, errRemainderByZero()
		}
		r := d[0].I % d[1].I
		if r < 0 {
			r = (r + d[1].I) % d[1].I
		}
		return column.I64(r), nil
	}
	return &scalar{name: name, args: []Expr{a.a, a.b}, t: t, eval: eval}, nil
}
