package plan

import (
	"fmt"

	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// DefaultMode is the output mode of a continuous query that asks for none:
// append when every aggregation closes its groups by event time (or there is
// none), else update.
func DefaultMode(n Node) Mode {
	mode := Append
	each(n, func(n Node) {
		if a, ok := n.(*Aggregate); ok && isStreaming(a) && a.EventKey < 0 {
			mode = Update
		}
	})
	return mode
}

// each visits n and everything below it, consumers first.
func each(n Node, visit func(Node)) {
	visit(n)
	for _, in := range n.Inputs() {
		each(in, visit)
	}
}

// checkStreaming refuses what a continuous query cannot do, as Spark does,
// and what it could do only by taking back rows that were emitted.
func checkStreaming(q *Query, pos map[Node]sql.Pos) error {
	c := &checker{q: q, pos: pos}
	if err := c.mode(); err != nil {
		return err
	}
	var first error
	each(q.Root, func(n Node) {
		if first == nil && isStreaming(n) {
			first = c.node(n)
		}
	})
	if first == nil {
		first = checkCounted(q, pos)
	}
	return first
}

type checker struct {
	q   *Query
	pos map[Node]sql.Pos
}

// refuse is an error that Spark raises without a condition of its own.
func (c *checker) refuse(n Node, format string, args ...any) error {
	return fail(c.pos[n], "_LEGACY_ERROR_TEMP_3102", "42KDE", format, args...)
}

func (c *checker) modeError(n Node, format string, args ...any) error {
	return fail(c.pos[n], "STREAMING_OUTPUT_MODE.UNSUPPORTED_OPERATION", "42KDE", format, args...)
}

func (c *checker) mode() error {
	aggs := aggregates(c.q.Root)
	switch c.q.Mode {
	case Append, Update:
	case Complete:
		if len(aggs) == 0 {
			return c.modeError(c.q.Root, "mode complete needs an aggregation: without one every row ever read would be emitted again; use mode append")
		}
	default:
		return fail(sql.Pos{}, "STREAMING_OUTPUT_MODE.INVALID", "42KDE", "there is no output mode %q; there are append, update and complete", c.q.Mode)
	}
	if len(aggs) > 1 && c.q.Mode != Append && !isTotal(c.q.Root) {
		return c.refuse(aggs[0], "an aggregation over an aggregation in mode %s is possible only when the inner one is keyed and has no time window (a total over the latest values); else use mode append with a watermark", c.q.Mode)
	}
	return nil
}

// aggregates lists the aggregations over streams, outermost first.
func aggregates(n Node) []*Aggregate {
	var out []*Aggregate
	each(n, func(n Node) {
		if a, ok := n.(*Aggregate); ok && isStreaming(a) {
			out = append(out, a)
		}
	})
	return out
}

// isTotal recognises the aggregation over a keyed aggregation, which goes
// beyond Spark: nothing but filters and projections between the two, and no event time in either.
func isTotal(n Node) bool {
	aggs := aggregates(n)
	if len(aggs) != 2 || aggs[0].EventKey >= 0 || aggs[1].EventKey >= 0 || aggs[0].Window >= 0 || aggs[1].Window >= 0 || len(aggs[1].Keys) == 0 {
		return false
	}
	for in := aggs[0].Input; ; {
		switch x := in.(type) {
		case *Filter:
			in = x.Input
		case *Project:
			in = x.Input
		default:
			return in == Node(aggs[1])
		}
	}
}

func (c *checker) node(n Node) error {
	switch n := n.(type) {
	case *Analytic:
		return fail(c.pos[n], "NON_TIME_WINDOW_NOT_SUPPORTED_IN_STREAMING", "42KDE", "functions with OVER (…) are not possible on a stream; write previous(value, key) or had_changed(value, key) for the row before, aggregate in window(time, '1 minute'), or ask them of the results with signalbox query")
	case *Aggregate:
		return c.aggregate(n)
	case *Sort:
		if c.q.Mode != Complete || len(aggregates(n)) == 0 {
			return c.refuse(n, "ORDER BY on a stream is possible only over an aggregation in mode complete: rows that come later may belong before rows already emitted")
		}
	case *Limit:
		if c.q.Mode == Update {
			return c.refuse(n, "LIMIT is not possible in mode update: a row that was emitted could not be taken back")
		}
		if n.Offset > 0 {
			return c.refuse(n, "OFFSET is not possible on a stream")
		}
	case *SetOp:
		return c.refuse(n, "INTERSECT and EXCEPT are not possible on a stream; use a join, or EXISTS over a table")
	case *Recursive:
		return c.failed(n, "WITH RECURSIVE cannot read a stream")
	case *Single:
		return c.refuse(n, "a sub-query used as a value cannot read a stream: its value would change; join it")
	case *Union:
		for _, b := range n.Branches {
			if !isStreaming(b) {
				return c.refuse(n, "UNION of a stream and a table is not possible; declare both as streams")
			}
		}
	case *Dedup:
		return c.dedup(n)
	case *Watermark:
		return c.watermark(n)
	case *Join:
		return c.join(n)
	}
	return nil
}

func (c *checker) watermark(n *Watermark) error {
	twice := false
	each(n.Input, func(m Node) {
		_, ok := m.(*Watermark)
		twice = twice || ok
	})
	if !twice {
		return nil
	}
	// Spark notices this only when the second micro-batch is planned.
	return c.failed(n, "the stream has a watermark already; write WATERMARK once")
}

// failed is an error that Spark raises while the query runs; we refuse the query.
func (c *checker) failed(n Node, message string) error {
	pos := c.pos[n]
	return &expr.Error{Phase: expr.Runtime, Condition: "STREAM_FAILED", SQLState: "XXKST", Message: message, Line: pos.Line, Col: pos.Col}
}

func (c *checker) dedup(n *Dedup) error {
	if c.q.Mode != Append && len(aggregates(n.Input)) > 0 {
		return c.refuse(n, "DEDUP over an aggregation is possible only in mode append")
	}
	return nil
}

func (c *checker) aggregate(n *Aggregate) error {
	for _, call := range n.Calls {
		if call.Distinct {
			return c.refuse(n, "%s with DISTINCT is not possible on a stream: every value would have to be kept; use approx_count_distinct", call.Func.Name())
		}
	}
	if n.Kind == SessionWindow && n.Window >= 0 {
		if err := c.session(n); err != nil {
			return err
		}
	}
	if c.q.Mode == Append && n.EventKey < 0 && n.Distinct {
		return c.modeError(n, "DISTINCT in mode append needs a column with watermarked event time among those selected; else write DEDUP BY (columns) after the stream's name")
	}
	if c.q.Mode == Append && n.EventKey < 0 {
		return c.modeError(n, "an aggregation in mode append needs a group that ends: group by window(time, …) of a stream with WATERMARK time DELAY OF INTERVAL 10 SECONDS, or use mode update")
	}
	return nil
}

func (c *checker) session(n *Aggregate) error {
	if c.q.Mode == Update {
		return c.refuse(n, "session_window is not possible in mode update: a session may merge with one already emitted; use mode append with a watermark")
	}
	if len(n.Keys) == 1 {
		return c.failed(n, "session_window needs another key on a stream: GROUP BY session_window(time, …), device")
	}
	return nil
}

func (c *checker) join(n *Join) error {
	left, right := isStreaming(n.Left), isStreaming(n.Right)
	if len(n.Params) > 0 && (left || right) {
		if aggregatesInside(n.Right) { // Spark notices this only when the first micro-batch is planned
			return c.failed(n, "an aggregate of a sub-query is computed anew for each row of a stream; compare with = only, so that it becomes a join with a grouped table")
		}
		return c.refuse(n, "a sub-query that is computed anew for each row of a stream is not possible; compare with = only, without GROUP BY or LIMIT, so that it becomes a join with a table")
	}
	if left && right {
		return c.streamJoin(n)
	}
	side := func(what string) error {
		return c.refuse(n, "%s of a stream and a table is not possible: whether a row of the table has a match is never final; put the stream on the side whose rows are kept", what)
	}
	switch {
	case n.Kind == Full:
		return side("FULL JOIN")
	case right && (n.Kind == Left || n.Kind == LeftSingle):
		return side("LEFT JOIN with the stream on the right")
	case left && n.Kind == Right:
		return side("RIGHT JOIN with the stream on the left")
	case right && (n.Kind == Semi || n.Kind == Anti || n.Kind == Mark):
		return side("EXISTS, IN, SEMI or ANTI JOIN with the stream inside")
	}
	return nil
}

func aggregatesInside(n Node) bool {
	found := false
	each(n, func(n Node) {
		_, ok := n.(*Aggregate)
		found = found || ok
	})
	return found
}

// streamJoin needs, for the rows of a side that are kept without a match, the
// moment from which no match can come any more.
func (c *checker) streamJoin(n *Join) error {
	kind := n.Kind
	if n.written != Inner { // as Spark, before filters make less of it
		kind = n.written
	}
	if c.q.Mode == Complete || c.q.Mode == Update && kind != Inner && kind != Cross {
		return c.modeError(n, "a join of two streams is possible only in mode append, an INNER JOIN also in mode update")
	}
	bound := boundOf(n)
	lower := bound != nil && bound.HasLo && n.LeftTime >= 0
	upper := bound != nil && bound.HasHi && n.RightTime >= 0
	keyed := c.eventKeys(n)
	need := func(what string) error {
		return c.refuse(n, "%s of two streams needs WATERMARK on the side that may have no match and a condition that bounds the distance of their times, like b.time BETWEEN a.time AND a.time + INTERVAL 5 MINUTES", what)
	}
	switch kind {
	case Left, Semi:
		if !keyed && !upper {
			return need(fmt.Sprintf("%s JOIN", map[JoinKind]string{Left: "LEFT", Semi: "LEFT SEMI"}[kind]))
		}
	case Right:
		if !keyed && !lower {
			return need("RIGHT JOIN")
		}
	case Full:
		if !keyed && !lower && !upper { // one is enough for Spark: the rows of the other side are then kept for ever
			return need("FULL JOIN")
		}
	case Anti, Mark, LeftSingle:
		return c.refuse(n, "NOT EXISTS, NOT IN and ANTI JOIN of two streams are not possible; use LEFT JOIN with a bound on the times and filter the rows without a match")
	}
	if _, value := n.Right.(*Single); len(n.LeftKeys) == 0 && !value {
		return c.failed(n, "a join of two streams needs an equality: without one every row would be compared with every row")
	}
	return nil
}

// eventKeys reports whether the streams are joined on a column with watermarked event time.
func (c *checker) eventKeys(n *Join) bool {
	for i := range n.LeftKeys {
		l, lok := columnOrdinal(n.LeftKeys[i])
		r, rok := columnOrdinal(n.RightKeys[i])
		if lok && l == n.LeftTime || rok && r == n.RightTime {
			return true
		}
	}
	return false
}
