package plan

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// DefaultMaxLevel bounds the steps of WITH RECURSIVE, as in Spark; MAX RECURSION LEVEL says otherwise.
const DefaultMaxLevel = 100

// selfReference is what a recursive common table expression is inside itself.
type selfReference struct {
	rows *StepRows // nil in the anchor, where the name may not stand
	used int
}

// recursive plans a common table expression that may refer to itself.
func (a *analyzer) recursive(c cte, t *sql.Table) (*rel, error) {
	union, ok := c.query.Body.(*sql.SetOp)
	plain := c.query.OrderBy == nil && c.query.Limit == nil && c.query.Offset == nil && len(c.query.With) == 0
	self := &selfReference{}
	inside := c.scope
	inside.ctes = append(inside.ctes[:len(inside.ctes):len(inside.ctes)], cte{name: c.name, self: self})
	if !ok || union.Kind != sql.Union || !plain {
		r, err := a.query(c.query, inside)
		if self.used > 0 {
			return nil, fail(c.query.Pos, "INVALID_RECURSIVE_CTE", "42836", "a recursive query must be SELECT … UNION ALL SELECT …, where the second SELECT reads `%s`", c.name)
		}
		return r, err
	}
	anchor, err := a.body(&sql.Query{Pos: union.Left.Position(), Body: union.Left}, inside)
	if self.used > 0 {
		return nil, fail(c.query.Pos, "INVALID_RECURSIVE_CTE", "42836", "the first part of a recursive query may not read `%s`", c.name)
	}
	if err != nil {
		return nil, err
	}
	if anchor, err = anchor.visible().renamed(&sql.TableAlias{Pos: t.Pos, Name: c.name, Columns: c.columns}); err != nil {
		return nil, err
	}
	self.rows = &StepRows{Out: &column.Schema{Fields: anchor.fields(), Time: -1}}
	step, err := a.body(&sql.Query{Pos: union.Right.Position(), Body: union.Right}, inside)
	if err != nil {
		return nil, err
	}
	if self.used == 0 {
		return a.query(c.query, c.scope)
	}
	return a.recursion(c, union, anchor, step.visible(), self.rows)
}

// recursion makes the operator.
func (a *analyzer) recursion(c cte, union *sql.SetOp, anchor, step *rel, before *StepRows) (*rel, error) {
	switch {
	case !union.All:
		return nil, fail(union.Pos, "UNION_NOT_SUPPORTED_IN_RECURSIVE_CTE", "42836", "a recursive query needs UNION ALL; equal rows can be dropped outside of it")
	case !stepOnly(step.node, before):
		return nil, fail(union.Pos, "INVALID_RECURSIVE_REFERENCE.PLACE", "42836",
			"in its own query `%s` may not stand below an aggregate, LIMIT, INTERSECT or EXCEPT, on the side of an outer join that may be empty, or in a sub-query", c.name)
	case step.width() != anchor.width():
		return nil, fail(union.Pos, "NUM_COLUMNS_MISMATCH", "42826", "UNION needs the same number of columns on both sides: the first has %d, the second %d", anchor.width(), step.width())
	}
	types := make([]column.Type, anchor.width())
	for i, at := range anchor.attrs {
		types[i] = at.typ
		if t, ok := expr.CommonType(at.typ, step.attrs[i].typ); !ok || !t.Equal(at.typ) {
			err := fail(union.Pos, "CANNOT_MERGE_INCOMPATIBLE_DATA_TYPE", "42825", "column %d is %s in the first part and %s in the second; cast one of them", i+1, at.typ, step.attrs[i].typ)
			err.(*expr.Error).Phase = expr.Runtime // Spark finds it while it plans the run
			return nil, err
		}
	}
	step, err := widened(step, types)
	if err != nil {
		return nil, at(union.Pos, err)
	}
	n := &Recursive{Anchor: anchor.node, Step: step.node, Before: before, MaxLevel: c.maxLevel, Out: &column.Schema{Fields: anchor.fields(), Time: -1}}
	out := &rel{node: n, attrs: anchor.attrs}
	return out, a.mark(n, union.Pos)
}

// stepOnly reports whether the rows of the step before only stand where each row
// is handled for itself.
func stepOnly(n Node, rows *StepRows) bool {
	if !holds(n, rows) || n == Node(rows) {
		return true
	}
	switch n := n.(type) {
	case *Aggregate:
		if !n.Distinct {
			return false
		}
	case *Limit, *SetOp, *Analytic, *Single, *Sort, *Dedup:
		return false
	case *Join:
		right := holds(n.Right, rows)
		switch {
		case right && n.Kind != Inner && n.Kind != Cross && n.Kind != Right,
			!right && (n.Kind == Right || n.Kind == Full):
			return false
		}
	}
	for _, in := range n.Inputs() {
		if !stepOnly(in, rows) {
			return false
		}
	}
	return true
}

func holds(n Node, leaf *StepRows) bool {
	found := false
	each(n, func(n Node) { found = found || n == Node(leaf) })
	return found
}

// stopAt tells a recursion how many rows a LIMIT over it needs.
func stopAt(n Node, rows int64) {
	for {
		switch x := n.(type) {
		case *Project:
			n = x.Input
			continue
		case *Recursive:
			x.Enough = rows
		}
		return
	}
}
