package expr

// NullColumns calls add for the columns whose NULL makes e NULL: where e is a condition, it then does not hold.
func NullColumns(e Expr, add func(ordinal int)) {
	switch x := e.(type) {
	case *columnRef:
		add(x.ord)
		return
	case *compare:
		if x.op == 'n' {
			return
		}
	case *scalar:
		if x.nulls {
			return
		}
	case *arith, *cast, *not, *mapInt, *mapFloat, *field:
	default:
		return
	}
	for _, c := range e.Children() {
		NullColumns(c, add)
	}
}

// NotNull returns what "x IS NOT NULL" asks about.
func NotNull(e Expr) (x Expr, ok bool) {
	n, ok := e.(*isNull)
	if !ok || !n.neg {
		return nil, false
	}
	return n.e, true
}

// HoldsForNulls reports whether a condition can be true when every column it reads is NULL.
func HoldsForNulls(e Expr) bool {
	d, ok := Constant(Fold(Rewrite(e, func(x Expr) Expr {
		if c, ok := x.(*columnRef); ok {
			return nullOf(c.t)
		}
		return x
	})))
	return !ok || !d.Null && d.I != 0
}
