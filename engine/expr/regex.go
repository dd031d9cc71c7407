package expr

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"signalbox/engine/column"
)

// javaPattern translates Java regular expression syntax to RE2's where they differ in spelling.
func javaPattern(p string) string {
	var b strings.Builder
	class := 0
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case c == '\\' && i+1 < len(p):
			i++
			switch p[i] {
			case 'h':
				b.WriteString(inClass(class, `\t \xA0\x{1680}\x{180e}\x{2000}-\x{200a}\x{202f}\x{205f}\x{3000}`))
			case 'Z':
				b.WriteString(`\z`)
			case 'e':
				b.WriteString(`\x1b`)
			case 'R':
				b.WriteString(`(?:\r\n|[\n\x0b\f\r\x{85}\x{2028}\x{2029}])`)
			case 'u':
				if i+4 < len(p) {
					b.WriteString(`\x{` + p[i+1:i+5] + `}`)
					i += 4
				}
			case 's':
				b.WriteString(inClass(class, `\t\n\x0b\f\r `))
			case 'S':
				if class == 0 {
					b.WriteString(`[^\t\n\x0b\f\r ]`)
				} else {
					b.WriteString(`\S`)
				}
			case 'p', 'P':
				i += posixClass(&b, p[i:], class) - 1
			default:
				b.WriteByte('\\')
				b.WriteByte(p[i])
			}
		case c == '[':
			if class > 0 && i+1 < len(p) && p[i+1] != ':' {
				b.WriteString(`\[`) // a union in Java: [a[b]] is rare and refused by RE2 otherwise
				class++
				continue
			}
			class++
			b.WriteByte(c)
			if i+1 < len(p) && p[i+1] == '^' {
				i++
				b.WriteByte('^')
			}
		case c == ']' && class > 0:
			class--
			b.WriteByte(c)
		case c == '(' && class == 0 && strings.HasPrefix(p[i:], "(?<") && i+3 < len(p) && p[i+3] != '=' && p[i+3] != '!':
			b.WriteString("(?P<")
			i += 2
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func inClass(depth int, set string) string {
	if depth > 0 {
		return set
	}
	return "[" + set + "]"
}

var posixNames = map[string]string{"Alpha": `[:alpha:]`, "Digit": `[:digit:]`, "Alnum": `[:alnum:]`, "Upper": `[:upper:]`, "Lower": `[:lower:]`,
	"Punct": `[:punct:]`, "Space": `\t\n\x0b\f\r `, "XDigit": `[:xdigit:]`, "Blank": ` \t`, "ASCII": `\x00-\x7F`, "Cntrl": `[:cntrl:]`, "Graph": `[:graph:]`, "Print": `[:print:]`,
	"IsAlphabetic": `\p{L}\p{Nl}`, "IsDigit": `\p{Nd}`, "IsUppercase": `\p{Lu}`, "IsLowercase": `\p{Ll}`, "IsPunctuation": `\p{P}`, "IsWhite_Space": `\s\p{Z}`}

// posixClass writes \p{Name} at the start of s and returns how many bytes it read.
func posixClass(b *strings.Builder, s string, class int) int {
	end := strings.IndexByte(s, '}')
	if len(s) < 2 || s[1] != '{' || end < 0 {
		b.WriteString(`\` + s[:1])
		return 1
	}
	name := s[2:end]
	if set, ok := posixNames[name]; ok {
		switch {
		case s[0] == 'P' && class == 0:
			b.WriteString("[^" + set + "]")
		case class > 0:
			b.WriteString(set)
		default:
			b.WriteString("[" + set + "]")
		}
		return end + 1
	}
	name = strings.TrimPrefix(name, "Is")
	b.WriteString(`\` + s[:1] + "{" + name + "}")
	return end + 1
}

// maxPattern bounds the text of a regular expression.
const maxPattern = 10000

func compilePattern(fn, p string) (*regexp.Regexp, *Error) {
	bad := func(why string) *Error {
		return runtimeErr("INVALID_PARAMETER_VALUE.PATTERN", "22023", "%s: the pattern %q is not usable: %s (look-around and back-references are not supported)", fn, clip(p), why)
	}
	if len(p) > maxPattern {
		return nil, bad("it is too long")
	}
	re, err := regexp.Compile(javaPattern(p))
	if err != nil {
		return nil, bad(err.Error())
	}
	return re, nil
}

// patterns gives the compiled form of a pattern argument: once when it is constant.
type patterns struct {
	fn    string
	fixed *regexp.Regexp
	err   *Error
}

func newPatterns(fn string, e Expr) *patterns {
	p := &patterns{fn: fn}
	if d, ok := Constant(Fold(e)); ok && !d.Null {
		p.fixed, p.err = compilePattern(fn, d.S)
	}
	return p
}

func (p *patterns) of(s string) (*regexp.Regexp, *Error) {
	if p.fixed != nil || p.err != nil {
		return p.fixed, p.err
	}
	return compilePattern(p.fn, s)
}

func regexFunctions() []function {
	re := func(name, params, sig, ret, doc, example, result string, eval func(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error)) function {
		bind := func(name string, args []Expr) (Expr, error) {
			b, err := bindArgs(name, sig, args)
			if err != nil {
				return nil, err
			}
			p := newPatterns(name, b[1])
			run := func(a []column.Datum) (column.Datum, *Error) {
				re, err := p.of(a[1].S)
				if err != nil {
					return column.NullDatum, err
				}
				return eval(re, a)
			}
			return &scalar{name: name, args: b, t: resultType(ret, b), eval: run}, nil
		}
		return function{name: name, params: params, doc: doc, example: example, result: result, bind: bind}
	}
	return []function{
		re("rlike regexp regexp_like", "text, pattern", "str str", "bool", "True when a regular expression matches part of the text.", "regexp_like('bus-17', '[0-9]+')", "true", func(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
			return column.Bool(re.MatchString(a[0].S)), nil
		}),
		re("regexp_extract", "text, pattern, group?", "str str int?", "str", "The part of the first match that a group captured; '' without a match.", "regexp_extract('100-200', '([0-9]+)-([0-9]+)', 1)", "100", regexpExtract),
		re("regexp_extract_all", "text, pattern, group?", "str str int?", "arr:str", "What a group captured in each match.", "regexp_extract_all('100-200, 300-400', '([0-9]+)-([0-9]+)', 1)", "[100, 300]", regexpExtractAll),
		re("regexp_replace", "text, pattern, replacement, pos?", "str str str int?", "str", "Replaces each match; $1 stands for a group.", "regexp_replace('100-200', '([0-9]+)', 'num')", "num-num", regexpReplace),
		re("regexp_count", "text, pattern", "str str", "int", "Number of matches.", "regexp_count('Steven Jones and Stephen Smith', 'Ste(v|ph)en')", "2", func(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
			return column.I64(int64(len(re.FindAllStringIndex(a[0].S, -1)))), nil
		}),
		re("regexp_substr", "text, pattern", "str str", "str", "The first match; NULL without one.", "regexp_substr('bus-17', '[0-9]+')", "17", func(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
			m := re.FindStringIndex(a[0].S)
			if m == nil || m[0] == m[1] {
				return column.NullDatum, nil
			}
			return column.Str(a[0].S[m[0]:m[1]]), nil
		}),
		re("regexp_instr", "text, pattern, group?", "str str int?", "int", "1-based position of the first match; 0 without one.", "regexp_instr('bus-17', '[0-9]+')", "5", func(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
			m := re.FindStringIndex(a[0].S)
			if m == nil {
				return column.I64(0), nil
			}
			return column.I64(int64(utf8.RuneCountInString(a[0].S[:m[0]])) + 1), nil
		}),
		re("split", "text, pattern, limit?", "str str int?", "arr:str", "Parts of a text between the matches of a regular expression.", "split('oneAtwoBthree', '[AB]')", "[one, two, three]", regexpSplit),
		bound("like", "text, pattern, escape?", "True when the whole text matches a pattern with % and _.", "like('Spark', '_park')", "true", bindLike),
		bound("ilike", "text, pattern, escape?", "like without regard to case.", "ilike('Spark', 's%')", "true", bindLike),
	}
}

func groupIndex(fn string, re *regexp.Regexp, a []column.Datum) (int, *Error) {
	g := int64(1)
	if len(a) == 3 {
		g = a[2].I
	}
	if g < 0 || g > int64(re.NumSubexp()) {
		return 0, runtimeErr("INVALID_PARAMETER_VALUE.REGEX_GROUP_INDEX", "22023", "%s: there is no group %d, the pattern has %d", fn, g, re.NumSubexp())
	}
	return int(g), nil
}

func regexpExtract(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
	m := re.FindStringSubmatchIndex(a[0].S)
	if m == nil {
		return column.Str(""), nil
	}
	g, err := groupIndex("regexp_extract", re, a)
	if err != nil {
		return column.NullDatum, err
	}
	if m[2*g] < 0 {
		return column.Str(""), nil
	}
	return column.Str(a[0].S[m[2*g]:m[2*g+1]]), nil
}

func regexpExtractAll(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
	out := column.Datum{L: []column.Datum{}}
	for _, m := range re.FindAllStringSubmatchIndex(a[0].S, -1) {
		g, err := groupIndex("regexp_extract_all", re, a)
		if err != nil {
			return column.NullDatum, err
		}
		s := ""
		if m[2*g] >= 0 {
			s = a[0].S[m[2*g]:m[2*g+1]]
		}
		out.L = append(out.L, column.Str(s))
	}
	return out, nil
}

func regexpReplace(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
	skip := 0
	if len(a) == 4 {
		if a[3].I < 1 {
			return column.NullDatum, runtimeErr("DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "regexp_replace: the position must be at least 1, not %d", a[3].I)
		}
		for i := int64(1); i < a[3].I && skip < len(a[0].S); i++ {
			_, n := utf8.DecodeRuneInString(a[0].S[skip:])
			skip += n
		}
	}
	s := a[0].S[skip:]
	var b strings.Builder
	b.WriteString(a[0].S[:skip])
	last := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, -1) {
		b.WriteString(s[last:m[0]])
		if err := javaReplacement(&b, a[2].S, s, m, re); err != nil {
			return column.NullDatum, err
		}
		if b.Len() > maxString {
			return column.NullDatum, errTooLong("regexp_replace")
		}
		last = m[1]
	}
	b.WriteString(s[last:])
	return column.Str(b.String()), nil
}

// javaReplacement expands $n, ${name} and \x.
func javaReplacement(b *strings.Builder, repl, s string, m []int, re *regexp.Regexp) *Error {
	bad := runtimeErr("INVALID_PARAMETER_VALUE", "22023", "regexp_replace: the replacement %q names a group that the pattern does not have", clip(repl))
	group := func(g int) {
		if m[2*g] >= 0 {
			b.WriteString(s[m[2*g]:m[2*g+1]])
		}
	}
	for i := 0; i < len(repl); i++ {
		switch {
		case repl[i] == '\\' && i+1 < len(repl):
			i++
			b.WriteByte(repl[i])
		case repl[i] == '$' && i+1 < len(repl) && repl[i+1] == '{':
			end := strings.IndexByte(repl[i:], '}')
			if end < 0 || re.SubexpIndex(repl[i+2:i+end]) < 0 {
				return bad
			}
			group(re.SubexpIndex(repl[i+2 : i+end]))
			i += end
		case repl[i] == '$':
			if i+1 >= len(repl) || repl[i+1] < '0' || repl[i+1] > '9' {
				return bad
			}
			g := int(repl[i+1] - '0')
			i++
			if g > re.NumSubexp() {
				return bad
			}
			for i+1 < len(repl) && repl[i+1] >= '0' && repl[i+1] <= '9' && g*10+int(repl[i+1]-'0') <= re.NumSubexp() {
				g = g*10 + int(repl[i+1]-'0')
				i++
			}
			group(g)
		default:
			b.WriteByte(repl[i])
		}
	}
	return nil
}

// regexpSplit is Java's split, with Spark's reading of the limit: not positive means all parts, empty ones too.
func regexpSplit(re *regexp.Regexp, a []column.Datum) (column.Datum, *Error) {
	s, limit := a[0].S, int64(-1)
	if len(a) == 3 {
		limit = a[2].I
	}
	out := column.Datum{L: []column.Datum{}}
	if a[1].S == "" && s != "" {
		for s != "" {
			_, n := utf8.DecodeRuneInString(s)
			if limit > 0 && int64(len(out.L)) == limit-1 {
				n = len(s)
			}
			out.L = append(out.L, column.Str(s[:n]))
			s = s[n:]
		}
		return out, nil
	}
	last := 0
	for _, m := range re.FindAllStringIndex(s, -1) {
		if limit > 0 && int64(len(out.L)) == limit-1 {
			break
		}
		if m[1] == 0 || m[0] == m[1] && m[0] == len(s) { // no empty part for an empty match at either end
			continue
		}
		out.L = append(out.L, column.Str(s[last:m[0]]))
		last = m[1]
	}
	out.L = append(out.L, column.Str(s[last:]))
	return out, nil
}

func bindLike(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "str str str?", args)
	if err != nil {
		return nil, err
	}
	esc := `\`
	if len(b) == 3 {
		d, ok := Constant(Fold(b[2]))
		if !ok || len([]rune(d.S)) != 1 {
			return nil, analysisErr("INVALID_ESCAPE_CHAR", "42604", "%s: the escape must be one character", name)
		}
		esc = d.S
	}
	compile := func(p string) (func(string) bool, *Error) { return likeMatcher(p, []rune(esc)[0], name == "ilike") }
	var fixed func(string) bool
	var bad *Error
	if d, ok := Constant(Fold(b[1])); ok && !d.Null {
		fixed, bad = compile(d.S)
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		m, err := fixed, bad
		if m == nil && err == nil {
			m, err = compile(a[1].S)
		}
		if err != nil {
			return column.NullDatum, err
		}
		return column.Bool(m(a[0].S)), nil
	}
	label := name
	if esc != `\` {
		label += " escape " + esc // equal texts must mean equal expressions
	}
	return &scalar{name: label, args: b[:2], t: column.Of(column.Boolean), eval: eval, infix: true}, nil
}

// likeMatcher compiles a LIKE pattern; % is any text, _ any character, the escape only before %, _ and itself.
func likeMatcher(p string, esc rune, fold bool) (func(string) bool, *Error) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	if fold {
		p = lower(p)
	}
	r := []rune(p)
	for i := 0; i < len(r); i++ {
		switch {
		case r[i] == esc:
			if i+1 >= len(r) {
				return nil, analysisErr("INVALID_FORMAT.ESC_AT_THE_END", "42601", "like: the pattern %q ends with its escape character", clip(p))
			}
			i++
			if r[i] != '%' && r[i] != '_' && r[i] != esc {
				return nil, analysisErr("INVALID_FORMAT.ESC_IN_THE_MIDDLE", "42601", "like: in the pattern %q the escape may stand only before %%, _ and itself", clip(p))
			}
			b.WriteString(regexp.QuoteMeta(string(r[i])))
		case r[i] == '%':
			b.WriteString(".*")
		case r[i] == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r[i])))
		}
	}
	if b.Len() > 2*maxPattern {
		return nil, runtimeErr("INVALID_PARAMETER_VALUE.PATTERN", "22023", "like: the pattern is too long")
	}
	re, err := regexp.Compile(b.String() + `\z`)
	if err != nil {
		return nil, runtimeErr("INVALID_PARAMETER_VALUE.PATTERN", "22023", "like: %s", err)
	}
	if fold {
		return func(s string) bool { return re.MatchString(lower(s)) }, nil
	}
	return re.MatchString, nil
}
