package expr

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"

	"signalbox/engine/column"
)

func formatFunctions() []function {
	return []function{
		bound("format_string printf", "pattern, a, ...", "Text from a pattern as in Java's Formatter.", "format_string('Hello World %d %s', 100, 'days')", "Hello World 100 days", bindFormatString),
		bound("format_number", "x, digits", "Number with thousands separated and a fixed number of digits after the point.", "format_number(12332.123456, 4)", "12,332.1235", bindFormatNumber),
		bound("to_number", "text, format", "DECIMAL from a text by a format of 9 0 . , $ S MI PR.", "to_number('$78.12', '$99.99')", "78.12", bindToNumber),
		bound("try_to_number", "text, format", "to_number, NULL when the text does not match.", "try_to_number('foo', '999')", "NULL", bindToNumber),
		bound("to_char to_varchar", "x, format", "Text of a number by a format of 9 0 . , $ S MI PR, or of a time by a pattern.", "to_char(12454, '99,999')", "12,454", bindToChar),
	}
}

// formatSpec is one %[index$][flags][width][.precision]conversion.
type formatSpec struct {
	index      int // -1 = the next argument
	flags      string
	width      int
	precision  int // -1 = not given
	conv       byte
	isRelative bool // %<s: the argument of the one before
}

func errFormat(why string) *Error {
	return runtimeErr("INVALID_PARAMETER_VALUE.FORMAT", "22023", "format_string: %s", why)
}

func parseSpec(s string) (formatSpec, int, bool) {
	f := formatSpec{index: -1, precision: -1}
	i := 1
	v, n := digitsAt(s[i:], 6)
	if n > 0 && i+n < len(s) && s[i+n] == '$' && s[i] != '0' {
		f.index = int(v) - 1
		i += n + 1
	} else if i < len(s) && s[i] == '<' {
		f.isRelative = true
		i++
	}
	for i < len(s) && strings.IndexByte("-#+ 0,(", s[i]) >= 0 {
		f.flags += s[i : i+1]
		i++
	}
	v, n = digitsAt(s[i:], 6)
	f.width = int(v)
	i += n
	if i < len(s) && s[i] == '.' {
		v, n = digitsAt(s[i+1:], 6)
		if n == 0 {
			return f, 0, false
		}
		f.precision = int(v)
		i += n + 1
	}
	if i >= len(s) {
		return f, 0, false
	}
	f.conv = s[i]
	return f, i + 1, true
}

func bindFormatString(name string, args []Expr) (Expr, error) {
	if len(args) == 0 {
		return nil, errWrongNumArgs(name, "one or more", 0)
	}
	first, err := toClass(name, 0, args[0], "str")
	if err != nil {
		return nil, err
	}
	types := typesOf(args[1:])
	return &scalar{name: name, args: append([]Expr{first}, args[1:]...), t: column.Of(column.String), nulls: true, eval: func(a []column.Datum) (column.Datum, *Error) {
		if a[0].Null {
			return a[0], nil
		}
		return formatText(a[0].S, types, a[1:])
	}}, nil
}

func formatText(p string, types []column.Type, a []column.Datum) (column.Datum, *Error) {
	var b strings.Builder
	next, last := 0, -1
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			b.WriteByte(p[i])
			continue
		}
		f, n, ok := parseSpec(p[i:])
		if !ok {
			return column.NullDatum, errFormat("the pattern " + strconv.Quote(clip(p)) + " is not complete")
		}
		i += n - 1
		switch f.conv {
		case '%':
			b.WriteString(padTo("%", f))
			continue
		case 'n':
			b.WriteByte('\n')
			continue
		}
		at := f.index
		switch {
		case f.isRelative:
			at = last
		case at < 0:
			at = next
			next++
		}
		if at < 0 || at >= len(a) {
			return column.NullDatum, errFormat("there is no argument for %" + string(f.conv))
		}
		last = at
		s, err := f.one(types[at], a[at])
		if err != nil {
			return column.NullDatum, err
		}
		if b.WriteString(padTo(s, f)); b.Len() > maxString {
			return column.NullDatum, errTooLong("format_string")
		}
	}
	return column.Str(b.String()), nil
}

func padTo(s string, f formatSpec) string {
	n := f.width - len(utf16.Encode([]rune(s))) // Java counts UTF-16 units
	if n <= 0 {
		return s
	}
	if strings.Contains(f.flags, "-") {
		return s + strings.Repeat(" ", n)
	}
	return strings.Repeat(" ", n) + s
}

