package expr

import "signalbox/engine/column"

// lenient gives NULL where its operand fails: try_add and friends over times and
// intervals, where Spark forgives the arguments too (over numbers it does not).
type lenient struct{ e Expr }

func (e *lenient) Type() column.Type { return e.e.Type() }
func (e *lenient) Children() []Expr  { return []Expr{e.e} }
func (e *lenient) String() string    { return callText("try", e.Children()) }
func (e *lenient) cannotFail() bool  { return true }

// Eval implements Expr.
func (e *lenient) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	errors, failed := ctx.Errors, ctx.failed
	ctx.Errors, ctx.failed = nil, nil
	out := e.e.Eval(ctx, b, sel)
	for _, f := range ctx.Errors {
		out.SetNull(int(f.Row))
	}
	ctx.Errors, ctx.failed = errors, failed
	return out
}
