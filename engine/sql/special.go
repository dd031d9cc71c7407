package sql

import "strings"

// Words that never begin an expression, so that a forgotten operand is reported where it is missing.
const noOperand = " AND OR THEN WHEN ELSE AS BY IN IS LIKE ILIKE RLIKE REGEXP BETWEEN WHERE HAVING UNION INTERSECT JOIN "

// special parses what begins with a word that has a meaning of its own; nil when it is just a name.
func (p *parser) special(t *token) Expr {
	next := p.ahead(1)
	switch strings.ToUpper(t.val) {
	case "NULL":
		return p.constant(LitNull, "")
	case "TRUE":
		return p.constant(LitBool, "true")
	case "FALSE":
		return p.constant(LitBool, "false")
	case "DATE":
		return p.typed(LitDate)
	case "TIMESTAMP", "TIMESTAMP_LTZ":
		return p.typed(LitTimestamp)
	case "TIMESTAMP_NTZ":
		return p.typed(LitTimestampNTZ)
	case "X":
		return p.typed(LitBinary)
	case "INTERVAL":
		if p.atInterval() {
			return p.interval()
		}
	case "CASE":
		if next.kind != tEOF && (next.kind != tOp || strings.Contains("( - + ~ !", next.val)) && !next.is("FROM") {
			return p.caseExpr()
		}
	case "CAST", "TRY_CAST":
		if next.op("(") {
			return p.cast()
		}
	case "CURRENT_DATE", "CURRENT_TIMESTAMP", "CURRENT_TIME", "LOCALTIMESTAMP":
		if !next.op("(") && !next.op(".") && !next.op("->") {
			p.i++
			return &Call{Pos: t.pos, Name: lower(t.val)}
		}
	case "GROUP", "ORDER":
		if next.is("BY") {
			p.unexpected("an expression")
		}
	case "LIMIT", "OFFSET":
		if next.kind == tNumber {
			p.unexpected("an expression")
		}
	}
	if has(noOperand, t.val) && !next.op("(") || t.is("NOT") {
		p.unexpected("an expression")
	}
	return nil
}

func (p *parser) constant(kind LitKind, text string) Expr {
	return &Literal{Pos: p.take().pos, Kind: kind, Text: text}
}

// typed parses DATE'…' and friends; nil when the word is just a name.
func (p *parser) typed(kind LitKind) Expr {
	s := p.ahead(1)
	if s.kind != tString {
		return nil
	}
	pos := p.take().pos
	p.i++
	text := s.val
	if kind == LitBinary {
		text = p.hexBytes(s)
	}
	return &Literal{Pos: pos, Kind: kind, Text: text}
}

func (p *parser) hexBytes(s *token) string {
	digits := s.val
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	out := make([]byte, 0, len(digits)/2)
	for i := 0; i+1 < len(digits); i += 2 {
		hi, lo := strings.IndexByte(hexDigits, digits[i]|0x20), strings.IndexByte(hexDigits, digits[i+1]|0x20)
		if hi < 0 || lo < 0 {
			p.failAt(s.pos, "INVALID_TYPED_LITERAL", "42604", "X'"+clip(s.val)+"' has characters that are no hexadecimal digits", "")
		}
		out = append(out, byte(hi<<4|lo))
	}
	return string(out)
}

const hexDigits = "0123456789abcdef"

// stringLit takes adjacent string literals as one.
func (p *parser) stringLit() string {
	first := p.take().val
	if p.peek().kind != tString {
		return first
	}
	var b strings.Builder
	b.WriteString(first)
	for p.peek().kind == tString {
		b.WriteString(p.take().val)
	}
	return b.String()
}

func (p *parser) caseExpr() Expr {
	c := &Case{Pos: p.take().pos}
	if !p.peek().is("WHEN") {
		c.Operand = p.expr()
	}
	for p.accept("WHEN") {
		w := When{Cond: p.expr()}
		p.expect("THEN")
		w.Then = p.expr()
		c.Whens = append(c.Whens, w)
	}
	if len(c.Whens) == 0 {
		p.unexpected("WHEN")
	}
	if p.accept("ELSE") {
		c.Else = p.expr()
	}
	if !p.accept("END") {
		p.unexpected("WHEN, ELSE or END of the CASE")
	}
	return c
}

func (p *parser) cast() Expr {
	t := p.take()
	c := &Cast{Pos: t.pos, Try: t.is("TRY_CAST")}
	p.expectOp("(")
	c.X = p.expr()
	p.expect("AS")
	c.Type = p.typeName()
	p.expectOp(")")
	return c
}

