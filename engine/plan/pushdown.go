package plan

import (
	"signalbox/engine/expr"
)

// pushDown moves filters towards the sources, as Spark's optimiser does. For a
// stream this is semantics, not speed: a filter that does not read the event
// time ends up below the watermark, and the rows it drops do not move it.
func pushDown(n Node) Node { return push(n, nil) }

// push returns the plan of n under a filter by conds.
func push(n Node, conds []expr.Expr) Node {
	switch n := n.(type) {
	case *Filter:
		return push(n.Input, append(splitAnd(n.Cond), conds...))
	case *Project:
		below, above := substitute(conds, n.Exprs)
		n.Input = push(n.Input, below)
		return filtered(n, above)
	case *Watermark:
		below, above := divide(conds, func(c int) bool { return c != n.Time && c < len(n.Input.Schema().Fields) })
		n.Input = push(n.Input, below)
		return filtered(n, above)
	case *TimeAssign:
		below, above := divide(conds, func(c int) bool { return c < len(n.Input.Schema().Fields) })
		n.Input = push(n.Input, below)
		return filtered(n, above)
	case *Explode:
		below, above := divide(conds, func(c int) bool { return c < len(n.Input.Schema().Fields) })
		n.Input = push(n.Input, below)
		return filtered(n, above)
	case *Sort:
		n.Input = push(n.Input, conds)
		return n
	case *Aggregate:
		return pushAggregate(n, conds)
	case *Union:
		for i := range n.Branches {
			n.Branches[i] = push(n.Branches[i], append([]expr.Expr(nil), conds...))
		}
		return n
	case *Join:
		return pushJoin(n, conds)
	}
	setInputs(n)
	return filtered(n, conds)
}

// setInputs pushes inside the inputs of operators that let nothing through.
func setInputs(n Node) {
	switch n := n.(type) {
	case *Dedup:
		n.Input = pushDown(n.Input)
	case *Limit:
		n.Input = pushDown(n.Input)
	case *Single:
		n.Input = pushDown(n.Input)
	case *Distinct:
		n.Input = pushDown(n.Input)
	case *Analytic:
		n.Input = pushDown(n.Input)
	case *KeyedState: // it sees every row, also those that a filter above drops
		n.Input = pushDown(n.Input)
	case *SetOp:
		n.Left, n.Right = pushDown(n.Left), pushDown(n.Right)
	case *Recursive:
		n.Anchor, n.Step = pushDown(n.Anchor), pushDown(n.Step)
	}
}

// filtered puts a filter over n, if there is anything to filter.
func filtered(n Node, conds []expr.Expr) Node {
	if len(conds) == 0 {
		return n
	}
	return &Filter{Input: n, Cond: joinAnd(conds)}
}

func splitAnd(e expr.Expr) []expr.Expr {
	if op, args := operatorOf(e); op == "and" {
		return append(splitAnd(args[0]), splitAnd(args[1])...)
	}
	return []expr.Expr{e}
}

func joinAnd(conds []expr.Expr) expr.Expr {
	out := conds[0]
	for _, c := range conds[1:] {
		both, err := expr.Call("and", out, c)
		if err != nil { // both are BOOLEAN: AND takes them
			panic("plan: " + err.Error())
		}
		out = both
	}
	return out
}

// divide separates the conditions that read only accepted columns.
func divide(conds []expr.Expr, accept func(int) bool) (yes, no []expr.Expr) {
	for _, c := range conds {
		if reads(c, accept) {
			yes = append(yes, c)
			continue
		}
		no = append(no, c)
	}
	return yes, no
}

// reads reports whether e reads only accepted columns.
func reads(e expr.Expr, accept func(int) bool) bool {
	ok := true
	columnsOf(e, func(i int) { ok = ok && accept(i) })
	return ok
}

// maxPushed bounds a condition that is pushed through a projection, in nodes:
// beyond it the condition costs more below than it saves.
const maxPushed = 1000

// substitute replaces column i by exprs[i]; conditions that would grow too large stay above.
func substitute(conds []expr.Expr, exprs []expr.Expr) (below, above []expr.Expr) {
	for _, c := range conds {
		size := 0
		columnsOf(c, func(i int) { size += countNodes(exprs[i], maxPushed) })
		if size > maxPushed {
			above = append(above, c)
			continue
		}
		below = append(below, expr.Rewrite(c, func(e expr.Expr) expr.Expr {
			if o, ok := columnOrdinal(e); ok {
				return exprs[o]
			}
			return e
		}))
	}
	return below, above
}

// shifted moves the columns of e by d.
func shifted(e expr.Expr, d int) expr.Expr {
	return expr.Rewrite(e, func(x expr.Expr) expr.Expr {
		if o, ok := columnOrdinal(x); ok {
			return renumbered(x, o+d)
		}
		return x
	})
}

