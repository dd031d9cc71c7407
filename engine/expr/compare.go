package expr

import (
	"math"
	"strings"

	"signalbox/engine/column"
)

// compare is a comparison of operands of one type.
type compare struct {
	op   byte // '=' '!' (<>) '<' 'l' (<=) '>' 'g' (>=) 'n' (<=>)
	a, b Expr
}

func (e *compare) Type() column.Type { return column.Of(column.Boolean) }
func (e *compare) Children() []Expr  { return []Expr{e.a, e.b} }
func (e *compare) cannotFail() bool  { return true }

func (e *compare) String() string {
	op := map[byte]string{'=': "=", '<': "<", 'l': "<=", '>': ">", 'g': ">=", 'n': "<=>", '!': "<>"}[e.op]
	return "(" + e.a.String() + " " + op + " " + e.b.String() + ")"
}

// Eval implements Expr.
func (e *compare) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	if e.op != 'n' {
		if out := e.evalConst(ctx, b, sel); out != nil {
			return out
		}
	}
	x := e.a.Eval(ctx, b, sel)
	rest := sel
	if e.op != 'n' && !sure(e.b) {
		rest = ctx.notNull(x, b.Len, sel)
	}
	y := e.b.Eval(ctx, b, rest)
	out := ctx.Column(e.Type(), b.Len)
	if e.op == 'n' {
		e.nullSafe(out, x, y, sel)
		return ctx.maskFailed(out)
	}
	copyNulls(out, x)
	orNulls(out, y)
	if sel == nil {
		e.dense(out, x, y)
		return out
	}
	for _, r := range sel {
		i := int(r)
		if !out.IsNull(i) {
			out.I64[i] = b2i(e.holds(compareAt(e.a.Type(), x, y, i)))
		}
	}
	return out
}

func (e *compare) holds(c int) bool {
	switch e.op {
	case '=', 'n':
		return c == 0
	case '!':
		return c != 0
	case '<':
		return c < 0
	case 'l':
		return c <= 0
	case '>':
		return c > 0
	}
	return c >= 0
}

