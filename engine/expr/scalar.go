package expr

import (
	"strings"

	"signalbox/engine/column"
)

// evalFunc computes one row from boxed arguments.
type evalFunc func(a []column.Datum) (column.Datum, *Error)

// scalar runs a boxed function over columns: the generic path of the long tail.
type scalar struct {
	name  string
	args  []Expr
	t     column.Type
	eval  evalFunc
	nulls bool // eval wants to see NULL arguments; otherwise NULL in, NULL out
	safe  bool // eval never fails
	infix bool // printed as (a op b)
}

func (e *scalar) Type() column.Type { return e.t }
func (e *scalar) Children() []Expr  { return e.args }
func (e *scalar) cannotFail() bool  { return e.safe }
func (e *scalar) String() string {
	if e.infix && len(e.args) == 2 {
		return "(" + e.args[0].String() + " " + e.name + " " + e.args[1].String() + ")"
	}
	return callText(e.name, e.args)
}

func callText(name string, args []Expr) string {
	var b strings.Builder
	b.WriteString(name + "(")
	for i, a := range args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(a.String())
	}
	return b.String() + ")"
}

// memo remembers the results of a function per code of one dictionary.
type memo struct {
	dict  *column.Dict
	state []uint8 // per code
	out   *column.Column
	errs  map[uint32]*Error
}

// The states of a memo entry.
const (
	memoEmpty = iota
	memoValue
	memoNull
	memoError
	memoLarge // not remembered: its bytes are charged each time it is computed
)

// Eval implements Expr.
func (e *scalar) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	if i := e.dictArg(); i >= 0 {
		return e.evalDict(ctx, b, sel, i)
	}
	cols := make([]*column.Column, 0, 8)
	live := sel
	for i, a := range e.args {
		if d, ok := Constant(a); ok && !d.Null {
			cols = append(cols, nil)
			continue
		}
		c := a.Eval(ctx, b, live)
		cols = append(cols, c)
		if !e.nulls && i+1 < len(e.args) && !sure(e.args[i+1]) {
			live = ctx.notNull(c, b.Len, live)
		}
	}
	out := ctx.Column(e.t, b.Len)
	base := len(ctx.args)
	for range e.args {
		ctx.args = append(ctx.args, column.Datum{})
	}
	row := ctx.args[base:]
	for i, a := range e.args {
		if d, ok := Constant(a); ok {
			row[i] = d
		}
	}
	if sel == nil {
		for i := range b.Len {
			e.one(ctx, out, cols, row, i)
		}
	} else {
		for _, r := range sel {
			e.one(ctx, out, cols, row, int(r))
		}
	}
	ctx.args = ctx.args[:base]
	return out
}

func (e *scalar) one(ctx *Context, out *column.Column, cols []*column.Column, row []column.Datum, i int) {
	for j, c := range cols {
		if c == nil {
			continue
		}
		if c.IsNull(i) {
			if !e.nulls {
				out.Set(i, column.NullDatum)
				return
			}
			row[j] = column.NullDatum
			continue
		}
		row[j] = c.Datum(i)
	}
	if len(ctx.failed) > 0 && (ctx.spent || ctx.Failed(int32(i))) {
		out.Set(i, column.NullDatum)
		return
	}
	d, err := e.eval(row)
	ctx.set(out, i, d, err)
}

// dictArg returns the index of the only argument that is not constant when it is
// a string, else -1: then the function is computed once per distinct string.
func (e *scalar) dictArg() int {
	at := -1
	for i, a := range e.args {
		d, ok := Constant(a)
		switch {
		case ok && d.Null && !e.nulls:
			return -1
		case ok:
		case at >= 0 || a.Type().Kind.Storage() != column.StoreDict:
			return -1
		default:
			at = i
		}
	}
	return at
}

// maxMemoRatio: a dictionary with more values than this many times the rows is not memoised.
const maxMemoRatio = 4

