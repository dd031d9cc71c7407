package expr

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"signalbox/engine/column"
)

// maxString bounds the text that one function call may build.
const maxString = 16 << 20

func errTooLong(fn string) *Error {
	return runtimeErr("COLLECTION_SIZE_LIMIT_EXCEEDED.FUNCTION", "54000", "%s would make a value of more than %d bytes", fn, maxString)
}

func str1(f func(s string) string) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.Str(f(a[0].S)), nil }
}

func int1(f func(s string) int) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.I64(int64(f(a[0].S))), nil }
}

func bool2(f func(a, b string) bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) { return column.Bool(f(a[0].S, a[1].S)), nil }
}

func stringFunctions() []function {
	return []function{
		fn("upper ucase", "str", "str", "Text in upper case.", "upper('Straße')", "STRASSE", str1(upper)).sure(),
		fn("lower lcase", "str", "str", "Text in lower case.", "lower('SQL')", "sql", str1(lower)).sure(),
		fn("initcap", "str", "str", "First letter of each word in upper case, the others in lower case.", "initcap('sPark sql')", "Spark Sql", str1(initcap)).sure(),
		bound("length char_length character_length len", "x", "Number of characters of a string, or bytes of a binary.", "length('Spark SQL ')", "10", bindLength),
		fn("octet_length", "strbin", "int", "Number of bytes.", "octet_length('ä')", "2", int1(func(s string) int { return len(s) })).sure(),
		fn("bit_length", "strbin", "int", "Number of bits.", "bit_length('ab')", "16", int1(func(s string) int { return 8 * len(s) })).sure(),
		fn("trim", "str str?", "str", "Text without spaces (or the characters of the first of two arguments) at both ends.", "trim('  a ')", "a", evalTrim(true, true)).sure(),
		fn("ltrim", "str str?", "str", "Text without leading spaces; ltrim(chars, text) removes chars.", "ltrim('  a')", "a", evalTrim(true, false)).sure(),
		fn("rtrim", "str str?", "str", "Text without trailing spaces; rtrim(chars, text) removes chars.", "rtrim('a  ')", "a", evalTrim(false, true)).sure(),
		fn("btrim", "str str?", "str", "Text without spaces, or without the characters of the second argument, at both ends.", "btrim('xaxx', 'x')", "a", func(a []column.Datum) (column.Datum, *Error) {
			if len(a) == 2 {
				return column.Str(trimSet(a[0].S, a[1].S, true, true)), nil
			}
			return column.Str(trimSet(a[0].S, " ", true, true)), nil
		}).sure(),
		bound("substring substr", "text, pos, len?", "Part of a text (or bytes) from a 1-based position; negative counts from the end.", "substring('Spark SQL', 5, 1)", "k", bindSubstring),
		bound("left", "text, n", "The first n characters, or bytes.", "left('Spark', 3)", "Spa", orBytes("str int", evalLeft(false), "bin int", evalLeft(true))),
		bound("right", "text, n", "The last n characters, or bytes.", "right('Spark', 3)", "ark", orBytes("str int", evalRight(false), "bin int", evalRight(true))),
		bound("lpad", "text, n, pad?", "Padded on the left to n characters or bytes, or cut to them.", "lpad('hi', 5, '??')", "???hi", orBytes("str int str?", evalPad(true), "bin int bin?", evalPadBytes(true))),
		bound("rpad", "text, n, pad?", "Padded on the right to n characters or bytes, or cut to them.", "rpad('hi', 5, '??')", "hi???", orBytes("str int str?", evalPad(false), "bin int bin?", evalPadBytes(false))),
		bound("concat ||", "a, b, ...", "Joins texts, bytes or arrays.", "concat('Spark', 'SQL')", "SparkSQL", bindConcat),
		bound("concat_ws", "sep, a, ...", "Joins texts and arrays of texts with a separator; NULLs are left out.", "concat_ws('-', 'a', NULL, 'b')", "a-b", bindConcatWS),
		fn("repeat", "str int", "str", "The text n times.", "repeat('ab', 2)", "abab", func(a []column.Datum) (column.Datum, *Error) {
			n := max(a[1].I, 0)
			if n*int64(len(a[0].S)) > maxString {
				return column.NullDatum, errTooLong("repeat")
			}
			return column.Str(strings.Repeat(a[0].S, int(n))), nil
		}),
		fn("replace", "str str str?", "str", "Replaces each occurrence of the second text by the third, or removes it.", "replace('ABCabc', 'abc', 'DEF')", "ABCDEF", evalReplace),
		fn("translate", "str str str", "str", "Replaces each character of the second text by the one at its place in the third.", "translate('AaBbCc', 'abc', '123')", "A1B2C3", evalTranslate).sure(),
		fn("split_part", "str str int", "str", "The n-th part of a text split at a delimiter; negative counts from the end.", "split_part('11.12.13', '.', 3)", "13", evalSplitPart),
		fn("substring_index", "str str int", "str", "Text before the n-th delimiter; negative counts from the end.", "substring_index('www.apache.org', '.', 2)", "www.apache", evalSubstringIndex).sure(),
		fn("locate position", "str str int?", "int", "1-based position of the first text in the second, from a start position; 0 when absent.", "locate('bar', 'foobarbar')", "4", nil).seesNulls(evalLocate),
		fn("charindex", "str str int?", "int", "The same as locate.", "charindex('bar', 'foobarbar')", "4", nil).seesNulls(evalLocate),
		fn("instr", "str str int? int?", "int", "1-based position of the second text in the first, from a place (negative: backwards from the end), the n-th occurrence; 0 when absent.", "instr('SparkSQL', 'SQL')", "6", evalInstr),
		fn("sentences", "str str? str?", "arr:arr:str", "Sentences of a text, each an array of its words.", "sentences('Hi there! Good morning.')", "[[Hi, there], [Good, morning]]", evalSentences).sure(),
		fn("ascii", "str", "int", "Code point of the first character; 0 for an empty text.", "ascii('222')", "50", int1(func(s string) int {
			if s == "" {
				return 0
			}
			r, _ := utf8.DecodeRuneInString(s)
			return int(r)
		})).sure(),
		fn("chr char", "bigint", "str", "Character of a code modulo 256.", "chr(65)", "A", func(a []column.Datum) (column.Datum, *Error) {
			if a[0].I < 0 {
				return column.Str(""), nil
			}
			return column.Str(string(rune(a[0].I & 0xff))), nil
		}),
		fn("space", "int", "str", "n spaces.", "concat('[', space(2), ']')", "[  ]", func(a []column.Datum) (column.Datum, *Error) {
			if a[0].I > maxString {
				return column.NullDatum, errTooLong("space")
			}
			return column.Str(strings.Repeat(" ", int(max(a[0].I, 0)))), nil
		}),
		bound("startswith", "a, b", "True when a begins with b.", "startswith('SparkSQL', 'Spark')", "true", bindPair(strings.HasPrefix)),
		bound("endswith", "a, b", "True when a ends with b.", "endswith('SparkSQL', 'SQL')", "true", bindPair(strings.HasSuffix)),
		bound("contains", "a, b", "True when b occurs in a.", "contains('SparkSQL', 'rkS')", "true", bindPair(strings.Contains)),
		fn("find_in_set", "str str", "int", "1-based index of a text in a comma-separated list; 0 when absent.", "find_in_set('ab', 'abc,b,ab,c,def')", "3", evalFindInSet).sure(),
		fn("levenshtein", "str str int?", "int", "Number of single-character edits between two texts; -1 above a threshold.", "levenshtein('kitten', 'sitting')", "3", evalLevenshtein),
		fn("soundex", "str", "str", "Soundex code.", "soundex('Miller')", "M460", str1(soundex)).sure(),
		bound("overlay", "text, replacement, pos, len?", "Replaces part of a text.", "overlay('Spark SQL', '_', 6)", "Spark_SQL", bindOverlay),
		fn("mask", "str str? str? str? str?", "str", "Replaces upper-case letters by X, lower-case ones by x, digits by n (or other characters given; NULL keeps them).", "mask('AbCD123-@$#')", "XxXXnnn-@$#", nil).seesNulls(evalMask),
		fn("luhn_check", "str", "bool", "True for digits that pass the Luhn check.", "luhn_check('8112189876')", "true", evalLuhn).sure(),
		bound("elt", "n, a, b, ...", "The n-th of the other arguments.", "elt(1, 'scala', 'java')", "scala", bindElt),
		bound("reverse", "x", "A text or an array backwards.", "reverse('Spark SQL')", "LQS krapS", bindReverse),
	}
}

