package plan

import "signalbox/engine/expr"

// What Spark concludes from conditions. For streams it is meaning, not speed: a concluded filter that ends up below a
// watermark keeps the rows it drops from moving it.

// innerOf makes an outer join an inner one where a filter above drops the rows without a match anyway.
func innerOf(n *Join, conds []expr.Expr, leftWidth int) {
	if n.Kind != Left && n.Kind != Right && n.Kind != Full || n.NullAware || len(n.Params) > 0 {
		return
	}
	left, right := false, false // this side's columns cannot be all NULL
	for _, c := range conds {
		notNullColumns(c, func(i int) { left, right = left || i < leftWidth, right || i >= leftWidth })
		isLeft, isRight := reads(c, func(i int) bool { return i < leftWidth }), reads(c, func(i int) bool { return i >= leftWidth })
		if isLeft != isRight && !expr.HoldsForNulls(c) {
			left, right = left || isLeft, right || isRight
		}
	}
	written := n.Kind
	switch {
	case n.Kind == Left && right, n.Kind == Right && left, n.Kind == Full && left && right:
		n.Kind = Inner
	case n.Kind == Full && left:
		n.Kind = Left
	case n.Kind == Full && right:
		n.Kind = Right
	default:
		return
	}
	n.written = written
}

// notNullColumns calls add for the columns that are not NULL where c holds.
func notNullColumns(c expr.Expr, add func(int)) {
	if x, ok := expr.NotNull(c); ok {
		expr.NullColumns(x, add)
		return
	}
	expr.NullColumns(c, add)
}

// inferred adds to the conditions for each side what its partner's conditions and those of the join say about it.
func inferred(n *Join, left, right []expr.Expr, leftWidth int) ([]expr.Expr, []expr.Expr) {
	toLeft := (n.Kind == Inner || n.Kind == Semi || n.Kind == Right) && hasWatermark(n.Left)
	toRight := (n.Kind == Inner || n.Kind == Semi || n.Kind == Left) && hasWatermark(n.Right)
	if n.NullAware || len(n.Params) > 0 || !toLeft && !toRight {
		return left, right
	}
	moreLeft, moreRight := n.translated(left, right)
	if toLeft {
		left = append(left, moreLeft...)
	}
	if toRight {
		right = append(right, moreRight...)
	}
	// The event times are left out: a filter on them stays above the watermark, and the join drops their NULLs itself.
	seen := map[int]bool{n.LeftTime: true}
	if n.RightTime >= 0 {
		seen[n.RightTime+leftWidth] = true
	}
	if n.Cond != nil {
		for _, c := range splitAnd(n.Cond) {
			notNullColumns(c, func(i int) {
				switch {
				case seen[i]:
				case i < leftWidth && toLeft:
					left = append(left, notNull(columnOf(n.Left, i)))
				case i >= leftWidth && toRight:
					right = append(right, notNull(columnOf(n.Right, i-leftWidth)))
				}
				seen[i] = true
			})
		}
	}
	return left, right
}

// translated says for each side what holds for its partner's keys, hence for its own.
func (n *Join) translated(left, right []expr.Expr) (toLeft, toRight []expr.Expr) {
	there, back := map[int]expr.Expr{}, map[int]expr.Expr{}
	for i := range n.LeftKeys {
		l, lok := columnOrdinal(n.LeftKeys[i])
		r, rok := columnOrdinal(n.RightKeys[i])
		if lok && rok && !n.NullSafe[i] {
			there[l], back[r] = n.RightKeys[i], n.LeftKeys[i]
		}
	}
	return translate(append(constraintsOf(n.Right), right...), back), translate(append(constraintsOf(n.Left), left...), there)
}

func translate(conds []expr.Expr, by map[int]expr.Expr) []expr.Expr {
	var out []expr.Expr
	for _, c := range conds {
		if isConstant(c) || !reads(c, func(i int) bool { return by[i] != nil }) {
			continue
		}
		out = append(out, expr.Rewrite(c, func(e expr.Expr) expr.Expr {
			if o, ok := columnOrdinal(e); ok {
				return by[o]
			}
			return e
		}))
	}
	return out
}

// constraintsOf lists conditions over the columns of n that its rows are known to pass.
func constraintsOf(n Node) []expr.Expr {
	switch n := n.(type) {
	case *Filter:
		return append(constraintsOf(n.Input), splitAnd(n.Cond)...)
	case *Watermark, *Dedup, *TimeAssign, *Explode:
		return constraintsOf(n.Inputs()[0])
	case *Project:
		by := map[int]expr.Expr{}
		for i, e := range n.Exprs {
			if o, ok := columnOrdinal(e); ok && by[o] == nil {
				by[o] = columnOf(n, i)
			}
		}
		return translate(constraintsOf(n.Input), by)
	}
	return nil
}

func columnOf(n Node, i int) expr.Expr {
	f := n.Schema().Fields[i]
	return expr.NewColumn(i, f.Name, f.Type)
}
