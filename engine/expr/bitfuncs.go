package expr

import (
	"encoding/hex"
	"math/bits"
	"strconv"

	"signalbox/engine/column"
)

// bindBits types & | ^ on integers.
func bindBits(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	a, b := args[0], args[1]
	if t, ok := stringPromotion(a.Type(), b.Type()); ok {
		a, b = newCast(a, t, false), newCast(b, t, false)
	}
	t, ok := tightest(a.Type(), b.Type())
	if !ok {
		return nil, errDiffTypes(name, a, b)
	}
	if t.Kind == column.Void {
		t = column.Of(column.BigInt)
	}
	if !t.Kind.IsIntegral() {
		return nil, errWrongOpType(name, "integral", a)
	}
	op := map[string]func(x, y int64) int64{
		"&": func(x, y int64) int64 { return x & y },
		"|": func(x, y int64) int64 { return x | y },
		"^": func(x, y int64) int64 { return x ^ y },
	}[name]
	eval := func(d []column.Datum) (column.Datum, *Error) { return column.I64(op(d[0].I, d[1].I)), nil }
	return &scalar{name: name, args: []Expr{newCast(a, t, false), newCast(b, t, false)}, t: t, eval: eval, safe: true, infix: true}, nil
}

func bindBitNot(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "integral", args)
	if err != nil {
		return nil, err
	}
	return &mapInt{name: name, e: b[0], t: b[0].Type(), f: func(v int64) (int64, *Error) { return ^v, nil }}, nil
}

func bindBitCount(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	if e.Type().Kind != column.Boolean {
		b, err := bindArgs(name, "integral", args)
		if err != nil {
			return nil, err
		}
		e = b[0]
	}
	return &mapInt{name: name, e: e, t: column.Of(column.Int), f: func(v int64) (int64, *Error) {
		return int64(bits.OnesCount64(uint64(v))), nil
	}}, nil
}

func bindShift(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 2); err != nil {
		return nil, err
	}
	x, n := args[0], args[1]
	wide := x.Type().Kind == column.BigInt
	if !wide {
		var err error
		if x, err = toClass(name, 0, x, "int"); err != nil {
			return nil, err
		}
	}
	n, err := toClass(name, 1, n, "int")
	if err != nil {
		return nil, err
	}
	eval := func(d []column.Datum) (column.Datum, *Error) {
		return column.I64(shift(name, d[0].I, uint(d[1].I), wide)), nil
	}
	return &scalar{name: name, args: []Expr{x, n}, t: x.Type(), eval: eval, safe: true}, nil
}

// shift is Java's: the distance is taken modulo the width.
func shift(name string, v int64, n uint, wide bool) int64 {
	left := name == "shiftleft" || name == "<<"
	unsigned := name == "shiftrightunsigned" || name == ">>>"
	if wide {
		n &= 63
		switch {
		case left:
			return v << n
		case unsigned:
			return int64(uint64(v) >> n)
		}
		return v >> n
	}
	n &= 31
	switch {
	case left:
		return int64(int32(v) << n)
	case unsigned:
		return int64(int32(uint32(v) >> n))
	}
	return int64(int32(v) >> n)
}

func bindBitGet(name string, args []Expr) (Expr, error) {
	b, err := bindArgs(name, "integral int", args)
	if err != nil {
		return nil, err
	}
	width := map[column.Kind]int64{column.TinyInt: 8, column.SmallInt: 16, column.Int: 32, column.BigInt: 64}[b[0].Type().Kind]
	eval := func(d []column.Datum) (column.Datum, *Error) {
		if d[1].I < 0 || d[1].I >= width {
			return column.NullDatum, runtimeErr("INVALID_PARAMETER_VALUE.BIT_POSITION_RANGE", "22023", "bit_get: position %d is outside 0..%d", d[1].I, width-1)
		}
		return column.I64(d[0].I >> uint(d[1].I) & 1), nil
	}
	return &scalar{name: name, args: b, t: column.Of(column.TinyInt), eval: eval}, nil
}

func bindHex(name string, args []Expr) (Expr, error) {
	if err := needArgs(name, args, 1); err != nil {
		return nil, err
	}
	e := args[0]
	eval := func(d []column.Datum) (column.Datum, *Error) {
		return column.Str(upperASCII(hex.EncodeToString([]byte(d[0].S)))), nil
	}
	if k := e.Type().Kind; k != column.String && k != column.Binary {
		b, err := bindArgs(name, "bigint", args)
		if err != nil {
			return nil, err
		}
		e = b[0]
		eval = func(d []column.Datum) (column.Datum, *Error) {
			return column.Str(upperASCII(strconv.FormatUint(uint64(d[0].I), 16))), nil
		}
	}
	return &scalar{name: name, args: []Expr{e}, t: column.Of(column.String), eval: eval, safe: true}, nil
}
