package plan

import (
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// attached is the answer of a sub-query in ON: an expression over the side it was joined to.
type attached struct {
	query sql.Expr
	value expr.Expr
	right bool
}

// attach joins the sub-queries of a condition to the side whose columns they use.
func (m *matcher) attach(cond sql.Expr) error {
	var err error
	walk(cond, func(e sql.Expr) bool {
		switch e.(type) {
		case *sql.Exists, *sql.InQuery, *sql.ScalarSubquery:
			if err == nil {
				err = m.attachOne(e)
			}
			return false
		}
		return true
	})
	return err
}

func (m *matcher) attachOne(e sql.Expr) error {
	var first error
	for _, right := range []bool{false, true} {
		side := m.left
		if right {
			side = m.right
		}
		b := &binder{a: m.a, scope: m.scope, rel: side, clause: "ON"}
		var x expr.Expr
		err := m.a.attempt(func() (err error) {
			x, err = b.bind(e)
			return err
		})
		switch {
		case err == nil && right:
			m.right = b.rel
		case err == nil:
			m.left = b.rel
		case !unresolved(err):
			return err
		}
		if err == nil {
			m.subs = append(m.subs, attached{query: e, value: x, right: right})
			return nil
		}
		if first == nil {
			first = err
		}
	}
	b := &binder{a: m.a, scope: m.scope, rel: m.both(), clause: "ON"}
	if _, _, err := b.dependent(queryOf(e)); err != nil {
		return first
	}
	return fail(e.Position(), "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.UNSUPPORTED_CORRELATED_EXPRESSION_IN_JOIN_CONDITION", "0A000",
		"a sub-query in ON may use the columns of one side of the join only; write it in WHERE")
}

func queryOf(e sql.Expr) *sql.Query {
	switch e := e.(type) {
	case *sql.Exists:
		return e.Query
	case *sql.InQuery:
		return e.Query
	case *sql.ScalarSubquery:
		return e.Query
	}
	return nil
}

// answers are the sub-queries of the condition as expressions over left ++ right.
func (m *matcher) answers() map[sql.Expr]expr.Expr {
	if len(m.subs) == 0 {
		return nil
	}
	out := map[sql.Expr]expr.Expr{}
	for _, s := range m.subs {
		out[s.query] = s.value
		if s.right {
			out[s.query] = shifted(s.value, m.left.width())
		}
	}
	return out
}
