package plan

import (
	"strings"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// function binds a call that is not computed by an operator below.
func (b *binder) function(e *sql.Call) (expr.Expr, error) {
	switch {
	case e.Over != nil:
		return nil, fail(e.Pos, "UNSUPPORTED_EXPR_FOR_WINDOW", "42P20", "analytic functions may stand only in the select list and in ORDER BY, not in %s", b.place())
	case isTimeWindow(e):
		return nil, fail(e.Pos, "UNSUPPORTED_FEATURE", "0A000", "%s(…) may not stand in %s; write it in GROUP BY or in the select list", e.Name, b.place())
	case isGenerator(e):
		return nil, fail(e.Pos, "UNSUPPORTED_GENERATOR.OUTSIDE_SELECT", "42K0E", "%s may stand only as an item of the select list or in LATERAL VIEW, not in %s", e.Name, b.place())
	case isAnalyticOnly(e.Name):
		return nil, fail(e.Pos, "WINDOW_FUNCTION_WITHOUT_OVER_CLAUSE", "42601", "%s needs OVER (…)", e.Name)
	case isStateFunction(e) && b.group != nil && b.clause != "HAVING":
		return nil, missingAggregation(e.Pos, e.Name+"(…)", false)
	case isStateFunction(e):
		return nil, b.misplacedState(e)
	case agg.Exists(e.Name):
		if x, ok, err := b.outerCall(e); ok {
			return x, err
		}
		return nil, b.misplacedAggregate(e)
	}
	if e.Filter != nil || e.Distinct || len(e.Within) > 0 {
		return nil, b.notAggregate(e)
	}
	switch e.Name {
	case "now", "current_timestamp", "current_date", "curdate", "localtimestamp", "unix_timestamp":
		if len(e.Args) == 0 {
			return b.now(e.Pos, e.Name)
		}
	case "current_timezone":
		if len(e.Args) == 0 {
			return stringLiteral("UTC"), nil
		}
	case "window_time":
		return b.windowTime(e)
	case "grouping", "grouping_id":
		return b.groupingFunction(e)
	case "struct":
		args, err := b.bindAll(unalias(e.Args))
		if err != nil {
			return nil, err
		}
		return namedStruct(e.Pos, e.Args, args)
	}
	return b.scalar(e)
}

// scalar binds a plain function.
func (b *binder) scalar(e *sql.Call) (expr.Expr, error) {
	if !expr.Exists(e.Name) {
		return nil, unknownFunction(e)
	}
	args := make([]expr.Expr, len(e.Args))
	for i, arg := range e.Args {
		x, err := b.argument(e, args[:i], arg)
		if err != nil {
			return nil, err
		}
		args[i] = x
	}
	return call(e.Pos, e.Name, args...)
}

func (b *binder) argument(e *sql.Call, before []expr.Expr, arg sql.Expr) (expr.Expr, error) {
	switch arg := arg.(type) {
	case *sql.Unit:
		return stringLiteral(arg.Name), nil
	case *sql.Alias:
		return b.bind(arg.X)
	case *sql.Lambda:
		return b.lambda(e, before, arg)
	}
	return b.bind(arg)
}

func unalias(es []sql.Expr) []sql.Expr {
	out := make([]sql.Expr, len(es))
	for i, e := range es {
		out[i] = e
		if a, ok := e.(*sql.Alias); ok {
			out[i] = a.X
		}
	}
	return out
}

func stringLiteral(s string) expr.Expr {
	return expr.NewLiteral(column.Of(column.String), column.Str(s))
}

func (b *binder) place() string {
	if b.clause == "" {
		return "this place"
	}
	return b.clause
}

func (b *binder) notAggregate(e *sql.Call) error {
	if !expr.Exists(e.Name) {
		return unknownFunction(e)
	}
	return fail(e.Pos, "INVALID_SQL_SYNTAX.FUNCTION_WITH_UNSUPPORTED_SYNTAX", "42000",
		"%s is no aggregate function: DISTINCT, FILTER and WITHIN GROUP do not go with it", e.Name)
}

func unknownFunction(e *sql.Call) error {
	var names []string
	for _, f := range expr.Functions() {
		if f.Name[0] >= 'a' && f.Name[0] <= 'z' {
			names = append(names, f.Name)
		}
	}
	for _, f := range agg.Functions() {
		names = append(names, f.Name)
	}
	for _, f := range StateFunctions() {
		names = append(names, f.Name)
	}
	return fail(e.Pos, "UNRESOLVED_ROUTINE", "42883", "there is no function %s; did you mean one of %s?", e.Name, quoted(nearest(e.Name, names, 3)))
}

func (b *binder) misplacedAggregate(e *sql.Call) error {
	switch b.clause {
	case "WHERE":
		return fail(e.Pos, "INVALID_WHERE_CONDITION", "42903", "the aggregate %s may not stand in WHERE; write HAVING", e.Name)
	case "GROUP BY":
		return fail(e.Pos, "GROUP_BY_AGGREGATE", "42903", "the aggregate %s may not stand in GROUP BY", e.Name)
	case aggregateArgument, "FILTER":
		return fail(e.Pos, "NESTED_AGGREGATE_FUNCTION", "42607", "the aggregate %s stands inside another aggregate; compute the inner one in a sub-query", e.Name)
	}
	return fail(e.Pos, "UNSUPPORTED_EXPR_FOR_OPERATOR", "42K0E", "the aggregate %s may not stand in %s", e.Name, b.place())
}

// now gives the functions of the current time: constants, the start of the query.
func (b *binder) now(pos sql.Pos, name string) (expr.Expr, error) {
	ts := expr.NewLiteral(timestampType(), column.I64(b.a.opt.Now))
	if b.a.opt.Live {
		if b.a.clock == nil {
			b.a.clock = &expr.Clock{Now: b.a.opt.Now}
		}
		ts = expr.NewNow(b.a.clock)
	}
	switch name {
	case "current_date", "curdate":
		x, err := expr.Cast(ts, column.Of(column.Date), false)
		return x, at(pos, err)
	case "localtimestamp":
		x, err := expr.Cast(ts, column.Of(column.TimestampNTZ), false)
		return x, at(pos, err)
	case "unix_timestamp":
		return call(pos, "unix_seconds", ts)
	}
	return ts, nil
}

// windowTime is window_time(window): the last microsecond of a window, its event time.
func (b *binder) windowTime(e *sql.Call) (expr.Expr, error) {
	if len(e.Args) != 1 {
		return nil, fail(e.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "window_time takes 1 argument: a window")
	}
	x, err := b.bind(e.Args[0])
	if err != nil {
		return nil, err
	}
	if b.group != nil && isWindowType(x.Type()) { // Spark computes it below the aggregation, where it is no grouping key
		return nil, missingAggregation(e.Pos, "window_time", false)
	}
	return lastInstant(e.Pos, x)
}

// lastInstant is end - 1 µs of a window.
func lastInstant(pos sql.Pos, x expr.Expr) (expr.Expr, error) {
	if !isWindowType(x.Type()) {
		return nil, fail(pos, "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "window_time needs a window (STRUCT<start: TIMESTAMP, end: TIMESTAMP>), not %s", x.Type())
	}
	end := expr.NewField(x, 1)
	return call(pos, "-", end, expr.NewLiteral(column.Of(column.IntervalDT), column.I64(1)))
}

func isWindowType(t column.Type) bool {
	return t.Kind == column.Struct && len(t.Fields) == 2 &&
		strings.EqualFold(t.Fields[0].Name, "start") && strings.EqualFold(t.Fields[1].Name, "end") &&
		isTimestamp(t.Fields[0].Type) && isTimestamp(t.Fields[1].Type)
}

func isTimestamp(t column.Type) bool {
	return t.Kind == column.Timestamp || t.Kind == column.TimestampNTZ
}

func isGenerator(e *sql.Call) bool {
	switch e.Name {
	case "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer", "stack", "json_tuple":
		return true
	}
	return false
}
