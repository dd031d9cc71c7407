package sql

// pivots takes the PIVOT and UNPIVOT clauses that follow a relation.
func (p *parser) pivots(input Relation) Relation {
	for {
		t := p.peek()
		switch {
		case t.is("PIVOT") && p.ahead(1).op("("):
			input = p.pivot(input)
		case t.is("UNPIVOT") && (p.ahead(1).op("(") || p.ahead(1).is("INCLUDE") || p.ahead(1).is("EXCLUDE")):
			input = p.unpivot(input)
		case t.is("TABLESAMPLE"):
			p.unsupported(t.pos, "TABLESAMPLE", "its answer would differ from run to run; filter on a key, for example WHERE pmod(hash(bus_id), 100) < 10")
		default:
			return input
		}
	}
}

// pivot takes PIVOT (aggregates FOR column IN (values)) [AS name].
func (p *parser) pivot(input Relation) Relation {
	v := &Pivot{Pos: p.take().pos, Input: input}
	p.expectOp("(")
	p.comma(func() { v.Items = append(v.Items, p.pivotItem()) })
	p.expect("FOR")
	v.For = p.columnGroup()
	p.expect("IN")
	p.expectOp("(")
	p.comma(func() {
		val := PivotValue{Pos: p.peek().pos}
		e := p.expr()
		if row, ok := e.(*Row); ok && len(v.For) > 1 {
			val.Exprs = row.Items
		} else {
			val.Exprs = []Expr{e}
		}
		val.Name = p.optionalName()
		v.Values = append(v.Values, val)
	})
	p.expectOp(")")
	p.expectOp(")")
	v.Alias = p.pivotAlias()
	return v
}

// pivotItem takes an aggregate with an optional name; FOR is none.
func (p *parser) pivotItem() SelectItem {
	it := SelectItem{Pos: p.peek().pos, Expr: p.expr()}
	if !p.peek().is("FOR") {
		it.Alias = p.optionalName()
	}
	return it
}

func (p *parser) optionalName() string {
	if p.accept("AS") {
		return p.name("a name after AS")
	}
	if p.atAlias() {
		return p.take().val
	}
	return ""
}

// columnGroup takes a column or (columns).
func (p *parser) columnGroup() []Expr {
	one := func() Expr {
		pos := p.peek().pos
		return &Ident{Pos: pos, Parts: p.parts()}
	}
	if !p.peek().op("(") {
		return []Expr{one()}
	}
	p.i++
	var out []Expr
	p.comma(func() { out = append(out, one()) })
	p.expectOp(")")
	return out
}

// parts takes a.b.c as the parts of a name.
func (p *parser) parts() []string {
	out := []string{p.name("the name of a column")}
	for p.peek().op(".") && p.ahead(1).isName() {
		p.i++
		out = append(out, p.name("the name of a column"))
	}
	return out
}

func (p *parser) pivotAlias() *TableAlias {
	pos := p.peek().pos
	if p.atLastWord() || !p.peek().is("AS") && !p.atAlias() {
		return nil
	}
	p.accept("AS")
	return &TableAlias{Pos: pos, Name: p.name("a name after AS")}
}

// unpivot takes UNPIVOT [INCLUDE | EXCLUDE NULLS] (values FOR name IN (columns)) [AS name].
func (p *parser) unpivot(input Relation) Relation {
	u := &Unpivot{Pos: p.take().pos, Input: input}
	if u.Nulls = p.acceptAll("INCLUDE", "NULLS"); !u.Nulls {
		p.acceptAll("EXCLUDE", "NULLS")
	}
	p.expectOp("(")
	if p.peek().op("(") {
		u.Values = p.names("a column name")
	} else {
		u.Values = []string{p.name("the name of the column with the values")}
	}
	p.expect("FOR")
	u.Name = p.name("the name of the column with the names")
	p.expect("IN")
	p.expectOp("(")
	p.comma(func() {
		c := UnpivotColumn{Pos: p.peek().pos, Exprs: p.columnGroup()}
		c.Name = p.optionalName()
		if len(c.Exprs) != len(u.Values) {
			p.failAt(c.Pos, "UNPIVOT_VALUE_SIZE_MISMATCH", "428C4", "UNPIVOT names another number of value columns than this has columns", "")
		}
		u.Columns = append(u.Columns, c)
	})
	p.expectOp(")")
	p.expectOp(")")
	u.Alias = p.pivotAlias()
	return u
}

func (w *writer) pivot(v *Pivot) {
	w.relation(v.Input)
	w.put(" PIVOT (")
	w.list(len(v.Items), func(i int) { w.item(v.Items[i]) })
	w.put(" FOR ")
	w.columnGroup(v.For)
	w.put(" IN (")
	w.list(len(v.Values), func(i int) {
		if len(v.For) > 1 {
			w.columnGroup(v.Values[i].Exprs)
		} else {
			w.exprs(v.Values[i].Exprs)
		}
		w.as(v.Values[i].Name)
	})
	w.put("))")
	w.alias(v.Alias)
}

func (w *writer) columnGroup(es []Expr) {
	if len(es) == 1 {
		w.exprs(es)
		return
	}
	w.put("(")
	w.exprs(es)
	w.put(")")
}

func (w *writer) as(name string) {
	if name != "" {
		w.put(" AS ", QuoteName(name))
	}
}

func (w *writer) unpivot(u *Unpivot) {
	w.relation(u.Input)
	w.put(" UNPIVOT ")
	if u.Nulls {
		w.put("INCLUDE NULLS ")
	}
	w.put("(")
	if len(u.Values) > 1 {
		w.put("(")
	}
	w.list(len(u.Values), func(i int) { w.put(QuoteName(u.Values[i])) })
	if len(u.Values) > 1 {
		w.put(")")
	}
	w.put(" FOR ", QuoteName(u.Name), " IN (")
	w.list(len(u.Columns), func(i int) {
		w.columnGroup(u.Columns[i].Exprs)
		w.as(u.Columns[i].Name)
	})
	w.put("))")
	w.alias(u.Alias)
}
