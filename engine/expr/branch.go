package expr

import (
	"strings"

	"signalbox/engine/column"
)

// branch is CASE WHEN; values have one type.
type branch struct {
	conds, vals []Expr
	other       Expr // ELSE, never nil
	t           column.Type
}

func (e *branch) Type() column.Type { return e.t }
func (e *branch) cannotFail() bool  { return true }
func (e *branch) Children() []Expr {
	var out []Expr
	for i := range e.conds {
		out = append(out, e.conds[i], e.vals[i])
	}
	return append(out, e.other)
}

func (e *branch) String() string {
	var b strings.Builder
	b.WriteString("CASE")
	for i := range e.conds {
		b.WriteString(" WHEN " + e.conds[i].String() + " THEN " + e.vals[i].String())
	}
	return b.String() + " ELSE " + e.other.String() + " END"
}

// Eval implements Expr.
func (e *branch) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	out := ctx.Column(e.t, b.Len)
	rows := ctx.rows(b.Len, sel)
	for i, cond := range e.conds {
		if len(rows) == 0 {
			return out
		}
		c := cond.Eval(ctx, b, rows)
		yes, no := ctx.sel(len(rows)), ctx.sel(len(rows))
		for _, r := range rows {
			if !c.IsNull(int(r)) && c.I64[r] != 0 {
				yes = append(yes, r)
			} else if len(ctx.failed) > 0 && ctx.Failed(r) {
				setNull(out, int(r))
			} else {
				no = append(no, r)
			}
		}
		e.put(ctx, out, e.vals[i], b, yes)
		rows = no
	}
	e.put(ctx, out, e.other, b, rows)
	return out
}

func (e *branch) put(ctx *Context, out *column.Column, v Expr, b *column.Batch, rows []int32) {
	if len(rows) == 0 {
		return
	}
	if d, ok := Constant(v); ok {
		putConst(out, d, rows)
		return
	}
	copyRows(out, v.Eval(ctx, b, rows), rows)
}

func putConst(out *column.Column, d column.Datum, rows []int32) {
	switch {
	case d.Null:
		for _, r := range rows {
			setNull(out, int(r))
		}
	case out.Type.Kind.Storage() == column.StoreI64:
		for _, r := range rows {
			out.I64[r] = d.I
		}
	case out.Type.Kind.Storage() == column.StoreF64:
		for _, r := range rows {
			out.F64[r] = d.F
		}
	case out.Type.Kind.Storage() == column.StoreDict:
		c := out.Dict.Code(d.S)
		for _, r := range rows {
			out.Codes[r] = c
		}
	default:
		for _, r := range rows {
			out.Set(int(r), d)
		}
	}
}

// copyRows writes the listed rows of src into out, which has the same type and its own dictionary.
func copyRows(out, src *column.Column, rows []int32) {
	nulls := src.HasNulls()
	switch out.Type.Kind.Storage() {
	case column.StoreI64:
		for _, r := range rows {
			out.I64[r] = src.I64[r]
		}
	case column.StoreF64:
		for _, r := range rows {
			out.F64[r] = src.F64[r]
		}
	case column.StoreDec:
		for _, r := range rows {
			out.Dec[r] = src.Dec[r]
		}
	case column.StoreDict:
		copyStrings(out, src, rows)
	case column.StoreAny:
		for _, r := range rows {
			out.Any[r] = src.Any[r]
		}
	}
	if nulls {
		for _, r := range rows {
			if src.IsNull(int(r)) {
				setNull(out, int(r))
			}
		}
	}
}

func copyStrings(out, src *column.Column, rows []int32) {
	if out.Dict == src.Dict {
		for _, r := range rows {
			out.Codes[r] = src.Codes[r]
		}
		return
	}
	last, code, have := uint32(0), uint32(0), false
	for _, r := range rows {
		if src.IsNull(int(r)) {
			continue
		}
		if c := src.Codes[r]; !have || c != last {
			last, have = c, true
			code = out.Dict.Code(src.Dict.Values[c])
		}
		out.Codes[r] = code
	}
}

// coalesce is the first value that is not NULL; later ones are computed only where needed.
type coalesce struct {
	args []Expr
	t    column.Type
}

func (e *coalesce) Type() column.Type { return e.t }
func (e *coalesce) Children() []Expr  { return e.args }
func (e *coalesce) cannotFail() bool  { return true }
func (e *coalesce) String() string    { return callText("coalesce", e.args) }

// Eval implements Expr.
func (e *coalesce) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	first := e.args[0].Eval(ctx, b, sel)
	if !first.HasNulls() && first.Type.Equal(e.t) {
		return first
	}
	out := ctx.Column(e.t, b.Len)
	rows := ctx.rows(b.Len, sel)
	for i, a := range e.args {
		if d, ok := Constant(a); ok && i > 0 {
			if d.Null {
				continue
			}
			putConst(out, d, rows)
			return ctx.maskFailed(out)
		}
		c := first
		if i > 0 {
			c = a.Eval(ctx, b, rows)
		}
		have, rest := ctx.sel(len(rows)), ctx.sel(len(rows))
		for _, r := range rows {
			if !c.IsNull(int(r)) {
				have = append(have, r)
			} else if len(ctx.failed) > 0 && ctx.Failed(r) {
				setNull(out, int(r))
			} else {
				rest = append(rest, r)
			}
		}
		copyRows(out, c, have)
		if rows = rest; len(rows) == 0 {
			return out
		}
	}
	for _, r := range rows {
		setNull(out, int(r))
	}
	return out
}
