package plan

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// outerRow is the row around a sub-query that is computed anew for it: names
// that the sub-query does not know are looked up there and become placeholders.
type outerRow struct {
	around *binder
	params []Param
}

// find resolves a name as a column of the row around.
func (o *outerRow) find(e *sql.Ident) (expr.Expr, bool, error) {
	if o == nil || o.around.rel == nil {
		return nil, false, nil
	}
	found, used := o.around.rel.lookup(e.Parts)
	if len(found) == 0 {
		return nil, false, nil
	}
	if len(found) > 1 {
		return nil, false, ambiguous(e, o.around.rel, found)
	}
	x, err := fieldPath(e.Pos, o.param(found[0]), e.Parts[used:])
	return x, true, err
}

// param is the placeholder of a column of the row around.
func (o *outerRow) param(column int) expr.Expr {
	for _, p := range o.params {
		if p.Column == column {
			return p.Var
		}
	}
	c := o.around.rel.column(column)
	v := expr.NewOuter(c.String(), c.Type())
	o.params = append(o.params, Param{Column: column, Var: v})
	return v
}

// dependent plans a sub-query that may use columns of the row around it.
func (b *binder) dependent(q *sql.Query) (*rel, []Param, error) {
	o := &outerRow{around: b}
	r, err := b.a.query(q, scope{ctes: b.scope.ctes, row: o})
	if err != nil {
		return nil, nil, err
	}
	return r.visible(), o.params, nil
}

// WithOuter returns the plan n with values in the place of placeholders; what
// does not depend on them is shared with n.
func WithOuter(n Node, params []Param, values []column.Datum) Node {
	return substituted(n, func(e expr.Expr) expr.Expr {
		if !expr.IsOuter(e) {
			return e
		}
		for i, p := range params {
			if p.Var == e {
				return expr.NewLiteral(e.Type(), values[i])
			}
		}
		return e
	})
}

func substituted(n Node, f func(expr.Expr) expr.Expr) Node {
	if !DependsOnOuter(n) {
		return n
	}
	return Rebuilt(n, func(in Node) Node { return substituted(in, f) }, func(e *expr.Expr) { *e = expr.Rewrite(*e, f) })
}

// DependsOnOuter reports whether a plan holds placeholders.
func DependsOnOuter(n Node) bool {
	found := false
	eachExpr(n, func(e *expr.Expr) { found = found || holdsOuter(*e) })
	for _, in := range n.Inputs() {
		found = found || DependsOnOuter(in)
	}
	return found
}

func holdsOuter(e expr.Expr) bool {
	if expr.IsOuter(e) {
		return true
	}
	return slices.ContainsFunc(e.Children(), holdsOuter)
}

// Rebuilt copies an operator with other inputs and expressions.
func Rebuilt(n Node, input func(Node) Node, each func(*expr.Expr)) Node {
	c := copied(n)
	switch n := c.(type) {
	case *Join:
		n.Left, n.Right = input(n.Left), input(n.Right)
	case *SetOp:
		n.Left, n.Right = input(n.Left), input(n.Right)
	case *Recursive:
		n.Anchor, n.Step = input(n.Anchor), input(n.Step)
	case *Union:
		for i := range n.Branches {
			n.Branches[i] = input(n.Branches[i])
		}
	default:
		if at := inputOf(c); at != nil {
			*at = input(*at)
		}
	}
	eachExpr(c, each)
	return c
}

// inputOf is where an operator with one input keeps it.
func inputOf(n Node) *Node {
	switch n := n.(type) {
	case *Watermark:
		return &n.Input
	case *Dedup:
		return &n.Input
	case *Filter:
		return &n.Input
	case *Project:
		return &n.Input
	case *Explode:
		return &n.Input
	case *TimeAssign:
		return &n.Input
	case *Aggregate:
		return &n.Input
	case *Sort:
		return &n.Input
	case *Limit:
		return &n.Input
	case *Single:
		return &n.Input
	case *Distinct:
		return &n.Input
	case *Analytic:
		return &n.Input
	case *KeyedState:
		return &n.Input
	}
	return nil
}

// copied copies an operator and its lists, not what they hold.
func copied(n Node) Node {
	switch n := n.(type) {
	case *Watermark:
		c := *n
		return &c
	case *Dedup:
		c := *n
		return &c
	case *Filter:
		c := *n
		return &c
	case *Explode:
		c := *n
		return &c
	case *TimeAssign:
		c := *n
		return &c
	case *Limit:
		c := *n
		return &c
	case *Single:
		c := *n
		return &c
	case *Distinct:
		c := *n
		return &c
	case *SetOp:
		c := *n
		return &c
	case *Recursive:
		c := *n
		return &c
	}
	return copiedLists(n)
}

// copiedLists copies the operators that hold lists of expressions.
func copiedLists(n Node) Node {
	switch n := n.(type) {
	case *Project:
		c := *n
		c.Exprs = slices.Clone(n.Exprs)
		return &c
	case *Aggregate:
		c := *n
		c.Keys, c.Calls = slices.Clone(n.Keys), slices.Clone(n.Calls)
		for i := range c.Calls {
			c.Calls[i].Args, c.Calls[i].OrderBy = slices.Clone(c.Calls[i].Args), slices.Clone(c.Calls[i].OrderBy)
		}
		return &c
	case *Join:
		c := *n
		c.LeftKeys, c.RightKeys = slices.Clone(n.LeftKeys), slices.Clone(n.RightKeys)
		return &c
	case *Sort:
		c := *n
		c.Keys = slices.Clone(n.Keys)
		return &c
	case *Union:
		c := *n
		c.Branches = slices.Clone(n.Branches)
		return &c
	case *Analytic:
		c := *n
		c.Partition, c.Order, c.Calls = slices.Clone(n.Partition), slices.Clone(n.Order), slices.Clone(n.Calls)
		for i := range c.Calls {
			c.Calls[i].Args = slices.Clone(c.Calls[i].Args)
		}
		return &c
	}
	return n
}

// eachExpr visits the expressions of one operator where they are kept.
func eachExpr(n Node, visit func(*expr.Expr)) {
	one := func(e *expr.Expr) {
		if *e != nil {
			visit(e)
		}
	}
	all := func(es []expr.Expr) {
		for i := range es {
			one(&es[i])
		}
	}
	keys := func(ks []SortKey) {
		for i := range ks {
			one(&ks[i].Expr)
		}
	}
	switch n := n.(type) {
	case *Watermark:
		one(&n.Expr)
	case *Filter:
		one(&n.Cond)
	case *Project:
		all(n.Exprs)
	case *Explode:
		one(&n.Array)
	case *TimeAssign:
		one(&n.Time)
		one(&n.Gap)
	case *Sort:
		keys(n.Keys)
	case *Join:
		all(n.LeftKeys)
		all(n.RightKeys)
		one(&n.Cond)
	case *Aggregate:
		all(n.Keys)
		for i := range n.Calls {
			all(n.Calls[i].Args)
			one(&n.Calls[i].Filter)
			keys(n.Calls[i].OrderBy)
		}
	case *Analytic:
		all(n.Partition)
		keys(n.Order)
		for i := range n.Calls {
			all(n.Calls[i].Args)
		}
	}
}
