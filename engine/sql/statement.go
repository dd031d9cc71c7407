package sql

import "strings"

func (p *parser) statement() Statement {
	start, pos := p.i, p.peek().pos
	switch {
	case p.accept("CREATE"):
		return p.create(start, pos)
	case p.accept("DROP"):
		return p.drop(start, pos)
	case p.startsQuery(p.i):
		q := p.query()
		return &SelectStatement{Pos: pos, Source: p.source(start), Query: q}
	}
	if t := p.peek(); t.kind == tWord && has(foreignStatements, t.val) {
		p.unsupported(pos, strings.ToUpper(t.val), "the statements are SELECT, CREATE STREAM, CREATE TABLE, CREATE STREAMING TABLE and DROP")
	}
	p.unexpected("SELECT, WITH, VALUES, CREATE or DROP")
	return nil
}

const foreignStatements = " INSERT UPDATE DELETE MERGE ALTER SHOW DESCRIBE EXPLAIN SET USE TRUNCATE REFRESH CACHE ANALYZE GRANT REVOKE CALL BEGIN DECLARE EXECUTE "

func (p *parser) source(start int) Source { return Source{p.text(start, p.i-1)} }

func (p *parser) create(start int, pos Pos) Statement {
	if p.peek().is("OR") || p.peek().is("TEMPORARY") || p.peek().is("EXTERNAL") {
		p.unsupported(p.peek().pos, "CREATE "+strings.ToUpper(p.peek().val), "drop it first, then CREATE it")
	}
	switch {
	case p.accept("STREAM"):
		p.noIfExists()
		s := &CreateStream{Pos: pos, Name: p.dotted("the name of the stream"), Columns: p.columns(), Options: p.options()}
		s.Source = p.source(start)
		return s
	case p.acceptAll("STREAMING", "TABLE"):
		return p.createStreamingTable(start, pos)
	case p.accept("TABLE"):
		p.noIfExists()
		s := &CreateTable{Pos: pos, Name: p.dotted("the name of the table")}
		if t := p.peek(); t.is("AS") || t.is("USING") {
			p.unsupported(t.pos, "CREATE TABLE … "+strings.ToUpper(t.val), "a static table is declared with its columns and filled by an upload; CREATE STREAMING TABLE … AS SELECT computes one")
		}
		s.Columns, s.Options = p.columns(), p.options()
		s.Source = p.source(start)
		return s
	case p.peek().is("VIEW") || p.peek().is("FUNCTION") || p.peek().is("MATERIALIZED"):
		p.unsupported(p.peek().pos, "CREATE "+strings.ToUpper(p.peek().val), "write CREATE STREAMING TABLE name AS SELECT …")
	}
	p.unexpected("STREAM, TABLE or STREAMING TABLE")
	return nil
}

func (p *parser) createStreamingTable(start int, pos Pos) Statement {
	p.noIfExists()
	s := &CreateStreamingTable{Pos: pos, Name: p.dotted("the name of the streaming table"), Options: p.options()}
	p.expect("AS")
	from := p.i
	if !p.startsQuery(p.i) {
		p.unexpected("SELECT, WITH or VALUES")
	}
	s.Query = p.query()
	s.QueryText = p.text(from, p.i-1)
	s.Source = p.source(start)
	return s
}

func (p *parser) noIfExists() {
	if p.peek().is("IF") && (p.ahead(1).is("NOT") || p.ahead(1).is("EXISTS")) {
		p.unsupported(p.peek().pos, "IF [NOT] EXISTS", "signalbox apply compares declarations and changes only what differs")
	}
}

func (p *parser) drop(start int, pos Pos) Statement {
	d := &Drop{Pos: pos}
	switch {
	case p.accept("STREAM"):
		d.Kind = DropStream
	case p.acceptAll("STREAMING", "TABLE"):
		d.Kind = DropStreamingTable
	case p.accept("TABLE"):
		d.Kind = DropTable
	default:
		p.unexpected("STREAM, TABLE or STREAMING TABLE")
	}
	p.noIfExists()
	d.Name = p.dotted("a name")
	d.Source = p.source(start)
	return d
}

// columns takes (name TYPE [NOT NULL] [COMMENT '…'], …).
func (p *parser) columns() []ColumnDef {
	var out []ColumnDef
	p.expectOp("(")
	p.comma(func() {
		c := ColumnDef{Pos: p.peek().pos, Name: p.name("the name of a column")}
		for _, o := range out {
			if strings.EqualFold(o.Name, c.Name) {
				p.failAt(c.Pos, "COLUMN_ALREADY_EXISTS", "42711", "the column "+clip(c.Name)+" is declared twice", "")
			}
		}
		c.Type = p.typeName()
		if p.peek().is("NOT") {
			p.unsupported(p.peek().pos, "NOT NULL", "a missing field is NULL in every stream; filter with WHERE "+clip(c.Name)+" IS NOT NULL")
		}
		p.comment()
		out = append(out, c)
	})
	p.expectOp(")")
	return out
}

func (p *parser) comment() {
	if p.peek().is("COMMENT") && p.ahead(1).kind == tString {
		p.i += 2
	}
}

// options takes [OPTIONS (key 'value', key = 5, …)].
func (p *parser) options() []Option {
	if !p.accept("OPTIONS") {
		return nil
	}
	var out []Option
	p.expectOp("(")
	p.comma(func() {
		o := Option{Pos: p.peek().pos}
		if t := p.peek(); t.kind == tString {
			o.Key = strings.ToLower(t.val)
			p.i++
		} else {
			o.Key = strings.ToLower(p.dotted("the name of an option"))
		}
		p.acceptOp("=")
		o.ValuePos = p.peek().pos
		o.Value = p.optionValue()
		for _, other := range out {
			if other.Key == o.Key {
				p.failAt(o.Pos, "DUPLICATE_KEY", "23505", "the option "+clip(o.Key)+" is given twice", "")
			}
		}
		out = append(out, o)
	})
	p.expectOp(")")
	return out
}

func (p *parser) optionValue() string {
	minus := ""
	if p.peek().op("-") && p.ahead(1).kind == tNumber {
		p.i++
		minus = "-"
	}
	switch t := p.peek(); {
	case t.kind == tString && minus == "":
		return p.stringLit()
	case t.kind == tNumber:
		p.i++
		return minus + t.val
	case t.is("TRUE"), t.is("FALSE"):
		p.i++
		return strings.ToLower(t.val)
	}
	p.unexpected("the value of the option as a string")
	return ""
}