// sure marks an entry whose function never fails.
func (f function) sure() function {
	f.safe = true
	return f
}

// special are the characters whose upper case is longer than one character.
var specialUpper = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ǰ", "J̌", "ΐ", "Ϊ́", "ΰ", "Ϋ́", "և", "ԵՒ",
	"ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST", "ẖ", "H̱", "ẗ", "T̈", "ẘ", "W̊", "ẙ", "Y̊", "ẚ", "Aʾ")

func upper(s string) string {
	if isASCII(s) {
		return upperASCII(s)
	}
	return strings.ToUpper(specialUpper.Replace(s))
}

func lower(s string) string {
	if isASCII(s) || !strings.ContainsAny(s, "İΣ") {
		return strings.ToLower(s)
	}
	r := []rune(s)
	var b strings.Builder
	for i, c := range r {
		switch {
		case c == 'İ':
			b.WriteString("i̇")
		case c == 'Σ' && finalSigma(r, i):
			b.WriteRune('ς')
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

// finalSigma: a letter before, none after.
func finalSigma(r []rune, i int) bool {
	return i > 0 && unicode.IsLetter(r[i-1]) && (i+1 == len(r) || !unicode.IsLetter(r[i+1]))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func initcap(s string) string {
	r := []rune(lower(s))
	start := true
	for i, c := range r {
		if start {
			r[i] = unicode.ToTitle(c)
		}
		start = c == ' '
	}
	return string(r)
}

func trimSet(s, set string, left, right bool) string {
	if left {
		s = strings.TrimLeft(s, set)
	}
	if right {
		s = strings.TrimRight(s, set)
	}
	return s
}

// evalTrim is trim, ltrim and rtrim: the characters, when given, come first.
func evalTrim(left, right bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		if len(a) == 2 {
			return column.Str(trimSet(a[1].S, a[0].S, left, right)), nil
		}
		return column.Str(trimSet(a[0].S, " ", left, right)), nil
	}
}

func bindLength(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "strbin", args)
	if err != nil {
		return nil, err
	}
	eval := int1(utf8.RuneCountInString)
	if b[0].Type().Kind == column.Binary {
		eval = int1(func(s string) int { return len(s) })
	}
	return &scalar{name: name, args: b, t: column.Of(column.Int), eval: eval, safe: true}, nil
}

// span turns Spark's position and length into [from, to) over n characters.
func span(n, pos, length int64) (from, to int64) {
	switch {
	case pos > 0:
		from = pos - 1
	case pos < 0:
		from = n + pos
	}
	to = min(from+length, math.MaxInt32)
	if to <= from || from >= n {
		return 0, 0
	}
	return max(from, 0), max(min(to, n), 0)
}

func substring(s string, pos, length int64) string {
	if isASCII(s) {
		from, to := span(int64(len(s)), pos, length)
		return s[from:max(from, to)]
	}
	r := []rune(s)
	from, to := span(int64(len(r)), pos, length)
	return string(r[from:max(from, to)])
}

func bindSubstring(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "strbin int int?", args)
	if err != nil {
		return nil, err
	}
	bytes := b[0].Type().Kind == column.Binary
	eval := func(a []column.Datum) (column.Datum, *Error) {
		length := int64(math.MaxInt32)
		if len(a) == 3 {
			length = a[2].I
		}
		if bytes {
			from, to := span(int64(len(a[0].S)), a[1].I, length)
			return column.Str(a[0].S[from:max(from, to)]), nil
		}
		return column.Str(substring(a[0].S, a[1].I, length)), nil
	}
	return &scalar{name: name, args: b, t: b[0].Type(), eval: eval, safe: true}, nil
}

func evalPad(left bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		pad := " "
		if len(a) == 3 {
			pad = a[2].S
		}
		n := a[1].I
		if n <= 0 {
			return column.Str(""), nil
		}
		if n > maxString {
			return column.NullDatum, errTooLong("lpad")
		}
		r, p := []rune(a[0].S), []rune(pad)
		if int64(len(r)) >= n {
			return column.Str(string(r[:n])), nil
		}
		if len(p) == 0 {
			return a[0], nil
		}
		fill := make([]rune, n-int64(len(r)))
		for i := range fill {
			fill[i] = p[i%len(p)]
		}
		if left {
			return column.Str(string(fill) + a[0].S), nil
		}
		return column.Str(a[0].S + string(fill)), nil
	}
}