func (f formatSpec) one(t column.Type, d column.Datum) (string, *Error) {
	bad := errFormat("%" + string(f.conv) + " does not go with " + t.String())
	upperCase := f.conv >= 'A' && f.conv <= 'Z'
	s := ""
	switch f.conv | 32 {
	case 's':
		s = partText(t, d)
		if isInterval(t.Kind) && !d.Null { // as Spark: the bare number
			s = strconv.FormatInt(d.I, 10)
		}
	case 'b':
		s = strconv.FormatBool(!d.Null && (t.Kind != column.Boolean || d.I != 0))
	case 'c':
		if d.Null {
			s = "null"
		} else if !t.Kind.IsIntegral() || t.Kind == column.BigInt || d.I < 0 || d.I > 0x10ffff {
			return "", bad
		} else {
			s = string(rune(d.I))
		}
	case 'd', 'x', 'o':
		if d.Null {
			s = "null"
			break
		}
		if !t.Kind.IsIntegral() || f.conv == 'D' {
			return "", bad
		}
		return f.integer(t, d.I, upperCase), nil
	case 'f', 'e', 'g':
		if d.Null {
			s = "null"
			break
		}
		if !isFractional(t.Kind) || f.conv == 'F' {
			return "", bad
		}
		return f.float(t, d, upperCase), nil
	default:
		return "", errFormat("%" + string(f.conv) + " is not known")
	}
	if f.precision >= 0 && f.conv|32 != 'c' && len([]rune(s)) > f.precision {
		s = string([]rune(s)[:f.precision])
	}
	if upperCase {
		s = upper(s)
	}
	return s, nil
}

func (f formatSpec) integer(t column.Type, v int64, upperCase bool) string {
	if f.conv != 'd' {
		u := uint64(v)
		if t.Kind != column.BigInt && v < 0 {
			u = uint64(uint32(v))
			if t.Kind == column.TinyInt {
				u &= 0xff
			} else if t.Kind == column.SmallInt {
				u &= 0xffff
			}
		}
		base, prefix := 16, "0x"
		if f.conv == 'o' {
			base, prefix = 8, "0"
		}
		s := strconv.FormatUint(u, base)
		if strings.Contains(f.flags, "#") {
			s = prefix + s
		}
		if strings.Contains(f.flags, "0") && len(s) < f.width {
			s = strings.Repeat("0", f.width-len(s)) + s
		}
		if upperCase {
			s = upperASCII(s)
		}
		return s
	}
	return f.signed(v < 0, strconv.FormatUint(absU(v), 10))
}

// signed adds grouping, zero padding and the sign to digits.
func (f formatSpec) signed(neg bool, digits string) string {
	if strings.Contains(f.flags, ",") {
		whole, frac, dot := strings.Cut(digits, ".")
		digits = group3(whole)
		if dot {
			digits += "." + frac
		}
	}
	before, after := "", ""
	switch {
	case neg && strings.Contains(f.flags, "("):
		before, after = "(", ")"
	case neg:
		before = "-"
	case strings.Contains(f.flags, "+"):
		before = "+"
	case strings.Contains(f.flags, " "):
		before = " "
	}
	if n := f.width - len(before) - len(digits) - len(after); n > 0 && strings.Contains(f.flags, "0") {
		digits = strings.Repeat("0", n) + digits
	}
	return before + digits + after
}

