package sql

// fromFirst takes FROM relation [SELECT …]: a query that begins with its input.
func (p *parser) fromFirst() Body {
	pos := p.take().pos
	before := p.selectFollows
	p.selectFollows = true
	from := p.fromClause()
	p.selectFollows = before
	s := &Select{Pos: pos, Items: []SelectItem{{Pos: pos, Expr: &Star{Pos: pos}}}}
	if p.peek().is("SELECT") {
		s = p.selectBody()
		if s.From != nil {
			p.failAt(s.From.Position(), "PARSE_SYNTAX_ERROR", "42601", "a second FROM", "FROM stands before or after SELECT")
		}
	}
	s.From = from
	return s
}

// pipes takes the steps |> … that follow a query. Each becomes the query that
// means the same, over the one before.
func (p *parser) pipes(q *Query) *Query {
	for p.acceptOp("|>") {
		q = p.pipe(q)
	}
	return q
}

func (p *parser) pipe(q *Query) *Query {
	t := p.peek()
	switch {
	case p.accept("WHERE"):
		q, s := open(q)
		cond := p.expr()
		if s.Where != nil {
			cond = &Binary{Pos: t.pos, Op: "and", L: s.Where, R: cond}
		}
		s.Where = cond
		return q
	case t.is("SELECT"):
		q, s := open(q)
		n := p.selectBody()
		if n.From != nil || n.Where != nil || n.GroupBy != nil || n.Having != nil {
			p.failAt(t.pos, "PARSE_SYNTAX_ERROR", "42601", "|> SELECT with further clauses", "each clause is a step of its own")
		}
		n.From, n.Where = s.From, s.Where
		q.Body = n
		return q
	case p.accept("EXTEND"):
		q, s := open(q)
		p.comma(func() { s.Items = append(s.Items, p.selectItem()) })
		return q
	case p.accept("DROP"):
		q, s := open(q)
		star := &Star{Pos: t.pos}
		p.comma(func() { star.Except = append(star.Except, p.parts()) })
		s.Items = []SelectItem{{Pos: t.pos, Expr: star}}
		return q
	case p.accept("AGGREGATE"):
		return p.pipeAggregate(q, t.pos)
	case p.accept("AS"):
		q = wrapped(q)
		q.Body.(*Select).From.(*Subquery).Alias = &TableAlias{Pos: t.pos, Name: p.name("a name after AS")}
		return q
	}
	return p.pipeRest(q, t)
}

// pipeRest takes the steps that order, cut, join and combine.
func (p *parser) pipeRest(q *Query, t *token) *Query {
	switch {
	case p.acceptAll("ORDER", "BY"):
		if q.OrderBy != nil || q.Limit != nil || q.Offset != nil {
			q = wrapped(q)
		}
		q.OrderBy = p.sortItems()
	case t.is("LIMIT"), t.is("OFFSET"):
		if q.Limit != nil || q.Offset != nil {
			q = wrapped(q)
		}
		if p.accept("LIMIT") {
			q.Limit = p.expr()
		}
		if p.accept("OFFSET") {
			q.Offset = p.expr()
		}
	case t.is("UNION"), t.is("INTERSECT"), t.is("EXCEPT"), t.is("MINUS"):
		op := p.take()
		set := &SetOp{Pos: op.pos, Kind: map[bool]SetOpKind{true: Union, false: Except}[op.is("UNION")], All: p.accept("ALL")}
		if op.is("INTERSECT") {
			set.Kind = Intersect
		}
		if !set.All {
			p.accept("DISTINCT")
		}
		out := &Query{Pos: q.Pos, With: q.With, Recursive: q.Recursive, Body: set}
		q.With, q.Recursive = nil, false
		set.Left, set.Right = Body(q), p.queryPrimary()
		return out
	case t.is("PIVOT"), t.is("UNPIVOT"), t.is("JOIN"), t.is("INNER"), t.is("LEFT"), t.is("RIGHT"), t.is("FULL"), t.is("CROSS"), t.is("NATURAL"), t.is("SEMI"), t.is("ANTI"):
		q, s := open(q)
		if s.Where != nil {
			q, s = open(wrapped(q))
		}
		s.From = p.joins(s.From)
		return q
	case t.is("SET"), t.is("TABLESAMPLE"), t.is("WINDOW"):
		p.unsupported(t.pos, "|> "+t.val, "write |> SELECT with the columns wanted")
	default:
		p.unexpected("WHERE, SELECT, EXTEND, DROP, AGGREGATE, AS, JOIN, ORDER BY, LIMIT, UNION, PIVOT or UNPIVOT after |>")
	}
	return q
}

// pipeAggregate takes AGGREGATE [items] [GROUP BY items]: the groups come first in the result.
func (p *parser) pipeAggregate(q *Query, pos Pos) *Query {
	q, s := open(q)
	var items, groups []SelectItem
	if !p.peek().is("GROUP") {
		p.comma(func() { items = append(items, p.selectItem()) })
	}
	if p.acceptAll("GROUP", "BY") {
		s.GroupBy = &GroupBy{Pos: pos}
		p.comma(func() {
			it := p.selectItem()
			groups = append(groups, it)
			s.GroupBy.Exprs = append(s.GroupBy.Exprs, it.Expr)
		})
	}
	s.Items = append(groups, items...)
	return q
}

// open is a query whose SELECT a further step may change: SELECT * FROM … [WHERE …].
func open(q *Query) (*Query, *Select) {
	s, ok := q.Body.(*Select)
	if ok && q.OrderBy == nil && q.Limit == nil && q.Offset == nil && isBare(s) {
		return q, s
	}
	q = wrapped(q)
	return q, q.Body.(*Select)
}

func isBare(s *Select) bool {
	if len(s.Items) != 1 || s.From == nil || s.Distinct || s.GroupBy != nil || s.Having != nil || s.Qualify != nil || len(s.Windows) > 0 {
		return false
	}
	star, ok := s.Items[0].Expr.(*Star)
	return ok && len(star.Qualifier) == 0 && len(star.Except) == 0
}

// wrapped is SELECT * FROM (q).
func wrapped(q *Query) *Query {
	s := &Select{Pos: q.Pos, Items: []SelectItem{{Pos: q.Pos, Expr: &Star{Pos: q.Pos}}}, From: &Subquery{Pos: q.Pos, Query: q}}
	out := &Query{Pos: q.Pos, With: q.With, Recursive: q.Recursive, Body: s}
	q.With, q.Recursive = nil, false
	return out
}
