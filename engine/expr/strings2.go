package expr

import (
	"slices"
	"strings"
	"unicode"

	"signalbox/engine/column"
)

func evalFindInSet(a []column.Datum) (column.Datum, *Error) {
	if strings.Contains(a[0].S, ",") {
		return column.I64(0), nil
	}
	for i, p := range strings.Split(a[1].S, ",") {
		if p == a[0].S {
			return column.I64(int64(i + 1)), nil
		}
	}
	return column.I64(0), nil
}

// maxEdit bounds the work of levenshtein.
const maxEdit = 1 << 14

func evalLevenshtein(a []column.Datum) (column.Datum, *Error) {
	x, y := []rune(a[0].S), []rune(a[1].S)
	if len(x) > maxEdit || len(y) > maxEdit {
		return column.NullDatum, errTooLong("levenshtein")
	}
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i, c := range x {
		diag := row[0]
		row[0] = i + 1
		for j, d := range y {
			cost := diag
			if c != d {
				cost++
			}
			diag = row[j+1]
			row[j+1] = min(cost, row[j]+1, diag+1)
		}
	}
	n := int64(row[len(y)])
	if len(a) == 3 && n > a[2].I {
		n = -1
	}
	return column.I64(n), nil
}

const soundexCodes = "01230127022455012623017202"

func soundex(s string) string {
	if s == "" {
		return s
	}
	first := s[0]
	if first >= 'a' && first <= 'z' {
		first -= 32
	}
	if first < 'A' || first > 'Z' {
		return s
	}
	out := []byte{first, '0', '0', '0'}
	n, last := 1, soundexCodes[first-'A']
	for i := 1; i < len(s) && n < 4; i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' {
			c -= 32
		}
		if c < 'A' || c > 'Z' {
			last = '0'
			continue
		}
		code := soundexCodes[c-'A']
		if code == '7' { // H and W do not separate equal codes
			continue
		}
		if code != '0' && code != last {
			out[n] = code
			n++
		}
		last = code
	}
	return string(out)
}

func bindOverlay(name string, args []Expr) (Expr, error) {
	class := "str str int int?"
	if len(args) > 1 && args[0].Type().Kind == column.Binary && args[1].Type().Kind == column.Binary {
		class = "bin bin int int?"
	}
	b, err := bindArgs(name, class, args)
	if err != nil {
		return nil, err
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		r := []rune(a[1].S)
		n := int64(len(r))
		if len(a) == 4 && a[3].I >= 0 {
			n = a[3].I
		}
		pos := a[2].I
		return column.Str(substring(a[0].S, 1, pos-1) + a[1].S + substring(a[0].S, pos+n, 1<<31-1)), nil
	}
	return &scalar{name: name, args: b, t: b[0].Type(), eval: eval, safe: true}, nil
}

func evalMask(a []column.Datum) (column.Datum, *Error) {
	if a[0].Null {
		return column.NullDatum, nil
	}
	with := [4]rune{'X', 'x', 'n', -1} // -1 keeps the character
	for i := 1; i < len(a); i++ {
		with[i-1] = -1
		if a[i].Null {
			continue
		}
		r := []rune(a[i].S)
		if len(r) != 1 {
			return column.NullDatum, runtimeErr("DATATYPE_MISMATCH.INPUT_SIZE_NOT_ONE", "42K09", "mask: a replacement must be one character, not %q", clip(a[i].S))
		}
		with[i-1] = r[0]
	}
	return column.Str(strings.Map(func(r rune) rune {
		kind := 3
		switch {
		case unicode.IsUpper(r):
			kind = 0
		case unicode.IsLower(r):
			kind = 1
		case unicode.IsDigit(r):
			kind = 2
		}
		if with[kind] < 0 {
			return r
		}
		return with[kind]
	}, a[0].S)), nil
}

func evalLuhn(a []column.Datum) (column.Datum, *Error) {
	s := a[0].S
	sum, double := 0, false
	for i := len(s) - 1; i >= 0; i-- {
		d := int(s[i]) - '0'
		if d < 0 || d > 9 {
			return column.Bool(false), nil
		}
		if double {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
		double = !double
	}
	return column.Bool(s != "" && sum%10 == 0), nil
}

func bindElt(name string, args []Expr) (Expr, error) {
	if len(args) < 2 {
		return nil, errWrongNumArgs(name, "two or more", len(args))
	}
	n, err := toClass(name, 0, args[0], "int")
	if err != nil {
		return nil, err
	}
	class := "bin"
	for _, a := range args[1:] {
		if a.Type().Kind != column.Binary {
			class = "str"
		}
	}
	out := []Expr{n}
	for i, a := range args[1:] {
		x, err := toClass(name, i+1, a, class)
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	eval := func(a []column.Datum) (column.Datum, *Error) {
		if a[0].Null {
			return column.NullDatum, nil
		}
		if a[0].I < 1 || a[0].I >= int64(len(a)) {
			return column.NullDatum, errArrayIndex(a[0].I, len(a)-1)
		}
		return a[a[0].I], nil
	}
	return &scalar{name: name, args: out, t: classes[class], eval: eval, nulls: true}, nil
}

func errArrayIndex(i int64, n int) *Error {
	return runtimeErr("INVALID_ARRAY_INDEX", "22003", "the index %d is out of bounds, there are %d elements; use try_element_at to get NULL instead", i, n)
}

func bindReverse(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	if t := args[0].Type(); t.Kind == column.Array {
		eval := func(a []column.Datum) (column.Datum, *Error) {
			l := slices.Clone(a[0].L)
			slices.Reverse(l)
			return column.Datum{L: l}, nil
		}
		return &scalar{name: name, args: args, t: t, eval: eval, safe: true}, nil
	}
	if t := args[0].Type(); t.Kind == column.Binary {
		return &scalar{name: name, args: args, t: t, safe: true, eval: str1(func(s string) string {
			b := []byte(s)
			slices.Reverse(b)
			return string(b)
		})}, nil
	}
	b, err := bindArgs(name, "str", args)
	if err != nil {
		return nil, err
	}
	return &scalar{name: name, args: b, t: column.Of(column.String), safe: true, eval: str1(func(s string) string {
		r := []rune(s)
		slices.Reverse(r)
		return string(r)
	})}, nil
}