func bindConcat(name string, args []Expr) (Expr, error) {
	if len(args) == 0 {
		return NewLiteral(column.Of(column.String), column.Str("")), nil
	}
	binary, array := 0, 0
	for _, a := range args {
		switch a.Type().Kind {
		case column.Binary:
			binary++
		case column.Array:
			array++
		}
	}
	t := column.Of(column.String)
	if binary == len(args) {
		t = column.Of(column.Binary)
	}
	if array > 0 {
		return concatArrays(name, args)
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if out[i] = a; !a.Type().Equal(t) {
			if out[i], err = toClass(name, i, a, "str"); err != nil {
				return nil, err
			}
		}
	}
	if len(out) == 1 {
		return out[0], nil
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		n := 0
		for _, d := range a {
			n += len(d.S)
		}
		if n > maxString {
			return column.NullDatum, errTooLong("concat")
		}
		var b strings.Builder
		b.Grow(n)
		for _, d := range a {
			b.WriteString(d.S)
		}
		return column.Str(b.String()), nil
	}
	return &scalar{name: "concat", args: out, t: t, eval: eval}, nil
}

func bindConcatWS(name string, args []Expr) (Expr, error) {
	if len(args) == 0 {
		return nil, errWrongNumArgs(name, "one or more", 0)
	}
	out := make([]Expr, len(args))
	for i, a := range args {
		var err error
		if i > 0 && a.Type().Kind == column.Array {
			out[i] = newCast(a, column.ArrayOf(column.Of(column.String)), false)
		} else if out[i], err = toClass(name, i, a, "str"); err != nil {
			return nil, err
		}
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		if a[0].Null {
			return column.NullDatum, nil
		}
		var parts []string
		n := 0
		add := func(d column.Datum) {
			if !d.Null {
				parts = append(parts, d.S)
				n += len(d.S) + len(a[0].S)
			}
		}
		for i, d := range a[1:] {
			if d.Null || out[i+1].Type().Kind != column.Array {
				add(d)
				continue
			}
			for _, x := range d.L {
				add(x)
			}
		}
		if n > maxString {
			return column.NullDatum, errTooLong(name)
		}
		return column.Str(strings.Join(parts, a[0].S)), nil
	}
	return &scalar{name: name, args: out, t: column.Of(column.String), eval: eval, nulls: true}, nil
}

