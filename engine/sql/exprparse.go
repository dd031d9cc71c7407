package sql

import (
	"strings"
	"unicode/utf8"
)

func lower(s string) string { return strings.ToLower(s) }

// expr parses OR, the loosest operator.
func (p *parser) expr() Expr {
	p.enter()
	defer p.leave()
	left := p.conjunction()
	for p.peek().is("OR") {
		pos := p.take().pos
		left = &Binary{Pos: pos, Op: "or", L: left, R: p.conjunction()}
	}
	p.checkHeight(left)
	return left
}

func (p *parser) conjunction() Expr {
	left := p.negation()
	for p.peek().is("AND") {
		pos := p.take().pos
		left = &Binary{Pos: pos, Op: "and", L: left, R: p.negation()}
	}
	return left
}

func (p *parser) negation() Expr {
	t := p.peek()
	switch {
	case t.is("NOT") || t.op("!"):
		p.i++
		p.enter()
		defer p.leave()
		return &Unary{Pos: t.pos, Op: "not", X: p.negation()}
	case t.is("EXISTS") && p.ahead(1).op("(") && p.startsQuery(p.i+2):
		p.i += 2
		q := p.query()
		p.expectOp(")")
		return &Exists{Pos: t.pos, Query: q}
	}
	return p.predicate(p.value(0))
}

// predicate parses at most one of BETWEEN, IN, LIKE, IS behind x.
func (p *parser) predicate(x Expr) Expr {
	t := p.peek()
	not := false
	if (t.is("NOT") || t.op("!")) && p.ahead(1).kind == tWord && has(" BETWEEN IN LIKE ILIKE RLIKE REGEXP ", p.ahead(1).val) {
		p.i++
		not = true
	}
	switch {
	case p.accept("BETWEEN"):
		b := &Between{Pos: t.pos, X: x, Not: not, Lo: p.value(0)}
		p.expect("AND")
		b.Hi = p.value(0)
		return b
	case p.peek().is("IN"):
		return p.in(x, t.pos, not)
	case p.accept("RLIKE"), p.accept("REGEXP"):
		return &Like{Pos: t.pos, X: x, Op: "rlike", Not: not, Pattern: p.value(0)}
	case p.accept("LIKE"):
		return p.like(&Like{Pos: t.pos, X: x, Op: "like", Not: not})
	case p.accept("ILIKE"):
		return p.like(&Like{Pos: t.pos, X: x, Op: "ilike", Not: not})
	case p.accept("IS"):
		return p.is(x, t.pos)
	}
	return x
}

func (p *parser) in(x Expr, pos Pos, not bool) Expr {
	p.i++
	if t := p.peek(); !t.op("(") {
		p.unexpected("'(' after IN")
	}
	if p.subqueryParen(p.i) {
		p.i++
		q := p.query()
		p.expectOp(")")
		return &InQuery{Pos: pos, X: x, Query: q, Not: not}
	}
	in := &InList{Pos: pos, X: x, Not: not}
	p.expectOp("(")
	p.comma(func() { in.List = append(in.List, p.expr()) })
	p.expectOp(")")
	return in
}

func (p *parser) like(l *Like) Expr {
	t := p.peek()
	if (t.is("ANY") || t.is("SOME") || t.is("ALL")) && p.ahead(1).op("(") {
		p.i += 2
		l.Quantifier = "any"
		if t.is("ALL") {
			l.Quantifier = "all"
		}
		p.comma(func() { l.Patterns = append(l.Patterns, p.expr()) })
		p.expectOp(")")
		return l
	}
	l.Pattern = p.value(0)
	if p.accept("ESCAPE") {
		pos := p.peek().pos
		if p.peek().kind != tString {
			p.unexpected("one character as a string after ESCAPE")
		}
		l.Escape = p.stringLit()
		if utf8.RuneCountInString(l.Escape) != 1 {
			p.failAt(pos, "INVALID_ESCAPE_CHAR", "42604", "ESCAPE takes exactly one character, not '"+clip(l.Escape)+"'", "")
		}
	}
	return l
}

