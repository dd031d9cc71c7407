package sql

import (
	"strconv"
	"strings"
)

// startsQuery reports whether a query begins at token i.
func (p *parser) startsQuery(i int) bool {
	t, next := &p.toks[i], &p.toks[min(i+1, len(p.toks)-1)]
	switch {
	case t.is("SELECT"), t.is("FROM") && (next.isName() || next.op("(")):
		return true
	case t.is("WITH"), t.is("TABLE"):
		return next.isName()
	case t.is("VALUES"):
		return p.startsValues(i)
	case t.op("("):
		return p.queryParen(i)
	}
	return false
}

// startsValues reports whether VALUES at token i begins rows and is not a name.
func (p *parser) startsValues(i int) bool {
	next, third := &p.toks[min(i+1, len(p.toks)-1)], &p.toks[min(i+2, len(p.toks)-1)]
	switch next.kind {
	case tNumber, tString:
		return true
	case tOp:
		return next.val == "(" || next.val == "-" && third.kind == tNumber
	case tWord:
		return third.op("(") || third.kind == tString || next.is("NULL") || next.is("TRUE") || next.is("FALSE")
	}
	return false
}

// queryParen reports whether the parenthesis at token i holds a query, and not
// an expression or relation that begins with one.
func (p *parser) queryParen(i int) bool {
	inner := i
	for p.toks[inner+1].op("(") {
		inner++
		if inner-i > MaxDepth {
			return true // whatever it is, it nests too deep: the parser says so on its way down
		}
	}
	if !p.startsQuery(inner + 1) {
		return false
	}
	for ; inner > i; inner-- {
		end := p.toks[inner].match
		if end < 0 || !p.continuesQuery(end+1) {
			return false
		}
	}
	return true
}

// subqueryParen reports whether the parenthesis at token i directly holds a
// query that is a value: ((SELECT 1)) is an expression in parentheses that is one.
func (p *parser) subqueryParen(i int) bool {
	if !p.queryParen(i) {
		return false
	}
	inner := &p.toks[i+1]
	return !inner.op("(") || inner.match < 0 || !p.toks[inner.match+1].op(")")
}

func (p *parser) continuesQuery(i int) bool {
	t := &p.toks[i]
	return t.op(")") || t.kind == tWord && has(" UNION INTERSECT EXCEPT MINUS ORDER LIMIT OFFSET SORT CLUSTER DISTRIBUTE ", t.val)
}

// query parses [WITH …] body [ORDER BY …] [WINDOW …] [LIMIT …] [OFFSET …].
func (p *parser) query() *Query {
	p.enter()
	defer p.leave()
	q := &Query{Pos: p.peek().pos}
	if p.accept("WITH") {
		if p.peek().is("RECURSIVE") && p.ahead(1).isName() && !p.ahead(1).is("AS") {
			p.i++
			q.Recursive = true
		}
		q.With = p.ctes()
	}
	q.Body = p.setOps(0)
	if p.acceptAll("ORDER", "BY") {
		q.OrderBy = p.sortItems()
	}
	for _, w := range [...]string{"CLUSTER", "DISTRIBUTE", "SORT"} {
		if p.peek().is(w) && p.ahead(1).is("BY") {
			p.unsupported(p.peek().pos, w+" BY", "write ORDER BY; how rows are distributed is not for the query to say")
		}
	}
	if s, ok := q.Body.(*Select); ok && p.atWindowClause() {
		s.Windows = append(s.Windows, p.windowClause()...)
	}
	if p.accept("LIMIT") && !p.accept("ALL") {
		q.Limit = p.expr()
	}
	if p.accept("OFFSET") {
		q.Offset = p.expr()
	}
	q = p.pipes(q)
	p.checkHeight(q)
	return q
}

func (p *parser) ctes() []CTE {
	var out []CTE
	p.comma(func() {
		c := CTE{Pos: p.peek().pos, Name: p.name("the name of a common table expression")}
		if p.peek().op("(") && !p.startsQuery(p.i+1) {
			c.Columns = p.names("a column name")
		}
		if p.acceptAll("MAX", "RECURSION", "LEVEL") {
			c.MaxLevel = p.wholeNumber()
		}
		p.accept("AS")
		p.expectOp("(")
		c.Query = p.subquery()
		p.expectOp(")")
		for _, o := range out {
			if strings.EqualFold(o.Name, c.Name) {
				p.failAt(c.Pos, "DUPLICATED_CTE_NAMES", "42602", "the name "+clip(c.Name)+" is given to two common table expressions", "")
			}
		}
		out = append(out, c)
	})
	return out
}

