package plan

import (
	"errors"
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// subqueryFilter plans EXISTS and IN (query) as a condition of its own: a semi or
// anti join. It reports false for other conditions.
func (b *binder) subqueryFilter(c sql.Expr) (bool, error) {
	not := false
	if u, ok := c.(*sql.Unary); ok && u.Op == "not" {
		c, not = u.X, true
	}
	kind := map[bool]JoinKind{false: Semi, true: Anti}
	switch e := c.(type) {
	case *sql.Exists:
		return true, b.joinSubquery(e.Query, nil, kind[not], e.Pos)
	case *sql.InQuery:
		return true, b.joinSubquery(e.Query, inOperands(e.X), kind[not != e.Not], e.Pos)
	}
	return false, nil
}

func inOperands(x sql.Expr) []sql.Expr {
	if c, ok := x.(*sql.Call); ok && c.Name == "struct" {
		return unalias(c.Args)
	}
	if row, ok := x.(*sql.Row); ok {
		return row.Items
	}
	return []sql.Expr{x}
}

// subqueryValue plans a sub-query used as a value: its result is a column appended to the relation.
func (b *binder) subqueryValue(e sql.Expr) (expr.Expr, error) {
	if b.rel == nil || b.shift > 0 {
		return nil, unsupported(e.Position(), "a sub-query in "+b.place(), "write it in FROM and join it")
	}
	switch e := e.(type) {
	case *sql.Exists:
		err := b.joinSubquery(e.Query, nil, Mark, e.Pos)
		return b.last(), err
	case *sql.InQuery:
		if err := b.joinSubquery(e.Query, inOperands(e.X), Mark, e.Pos); err != nil {
			return nil, err
		}
		// Spark makes an existence join of it, whose answer is never NULL: a
		// comparison that is unknown counts as no match for IN and as a match for NOT IN.
		unknown := e.Not && b.clause != "ON" // where Spark forgets it
		known, err := call(e.Pos, "coalesce", b.last(), expr.NewLiteral(boolType(), column.Bool(unknown)))
		return negate(e.Pos, known, err, e.Not)
	case *sql.ScalarSubquery:
		return b.scalarSubquery(e)
	}
	return nil, unsupported(e.Position(), "this sub-query", "write it in FROM and join it")
}

func (b *binder) last() expr.Expr {
	if b.rel == nil || b.rel.width() == 0 {
		return nil
	}
	return b.rel.column(b.rel.width() - 1)
}

// inner is a sub-query taken apart: what it reads, and the conditions that use the enclosing row.
type inner struct {
	rel        *rel
	sel        *sql.Select // nil when it was planned as a whole
	correlated []sql.Expr
	params     []Param // planned as a whole, and computed anew for each row around it
}

// takeApart plans a sub-query. One that uses the row around it becomes a join by
// its conditions where simple says that its SELECT can be one, and is else planned to be
// computed for each row.
func (b *binder) takeApart(q *sql.Query, simple func(*sql.Select) bool) (*inner, error) {
	var in *inner
	err := b.a.attempt(func() error {
		if b.hasCalls(q) {
			return unresolvedColumn(q.Pos, "", nil)
		}
		whole, err := b.a.query(q, scope{ctes: b.scope.ctes})
		if err == nil {
			in = &inner{rel: whole.visible()}
		}
		return err
	})
	if err == nil || !unresolved(err) {
		return in, err
	}
	sel, ok := q.Body.(*sql.Select)
	if ok && q.Limit == nil && q.Offset == nil && len(q.With) == 0 && sel.Having == nil && sel.Qualify == nil && simple(sel) {
		err = b.a.attempt(func() (err error) {
			in, err = b.byConditions(sel)
			return err
		})
		if err == nil || !unresolved(err) {
			return in, err
		}
	}
	r, params, err := b.dependent(q)
	return &inner{rel: r, params: params}, err
}

// hasCalls reports whether the WHERE of a sub-query holds aggregates of this query.
func (b *binder) hasCalls(q *sql.Query) bool {
	sel, ok := q.Body.(*sql.Select)
	return ok && slices.ContainsFunc(findCalls(sel.Where, isAggregate), func(c *sql.Call) bool { return b.calls[c] != nil })
}

// outerCall is an aggregate of the query around, inside a sub-query.
func (b *binder) outerCall(c *sql.Call) (expr.Expr, bool, error) {
	if out := b.scope.outer; out != nil && out.calls[c] != nil {
		if b.shift == 0 {
			return nil, true, unresolvedColumn(c.Pos, c.Name, b.candidates())
		}
		return out.calls[c], true, nil
	}
	if row := b.scope.row; row != nil && row.around.calls[c] != nil {
		if i, plain := columnOrdinal(row.around.calls[c]); plain {
			return row.param(i), true, nil
		}
	}
	return nil, false, nil
}

// attempt plans something whose errors are not final.
func (a *analyzer) attempt(f func() error) error {
	collect := a.collect
	a.collect = false
	defer func() { a.collect = collect }()
	return f()
}

// byConditions separates the conditions of a sub-query that use the enclosing row.
func (b *binder) byConditions(sel *sql.Select) (*inner, error) {
	from, err := b.a.from(sel.From, scope{ctes: b.scope.ctes})
	if err != nil {
		return nil, err
	}
	in := &inner{sel: sel}
	own := &binder{a: b.a, scope: scope{ctes: b.scope.ctes, outer: b}, rel: from, clause: "WHERE", calls: map[*sql.Call]expr.Expr{}}
	for _, c := range conjuncts(sel.Where) {
		probe := *own
		if !hasSubquery(c) {
			if _, err := probe.bind(c); err != nil && unresolved(err) {
				in.correlated = append(in.correlated, c)
				continue
			}
		}
		if err := own.filter(c); err != nil {
			return nil, err
		}
	}
	in.rel = own.rel
	return in, nil
}

// unresolved reports whether an error says that a column is not known.
func unresolved(err error) bool {
	var e *expr.Error
	return errors.As(err, &e) && (e.Condition == "UNRESOLVED_COLUMN.WITH_SUGGESTION" || e.Condition == "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION")
}

// matcher prepares the join of the enclosing relation with a sub-query.
func (b *binder) matcher(in *inner) (*matcher, error) {
	m := &matcher{a: b.a, scope: b.scope, left: b.rel, right: in.rel}
	m.node.Params = in.params
	for _, c := range in.correlated {
		if eq, ok := c.(*sql.Binary); ok && (eq.Op == "=" || eq.Op == "<=>") {
			l, r, ok := b.correlatedSides(in, eq)
			if ok {
				if err := m.equal(eq.Pos, l, r, eq.Op == "<=>"); err != nil {
					return nil, err
				}
				continue
			}
		}
		both := &binder{a: b.a, scope: scope{ctes: b.scope.ctes, outer: b}, rel: in.rel, shift: b.rel.width(), clause: "WHERE"}
		x, err := both.condition(c)
		if err != nil {
			return nil, err
		}
		if err := m.rest(c.Position(), x); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// correlatedSides splits an equality into an expression of the enclosing row and one of the sub-query.
func (b *binder) correlatedSides(in *inner, eq *sql.Binary) (l, r expr.Expr, ok bool) {
	for _, pair := range [][2]sql.Expr{{eq.L, eq.R}, {eq.R, eq.L}} {
		own := &binder{a: b.a, scope: scope{ctes: b.scope.ctes}, rel: in.rel}
		r, err := own.bind(pair[1])
		if err != nil || isConstant(r) {
			continue
		}
		if _, err := own.bind(pair[0]); err == nil {
			continue // the sub-query's own columns come first
		}
		probe := *b
		if l, err := probe.bind(pair[0]); err == nil {
			return l, r, true
		}
	}
	return nil, nil, false
}

// joinSubquery joins the sub-query of EXISTS (no operands) or IN.
func (b *binder) joinSubquery(q *sql.Query, operands []sql.Expr, kind JoinKind, pos sql.Pos) error {
	left, err := b.bindAll(operands)
	if err != nil {
		return err
	}
	in, err := b.takeApart(q, func(sel *sql.Select) bool { return sel.GroupBy == nil && !aggregated(sel) && !computedBelow(sel) })
	if err != nil {
		return err
	}
	if err := b.checkItems(in); err != nil {
		return err
	}
	if isStreaming(in.rel.node) {
		return fail(pos, "INVALID_SUBQUERY_EXPRESSION.STREAMING_QUERY", "42823", "EXISTS and IN cannot ask a stream: its answer would change; write FROM STREAM a LEFT SEMI JOIN STREAM b ON a.key = b.key AND b.time BETWEEN a.time AND a.time + INTERVAL 5 MINUTES")
	}
	m, err := b.matcher(in)
	if err != nil {
		return err
	}
	right, err := b.inColumns(in, len(left), pos)
	if err != nil {
		return err
	}
	for i := range left {
		if err := m.equal(pos, left[i], right[i], false); err != nil {
			return err
		}
	}
	m.node.NullAware = len(left) > 0 && kind != Semi
	m.node.InKeys = len(left)
	b.rel, err = m.join(kind, pos)
	return err
}

// checkItems binds the select list of a sub-query, which EXISTS does not read, for its errors.
func (b *binder) checkItems(in *inner) error {
	if in.sel == nil {
		return nil
	}
	over := &binder{a: b.a, scope: scope{ctes: b.scope.ctes, outer: b}, rel: in.rel, shift: b.rel.width(), clause: "the select list"}
	for _, it := range in.sel.Items {
		if _, star := it.Expr.(*sql.Star); star || hasSubquery(it.Expr) {
			continue
		}
		if _, err := over.bind(it.Expr); err != nil {
			return err
		}
	}
	return nil
}

// aggregated reports whether a select list has aggregates.
func aggregated(sel *sql.Select) bool {
	for _, it := range sel.Items {
		if len(findCalls(it.Expr, isAggregate)) > 0 {
			return true
		}
	}
	return false
}

// computedBelow reports whether a select list has what an operator of its own computes.
func computedBelow(sel *sql.Select) bool {
	for _, it := range sel.Items {
		if len(findCalls(it.Expr, func(c *sql.Call) bool { return isAnalytic(c) || isGenerator(c) || isTimeWindow(c) })) > 0 {
			return true
		}
	}
	return false
}

// inColumns are the columns that IN compares with.
func (b *binder) inColumns(in *inner, n int, pos sql.Pos) ([]expr.Expr, error) {
	if n == 0 {
		return nil, nil
	}
	var out []expr.Expr
	if in.sel == nil {
		for i := range in.rel.attrs {
			out = append(out, in.rel.column(i))
		}
	} else {
		s := &selection{a: b.a, sel: in.sel, b: &binder{a: b.a, rel: in.rel}}
		if err := s.expandStars(); err != nil {
			return nil, err
		}
		for _, it := range s.items {
			x, err := s.b.bind(it.Expr)
			if err != nil {
				return nil, err
			}
			out = append(out, x)
		}
	}
	if len(out) != n {
		return nil, fail(pos, "DATATYPE_MISMATCH.IN_SUBQUERY_LENGTH_MISMATCH", "42K09", "IN compares %d values with the %d columns of the sub-query", n, len(out))
	}
	return out, nil
}

// scalarSubquery joins a sub-query that gives one value.
func (b *binder) scalarSubquery(e *sql.ScalarSubquery) (expr.Expr, error) {
	in, err := b.takeApart(e.Query, func(sel *sql.Select) bool { return sel.GroupBy == nil && !sel.Distinct && !computedBelow(sel) })
	if err != nil {
		return nil, err
	}
	if (b.clause == "ON" || b.clause == "ORDER BY") && (in.sel != nil || len(in.params) > 0) {
		return nil, fail(e.Pos, "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.UNSUPPORTED_CORRELATED_SCALAR_SUBQUERY", "0A000",
			"a sub-query in %s that is a value may not use columns of the query around it; compute it in the select list of a sub-query in FROM", b.clause)
	}
	if b.group != nil && b.clause == "the select list" && (in.sel != nil || len(in.params) > 0) {
		return nil, fail(e.Pos, "SCALAR_SUBQUERY_IS_IN_GROUP_BY_OR_AGGREGATE_FUNCTION", "0A000",
			"a sub-query that uses columns of the query around it stands beside aggregates: group by it, or put it inside an aggregate")
	}
	if in.sel != nil {
		return b.correlatedScalar(e, in)
	}
	return b.wholeScalar(e.Pos, in)
}

// wholeScalar joins the one row of a sub-query that was planned as a whole.
func (b *binder) wholeScalar(pos sql.Pos, in *inner) (expr.Expr, error) {
	if err := oneColumn(pos, in.rel.width()); err != nil {
		return nil, err
	}
	m := &matcher{a: b.a, left: b.rel, right: &rel{node: in.rel.node, attrs: hidden(in.rel.attrs)}}
	kind := LeftSingle
	if m.node.Params = in.params; len(in.params) == 0 {
		kind = Cross
		m.right.node = &Single{Input: in.rel.node}
		if err := b.a.mark(m.right.node, pos); err != nil {
			return nil, err
		}
	}
	var err error
	if b.rel, err = m.join(kind, pos); err != nil {
		return nil, err
	}
	return b.last(), nil
}

func oneColumn(pos sql.Pos, n int) error {
	if n == 1 {
		return nil
	}
	return fail(pos, "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN", "42823", "a sub-query used as a value must have one column, not %d", n)
}

// hidden makes columns reachable by their place only.
func hidden(attrs []attr) []attr {
	out := append([]attr(nil), attrs...)
	for i := range out {
		out[i].hidden, out[i].table = true, ""
	}
	return out
}

// correlatedScalar plans a value computed per row of the enclosing query.
func (b *binder) correlatedScalar(e *sql.ScalarSubquery, in *inner) (expr.Expr, error) {
	if err := oneColumn(e.Pos, len(in.sel.Items)); err != nil {
		return nil, err
	}
	if aggregated(in.sel) {
		return b.correlatedAggregate(e, in)
	}
	m, err := b.matcher(in)
	if err != nil {
		return nil, err
	}
	width := b.rel.width()
	m.right = &rel{node: in.rel.node, attrs: hidden(in.rel.attrs)}
	if b.rel, err = m.join(LeftSingle, e.Pos); err != nil {
		return nil, err
	}
	over := &binder{a: b.a, scope: scope{ctes: b.scope.ctes, outer: b}, rel: in.rel, shift: width, clause: "the select list"}
	return over.bind(in.sel.Items[0].Expr)
}

// correlatedAggregate groups the sub-query by what it is compared with and joins
// the groups; a row without a group gets what the aggregates give over no rows.
func (b *binder) correlatedAggregate(e *sql.ScalarSubquery, in *inner) (expr.Expr, error) {
	m, err := b.matcher(in)
	if err != nil {
		return nil, err
	}
	if m.node.Cond != nil || len(m.node.RightKeys) == 0 {
		r, params, err := b.dependent(e.Query) // only groups of equal rows can be made before the join
		if err != nil {
			return nil, err
		}
		return b.wholeScalar(e.Pos, &inner{rel: r, params: params})
	}
	own := &binder{a: b.a, scope: scope{ctes: b.scope.ctes}, rel: in.rel, clause: "the select list"}
	n := &Aggregate{Input: in.rel.node, Keys: m.node.RightKeys, Window: -1, EventKey: -1}
	out := &rel{}
	for _, k := range n.Keys {
		out.attrs = append(out.attrs, attr{typ: k.Type(), hidden: true})
	}
	full, empty := map[*sql.Call]expr.Expr{}, map[*sql.Call]expr.Expr{}
	for _, c := range findCalls(in.sel.Items[0].Expr, isAggregate) {
		call, err := own.aggregateCall(c)
		if err != nil {
			return nil, err
		}
		at := addCall(n, call)
		if len(n.Keys)+at == len(out.attrs) {
			out.attrs = append(out.attrs, attr{typ: call.Func.Result(), hidden: true})
		}
		full[c] = expr.NewColumn(b.rel.width()+len(n.Keys)+at, call.Name, call.Func.Result())
		if empty[c], err = emptyValue(call); err != nil {
			return nil, err
		}
	}
	n.Out = out.schema(-1)
	out.node = n
	m.node.RightKeys = nil
	for i := range n.Keys {
		m.node.RightKeys = append(m.node.RightKeys, out.column(i))
	}
	m.right = marked(out)
	there := b.rel.width() + out.width()
	if err := b.a.mark(n, e.Pos); err != nil {
		return nil, err
	}
	if b.rel, err = m.join(Left, e.Pos); err != nil {
		return nil, err
	}
	some, err := (&binder{a: b.a, rel: &rel{}, calls: full}).bind(in.sel.Items[0].Expr)
	if err != nil && unresolved(err) {
		if _, outer := (&binder{a: b.a, rel: b.rel, calls: full}).bind(in.sel.Items[0].Expr); outer == nil {
			err = fail(e.Pos, "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.CORRELATED_REFERENCE", "0A000",
				"columns of the query around a sub-query may not stand beside its aggregates; compute with them outside of it")
		}
	}
	if err != nil {
		return nil, err
	}
	none, err := (&binder{a: b.a, rel: &rel{}, calls: empty}).bind(in.sel.Items[0].Expr)
	if err != nil {
		return nil, err
	}
	missing, err := call(e.Pos, "isnull", b.rel.column(there))
	if err != nil {
		return nil, err
	}
	return call(e.Pos, "if", missing, none, some)
}

// marked appends a column that is NULL only where a join finds no row.
func marked(r *rel) *rel {
	out := &rel{attrs: append(append([]attr(nil), r.attrs...), attr{typ: boolType(), hidden: true}), delay: r.delay}
	n := &Project{Input: r.node}
	for i := range r.attrs {
		n.Exprs = append(n.Exprs, r.column(i))
	}
	n.Exprs = append(n.Exprs, expr.NewLiteral(boolType(), column.Bool(true)))
	n.Out = out.schema(r.node.Schema().Time)
	out.node = n
	return out
}

// emptyValue is the value of an aggregate over no rows.
func emptyValue(c AggCall) (expr.Expr, error) {
	acc := c.Func.New()
	acc.Grow(1)
	out := column.New(c.Func.Result(), 1)
	if err := acc.Value(0, out); err != nil {
		return nil, err
	}
	return expr.NewLiteral(c.Func.Result(), out.Datum(0)), nil
}