// pushAggregate lets conditions on keys through; a session's key is known only after merging.
func pushAggregate(n *Aggregate, conds []expr.Expr) Node {
	if len(n.Keys) == 0 {
		n.Input = pushDown(n.Input)
		return filtered(n, conds)
	}
	below, above := divide(conds, func(c int) bool {
		return c < len(n.Keys) && !(n.Kind == SessionWindow && c == n.Window)
	})
	below, large := substitute(below, n.Keys)
	n.Input = push(n.Input, below)
	if len(large) > 0 {
		return filtered(filtered(n, above), conds)
	}
	return filtered(n, above)
}

// pushJoin sends conditions to the side they read; equalities between the sides become keys of an inner join.
func pushJoin(n *Join, conds []expr.Expr) Node {
	lw := len(n.Left.Schema().Fields)
	isLeft, isRight := func(c int) bool { return c < lw }, func(c int) bool { return c >= lw }
	innerOf(n, conds, lw)
	var left, right, above []expr.Expr
	for _, c := range conds {
		switch {
		case n.Kind != Right && n.Kind != Full && reads(c, isLeft):
			left = append(left, c)
		case (n.Kind == Inner || n.Kind == Cross || n.Kind == Right) && reads(c, isRight):
			right = append(right, shifted(c, -lw))
		case (n.Kind == Inner || n.Kind == Cross) && addKey(n, c, lw):
		case n.Kind == Inner && isStreaming(n.Left) && isStreaming(n.Right):
			// A bound on the times is as good in WHERE as in ON: without it no row would be forgotten.
			if n.Cond != nil {
				c = joinAnd([]expr.Expr{n.Cond, c})
			}
			n.Cond, n.Bound = c, nil
			n.Bound = timeBound(n, lw)
		default:
			above = append(above, c)
		}
	}
	left, right = pushOn(n, left, right, lw)
	left, right = keysNotNull(n, left, right)
	left, right = inferred(n, left, right, lw)
	n.Left, n.Right = push(n.Left, left), push(n.Right, right)
	return filtered(n, above)
}

// pushOn takes the conditions of ON that read one side only.
func pushOn(n *Join, left, right []expr.Expr, lw int) ([]expr.Expr, []expr.Expr) {
	if n.Cond == nil {
		return left, right
	}
	toLeft := n.Kind == Inner || n.Kind == Semi || n.Kind == Right
	toRight := n.Kind == Inner || n.Kind == Semi || n.Kind == Left || n.Kind == Anti && !n.NullAware
	var keep []expr.Expr
	for _, c := range splitAnd(n.Cond) {
		switch {
		case isConstant(c):
			keep = append(keep, c)
		case toLeft && reads(c, func(i int) bool { return i < lw }):
			left = append(left, c)
		case toRight && reads(c, func(i int) bool { return i >= lw }):
			right = append(right, shifted(c, -lw))
		default:
			keep = append(keep, c)
		}
	}
	n.Cond = nil
	if len(keep) > 0 {
		n.Cond = joinAnd(keep)
	}
	return left, right
}

// keysNotNull drops rows that cannot match before a watermark sees them: Spark
// infers from an equality that its keys are not NULL, and such rows then do not
// move the watermark either.
func keysNotNull(n *Join, left, right []expr.Expr) ([]expr.Expr, []expr.Expr) {
	for i := range n.LeftKeys {
		if n.NullSafe[i] || n.NullAware {
			continue
		}
		if (n.Kind == Inner || n.Kind == Semi || n.Kind == Right) && hasWatermark(n.Left) {
			left = append(left, notNull(n.LeftKeys[i]))
		}
		if (n.Kind == Inner || n.Kind == Semi || n.Kind == Left) && hasWatermark(n.Right) {
			right = append(right, notNull(n.RightKeys[i]))
		}
	}
	return left, right
}

func notNull(e expr.Expr) expr.Expr {
	x, err := expr.Call("isnotnull", e)
	if err != nil { // it takes a value of any type
		panic("plan: " + err.Error())
	}
	return x
}

func hasWatermark(n Node) bool {
	found := false
	each(n, func(n Node) {
		_, ok := n.(*Watermark)
		found = found || ok && isStreaming(n)
	})
	return found
}

// addKey makes left = right a pair of keys.
func addKey(n *Join, c expr.Expr, lw int) bool {
	l, r, ok := equalSides(c, lw)
	if !ok {
		return false
	}
	n.Kind = Inner
	n.LeftKeys = append(n.LeftKeys, l)
	n.RightKeys = append(n.RightKeys, r)
	n.NullSafe = append(n.NullSafe, false)
	n.Bound = timeBound(n, lw)
	return true
}

// equalSides splits left = right, bound over the columns of both, into an expression over each side.
func equalSides(c expr.Expr, lw int) (l, r expr.Expr, ok bool) {
	op, args := operatorOf(c)
	if op != "=" {
		return nil, nil, false
	}
	isLeft, isRight := func(i int) bool { return i < lw }, func(i int) bool { return i >= lw }
	l, r = args[0], args[1]
	if reads(l, isRight) && reads(r, isLeft) {
		l, r = r, l
	}
	if !reads(l, isLeft) || !reads(r, isRight) || isConstant(l) || isConstant(r) || !l.Type().Equal(r.Type()) {
		return nil, nil, false
	}
	return l, shifted(r, -lw), true
}
