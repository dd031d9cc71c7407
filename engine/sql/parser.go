package sql

import (
	"fmt"
	"strings"
)

// Limits of the parser. They bound memory and stack for any input.
const (
	// MaxQueryBytes is the longest text that is parsed.
	MaxQueryBytes = 1 << 20
	// MaxDepth is how deep parentheses, sub-queries, CASE and types may nest in the text.
	MaxDepth = 400
	// MaxTreeHeight bounds the height of the tree: long chains such as a + b + c + … lean to one side.
	MaxTreeHeight = 10000
	// MaxErrors is how many errors ParseScript reports before it stops.
	MaxErrors = 100
)

// ParseScript parses statements separated by semicolons. After an error it goes
// on behind the next semicolon, so that all errors of a file are found at once:
// each is an *Error. The statements without errors are returned in order.
func ParseScript(text string) ([]Statement, []error) {
	if err := tooLong(text); err != nil {
		return nil, []error{err}
	}
	p := &parser{src: text, toks: lex(text)}
	var out []Statement
	var errs []error
	for {
		for p.acceptOp(";") {
		}
		if p.peek().kind == tEOF {
			return out, errs
		}
		start := p.i
		st, err := p.one()
		if err != nil {
			if e, ok := err.(*Error); ok {
				e.Declares = p.declares(start)
			}
			errs = append(errs, err)
			if len(errs) >= MaxErrors {
				return out, errs
			}
			p.skipStatement()
			continue
		}
		out = append(out, st)
	}
}

// declares is the name that the CREATE statement at token i is about, "" when there is none.
func (p *parser) declares(i int) string {
	at := p.i
	defer func() { p.i = at }()
	p.i = i
	if !p.accept("CREATE") || !p.accept("STREAM") && !p.accept("TABLE") && !p.acceptAll("STREAMING", "TABLE") {
		return ""
	}
	if p.acceptAll("IF", "NOT") {
		p.accept("EXISTS")
	}
	name := ""
	for p.peek().isName() {
		name += p.take().val
		if !p.acceptOp(".") {
			break
		}
		name += "."
	}
	return name
}

// ParseSelect parses one query; a semicolon may follow. The error is an *Error.
func ParseSelect(text string) (*Query, error) {
	var q *Query
	err := parseAll(text, func(p *parser) {
		q = p.query()
		for p.acceptOp(";") {
		}
	})
	if err != nil {
		return nil, err
	}
	return q, nil
}

// ParseExpr parses one expression. The error is an *Error.
func ParseExpr(text string) (Expr, error) {
	var e Expr
	if err := parseAll(text, func(p *parser) { e = p.expr() }); err != nil {
		return nil, err
	}
	return e, nil
}

// ParseRelation parses the text of a FROM clause without the word FROM. The error is an *Error.
func ParseRelation(text string) (Relation, error) {
	var r Relation
	if err := parseAll(text, func(p *parser) { r = p.fromClause() }); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseType parses a data type as CREATE STREAM and CAST take it. The error is an *Error.
func ParseType(text string) (TypeName, error) {
	var t TypeName
	err := parseAll(text, func(p *parser) { t = p.typeName() })
	return t, err
}

// parseAll runs parse over the whole text.
func parseAll(text string, parse func(*parser)) error {
	if err := tooLong(text); err != nil {
		return err
	}
	p := &parser{src: text, toks: lex(text)}
	return p.guard(func() {
		parse(p)
		if p.peek().kind != tEOF {
			p.unexpected("the end of the text")
		}
	})
}

func tooLong(text string) error {
	if len(text) <= MaxQueryBytes {
		return nil
	}
	return &Error{Pos: Pos{1, 1}, Condition: "PARSE_SYNTAX_ERROR", SQLState: "42601",
		Msg: fmt.Sprintf("the text has %d bytes, more than the limit MaxQueryBytes = %d", len(text), MaxQueryBytes)}
}

type parser struct {
	src   string
	toks  []token
	i     int
	depth int
	// selectFollows: the relation stands before its SELECT, which is then no alias.
	selectFollows bool
}

// guard turns the panic(*Error) of fail into an error; every other panic is a bug and passes.
func (p *parser) guard(parse func()) (err error) {
	depth := p.depth
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			p.depth, err = depth, e
		}
	}()
	parse()
	return nil
}

