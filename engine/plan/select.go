package plan

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// item is one output column of a SELECT.
type item struct {
	name  string
	expr  expr.Expr
	event bool
}

// selection is one SELECT while it is planned.
type selection struct {
	a     *analyzer
	sel   *sql.Select
	order []sql.SortItem
	scope scope
	b     *binder // over the relation as it grows: FROM, WHERE, windows, aggregates, analytics
	items []sql.SelectItem
	// grouped are the grouping expressions that hold sub-queries, with their bound text.
	grouped map[sql.Expr]string
}

// selectQuery plans SELECT … with the ORDER BY of the query around it.
func (a *analyzer) selectQuery(sel *sql.Select, order []sql.SortItem, sc scope) (*rel, error) {
	from, err := a.from(sel.From, sc)
	if err != nil {
		return nil, err
	}
	return a.selectOver(from, sel, order, sc)
}

// selectOver plans a SELECT over a relation that was planned already.
func (a *analyzer) selectOver(from *rel, sel *sql.Select, order []sql.SortItem, sc scope) (*rel, error) {
	s := &selection{a: a, sel: sel, order: order, scope: sc}
	s.b = &binder{a: a, scope: sc, rel: from, calls: map[*sql.Call]expr.Expr{}}
	steps := []func() error{s.expandStars, s.keyedState, s.where, s.windows, s.aggregate, s.having, s.generators, s.analytics, s.qualify}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s.finish()
}

// expressions lists everything the SELECT computes after WHERE.
func (s *selection) expressions() []sql.Expr {
	var out []sql.Expr
	for _, it := range s.items {
		out = append(out, it.Expr)
	}
	return append(append(out, s.afterwards()...), s.sortExprs()...)
}

func (s *selection) afterwards() []sql.Expr {
	var out []sql.Expr
	if s.sel.Having != nil {
		out = append(out, s.sel.Having)
	}
	if s.sel.Qualify != nil {
		out = append(out, s.sel.Qualify)
	}
	for _, w := range s.sel.Windows {
		out = append(out, w.Spec.Partition...)
		for _, o := range w.Spec.Order {
			out = append(out, o.Expr)
		}
	}
	return out
}

func (s *selection) sortExprs() []sql.Expr {
	var out []sql.Expr
	for _, o := range s.order {
		out = append(out, o.Expr)
	}
	return out
}

// expandStars replaces * and t.* by columns.
func (s *selection) expandStars() error {
	for _, it := range s.sel.Items {
		star, ok := it.Expr.(*sql.Star)
		if !ok {
			s.items = append(s.items, it)
			continue
		}
		cols, err := s.star(star)
		if err != nil {
			return err
		}
		s.items = append(s.items, cols...)
	}
	if len(s.items) == 0 {
		return fail(s.sel.Pos, "UNRESOLVED_STAR", "42703", "the select list is empty")
	}
	return nil
}

func (s *selection) star(star *sql.Star) ([]sql.SelectItem, error) {
	r, q := s.b.rel, strings.Join(star.Qualifier, ".")
	for _, name := range star.Except {
		if _, err := s.b.bind(&sql.Ident{Pos: star.Pos, Parts: name}); err != nil {
			return nil, err
		}
	}
	var out []sql.SelectItem
	for i, at := range r.attrs {
		if q == "" && at.hidden || q != "" && !(at.table != "" && sameTable(at.table, q)) || excepted(star, at) {
			continue
		}
		out = append(out, sql.SelectItem{Pos: star.Pos, Expr: &ordinalRef{Ident: &sql.Ident{Pos: star.Pos, Parts: []string{at.name}}, at: i}, Alias: at.name})
	}
	if len(out) > 0 {
		return out, nil
	}
	if q == "" {
		return nil, fail(star.Pos, "INVALID_USAGE_OF_STAR_OR_REGEX", "42000", "`*` needs a FROM clause")
	}
	// t.* of a struct column is its fields.
	x, err := s.b.bind(&sql.Ident{Pos: star.Pos, Parts: star.Qualifier})
	if err != nil || x.Type().Kind != column.Struct {
		return nil, fail(star.Pos, "CANNOT_RESOLVE_STAR_EXPAND", "42704", "there is no table or struct `%s` for `%s.*`; did you mean one of %s?", q, q, quoted(nearest(q, r.candidates(), 5)))
	}
	for _, f := range x.Type().Fields {
		out = append(out, sql.SelectItem{Pos: star.Pos, Expr: &sql.Ident{Pos: star.Pos, Parts: append(append([]string(nil), star.Qualifier...), f.Name)}, Alias: f.Name})
	}
	return out, nil
}