func b2i(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

func (e *compare) nullSafe(out, x, y *column.Column, sel []int32) {
	one := func(i int) {
		xn, yn := x.IsNull(i), y.IsNull(i)
		if xn || yn {
			out.I64[i] = b2i(xn && yn)
			return
		}
		out.I64[i] = b2i(compareAt(e.a.Type(), x, y, i) == 0)
	}
	if sel == nil {
		for i := range out.I64 {
			one(i)
		}
		return
	}
	for _, r := range sel {
		one(int(r))
	}
}

func (e *compare) dense(out, x, y *column.Column) {
	switch e.a.Type().Kind.Storage() {
	case column.StoreI64:
		intsDense(e.op, out.I64, x.I64, y.I64)
	case column.StoreDict:
		if x.Dict == y.Dict && (e.op == '=' || e.op == '!') {
			want := e.op == '='
			for i := range out.I64 {
				out.I64[i] = b2i((x.Codes[i] == y.Codes[i]) == want)
			}
			return
		}
		fallthrough
	default:
		t := e.a.Type()
		for i := range out.I64 {
			if !out.IsNull(i) {
				out.I64[i] = b2i(e.holds(compareAt(t, x, y, i)))
			}
		}
	}
}

func intsDense(op byte, out, x, y []int64) {
	x, y = x[:len(out)], y[:len(out)]
	switch op {
	case '>':
		x, y, op = y, x, '<'
	case 'g':
		x, y, op = y, x, 'l'
	}
	switch op {
	case '=':
		for i := range out {
			out[i] = b2i(x[i] == y[i])
		}
	case '!':
		for i := range out {
			out[i] = b2i(x[i] != y[i])
		}
	case '<':
		for i := range out {
			out[i] = b2i(x[i] < y[i])
		}
	default:
		for i := range out {
			out[i] = b2i(x[i] <= y[i])
		}
	}
}

// evalConst compares with a constant, or returns nil when neither side is one that has a fast loop.
func (e *compare) evalConst(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	k, left := e.b, e.a
	swapped := false
	if _, ok := Constant(k); !ok {
		if _, ok = Constant(left); !ok {
			return nil
		}
		k, left, swapped = e.a, e.b, true
	}
	d, _ := Constant(k)
	s := left.Type().Kind.Storage()
	if d.Null || s == column.StoreDec || s == column.StoreAny || s == column.StoreNone || s == column.StoreF64 && math.IsNaN(d.F) {
		return nil
	}
	x := left.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	copyNulls(out, x)
	op := e.op
	if swapped {
		switch op {
		case '<':
			op = '>'
		case 'l':
			op = 'g'
		case '>':
			op = '<'
		case 'g':
			op = 'l'
		}
	}
	switch s {
	case column.StoreI64:
		constLoop(op, out.I64, x.I64, d.I, sel)
	case column.StoreF64:
		if op == '>' || op == 'g' { // NaN is greater than anything: negate
			neg := byte('<')
			if op == '>' {
				neg = 'l'
			}
			constLoop(neg, out.I64, x.F64, d.F, sel)
			invert(out.I64, sel)
		} else {
			constLoop(op, out.I64, x.F64, d.F, sel)
		}
	default:
		e.constString(ctx, out, x, op, d.S, sel)
	}
	return out
}

func invert(v []int64, sel []int32) {
	if sel == nil {
		for i := range v {
			v[i] ^= 1
		}
		return
	}
	for _, r := range sel {
		v[r] ^= 1
	}
}

// constLoop compares a vector with a constant that is not NaN.
func constLoop[T int64 | float64](op byte, out []int64, x []T, k T, sel []int32) {
	if sel != nil {
		constSel(op, out, x, k, sel)
		return
	}
	x = x[:len(out)]
	switch op {
	case '=':
		for i, v := range x {
			out[i] = b2i(v == k)
		}
	case '!':
		for i, v := range x {
			out[i] = b2i(v != k)
		}
	case '<':
		for i, v := range x {
			out[i] = b2i(v < k)
		}
	case 'l':
		for i, v := range x {
			out[i] = b2i(v <= k)
		}
	case '>':
		for i, v := range x {
			out[i] = b2i(v > k)
		}
	default:
		for i, v := range x {
			out[i] = b2i(v >= k)
		}
	}
}

func constSel[T int64 | float64](op byte, out []int64, x []T, k T, sel []int32) {
	switch op {
	case '=':
		for _, r := range sel {
			out[r] = b2i(x[r] == k)
		}
	case '!':
		for _, r := range sel {
			out[r] = b2i(x[r] != k)
		}
	case '<':
		for _, r := range sel {
			out[r] = b2i(x[r] < k)
		}
	case 'l':
		for _, r := range sel {
			out[r] = b2i(x[r] <= k)
		}
	case '>':
		for _, r := range sel {
			out[r] = b2i(x[r] > k)
		}
	default:
		for _, r := range sel {
			out[r] = b2i(x[r] >= k)
		}
	}
}

// constString compares strings with a constant: by code for equality, else once per distinct string.
func (e *compare) constString(ctx *Context, out, x *column.Column, op byte, k string, sel []int32) {
	if op == '=' || op == '!' {
		code, ok := ctx.codeOf(e, x.Dict, k)
		if !ok {
			fill(out.I64, b2i(op == '!'))
			return
		}
		hit := b2i(op == '=')
		if sel == nil {
			for i, c := range x.Codes[:len(out.I64)] {
				out.I64[i] = b2i(c != code) ^ hit
			}
			return
		}
		for _, r := range sel {
			out.I64[r] = b2i(x.Codes[r] != code) ^ hit
		}
		return
	}
	holds := (&compare{op: op}).holds
	one := func(i int) {
		if !out.IsNull(i) {
			out.I64[i] = b2i(holds(strings.Compare(x.Str(i), k)))
		}
	}
	if sel == nil {
		for i := range out.I64 {
			one(i)
		}
		return
	}
	for _, r := range sel {
		one(int(r))
	}
}

// codeOf finds a constant in a dictionary; what was scanned is remembered per expression.
func (c *Context) codeOf(e Expr, dict *column.Dict, k string) (uint32, bool) {
	m := c.codes[e]
	if m == nil {
		if c.codes == nil {
			c.codes = map[Expr]*codeMemo{}
		}
		m = &codeMemo{}
		c.codes[e] = m
	}
	if dict == nil { // a column without any value
		return 0, false
	}
	if m.dict != dict {
		*m = codeMemo{dict: dict}
	}
	for ; !m.found && m.scanned < dict.Len(); m.scanned++ {
		if dict.Values[m.scanned] == k {
			m.found, m.code = true, uint32(m.scanned)
		}
	}
	return m.code, m.found
}

// codeMemo is the code of a constant in a dictionary that may still grow.
type codeMemo struct {
	dict    *column.Dict
	scanned int
	code    uint32
	found   bool
}

// CompareFloat orders doubles as Spark does: -0.0 = 0.0, NaN = NaN and greater than everything.
func CompareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	case a != a && b != b:
		return 0
	case a != a:
		return 1
	}
	return -1
}

func compareAt(t column.Type, x, y *column.Column, i int) int {
	switch t.Kind.Storage() {
	case column.StoreI64:
		return cmpInt(x.I64[i], y.I64[i])
	case column.StoreF64:
		return CompareFloat(x.F64[i], y.F64[i])
	case column.StoreDict:
		return strings.Compare(x.Str(i), y.Str(i))
	case column.StoreDec:
		return decCompare(x.Dec[i], 0, y.Dec[i], 0)
	case column.StoreAny:
		return Compare(t, x.Any[i], y.Any[i])
	}
	return 0
}

func cmpInt(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Compare orders two values of type t as ORDER BY does; NULL comes first.
func Compare(t column.Type, a, b column.Datum) int {
	if a.Null || b.Null {
		return int(b2i(b.Null) - b2i(a.Null))
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return cmpInt(a.I, b.I)
	case column.StoreF64:
		return CompareFloat(a.F, b.F)
	case column.StoreDict:
		return strings.Compare(a.S, b.S)
	case column.StoreDec:
		return decCompare(a.Dec, 0, b.Dec, 0)
	}
	for i := range min(len(a.L), len(b.L)) {
		if c := Compare(memberType(t, i), a.L[i], b.L[i]); c != 0 {
			return c
		}
	}
	return cmpInt(int64(len(a.L)), int64(len(b.L)))
}

// memberType is the type of part i of a nested value.
func memberType(t column.Type, i int) column.Type {
	switch t.Kind {
	case column.Struct:
		return t.Fields[i].Type
	case column.Map:
		if i%2 == 0 {
			return *t.Key
		}
	}
	return *t.Elem
}