// call parses f(…) with its special syntaxes and the clauses of aggregates.
func (p *parser) call() Expr {
	t := p.take()
	c := &Call{Pos: t.pos, Name: lower(t.val)}
	p.expectOp("(")
	if p.specialCall(c) {
		p.expectOp(")")
	} else if !p.acceptOp(")") {
		p.arguments(c)
		p.expectOp(")")
	}
	p.unitCall(c)
	p.callClauses(c)
	return c
}

func (p *parser) arguments(c *Call) {
	if p.quantifier("DISTINCT") {
		p.i++
		c.Distinct = true
	} else if p.quantifier("ALL") {
		p.i++
	}
	unit := isUnitCall(c.Name)
	p.comma(func() {
		if len(c.Args) == 0 && unit && p.peek().kind == tWord && has(units, p.peek().val) && p.ahead(1).op(",") {
			u := p.take()
			c.Args = append(c.Args, &Unit{Pos: u.pos, Name: strings.ToUpper(u.val)})
			return
		}
		if c.Name == "struct" {
			c.Args = append(c.Args, p.aliased())
			return
		}
		c.Args = append(c.Args, p.argument())
	})
	if p.peek().is("IGNORE") && p.ahead(1).is("NULLS") && has(" FIRST LAST ANY_VALUE FIRST_VALUE LAST_VALUE ", c.Name) {
		p.i += 2
		c.Nulls = "ignore"
	}
}

// argument takes an expression or name => expression.
func (p *parser) argument() Expr {
	if t := p.peek(); t.isName() && p.ahead(1).op("=>") {
		p.i += 2
		return &NamedArg{Pos: t.pos, Name: t.val, Value: p.expr()}
	}
	return p.expr()
}

// specialCall parses EXTRACT(f FROM x), TRIM(BOTH a FROM b), SUBSTRING(s FROM a FOR b),
// POSITION(a IN b) and OVERLAY(…) behind the parenthesis. False when the arguments are plain.
func (p *parser) specialCall(c *Call) bool {
	switch c.Name {
	case "extract":
		if t := p.peek(); t.isName() && p.ahead(1).is("FROM") {
			p.i += 2
			c.Args = []Expr{&Literal{Pos: t.pos, Kind: LitString, Text: strings.ToUpper(t.val)}, p.value(0)}
			return true
		}
	case "trim":
		return p.trim(c)
	case "substring", "substr":
		return p.wordAhead("FROM") && p.keywordArguments(c, "FROM")
	case "position":
		return p.wordAhead("IN") && p.keywordArguments(c, "IN")
	case "overlay":
		return p.wordAhead("PLACING") && p.keywordArguments(c, "PLACING")
	}
	return false
}

// wordAhead reports whether word separates the arguments of the call whose parenthesis was just taken.
func (p *parser) wordAhead(word string) bool {
	cases := 0
	for i := p.i; i < len(p.toks); i++ {
		switch t := &p.toks[i]; {
		case t.op(")"), t.op(";"), t.op(","):
			return false
		case t.op("("):
			if t.match < 0 {
				return false
			}
			i = t.match
		case t.is("CASE"):
			cases++
		case t.is("END"):
			cases--
		case cases <= 0 && t.is(word) && !p.toks[i-1].is("DISTINCT"):
			return true
		}
	}
	return false
}

func (p *parser) trim(c *Call) bool {
	t := p.peek()
	side := t.kind == tWord && has(" BOTH LEADING TRAILING ", t.val) && !p.ahead(1).op(")") && !p.ahead(1).op(",")
	if side {
		switch {
		case t.is("LEADING"):
			c.Name = "ltrim"
		case t.is("TRAILING"):
			c.Name = "rtrim"
		}
		p.i++
	}
	if !side && !p.wordAhead("FROM") {
		return false
	}
	if p.accept("FROM") {
		c.Args = []Expr{p.value(0)}
		return true
	}
	what := p.value(0)
	p.expect("FROM")
	c.Args = []Expr{what, p.value(0)}
	return true
}

// keywordArguments parses the arguments of SUBSTRING, POSITION and OVERLAY when they are separated by words.
func (p *parser) keywordArguments(c *Call, word string) bool {
	c.Args = append(c.Args, p.value(0))
	p.expect(word)
	c.Args = append(c.Args, p.value(0))
	if c.Name == "overlay" {
		p.expect("FROM")
		c.Args = append(c.Args, p.value(0))
	}
	if c.Name != "position" && p.accept("FOR") {
		c.Args = append(c.Args, p.value(0))
	}
	return true
}

