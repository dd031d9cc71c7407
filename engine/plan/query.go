package plan

import (
	"cmp"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// query plans a query expression.
func (a *analyzer) query(q *sql.Query, sc scope) (*rel, error) {
	for _, c := range q.With {
		for _, d := range q.With {
			if c.Position() != d.Position() && strings.EqualFold(c.Name, d.Name) {
				return nil, fail(d.Pos, "DUPLICATED_CTE_NAMES", "42602", "two common table expressions are named `%s`", d.Name)
			}
		}
		seen := scope{ctes: append([]cte(nil), sc.ctes...), outer: sc.outer, row: sc.row}
		sc.ctes = append(seen.ctes[:len(seen.ctes):len(seen.ctes)], cte{name: c.Name, columns: c.Columns, query: c.Query, scope: seen, recursive: q.Recursive, maxLevel: cmp.Or(c.MaxLevel, DefaultMaxLevel)})
	}
	r, err := a.body(q, sc)
	if err != nil {
		return nil, err
	}
	return a.limit(r, q, sc)
}

func (a *analyzer) body(q *sql.Query, sc scope) (*rel, error) {
	switch body := q.Body.(type) {
	case *sql.Select:
		return a.selectQuery(body, q.OrderBy, sc)
	case *sql.Query:
		r, err := a.query(body, sc)
		return a.sorted(r, err, q.OrderBy, sc)
	case *sql.SetOp:
		r, err := a.setOp(body, sc)
		return a.sorted(r, err, q.OrderBy, sc)
	case *sql.Values:
		r, err := a.values(body, sc)
		return a.sorted(r, err, q.OrderBy, sc)
	case *sql.TableBody:
		r, err := a.table(&sql.Table{Pos: body.Pos, Name: body.Name}, sc)
		return a.sorted(r, err, q.OrderBy, sc)
	}
	return nil, fail(q.Pos, "INTERNAL_ERROR", "XX000", "the analyser does not know the query body %T", q.Body)
}

// sorted puts an ORDER BY over a finished relation.
func (a *analyzer) sorted(r *rel, err error, order []sql.SortItem, sc scope) (*rel, error) {
	if err != nil || len(order) == 0 {
		return r, err
	}
	r = r.visible()
	b := &binder{a: a, scope: sc, rel: r, clause: "ORDER BY"}
	keys, err := b.sortKeys(order, func(i int) expr.Expr { return r.column(i) }, r.width())
	if err != nil {
		return nil, err
	}
	out := &rel{node: &Sort{Input: b.rel.node, Keys: keys}, attrs: b.rel.attrs, delay: r.delay}
	return out, a.mark(out.node, order[0].Pos)
}

// sortKeys binds ORDER BY; a whole number is the position of an output column.
func (b *binder) sortKeys(order []sql.SortItem, output func(int) expr.Expr, width int) ([]SortKey, error) {
	var keys []SortKey
	for _, o := range order {
		key := SortKey{Desc: o.Desc, NullsFirst: o.NullsFirst}
		n, isOrdinal := ordinal(o.Expr)
		switch {
		case isOrdinal && (n < 1 || n > int64(width)):
			return nil, fail(o.Pos, "ORDER_BY_POS_OUT_OF_RANGE", "42805", "ORDER BY %d: the query has %d output columns", n, width)
		case isOrdinal:
			key.Expr = output(int(n - 1))
		case len(findCalls(o.Expr, isAnalytic)) > 0:
			return nil, fail(o.Pos, "UNSUPPORTED_EXPR_FOR_OPERATOR", "42K0E", "ORDER BY cannot compute a function with OVER; put it into the select list and order by its name")
		default:
			x, err := b.bind(o.Expr)
			if err != nil {
				return nil, err
			}
			key.Expr = x
		}
		if key.Expr.Type().Kind == column.Map {
			return nil, fail(o.Pos, "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE", "42K09", "a value of type %s has no order", key.Expr.Type())
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// ordinal reads a whole-number literal that stands for an output column.
func ordinal(e sql.Expr) (int64, bool) {
	l, ok := e.(*sql.Literal)
	if !ok || l.Kind != sql.LitInt {
		return 0, false
	}
	x, err := literal(l)
	if err != nil {
		return 0, false
	}
	d, _ := expr.Constant(x)
	return d.I, true
}

// limit puts LIMIT and OFFSET over a relation.
func (a *analyzer) limit(r *rel, q *sql.Query, sc scope) (*rel, error) {
	if q.Limit == nil && q.Offset == nil {
		return r, nil
	}
	n := &Limit{Input: r.node, N: -1}
	pos := q.Pos
	var err error
	if q.Limit != nil {
		pos = q.Limit.Position()
		if n.N, err = a.rowCount(q.Limit, "LIMIT", sc); err != nil {
			return nil, err
		}
	}
	if q.Offset != nil {
		pos = q.Offset.Position()
		if n.Offset, err = a.rowCount(q.Offset, "OFFSET", sc); err != nil {
			return nil, err
		}
	}
	if n.N >= 0 {
		stopAt(n.Input, n.N+n.Offset)
	}
	return &rel{node: n, attrs: r.attrs, delay: r.delay}, a.mark(n, pos)
}

func (a *analyzer) rowCount(e sql.Expr, clause string, sc scope) (int64, error) {
	b := &binder{a: a, scope: scope{ctes: sc.ctes}, clause: clause}
	x, err := b.bind(e)
	if err != nil {
		return 0, err
	}
	if !isConstant(x) {
		return 0, fail(e.Position(), "INVALID_LIMIT_LIKE_EXPRESSION.IS_UNFOLDABLE", "42K0E", "%s must be a constant whole number", clause)
	}
	if k := x.Type().Kind; k != column.Int && k != column.SmallInt && k != column.TinyInt {
		return 0, fail(e.Position(), "INVALID_LIMIT_LIKE_EXPRESSION.DATA_TYPE", "42K0E", "%s must be a whole number (INT), not %s", clause, x.Type())
	}
	d, err := constant(x)
	if err != nil {
		return 0, at(e.Position(), err)
	}
	if d.Null {
		return 0, fail(e.Position(), "INVALID_LIMIT_LIKE_EXPRESSION.IS_NULL", "42K0E", "%s may not be NULL", clause)
	}
	if d.I < 0 {
		return 0, fail(e.Position(), "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE", "42K0E", "%s may not be negative", clause)
	}
	return d.I, nil
}

// setOp plans UNION, INTERSECT and EXCEPT: columns by position, widened to their common type.
func (a *analyzer) setOp(s *sql.SetOp, sc scope) (*rel, error) {
	left, err := a.body(&sql.Query{Pos: s.Left.Position(), Body: s.Left}, sc)
	if err != nil {
		return nil, err
	}
	right, err := a.body(&sql.Query{Pos: s.Right.Position(), Body: s.Right}, sc)
	if err != nil {
		return nil, err
	}
	left, right = left.visible(), right.visible()
	if left.width() != right.width() {
		return nil, fail(s.Pos, "NUM_COLUMNS_MISMATCH", "42826", "%s needs the same number of columns on both sides: the first has %d, the second %d", s.Kind, left.width(), right.width())
	}
	types := make([]column.Type, left.width())
	for i := range types {
		t, ok := expr.CommonType(left.attrs[i].typ, right.attrs[i].typ)
		if !ok {
			return nil, fail(s.Pos, "INCOMPATIBLE_COLUMN_TYPE", "42825", "%s: column %d is %s on one side and %s on the other; cast one of them", s.Kind, i+1, left.attrs[i].typ, right.attrs[i].typ)
		}
		types[i] = t
	}
	if left, err = widened(left, types); err != nil {
		return nil, at(s.Pos, err)
	}
	if right, err = widened(right, types); err != nil {
		return nil, at(s.Pos, err)
	}
	out := &rel{attrs: append([]attr(nil), left.attrs...), delay: max(left.delay, right.delay)}
	for i := range out.attrs {
		out.attrs[i].table = ""
		out.attrs[i].event = left.attrs[i].event // Spark asks the first branch only
	}
	if s.Kind != sql.Union {
		for i := range out.attrs {
			out.attrs[i].event = left.attrs[i].event
		}
		n := &SetOp{Left: left.node, Right: right.node, Except: s.Kind == sql.Except, All: s.All}
		keys := make([]expr.Expr, out.width())
		for i := range keys {
			keys[i] = expr.GroupingKey(out.column(i))
		}
		out.node = &Project{Input: n, Exprs: keys, Out: out.schema(projectedTime(n, keys))}
		return out, cmp.Or(a.mark(n, s.Pos), a.mark(out.node, s.Pos))
	}
	time := -1
	if t := left.node.Schema().Time; t == right.node.Schema().Time {
		time = t
	}
	out.node = &Union{Branches: []Node{left.node, right.node}, Out: out.schema(time)}
	if err := a.mark(out.node, s.Pos); err != nil || s.All {
		return out, err
	}
	return a.distinct(out, s.Pos)
}

// widened casts the columns of a relation to the given types.
func widened(r *rel, types []column.Type) (*rel, error) {
	same := true
	exprs := make([]expr.Expr, r.width())
	out := &rel{attrs: append([]attr(nil), r.attrs...), delay: r.delay}
	for i := range exprs {
		exprs[i] = r.column(i)
		if r.attrs[i].typ.Equal(types[i]) {
			continue
		}
		same = false
		e, err := expr.ImplicitCast(exprs[i], types[i])
		if err != nil {
			return nil, err
		}
		exprs[i], out.attrs[i].typ, out.attrs[i].event = e, types[i], false
	}
	if same {
		return r, nil
	}
	out.node = &Project{Input: r.node, Exprs: exprs, Out: out.schema(projectedTime(r.node, exprs))}
	return out, nil
}

// distinct groups by every column.
func (a *analyzer) distinct(r *rel, pos sql.Pos) (*rel, error) {
	n := &Aggregate{Input: r.node, Window: -1, EventKey: r.eventColumn(), Distinct: true}
	for i, at := range r.attrs {
		if at.typ.Kind == column.Map {
			return nil, fail(pos, "UNSUPPORTED_FEATURE.SET_OPERATION_ON_MAP_TYPE", "0A000", "column `%s` is a map: maps cannot be compared", at.name)
		}
		n.Keys = append(n.Keys, expr.GroupingKey(r.column(i)))
	}
	out := &rel{node: n, attrs: r.attrs, delay: r.delay}
	n.Out = out.schema(-1)
	return out, a.mark(n, pos)
}
