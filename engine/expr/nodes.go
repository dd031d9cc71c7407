package expr

import (
	"fmt"

	"signalbox/engine/column"
)

// columnRef is a column of the batch.
type columnRef struct {
	ord  int
	name string
	t    column.Type
}

// NewColumn refers to the column of a batch at an ordinal.
func NewColumn(ordinal int, name string, t column.Type) Expr { return &columnRef{ordinal, name, t} }

// ColumnOrdinal reports whether e is a plain column, and which.
func ColumnOrdinal(e Expr) (int, bool) {
	if c, ok := e.(*columnRef); ok {
		return c.ord, true
	}
	return 0, false
}

func (e *columnRef) Type() column.Type { return e.t }
func (e *columnRef) Children() []Expr  { return nil }
func (e *columnRef) String() string    { return fmt.Sprintf("%s#%d", e.name, e.ord) }
func (e *columnRef) Eval(_ *Context, b *column.Batch, _ []int32) *column.Column {
	return b.Cols[e.ord]
}

// literal is a constant.
type literal struct {
	t       column.Type
	d       column.Datum
	derived bool // computed, not written: it counts with the precision of its type beside a decimal
}

// NewLiteral returns a constant of type t.
func NewLiteral(t column.Type, d column.Datum) Expr { return &literal{t: t, d: d} }

// Constant returns the value of a literal.
func Constant(e Expr) (column.Datum, bool) {
	if l, ok := e.(*literal); ok {
		return l.d, true
	}
	return column.Datum{}, false
}

func nullOf(t column.Type) Expr { return &literal{t: t, d: column.NullDatum} }

func intLit(v int64) Expr { return &literal{t: column.Of(column.Int), d: column.I64(v)} }

func (e *literal) Type() column.Type { return e.t }
func (e *literal) Children() []Expr  { return nil }
func (e *literal) String() string    { return literalText(e.t, e.d) }

func (e *literal) Eval(ctx *Context, b *column.Batch, _ []int32) *column.Column {
	out := ctx.Column(e.t, b.Len)
	if e.d.Null || e.t.Kind == column.Void {
		allNull(out)
		return out
	}
	switch e.t.Kind.Storage() {
	case column.StoreI64:
		fill(out.I64, e.d.I)
	case column.StoreF64:
		fill(out.F64, e.d.F)
	case column.StoreDict:
		fill(out.Codes, out.Dict.Code(e.d.S))
	case column.StoreDec:
		fill(out.Dec, e.d.Dec)
	case column.StoreAny:
		fill(out.Any, e.d)
	}
	return out
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// field is a member of a struct.
type field struct {
	e   Expr
	ord int
	t   column.Type
}

// NewField returns member ordinal of the struct e.
func NewField(e Expr, ordinal int) Expr {
	return &field{e, ordinal, e.Type().Fields[ordinal].Type}
}

func (e *field) Type() column.Type { return e.t }
func (e *field) Children() []Expr  { return []Expr{e.e} }
func (e *field) String() string {
	return e.e.String() + "." + e.e.Type().Fields[e.ord].Name
}

func (e *field) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	in := e.e.Eval(ctx, b, sel)
	out := ctx.Column(e.t, b.Len)
	one := func(i int) {
		if in.IsNull(i) {
			out.Set(i, column.NullDatum)
			return
		}
		out.Set(i, in.Any[i].L[e.ord])
	}
	if sel == nil {
		for i := range b.Len {
			one(i)
		}
		return out
	}
	for _, r := range sel {
		one(int(r))
	}
	return out
}

// sure reports whether e can never fail on any row, so that it may be computed
// for rows that Spark would not have reached.
func sure(e Expr) bool {
	switch x := e.(type) { // the cases that are asked for in every batch do without Children, which allocates
	case *columnRef, *literal, *lambdaVar:
		return true
	case *arith:
		return x.cannotFail() && sure(x.a) && sure(x.b)
	case *compare:
		return sure(x.a) && sure(x.b)
	case *junction:
		return sure(x.a) && sure(x.b)
	case *not:
		return sure(x.e)
	case *isNull:
		return sure(x.e)
	case *scalar:
		return x.safe && allSure(x.args)
	case *cast:
		return x.safe && allSure(x.args)
	case interface{ cannotFail() bool }:
		return x.cannotFail() && allSure(e.Children())
	}
	return false
}

func allSure(es []Expr) bool {
	for _, e := range es {
		if !sure(e) {
			return false
		}
	}
	return true
}

func (e *field) cannotFail() bool { return true }

// Index is e[i]: the element of an array at a 0-based index, or the value of a map key.
func Index(e, i Expr) (Expr, error) { return Call("[]", e, i) }