func excepted(star *sql.Star, a attr) bool {
	for _, e := range star.Except {
		if strings.EqualFold(e[len(e)-1], a.name) {
			return true
		}
	}
	return false
}

// where filters the input.
func (s *selection) where() error {
	if s.sel.Where == nil {
		return nil
	}
	if len(findCalls(s.sel.Where, isTimeWindow)) > 0 {
		if err := s.b.assignWindows(append(s.groupExprs(), append(s.expressions(), s.sel.Where)...)); err != nil {
			return err
		}
	}
	s.b.clause = "WHERE"
	defer func() { s.b.clause = "" }()
	return s.b.filter(s.sel.Where)
}

// filter puts a condition over the binder's relation.
func (b *binder) filter(cond sql.Expr) error {
	var plain expr.Expr
	all := conjuncts(cond)
	for _, c := range all {
		done, err := b.subqueryFilter(c)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		bind := b.condition
		if len(all) > 1 {
			bind = b.operand
		}
		x, err := bind(c)
		if err != nil && b.a.tolerate(err) {
			continue
		}
		if err != nil {
			return err
		}
		if plain == nil {
			plain = x
			continue
		}
		if plain, err = call(c.Position(), "and", plain, x); err != nil {
			return err
		}
	}
	if plain == nil {
		return nil
	}
	n := &Filter{Input: b.rel.node, Cond: plain}
	b.rel = &rel{node: n, attrs: b.rel.attrs, delay: b.rel.delay}
	return b.a.mark(n, cond.Position())
}

// condition binds something that must be BOOLEAN: an untyped NULL is not.
func (b *binder) condition(e sql.Expr) (expr.Expr, error) {
	x, err := b.operand(e)
	if err == nil && isNullLiteral(e) {
		return nil, fail(e.Position(), "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN", "42K09", "%s needs a condition, but this is an untyped NULL; write CAST(NULL AS BOOLEAN)", b.place())
	}
	return x, err
}

func isNullLiteral(e sql.Expr) bool {
	l, ok := e.(*sql.Literal)
	return ok && l.Kind == sql.LitNull
}

// operand binds a part of a condition, which an untyped NULL may be.
func (b *binder) operand(e sql.Expr) (expr.Expr, error) {
	x, err := b.bind(e)
	if err != nil {
		return nil, err
	}
	if k := x.Type().Kind; k != column.Boolean && k != column.Void {
		return nil, fail(e.Position(), "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN", "42K09", "%s needs a condition, but this is %s; compare it with something", b.place(), x.Type())
	}
	x, err = expr.ImplicitCast(x, boolType())
	return x, at(e.Position(), err)
}

// windows assigns rows to the time windows of GROUP BY and the select list.
func (s *selection) windows() error {
	var rest []sql.Expr
	for _, e := range append(s.groupExprs(), s.expressions()...) {
		for _, c := range findCalls(e, isTimeWindow) {
			if _, done := s.b.calls[c]; !done {
				rest = append(rest, c)
			}
		}
	}
	return s.b.assignWindows(rest)
}

func (s *selection) groupExprs() []sql.Expr {
	g := s.sel.GroupBy
	if g == nil {
		return nil
	}
	return append(append([]sql.Expr(nil), g.Exprs...), setExprs(g.Sets)...)
}

func setExprs(sets []*sql.Groups) []sql.Expr {
	var out []sql.Expr
	for _, g := range sets {
		for _, set := range g.Sets {
			out = append(out, set...)
		}
		out = append(out, setExprs(g.Nested)...)
	}
	return out
}