// wholeNumber takes an integer literal above 0.
func (p *parser) wholeNumber() int64 {
	t := p.peek()
	n, err := strconv.ParseInt(t.val, 10, 32)
	if t.kind != tNumber || err != nil || n < 1 {
		p.unexpected("a whole number above 0")
	}
	p.i++
	return n
}

// subquery parses a query where one must stand.
func (p *parser) subquery() *Query {
	if !p.startsQuery(p.i) {
		p.unexpected("SELECT, WITH or VALUES")
	}
	return p.query()
}

// setOps parses set operations: INTERSECT binds tighter than UNION and EXCEPT. level is 0 or 1.
func (p *parser) setOps(level int) Body {
	if level == 2 {
		return p.queryPrimary()
	}
	left := p.setOps(level + 1)
	for {
		t := p.peek()
		var kind SetOpKind
		switch {
		case level == 1 && t.is("INTERSECT"):
			kind = Intersect
		case level == 0 && t.is("UNION"):
			kind = Union
		case level == 0 && (t.is("EXCEPT") || t.is("MINUS")):
			kind = Except
		default:
			return left
		}
		p.i++
		all := p.accept("ALL")
		if !all {
			p.accept("DISTINCT")
		}
		if !p.startsQuery(p.i) {
			p.unexpected("SELECT or VALUES after " + string(kind))
		}
		left = &SetOp{Pos: t.pos, Kind: kind, All: all, Left: left, Right: p.setOps(level + 1)}
	}
}

func (p *parser) queryPrimary() Body {
	t := p.peek()
	switch {
	case t.is("SELECT"):
		return p.selectBody()
	case t.is("VALUES"):
		return p.values()
	case t.is("TABLE"):
		p.i++
		return &TableBody{Pos: t.pos, Name: p.dotted("the name of a table")}
	case t.is("FROM"):
		return p.fromFirst()
	case t.op("("):
		p.i++
		q := p.subquery()
		p.expectOp(")")
		return q
	}
	p.unexpected("SELECT or VALUES")
	return nil
}

func (p *parser) values() *Values {
	v := &Values{Pos: p.take().pos}
	p.comma(func() {
		e := p.expr()
		if row, ok := e.(*Row); ok {
			v.Rows = append(v.Rows, row.Items)
			return
		}
		v.Rows = append(v.Rows, []Expr{e})
	})
	v.Alias = p.tableAlias()
	return v
}

func (p *parser) selectBody() *Select {
	s := &Select{Pos: p.take().pos}
	if p.quantifier("DISTINCT") {
		p.i++
		s.Distinct = true
	} else if p.quantifier("ALL") {
		p.i++
	}
	p.comma(func() { s.Items = append(s.Items, p.selectItem()) })
	if p.accept("FROM") {
		s.From = p.fromClause()
	}
	for p.peek().is("LATERAL") && p.ahead(1).is("VIEW") {
		s.From = p.lateralView(s.From)
	}
	if p.accept("WHERE") {
		s.Where = p.expr()
	}
	if p.acceptAll("GROUP", "BY") {
		s.GroupBy = p.groupBy()
	}
	if p.accept("HAVING") {
		s.Having = p.expr()
	}
	if p.accept("QUALIFY") {
		s.Qualify = p.expr()
	}
	if p.atWindowClause() {
		s.Windows = p.windowClause()
	}
	return s
}

// quantifier reports whether word at hand is DISTINCT or ALL and not the name of a column.
func (p *parser) quantifier(word string) bool {
	if !p.peek().is(word) {
		return false
	}
	n := p.ahead(1)
	switch n.kind {
	case tEOF:
		return false
	case tOp:
		return n.val == "(" || n.val == "*" || n.val == "-" || n.val == "+" || n.val == "~" || n.val == "!"
	case tWord:
		return !n.is("FROM") && !n.is("AS")
	}
	return true
}

