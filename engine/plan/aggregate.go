package plan

import (
	"errors"
	"slices"
	"strings"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// aggregateArgument is the clause of a binder inside the arguments of an aggregate.
const aggregateArgument = "the arguments of an aggregate"

// ordinalRef stands for a column by its ordinal: an expanded star or a generated column.
type ordinalRef struct {
	*sql.Ident
	at   int
	late bool // of the relation as it is now, not of the input of an aggregation
}

// grouping is what expressions above an aggregation may use.
type grouping struct {
	input *binder // over the input of the aggregation
	texts []string
	cols  []expr.Expr         // the key columns of the output
	id    expr.Expr           // the grouping id of GROUPING SETS, ROLLUP and CUBE, or nil
	subs  map[sql.Expr]string // the texts of grouping expressions that hold sub-queries
}

// key finds the grouping expression that e is.
func (g *grouping) key(e sql.Expr) (expr.Expr, bool) {
	switch e := e.(type) {
	case *sql.Literal, *sql.Interval:
		return nil, false
	case *ordinalRef:
		if e.late {
			return nil, false
		}
	}
	text, known := g.subs[e]
	if !known {
		if hasSubquery(e) {
			return nil, false
		}
		probe := *g.input
		x, err := probe.bind(e)
		if err != nil {
			return nil, false
		}
		text = x.String()
	}
	for i, t := range g.texts {
		if t == text {
			return g.cols[i], true
		}
	}
	return nil, false
}

// missing says that a column of the input is neither grouped nor aggregated.
func (g *grouping) missing(e *sql.Ident) error {
	probe := *g.input
	probe.names, probe.scope.row = nil, nil
	if _, err := probe.bind(e); err != nil {
		return nil
	}
	return missingAggregation(e.Pos, strings.Join(e.Parts, "."), len(g.texts) == 0)
}

func missingAggregation(pos sql.Pos, name string, global bool) error {
	if global {
		return fail(pos, "MISSING_GROUP_BY", "42803", "`%s` stands beside an aggregate, but there is no GROUP BY; write GROUP BY %s, or any_value(%s)", name, name, name)
	}
	return fail(pos, "MISSING_AGGREGATION", "42803", "`%s` is neither in GROUP BY nor inside an aggregate; add it to GROUP BY or write any_value(%s)", name, name)
}

// aggregate plans GROUP BY and the aggregates of the SELECT.
func (s *selection) aggregate() error {
	calls := s.aggregateCalls()
	if s.sel.GroupBy == nil && len(calls) == 0 && s.sel.Having == nil {
		return nil
	}
	input := *s.b
	input.clause = "GROUP BY"
	keys, sets, err := s.groupKeys(&input)
	if err != nil {
		return err
	}
	s.b.rel = input.rel
	input.clause = "the select list"
	input.names = nil
	group := &grouping{input: &input, subs: s.grouped}
	out := &rel{delay: input.rel.delay}
	for _, k := range keys {
		group.texts = append(group.texts, k.String())
		out.attrs = append(out.attrs, keyAttr(input.rel, k))
	}
	if sets != nil {
		if keys, err = input.repeatSets(s.sel.GroupBy.Pos, keys, sets); err != nil {
			return err
		}
		out.attrs = append(out.attrs, attr{name: "grouping_set", typ: column.Of(column.Int), hidden: true})
	}
	n := &Aggregate{Window: -1, EventKey: -1, Keys: keys}
	for i, k := range keys {
		if o, plain := columnOrdinal(k); !plain || !input.rel.attrs[o].event {
			out.attrs[i].event = false
		}
		s.noteWindow(n, i, k, &input)
	}
	if err := s.bindCalls(&input, n, out, calls); err != nil {
		return err
	}
	n.Keys = groupingKeys(n.Keys)
	n.Input = input.rel.node
	n.Out = out.schema(n.EventKey)
	out.node = n
	for i := range group.texts {
		group.cols = append(group.cols, out.column(i))
	}
	if err := s.a.mark(n, s.sel.Pos); err != nil {
		return err
	}
	if sets != nil {
		if group.id, err = groupingID(s.sel.GroupBy.Pos, out.column(len(group.texts)), len(group.texts), sets); err != nil {
			return err
		}
	}
	s.b.rel, s.b.group = out, group
	return nil
}

// groupingKeys are the keys as rows are grouped by them.
func groupingKeys(keys []expr.Expr) []expr.Expr {
	out := make([]expr.Expr, len(keys))
	for i, k := range keys {
		out[i] = expr.GroupingKey(k)
	}
	return out
}

// bindCalls binds the aggregates and gives each distinct one a column of the output.
func (s *selection) bindCalls(input *binder, n *Aggregate, out *rel, calls []*sql.Call) error {
	s.b.calls = map[*sql.Call]expr.Expr{}
	for _, c := range calls {
		call, err := input.aggregateCall(c)
		err = s.usesAlias(err, c, "an aggregate", "LATERAL_COLUMN_ALIAS_IN_AGGREGATE_FUNC")
		if err != nil && s.a.tolerate(err) {
			s.b.calls[c] = expr.NewLiteral(column.Type{}, column.NullDatum)
			continue
		}
		if err != nil {
			return err
		}
		at := addCall(n, call)
		if len(n.Keys)+at == len(out.attrs) {
			out.attrs = append(out.attrs, attr{name: call.Name, typ: call.Func.Result(), hidden: true})
		}
		s.b.calls[c] = expr.NewColumn(len(n.Keys)+at, call.Name, call.Func.Result())
	}
	return nil
}

// usesAlias says it when a name that is not known in a call is one of the select list.
func (s *selection) usesAlias(err error, c *sql.Call, what, condition string) error {
	if err == nil || !unresolved(err) {
		return err
	}
	for _, it := range s.items {
		found := false
		walk(c, func(e sql.Expr) bool {
			id, ok := e.(*sql.Ident)
			found = found || ok && it.Alias != "" && strings.EqualFold(id.Parts[0], it.Alias)
			return !found
		})
		if found {
			return fail(c.Pos, "UNSUPPORTED_FEATURE."+condition, "0A000", "`%s` is a name of the select list and may not stand in %s; write its expression, or compute it in a sub-query in FROM", it.Alias, what)
		}
	}
	return err
}

// aggregateCalls lists the aggregates of the SELECT.
func (s *selection) aggregateCalls() []*sql.Call {
	var out []*sql.Call
	for _, e := range s.expressions() {
		out = append(out, findCalls(e, isAggregate)...)
		out = append(out, s.outerAggregates(e)...)
	}
	return out
}

// outerAggregates lists the aggregates in the WHERE of sub-queries that are about
// the groups of this SELECT: HAVING EXISTS (SELECT … WHERE x = max(this.y)).
func (s *selection) outerAggregates(e sql.Expr) []*sql.Call {
	var out []*sql.Call
	walk(e, func(x sql.Expr) bool {
		q := queryOf(x)
		if q == nil {
			return true
		}
		sel, ok := q.Body.(*sql.Select)
		if !ok || sel.Where == nil {
			return true
		}
		for _, c := range findCalls(sel.Where, isAggregate) {
			probe := *s.b
			if _, err := probe.bindAll(unalias(c.Args)); err == nil && len(c.Args) > 0 {
				out = append(out, c)
			}
		}
		return true
	})
	return out
}

// addCall adds an aggregate unless the same one is there; it returns its place.
func addCall(n *Aggregate, c AggCall) int {
	for i, have := range n.Calls {
		if have.Name == c.Name {
			return i
		}
	}
	n.Calls = append(n.Calls, c)
	return len(n.Calls) - 1
}

// keyAttr names a grouping key: like the column that it is, else not at all.
func keyAttr(in *rel, k expr.Expr) attr {
	if i, ok := columnOrdinal(k); ok {
		return in.attrs[i]
	}
	return attr{typ: k.Type(), hidden: true}
}

// noteWindow notes what closes the groups of a key.
func (s *selection) noteWindow(n *Aggregate, i int, k expr.Expr, input *binder) {
	o, ok := columnOrdinal(k)
	if !ok {
		return
	}
	for c, x := range input.calls { // unordered: at most one call is a time window
		if at, ok := columnOrdinal(x); ok && at == o && isTimeWindow(c) {
			n.Window, n.Kind = i, TimeWindow
			if c.Name == "session_window" {
				n.Kind = SessionWindow
			}
		}
	}
	if input.rel.attrs[o].event && n.EventKey < 0 {
		n.EventKey = i
	}
}

// groupKeys binds GROUP BY: expressions, ordinals and names of the select list.
func (s *selection) groupKeys(in *binder) ([]expr.Expr, [][]int, error) {
	g := s.sel.GroupBy
	if g == nil {
		return nil, nil, nil
	}
	in.names = s.groupNames(in)
	exprs := g.Exprs
	if g.All {
		exprs = s.groupAll()
	}
	var keys []expr.Expr
	add := func(e sql.Expr) (int, error) {
		x, err := s.groupKey(in, e)
		if err != nil {
			return 0, err
		}
		for i, k := range keys {
			if k.String() == x.String() {
				return i, nil
			}
		}
		keys = append(keys, x)
		return len(keys) - 1, nil
	}
	var plain []int
	for _, e := range exprs {
		i, err := add(e)
		if err != nil && s.a.tolerate(err) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		plain = append(plain, i)
	}
	if g.Sets == nil {
		return keys, nil, nil
	}
	sets, err := expandSets(g, plain, add)
	return keys, sets, err
}

// groupNames are the names of the select list that GROUP BY may use.
func (s *selection) groupNames(in *binder) []named {
	var out []named
	for _, it := range s.items {
		if it.Alias == "" || hasSubquery(it.Expr) || len(findCalls(it.Expr, func(c *sql.Call) bool { return isAggregate(c) || c.Over != nil || isGenerator(c) })) > 0 {
			continue
		}
		probe := *in
		probe.names = out
		if x, err := probe.bind(it.Expr); err == nil && !largerThan(x, MaxExpression) {
			out = append(out, named{it.Alias, x})
		}
	}
	return out
}

// groupAll is GROUP BY ALL: every item of the select list without aggregates.
func (s *selection) groupAll() []sql.Expr {
	var out []sql.Expr
	for _, it := range s.items {
		if len(findCalls(it.Expr, isAggregate)) == 0 {
			out = append(out, it.Expr)
		}
	}
	return out
}

func (s *selection) groupKey(in *binder, e sql.Expr) (expr.Expr, error) {
	if n, ok := ordinal(e); ok {
		if n < 1 || n > int64(len(s.items)) {
			return nil, fail(e.Position(), "GROUP_BY_POS_OUT_OF_RANGE", "42805", "GROUP BY %d: the select list has %d items", n, len(s.items))
		}
		it := s.items[n-1].Expr
		if len(findCalls(it, isAggregate)) > 0 {
			return nil, fail(e.Position(), "GROUP_BY_POS_AGGREGATE", "42903", "GROUP BY %d is an aggregate", n)
		}
		e = it
	}
	if id, ok := e.(*sql.Ident); ok && len(id.Parts) == 1 {
		for _, it := range s.items {
			if strings.EqualFold(it.Alias, id.Parts[0]) && len(findCalls(it.Expr, isAggregate)) > 0 {
				if found, _ := in.rel.lookup(id.Parts); len(found) == 0 {
					return nil, fail(e.Position(), "GROUP_BY_AGGREGATE", "42903", "`%s` is an aggregate and may not stand in GROUP BY", id.Parts[0])
				}
			}
		}
	}
	if it, ok := s.namedSubquery(in, e); ok {
		e = it
	}
	x, err := in.bind(e)
	if err != nil {
		return nil, err
	}
	if hasSubquery(e) {
		if s.grouped == nil {
			s.grouped = map[sql.Expr]string{}
		}
		s.grouped[e] = x.String()
	}
	if x.Type().Kind == column.Map {
		return nil, fail(e.Position(), "GROUP_EXPRESSION_TYPE_IS_NOT_ORDERABLE", "42822", "a value of type %s cannot be grouped", x.Type())
	}
	return x, nil
}

// namedSubquery finds the item of the select list that holds a sub-query and has the name e.
func (s *selection) namedSubquery(in *binder, e sql.Expr) (sql.Expr, bool) {
	id, ok := e.(*sql.Ident)
	if !ok || len(id.Parts) != 1 {
		return nil, false
	}
	if found, _ := in.rel.lookup(id.Parts); len(found) > 0 {
		return nil, false
	}
	for _, it := range s.items {
		if strings.EqualFold(it.Alias, id.Parts[0]) && hasSubquery(it.Expr) {
			return it.Expr, true
		}
	}
	return nil, false
}

// aggregateCall binds one aggregate over the input of the aggregation.
func (b *binder) aggregateCall(c *sql.Call) (AggCall, error) {
	in := *b
	in.clause = aggregateArgument
	var out AggCall
	args := c.Args
	if len(args) == 0 && c.Name == "count" {
		return out, fail(c.Pos, "WRONG_NUM_ARGS.WITH_SUGGESTION", "42605", "count needs an argument: write count(*)")
	}
	if len(args) == 1 {
		if star, ok := args[0].(*sql.Star); ok {
			if c.Name != "count" {
				return out, fail(star.Pos, "INVALID_USAGE_OF_STAR_OR_REGEX", "42000", "%s(*) is not possible; name the columns", c.Name)
			}
			args = nil
			if len(star.Qualifier) > 0 || c.Distinct {
				args = in.starArgs(star)
			}
		}
	}
	bound, err := in.bindAll(unalias(args))
	if err != nil {
		return out, err
	}
	if c.Nulls != "" && !picksValues(c.Name) {
		return out, fail(c.Pos, "INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX", "42000", "%s does not take IGNORE NULLS or RESPECT NULLS", c.Name)
	}
	opt := agg.Options{Distinct: c.Distinct, IgnoreNulls: c.Nulls == "ignore"}
	for _, w := range c.Within {
		x, err := in.bind(w.Expr)
		if err != nil {
			return out, err
		}
		bound = append(bound, x)
		opt.OrderBy = append(opt.OrderBy, agg.Order{Desc: w.Desc, NullsFirst: w.NullsFirst})
		out.OrderBy = append(out.OrderBy, SortKey{Expr: x, Desc: w.Desc, NullsFirst: w.NullsFirst})
	}
	if c.Filter != nil {
		if out.Filter, err = in.aggFilter(c.Filter); err != nil {
			return out, err
		}
	}
	b.rel = in.rel
	if slices.ContainsFunc(bound, holdsOuter) {
		return out, fail(c.Pos, "UNSUPPORTED_SUBQUERY_EXPRESSION_CATEGORY.CORRELATED_REFERENCE", "0A000",
			"an aggregate of a sub-query may not use columns of the query around it; it may in WHERE")
	}
	for i := range bound {
		bound[i] = expr.Fold(bound[i]) // an array of percentages is a constant too
	}
	out.Func, out.Args, err = agg.Lookup(c.Name, bound, opt)
	if err != nil {
		return out, at(c.Pos, err)
	}
	out.Distinct = c.Distinct
	out.Name = callName(c, out)
	if c.Name == "collect_set" || c.Distinct && c.Name != "min" && c.Name != "max" {
		out.Args = groupingKeys(out.Args)
	}
	return out, nil
}

// picksValues reports whether an aggregate takes IGNORE NULLS.
func picksValues(name string) bool {
	switch name {
	case "first", "first_value", "last", "last_value", "any_value", "nth_value", "collect_list", "collect_set", "array_agg":
		return true
	}
	return false
}

func (b *binder) aggFilter(e sql.Expr) (expr.Expr, error) {
	b.clause = "FILTER"
	x, err := b.condition(e)
	var bad *expr.Error
	if errors.As(err, &bad) && bad.Condition == "DATATYPE_MISMATCH.FILTER_NOT_BOOLEAN" {
		bad.Condition, bad.SQLState = "INVALID_AGGREGATE_FILTER.NOT_BOOLEAN", "42903"
	}
	return x, err
}

// starArgs is count(t.*): every column of t.
func (b *binder) starArgs(star *sql.Star) []sql.Expr {
	var out []sql.Expr
	q := strings.Join(star.Qualifier, ".")
	for i, a := range b.rel.attrs {
		if q == "" && !a.hidden || a.table != "" && sameTable(a.table, q) {
			out = append(out, &ordinalRef{Ident: &sql.Ident{Pos: star.Pos, Parts: []string{a.name}}, at: i})
		}
	}
	return out
}

// callName is the canonical text of a bound aggregate: equal texts = equal aggregates.
func callName(c *sql.Call, a AggCall) string {
	var b strings.Builder
	b.WriteString(c.Name + "(")
	if c.Distinct {
		b.WriteString("DISTINCT ")
	}
	within := len(a.Args) - len(a.OrderBy)
	for i, x := range a.Args {
		switch {
		case i == within && len(a.OrderBy) > 0:
			b.WriteString(") WITHIN GROUP (ORDER BY ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(x.String())
		if i >= within {
			b.WriteString(direction(a.OrderBy[i-within]))
		}
	}
	b.WriteString(")")
	if c.Nulls == "ignore" {
		b.WriteString(" IGNORE NULLS")
	}
	if a.Filter != nil {
		b.WriteString(" FILTER (WHERE " + a.Filter.String() + ")")
	}
	return b.String()
}

func direction(k SortKey) string {
	s := " ASC"
	if k.Desc {
		s = " DESC"
	}
	if k.NullsFirst {
		return s + " NULLS FIRST"
	}
	return s + " NULLS LAST"
}