func group3(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (f formatSpec) float(t column.Type, d column.Datum, upperCase bool) string {
	if isFloating(t.Kind) && (math.IsNaN(d.F) || math.IsInf(d.F, 0)) {
		s := strings.TrimPrefix(javaDouble(d.F, false), "-")
		g := f
		g.flags = strings.NewReplacer("0", "", ",", "").Replace(f.flags)
		return g.signed(d.F < 0, s)
	}
	v, scale := bigOf(d.Dec), int(t.Scale)
	neg := v.Sign() < 0
	if isFloating(t.Kind) {
		v, scale, _ = parseDecimalText(javaDouble(d.F, t.Kind == column.Float))
		neg = math.Signbit(d.F)
	}
	v = new(big.Int).Abs(v)
	prec := f.precision
	if prec < 0 {
		prec = 6
	}
	s := ""
	switch f.conv | 32 {
	case 'f':
		s = bigText(rescale(v, scale, prec, halfUp), prec)
	case 'e':
		s = scientific(v, scale, prec)
	default:
		prec = max(prec, 1)
		lo, hi := new(big.Rat).SetFrac(big.NewInt(1), big.NewInt(10000)), new(big.Rat).SetInt(pow10(prec))
		r := new(big.Rat).SetFrac(v, pow10(scale))
		if v.Sign() == 0 || r.Cmp(lo) >= 0 && r.Cmp(hi) < 0 {
			whole := max(digits(v)-scale, 1)
			if v.Sign() != 0 && digits(v)-scale < 1 {
				whole = digits(v) - scale
			}
			n := max(prec-whole, 0)
			s = bigText(rescale(v, scale, n, halfUp), n)
		} else {
			s = scientific(v, scale, prec-1)
		}
	}
	if upperCase {
		s = upperASCII(s)
	}
	return f.signed(neg, s)
}

// scientific renders d.ddde±xx with prec digits after the point.
func scientific(v *big.Int, scale, prec int) string {
	exp := 0
	if v.Sign() != 0 {
		exp = digits(v) - 1 - scale
		if drop := digits(v) - prec - 1; drop > 0 {
			v = divRound(v, pow10(drop), halfUp)
		} else {
			v = new(big.Int).Mul(v, pow10(-drop))
		}
		v = normal(v, prec, &exp)
	} else {
		v = new(big.Int)
	}
	sign := "+"
	e := exp
	if e < 0 {
		sign, e = "-", -e
	}
	text := strconv.Itoa(e)
	if len(text) < 2 {
		text = "0" + text
	}
	return bigText(v, prec) + "e" + sign + text
}

// normal brings a rounded value back to one digit before the point.
func normal(v *big.Int, prec int, exp *int) *big.Int {
	for digits(v) > prec+1 {
		v = divRound(v, bigTen, halfUp)
		*exp++
	}
	return v
}

func bindFormatNumber(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	x, err := toClass(name, 0, args[0], "num")
	if err != nil {
		return nil, err
	}
	n := args[1]
	if n.Type().Kind != column.String {
		if n, err = toClass(name, 1, n, "int"); err != nil {
			return nil, err
		}
	}
	t := x.Type()
	pattern := n.Type().Kind == column.String
	return typed(name, []Expr{x, n}, column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		group, least, most := true, 0, 0
		if pattern {
			group, least, most = decimalFormat(a[1].S)
		} else if least, most = int(a[1].I), int(a[1].I); least < 0 {
			return column.NullDatum, nil
		}
		return column.Str(groupedNumber(t, a[0], group, min(least, 400), min(most, 400))), nil
	}), nil
}

// decimalFormat reads the part of java.text.DecimalFormat that says grouping and digits after the point.
func decimalFormat(p string) (group bool, least, most int) {
	whole, frac, _ := strings.Cut(p, ".")
	return p == "" || strings.Contains(whole, ","), strings.Count(frac, "0"), strings.Count(frac, "0") + strings.Count(frac, "#")
}

// groupedNumber rounds half to even, as java.text.DecimalFormat does.
func groupedNumber(t column.Type, d column.Datum, group bool, least, most int) string {
	s, neg := "", d.I < 0
	switch {
	case isFloating(t.Kind):
		if math.IsNaN(d.F) {
			return "NaN"
		}
		if math.IsInf(d.F, 0) {
			return strings.Replace(strconv.FormatFloat(d.F, 'f', -1, 64), "Inf", "∞", 1)[b2int(d.F > 0):]
		}
		neg = math.Signbit(d.F)
		s = fixedDigits(d.F, most)
	case t.Kind == column.Decimal:
		neg = bigOf(d.Dec).Sign() < 0
		s = bigText(rescale(bigOf(d.Dec), int(t.Scale), most, halfEven), most)
	default:
		s = bigText(rescale(big.NewInt(d.I), 0, most, halfEven), most)
	}
	whole, frac, _ := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	for len(frac) > least && frac[len(frac)-1] == '0' {
		frac = frac[:len(frac)-1]
	}
	if group {
		whole = group3(whole)
	}
	if frac != "" {
		whole += "." + frac
	}
	if neg { // a number that rounds to zero keeps its sign
		return "-" + whole
	}
	return whole
}

// fixedDigits rounds to most digits after the point. Digits beyond those that
// tell the double apart are zeros, as in Java, and not those of its exact value.
func fixedDigits(f float64, most int) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	_, frac, _ := strings.Cut(s, ".")
	if len(frac) > most {
		return strconv.FormatFloat(f, 'f', most, 64)
	}
	if frac == "" && most > 0 {
		s += "."
	}
	return s + strings.Repeat("0", most-len(frac))
}
