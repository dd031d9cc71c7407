package expr

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"signalbox/engine/column"
)

// jsonKind is the kind of a JSON value.
type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonBool
	jsonNumber
	jsonString
	jsonArray
	jsonObject
)

// jsonNode is a parsed JSON value; members keep their order.
type jsonNode struct {
	kind jsonKind
	text string // number and boolean as written, string decoded
	keys []string
	vals []*jsonNode
}

// maxJSONDepth bounds the nesting of JSON and of types.
const maxJSONDepth = 256

type jsonParser struct {
	s     string
	i     int
	depth int
}

// parseJSON reads one value; what follows it is an error unless trailing is allowed.
func parseJSON(s string) (*jsonNode, bool) {
	p := &jsonParser{s: s}
	n, ok := p.value()
	p.space()
	return n, ok && p.i == len(s)
}

func (p *jsonParser) space() {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
}

func (p *jsonParser) value() (*jsonNode, bool) {
	p.space()
	if p.i >= len(p.s) || p.depth > maxJSONDepth {
		return nil, false
	}
	switch c := p.s[p.i]; {
	case c == '{' || c == '[':
		p.depth++
		n, ok := p.group(c)
		p.depth--
		return n, ok
	case c == '"' || c == '\'': // Spark allows single quotes by default
		s, ok := p.str(c)
		return &jsonNode{kind: jsonString, text: s}, ok
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, w := range [...]struct {
		word string
		kind jsonKind
	}{{"true", jsonBool}, {"false", jsonBool}, {"null", jsonNull}} {
		if strings.HasPrefix(p.s[p.i:], w.word) {
			p.i += len(w.word)
			return &jsonNode{kind: w.kind, text: w.word}, true
		}
	}
	return nil, false
}

func (p *jsonParser) number() (*jsonNode, bool) {
	from := p.i
	for p.i < len(p.s) && strings.IndexByte("+-.eE0123456789", p.s[p.i]) >= 0 {
		p.i++
	}
	text := p.s[from:p.i]
	if _, err := strconv.ParseFloat(text, 64); err != nil && !strings.Contains(err.Error(), "range") {
		return nil, false
	}
	d := strings.TrimPrefix(text, "-")
	if d == "" || d[0] < '0' || d[0] > '9' || len(d) > 1 && d[0] == '0' && d[1] >= '0' && d[1] <= '9' {
		return nil, false
	}
	return &jsonNode{kind: jsonNumber, text: text}, true
}

func (p *jsonParser) group(open byte) (*jsonNode, bool) {
	n, shut := &jsonNode{kind: jsonArray}, byte(']')
	if open == '{' {
		n.kind, shut = jsonObject, '}'
	}
	p.i++
	for first := true; ; first = false {
		p.space()
		if p.i >= len(p.s) {
			return nil, false
		}
		if p.s[p.i] == shut && (first) {
			p.i++
			return n, true
		}
		if open == '{' {
			c := p.s[p.i]
			if c != '"' && c != '\'' {
				return nil, false
			}
			key, ok := p.str(c)
			p.space()
			if !ok || p.i >= len(p.s) || p.s[p.i] != ':' {
				return nil, false
			}
			p.i++
			n.keys = append(n.keys, key)
		}
		v, ok := p.value()
		p.space()
		if !ok || p.i >= len(p.s) {
			return nil, false
		}
		n.vals = append(n.vals, v)
		c := p.s[p.i]
		p.i++
		if c == shut {
			return n, true
		}
		if c != ',' {
			return nil, false
		}
	}
}

// str reads a quoted string with escapes.
func (p *jsonParser) str(quote byte) (string, bool) {
	p.i++
	from := p.i
	for p.i < len(p.s) && p.s[p.i] != quote && p.s[p.i] != '\\' {
		if p.s[p.i] < 0x20 {
			return "", false
		}
		p.i++
	}
	if p.i < len(p.s) && p.s[p.i] == quote {
		p.i++
		return p.s[from : p.i-1], true
	}
	var b strings.Builder
	b.WriteString(p.s[from:p.i])
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		switch {
		case c == quote:
			return b.String(), true
		case c == '\\':
			if !p.escape(&b) {
				return "", false
			}
		case c < 0x20:
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

func (p *jsonParser) escape(b *strings.Builder) bool {
	if p.i >= len(p.s) {
		return false
	}
	c := p.s[p.i]
	p.i++
	if c == 'u' {
		r, ok := p.hex4()
		if ok && utf16.IsSurrogate(r) && strings.HasPrefix(p.s[p.i:], `\u`) {
			p.i += 2
			low, ok2 := p.hex4()
			r, ok = utf16.DecodeRune(r, low), ok2
		}
		b.WriteRune(r)
		return ok
	}
	const from, to = `"\/bfnrt'`, "\"\\/\b\f\n\r\t'"
	i := strings.IndexByte(from, c)
	if i < 0 {
		return false
	}
	b.WriteByte(to[i])
	return true
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.i+4 > len(p.s) {
		return utf8.RuneError, false
	}
	v, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 32)
	p.i += 4
	return rune(v), err == nil
}

// write renders a node compactly.
func (n *jsonNode) write(b *strings.Builder) {
	switch n.kind {
	case jsonString:
		writeJSONString(b, n.text)
	case jsonArray, jsonObject:
		open, shut := byte('['), byte(']')
		if n.kind == jsonObject {
			open, shut = '{', '}'
		}
		b.WriteByte(open)
		for i, v := range n.vals {
			if i > 0 {
				b.WriteByte(',')
			}
			if n.kind == jsonObject {
				writeJSONString(b, n.keys[i])
				b.WriteByte(':')
			}
			v.write(b)
		}
		b.WriteByte(shut)
	case jsonNull:
		b.WriteString("null")
	case jsonNumber:
		b.WriteString(n.number())
	default:
		b.WriteString(n.text)
	}
}

func writeJSONString(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	b.WriteByte('"')
	for i := range len(s) {
		c := s[i]
		switch c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '\b':
			b.WriteString(`\b`)
		case '\f':
			b.WriteString(`\f`)
		default:
			if c < 0x20 {
				b.WriteString(`\u00`)
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
				continue
			}
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// text gives a node as get_json_object shows it: strings without quotes.
func (n *jsonNode) plain() column.Datum {
	switch n.kind {
	case jsonNull:
		return column.NullDatum
	case jsonString:
		return column.Str(n.text)
	}
	var b strings.Builder
	n.write(&b)
	return column.Str(b.String())
}

func (n *jsonNode) member(key string) *jsonNode {
	if n.kind == jsonObject {
		for i, k := range n.keys {
			if k == key {
				return n.vals[i]
			}
		}
	}
	return nil
}

// lastMember is member where the last of equal names counts, as from_json reads them.
func (n *jsonNode) lastMember(key string) *jsonNode {
	if n.kind == jsonObject {
		for i := len(n.keys) - 1; i >= 0; i-- {
			if n.keys[i] == key {
				return n.vals[i]
			}
		}
	}
	return nil
}

func jsonFunctions() []function {
	return []function{
		fn("get_json_object", "str str", "str", "Value at a path such as $.a[0] of a JSON text; NULL when absent or malformed.", `get_json_object('{"a":"b"}', '$.a')`, "b", evalGetJSON).sure(),
		fn("json_array_length", "str", "int", "Number of elements of a JSON array; NULL for anything else.", "json_array_length('[1,2,3]')", "3", func(a []column.Datum) (column.Datum, *Error) {
			n, ok := parseJSON(a[0].S)
			if !ok || n.kind != jsonArray {
				return column.NullDatum, nil
			}
			return column.I64(int64(len(n.vals))), nil
		}).sure(),
		fn("json_object_keys", "str", "arr:str", "Keys of the outermost JSON object.", `json_object_keys('{"a":1,"b":2}')`, "[a, b]", func(a []column.Datum) (column.Datum, *Error) {
			n, ok := parseJSON(a[0].S)
			if !ok || n.kind != jsonObject {
				return column.NullDatum, nil
			}
			out := column.Datum{L: []column.Datum{}}
			for _, k := range n.keys {
				out.L = append(out.L, column.Str(k))
			}
			return out, nil
		}).sure(),
		bound("from_json", "text, 'type', options?", "Struct, array or map from a JSON text; the type is written as in CREATE TABLE.", `from_json('{"a":1, "b":0.8}', 'a INT, b DOUBLE')`, "{1, 0.8}", bindFromJSON),
		fn("json_member", "str str", "str", "", "", "", func(a []column.Datum) (column.Datum, *Error) {
			if n, ok := parseJSON(a[0].S); ok {
				if m := n.lastMember(a[1].S); m != nil {
					return m.plain(), nil
				}
			}
			return column.NullDatum, nil
		}).sure().unlisted(),
		bound("schema_of_json", "text, options?", "The type of a constant JSON text, as from_json takes it.", "schema_of_json('{\"a\":[1.5]}')", "STRUCT<a: ARRAY<DOUBLE>>", bindSchemaOfJSON),
		bound("to_json", "x, options?", "JSON text of a struct, array or map; NULL members are left out.", "to_json(named_struct('a', 1, 'b', 2))", `{"a":1,"b":2}`, bindToJSON),
	}
}

func bindFromJSON(name string, args []Expr) (Expr, error) {
	if len(args) != 2 && len(args) != 3 {
		return nil, errWrongNumArgs(name, "2 or 3", len(args))
	}
	text, err := toClass(name, 0, args[0], "str")
	if err != nil {
		return nil, err
	}
	d, ok := Constant(Fold(args[1]))
	if !ok || d.Null || args[1].Type().Kind != column.String {
		return nil, analysisErr("INVALID_SCHEMA.NON_STRING_LITERAL", "42K07", "%s: the type must be a constant string such as 'a INT, b STRING'", name)
	}
	t, ok := ParseType(d.S)
	if !ok {
		return nil, analysisErr("INVALID_SCHEMA.PARSE_ERROR", "42K07", "%s: %q is no type; write for example 'a INT, b ARRAY<STRING>'", name, clip(d.S))
	}
	o, err := jsonOptionsOf(name, args, 2)
	if err != nil {
		return nil, err
	}
	if t.Kind != column.Struct && t.Kind != column.Array && t.Kind != column.Map {
		return nil, analysisErr("DATATYPE_MISMATCH.INVALID_JSON_SCHEMA", "42K09", "%s: the type must be a struct, an array or a map, not %s", name, t)
	}
	return &scalar{name: name + "<" + t.String() + ">", args: []Expr{text}, t: t, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		if trimAll(a[0].S) == "" {
			return column.NullDatum, nil
		}
		n, ok := parseJSON(a[0].S)
		if ok && t.Kind == column.Array && n.kind == jsonObject && t.Elem.Kind == column.Struct {
			n = &jsonNode{kind: jsonArray, vals: []*jsonNode{n}}
		}
		var out column.Datum
		if ok && n.kind == jsonNull {
			ok = false
		}
		if ok {
			out, ok = n.as(t, o)
		}
		if !ok {
			return malformed(t), nil
		}
		return out, nil
	}}, nil
}

// malformed is what from_json gives for a text it cannot read: a struct of NULLs, else NULL.
func malformed(t column.Type) column.Datum {
	if t.Kind != column.Struct {
		return column.NullDatum
	}
	out := column.Datum{L: make([]column.Datum, len(t.Fields))}
	for i := range out.L {
		out.L[i] = column.NullDatum
	}
	return out
}

// as converts a node to a type; a member that does not fit becomes NULL.
func (n *jsonNode) as(t column.Type, o *jsonOptions) (column.Datum, bool) {
	if n.kind == jsonNull {
		return column.NullDatum, true
	}
	switch t.Kind {
	case column.Struct:
		if n.kind != jsonObject {
			return column.NullDatum, false
		}
		out := malformed(t)
		for i, f := range t.Fields {
			if m := n.lastMember(f.Name); m != nil {
				out.L[i], _ = m.as(f.Type, o)
			}
		}
		return out, true
	case column.Array:
		if n.kind != jsonArray {
			return column.NullDatum, false
		}
		out := column.Datum{L: make([]column.Datum, len(n.vals))}
		for i, v := range n.vals {
			var ok bool
			if out.L[i], ok = v.as(*t.Elem, o); !ok {
				return column.NullDatum, false
			}
		}
		return out, true
	case column.Map:
		if n.kind != jsonObject {
			return column.NullDatum, false
		}
		var out column.Datum
		for i, k := range n.keys {
			if slices.Contains(n.keys[i+1:], k) { // the last of equal names counts
				continue
			}
			v, ok := n.vals[i].as(*t.Elem, o)
			if !ok {
				return column.NullDatum, false
			}
			out.L = append(out.L, column.Str(k), v)
		}
		return out, true
	}
	return n.scalarAs(t, o)
}

func (n *jsonNode) scalarAs(t column.Type, o *jsonOptions) (column.Datum, bool) {
	null := column.NullDatum
	switch k := t.Kind; {
	case n.kind == jsonString && o.reader(k) != nil:
		d, ok, _ := o.reader(k)(n.text)
		return d, ok
	case k == column.String:
		return n.plain(), true
	case k == column.Boolean:
		if n.kind == jsonBool {
			return column.Bool(n.text == "true"), true
		}
		return null, false
	case k.IsIntegral() && n.kind == jsonNumber:
		v, err := strconv.ParseInt(n.text, 10, 64)
		lo, hi := limits(k)
		if err != nil || v < lo || v > hi {
			return null, false
		}
		return column.I64(v), true
	case k == column.Timestamp && n.kind == jsonNumber:
		v, err := strconv.ParseInt(n.text, 10, 64)
		us, ok := mulInt(v, secondMicros)
		return column.I64(us), err == nil && ok
	case isFractional(k) && (n.kind == jsonNumber || n.kind == jsonString && (k == column.Decimal || n.text == "NaN" || strings.HasSuffix(n.text, "Infinity") || strings.HasSuffix(n.text, "INF"))),
		isDatetime(k) && n.kind == jsonString:
		d, ok, err := textParser(t)(strings.Replace(n.text, "INF", "Infinity", 1))
		if !ok || err != nil {
			return null, false
		}
		return d, true
	case k == column.Binary && n.kind == jsonString:
		return decodeBase64(n.text)
	}
	return null, false
}

func bindToJSON(name string, args []Expr) (Expr, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	t := args[0].Type()
	if t.Kind != column.Struct && t.Kind != column.Array && t.Kind != column.Map {
		return nil, errInputType(name, 0, "STRUCT, ARRAY or MAP", args[0])
	}
	o, err := jsonOptionsOf(name, args, 1)
	if err != nil {
		return nil, err
	}
	return typed(name, args[:1], column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		var b strings.Builder
		writeJSON(&b, t, a[0], o)
		return column.Str(b.String()), nil
	}), nil
}

func writeJSON(b *strings.Builder, t column.Type, d column.Datum, o *jsonOptions) {
	if d.Null {
		b.WriteString("null")
		return
	}
	first := true
	sep := func() {
		if !first {
			b.WriteByte(',')
		}
		first = false
	}
	switch t.Kind {
	case column.Struct:
		b.WriteByte('{')
		for _, i := range o.order(t.Fields) {
			f := t.Fields[i]
			if d.L[i].Null && !o.keepsNulls() {
				continue
			}
			sep()
			writeJSONString(b, f.Name)
			b.WriteByte(':')
			writeJSON(b, f.Type, d.L[i], o)
		}
		b.WriteByte('}')
	case column.Map:
		b.WriteByte('{')
		for i := 0; i+1 < len(d.L); i += 2 {
			sep()
			writeJSONString(b, Text(*t.Key, d.L[i]))
			b.WriteByte(':')
			writeJSON(b, *t.Elem, d.L[i+1], o)
		}
		b.WriteByte('}')
	case column.Array:
		b.WriteByte('[')
		for _, x := range d.L {
			sep()
			writeJSON(b, *t.Elem, x, o)
		}
		b.WriteByte(']')
	default:
		writeJSONScalar(b, t, d, o)
	}
}

var jsonTimePattern, _ = compileDatePattern("yyyy-MM-dd'T'HH:mm:ss.SSSXXX")

func writeJSONScalar(b *strings.Builder, t column.Type, d column.Datum, o *jsonOptions) {
	if w := o.writer(t.Kind); w != nil {
		s, _ := w(d)
		writeJSONString(b, s)
		return
	}
	switch t.Kind {
	case column.Boolean, column.TinyInt, column.SmallInt, column.Int, column.BigInt, column.Decimal:
		b.WriteString(Text(t, d))
	case column.Float, column.Double:
		s := Text(t, d)
		if strings.ContainsAny(s, "NI") {
			s = `"` + s + `"`
		}
		b.WriteString(s)
	case column.Timestamp:
		s, _ := jsonTimePattern.format(d.I)
		writeJSONString(b, s)
	case column.TimestampNTZ:
		s, _ := jsonTimePattern.format(d.I)
		writeJSONString(b, strings.TrimSuffix(s, "Z"))
	case column.Binary:
		writeJSONString(b, encodeBase64(d.S))
	default:
		writeJSONString(b, Text(t, d))
	}
}