func (p *parser) is(x Expr, pos Pos) Expr {
	not := p.accept("NOT") || p.acceptOp("!")
	t := p.peek()
	switch {
	case p.accept("NULL"):
		return &IsNull{Pos: pos, X: x, Not: not}
	case p.accept("TRUE"), p.accept("FALSE"), p.accept("UNKNOWN"):
		return &IsBool{Pos: pos, X: x, Value: lower(t.val), Not: not}
	case p.accept("DISTINCT"):
		p.expect("FROM")
		return &IsDistinct{Pos: pos, L: x, R: p.value(0), Not: not}
	}
	p.unexpected("NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM after IS")
	return nil
}

// Binding powers of the value operators, loosest first; all are left-associative.
const (
	precCompare = 10
	precOr      = 20
	precXor     = 25
	precAnd     = 30
	precShift   = 40
	precAdd     = 50
	precMul     = 60
	precUnary   = 70
	precPrimary = 80
)

// precedence of a value operator, 0 when op is none.
func precedence(op string) int {
	switch op {
	case "=", "<=>", "<>", "<", "<=", ">", ">=":
		return precCompare
	case "|":
		return precOr
	case "^":
		return precXor
	case "&":
		return precAnd
	case "<<", ">>", ">>>":
		return precShift
	case "+", "-", "||":
		return precAdd
	case "*", "/", "%", "div":
		return precMul
	}
	return 0
}

// valueOp returns the operator at hand, or "".
func (p *parser) valueOp() string {
	t := p.peek()
	switch {
	case t.kind == tOp:
		return t.val
	case t.is("DIV"):
		return "div"
	}
	return ""
}

// value parses operators that bind tighter than least.
func (p *parser) value(least int) Expr {
	left := p.unary()
	for {
		op := p.valueOp()
		prec := precedence(op)
		if prec == 0 || prec <= least {
			return left
		}
		pos := p.take().pos
		left = &Binary{Pos: pos, Op: op, L: left, R: p.value(prec)}
	}
}

func (p *parser) unary() Expr {
	t := p.peek()
	if t.op("-") && p.ahead(1).kind == tNumber {
		p.i++
		return p.postfix(p.number(t.pos, true))
	}
	if t.op("-") || t.op("+") || t.op("~") {
		p.i++
		p.enter()
		defer p.leave()
		return &Unary{Pos: t.pos, Op: t.val, X: p.unary()}
	}
	return p.postfix(p.primary())
}

// postfix parses x[i], x.name and x::type.
func (p *parser) postfix(x Expr) Expr {
	for {
		t := p.peek()
		switch {
		case p.acceptOp("["):
			s := &Subscript{Pos: t.pos, X: x, Index: p.value(0)}
			p.expectOp("]")
			x = s
		case t.op(".") && p.ahead(1).isName():
			p.i++
			x = &Field{Pos: p.peek().pos, X: x, Name: p.name("a field name")}
		case p.acceptOp("::"):
			x = &Cast{Pos: t.pos, X: x, Type: p.typeName()}
		case t.op(":"):
			p.unsupported(t.pos, "the path operator ':'", "declare the column as STRUCT or ARRAY, or use get_json_object(column, '$.path')")
		case t.is("COLLATE") && p.ahead(1).is("UTF8_BINARY"): // what strings are anyway
			p.i += 2
		case t.is("COLLATE") && p.ahead(1).isName():
			p.unsupported(t.pos, "COLLATE", "strings compare by their UTF-8 bytes; use lower() to ignore case")
		default:
			return x
		}
	}
}

// primary parses a literal, name, call, CASE, sub-query or parenthesis.
func (p *parser) primary() Expr {
	t := p.peek()
	switch t.kind {
	case tNumber:
		return p.number(t.pos, false)
	case tString:
		return &Literal{Pos: t.pos, Kind: LitString, Text: p.stringLit()}
	case tWord:
		if e := p.special(t); e != nil {
			return e
		}
		return p.nameOrCall()
	case tQuoted:
		return p.nameOrCall()
	}
	switch {
	case t.op("("):
		return p.paren()
	case t.op("*"):
		p.i++
		return p.starExcept(&Star{Pos: t.pos})
	case t.op("?"):
		p.unsupported(t.pos, "a parameter marker", "write the value")
	}
	p.unexpected("an expression")
	return nil
}