func (e *scalar) evalDict(ctx *Context, b *column.Batch, sel []int32, arg int) *column.Column {
	in := e.args[arg].Eval(ctx, b, sel)
	rows := len(sel)
	if sel == nil {
		rows = b.Len
	}
	m := ctx.memo(e, in.Dict, rows)
	out := ctx.Column(e.t, b.Len)
	if m != nil && out.Type.Kind.Storage() == column.StoreDict {
		out.Dict = m.out.Dict
	}
	base := len(ctx.args)
	for _, a := range e.args {
		d, _ := Constant(a)
		ctx.args = append(ctx.args, d)
	}
	row := ctx.args[base:]
	if sel == nil {
		for i := range b.Len {
			e.oneDict(ctx, m, out, in, row, arg, i)
		}
	} else {
		for _, r := range sel {
			e.oneDict(ctx, m, out, in, row, arg, int(r))
		}
	}
	ctx.args = ctx.args[:base]
	return out
}

func (e *scalar) oneDict(ctx *Context, m *memo, out, in *column.Column, row []column.Datum, arg, i int) {
	if in.IsNull(i) {
		if !e.nulls {
			setNull(out, i)
			return
		}
		row[arg] = column.NullDatum
		e.direct(ctx, out, row, i)
		return
	}
	code := in.Codes[i]
	if m == nil {
		row[arg] = column.Datum{S: in.Dict.Values[code]}
		e.direct(ctx, out, row, i)
		return
	}
	if m.state[code] == memoEmpty && !ctx.spent {
		row[arg] = column.Datum{S: in.Dict.Values[code]}
		m.fill(code, e.eval, row)
	}
	if m.state[code] == memoLarge || m.state[code] == memoEmpty {
		row[arg] = column.Datum{S: in.Dict.Values[code]}
		e.direct(ctx, out, row, i)
		return
	}
	m.copyTo(ctx, out, code, i)
}

func (e *scalar) direct(ctx *Context, out *column.Column, row []column.Datum, i int) {
	if len(ctx.failed) > 0 && (ctx.spent || ctx.Failed(int32(i))) {
		setNull(out, i)
		return
	}
	d, err := e.eval(row)
	ctx.set(out, i, d, err)
}

// setNull makes row i NULL; its value stays a valid one.
func setNull(out *column.Column, i int) {
	if out.Type.Kind.Storage() == column.StoreAny {
		out.Any[i] = column.NullDatum
	}
	out.SetNull(i)
}

func (m *memo) fill(code uint32, eval evalFunc, row []column.Datum) {
	d, err := eval(row)
	switch {
	case err != nil:
		if m.errs == nil {
			m.errs = map[uint32]*Error{}
		}
		m.errs[code] = err
		m.state[code] = memoError
	case d.Null:
		m.state[code] = memoNull
	case builtBytes(&d) > freeInLambda:
		m.state[code] = memoLarge
	default:
		m.out.Set(int(code), d)
		m.state[code] = memoValue
	}
}

func (m *memo) copyTo(ctx *Context, out *column.Column, code uint32, i int) {
	switch m.state[code] {
	case memoNull:
		setNull(out, i)
	case memoError:
		ctx.Fail(int32(i), m.errs[code])
		setNull(out, i)
	default:
		switch out.Type.Kind.Storage() {
		case column.StoreI64:
			out.I64[i] = m.out.I64[code]
		case column.StoreF64:
			out.F64[i] = m.out.F64[code]
		case column.StoreDict:
			out.Codes[i] = m.out.Codes[code]
		case column.StoreDec:
			out.Dec[i] = m.out.Dec[code]
		case column.StoreAny:
			out.Any[i] = m.out.Any[code]
		}
	}
}

// memo returns the memory of e for a dictionary, or nil when it would not pay.
func (c *Context) memo(e Expr, dict *column.Dict, rows int) *memo {
	m := c.memos[e]
	if m == nil || m.dict != dict {
		if dict == nil || dict.Len() > maxMemoRatio*rows+64 {
			return nil
		}
		if m == nil {
			if c.memos == nil {
				c.memos = map[Expr]*memo{}
			}
			m = &memo{out: &column.Column{Type: e.Type()}}
			c.memos[e] = m
		}
		m.dict = dict
		m.state = m.state[:0]
		m.errs = nil
		if m.out.Type.Kind.Storage() == column.StoreDict && (m.out.Dict == nil || m.out.Dict.Len() > maxOwnedDict) {
			m.out.Dict = column.NewDict()
			m.out.Dict.Code("")
		}
	}
	if n := dict.Len(); len(m.state) < n {
		m.state = append(m.state, make([]uint8, n-len(m.state))...)
		m.out.Resize(n)
	}
	return m
}