func evalReplace(a []column.Datum) (column.Datum, *Error) {
	to := ""
	if len(a) == 3 {
		to = a[2].S
	}
	if a[1].S == "" {
		return a[0], nil
	}
	if len(to) > 0 && (len(a[0].S)/len(a[1].S))*len(to) > maxString {
		return column.NullDatum, errTooLong("replace")
	}
	return column.Str(strings.ReplaceAll(a[0].S, a[1].S, to)), nil
}

func evalTranslate(a []column.Datum) (column.Datum, *Error) {
	from, to := []rune(a[1].S), []rune(a[2].S)
	table := make(map[rune]rune, len(from))
	for i, r := range from {
		if _, dup := table[r]; dup {
			continue
		}
		table[r] = -1
		if i < len(to) {
			table[r] = to[i]
		}
	}
	return column.Str(strings.Map(func(r rune) rune {
		if t, ok := table[r]; ok {
			return t
		}
		return r
	}, a[0].S)), nil
}

func evalSplitPart(a []column.Datum) (column.Datum, *Error) {
	n := a[2].I
	if n == 0 {
		return column.NullDatum, runtimeErr("INVALID_INDEX_OF_ZERO", "22003", "split_part: the index 0 is invalid; parts are counted from 1, or from -1 at the end")
	}
	parts := []string{a[0].S}
	if a[1].S != "" {
		parts = strings.Split(a[0].S, a[1].S)
	}
	if n < 0 {
		n += int64(len(parts)) + 1
	}
	if n < 1 || n > int64(len(parts)) {
		return column.Str(""), nil
	}
	return column.Str(parts[n-1]), nil
}

