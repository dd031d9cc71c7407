package expr

import (
	"math"

	"signalbox/engine/column"
)

// orBytes binds a function of texts that counts bytes where it is given bytes.
func orBytes(textSig string, text evalFunc, bytesSig string, bytes evalFunc) func(string, []Expr) (Expr, error) {
	return func(name string, args []Expr) (Expr, error) {
		sig, eval, t := textSig, text, column.Of(column.String)
		if len(args) > 0 && args[0].Type().Kind == column.Binary {
			sig, eval, t = bytesSig, bytes, column.Of(column.Binary)
		}
		b, err := bindArgs(name, sig, args)
		if err != nil {
			return nil, err
		}
		return typed(name, b, t, eval), nil
	}
}

func evalLeft(bytes bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		if bytes {
			return column.Str(a[0].S[:max(0, min(a[1].I, int64(len(a[0].S))))]), nil
		}
		return column.Str(substring(a[0].S, 1, a[1].I)), nil
	}
}

func evalRight(bytes bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		switch n := a[1].I; {
		case n <= 0:
			return column.Str(""), nil
		case bytes:
			return column.Str(a[0].S[max(0, int64(len(a[0].S))-n):]), nil
		default:
			return column.Str(substring(a[0].S, -n, math.MaxInt32)), nil
		}
	}
}

// evalPadBytes pads with zero bytes when nothing else is asked for.
func evalPadBytes(left bool) evalFunc {
	return func(a []column.Datum) (column.Datum, *Error) {
		s, n, pad := a[0].S, a[1].I, "\x00"
		if len(a) == 3 {
			pad = a[2].S
		}
		switch {
		case n <= 0:
			return column.Str(""), nil
		case n > maxString:
			return column.NullDatum, errTooLong("lpad")
		case int64(len(s)) >= n:
			return column.Str(s[:n]), nil
		case pad == "":
			return a[0], nil
		}
		fill := make([]byte, n-int64(len(s)))
		for i := range fill {
			fill[i] = pad[i%len(pad)]
		}
		if left {
			return column.Str(string(fill) + s), nil
		}
		return column.Str(s + string(fill)), nil
	}
}
