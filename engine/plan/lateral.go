package plan

import (
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// lateral plans FROM t, LATERAL (SELECT … t.a …) AS u and LATERAL f(t.a) AS u(x).
func (a *analyzer) lateral(left *rel, j *sql.Join, sc scope) (*rel, error) {
	if err := checkLateral(j); err != nil {
		return nil, err
	}
	if f, ok := j.Right.(*sql.TableFunc); ok && isGenerator(f.Call) && (j.Kind != sql.LeftJoin || j.On == nil) {
		return a.lateralGenerator(left, f, j, sc)
	}
	row := &outerRow{around: &binder{a: a, scope: sc, rel: left, clause: "LATERAL"}}
	right, err := a.lateralRight(j.Right, scope{ctes: sc.ctes, row: row})
	if err != nil {
		return nil, err
	}
	if j.Kind != sql.LeftJoin {
		return a.lateralInner(left, right, row.params, j, sc)
	}
	if base, exprs, conds := pulledUp(right); !DependsOnOuter(base) && (j.On == nil || !hasSubquery(j.On)) {
		l := &lateralLeft{a: a, j: j, left: left, right: right, params: row.params, exprs: exprs, conds: conds}
		return l.join(base, sc)
	}
	m := &matcher{a: a, scope: sc, left: left, right: right}
	m.node.Params = row.params
	if err := m.on(j); err != nil {
		return nil, err
	}
	return m.join(Left, j.Pos)
}

// lateralLeft is LEFT JOIN LATERAL over a relation that only filters and computes
// over something that does not depend on the left row: a plain LEFT JOIN.
type lateralLeft struct {
	a            *analyzer
	j            *sql.Join
	left, right  *rel
	params       []Param
	exprs, conds []expr.Expr // of the right, over what it reads
}

func (l *lateralLeft) join(base Node, sc scope) (*rel, error) {
	lw := l.left.width()
	there := marked(&rel{node: base, attrs: hidden(newRel(base, "").attrs), delay: l.right.delay})
	m := &matcher{a: l.a, scope: sc, left: l.left, right: there}
	cells := withLeft(l.exprs, l.params, l.left)
	conds := withLeft(l.conds, l.params, l.left)
	if l.j.On != nil {
		on := &binder{a: l.a, scope: sc, rel: &rel{attrs: append(append([]attr(nil), l.left.attrs...), l.right.attrs...)}, clause: "ON"}
		x, err := on.condition(l.j.On)
		if err != nil {
			return nil, err
		}
		conds = append(conds, splitAnd(expr.Rewrite(x, func(e expr.Expr) expr.Expr {
			if i, ok := columnOrdinal(e); ok && i >= lw {
				return cells[i-lw]
			}
			return e
		}))...)
	}
	for _, c := range conds {
		if lk, rk, ok := equalSides(c, lw); ok {
			m.node.LeftKeys, m.node.RightKeys, m.node.NullSafe = append(m.node.LeftKeys, lk), append(m.node.RightKeys, rk), append(m.node.NullSafe, false)
			continue
		}
		if err := m.rest(l.j.Pos, c); err != nil {
			return nil, err
		}
	}
	joined, err := m.join(Left, l.j.Pos)
	if err != nil {
		return nil, err
	}
	return l.project(joined, cells)
}

// project computes the columns of the right, NULL where no row of it matches.
func (l *lateralLeft) project(joined *rel, cells []expr.Expr) (*rel, error) {
	n := &Project{Input: joined.node}
	for i := range l.left.attrs {
		n.Exprs = append(n.Exprs, l.left.column(i))
	}
	found := notNull(joined.column(joined.width() - 1))
	for _, x := range cells {
		if i, plain := columnOrdinal(x); !plain || i < len(l.left.attrs) {
			var err error
			if x, err = call(l.j.Pos, "case", found, x); err != nil {
				return nil, err
			}
		}
		n.Exprs = append(n.Exprs, x)
	}
	out := &rel{attrs: append(append([]attr(nil), l.left.attrs...), l.right.attrs...), delay: joined.delay}
	n.Out = out.schema(projectedTime(n.Input, n.Exprs))
	out.node = n
	return out, l.a.mark(n, l.j.Pos)
}

func checkLateral(j *sql.Join) error {
	var err error
	switch {
	case j.Natural:
		err = fail(j.Pos, "INCOMPATIBLE_JOIN_TYPES", "42613", "NATURAL does not go with LATERAL; write ON")
	case len(j.Using) > 0:
		err = fail(j.Pos, "UNSUPPORTED_FEATURE.LATERAL_JOIN_USING", "0A000", "USING does not go with LATERAL; write ON")
	case j.Kind != sql.InnerJoin && j.Kind != sql.CrossJoin && j.Kind != sql.LeftJoin:
		err = fail(j.Pos, "INVALID_LATERAL_JOIN_TYPE", "42613", "%s JOIN does not go with LATERAL: the sub-query depends on rows of the left side; write JOIN or LEFT JOIN", j.Kind)
	default:
		return nil
	}
	err.(*expr.Error).Phase = "parse" // Spark's class for it
	return err
}

// lateralRight plans the relation behind LATERAL.
func (a *analyzer) lateralRight(r sql.Relation, sc scope) (*rel, error) {
	switch r := r.(type) {
	case *sql.Subquery:
		plain := *r
		plain.Lateral = false
		return a.subqueryRelation(&plain, sc)
	case *sql.TableFunc:
		plain := *r
		plain.Lateral = false
		return a.tableFunc(&plain, sc)
	}
	return a.from(r, sc)
}

// isLateral reports whether a relation may use the columns of those before it.
func isLateral(r sql.Relation) bool {
	switch r := r.(type) {
	case *sql.Subquery:
		return r.Lateral
	case *sql.TableFunc:
		return r.Lateral
	}
	return false
}

// lateralInner joins a lateral relation. One that only filters and computes over
// something that does not depend on the left row becomes a plain join.
func (a *analyzer) lateralInner(left, right *rel, params []Param, j *sql.Join, sc scope) (*rel, error) {
	lw := left.width()
	base, exprs, conds := pulledUp(right)
	m := &matcher{a: a, scope: sc, left: left, right: &rel{node: base, attrs: hidden(newRel(base, "").attrs), delay: right.delay}}
	if DependsOnOuter(base) {
		exprs, conds = nil, nil
		m.right, m.node.Params = right, params
	}
	out, err := m.join(Cross, j.Pos)
	if err != nil {
		return nil, err
	}
	if len(conds) > 0 {
		n := &Filter{Input: out.node, Cond: joinAnd(withLeft(conds, params, left))}
		out = &rel{node: n, attrs: out.attrs, delay: out.delay}
		if err := a.mark(n, j.Pos); err != nil {
			return nil, err
		}
	}
	if exprs != nil {
		n := &Project{Input: out.node}
		for i := range left.attrs {
			n.Exprs = append(n.Exprs, left.column(i))
		}
		n.Exprs = append(n.Exprs, withLeft(exprs, params, left)...)
		out = &rel{attrs: append(append([]attr(nil), left.attrs...), right.attrs...), delay: out.delay}
		n.Out = out.schema(projectedTime(n.Input, n.Exprs))
		out.node = n
		if err := a.mark(n, j.Pos); err != nil {
			return nil, err
		}
	}
	if out.width() != lw+right.width() {
		return nil, fail(j.Pos, "INTERNAL_ERROR", "XX000", "the columns of LATERAL do not fit")
	}
	if j.On == nil {
		return out, nil
	}
	b := &binder{a: a, scope: sc, rel: out, clause: "ON"}
	err = b.filter(j.On)
	return b.rel, err
}

// pulledUp takes projections and filters off a relation: what it reads, the
// columns of the relation over that, and the conditions.
func pulledUp(r *rel) (base Node, exprs, conds []expr.Expr) {
	base = r.node
	for i := range r.attrs {
		exprs = append(exprs, r.column(i))
	}
	for {
		switch n := base.(type) {
		case *Project:
			size := 0
			for _, e := range append(exprs, conds...) {
				columnsOf(e, func(i int) { size += countNodes(n.Exprs[i], maxPushed) })
			}
			if size > maxPushed {
				return base, exprs, conds
			}
			exprs, _ = substitute(exprs, n.Exprs)
			conds, _ = substitute(conds, n.Exprs)
			base = n.Input
		case *Filter:
			conds = append(splitAnd(n.Cond), conds...)
			base = n.Input
		default:
			return base, exprs, conds
		}
	}
}

// withLeft moves expressions of the right side behind the left columns and puts
// those in the place of their placeholders.
func withLeft(es []expr.Expr, params []Param, left *rel) []expr.Expr {
	out := make([]expr.Expr, len(es))
	for i, e := range es {
		out[i] = expr.Rewrite(shifted(e, left.width()), func(x expr.Expr) expr.Expr {
			for _, p := range params {
				if p.Var == x {
					return left.column(p.Column)
				}
			}
			return x
		})
	}
	return out
}

// lateralGenerator plans FROM t, LATERAL explode(t.a) AS u(x): the same as LATERAL VIEW.
// LEFT JOIN without a condition drops rows without elements, as Spark does.
func (a *analyzer) lateralGenerator(left *rel, f *sql.TableFunc, j *sql.Join, sc scope) (*rel, error) {
	table, names := "", []string(nil)
	if f.Alias != nil {
		table, names = f.Alias.Name, f.Alias.Columns
	}
	b := &binder{a: a, scope: sc, rel: left, clause: "LATERAL"}
	out, err := b.explode(f.Call, false, table, names)
	if err != nil || j.On == nil {
		return out, err
	}
	b = &binder{a: a, scope: sc, rel: out, clause: "ON"}
	err = b.filter(j.On)
	return b.rel, err
}
