package plan

import "signalbox/engine/sql"

// children lists the operands of an expression; sub-queries are not entered.
func children(e sql.Expr) []sql.Expr {
	switch e := e.(type) {
	case *sql.Unary:
		return []sql.Expr{e.X}
	case *sql.Binary:
		return []sql.Expr{e.L, e.R}
	case *sql.IsNull:
		return []sql.Expr{e.X}
	case *sql.IsBool:
		return []sql.Expr{e.X}
	case *sql.IsDistinct:
		return []sql.Expr{e.L, e.R}
	case *sql.Between:
		return []sql.Expr{e.X, e.Lo, e.Hi}
	case *sql.InList:
		return append([]sql.Expr{e.X}, e.List...)
	case *sql.InQuery:
		return []sql.Expr{e.X}
	case *sql.Like:
		return likeChildren(e)
	case *sql.Case:
		return caseChildren(e)
	case *sql.Cast:
		return []sql.Expr{e.X}
	case *sql.Call:
		return callChildren(e)
	case *sql.NamedArg:
		return []sql.Expr{e.Value}
	case *sql.Alias:
		return []sql.Expr{e.X}
	case *sql.Row:
		return e.Items
	case *sql.Lambda:
		return []sql.Expr{e.Body}
	case *sql.Subscript:
		return []sql.Expr{e.X, e.Index}
	case *sql.Field:
		return []sql.Expr{e.X}
	}
	return nil
}

func likeChildren(e *sql.Like) []sql.Expr {
	out := []sql.Expr{e.X}
	if e.Pattern != nil {
		out = append(out, e.Pattern)
	}
	return append(out, e.Patterns...)
}

func caseChildren(e *sql.Case) []sql.Expr {
	var out []sql.Expr
	if e.Operand != nil {
		out = append(out, e.Operand)
	}
	for _, w := range e.Whens {
		out = append(out, w.Cond, w.Then)
	}
	if e.Else != nil {
		out = append(out, e.Else)
	}
	return out
}

func callChildren(e *sql.Call) []sql.Expr {
	out := append([]sql.Expr(nil), e.Args...)
	for _, s := range e.Within {
		out = append(out, s.Expr)
	}
	if e.Filter != nil {
		out = append(out, e.Filter)
	}
	if e.Over != nil {
		out = append(out, e.Over.Partition...)
		for _, s := range e.Over.Order {
			out = append(out, s.Expr)
		}
	}
	return out
}

// walk visits e and everything below it; visit says whether to go deeper.
func walk(e sql.Expr, visit func(sql.Expr) bool) {
	if e == nil || !visit(e) {
		return
	}
	for _, c := range children(e) {
		walk(c, visit)
	}
}

// findCalls lists the calls below e that want accepts, outermost first, without looking inside them.
func findCalls(e sql.Expr, want func(*sql.Call) bool) []*sql.Call {
	var out []*sql.Call
	walk(e, func(x sql.Expr) bool {
		c, ok := x.(*sql.Call)
		if ok && want(c) {
			out = append(out, c)
			return false
		}
		return true
	})
	return out
}

// hasSubquery reports whether an expression contains a query.
func hasSubquery(e sql.Expr) bool {
	found := false
	walk(e, func(x sql.Expr) bool {
		switch x.(type) {
		case *sql.Exists, *sql.InQuery, *sql.ScalarSubquery:
			found = true
		}
		return !found
	})
	return found
}

// conjuncts splits a AND b AND c.
func conjuncts(e sql.Expr) []sql.Expr {
	if b, ok := e.(*sql.Binary); ok && b.Op == "and" {
		return append(conjuncts(b.L), conjuncts(b.R)...)
	}
	if e == nil {
		return nil
	}
	return []sql.Expr{e}
}
