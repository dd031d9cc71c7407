package plan

import (
	"math/big"
	"strconv"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// literal makes a constant of its Spark type.
func literal(e *sql.Literal) (expr.Expr, error) {
	lit := func(k column.Kind, d column.Datum) (expr.Expr, error) { return expr.NewLiteral(column.Of(k), d), nil }
	switch e.Kind {
	case sql.LitNull:
		return lit(column.Void, column.NullDatum)
	case sql.LitBool:
		return lit(column.Boolean, column.Bool(e.Text == "true"))
	case sql.LitString:
		return lit(column.String, column.Str(e.Text))
	case sql.LitBinary:
		return lit(column.Binary, column.Str(e.Text))
	case sql.LitTinyInt, sql.LitSmallInt, sql.LitInt, sql.LitBigInt:
		return integerLiteral(e)
	case sql.LitDecimal:
		return decimalLiteral(e)
	case sql.LitDouble, sql.LitFloat:
		return floatLiteral(e)
	case sql.LitDate, sql.LitTimestamp, sql.LitTimestampNTZ:
		return datetimeLiteral(e)
	}
	return nil, fail(e.Pos, "INTERNAL_ERROR", "XX000", "unknown kind of literal %d", e.Kind)
}

var integerKinds = [...]struct {
	lit  sql.LitKind
	kind column.Kind
}{{sql.LitTinyInt, column.TinyInt}, {sql.LitSmallInt, column.SmallInt}, {sql.LitInt, column.Int}, {sql.LitBigInt, column.BigInt}}

func integerLiteral(e *sql.Literal) (expr.Expr, error) {
	v, err := strconv.ParseInt(e.Text, 10, 64)
	if err != nil {
		return nil, &expr.Error{Phase: expr.Parse, Condition: "INVALID_NUMERIC_LITERAL_RANGE", SQLState: "22003",
			Message: "the number " + e.Text + " does not fit into BIGINT; write it as a DECIMAL (" + e.Text + "BD)", Line: e.Line, Col: e.Col}
	}
	for _, k := range integerKinds {
		if k.lit == e.Kind {
			return expr.NewLiteral(column.Of(k.kind), column.I64(v)), nil
		}
	}
	return expr.NewLiteral(column.Of(column.BigInt), column.I64(v)), nil
}

// decimalLiteral types 1.50 as DECIMAL(3,2): as many digits as were written, leading zeros of the whole part not counted.
func decimalLiteral(e *sql.Literal) (expr.Expr, error) {
	text, negative := strings.CutPrefix(e.Text, "-")
	whole, frac, _ := strings.Cut(text, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	precision := max(len(digits), len(frac), 1)
	v, ok := new(big.Int).SetString("0"+whole+frac, 10)
	if !ok || precision > 38 || len(frac) > 38 {
		return nil, &expr.Error{Phase: expr.Parse, Condition: "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION", SQLState: "22003",
			Message: "the number " + e.Text + " has more than 38 digits", Line: e.Line, Col: e.Col}
	}
	if negative {
		v.Neg(v)
	}
	return expr.NewLiteral(column.DecimalType(uint8(precision), uint8(len(frac))), column.Datum{Dec: decimalOf(v)}), nil
}

// decimalOf is the two's complement of a number that is known to fit.
func decimalOf(v *big.Int) column.Decimal128 {
	m := new(big.Int).Set(v)
	if v.Sign() < 0 {
		m.Add(m, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	lo := new(big.Int).And(m, new(big.Int).SetUint64(^uint64(0))).Uint64()
	hi := new(big.Int).Rsh(m, 64).Uint64()
	return column.Decimal128{Hi: int64(hi), Lo: lo}
}

func floatLiteral(e *sql.Literal) (expr.Expr, error) {
	bits, kind := 64, column.Double
	if e.Kind == sql.LitFloat {
		bits, kind = 32, column.Float
	}
	v, err := strconv.ParseFloat(e.Text, bits)
	if err != nil && !strings.Contains(err.Error(), "range") {
		return nil, fail(e.Pos, "INVALID_NUMERIC_LITERAL_RANGE", "22003", "%s is not a number", e.Text)
	}
	return expr.NewLiteral(column.Of(kind), column.F64(v)), nil
}

// datetimeLiteral reads DATE'…' and TIMESTAMP'…'. A TIMESTAMP with a zone that is
// written as TIMESTAMP_NTZ loses the zone, as in Spark.
func datetimeLiteral(e *sql.Literal) (expr.Expr, error) {
	kind, name := column.Date, "DATE"
	switch e.Kind {
	case sql.LitTimestamp:
		kind, name = column.Timestamp, "TIMESTAMP"
	case sql.LitTimestampNTZ:
		kind, name = column.TimestampNTZ, "TIMESTAMP_NTZ"
	}
	written := e.Text
	if strings.EqualFold(strings.TrimSpace(written), "epoch") {
		written = "1970-01-01"
	}
	text := expr.NewLiteral(column.Of(column.String), column.Str(written))
	x, err := expr.Cast(text, column.Of(kind), true)
	if err != nil {
		return nil, at(e.Pos, err)
	}
	d, err := constant(x)
	if err != nil || d.Null {
		return nil, &expr.Error{Phase: expr.Parse, Condition: "INVALID_TYPED_LITERAL", SQLState: "42604",
			Message: "the value '" + e.Text + "' is no " + name + "; write for example TIMESTAMP'2024-01-31 12:00:00' or DATE'2024-01-31'", Line: e.Line, Col: e.Col}
	}
	return expr.NewLiteral(column.Of(kind), d), nil
}

// namedTime reads TIMESTAMP'now', DATE'today' and their kin: the start of the query.
func (b *binder) namedTime(e *sql.Literal) (expr.Expr, bool, error) {
	if e.Kind != sql.LitDate && e.Kind != sql.LitTimestamp && e.Kind != sql.LitTimestampNTZ {
		return nil, false, nil
	}
	const day = 24 * 3600 * 1_000_000
	now := b.a.opt.Now
	today := now - (now%day+day)%day
	switch strings.ToLower(strings.TrimSpace(e.Text)) {
	case "now":
	case "today":
		now = today
	case "yesterday":
		now = today - day
	case "tomorrow":
		now = today + day
	default:
		return nil, false, nil
	}
	kind := map[sql.LitKind]column.Kind{sql.LitDate: column.Date, sql.LitTimestamp: column.Timestamp, sql.LitTimestampNTZ: column.TimestampNTZ}[e.Kind]
	x, err := expr.Cast(expr.NewLiteral(timestampType(), column.I64(now)), column.Of(kind), false)
	return x, true, at(e.Pos, err)
}

func intervalLiteral(e *sql.Interval) expr.Expr {
	t := column.IntervalOf(e.Fields())
	if e.YearMonth {
		return expr.NewLiteral(t, column.I64(e.Months))
	}
	return expr.NewLiteral(t, column.I64(e.Micros))
}

// constant computes an expression that reads no columns.
func constant(e expr.Expr) (column.Datum, error) {
	if d, ok := expr.Constant(e); ok {
		return d, nil
	}
	ctx := new(expr.Context)
	c := e.Eval(ctx, &column.Batch{Schema: &column.Schema{Time: -1}, Len: 1}, nil)
	if len(ctx.Errors) > 0 {
		return column.Datum{}, ctx.Errors[0].Err
	}
	return c.Datum(0), nil
}

// isConstant reports whether an expression reads no columns.
func isConstant(e expr.Expr) bool {
	if _, ok := columnOrdinal(e); ok || expr.IsOuter(e) {
		return false
	}
	for _, c := range e.Children() {
		if !isConstant(c) {
			return false
		}
	}
	return true
}

// columnOrdinal reports whether e is a plain column, and which.
func columnOrdinal(e expr.Expr) (int, bool) {
	if e == nil {
		return 0, false
	}
	return expr.ColumnOrdinal(e)
}

// columnsOf adds the ordinals that an expression reads.
func columnsOf(e expr.Expr, add func(int)) {
	if e == nil {
		return
	}
	if i, ok := columnOrdinal(e); ok {
		add(i)
		return
	}
	for _, c := range e.Children() {
		columnsOf(c, add)
	}
}

// renumbered is the column expression e at another place.
func renumbered(e expr.Expr, ordinal int) expr.Expr {
	name := e.String()
	if i := strings.LastIndexByte(name, '#'); i >= 0 {
		name = name[:i]
	}
	return expr.NewColumn(ordinal, name, e.Type())
}

// MaxExpression bounds the nodes of one expression: names of the select list
// that are made of each other would otherwise grow without end.
const MaxExpression = 100_000

// largerThan reports whether an expression has more than limit nodes; it stops counting there.
func largerThan(e expr.Expr, limit int) bool { return countNodes(e, limit) > limit }

func countNodes(e expr.Expr, limit int) int {
	n := 1
	for _, c := range e.Children() {
		if n > limit {
			break
		}
		n += countNodes(c, limit-n)
	}
	return n
}