// having filters groups; names of the select list are known here.
func (s *selection) having() error {
	if s.sel.Having == nil {
		return nil
	}
	s.b.clause, s.b.names, s.b.namesFirst = "HAVING", s.quietNames(), true
	defer func() { s.b.clause, s.b.names, s.b.namesFirst = "", nil, false }()
	return s.b.filter(s.sel.Having)
}

// quietNames binds the named items that can be bound already.
func (s *selection) quietNames() []named {
	var out []named
	for _, it := range s.items {
		if it.Alias == "" || hasSubquery(it.Expr) || len(findCalls(it.Expr, isAnalytic)) > 0 {
			continue
		}
		if _, star := it.Expr.(*ordinalRef); star {
			continue
		}
		probe := *s.b
		probe.names, probe.namesFirst = out, false
		if x, err := probe.bind(it.Expr); err == nil && !largerThan(x, MaxExpression) {
			out = append(out, named{it.Alias, x})
		}
	}
	return out
}

// generators puts the explode(…) of the select list over the relation.
func (s *selection) generators() error {
	var items []sql.SelectItem
	for _, it := range s.items {
		c, ok := it.Expr.(*sql.Call)
		if !ok || !isGenerator(c) {
			items = append(items, it)
			continue
		}
		names := it.Aliases
		if it.Alias != "" {
			names = []string{it.Alias}
		}
		before := s.b.rel.width()
		grown, err := s.b.explode(c, false, "", names)
		if err != nil {
			return err
		}
		s.b.rel = grown
		for i := before; i < grown.width(); i++ {
			name := grown.attrs[i].name
			items = append(items, sql.SelectItem{Pos: it.Pos, Expr: &ordinalRef{Ident: &sql.Ident{Pos: it.Pos, Parts: []string{name}}, at: i, late: true}, Alias: name})
			grown.attrs[i].hidden = true
		}
	}
	s.items = items
	return nil
}

func (s *selection) qualify() error {
	if s.sel.Qualify == nil {
		return nil
	}
	s.b.clause, s.b.names, s.b.namesFirst = "QUALIFY", s.allNames(), true
	defer func() { s.b.clause, s.b.names, s.b.namesFirst = "", nil, false }()
	return s.b.filter(s.sel.Qualify)
}

func (s *selection) allNames() []named {
	var out []named
	for _, it := range s.items {
		probe := *s.b
		probe.names, probe.namesFirst = out, false
		if it.Alias == "" || hasSubquery(it.Expr) {
			continue
		}
		if x, err := probe.bind(it.Expr); err == nil && !largerThan(x, MaxExpression) {
			out = append(out, named{it.Alias, x})
		}
	}
	return out
}

// bindItems binds the select list; an item may use the names of those before it.
func (s *selection) bindItems() ([]item, error) {
	s.b.clause, s.b.names = "the select list", nil
	defer func() { s.b.clause, s.b.names = "", nil }()
	var out []item
	for _, it := range s.items {
		x, err := s.b.bind(it.Expr)
		if err != nil && s.a.tolerate(err) {
			x, err = expr.NewLiteral(column.Type{}, column.NullDatum), nil
		}
		if err == nil && largerThan(x, MaxExpression) {
			err = fail(it.Pos, "QUERY_TOO_LARGE", "54000", "the expression has more than %d parts once the names in it are replaced by what they stand for", MaxExpression)
		}
		if err != nil {
			return nil, err
		}
		name := it.Alias
		if name == "" {
			name = outputName(it.Expr)
		}
		out = append(out, item{name, x, s.b.eventOf(it.Expr, x)})
		if it.Alias != "" {
			s.b.names = append(s.b.names, named{it.Alias, x})
		}
	}
	return out, nil
}

// eventOf reports whether an output column carries watermarked event time.
func (b *binder) eventOf(e sql.Expr, x expr.Expr) bool {
	if b.carriesEvent(x) {
		return true
	}
	c, ok := e.(*sql.Call)
	if !ok || c.Name != "window_time" || len(c.Args) != 1 {
		return false
	}
	w, err := b.bind(c.Args[0])
	return err == nil && b.carriesEvent(w)
}

