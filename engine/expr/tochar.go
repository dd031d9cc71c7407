package expr

import (
	"math/big"
	"strings"

	"signalbox/engine/column"
)

// numberFormat is a format of to_number and to_char.
type numberFormat struct {
	dollar      bool
	sign        string // "", "S<" (leading), ">S" (trailing), "MI<", ">MI", "PR"
	whole, frac string // of 9 0 and , (G)
}

func parseNumberFormat(p string) (numberFormat, bool) {
	var f numberFormat
	s := strings.NewReplacer("D", ".", "G", ",").Replace(strings.ToUpper(p))
	for _, lead := range []string{"MI", "S"} {
		if rest, ok := strings.CutPrefix(s, lead); ok {
			f.sign, s = lead+"<", rest
			break
		}
		if rest, ok := strings.CutSuffix(s, lead); ok {
			f.sign, s = ">"+lead, rest
			break
		}
	}
	if rest, ok := strings.CutSuffix(s, "PR"); ok && f.sign == "" {
		f.sign, s = "PR", rest
	}
	if rest, ok := strings.CutPrefix(s, "$"); ok {
		f.dollar, s = true, rest
	}
	f.whole, f.frac, _ = strings.Cut(s, ".")
	digits := strings.Count(f.whole, "9") + strings.Count(f.whole, "0") + len(f.frac)
	ok := strings.Trim(f.whole, "09,") == "" && strings.Trim(f.frac, "09") == "" && digits > 0 && digits <= 38 &&
		!strings.HasPrefix(f.whole, ",") && !strings.HasSuffix(f.whole, ",") && (f.whole != "" || f.frac != "")
	return f, ok
}

func (f numberFormat) wholeDigits() int {
	return strings.Count(f.whole, "9") + strings.Count(f.whole, "0")
}

func (f numberFormat) typ() column.Type {
	return column.DecimalType(uint8(f.wholeDigits()+len(f.frac)), uint8(len(f.frac)))
}

func constFormat(name string, e Expr) (numberFormat, error) {
	d, ok := Constant(Fold(e))
	if !ok || d.Null || e.Type().Kind != column.String {
		return numberFormat{}, analysisErr("DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "%s: the format must be a constant string", name)
	}
	f, ok := parseNumberFormat(d.S)
	if !ok {
		return f, analysisErr("INVALID_FORMAT.UNEXPECTED_TOKEN", "42601", "%s: the format %q is not valid; it is made of 9 0 . , $ S MI PR", name, clip(d.S))
	}
	return f, nil
}

func bindToNumber(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "str str", args)
	if err != nil {
		return nil, err
	}
	f, err := constFormat(name, b[1])
	if err != nil {
		return nil, err
	}
	t := f.typ()
	return typed(name, b, t, func(a []column.Datum) (column.Datum, *Error) {
		v, ok := f.parse(a[0].S)
		if !ok && name == "try_to_number" {
			return column.NullDatum, nil
		}
		if !ok {
			return column.NullDatum, runtimeErr("INVALID_FORMAT.MISMATCH_INPUT", "42601", "to_number: the text %q does not match the format %q; use try_to_number to get NULL instead", clip(a[0].S), clip(a[1].S))
		}
		d, ok := fitDecimal(v, t)
		return column.Datum{Dec: d, Null: !ok}, nil
	}), nil
}

// parse reads a text by the format: unscaled value at the scale of the format.
func (f numberFormat) parse(s string) (*big.Int, bool) {
	s = strings.TrimSpace(s)
	neg := false
	trim := func(lead bool, c string) bool {
		rest, ok := strings.CutSuffix(s, c)
		if lead {
			rest, ok = strings.CutPrefix(s, c)
		}
		s = rest
		return ok
	}
	switch f.sign {
	case "S<", "MI<":
		neg = trim(true, "-")
		if !neg && f.sign == "S<" {
			trim(true, "+")
		}
	case ">S", ">MI":
		neg = trim(false, "-")
		if !neg && f.sign == ">S" {
			trim(false, "+")
		}
	case "PR":
		if neg = trim(true, "<"); neg && !trim(false, ">") {
			return nil, false
		}
	}
	if f.dollar && !trim(true, "$") {
		return nil, false
	}
	whole, frac, dot := strings.Cut(s, ".")
	if dot && f.frac == "" && frac != "" || len(frac) > len(f.frac) || strings.Trim(frac, "0123456789") != "" {
		return nil, false
	}
	if !matchGroups(whole, f.whole) {
		return nil, false
	}
	digits := strings.ReplaceAll(whole, ",", "")
	if digits == "" && frac == "" {
		return nil, false
	}
	v, ok := new(big.Int).SetString("0"+digits+frac+strings.Repeat("0", len(f.frac)-len(frac)), 10)
	if ok && neg {
		v.Neg(v)
	}
	return v, ok
}

