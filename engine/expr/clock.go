package expr

import "signalbox/engine/column"

// Clock is the time that current_timestamp() gives. A continuous query sets it
// to the time of each entry before it runs: every node, and every replay, sees the same.
type Clock struct{ Now int64 }

// now is current_timestamp() of a continuous query.
type now struct{ c *Clock }

// NewNow reads the clock as a TIMESTAMP.
func NewNow(c *Clock) Expr { return &now{c} }

func (e *now) Type() column.Type { return column.Of(column.Timestamp) }
func (e *now) Children() []Expr  { return nil }
func (e *now) String() string    { return "current_timestamp()" }
func (e *now) cannotFail() bool  { return true }

// Eval implements Expr.
func (e *now) Eval(ctx *Context, b *column.Batch, _ []int32) *column.Column {
	out := ctx.Column(e.Type(), b.Len)
	fill(out.I64, e.c.Now)
	return out
}
