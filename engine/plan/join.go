package plan

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

var joinKinds = map[sql.JoinKind]JoinKind{
	sql.InnerJoin: Inner, sql.LeftJoin: Left, sql.RightJoin: Right, sql.FullJoin: Full,
	sql.SemiJoin: Semi, sql.AntiJoin: Anti, sql.CrossJoin: Cross,
}

// join plans a join of two relations.
func (a *analyzer) join(j *sql.Join, sc scope) (*rel, error) {
	left, err := a.from(j.Left, sc)
	if err != nil {
		return nil, err
	}
	if isLateral(j.Right) {
		return a.lateral(left, j, sc)
	}
	right, err := a.from(j.Right, sc)
	if err != nil {
		return nil, err
	}
	using := j.Using
	if j.Natural {
		using = commonNames(left, right)
	}
	m := &matcher{a: a, scope: sc, left: left, right: right}
	for _, name := range using {
		if err := m.using(j.Pos, name); err != nil {
			return nil, err
		}
	}
	if err := m.on(j); err != nil {
		return nil, err
	}
	out, err := m.join(joinKinds[j.Kind], j.Pos)
	if err == nil && len(m.after) > 0 {
		b := &binder{a: a, scope: sc, rel: out, clause: "the condition of a join"}
		for _, c := range m.after {
			if err := b.filter(c); err != nil {
				return nil, err
			}
		}
		out = b.rel
	}
	if err != nil || len(using) == 0 {
		return out, err
	}
	return a.mergeUsing(out, using, left.width(), joinKinds[j.Kind], j.Pos)
}

func commonNames(left, right *rel) []string {
	var out []string
	for _, l := range left.attrs {
		for _, r := range right.attrs {
			if !l.hidden && !r.hidden && strings.EqualFold(l.name, r.name) {
				out = append(out, l.name)
			}
		}
	}
	return out
}

// matcher collects the condition of a join, taken apart into equal keys and the rest.
type matcher struct {
	a           *analyzer
	scope       scope
	left, right *rel
	node        Join
	subs        []attached // answers of the sub-queries of the condition
	after       []sql.Expr // conditions for a filter over the join
}

// both is the relation a condition sees: left columns, then right.
func (m *matcher) both() *rel {
	return &rel{attrs: append(append([]attr(nil), m.left.attrs...), m.right.attrs...)}
}

// on takes the condition of a join.
func (m *matcher) on(j *sql.Join) error {
	if j.On == nil {
		return nil
	}
	if isNullLiteral(j.On) {
		return fail(j.On.Position(), "JOIN_CONDITION_IS_NOT_BOOLEAN_TYPE", "42K0E", "the condition of a join must be BOOLEAN, not an untyped NULL")
	}
	var plain []sql.Expr
	for _, c := range conjuncts(j.On) {
		switch {
		case !hasSubquery(c):
			plain = append(plain, c)
			continue
		case j.Kind == sql.InnerJoin || j.Kind == sql.CrossJoin:
			probe := *m
			if err := probe.attach(c); err != nil {
				return err
			}
			m.after = append(m.after, c)
			continue
		}
		if err := m.attach(c); err != nil {
			return err
		}
		plain = append(plain, c)
	}
	for _, c := range plain {
		if err := m.add(c); err != nil {
			return err
		}
	}
	return nil
}

// add takes one conjunct of the condition.
func (m *matcher) add(c sql.Expr) error {
	if b, ok := c.(*sql.Binary); ok && (b.Op == "=" || b.Op == "<=>") {
		l, r, ok := m.sides(b)
		if ok {
			return m.equal(b.Pos, l, r, b.Op == "<=>")
		}
	}
	on := &binder{a: m.a, scope: m.scope, rel: m.both(), clause: "ON", subs: m.answers()}
	x, err := on.bind(c)
	if err != nil {
		return err
	}
	if k := x.Type().Kind; k != column.Boolean && k != column.Void {
		return fail(c.Position(), "JOIN_CONDITION_IS_NOT_BOOLEAN_TYPE", "42K0E", "the condition of a join must be BOOLEAN, not %s", x.Type())
	}
	if x, err = expr.ImplicitCast(x, boolType()); err != nil {
		return at(c.Position(), err)
	}
	return m.rest(c.Position(), x)
}

// rest adds a bound condition over left ++ right.
func (m *matcher) rest(pos sql.Pos, x expr.Expr) error {
	if m.node.Cond == nil {
		m.node.Cond = x
		return nil
	}
	both, err := call(pos, "and", m.node.Cond, x)
	m.node.Cond = both
	return err
}

// sides binds the operands of an equality, each over one side only; ok is false when they mix sides.
func (m *matcher) sides(b *sql.Binary) (l, r expr.Expr, ok bool) {
	if l, ok = m.oneSide(m.left, m.right, b.L); ok {
		if r, ok = m.oneSide(m.right, m.left, b.R); ok {
			return l, r, true
		}
		return nil, nil, false
	}
	if l, ok = m.oneSide(m.left, m.right, b.R); ok {
		if r, ok = m.oneSide(m.right, m.left, b.L); ok {
			return l, r, true
		}
	}
	return nil, nil, false
}