// paren parses (query), (a, b) -> body, (a, b) and (a).
func (p *parser) paren() Expr {
	t := p.peek()
	if p.subqueryParen(p.i) {
		p.i++
		q := p.query()
		p.expectOp(")")
		return &ScalarSubquery{Pos: t.pos, Query: q}
	}
	if t.match > 0 && t.match+1 < len(p.toks) && p.toks[t.match+1].op("->") {
		l := &Lambda{Pos: t.pos, Params: p.names("a lambda parameter")}
		p.expectOp("->")
		l.Body = p.expr()
		return l
	}
	p.i++
	first := p.aliased()
	if !p.peek().op(",") {
		if a, ok := first.(*Alias); ok {
			p.failAt(a.Pos, "PARSE_SYNTAX_ERROR", "42601", "found the name "+clip(a.Name)+", expected ')'", p.suggest(""))
		}
		p.expectOp(")")
		return first
	}
	row := &Row{Pos: t.pos, Items: []Expr{first}}
	for p.acceptOp(",") {
		row.Items = append(row.Items, p.aliased())
	}
	p.expectOp(")")
	return row
}

// aliased parses expr [[AS] name], the items of struct(…) and of a row.
func (p *parser) aliased() Expr {
	e := p.expr()
	switch pos := p.peek().pos; {
	case p.accept("AS"):
		return &Alias{Pos: pos, X: e, Name: p.name("a field name after AS")}
	case p.atAlias():
		return &Alias{Pos: pos, X: e, Name: p.take().val}
	}
	return e
}

func (p *parser) starExcept(s *Star) Expr {
	if p.peek().is("EXCEPT") && p.ahead(1).op("(") && !p.queryParen(p.i+1) {
		p.i += 2
		p.comma(func() {
			col := []string{p.name("a column name")}
			for p.acceptOp(".") {
				col = append(col, p.name("a column name"))
			}
			s.Except = append(s.Except, col)
		})
		p.expectOp(")")
	}
	return s
}

// nameOrCall parses a, a.b, a.*, a -> body and f(…).
func (p *parser) nameOrCall() Expr {
	t := p.peek()
	switch next := p.ahead(1); {
	case next.op("("):
		return p.call()
	case next.op("->"):
		p.i += 2
		return &Lambda{Pos: t.pos, Params: []string{t.val}, Body: p.expr()}
	case t.is("TIME") && next.kind == tString: // the analyser refuses it, as in Spark
		p.i += 2
		return &Call{Pos: t.pos, Name: "time", Args: []Expr{&Literal{Pos: next.pos, Kind: LitString, Text: next.val}}}
	case t.kind == tWord && next.kind == tString:
		p.failAt(t.pos, "UNSUPPORTED_TYPED_LITERAL", "0A000", "literals of the type '"+clip(t.val)+"' are not supported", "DATE, TIMESTAMP, TIMESTAMP_NTZ, INTERVAL and X stand before a string")
	}
	p.i++
	id := &Ident{Pos: t.pos, Parts: []string{t.val}}
	for p.peek().op(".") {
		next := p.ahead(1)
		switch {
		case next.op("*"):
			p.i += 2
			return p.starExcept(&Star{Pos: t.pos, Qualifier: id.Parts})
		case !next.isName():
			p.i++
			p.unexpected("a column or field name after the point")
		case p.ahead(2).op("("):
			p.failAt(t.pos, "UNRESOLVED_ROUTINE", "42883", "the function "+clip(strings.Join(id.Parts, "."))+"."+clip(next.val)+" has a qualifier", "functions have plain names here")
		}
		p.i += 2
		id.Parts = append(id.Parts, next.val)
	}
	return id
}