func evalSubstringIndex(a []column.Datum) (column.Datum, *Error) {
	s, d, n := a[0].S, a[1].S, a[2].I
	if d == "" || n == 0 {
		return column.Str(""), nil
	}
	if n > 0 {
		at := -1
		for i := int64(0); i < n; i++ {
			k := strings.Index(s[at+1:], d)
			if k < 0 {
				return a[0], nil
			}
			at += 1 + k
		}
		return column.Str(s[:at]), nil
	}
	end := len(s)
	for i := int64(0); i > n; i-- {
		k := strings.LastIndex(s[:min(end, len(s))], d)
		if k < 0 {
			return a[0], nil
		}
		end = k + len(d) - 1
		if i == n+1 {
			return column.Str(s[k+len(d):]), nil
		}
	}
	return a[0], nil
}

// indexFrom returns the character position of sub in s at or after character from, or -1.
func indexFrom(s, sub string, from int) int {
	if sub == "" {
		return 0
	}
	skip := 0
	for range from {
		if skip >= len(s) {
			return -1
		}
		_, n := utf8.DecodeRuneInString(s[skip:])
		skip += n
	}
	i := strings.Index(s[skip:], sub)
	if i < 0 {
		return -1
	}
	return from + utf8.RuneCountInString(s[skip:skip+i])
}

func evalLocate(a []column.Datum) (column.Datum, *Error) {
	from := int64(1)
	if len(a) == 3 {
		if a[2].Null {
			return column.I64(0), nil
		}
		from = a[2].I
	}
	if a[0].Null || a[1].Null {
		return column.NullDatum, nil
	}
	if from < 1 {
		return column.I64(0), nil
	}
	return column.I64(int64(indexFrom(a[1].S, a[0].S, int(from-1)) + 1)), nil
}

// bindPair types a test on two strings or two binaries.
func bindPair(f func(a, b string) bool) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		if err := needArgs(name, args, 2); err != nil {
			return nil, err
		}
		if args[0].Type().Kind != column.Binary || args[1].Type().Kind != column.Binary {
			b, err := bindArgs(name, "str str", args)
			if err != nil {
				return nil, err
			}
			args = b
		}
		return &scalar{name: name, args: args, t: column.Of(column.Boolean), eval: bool2(f), safe: true}, nil
	}
}
