package sql

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// lexer cuts text into tokens. It never fails: what it cannot read becomes a tError token.
type lexer struct {
	src  string
	off  int
	line int
	col  int
	toks []token
	open []int // indexes of unmatched (
}

// lex returns the tokens of src, closed by tEOF.
func lex(src string) []token {
	l := &lexer{src: src, line: 1, col: 1, toks: make([]token, 0, len(src)/4+1)}
	for {
		l.space()
		if l.off >= len(l.src) {
			l.emit(token{kind: tEOF, off: l.off, pos: l.pos()})
			return l.toks
		}
		l.next()
	}
}

func (l *lexer) pos() Pos { return Pos{l.line, l.col} }

func (l *lexer) at(i int) byte {
	if l.off+i < len(l.src) {
		return l.src[l.off+i]
	}
	return 0
}

// step consumes n bytes and keeps line and column.
func (l *lexer) step(n int) {
	for end := l.off + n; l.off < end; {
		c := l.src[l.off]
		switch {
		case c == '\n':
			l.line, l.col = l.line+1, 1
			l.off++
		case c < utf8.RuneSelf:
			l.col++
			l.off++
		default:
			_, w := utf8.DecodeRuneInString(l.src[l.off:])
			l.col++
			l.off += w
		}
	}
}

func (l *lexer) emit(t token) {
	t.end, t.match = l.off, -1
	i := len(l.toks)
	switch {
	case t.op("("):
		l.open = append(l.open, i)
	case t.op(")") && len(l.open) > 0:
		l.toks[l.open[len(l.open)-1]].match = i
		l.open = l.open[:len(l.open)-1]
	case t.op(";"):
		l.open = l.open[:0]
	}
	l.toks = append(l.toks, t)
}

func (l *lexer) fail(t token, cond, state, msg, hint string) {
	t.kind, t.val = tError, l.src[t.off:l.off]
	t.err = &Error{Pos: t.pos, Condition: cond, SQLState: state, Msg: msg, Hint: hint}
	l.emit(t)
}

// space skips white space and comments.
func (l *lexer) space() {
	for l.off < len(l.src) {
		c := l.at(0)
		switch {
		case c == ' ' || c >= '\t' && c <= '\r':
			l.step(1)
		case c == '-' && l.at(1) == '-':
			l.lineComment()
		case c == '/' && l.at(1) == '*':
			if !l.blockComment() {
				return
			}
		case c >= utf8.RuneSelf:
			r, w := utf8.DecodeRuneInString(l.src[l.off:])
			if !unicode.IsSpace(r) && r != '\uFEFF' {
				return
			}
			l.step(w)
		default:
			return
		}
	}
}

// lineComment skips to the end of the line; a backslash before the line end continues it, as in Spark.
func (l *lexer) lineComment() {
	for l.off < len(l.src) && l.at(0) != '\n' {
		if l.at(0) == '\\' && l.at(1) == '\n' {
			l.step(1)
		}
		l.step(1)
	}
}

// blockComment skips a bracketed comment, which may nest; hints are comments to us. It is false when the comment has no end.
func (l *lexer) blockComment() bool {
	start := token{off: l.off, pos: l.pos()}
	depth := 0
	for l.off < len(l.src) {
		switch {
		case l.at(0) == '/' && l.at(1) == '*':
			depth++
			l.step(2)
		case l.at(0) == '*' && l.at(1) == '/':
			depth--
			l.step(2)
			if depth == 0 {
				return true
			}
		default:
			l.step(1)
		}
	}
	l.fail(start, "UNCLOSED_BRACKETED_COMMENT", "42601", "this comment has no end", "close it with */")
	return false
}

