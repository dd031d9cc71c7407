package sql

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// quoted reads '…' or "…" with Spark's escapes; a doubled quote is one quote.
func (l *lexer) quoted(t token, q byte) {
	i := l.off + 1
	for i < len(l.src) {
		switch {
		case l.src[i] == '\\':
			i++
		case l.src[i] == q && i+1 < len(l.src) && l.src[i+1] == q:
			i++
		case l.src[i] == q:
			t.kind, t.val = tString, unescape(l.src[l.off+1:i], q)
			l.step(i + 1 - l.off)
			l.emit(t)
			return
		}
		i++
	}
	l.unclosed(t)
}

// raw reads r'…': no escapes at all.
func (l *lexer) raw(t token) {
	body := l.src[l.off+2:]
	end := strings.IndexByte(body, l.at(1))
	if end < 0 {
		l.unclosed(t)
		return
	}
	t.kind, t.val = tString, body[:end]
	l.step(end + 3)
	l.emit(t)
}

func (l *lexer) unclosed(t token) {
	l.step(len(l.src) - l.off)
	l.fail(t, "PARSE_SYNTAX_ERROR", "42601", "the string that starts here has no closing quote", "close it, and write a quote inside a string twice or as \\'")
}

// unescape resolves the escapes of a string literal as Spark's parser does.
func unescape(s string, q byte) string {
	if strings.IndexByte(s, '\\') < 0 && strings.IndexByte(s, q) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case s[i] == q:
			b.WriteByte(q)
			i += 2
		case s[i] == '\\' && i+1 < len(s):
			i += escape(&b, s[i:])
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String()
}

// escape writes what the escape at the start of s stands for and returns its length.
func escape(b *strings.Builder, s string) int {
	if r, n := codePoint(s); n > 0 {
		b.WriteRune(r)
		return n
	}
	if len(s) >= 4 && (s[1] == '0' || s[1] == '1') && isOctal(s[2]) && isOctal(s[3]) {
		b.WriteRune(rune(s[1]-'0')<<6 | rune(s[2]-'0')<<3 | rune(s[3]-'0'))
		return 4
	}
	switch s[1] {
	case '0':
		b.WriteByte(0)
	case 'b':
		b.WriteByte('\b')
	case 'n':
		b.WriteByte('\n')
	case 'r':
		b.WriteByte('\r')
	case 't':
		b.WriteByte('\t')
	case 'Z':
		b.WriteByte(0x1A)
	case '%', '_': // kept for LIKE
		b.WriteString(s[:2])
	default:
		_, w := utf8.DecodeRuneInString(s[1:])
		b.WriteString(s[1 : 1+w])
		return 1 + w
	}
	return 2
}

func isOctal(c byte) bool { return c >= '0' && c <= '7' }

// codePoint reads \uXXXX (surrogate pairs joined) or \UXXXXXXXX; n is 0 when s is neither.
func codePoint(s string) (r rune, n int) {
	digits := 0
	switch {
	case s[1] == 'u':
		digits = 4
	case s[1] == 'U':
		digits = 8
	}
	if digits == 0 || len(s) < 2+digits {
		return 0, 0
	}
	v, err := strconv.ParseUint(s[2:2+digits], 16, 32)
	if err != nil || v > utf8.MaxRune {
		return 0, 0
	}
	if v >= 0xD800 && v < 0xDC00 && len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if lo, err := strconv.ParseUint(s[8:12], 16, 32); err == nil && lo >= 0xDC00 && lo < 0xE000 {
			return rune(0x10000 + (v-0xD800)<<10 + (lo - 0xDC00)), 12
		}
	}
	return rune(v), 2 + digits
}

// number reads a numeric literal, or a word that starts with digits.
func (l *lexer) number(t token) {
	n := 0
	for isDigit(l.at(n)) {
		n++
	}
	if l.at(n) == '.' && !(n > 0 && l.afterDot()) {
		t.point = true
		n++
		for isDigit(l.at(n)) {
			n++
		}
	}
	if c := l.at(n); c == 'e' || c == 'E' {
		m := n + 1
		if l.at(m) == '+' || l.at(m) == '-' {
			m++
		}
		if isDigit(l.at(m)) {
			for isDigit(l.at(m)) {
				m++
			}
			t.exp, n = true, m
		}
	}
	text := l.src[l.off : l.off+n]
	rest := 0
	for isWordByte(l.at(n + rest)) {
		rest++
	}
	suffix := strings.ToUpper(l.src[l.off+n : l.off+n+rest])
	switch {
	case suffix == "", suffix == "D", suffix == "F", suffix == "BD", !t.exp && !t.point && (suffix == "L" || suffix == "S" || suffix == "Y"):
		t.kind, t.val, t.suffix = tNumber, text, suffix
		l.step(n + rest)
		l.emit(t)
	case !t.point && !strings.ContainsAny(text, "+-"):
		l.word(t) // 1st, 2x: a word as in Spark
	default:
		l.step(n + rest)
		l.fail(t, "PARSE_SYNTAX_ERROR", "42601", "'"+clip(text+suffix)+"' is neither a number nor a name", "the suffixes of a number are L, S, Y, D, F and BD")
	}
}

// afterDot reports whether the digits here are a struct field or table part (a.1), which never take a decimal point.
func (l *lexer) afterDot() bool {
	return len(l.toks) > 0 && l.toks[len(l.toks)-1].op(".") && l.toks[len(l.toks)-1].end == l.off
}
