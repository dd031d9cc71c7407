package sql

// fromClause parses the relations after FROM. A comma joins to everything left
// of it before a following JOIN does, as in Spark.
func (p *parser) fromClause() Relation {
	r := p.joins(p.relationPrimary())
	for p.peek().op(",") {
		pos := p.take().pos
		r = p.joins(&Join{Pos: pos, Kind: CrossJoin, Comma: true, Left: r, Right: p.relationPrimary()})
	}
	for p.peek().is("LATERAL") && p.ahead(1).is("VIEW") {
		r = p.lateralView(r)
	}
	return p.pivots(r)
}

// joins parses the JOINs that follow left.
func (p *parser) joins(left Relation) Relation {
	for {
		left = p.pivots(left)
		j := &Join{Pos: p.peek().pos, Left: left}
		at := p.i
		j.Natural = p.accept("NATURAL")
		j.Kind = p.joinKind()
		if !p.accept("JOIN") {
			if p.i != at {
				p.unexpected("JOIN")
			}
			return left
		}
		j.Right = p.relationPrimary()
		switch {
		case j.Natural:
		case p.accept("ON"):
			j.On = p.expr()
		case p.accept("USING"):
			j.Using = p.names("a column name")
		}
		left = j
	}
}

func (p *parser) joinKind() JoinKind {
	switch {
	case p.accept("INNER"):
		return InnerJoin
	case p.accept("CROSS"):
		return CrossJoin
	case p.accept("SEMI"):
		return SemiJoin
	case p.accept("ANTI"):
		return AntiJoin
	case p.accept("LEFT"):
		switch {
		case p.accept("SEMI"):
			return SemiJoin
		case p.accept("ANTI"):
			return AntiJoin
		}
		p.accept("OUTER")
		return LeftJoin
	case p.accept("RIGHT"):
		p.accept("OUTER")
		return RightJoin
	case p.accept("FULL"):
		p.accept("OUTER")
		return FullJoin
	}
	return InnerJoin
}

func (p *parser) relationPrimary() Relation {
	p.enter()
	defer p.leave()
	lateral := p.peek().is("LATERAL") && !p.ahead(1).is("VIEW") && p.accept("LATERAL")
	t := p.peek()
	switch {
	case t.is("VALUES") && p.startsValues(p.i):
		return p.values()
	case t.op("("):
		return p.parenRelation(lateral)
	case t.is("STREAM") && p.ahead(1).op("("):
		p.i += 2
		r := &Table{Pos: t.pos, Stream: true, Name: p.dotted("the name of a stream")}
		p.expectOp(")")
		return p.tableSuffix(r)
	case t.is("STREAM") && p.ahead(1).isName() && !(p.ahead(1).kind == tWord && has(clauseWords, p.ahead(1).val)):
		p.i++
		return p.tableSuffix(&Table{Pos: t.pos, Stream: true, Name: p.dotted("the name of a stream")})
	case t.isName() && p.ahead(1).op("("):
		return p.tableFunc(lateral)
	case t.kind == tWord && has(" FROM WHERE GROUP HAVING ORDER JOIN ON USING SELECT AND OR AS ", t.val):
		p.unexpected("the name of a table or stream")
	}
	return p.tableSuffix(&Table{Pos: t.pos, Name: p.dotted("the name of a table or stream")})
}

func (p *parser) tableSuffix(r *Table) Relation {
	if t := p.peek(); t.is("FOR") || t.is("VERSION") && p.ahead(1).is("AS") || t.is("TIMESTAMP") && p.ahead(1).is("AS") {
		p.unsupported(t.pos, "time travel", "a static table has one active version; results carry it")
	}
	r.Watermark, r.Dedup = p.streamClauses()
	r.Alias = p.tableAlias()
	return r
}

