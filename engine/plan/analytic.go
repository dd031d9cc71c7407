package plan

import (
	"slices"
	"strings"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

func isAnalytic(c *sql.Call) bool { return c.Over != nil }

// isAnalyticOnly reports whether a function exists only with OVER (…).
func isAnalyticOnly(name string) bool {
	switch name {
	case "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile", "lag", "lead", "nth_value":
		return true
	}
	return false
}

// analytics plans the functions with OVER of the select list and of ORDER BY.
func (s *selection) analytics() error {
	var calls []*sql.Call
	for _, e := range s.expressions() {
		calls = append(calls, findCalls(e, isAnalytic)...)
	}
	if len(calls) == 0 {
		if q := s.sel.Qualify; q != nil {
			return fail(q.Position(), "QUALIFY_REQUIRES_WINDOW_FUNCTION", "42903", "QUALIFY needs a function with OVER in its condition or in the select list; write WHERE or HAVING")
		}
		return nil
	}
	qualify := findCalls(s.sel.Qualify, isAnalytic)
	s.b.clause = "an analytic function"
	defer func() { s.b.clause = "" }()
	var nodes []*Analytic
	var texts []string
	placed := map[*sql.Call][2]int{}
	for _, c := range calls {
		call, node, text, err := s.over(c, slices.Contains(qualify, c))
		if err = s.usesAlias(err, c, "a function with OVER", "LATERAL_COLUMN_ALIAS_IN_WINDOW"); err != nil {
			return err
		}
		at := -1
		for i, t := range texts {
			if t == text {
				at = i
			}
		}
		if at < 0 {
			at = len(nodes)
			nodes, texts = append(nodes, node), append(texts, text)
		}
		nodes[at].Calls = append(nodes[at].Calls, call)
		placed[c] = [2]int{at, len(nodes[at].Calls) - 1}
	}
	return s.stackAnalytics(nodes, placed, calls)
}

// over binds one function with OVER; names of the select list are known in QUALIFY.
func (s *selection) over(c *sql.Call, named bool) (AnalyticCall, *Analytic, string, error) {
	if named {
		s.b.names = s.quietNames()
		defer func() { s.b.names = nil }()
	}
	spec, err := s.windowSpec(c.Over, 0)
	if err != nil {
		return AnalyticCall{}, nil, "", err
	}
	node, text, err := s.b.overNode(spec)
	if err != nil {
		return AnalyticCall{}, nil, "", err
	}
	call, err := s.b.analyticCall(c, spec, node)
	return call, node, text, err
}

// stackAnalytics puts the operators over each other and tells the binder where each call's result is.
func (s *selection) stackAnalytics(nodes []*Analytic, placed map[*sql.Call][2]int, calls []*sql.Call) error {
	first := make([]int, len(nodes))
	r := s.b.rel
	for i, n := range nodes {
		first[i] = r.width()
		out := &rel{attrs: append([]attr(nil), r.attrs...), delay: r.delay}
		for _, c := range n.Calls {
			out.attrs = append(out.attrs, attr{name: c.Name, typ: c.Type, hidden: true})
		}
		n.Input = r.node
		n.Out = out.schema(r.node.Schema().Time)
		out.node = n
		r = out
		if err := s.a.mark(n, calls[0].Pos); err != nil {
			return err
		}
	}
	s.b.rel = r
	if s.b.calls == nil {
		s.b.calls = map[*sql.Call]expr.Expr{}
	}
	for _, c := range calls {
		p := placed[c]
		s.b.calls[c] = r.column(first[p[0]] + p[1])
	}
	return nil
}

// windowSpec follows OVER name and OVER (name ORDER BY …).
func (s *selection) windowSpec(spec *sql.WindowSpec, depth int) (*sql.WindowSpec, error) {
	if spec.Ref == "" {
		return spec, nil
	}
	for _, w := range s.sel.Windows {
		if !strings.EqualFold(w.Name, spec.Ref) || depth > len(s.sel.Windows) {
			continue
		}
		base, err := s.windowSpec(w.Spec, depth+1)
		if err != nil {
			return nil, err
		}
		out := *base
		if len(spec.Partition) > 0 {
			out.Partition = spec.Partition
		}
		if len(spec.Order) > 0 {
			out.Order = spec.Order
		}
		if spec.Frame != nil {
			out.Frame = spec.Frame
		}
		return &out, nil
	}
	return nil, fail(spec.Pos, "MISSING_WINDOW_SPECIFICATION", "42P20", "there is no WINDOW named `%s` in this query", spec.Ref)
}

// overNode binds PARTITION BY and ORDER BY.
func (b *binder) overNode(spec *sql.WindowSpec) (*Analytic, string, error) {
	n := &Analytic{}
	var err error
	if n.Partition, err = b.bindAll(spec.Partition); err != nil {
		return nil, "", err
	}
	var text strings.Builder
	for _, p := range n.Partition {
		text.WriteString(p.String() + ", ")
	}
	text.WriteString("ORDER BY ")
	for _, o := range spec.Order {
		x, err := b.bind(o.Expr)
		if err != nil {
			return nil, "", err
		}
		k := SortKey{Expr: x, Desc: o.Desc, NullsFirst: o.NullsFirst}
		n.Order = append(n.Order, k)
		text.WriteString(x.String() + direction(k) + ", ")
	}
	return n, text.String(), nil
}

// analyticCall binds the function itself.
func (b *binder) analyticCall(c *sql.Call, spec *sql.WindowSpec, n *Analytic) (AnalyticCall, error) {
	out := AnalyticCall{Name: c.Name, IgnoreNulls: c.Nulls == "ignore"}
	if c.Distinct {
		return out, fail(c.Pos, "DISTINCT_WINDOW_FUNCTION_UNSUPPORTED", "0A000", "%s(DISTINCT …) OVER is not possible; compute the distinct values in a sub-query", c.Name)
	}
	if c.Filter != nil && isAnalyticOnly(c.Name) {
		return out, unsupported(c.Pos, "FILTER on "+c.Name, "use CASE inside the argument")
	}
	args := c.Args
	if len(args) == 1 {
		if _, star := args[0].(*sql.Star); star && c.Name == "count" {
			args = nil
		}
	}
	bound, err := b.bindAll(args)
	if err != nil {
		return out, err
	}
	if out.Frame, err = b.frame(c, spec, n); err != nil {
		return out, err
	}
	if err := checkFrame(c, spec); err != nil {
		return out, err
	}
	if isAnalyticOnly(c.Name) {
		err = out.bindRanking(c, bound, n)
		return out, err
	}
	if !agg.Exists(c.Name) {
		if expr.Exists(c.Name) {
			return out, fail(c.Pos, "UNSUPPORTED_EXPR_FOR_WINDOW", "42P20", "%s is neither an aggregate nor an analytic function: drop OVER", c.Name)
		}
		return out, unknownFunction(c)
	}
	if c.Filter != nil {
		cond, err := b.condition(c.Filter)
		if err != nil {
			return out, err
		}
		if bound, err = filteredArgs(c, bound, cond); err != nil {
			return out, err
		}
	}
	out.Func, out.Args, err = agg.Lookup(c.Name, bound, agg.Options{IgnoreNulls: out.IgnoreNulls})
	if err != nil {
		return out, at(c.Pos, err)
	}
	out.Type = out.Func.Result()
	return out, nil
}

// checkFrame refuses a frame where the function has its own, and an order where the function looks at the whole partition.
func checkFrame(c *sql.Call, spec *sql.WindowSpec) error {
	f := spec.Frame
	switch c.Name {
	case "lag", "lead":
		if f != nil {
			return fail(f.Pos, "_LEGACY_ERROR_TEMP_1035", "", "%s looks at one row: it takes no frame", c.Name)
		}
	case "row_number", "rank", "dense_rank", "percent_rank", "cume_dist", "ntile":
		own := f == nil || f.Rows && f.Start.Kind == sql.UnboundedPreceding && f.End.Kind == sql.CurrentRow
		if c.Name == "cume_dist" {
			own = f == nil || !f.Rows && f.Start.Kind == sql.UnboundedPreceding && f.End.Kind == sql.CurrentRow
		}
		if !own {
			return fail(f.Pos, "_LEGACY_ERROR_TEMP_1036", "", "%s counts from the beginning of the partition: leave the frame out", c.Name)
		}
	case "nth_value":
		if len(spec.Order) == 0 {
			return fail(c.Pos, "WINDOW_FUNCTION_FRAME_NOT_ORDERED", "42601", "%s needs an order: write OVER (… ORDER BY …)", c.Name)
		}
	case "median", "percentile_cont", "percentile_disc":
		if len(spec.Order) > 0 || f != nil {
			return fail(c.Pos, "INVALID_WINDOW_SPEC_FOR_AGGREGATION_FUNC", "42601", "%s looks at the whole partition: leave ORDER BY and the frame out of OVER (…)", c.Name)
		}
	}
	return nil
}

// filteredArgs turns FILTER into NULL arguments, which aggregates skip.
func filteredArgs(c *sql.Call, args []expr.Expr, cond expr.Expr) ([]expr.Expr, error) {
	if len(args) == 0 { // count(*)
		args = []expr.Expr{expr.NewLiteral(column.Of(column.Int), column.I64(1))}
	}
	x, err := call(c.Pos, "case", cond, args[0])
	if err != nil {
		return nil, err
	}
	return append([]expr.Expr{x}, args[1:]...), nil
}

// bindRanking types row_number, lag and friends.
func (out *AnalyticCall) bindRanking(c *sql.Call, args []expr.Expr, n *Analytic) error {
	need := func(lo, hi int) error {
		if len(args) < lo || len(args) > hi {
			return fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "%s takes %d to %d arguments, not %d", c.Name, lo, hi, len(args))
		}
		return nil
	}
	if len(n.Order) == 0 && c.Name != "nth_value" {
		return fail(c.Pos, "_LEGACY_ERROR_TEMP_1037", "42K0E", "%s needs an order: write OVER (… ORDER BY …)", c.Name)
	}
	out.Args = args
	var err error
	switch c.Name {
	case "row_number":
		out.Type, err = column.Of(column.Int), need(0, 0)
	case "rank", "dense_rank": // Spark takes arguments, and orders by ORDER BY all the same
		out.Type, out.Args = column.Of(column.Int), nil
	case "percent_rank":
		out.Type, out.Args = column.Of(column.Double), nil
	case "cume_dist":
		out.Type, err = column.Of(column.Double), need(0, 0)
	case "ntile":
		out.Type = column.Of(column.Int)
		if err = need(0, 1); err == nil {
			err = constantArg(c, args, 0)
		}
	case "nth_value":
		if err = need(2, 2); err == nil {
			out.Type = args[0].Type()
			err = constantArg(c, args, 1)
		}
	default: // lag, lead
		if err = need(1, 3); err != nil {
			return err
		}
		out.Type = args[0].Type()
		if len(args) > 1 {
			if err = constantArg(c, args, 1); err != nil {
				return err
			}
		}
		if len(args) > 2 {
			t, ok := expr.CommonType(args[0].Type(), args[2].Type())
			if !ok {
				return fail(c.Pos, "DATATYPE_MISMATCH.DATA_DIFF_TYPES", "42K09", "%s: the default must have the type of the value, %s, not %s", c.Name, args[0].Type(), args[2].Type())
			}
			out.Type = t
			if out.Args[0], err = expr.ImplicitCast(args[0], t); err == nil {
				out.Args[2], err = expr.ImplicitCast(args[2], t)
			}
		}
	}
	return at(c.Pos, err)
}

