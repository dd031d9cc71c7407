package expr

import "signalbox/engine/column"

// junction is AND and OR in three-valued logic; the right side is computed only for the rows that the left does not decide.
type junction struct {
	or   bool
	a, b Expr
}

func (e *junction) Type() column.Type { return column.Of(column.Boolean) }
func (e *junction) Children() []Expr  { return []Expr{e.a, e.b} }
func (e *junction) cannotFail() bool  { return true }
func (e *junction) String() string {
	op := " AND "
	if e.or {
		op = " OR "
	}
	return "(" + e.a.String() + op + e.b.String() + ")"
}

// Eval implements Expr.
func (e *junction) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.a.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	if sel == nil && sure(e.b) {
		y := e.b.Eval(ctx, b, nil)
		e.dense(out, x, y)
		return ctx.maskFailed(out)
	}
	decided := b2i(e.or) // the value of the left side that decides
	open := ctx.sel(b.Len)
	visit := func(i int) {
		if !x.IsNull(i) && x.I64[i] == decided {
			out.I64[i] = decided
			return
		}
		if ctx.Failed(int32(i)) {
			out.SetNull(i)
			return
		}
		open = append(open, int32(i))
	}
	if sel == nil {
		for i := range b.Len {
			visit(i)
		}
	} else {
		for _, r := range sel {
			visit(int(r))
		}
	}
	if len(open) == 0 {
		return out
	}
	y := e.b.Eval(ctx, b, open)
	for _, r := range open {
		i := int(r)
		switch {
		case !y.IsNull(i) && y.I64[i] == decided:
			out.I64[i] = decided
		case x.IsNull(i) || y.IsNull(i):
			out.I64[i] = 0
			out.SetNull(i)
		default:
			out.I64[i] = 1 - decided
		}
	}
	return out
}

func (e *junction) dense(out, x, y *column.Column) {
	if e.or {
		for i := range out.I64 {
			out.I64[i] = x.I64[i] | y.I64[i]
		}
	} else {
		for i := range out.I64 {
			out.I64[i] = x.I64[i] & y.I64[i]
		}
	}
	if !x.HasNulls() && !y.HasNulls() {
		return
	}
	decided := b2i(e.or)
	for i := range out.I64 {
		xn, yn := x.IsNull(i), y.IsNull(i)
		switch {
		case !xn && !yn:
		case !xn && x.I64[i] == decided || !yn && y.I64[i] == decided:
			out.I64[i] = decided
		default:
			out.I64[i] = 0
			out.SetNull(i)
		}
	}
}

// not is NOT.
type not struct{ e Expr }

func (e *not) Type() column.Type { return column.Of(column.Boolean) }
func (e *not) Children() []Expr  { return []Expr{e.e} }
func (e *not) cannotFail() bool  { return true }
func (e *not) String() string    { return "(NOT " + e.e.String() + ")" }

// Eval implements Expr.
func (e *not) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	copyNulls(out, x)
	for i, v := range x.I64[:b.Len] {
		out.I64[i] = v ^ 1
	}
	return out
}

// isNull is IS NULL, or IS NOT NULL.
type isNull struct {
	e   Expr
	neg bool
}

func (e *isNull) Type() column.Type { return column.Of(column.Boolean) }
func (e *isNull) Children() []Expr  { return []Expr{e.e} }
func (e *isNull) cannotFail() bool  { return true }
func (e *isNull) String() string {
	if e.neg {
		return "(" + e.e.String() + " IS NOT NULL)"
	}
	return "(" + e.e.String() + " IS NULL)"
}

// Eval implements Expr.
func (e *isNull) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	if !x.HasNulls() {
		fill(out.I64, b2i(e.neg))
	} else {
		for i := range out.I64 {
			out.I64[i] = b2i(x.IsNull(i) != e.neg)
		}
	}
	return ctx.maskFailed(out)
}

// in is value IN (list) over values brought to one type.
type in struct {
	v    Expr
	list []Expr
}

func (e *in) Type() column.Type { return column.Of(column.Boolean) }
func (e *in) Children() []Expr  { return append([]Expr{e.v}, e.list...) }
func (e *in) cannotFail() bool  { return true }
func (e *in) String() string    { return "(" + e.v.String() + " IN " + callText("", e.list) + ")" }

// Eval implements Expr.
func (e *in) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	x := e.v.Eval(ctx, b, sel)
	out := ctx.Column(e.Type(), b.Len)
	t := e.v.Type()
	sawNull := ctx.Column(e.Type(), b.Len)
	fill(sawNull.I64, 0)
	fill(out.I64, 0)
	open := ctx.notNull(x, b.Len, ctx.rows(b.Len, sel))
	for _, item := range e.list {
		y := item.Eval(ctx, b, open)
		rest := ctx.sel(len(open))
		for _, r := range open {
			i := int(r)
			switch {
			case y.IsNull(i):
				sawNull.I64[i] = 1
				rest = append(rest, r)
			case compareAt(t, x, y, i) == 0:
				out.I64[i] = 1
			default:
				rest = append(rest, r)
			}
		}
		open = rest
	}
	each(out, sel, func(i int) {
		if x.IsNull(i) || sawNull.I64[i] == 1 && out.I64[i] == 0 {
			out.I64[i] = 0
			out.SetNull(i)
		}
	})
	return ctx.maskFailed(out)
}