func (p *parser) parenRelation(lateral bool) Relation {
	pos := p.peek().pos
	if p.queryParen(p.i) {
		p.i++
		s := &Subquery{Pos: pos, Lateral: lateral, Query: p.query()}
		p.expectOp(")")
		s.Watermark, s.Dedup = p.streamClauses()
		s.Alias = p.tableAlias()
		return s
	}
	p.expectOp("(")
	r := &ParenRelation{Pos: pos, Rel: p.joins(p.relationPrimary())}
	p.expectOp(")")
	r.Watermark, r.Dedup = p.streamClauses()
	r.Alias = p.tableAlias()
	return r
}

func (p *parser) tableFunc(lateral bool) Relation {
	f := &TableFunc{Pos: p.peek().pos, Lateral: lateral}
	f.Call = p.plainCall()
	f.Watermark, _ = p.streamClauses()
	f.Alias = p.tableAlias()
	return f
}

// streamClauses takes [WATERMARK expr [AS alias] DELAY OF INTERVAL …] [DEDUP [BY (k, …)] [WITHIN WATERMARK]].
func (p *parser) streamClauses() (*Watermark, *Dedup) {
	var w *Watermark
	var d *Dedup
	if t := p.peek(); t.is("WATERMARK") && p.ahead(1).kind != tEOF {
		p.i++
		w = &Watermark{Pos: t.pos, Expr: p.expr()}
		if p.accept("AS") {
			w.Alias = p.name("a column name after AS")
		} else if p.atAlias() {
			w.Alias = p.take().val
		}
		p.expect("DELAY", "OF")
		if !p.peek().is("INTERVAL") {
			p.unexpected("INTERVAL, for example INTERVAL 10 SECONDS")
		}
		w.Delay = p.interval()
	}
	if t := p.peek(); t.is("DEDUP") {
		p.i++
		d = &Dedup{Pos: t.pos}
		if p.accept("BY") {
			d.Keys = p.names("a column name")
		}
		if p.accept("WITHIN") {
			p.expect("WATERMARK")
			d.Within = true
		}
		if t := p.peek(); t.is("WATERMARK") {
			p.failAt(t.pos, "PARSE_SYNTAX_ERROR", "42601", "WATERMARK after DEDUP", "write WATERMARK … DELAY OF … before DEDUP BY (…)")
		}
	}
	return w, d
}

// atLastWord reports whether a word that could start a clause ends the text:
// such words are not reserved, and Spark reads FROM t WHERE as t with that alias.
func (p *parser) atLastWord() bool {
	t := p.peek()
	return p.ahead(1).kind == tEOF && (t.is("WHERE") || t.is("GROUP") || t.is("ORDER") || t.is("HAVING") || t.is("LIMIT"))
}

// tableAlias takes [AS] name [(columns)], or nothing.
func (p *parser) tableAlias() *TableAlias {
	pos := p.peek().pos
	if p.atLastWord() {
		return &TableAlias{Pos: pos, Name: p.take().val}
	}
	if !p.accept("AS") && (!p.atAlias() || p.selectFollows && p.peek().is("SELECT")) {
		return nil
	}
	a := &TableAlias{Pos: pos, Name: p.name("a name after AS")}
	if p.peek().op("(") {
		a.Columns = p.names("a column name")
	}
	return a
}

// lateralView takes LATERAL VIEW [OUTER] f(args) [table] [[AS] columns].
func (p *parser) lateralView(input Relation) Relation {
	v := &LateralView{Pos: p.peek().pos, Input: input}
	p.expect("LATERAL", "VIEW")
	v.Outer = p.peek().is("OUTER") && !p.ahead(1).op("(") && p.accept("OUTER")
	v.Call = p.plainCall()
	if p.atAlias() {
		v.Table = p.take().val
	}
	if p.accept("AS") || p.atAlias() {
		p.comma(func() { v.Columns = append(v.Columns, p.name("a column name")) })
	}
	return v
}

// plainCall takes name(args) without the clauses of an aggregate.
func (p *parser) plainCall() *Call {
	t := p.peek()
	c := &Call{Pos: t.pos, Name: lower(p.name("the name of a function"))}
	p.expectOp("(")
	if p.acceptOp(")") {
		return c
	}
	p.comma(func() { c.Args = append(c.Args, p.argument()) })
	p.expectOp(")")
	return c
}