// finish sorts, projects and drops duplicates.
func (s *selection) finish() (*rel, error) {
	items, err := s.bindItems()
	if err != nil {
		return nil, err
	}
	if !s.sel.Distinct {
		if err := s.sortBelow(items); err != nil {
			return nil, err
		}
	}
	out := &rel{delay: s.b.rel.delay}
	exprs := make([]expr.Expr, len(items))
	for i, it := range items {
		exprs[i] = it.expr
		a := attr{name: it.name, typ: it.expr.Type(), event: it.event}
		if o, ok := columnOrdinal(it.expr); ok && strings.EqualFold(it.name, s.b.rel.attrs[o].name) {
			a.table = s.b.rel.attrs[o].table // ORDER BY t.a over DISTINCT
		}
		out.attrs = append(out.attrs, a)
	}
	n := &Project{Input: s.b.rel.node, Exprs: exprs, Out: out.schema(projectedTime(s.b.rel.node, exprs))}
	out.node = n
	if err := s.a.mark(n, s.sel.Pos); err != nil {
		return nil, err
	}
	if s.sel.Distinct {
		if out, err = s.a.distinct(out, s.sel.Pos); err != nil {
			return nil, err
		}
		out, err = s.sortAbove(out, items)
	}
	return out, err
}

// sortBelow sorts before the projection, where both names and inputs are known.
func (s *selection) sortBelow(items []item) error {
	if len(s.order) == 0 {
		return nil
	}
	s.b.clause, s.b.names, s.b.namesFirst = "ORDER BY", itemNames(items), true
	defer func() { s.b.clause, s.b.names, s.b.namesFirst = "", nil, false }()
	keys, err := s.b.sortKeys(s.orderItems(items), func(i int) expr.Expr { return items[i].expr }, len(items))
	if err != nil {
		return err
	}
	n := &Sort{Input: s.b.rel.node, Keys: keys}
	s.b.rel = &rel{node: n, attrs: s.b.rel.attrs, delay: s.b.rel.delay}
	return s.a.mark(n, s.order[0].Pos)
}

// orderItems expands ORDER BY ALL.
func (s *selection) orderItems(items []item) []sql.SortItem {
	id, ok := s.order[0].Expr.(*sql.Ident)
	if !ok || len(s.order) != 1 || len(id.Parts) != 1 || !strings.EqualFold(id.Parts[0], "all") {
		return s.order
	}
	for _, it := range items {
		if strings.EqualFold(it.name, "all") {
			return s.order
		}
	}
	var out []sql.SortItem
	for i := range items {
		o := s.order[0]
		o.Expr = &sql.Literal{Pos: o.Pos, Kind: sql.LitInt, Text: strconv.Itoa(i + 1)}
		out = append(out, o)
	}
	return out
}

func itemNames(items []item) []named {
	var out []named
	for _, it := range items {
		out = append(out, named{it.name, it.expr})
	}
	return out
}

// sortAbove sorts the output of DISTINCT: only output columns, or expressions equal to one, may be named.
func (s *selection) sortAbove(out *rel, items []item) (*rel, error) {
	if len(s.order) == 0 {
		return out, nil
	}
	over := &binder{a: s.a, scope: s.scope, rel: out, clause: "ORDER BY"}
	var keys []SortKey
	for _, o := range s.orderItems(items) {
		if _, position := ordinal(o.Expr); position {
			// ORDER BY 3 is a place, also when an item is the constant 3.
		} else if x, err := s.b.bind(o.Expr); err == nil {
			for i, it := range items {
				if it.expr.String() == x.String() {
					o.Expr = &ordinalRef{Ident: &sql.Ident{Pos: o.Pos, Parts: []string{it.name}}, at: i}
					break
				}
			}
		}
		k, err := over.sortKeys([]sql.SortItem{o}, out.column, out.width())
		if err != nil {
			return nil, err
		}
		keys = append(keys, k...)
	}
	n := &Sort{Input: out.node, Keys: keys}
	return &rel{node: n, attrs: out.attrs, delay: out.delay}, s.a.mark(n, s.order[0].Pos)
}
