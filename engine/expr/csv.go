package expr

import (
	"maps"
	"slices"
	"strings"

	"signalbox/engine/column"
)

func csvFunctions() []function {
	return []function{
		bound("from_csv", "text, type, options?", "Struct of the fields of one line of CSV; fields that do not fit are NULL.", "from_csv('1, 0.8', 'a INT, b DOUBLE')", "{1, 0.8}", bindFromCSV),
		bound("to_csv", "struct, options?", "One line of CSV.", "to_csv(named_struct('a', 1, 'b', 'x,y'))", `1,"x,y"`, bindToCSV),
		bound("schema_of_csv", "text, options?", "The type of one line of CSV, as from_csv takes it.", "schema_of_csv('1,abc')", "STRUCT<_c0: INT, _c1: STRING>", bindSchemaOfCSV),
	}
}

// options reads the constant map of options of from_json, to_csv and friends; keys in lower case.
func options(name string, args []Expr, i int) (map[string]string, error) {
	if len(args) <= i {
		return nil, nil
	}
	d, ok := Constant(Fold(args[i]))
	if t := args[i].Type(); !ok || d.Null || t.Kind != column.Map || t.Key.Kind != column.String {
		return nil, analysisErr("INVALID_OPTIONS.NON_MAP_FUNCTION", "42K06", "%s: the options must be a constant map('name', 'value')", name)
	}
	out := map[string]string{}
	for k := 0; k+1 < len(d.L); k += 2 {
		out[strings.ToLower(d.L[k].S)] = Text(*args[i].Type().Elem, d.L[k+1])
	}
	return out, nil
}

// csvFormat is how a line is cut and read.
type csvFormat struct {
	sep, quote, escape string
	null               string
	date, stamp        string // patterns, "" = as CAST
}

