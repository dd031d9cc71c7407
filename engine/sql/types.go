package sql

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// simpleType returns the kind of a type without parameters.
func simpleType(name string) (column.Kind, bool) {
	switch strings.ToUpper(name) {
	case "BOOLEAN":
		return column.Boolean, true
	case "TINYINT", "BYTE":
		return column.TinyInt, true
	case "SMALLINT", "SHORT":
		return column.SmallInt, true
	case "INT", "INTEGER":
		return column.Int, true
	case "BIGINT", "LONG":
		return column.BigInt, true
	case "FLOAT", "REAL":
		return column.Float, true
	case "DOUBLE":
		return column.Double, true
	case "STRING":
		return column.String, true
	case "BINARY":
		return column.Binary, true
	case "DATE":
		return column.Date, true
	case "TIMESTAMP", "TIMESTAMP_LTZ":
		return column.Timestamp, true
	case "TIMESTAMP_NTZ":
		return column.TimestampNTZ, true
	case "VOID":
		return column.Void, true
	}
	return 0, false
}

// typeName parses a data type.
func (p *parser) typeName() TypeName {
	p.enter()
	defer p.leave()
	t := p.peek()
	if !t.isName() {
		p.unexpected("a data type")
	}
	n := TypeName{Pos: t.pos}
	if kind, ok := simpleType(t.val); ok && t.kind == tWord {
		p.i++
		n.Type = column.Of(kind)
		if t.is("TIMESTAMP") && p.acceptAll("WITHOUT", "TIME", "ZONE") {
			n.Type = column.Of(column.TimestampNTZ)
		}
		return n
	}
	p.i++
	switch strings.ToUpper(t.val) {
	case "DECIMAL", "DEC", "NUMERIC":
		n.Type = p.decimalType()
	case "CHAR", "CHARACTER", "VARCHAR":
		p.length(t)
		n.Type = column.Of(column.String)
	case "INTERVAL":
		p.intervalType(&n)
	case "ARRAY":
		p.open(t)
		n.Type = column.ArrayOf(p.typeName().Type)
		p.closeType()
	case "MAP":
		p.open(t)
		key := p.typeName().Type
		p.expectOp(",")
		value := p.typeName().Type
		p.closeType()
		n.Type = column.Type{Kind: column.Map, Key: &key, Elem: &value}
	case "STRUCT":
		n.Type = p.structType(t)
	default:
		hint := "the types are BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p,s), STRING, BINARY, DATE, TIMESTAMP, TIMESTAMP_NTZ, INTERVAL, ARRAY, STRUCT and MAP"
		if w := nearest(t.val, typeWords); w != "" {
			hint = "did you mean " + w + "?"
		}
		p.failAt(t.pos, "UNSUPPORTED_DATATYPE", "0A000", "there is no type "+clip(t.val), hint)
	}
	return n
}

var typeWords = strings.Fields("BOOLEAN TINYINT SMALLINT INT INTEGER BIGINT FLOAT DOUBLE DECIMAL STRING BINARY DATE TIMESTAMP TIMESTAMP_NTZ INTERVAL ARRAY STRUCT MAP")

func (p *parser) decimalType() column.Type {
	if !p.acceptOp("(") {
		return column.DecimalType(10, 0)
	}
	pos := p.peek().pos
	precision, scale := p.smallInt("the precision"), 0
	if p.acceptOp(",") {
		scale = p.smallInt("the scale")
	}
	p.expectOp(")")
	if precision > maxPrecision || scale > maxPrecision {
		p.failAt(pos, "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", "22003", "DECIMAL("+strconv.Itoa(precision)+","+strconv.Itoa(scale)+") is wider than 38 digits", "")
	}
	if scale > precision || precision == 0 {
		p.failAt(pos, "DECIMAL_SCALE_EXCEEDS_PRECISION", "22003", "DECIMAL("+strconv.Itoa(precision)+","+strconv.Itoa(scale)+") needs 1 <= precision and scale <= precision", "")
	}
	return column.DecimalType(uint8(precision), uint8(scale))
}

// smallInt takes a plain integer up to 1000000.
func (p *parser) smallInt(what string) int {
	t := p.peek()
	v, err := strconv.Atoi(t.val)
	if t.kind != tNumber || t.suffix != "" || err != nil || v > 1000000 {
		p.unexpected(what + " as a whole number")
	}
	p.i++
	return v
}

func (p *parser) length(t *token) {
	if !p.acceptOp("(") {
		if !t.is("VARCHAR") {
			return
		}
		p.failAt(t.pos, "DATATYPE_MISSING_SIZE", "42K01", "VARCHAR needs a length", "write STRING, or VARCHAR(n)")
	}
	p.smallInt("the length")
	p.expectOp(")")
}

func (p *parser) intervalType(n *TypeName) {
	t := p.peek()
	first := fieldRank(t)
	if first == 0 {
		n.Type = column.CalendarInterval()
		return
	}
	p.i++
	n.From = strings.ToUpper(t.val)
	n.To = n.From
	last := first
	if p.accept("TO") {
		to := p.peek()
		if last = fieldRank(to); last == 0 {
			p.unexpected("a field of an interval")
		}
		p.i++
		n.To = strings.ToUpper(to.val)
	}
	if first <= 2 != (last <= 2) || last < first || n.From != n.To && last == first {
		p.failAt(t.pos, "PARSE_SYNTAX_ERROR", "42601", "there is no type INTERVAL "+n.From+" TO "+n.To, "write YEAR TO MONTH, or a pair of DAY, HOUR, MINUTE, SECOND in this order")
	}
	n.Type = column.IntervalOf(uint8(first-1), uint8(last-1))
}

// fieldRank orders the fields of interval types; 0 = no such field.
func fieldRank(t *token) int {
	for i, f := range intervalFields {
		if t.is(f) {
			return i + 1
		}
	}
	return 0
}

var intervalFields = [...]string{"YEAR", "MONTH", "DAY", "HOUR", "MINUTE", "SECOND"}

func (p *parser) open(t *token) {
	if !p.acceptOp("<") {
		p.failAt(t.pos, "INCOMPLETE_TYPE_DEFINITION."+strings.ToUpper(t.val), "42K01", "the type "+strings.ToUpper(t.val)+" needs what it holds", "write "+strings.ToUpper(t.val)+"<…>")
	}
}

// closeType takes the > of a type, splitting >> and >>>.
func (p *parser) closeType() {
	t := p.peek()
	if (t.op(">>") || t.op(">>>") || t.op(">=")) && t.end-t.off == len(t.val) {
		rest := *t
		rest.val, rest.off, rest.pos.Col = t.val[1:], t.off+1, t.pos.Col+1
		p.toks[p.i] = rest
		return
	}
	p.expectOp(">")
}

func (p *parser) structType(t *token) column.Type {
	st := column.Type{Kind: column.Struct}
	if p.acceptOp("<>") {
		return st
	}
	p.open(t)
	if p.acceptOp(">") {
		return st
	}
	p.comma(func() {
		f := column.Field{Name: p.name("a field name")}
		p.acceptOp(":")
		f.Type = p.typeName().Type
		if p.acceptAll("NOT", "NULL") {
			p.comment()
		}
		p.comment()
		st.Fields = append(st.Fields, f)
	})
	p.closeType()
	return st
}