// constantArg checks that an argument is a constant whole number.
func constantArg(c *sql.Call, args []expr.Expr, i int) error {
	if i >= len(args) {
		return nil
	}
	if !isConstant(args[i]) || !args[i].Type().Kind.IsIntegral() {
		return fail(c.Pos, "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "42K09", "argument %d of %s must be a constant whole number", i+1, c.Name)
	}
	d, err := constant(args[i])
	if err != nil {
		return at(c.Pos, err)
	}
	if (c.Name == "ntile" || c.Name == "nth_value") && (d.Null || d.I <= 0) {
		return fail(c.Pos, "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "argument %d of %s must be positive", i+1, c.Name)
	}
	return nil
}

// frame binds ROWS | RANGE BETWEEN; the default is the whole partition without
// ORDER BY, and RANGE UNBOUNDED PRECEDING (peers included) with it.
func (b *binder) frame(c *sql.Call, spec *sql.WindowSpec, n *Analytic) (Frame, error) {
	f := spec.Frame
	if f == nil || isAnalyticOnly(c.Name) && c.Name != "nth_value" {
		return Frame{StartUnbounded: true, EndUnbounded: len(n.Order) == 0}, nil
	}
	out := Frame{Rows: f.Rows}
	var err error
	if out.Start, out.StartUnbounded, err = b.frameBound(f, f.Start, n); err != nil {
		return out, err
	}
	if out.End, out.EndUnbounded, err = b.frameBound(f, f.End, n); err != nil {
		return out, err
	}
	if f.Start.Kind == sql.UnboundedFollowing || f.End.Kind == sql.UnboundedPreceding {
		return out, fail(f.Pos, "DATATYPE_MISMATCH.SPECIFIED_WINDOW_FRAME_INVALID_BOUND", "42K09", "the frame ends before it starts")
	}
	if !b.sameInterval(f) {
		return out, fail(f.Pos, "DATATYPE_MISMATCH.SPECIFIED_WINDOW_FRAME_DIFF_TYPES", "42K09", "the bounds of the frame are intervals of different types; write both with the same units")
	}
	if f.Rows && !out.StartUnbounded && !out.EndUnbounded && out.Start.I > out.End.I {
		return out, fail(f.Pos, "DATATYPE_MISMATCH.SPECIFIED_WINDOW_FRAME_WRONG_COMPARISON", "42K09", "the frame ends before it starts")
	}
	return out, nil
}

// sameInterval reports whether bounds that are both intervals have one type.
func (b *binder) sameInterval(f *sql.Frame) bool {
	if f.Start.Offset == nil || f.End.Offset == nil {
		return true
	}
	start, err1 := b.bind(f.Start.Offset)
	end, err2 := b.bind(f.End.Offset)
	if err1 != nil || err2 != nil || start.Type().Kind != column.IntervalDT && start.Type().Kind != column.IntervalYM {
		return true
	}
	return start.Type().Equal(end.Type())
}

func (b *binder) frameBound(f *sql.Frame, bound sql.Bound, n *Analytic) (column.Datum, bool, error) {
	switch bound.Kind {
	case sql.UnboundedPreceding, sql.UnboundedFollowing:
		return column.Datum{}, true, nil
	case sql.CurrentRow:
		return column.Datum{}, false, nil
	}
	x, err := b.bind(bound.Offset)
	if err != nil {
		return column.Datum{}, false, err
	}
	if bound.Kind == sql.Preceding {
		if x, err = call(bound.Offset.Position(), "negative", x); err != nil {
			return column.Datum{}, false, err
		}
	}
	if !f.Rows {
		if len(n.Order) != 1 {
			return column.Datum{}, false, fail(f.Pos, "DATATYPE_MISMATCH.RANGE_FRAME_MULTI_ORDER", "42K09", "a RANGE frame with a distance needs exactly one ORDER BY expression")
		}
		if x, err = rangeOffset(f, x, n.Order[0].Expr.Type()); err != nil {
			return column.Datum{}, false, err
		}
	} else if !x.Type().Kind.IsIntegral() {
		return column.Datum{}, false, fail(f.Pos, "DATATYPE_MISMATCH.SPECIFIED_WINDOW_FRAME_UNACCEPTED_TYPE", "42K09", "a ROWS frame counts rows: write a whole number, not %s", x.Type())
	}
	if !isConstant(x) {
		return column.Datum{}, false, fail(f.Pos, "DATATYPE_MISMATCH.SPECIFIED_WINDOW_FRAME_WITHOUT_FOLDABLE", "42K09", "the bounds of a frame must be constants")
	}
	d, err := constant(x)
	if err == nil && !f.Rows && n.Order[0].Expr.Type().Kind == column.Date && x.Type().Kind == column.IntervalDT {
		d.I /= 24 * 3600 * 1_000_000 // dates are compared in days
	}
	return d, false, at(f.Pos, err)
}

// rangeOffset brings the distance of a RANGE frame to the type in which sort keys are compared.
func rangeOffset(f *sql.Frame, x expr.Expr, key column.Type) (expr.Expr, error) {
	switch {
	case isTimestamp(key) && x.Type().Kind == column.IntervalDT:
		return x, nil
	case key.Kind == column.Date && (x.Type().Kind == column.IntervalDT || x.Type().Kind.IsIntegral()):
		return x, nil
	case key.Kind.IsNumeric() && x.Type().Kind.IsNumeric():
		x, err := expr.Cast(x, key, false)
		return x, at(f.Pos, err)
	}
	return nil, fail(f.Pos, "DATATYPE_MISMATCH.RANGE_FRAME_INVALID_TYPE", "42K09", "a RANGE frame over %s cannot reach %s far", key, x.Type())
}