func csvFormatOf(name string, opt map[string]string) (csvFormat, error) {
	f := csvFormat{sep: ",", quote: `"`, escape: `\`}
	for _, k := range slices.Sorted(maps.Keys(opt)) { // unordered: they are sorted here
		v := opt[k]
		switch k {
		case "sep", "delimiter":
			f.sep = v
		case "quote":
			f.quote = v
		case "escape":
			f.escape = v
		case "nullvalue":
			f.null = v
		case "dateformat":
			f.date = v
		case "timestampformat":
			f.stamp = v
		case "mode", "header", "charset", "encoding", "locale":
		default:
			return f, analysisErr("UNSUPPORTED_FEATURE", "0A000", "%s: the option %s is not known; there are sep, quote, escape, nullValue, dateFormat and timestampFormat", name, k)
		}
	}
	if f.sep == "" || len(f.quote) > 1 || len(f.escape) > 1 {
		return f, analysisErr("INVALID_DELIMITER_VALUE", "42602", "%s: sep must not be empty, quote and escape are one character", name)
	}
	return f, nil
}

// split cuts a line into fields; quoted tells which stood in quotes.
func (f csvFormat) split(line string) (fields []string, quoted []bool) {
	for {
		field, q, rest, more := f.field(line)
		fields, quoted = append(fields, field), append(quoted, q)
		if !more {
			return fields, quoted
		}
		line = rest
	}
}

func (f csvFormat) field(s string) (field string, quoted bool, rest string, more bool) {
	trimmed := strings.TrimLeft(s, " ")
	if f.quote == "" || !strings.HasPrefix(trimmed, f.quote) {
		field, rest, more = strings.Cut(s, f.sep)
		return field, false, rest, more
	}
	var b strings.Builder
	for i := 1; i < len(trimmed); i++ {
		switch c := trimmed[i : i+1]; {
		case c == f.escape && i+1 < len(trimmed) && (trimmed[i+1:i+2] == f.quote || trimmed[i+1:i+2] == f.escape):
			i++
			b.WriteByte(trimmed[i])
		case c == f.quote && strings.HasPrefix(trimmed[i+1:], f.quote):
			i++
			b.WriteString(f.quote)
		case c == f.quote:
			tail, rest, more := strings.Cut(trimmed[i+1:], f.sep)
			return b.String() + strings.TrimRight(tail, " "), true, rest, more
		default:
			b.WriteString(c)
		}
	}
	return b.String(), true, "", false
}

func bindFromCSV(name string, args []Expr) (Expr, error) {
	if len(args) != 2 && len(args) != 3 {
		return nil, errWrongNumArgs(name, "2 or 3", len(args))
	}
	text, err := toClass(name, 0, args[0], "str")
	if err != nil {
		return nil, err
	}
	opt, err := options(name, args, 2)
	if err != nil {
		return nil, err
	}
	f, err := csvFormatOf(name, opt)
	if err != nil {
		return nil, err
	}
	d, ok := Constant(Fold(args[1]))
	if !ok || d.Null || args[1].Type().Kind != column.String {
		return nil, analysisErr("INVALID_SCHEMA.NON_STRING_LITERAL", "42K07", "%s: the type must be a constant string such as 'a INT, b STRING'", name)
	}
	t, ok := ParseType(d.S)
	if !ok || t.Kind != column.Struct {
		return nil, analysisErr("INVALID_SCHEMA.PARSE_ERROR", "42K07", "%s: %q is no list of columns; write for example 'a INT, b STRING'", name, clip(d.S))
	}
	for _, x := range t.Fields {
		if !isAtomic(x.Type.Kind) {
			return nil, analysisErr("DATATYPE_MISMATCH.INVALID_ROW_LEVEL_SCHEMA", "42K09", "%s: %s is %s, but a field of CSV is one value", name, x.Name, x.Type)
		}
	}
	readers, err := f.readers(name, t.Fields)
	if err != nil {
		return nil, err
	}
	return &scalar{name: name + "<" + t.String() + ">", args: []Expr{text}, t: t, safe: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		fields, quoted := f.split(a[0].S)
		out := column.Datum{L: make([]column.Datum, len(readers))}
		for i, read := range readers {
			out.L[i] = column.NullDatum
			if i < len(fields) && (fields[i] != f.null || quoted[i]) {
				out.L[i] = read(fields[i])
			}
		}
		return out, nil
	}}, nil
}

// readers make the reader of each field; what cannot be read is NULL.
func (f csvFormat) readers(name string, fields []column.Field) ([]func(string) column.Datum, error) {
	out := make([]func(string) column.Datum, len(fields))
	for i, x := range fields {
		parse, trim := textParser(x.Type), x.Type.Kind != column.String
		if x.Type.Kind == column.String {
			parse = func(s string) (column.Datum, bool, *Error) { return column.Str(s), true, nil }
		}
		if pattern := f.patternOf(x.Type.Kind); pattern != "" {
			p, err := newTextPattern(name, pattern, x.Type.Kind)
			if err != nil {
				return nil, err
			}
			parse = p
		}
		out[i] = func(s string) column.Datum {
			if trim {
				s = trimAll(s)
			}
			d, ok, err := parse(s)
			if !ok || err != nil {
				return column.NullDatum
			}
			return d
		}
	}
	return out, nil
}

func (f csvFormat) patternOf(k column.Kind) string {
	switch k {
	case column.Date:
		return f.date
	case column.Timestamp, column.TimestampNTZ:
		return f.stamp
	}
	return ""
}

func bindToCSV(name string, args []Expr) (Expr, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	t := args[0].Type()
	if t.Kind != column.Struct {
		return nil, errInputType(name, 0, "STRUCT", args[0])
	}
	opt, err := options(name, args, 1)
	if err != nil {
		return nil, err
	}
	f, err := csvFormatOf(name, opt)
	if err != nil {
		return nil, err
	}
	writers := make([]func(column.Datum) (string, *Error), len(t.Fields))
	for i, x := range t.Fields {
		if writers[i], err = f.writer(name, x.Type); err != nil {
			return nil, err
		}
	}
	return typed(name, args[:1], column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		parts := make([]string, len(writers))
		for i, write := range writers {
			if a[0].L[i].Null {
				parts[i] = f.null
				continue
			}
			var bad *Error
			if parts[i], bad = write(a[0].L[i]); bad != nil {
				return column.NullDatum, bad
			}
		}
		return column.Str(strings.Join(parts, f.sep)), nil
	}), nil
}

func (f csvFormat) writer(name string, t column.Type) (func(column.Datum) (string, *Error), error) {
	pattern := f.patternOf(t.Kind)
	if pattern == "" && t.Kind == column.Timestamp {
		pattern = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX"
	} else if pattern == "" && t.Kind == column.TimestampNTZ {
		pattern = "yyyy-MM-dd'T'HH:mm:ss.SSS"
	}
	if pattern != "" {
		return patternWriter(name, pattern, t)
	}
	return func(d column.Datum) (string, *Error) { return f.quoted(Text(t, d), t.Kind == column.String), nil }, nil
}

// quoted puts a text in quotes where it would be read as something else.
func (f csvFormat) quoted(s string, text bool) string {
	if !text || f.quote == "" {
		return s
	}
	if s == "" {
		return f.quote + f.quote
	}
	if !strings.Contains(s, f.sep) && !strings.ContainsAny(s, "\r\n") && !strings.HasPrefix(s, f.quote) && strings.Trim(s, " ") == s {
		return s
	}
	return f.quote + strings.ReplaceAll(s, f.quote, f.escape+f.quote) + f.quote
}

func bindSchemaOfCSV(name string, args []Expr) (Expr, error) {
	if len(args) != 1 && len(args) != 2 {
		return nil, errWrongNumArgs(name, "1 or 2", len(args))
	}
	opt, err := options(name, args, 1)
	if err != nil {
		return nil, err
	}
	f, err := csvFormatOf(name, opt)
	if err != nil {
		return nil, err
	}
	d, ok := Constant(Fold(args[0]))
	if !ok || args[0].Type().Kind != column.String || d.Null {
		return nil, analysisErr("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "%s: the line must be a constant text", name)
	}
	fields, _ := f.split(d.S)
	parts := make([]string, len(fields))
	for i, s := range fields {
		parts[i] = "_c" + itoa(i) + ": " + csvType(s)
	}
	return NewLiteral(column.Of(column.String), column.Str("STRUCT<"+strings.Join(parts, ", ")+">")), nil
}

// csvType is the narrowest type that reads a field.
func csvType(s string) string {
	for _, k := range []column.Kind{column.Int, column.BigInt, column.Double, column.Date, column.Timestamp, column.Boolean} {
		if k == column.Boolean && !strings.EqualFold(s, "true") && !strings.EqualFold(s, "false") {
			continue
		}
		if _, ok, err := textParser(column.Of(k))(s); ok && err == nil && s != "" {
			return strings.ToUpper(k.String())
		}
	}
	return "STRING"
}
