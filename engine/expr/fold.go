package expr

import "signalbox/engine/column"

// Rewrite rebuilds e bottom-up: f sees each node after its children were
// rewritten, and returns the node to put in its place.
func Rewrite(e Expr, f func(Expr) Expr) Expr {
	kids := e.Children()
	changed := false
	next := make([]Expr, len(kids))
	for i, k := range kids {
		next[i] = Rewrite(k, f)
		changed = changed || next[i] != k
	}
	if changed {
		e = withChildren(e, next)
	}
	return f(e)
}

// withChildren copies a node with other children of the same types.
func withChildren(e Expr, k []Expr) Expr {
	switch x := e.(type) {
	case *field:
		c := *x
		c.e = k[0]
		return &c
	case *scalar:
		c := *x
		c.args = k
		return &c
	case *cast:
		c := *x
		c.args = k
		return &c
	case *arith:
		c := *x
		c.a, c.b = k[0], k[1]
		return &c
	case *compare:
		return &compare{x.op, k[0], k[1]}
	case *junction:
		return &junction{x.or, k[0], k[1]}
	case *not:
		return &not{k[0]}
	case *isNull:
		return &isNull{k[0], x.neg}
	case *inInts:
		return newIn(k[0], k[1:])
	case *in:
		return newIn(k[0], k[1:])
	case *mapFloat:
		c := *x
		c.e = k[0]
		return &c
	case *mapInt:
		c := *x
		c.e = k[0]
		return &c
	case *floatToBig:
		c := *x
		c.e = k[0]
		return &c
	case *coalesce:
		return &coalesce{k, x.t}
	case *branch:
		c := &branch{t: x.t, other: k[len(k)-1]}
		for i := 0; i+1 < len(k); i += 2 {
			c.conds, c.vals = append(c.conds, k[i]), append(c.vals, k[i+1])
		}
		return c
	case *higher:
		c := *x
		c.args = k
		return &c
	case *lambda:
		return &lambda{x.params, k[0]}
	case *lenient:
		return &lenient{k[0]}
	}
	panic("expr: a node with children that Rewrite does not know: " + e.String())
}

// Fold computes the parts of e that are constant. A part that fails stays as it
// is and fails for each row, as Spark evaluates it: with no rows there is no error.
func Fold(e Expr) Expr {
	return Rewrite(e, foldNode)
}

func foldNode(e Expr) Expr {
	switch e.(type) {
	case *literal, *columnRef, *lambdaVar, *lambda, *outer, *now:
		return e
	}
	for _, c := range e.Children() {
		if _, ok := c.(*literal); !ok {
			return e
		}
	}
	if s, ok := e.(*scalar); ok && len(s.args) == 0 && s.eval == nil {
		return e
	}
	ctx := NewContext()
	one := &column.Batch{Schema: &column.Schema{Time: -1}, Len: 1}
	out := e.Eval(ctx, one, nil)
	if len(ctx.Errors) > 0 {
		return e
	}
	return &literal{e.Type(), out.Datum(0), true}
}

// Columns appends to dst the ordinals of the columns that e reads, each once, in order of first use.
func Columns(dst []int, e Expr) []int {
	if c, ok := e.(*columnRef); ok {
		for _, d := range dst {
			if d == c.ord {
				return dst
			}
		}
		return append(dst, c.ord)
	}
	for _, k := range e.Children() {
		dst = Columns(dst, k)
	}
	return dst
}

// EvalDatum computes a constant expression.
func EvalDatum(e Expr) (column.Datum, error) {
	ctx := NewContext()
	one := &column.Batch{Schema: &column.Schema{Time: -1}, Len: 1}
	out := e.Eval(ctx, one, nil)
	if len(ctx.Errors) > 0 {
		return column.NullDatum, ctx.Errors[0].Err
	}
	return out.Datum(0), nil
}
