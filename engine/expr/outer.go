package expr

import "signalbox/engine/column"

// outer is a value of the row around a correlated sub-query. It stands for a
// literal: the executor puts one in its place before anything is evaluated.
type outer struct {
	name string
	t    column.Type
}

// NewOuter makes a placeholder for a value of the row around a sub-query; identity is the pointer.
func NewOuter(name string, t column.Type) Expr { return &outer{name, t} }

// IsOuter reports whether e is a placeholder of NewOuter.
func IsOuter(e Expr) bool {
	_, ok := e.(*outer)
	return ok
}

func (e *outer) Type() column.Type { return e.t }
func (e *outer) Children() []Expr  { return nil }
func (e *outer) String() string    { return "outer(" + e.name + ")" }
func (e *outer) Eval(*Context, *column.Batch, []int32) *column.Column {
	panic("expr: " + e.String() + " evaluated outside its sub-query")
}
