package plan

import (
	"errors"
	"fmt"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// isTimeWindow reports whether a call is window(…) or session_window(…).
func isTimeWindow(c *sql.Call) bool {
	return c.Over == nil && (c.Name == "window" || c.Name == "session_window")
}

// assignWindows finds the time windows in the expressions, puts one TimeAssign
// over the relation and lets the binder know where each call's window is.
func (b *binder) assignWindows(es []sql.Expr) error {
	var first *TimeAssign
	var text string
	for _, e := range es {
		for _, c := range findCalls(e, isTimeWindow) {
			if first != nil {
				again, err := b.timeWindow(c)
				if err != nil {
					return err
				}
				if windowText(again) != text {
					return fail(c.Pos, "_LEGACY_ERROR_TEMP_1039", "42K0E", "a query may use one time window only, because two would multiply rows; put one of them into a sub-query")
				}
				b.calls[c] = b.rel.column(b.rel.width() - 1)
				continue
			}
			w, err := b.timeWindow(c)
			if err != nil {
				return err
			}
			first, text = w, windowText(w)
			if err := b.addWindow(c, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// addWindow puts the TimeAssign over the binder's relation.
func (b *binder) addWindow(c *sql.Call, w *TimeAssign) error {
	inner := b.rel
	typ := w.Time.Type()
	start, end := column.Field{Name: "start", Type: typ}, column.Field{Name: "end", Type: typ}
	out := &rel{attrs: append([]attr(nil), inner.attrs...), delay: inner.delay}
	event := b.carriesEvent(w.Time) || b.windowOfEvent(c)
	out.attrs = append(out.attrs, attr{name: c.Name, typ: column.StructOf(start, end), event: event, made: true})
	w.Input = inner.node
	s := &column.Schema{Fields: out.fields(), Time: inner.node.Schema().Time}
	w.Out = s
	out.node = w
	b.rel = out
	b.calls[c] = out.column(out.width() - 1)
	return b.a.mark(w, c.Pos)
}

// carriesEvent reports whether an expression is a column with watermarked event time.
func (b *binder) carriesEvent(e expr.Expr) bool {
	i, ok := columnOrdinal(e)
	return ok && b.rel.attrs[i].event
}

// windowOfEvent reports whether the time of a window call is a window, or the
// window_time of a window, that carries watermarked event time.
func (b *binder) windowOfEvent(c *sql.Call) bool {
	arg := c.Args[0]
	if inner, ok := arg.(*sql.Call); ok && inner.Name == "window_time" && len(inner.Args) == 1 {
		arg = inner.Args[0]
	}
	x, err := b.bind(arg)
	return err == nil && isWindowType(x.Type()) && b.carriesEvent(x)
}

func windowText(w *TimeAssign) string {
	s := fmt.Sprintf("%d %s %d %d %d", w.Kind, w.Time, w.Size, w.Slide, w.Start)
	if w.Gap != nil {
		s += " " + w.Gap.String()
	}
	return s
}

// timeWindow reads the arguments of window(time, size[, slide[, start]]) and session_window(time, gap).
func (b *binder) timeWindow(c *sql.Call) (*TimeAssign, error) {
	most := 4
	if c.Name == "session_window" {
		most = 2
	}
	if len(c.Args) < 2 || len(c.Args) > most {
		return nil, fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605",
			"%s takes 2 to %d arguments, not %d: write window(time, '5 minutes'[, slide[, start]]) or session_window(time, '5 minutes')", c.Name, most, len(c.Args))
	}
	t, err := b.windowedTime(c)
	if err != nil {
		return nil, err
	}
	w := &TimeAssign{Kind: TimeWindow, Time: t}
	if c.Name == "session_window" {
		w.Kind = SessionWindow
		w.Gap, err = b.gap(c.Args[1], t)
		return w, err
	}
	if w.Size, err = b.duration(c.Args[1]); err != nil {
		return nil, err
	}
	w.Slide = w.Size
	if len(c.Args) > 2 {
		if w.Slide, err = b.duration(c.Args[2]); err != nil {
			return nil, err
		}
	}
	if len(c.Args) > 3 {
		if w.Start, err = b.duration(c.Args[3]); err != nil {
			return nil, err
		}
	}
	return w, checkWindow(c, w)
}

// MaxWindowsPerRow bounds how many sliding windows one row may be in.
const MaxWindowsPerRow = 100_000

func checkWindow(c *sql.Call, w *TimeAssign) error {
	for i, v := range []int64{w.Size, w.Slide} {
		if v <= 0 {
			return fail(c.Args[min(i+1, len(c.Args)-1)].Position(), "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09",
				"the size and the slide of a window must be longer than nothing")
		}
	}
	if w.Slide > w.Size {
		return fail(c.Args[2].Position(), "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION", "42K09",
			"the slide of a window may not be longer than the window: rows between two windows would be lost")
	}
	if w.Start >= w.Slide || -w.Start >= w.Slide {
		return fail(c.Args[3].Position(), "DATATYPE_MISMATCH.PARAMETER_CONSTRAINT_VIOLATION", "42K09",
			"the start of a window must be shorter than its slide, in either direction")
	}
	if w.Size/w.Slide > MaxWindowsPerRow {
		return fail(c.Args[1].Position(), "QUERY_TOO_LARGE", "54000", "a row would be in more than %d windows; make the slide longer", MaxWindowsPerRow)
	}
	return nil
}

// windowedTime binds the time of a window: a timestamp, something that casts to one, or a window (then its last instant).
func (b *binder) windowedTime(c *sql.Call) (expr.Expr, error) {
	x, err := b.bind(c.Args[0])
	if err != nil {
		return nil, err
	}
	if isTimestamp(x.Type()) {
		return x, nil
	}
	if isWindowType(x.Type()) {
		return lastInstant(c.Pos, x)
	}
	switch x.Type().Kind {
	case column.String, column.Date, column.Void:
		x, err = expr.ImplicitCast(x, timestampType())
		return x, at(c.Args[0].Position(), err)
	}
	return nil, fail(c.Args[0].Position(), "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09",
		"%s needs a TIMESTAMP as its first argument, not %s", c.Name, x.Type())
}

// duration reads a constant length of time: text like '5 minutes', an interval, or a number of microseconds.
func (b *binder) duration(e sql.Expr) (int64, error) {
	x, err := b.bind(e)
	if err != nil {
		return 0, err
	}
	if !isConstant(x) {
		return 0, fail(e.Position(), "_LEGACY_ERROR_TEMP_1063", "42K0E", "the size, slide and start of a window must be constants, like '5 minutes'")
	}
	d, err := constant(x)
	if err != nil {
		return 0, at(e.Position(), err)
	}
	switch k := x.Type().Kind; {
	case d.Null:
	case k == column.String:
		return fixedInterval(e.Position(), d.S)
	case k == column.BigInt || k == column.Int:
		return d.I, nil
	}
	return 0, fail(e.Position(), "_LEGACY_ERROR_TEMP_1207", "", "a length of time is written as text, like '5 minutes', not as %s", x.Type())
}

// fixedInterval reads an interval that has no months, in µs; a day is 24 hours.
func fixedInterval(pos sql.Pos, text string) (int64, error) {
	months, days, micros, err := expr.ParseInterval(text)
	if err != nil {
		return 0, fail(pos, "CANNOT_PARSE_INTERVAL", "22006", "'%s' is no interval; write for example '30 seconds', '5 minutes' or '1 day'", text)
	}
	if months != 0 {
		err := fail(pos, "_LEGACY_ERROR_TEMP_3231", "", "'%s': months and years have no fixed length; write days", text)
		err.(*expr.Error).Phase = expr.Runtime // Spark's class for it
		return 0, err
	}
	const day = 24 * 3600 * 1_000_000
	total := days*day + micros
	if days > 1_000_000_000 || days < -1_000_000_000 || total/day != days+micros/day && micros/day == 0 {
		return 0, fail(pos, "CANNOT_PARSE_INTERVAL", "22006", "'%s' is too long", text)
	}
	return total, nil
}

// gap binds the gap of a session after time t: like duration, or computed per row from such texts.
// Months are as long as they are after t.
func (b *binder) gap(e sql.Expr, t expr.Expr) (expr.Expr, error) {
	switch e := e.(type) {
	case *sql.Literal:
		if e.Kind == sql.LitString {
			return b.gapText(e.Pos, e.Text, t)
		}
	case *sql.Case:
		return b.gapCase(e, t)
	case *sql.Call:
		if e.Name == "if" && len(e.Args) == 3 {
			return b.gapCase(&sql.Case{Pos: e.Pos, Whens: []sql.When{{Cond: e.Args[0], Then: e.Args[1]}}, Else: e.Args[2]}, t)
		}
	}
	x, err := b.bind(e)
	if err != nil {
		return nil, err
	}
	switch x.Type().Kind {
	case column.Void:
		return expr.ImplicitCast(x, column.Of(column.IntervalDT))
	case column.String:
		if d, err := constant(x); err == nil && isConstant(x) && !d.Null {
			return b.gapText(e.Position(), d.S, t)
		}
		return call(e.Position(), "parse_interval", x)
	}
	if x.Type().Equal(column.CalendarInterval()) {
		return after(e.Position(), t, x)
	}
	return nil, fail(e.Position(), "_LEGACY_ERROR_TEMP_1040", "",
		"the gap of a session is text like '5 minutes', not %s", x.Type())
}

// gapText is a constant gap. Text that is no interval is NULL, as in a gap
// computed per row, and rows without a gap belong to no session.
func (b *binder) gapText(pos sql.Pos, text string, t expr.Expr) (expr.Expr, error) {
	if months, _, _, err := expr.ParseInterval(text); err == nil && months != 0 {
		x, err := expr.Cast(stringLiteral(text), column.CalendarInterval(), false)
		if err != nil {
			return nil, at(pos, err)
		}
		return after(pos, t, x)
	}
	v, err := fixedInterval(pos, text)
	var bad *expr.Error
	if errors.As(err, &bad) && bad.Condition == "CANNOT_PARSE_INTERVAL" {
		return expr.NewLiteral(column.Of(column.IntervalDT), column.NullDatum), nil
	}
	return expr.NewLiteral(column.Of(column.IntervalDT), column.I64(v)), err
}

// after is how long an interval lasts that begins at time t.
func after(pos sql.Pos, t, interval expr.Expr) (expr.Expr, error) {
	end, err := call(pos, "+", t, interval)
	if err != nil {
		return nil, err
	}
	return call(pos, "-", end, t)
}

func (b *binder) gapCase(e *sql.Case, t expr.Expr) (expr.Expr, error) {
	var args []expr.Expr
	for _, w := range e.Whens {
		cond := w.Cond
		if e.Operand != nil {
			cond = &sql.Binary{Pos: w.Cond.Position(), Op: "=", L: e.Operand, R: w.Cond}
		}
		c, err := b.bind(cond)
		if err != nil {
			return nil, err
		}
		then, err := b.gap(w.Then, t)
		if err != nil {
			return nil, err
		}
		args = append(args, c, then)
	}
	if e.Else != nil {
		x, err := b.gap(e.Else, t)
		if err != nil {
			return nil, err
		}
		args = append(args, x)
	}
	return call(e.Pos, "case", args...)
}
