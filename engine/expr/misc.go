package expr

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"signalbox/engine/column"
)

// castFunctions are types used as functions: int(x) is CAST(x AS INT).
func castFunctions() []function {
	var out []function
	for _, n := range []string{"boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "string", "binary", "date", "timestamp"} {
		t, _ := ParseType(n)
		example, result := n+"('1')", "1"
		switch n {
		case "boolean":
			result = "true"
		case "float", "double":
			result = "1.0"
		case "date":
			example, result = "date('2020-01-02')", "2020-01-02"
		case "timestamp":
			example, result = "timestamp('2020-01-02')", "2020-01-02 00:00:00"
		}
		out = append(out, bound(n, "x", "The same as CAST(x AS "+strings.ToUpper(n)+").", example, result, func(name string, args []Expr) (Expr, error) {
			if err := needArgs(name, args, 1); err != nil {
				return nil, err
			}
			return Cast(args[0], t, false)
		}))
	}
	return out
}

func miscFunctions() []function {
	return []function{
		bound("typeof", "x", "Name of the type of x.", "typeof(1)", "int", func(name string, args []Expr) (Expr, error) {
			if err := needArgs(name, args, 1); err != nil {
				return nil, err
			}
			return NewLiteral(column.Of(column.String), column.Str(args[0].Type().String())), nil
		}),
		bound("collation", "text", "Name of the order of a text: there is one, that of its UTF-8 bytes.", "collation('a')", "SYSTEM.BUILTIN.UTF8_BINARY", func(name string, args []Expr) (Expr, error) {
			if err := needArgs(name, args, 1); err != nil {
				return nil, err
			}
			if _, err := toClass(name, 0, args[0], "str"); err != nil {
				return nil, err
			}
			return NewLiteral(column.Of(column.String), column.Str("SYSTEM.BUILTIN.UTF8_BINARY")), nil
		}),
		bound("collate", "text, name", "The text; the only collation is UTF8_BINARY.", "collate('a', 'UTF8_BINARY')", "a", func(name string, args []Expr) (Expr, error) {
			if err := needArgs(name, args, 2); err != nil {
				return nil, err
			}
			if d, ok := Constant(Fold(args[1])); !ok || !strings.EqualFold(d.S, "UTF8_BINARY") {
				return nil, analysisErr("UNSUPPORTED_FEATURE", "0A000", "collate: strings compare by their UTF-8 bytes (UTF8_BINARY); use lower() to ignore case")
			}
			return toClass(name, 0, args[0], "str")
		}),
		fn("url_encode", "str", "str", "Text in application/x-www-form-urlencoded format.", "url_encode('a b&c')", "a+b%26c", str1(func(s string) string {
			return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "%2A", "*"), "~", "%7E")
		})).sure(),
		fn("url_decode", "str", "str", "Inverse of url_encode.", "url_decode('a+b%26c')", "a b&c", evalURLDecode(false)),
		fn("try_url_decode", "str", "str", "url_decode, NULL when malformed.", "try_url_decode('%zz')", "NULL", evalURLDecode(true)),
		fn("try_parse_url", "str str str?", "str", "parse_url, NULL for what is no URL.", "try_parse_url('https://a.org/p?x=1', 'HOST')", "a.org", func(a []column.Datum) (column.Datum, *Error) {
			d, err := evalParseURL(a)
			if err != nil {
				return column.NullDatum, nil
			}
			return d, nil
		}).sure(),
		fn("parse_url", "str str str?", "str", "Part of a URL: HOST, PATH, QUERY, REF, PROTOCOL, FILE, AUTHORITY or USERINFO.", "parse_url('https://a.org/p?x=1', 'QUERY', 'x')", "1", evalParseURL),
		fn("is_valid_utf8", "str", "bool", "True for valid UTF-8.", "is_valid_utf8('Spark')", "true", func(a []column.Datum) (column.Datum, *Error) {
			return column.Bool(utf8.ValidString(a[0].S)), nil
		}).sure(),
		fn("make_valid_utf8", "str", "str", "Text with invalid bytes replaced by U+FFFD.", "make_valid_utf8('Spark')", "Spark", str1(func(s string) string { return strings.ToValidUTF8(s, "\uFFFD") })).sure(),
		fn("quote", "str", "str", "Text in single quotes.", "quote('a')", "'a'", str1(func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" })).sure(),
	}
}

func evalURLDecode(try bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		s, err := url.QueryUnescape(a[0].S)
		switch {
		case err != nil && try:
			return column.NullDatum, nil
		case err != nil:
			return column.NullDatum, runtimeErr("CANNOT_DECODE_URL", "22546", "url_decode: %q is malformed; use try_url_decode to get NULL instead", clip(a[0].S))
		}
		return column.Str(s), nil
	}
}

func evalParseURL(a []column.Datum) (column.Datum, *Error) {
	u, err := url.Parse(a[0].S)
	if err != nil {
		return column.NullDatum, runtimeErr("INVALID_URL", "22P02", "parse_url: %q is no URL", clip(a[0].S))
	}
	opt := func(s string) (column.Datum, *Error) { return column.Datum{S: s, Null: s == ""}, nil }
	if len(a) == 3 {
		if a[1].S != "QUERY" {
			return column.NullDatum, nil
		}
		for _, kv := range strings.Split(u.RawQuery, "&") {
			if k, v, ok := strings.Cut(kv, "="); ok && k == a[2].S {
				return column.Str(v), nil
			}
		}
		return column.NullDatum, nil
	}
	switch a[1].S {
	case "HOST":
		return opt(u.Hostname())
	case "PATH":
		return column.Str(u.EscapedPath()), nil
	case "QUERY":
		return opt(u.RawQuery)
	case "REF":
		return opt(u.Fragment)
	case "PROTOCOL":
		return opt(u.Scheme)
	case "FILE":
		if u.RawQuery != "" {
			return column.Str(u.EscapedPath() + "?" + u.RawQuery), nil
		}
		return column.Str(u.EscapedPath()), nil
	case "AUTHORITY":
		host := u.Host
		if u.User != nil {
			host = u.User.String() + "@" + host
		}
		return opt(host)
	case "USERINFO":
		if u.User != nil {
			return opt(u.User.String())
		}
	}
	return column.NullDatum, nil
}