// matchGroups checks the digits before the point, from the right: separators stand where the format has them.
func matchGroups(s, f string) bool {
	i, j := len(s)-1, len(f)-1
	for ; i >= 0; i, j = i-1, j-1 {
		if j < 0 {
			return false
		}
		comma := f[j] == ','
		if comma != (s[i] == ',') || !comma && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	for ; j >= 0; j-- { // a run that begins with 0 needs all its digits
		if f[j] == '0' && strings.HasPrefix(f, "0") {
			return false
		}
	}
	return true
}

func bindToChar(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	switch k := args[0].Type().Kind; {
	case isDatetime(k):
		return bindDateFormat("date_format", args)
	case k == column.Binary:
		return bindBinaryText(name, args)
	}
	f, err := constFormat(name, args[1])
	if err != nil {
		return nil, err
	}
	x, err := toClass(name, 0, args[0], "num")
	if err != nil {
		return nil, err
	}
	switch k := x.Type().Kind; {
	case k.IsIntegral():
		x = newCast(x, precisionOf(k), false)
	case k == column.Double:
		x = newCast(x, column.DecimalType(30, 15), false)
	case k == column.Float:
		x = newCast(x, column.DecimalType(14, 7), false)
	}
	scale := int(x.Type().Scale)
	return typed(name, []Expr{x, args[1]}, column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		v := bigOf(a[0].Dec)
		cut := rescale(v, scale, len(f.frac), down)
		fits := rescale(cut, len(f.frac), max(scale, len(f.frac)), down).Cmp(rescale(v, scale, max(scale, len(f.frac)), down)) == 0
		return column.Str(f.render(cut, !fits)), nil
	}), nil
}

func bindBinaryText(name string, args []Expr) (Expr, error) {
	return typed(name, args, column.Of(column.String), func(a []column.Datum) (column.Datum, *Error) {
		switch strings.ToLower(a[1].S) {
		case "base64":
			return column.Str(base64Lines(a[0].S)), nil
		case "hex":
			var b strings.Builder
			for i := range len(a[0].S) {
				const digits = "0123456789ABCDEF"
				b.WriteByte(digits[a[0].S[i]>>4])
				b.WriteByte(digits[a[0].S[i]&15])
			}
			return column.Str(b.String()), nil
		case "utf-8":
			return column.Str(a[0].S), nil
		}
		return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.BINARY_FORMAT", "22023", "to_char: the format of bytes is base64, hex or utf-8, not %q", clip(a[1].S))
	}), nil
}

// render writes an unscaled value at the scale of the format; over = it has more digits behind the point than that.
func (f numberFormat) render(v *big.Int, over bool) string {
	neg := v.Sign() < 0
	whole, frac, _ := strings.Cut(bigText(new(big.Int).Abs(v), len(f.frac)), ".")
	if whole == "0" {
		whole = ""
	}
	over = over || len(whole) > f.wholeDigits()
	out := []byte{}
	zeros := strings.IndexByte(f.whole, '0')
	at := len(whole)
	for j := len(f.whole) - 1; j >= 0; j-- {
		switch c := f.whole[j]; {
		case over && c != ',':
			out = append(out, '#')
		case c == ',':
			if !over && (at > 0 || zeros >= 0 && zeros < j) {
				out = append(out, ',')
			} else {
				out = append(out, ' ')
			}
		case at > 0:
			at--
			out = append(out, whole[at])
		case zeros >= 0 && zeros <= j || f.frac != "" && f.sign == "" && j == len(f.whole)-1:
			out = append(out, '0')
		default:
			out = append(out, ' ')
		}
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	s := string(out)
	if f.frac != "" {
		if over {
			frac = strings.Repeat("#", len(f.frac))
		}
		s += "." + frac
	}
	pad := len(s) - len(strings.TrimLeft(s, " "))
	body := s[pad:]
	if f.dollar {
		body = "$" + body
	}
	return strings.Repeat(" ", pad) + f.withSign(body, neg)
}

func (f numberFormat) withSign(body string, neg bool) string {
	switch {
	case f.sign == "PR" && neg:
		return "<" + body + ">"
	case f.sign == "PR":
		return body + "  "
	case f.sign == "":
		return body
	case f.sign == "S<" && neg, f.sign == "MI<" && neg:
		return "-" + body
	case f.sign == "S<":
		return "+" + body
	case f.sign == "MI<":
		return " " + body
	case neg:
		return body + "-"
	case f.sign == ">S":
		return body + "+"
	case f.sign == ">MI":
		return body + " "
	}
	return body
}