const units = " YEAR QUARTER MONTH WEEK DAY DAYOFYEAR HOUR MINUTE SECOND MILLISECOND MICROSECOND "

func isUnitCall(name string) bool {
	return has(" TIMESTAMPADD DATEADD DATE_ADD TIMESTAMPDIFF DATEDIFF DATE_DIFF TIMEDIFF ", name)
}

// unitCall gives calls with a unit their common name, and takes back a unit that is a column after all.
func (p *parser) unitCall(c *Call) {
	if !isUnitCall(c.Name) || len(c.Args) == 0 {
		return
	}
	switch u := c.Args[0].(type) {
	case *Unit:
		switch {
		case len(c.Args) != 3:
			c.Args[0] = &Ident{Pos: u.Pos, Parts: []string{u.Name}}
		case strings.HasSuffix(c.Name, "add"):
			c.Name = "timestampadd"
		default:
			c.Name = "timestampdiff"
		}
	case *Literal:
		if len(c.Args) == 3 && u.Kind == LitString {
			p.failAt(u.Pos, "INVALID_PARAMETER_VALUE.DATETIME_UNIT", "22023", c.Name+" takes its unit as a bare word, not as the string '"+clip(u.Text)+"'",
				"one of"+strings.TrimRight(units, " "))
		}
	}
}

// callClauses parses WITHIN GROUP, FILTER, IGNORE NULLS and OVER behind a call.
func (p *parser) callClauses(c *Call) {
	if p.peek().is("WITHIN") && p.ahead(1).is("GROUP") {
		p.i += 2
		p.expectOp("(")
		p.expect("ORDER", "BY")
		c.Within = p.sortItems()
		p.expectOp(")")
	}
	if p.peek().is("FILTER") && p.ahead(1).op("(") {
		p.i += 2
		p.expect("WHERE")
		c.Filter = p.expr()
		p.expectOp(")")
	}
	switch {
	case p.acceptAll("IGNORE", "NULLS"):
		c.Nulls = "ignore"
	case p.acceptAll("RESPECT", "NULLS"):
		c.Nulls = "respect"
	}
	if t := p.peek(); t.is("OVER") && (p.ahead(1).op("(") || p.ahead(1).isName() && !p.ahead(1).is("FROM")) {
		p.i++
		c.Over = p.windowSpec()
	}
}

func (p *parser) windowSpec() *WindowSpec {
	w := &WindowSpec{Pos: p.peek().pos}
	if p.peek().isName() {
		w.Ref = p.name("the name of a window")
		return w
	}
	p.expectOp("(")
	if t := p.peek(); t.isName() && p.ahead(1).op(")") {
		w.Ref = p.name("the name of a window")
		p.i++
		return w
	}
	switch {
	case p.acceptAll("CLUSTER", "BY"), p.acceptAll("PARTITION", "BY"), p.acceptAll("DISTRIBUTE", "BY"):
		p.comma(func() { w.Partition = append(w.Partition, p.expr()) })
	}
	if p.acceptAll("ORDER", "BY") || p.acceptAll("SORT", "BY") {
		w.Order = p.sortItems()
	}
	if t := p.peek(); t.is("ROWS") || t.is("RANGE") {
		w.Frame = p.frame()
	}
	if !p.peek().op(")") {
		p.unexpected("PARTITION BY, ORDER BY, ROWS, RANGE or ')'")
	}
	p.i++
	return w
}

func (p *parser) frame() *Frame {
	t := p.take()
	f := &Frame{Pos: t.pos, Rows: t.is("ROWS"), End: Bound{Kind: CurrentRow}}
	if !p.accept("BETWEEN") {
		f.Start = p.bound()
		return f
	}
	f.Start = p.bound()
	p.expect("AND")
	f.End = p.bound()
	return f
}

func (p *parser) bound() Bound {
	switch {
	case p.acceptAll("CURRENT", "ROW"):
		return Bound{Kind: CurrentRow}
	case p.acceptAll("UNBOUNDED", "PRECEDING"):
		return Bound{Kind: UnboundedPreceding}
	case p.acceptAll("UNBOUNDED", "FOLLOWING"):
		return Bound{Kind: UnboundedFollowing}
	}
	// AND separates the bounds, so the offset cannot hold one without parentheses.
	b := Bound{Offset: p.value(0)}
	switch {
	case p.accept("PRECEDING"):
		b.Kind = Preceding
	case p.accept("FOLLOWING"):
		b.Kind = Following
	default:
		p.unexpected("PRECEDING or FOLLOWING")
	}
	return b
}
