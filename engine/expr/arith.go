package expr

import (
	"math"
	"math/bits"

	"signalbox/engine/column"
)

// arith is a binary arithmetic operator on two operands of one type.
type arith struct {
	op   byte // + - * / % and d for div
	a, b Expr
	t    column.Type
	try  bool // NULL instead of an error
}

func (e *arith) Type() column.Type { return e.t }
func (e *arith) Children() []Expr  { return []Expr{e.a, e.b} }
func (e *arith) cannotFail() bool {
	f := e.t.Kind == column.Double || e.t.Kind == column.Float
	if e.op == '+' || e.op == '-' || e.op == '*' {
		return f || e.try
	}
	return e.try
}

func (e *arith) opText() string {
	if e.op == 'd' {
		return "div"
	}
	return string(e.op)
}

func (e *arith) String() string {
	s := "(" + e.a.String() + " " + e.opText() + " " + e.b.String() + ")"
	if e.try {
		return "try" + s
	}
	return s
}

// Eval implements Expr.
func (e *arith) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	if out := e.constArith(ctx, b, sel); out != nil {
		return out
	}
	x, y := e.operands(ctx, b, sel)
	out := ctx.Column(e.t, b.Len)
	copyNulls(out, x)
	orNulls(out, y)
	switch {
	case e.t.Kind == column.Double || e.t.Kind == column.Float:
		e.floats(ctx, out, x, y, sel)
	case e.t.Kind == column.Decimal:
		e.decimals(ctx, out, x, y, sel)
	case e.op == '+' || e.op == '-' || e.op == '*':
		e.ints(ctx, out, x, y, sel)
	default:
		e.intDivide(ctx, out, x, y, sel)
	}
	return out
}

// operands evaluates both sides in Spark's order: the second is not reached for rows where the first is NULL.
func (e *arith) operands(ctx *Context, b *column.Batch, sel []int32) (x, y *column.Column) {
	if e.op == '/' || e.op == '%' || e.op == 'd' {
		y = e.b.Eval(ctx, b, sel)
		if !sure(e.a) {
			sel = ctx.notNull(y, b.Len, sel)
		}
		return e.a.Eval(ctx, b, sel), y
	}
	x = e.a.Eval(ctx, b, sel)
	if !sure(e.b) {
		sel = ctx.notNull(x, b.Len, sel)
	}
	return x, e.b.Eval(ctx, b, sel)
}

func (e *arith) fail(ctx *Context, out *column.Column, i int, err *Error) {
	out.SetNull(i)
	if !e.try {
		ctx.Fail(int32(i), err)
	}
}

// each calls f for the rows of sel that are not NULL in out.
func each(out *column.Column, sel []int32, f func(i int)) {
	if sel == nil {
		for i := range out.Len() {
			if !out.IsNull(i) {
				f(i)
			}
		}
		return
	}
	for _, r := range sel {
		if !out.IsNull(int(r)) {
			f(int(r))
		}
	}
}

