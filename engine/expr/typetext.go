package expr

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
)

var typeNamesByText = map[string]column.Kind{"boolean": column.Boolean, "tinyint": column.TinyInt, "byte": column.TinyInt, "smallint": column.SmallInt, "short": column.SmallInt,
	"int": column.Int, "integer": column.Int, "bigint": column.BigInt, "long": column.BigInt, "float": column.Float, "real": column.Float, "double": column.Double,
	"string": column.String, "binary": column.Binary, "date": column.Date, "timestamp": column.Timestamp, "timestamp_ltz": column.Timestamp, "timestamp_ntz": column.TimestampNTZ, "void": column.Void}

// ParseType reads a type as CREATE TABLE writes it, or a list of columns ("a INT, b STRING") as a struct.
func ParseType(s string) (column.Type, bool) {
	p := &typeParser{s: s}
	if t, ok := p.typ(); ok && p.end() {
		return t, true
	}
	p = &typeParser{s: s}
	fields, ok := p.fields(0)
	return column.StructOf(fields...), ok && p.end() && len(fields) > 0
}

type typeParser struct {
	s     string
	depth int
}

func (p *typeParser) end() bool { return strings.TrimSpace(p.s) == "" }

func (p *typeParser) accept(c byte) bool {
	p.s = strings.TrimLeft(p.s, " \t\r\n")
	if p.s != "" && p.s[0] == c {
		p.s = p.s[1:]
		return true
	}
	return false
}

func (p *typeParser) word() string {
	p.s = strings.TrimLeft(p.s, " \t\r\n")
	if strings.HasPrefix(p.s, "`") {
		if end := strings.IndexByte(p.s[1:], '`'); end >= 0 {
			w := p.s[1 : 1+end]
			p.s = p.s[end+2:]
			return w
		}
	}
	n := 0
	for n < len(p.s) && strings.IndexByte(" \t\r\n<>(),:`", p.s[n]) < 0 {
		n++
	}
	w := p.s[:n]
	p.s = p.s[n:]
	return w
}

func (p *typeParser) typ() (column.Type, bool) {
	if p.depth++; p.depth > maxJSONDepth {
		return column.Type{}, false
	}
	defer func() { p.depth-- }()
	switch w := strings.ToLower(p.word()); w {
	case "array":
		if !p.accept('<') {
			return column.Type{}, false
		}
		e, ok := p.typ()
		return column.ArrayOf(e), ok && p.accept('>')
	case "map":
		if !p.accept('<') {
			return column.Type{}, false
		}
		k, ok1 := p.typ()
		comma := p.accept(',')
		v, ok2 := p.typ()
		return mapType(k, v), ok1 && ok2 && comma && p.accept('>')
	case "struct":
		if !p.accept('<') {
			return column.Type{}, false
		}
		f, ok := p.fields('>')
		return column.StructOf(f...), ok && p.accept('>')
	case "decimal", "dec", "numeric":
		return p.decimal()
	case "varchar", "char":
		return column.Of(column.String), p.accept('(') && p.word() != "" && p.accept(')')
	default:
		k, ok := typeNamesByText[w]
		return column.Of(k), ok
	}
}

func (p *typeParser) decimal() (column.Type, bool) {
	if !p.accept('(') {
		return column.DecimalType(10, 0), true
	}
	prec, err := strconv.Atoi(p.word())
	scale := 0
	if p.accept(',') {
		var err2 error
		if scale, err2 = strconv.Atoi(p.word()); err2 != nil {
			return column.Type{}, false
		}
	}
	ok := err == nil && prec >= 1 && prec <= 38 && scale >= 0 && scale <= prec && p.accept(')')
	return column.DecimalType(uint8(max(prec, 0)), uint8(max(scale, 0))), ok
}

// fields reads name[:] type, …; it stops before the closing character.
func (p *typeParser) fields(shut byte) ([]column.Field, bool) {
	var out []column.Field
	for {
		name := p.word()
		if name == "" {
			return out, shut != 0 && len(out) == 0
		}
		p.accept(':')
		t, ok := p.typ()
		if !ok {
			return nil, false
		}
		out = append(out, column.Field{Name: name, Type: t})
		if rest := strings.TrimLeft(p.s, " \t\r\n"); len(rest) > 8 && strings.EqualFold(rest[:8], "not null") {
			p.s = rest[8:]
		}
		if !p.accept(',') {
			return out, true
		}
	}
}