func (p *parser) selectItem() SelectItem {
	it := SelectItem{Pos: p.peek().pos}
	it.Expr = p.expr()
	switch {
	case p.accept("AS"):
		if p.peek().op("(") {
			it.Aliases = p.names("a column name")
		} else {
			it.Alias = p.name("a column name after AS")
		}
	case p.atAlias():
		it.Alias = p.take().val
	}
	return it
}

// atAlias reports whether the token at hand is a name given without AS.
func (p *parser) atAlias() bool {
	t := p.peek()
	if t.kind == tQuoted {
		return true
	}
	return t.kind == tWord && !has(clauseWords, t.val) && !p.atWindowClause()
}

func (p *parser) groupBy() *GroupBy {
	g := &GroupBy{Pos: p.peek().pos}
	if next := p.ahead(1); p.peek().is("ALL") && (next.kind == tEOF || next.kind == tWord || next.op(")") || next.op(";")) {
		p.i++
		g.All = true
		return g
	}
	p.comma(func() {
		if sets := p.groups(); sets != nil {
			g.Sets = append(g.Sets, sets)
			return
		}
		g.Exprs = append(g.Exprs, p.expr())
	})
	if g.Sets != nil {
		return g
	}
	switch pos := p.peek().pos; {
	case p.acceptAll("WITH", "ROLLUP"):
		g.Sets, g.Exprs = []*Groups{{Pos: pos, Kind: Rollup, Sets: single(g.Exprs)}}, nil
	case p.acceptAll("WITH", "CUBE"):
		g.Sets, g.Exprs = []*Groups{{Pos: pos, Kind: Cube, Sets: single(g.Exprs)}}, nil
	case p.peek().is("GROUPING"):
		if sets := p.groups(); sets != nil {
			g.Sets, g.Exprs = []*Groups{sets}, nil
		}
	}
	return g
}

func single(exprs []Expr) [][]Expr {
	out := make([][]Expr, len(exprs))
	for i, e := range exprs {
		out[i] = []Expr{e}
	}
	return out
}

// groups takes GROUPING SETS (…), ROLLUP (…) or CUBE (…), or nothing.
func (p *parser) groups() *Groups {
	g := &Groups{Pos: p.peek().pos}
	switch {
	case p.peek().is("GROUPING") && p.ahead(1).is("SETS") && p.ahead(2).op("("):
		g.Kind = GroupingSets
		p.i += 2
	case p.peek().is("ROLLUP") && p.ahead(1).op("("):
		g.Kind = Rollup
		p.i++
	case p.peek().is("CUBE") && p.ahead(1).op("("):
		g.Kind = Cube
		p.i++
	default:
		return nil
	}
	p.expectOp("(")
	p.enter()
	defer p.leave()
	p.comma(func() {
		if g.Kind == GroupingSets {
			if nested := p.groups(); nested != nil {
				g.Nested = append(g.Nested, nested)
				return
			}
		}
		g.Sets = append(g.Sets, p.groupingSet())
	})
	p.expectOp(")")
	return g
}

func (p *parser) groupingSet() []Expr {
	if p.peek().op("(") && p.ahead(1).op(")") {
		p.i += 2
		return nil
	}
	e := p.expr()
	if row, ok := e.(*Row); ok {
		return row.Items
	}
	return []Expr{e}
}

func (p *parser) sortItems() []SortItem {
	var out []SortItem
	p.comma(func() {
		it := SortItem{Pos: p.peek().pos, Expr: p.expr()}
		if p.accept("DESC") {
			it.Desc = true
		} else {
			p.accept("ASC")
		}
		it.NullsFirst = !it.Desc
		if p.peek().is("NULLS") {
			p.i++
			switch {
			case p.accept("FIRST"):
				it.NullsFirst = true
			case p.accept("LAST"):
				it.NullsFirst = false
			default:
				p.unexpected("FIRST or LAST")
			}
		}
		out = append(out, it)
	})
	return out
}

func (p *parser) atWindowClause() bool {
	return p.peek().is("WINDOW") && p.ahead(1).isName() && p.ahead(2).is("AS")
}

func (p *parser) windowClause() []NamedWindow {
	p.expect("WINDOW")
	var out []NamedWindow
	p.comma(func() {
		w := NamedWindow{Pos: p.peek().pos, Name: p.name("the name of a window")}
		p.expect("AS")
		w.Spec = p.windowSpec()
		out = append(out, w)
	})
	return out
}