// oneSide binds e over one side if it reads columns of that side only (and at least one).
func (m *matcher) oneSide(side, other *rel, e sql.Expr) (expr.Expr, bool) {
	if hasSubquery(e) {
		return nil, false
	}
	on := &binder{a: m.a, scope: m.scope, rel: side, clause: "ON"}
	x, err := on.bind(e)
	if err != nil || isConstant(x) {
		return nil, false
	}
	// A name that both sides have must stay an error: bind it over both.
	if _, err := (&binder{a: m.a, scope: m.scope, rel: m.both(), clause: "ON"}).bind(e); err != nil {
		return nil, false
	}
	return x, true
}

// equal adds a pair of keys; the comparison's own coercion brings them to one type.
func (m *matcher) equal(pos sql.Pos, l, r expr.Expr, nullSafe bool) error {
	op := "="
	if nullSafe {
		op = "<=>"
	}
	cmp, err := call(pos, op, l, r)
	if err != nil {
		return err
	}
	if ch := cmp.Children(); len(ch) == 2 && ch[0].Type().Equal(ch[1].Type()) {
		l, r = ch[0], ch[1]
	} else if t, ok := expr.CommonType(l.Type(), r.Type()); ok {
		if l, err = expr.ImplicitCast(l, t); err != nil {
			return at(pos, err)
		}
		if r, err = expr.ImplicitCast(r, t); err != nil {
			return at(pos, err)
		}
	}
	m.node.LeftKeys = append(m.node.LeftKeys, l)
	m.node.RightKeys = append(m.node.RightKeys, r)
	m.node.NullSafe = append(m.node.NullSafe, nullSafe)
	return nil
}

// using adds left.name = right.name.
func (m *matcher) using(pos sql.Pos, name string) error {
	id := &sql.Ident{Pos: pos, Parts: []string{name}}
	l, err := (&binder{a: m.a, rel: m.left, clause: "USING"}).bind(id)
	if err != nil {
		return fail(pos, "UNRESOLVED_USING_COLUMN_FOR_JOIN", "42703", "USING: the left side has no column `%s`; did you mean one of %s?", name, quoted(nearest(name, m.left.candidates(), 5)))
	}
	r, err := (&binder{a: m.a, rel: m.right, clause: "USING"}).bind(id)
	if err != nil {
		return fail(pos, "UNRESOLVED_USING_COLUMN_FOR_JOIN", "42703", "USING: the right side has no column `%s`; did you mean one of %s?", name, quoted(nearest(name, m.right.candidates(), 5)))
	}
	return m.equal(pos, l, r, false)
}

// join makes the operator.
func (m *matcher) join(kind JoinKind, pos sql.Pos) (*rel, error) {
	n := &m.node
	n.Left, n.Right, n.Kind = m.left.node, m.right.node, kind
	if kind == Cross && (len(n.LeftKeys) > 0 || n.Cond != nil) {
		n.Kind = Inner
	}
	if kind == Inner && len(n.LeftKeys) == 0 && n.Cond == nil {
		n.Kind = Cross
	}
	n.LeftTime, n.RightTime = m.left.eventColumn(), m.right.eventColumn()
	n.Bound = timeBound(n, m.left.width())
	out := &rel{attrs: append([]attr(nil), m.left.attrs...), delay: max(m.left.delay, m.right.delay)}
	switch n.Kind {
	case Semi, Anti:
	case Mark:
		out.attrs = append(out.attrs, attr{typ: boolType(), hidden: true})
	default:
		out.attrs = append(out.attrs, m.right.attrs...)
	}
	time := m.left.node.Schema().Time
	if n.Kind == Right && m.right.node.Schema().Time >= 0 {
		time = m.right.node.Schema().Time + m.left.width()
	}
	n.Out = out.schema(time)
	n.Out.Time = time
	if ev := out.eventColumn(); ev >= 0 && n.Kind != Right {
		n.Out.Time = ev
	}
	out.node = n
	return out, m.a.mark(n, pos)
}

// mergeUsing puts the USING columns first, once; the originals stay reachable by their table.
func (a *analyzer) mergeUsing(r *rel, using []string, leftWidth int, kind JoinKind, pos sql.Pos) (*rel, error) {
	out := &rel{delay: r.delay}
	var exprs []expr.Expr
	add := func(e expr.Expr, at attr) { exprs, out.attrs = append(exprs, e), append(out.attrs, at) }
	merged := map[int]bool{}
	for _, name := range using {
		l := find(r.attrs[:leftWidth], name)
		merged[l] = true
		at := r.attrs[l]
		x := r.column(l)
		if kind != Semi && kind != Anti {
			rt := find(r.attrs[leftWidth:], name) + leftWidth
			merged[rt] = true
			switch kind {
			case Right:
				x, at = r.column(rt), r.attrs[rt]
			case Full:
				both, err := call(pos, "coalesce", x, r.column(rt))
				if err != nil {
					return nil, err
				}
				x = both
			}
		}
		at.table, at.typ, at.name = "", x.Type(), name
		if kind == Full {
			at.event = false
		}
		add(x, at)
	}
	for i, at := range r.attrs {
		at.hidden = at.hidden || merged[i]
		add(r.column(i), at)
	}
	n := &Project{Input: r.node, Exprs: exprs}
	n.Out = out.schema(projectedTime(r.node, exprs))
	out.node = n
	return out, a.mark(n, pos)
}

func find(attrs []attr, name string) int {
	for i, a := range attrs {
		if !a.hidden && strings.EqualFold(a.name, name) {
			return i
		}
	}
	return 0
}