// limits returns the range of an integral kind.
func limits(k column.Kind) (lo, hi int64) {
	switch k {
	case column.TinyInt:
		return math.MinInt8, math.MaxInt8
	case column.SmallInt:
		return math.MinInt16, math.MaxInt16
	case column.Int, column.IntervalYM, column.Date:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

func (e *arith) ints(ctx *Context, out, x, y *column.Column, sel []int32) {
	var bad bool
	lo, hi := limits(e.t.Kind)
	narrow := lo != math.MinInt64
	switch {
	case sel != nil:
		bad = true // the checked loop below computes the rows one by one
	case e.op == '+':
		bad = addAll(out.I64, x.I64, y.I64)
	case e.op == '-':
		bad = subAll(out.I64, x.I64, y.I64)
	default:
		bad = mulAll(out.I64, x.I64, y.I64)
	}
	if narrow && !bad {
		bad = outside(out.I64, lo, hi)
	}
	if !bad {
		return
	}
	if sel != nil {
		for _, r := range sel {
			e.oneInt(ctx, out, x.I64[r], y.I64[r], int(r), lo, hi)
		}
		return
	}
	for i := range out.I64 {
		e.oneInt(ctx, out, x.I64[i], y.I64[i], i, lo, hi)
	}
}

func (e *arith) oneInt(ctx *Context, out *column.Column, x, y int64, i int, lo, hi int64) {
	v, ok := intOp(e.op, x, y)
	if ok && v >= lo && v <= hi {
		out.I64[i] = v
		return
	}
	out.I64[i] = 0
	if !out.IsNull(i) {
		e.fail(ctx, out, i, errOverflow(e.opText()))
	}
}

// intOp computes + - * on 64-bit integers; ok is false when it overflows.
func intOp(op byte, x, y int64) (int64, bool) {
	switch op {
	case '+':
		v := x + y
		return v, (x^v)&(y^v) >= 0
	case '-':
		v := x - y
		return v, (x^y)&(x^v) >= 0
	}
	return mulInt(x, y)
}

func mulInt(x, y int64) (int64, bool) {
	if uint64(x+1<<31)|uint64(y+1<<31) < 1<<32 {
		return x * y, true
	}
	hi, lo := bits.Mul64(uint64(x), uint64(y))
	h := int64(hi)
	if x < 0 {
		h -= y
	}
	if y < 0 {
		h -= x
	}
	return int64(lo), h == int64(lo)>>63
}

func addAll(out, x, y []int64) bool {
	x, y = x[:len(out)], y[:len(out)]
	var over int64
	for i := range out {
		v := x[i] + y[i]
		over |= (x[i] ^ v) & (y[i] ^ v)
		out[i] = v
	}
	return over < 0
}

func subAll(out, x, y []int64) bool {
	x, y = x[:len(out)], y[:len(out)]
	var over int64
	for i := range out {
		v := x[i] - y[i]
		over |= (x[i] ^ y[i]) & (x[i] ^ v)
		out[i] = v
	}
	return over < 0
}

func mulAll(out, x, y []int64) bool {
	x, y = x[:len(out)], y[:len(out)]
	for i := range out {
		v, ok := mulInt(x[i], y[i])
		if !ok {
			return true
		}
		out[i] = v
	}
	return false
}

func outside(v []int64, lo, hi int64) bool {
	bad := false
	for _, x := range v {
		bad = bad || x < lo || x > hi
	}
	return bad
}

func (e *arith) intDivide(ctx *Context, out, x, y *column.Column, sel []int32) {
	lo, hi := limits(e.t.Kind)
	each(out, sel, func(i int) {
		a, b := x.I64[i], y.I64[i]
		out.I64[i] = 0
		switch {
		case b == 0 && e.op == '%':
			e.fail(ctx, out, i, errRemainderByZero())
		case b == 0:
			e.fail(ctx, out, i, errDivideByZero())
		case e.op == '%':
			out.I64[i] = a % b
		case b == -1 && a == lo || a/b > hi:
			e.fail(ctx, out, i, errOverflow("div"))
		default:
			out.I64[i] = a / b
		}
	})
}

func (e *arith) floats(ctx *Context, out, x, y *column.Column, sel []int32) {
	o, a, b := out.F64, x.F64[:out.Len()], y.F64[:out.Len()]
	switch e.op {
	case '+':
		for i := range o {
			o[i] = a[i] + b[i]
		}
	case '-':
		for i := range o {
			o[i] = a[i] - b[i]
		}
	case '*':
		for i := range o {
			o[i] = a[i] * b[i]
		}
	default:
		e.floatDivide(ctx, out, x, y, sel)
	}
	if e.t.Kind == column.Float {
		for i, v := range o {
			o[i] = float64(float32(v))
		}
	}
}

func (e *arith) floatDivide(ctx *Context, out, x, y *column.Column, sel []int32) {
	if e.op == '/' && sel == nil && floatQuotient(out.F64, x.F64, y.F64) {
		return
	}
	each(out, sel, func(i int) {
		a, b := x.F64[i], y.F64[i]
		switch {
		case b == 0 && e.op == '%':
			e.fail(ctx, out, i, errRemainderByZero())
		case b == 0:
			e.fail(ctx, out, i, errDivideByZero())
		case e.op == '%':
			out.F64[i] = math.Mod(a, b)
		default:
			out.F64[i] = a / b
		}
	})
}

func (e *arith) decimals(ctx *Context, out, x, y *column.Column, sel []int32) {
	op := string(e.op)
	as, bs := int(e.a.Type().Scale), int(e.b.Type().Scale)
	each(out, sel, func(i int) {
		d, err := decArith(op, x.Dec[i], as, y.Dec[i], bs, e.t)
		if err != nil {
			d = column.Decimal128{}
			e.fail(ctx, out, i, err)
		}
		out.Dec[i] = d
	})
}