func (p *parser) one() (st Statement, err error) {
	err = p.guard(func() {
		st = p.statement()
		if t := p.peek(); t.kind != tEOF && !t.op(";") {
			p.unexpected("; or the end of the text")
		}
	})
	return st, err
}

func (p *parser) skipStatement() {
	for t := p.peek(); t.kind != tEOF && !t.op(";"); t = p.peek() {
		p.i++
	}
}

func (p *parser) peek() *token { return &p.toks[p.i] }

// ahead returns the token n places further on; the last one is tEOF.
func (p *parser) ahead(n int) *token {
	return &p.toks[min(p.i+n, len(p.toks)-1)]
}

func (p *parser) take() *token {
	t := &p.toks[p.i]
	if t.kind != tEOF {
		p.i++
	}
	return t
}

func (p *parser) accept(word string) bool {
	if p.peek().is(word) {
		p.i++
		return true
	}
	return false
}

// acceptAll takes a sequence of words, or none of them.
func (p *parser) acceptAll(words ...string) bool {
	for n, w := range words {
		if !p.ahead(n).is(w) {
			return false
		}
	}
	p.i += len(words)
	return true
}

func (p *parser) acceptOp(op string) bool {
	if p.peek().op(op) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(words ...string) {
	for _, w := range words {
		if !p.accept(w) {
			p.unexpected(w)
		}
	}
}

func (p *parser) expectOp(op string) {
	if !p.acceptOp(op) {
		p.unexpected("'" + op + "'")
	}
}

// enter counts nesting; the caller must call leave.
func (p *parser) enter() {
	p.depth++
	if p.depth > MaxDepth {
		p.failAt(p.peek().pos, "PARSE_SYNTAX_ERROR", "42601", fmt.Sprintf("the text nests deeper than the limit MaxDepth = %d", MaxDepth), "")
	}
}

func (p *parser) leave() { p.depth-- }

// comma parses items separated by commas.
func (p *parser) comma(item func()) {
	item()
	for p.acceptOp(",") {
		item()
	}
}

// name takes an identifier; what says for what.
func (p *parser) name(what string) string {
	t := p.peek()
	if !t.isName() {
		p.unexpected(what)
	}
	p.i++
	return t.val
}

// dotted takes a.b.c as one name.
func (p *parser) dotted(what string) string {
	parts := []string{p.name(what)}
	for p.peek().op(".") && p.ahead(1).isName() {
		p.i++
		parts = append(parts, p.name(what))
	}
	if t := p.peek(); t.op("-") && t.off == p.toks[p.i-1].end && p.ahead(1).isName() && p.ahead(1).off == t.end {
		n := p.toks[p.i-1].val + "-" + p.ahead(1).val
		p.failAt(t.pos, "INVALID_IDENTIFIER", "42602", "the name "+clip(n)+" has a minus", "write it in backquotes: `"+clip(n)+"`")
	}
	return strings.Join(parts, ".")
}

// names takes (a, b, …).
func (p *parser) names(what string) []string {
	var out []string
	p.expectOp("(")
	p.comma(func() { out = append(out, p.name(what)) })
	p.expectOp(")")
	return out
}

// text returns the source between two tokens, both included.
func (p *parser) text(from, to int) string {
	if to < from {
		return ""
	}
	return p.src[p.toks[from].off:p.toks[to].end]
}

// unexpected reports the token at hand.
func (p *parser) unexpected(expected string) {
	t := p.peek()
	if t.kind == tError {
		panic(t.err)
	}
	hint := p.suggest(expected)
	msg := "found " + t.describe() + ", expected " + expected
	if t.kind == tEOF {
		msg = "the text ends too early, expected " + expected
	}
	p.failAt(t.pos, "PARSE_SYNTAX_ERROR", "42601", msg, hint)
}

func (p *parser) failAt(pos Pos, cond, state, msg, hint string) {
	panic(&Error{Pos: pos, Condition: cond, SQLState: state, Msg: msg, Hint: hint})
}

// unsupported refuses SQL that Spark reads and we do not.
func (p *parser) unsupported(pos Pos, what, hint string) {
	p.failAt(pos, "UNSUPPORTED_FEATURE", "0A000", what+" is not supported", hint)
}