func (l *lexer) next() {
	t := token{off: l.off, pos: l.pos()}
	c := l.at(0)
	switch {
	case c == '\'' || c == '"':
		l.quoted(t, c)
	case (c == 'r' || c == 'R') && (l.at(1) == '\'' || l.at(1) == '"'):
		l.raw(t)
	case c == '`':
		l.backquoted(t)
	case isDigit(c) || c == '.' && isDigit(l.at(1)):
		l.number(t)
	case isWordByte(c):
		l.word(t)
	case c >= utf8.RuneSelf:
		l.foreign(t)
	default:
		l.operator(t)
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isWordByte(c byte) bool {
	return c == '_' || c == '$' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || isDigit(c)
}

func (l *lexer) word(t token) {
	n := 0
	for isWordByte(l.at(n)) {
		n++
	}
	if l.at(n) >= utf8.RuneSelf {
		if r, _ := utf8.DecodeRuneInString(l.src[l.off+n:]); unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsDigit(r) {
			l.foreign(t)
			return
		}
	}
	t.kind, t.val = tWord, l.src[l.off:l.off+n]
	l.step(n)
	l.emit(t)
}

// foreign reads a word with letters beyond ASCII: Spark wants it in backquotes.
func (l *lexer) foreign(t token) {
	n := 0
	for l.off+n < len(l.src) {
		r, w := utf8.DecodeRuneInString(l.src[l.off+n:])
		if !(r < utf8.RuneSelf && isWordByte(byte(r))) && !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) {
			break
		}
		n += w
	}
	if n == 0 {
		r, w := utf8.DecodeRuneInString(l.src[l.off:])
		l.step(w)
		msg := "the character " + quoteRune(r) + " has no meaning here"
		l.fail(t, "PARSE_SYNTAX_ERROR", "42601", msg, lookalike(r))
		return
	}
	w := l.src[l.off : l.off+n]
	l.step(n)
	l.fail(t, "INVALID_IDENTIFIER", "42602", "the name "+clip(w)+" has letters beyond A-Z", "write it in backquotes: `"+clip(w)+"`")
}

func quoteRune(r rune) string {
	if r == utf8.RuneError || !unicode.IsPrint(r) {
		return "U+" + strings.ToUpper(hex(uint32(r)))
	}
	return "'" + string(r) + "'"
}

func hex(v uint32) string {
	const digits = "0123456789abcdef"
	var b [8]byte
	i := len(b)
	for v > 0 || i > len(b)-4 {
		i--
		b[i] = digits[v&15]
		v >>= 4
	}
	return string(b[i:])
}

// lookalike names the ASCII character that a word processor replaced.
func lookalike(r rune) string {
	switch r {
	case '‘', '’', '“', '”', '´':
		return "write a plain ' around strings"
	case '–', '—', '−':
		return "write a plain minus: -"
	case '≤', '≥', '≠':
		return "write <=, >= or <>"
	}
	return ""
}

func (l *lexer) backquoted(t token) {
	i := l.off + 1
	for i < len(l.src) {
		if l.src[i] == '`' {
			if i+1 < len(l.src) && l.src[i+1] == '`' {
				i += 2
				continue
			}
			t.kind, t.val = tQuoted, strings.ReplaceAll(l.src[l.off+1:i], "``", "`")
			l.step(i + 1 - l.off)
			if t.val == "" {
				l.fail(t, "PARSE_EMPTY_STATEMENT", "42601", "a name in backquotes is empty", "")
				return
			}
			l.emit(t)
			return
		}
		i++
	}
	l.step(len(l.src) - l.off)
	l.fail(t, "PARSE_SYNTAX_ERROR", "42601", "the name that starts here has no closing backquote", "close it with `")
}

// Operators, longest first. The canonical spelling follows the written one.
var operators = [...][2]string{{"<=>", "<=>"}, {">>>", ">>>"}, {"||", "||"}, {"|>", "|>"}, {"<=", "<="}, {">=", ">="}, {"<>", "<>"}, {"!=", "<>"}, {"==", "="},
	{"!<", ">="}, {"!>", "<="}, {"<<", "<<"}, {">>", ">>"}, {"->", "->"}, {"=>", "=>"}, {"::", "::"}}

func (l *lexer) operator(t token) {
	for _, o := range operators {
		if strings.HasPrefix(l.src[l.off:], o[0]) {
			t.kind, t.val = tOp, o[1]
			l.step(len(o[0]))
			l.emit(t)
			return
		}
	}
	c := l.at(0)
	l.step(1)
	if strings.IndexByte("()[],;.+-*/%=<>|&^~!:?", c) < 0 {
		l.fail(t, "PARSE_SYNTAX_ERROR", "42601", "the character "+quoteRune(rune(c))+" has no meaning here", "")
		return
	}
	t.kind, t.val = tOp, l.src[t.off:l.off]
	l.emit(t)
}
