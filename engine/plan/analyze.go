package plan

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// AnalyzeOptions say how a query is to be run.
type AnalyzeOptions struct {
	// Streaming: names that are streams are unbounded even without the STREAM keyword.
	Streaming bool
	// Mode is the output mode asked for, "" = the default.
	Mode Mode
	// Now is the value of current_timestamp() and friends, µs: the start of the query.
	Now int64
	// Live: current_timestamp() is the time of the entry that is being processed, as in a micro-batch of Spark.
	Live bool
	// Text is the query as written; kept in Query.SQL.
	Text string
	// Plain leaves filters and constants where they were written: for tests that
	// hold pushing and folding to changing nothing.
	Plain bool
}

// MaxOperators bounds the operators of one plan: a query that repeats a common
// table expression in itself again and again would otherwise grow without end.
const MaxOperators = 10_000

// Analyze resolves names and types of a query and returns its plan.
// Errors are *expr.Error with position, reason and what to write instead.
func Analyze(q *sql.Query, cat Catalog, opt AnalyzeOptions) (*Query, error) {
	return (&analyzer{cat: cat, opt: opt}).analyze(q)
}

// AnalyzeAll is Analyze that goes on after an error where it can: for a tool
// that shows every mistake of a query at once. The plan is nil when there are errors.
func AnalyzeAll(q *sql.Query, cat Catalog, opt AnalyzeOptions) (*Query, []error) {
	a := &analyzer{cat: cat, opt: opt, collect: true}
	p, err := a.analyze(q)
	if err != nil {
		a.found = append(a.found, err)
	}
	if len(a.found) > 0 {
		return nil, a.found
	}
	return p, nil
}

func (a *analyzer) analyze(q *sql.Query) (*Query, error) {
	opt := a.opt
	r, err := a.query(q, scope{})
	if err != nil {
		return nil, err
	}
	if len(a.found) > 0 {
		return nil, nil
	}
	r = r.visible()
	out := &Query{Root: r.node, SQL: opt.Text, Clock: a.clock}
	if !opt.Plain {
		out.Root = pushDown(out.Root)
		fold(out.Root)
	}
	takeLate(out.Root)
	prune(out.Root)
	out.Streaming = isStreaming(out.Root)
	if !out.Streaming {
		return out, nil
	}
	out.Mode = opt.Mode
	if out.Mode == "" {
		out.Mode = DefaultMode(out.Root)
	}
	return out, checkStreaming(out, a.positions)
}

// analyzer is the work on one query.
type analyzer struct {
	cat       Catalog
	opt       AnalyzeOptions
	operators int
	positions map[Node]sql.Pos // where an operator was written, for errors found later
	collect   bool             // go on after an error where that is possible
	found     []error
	clock     *expr.Clock // of a query that asks for the time of each entry
}

// tolerate notes an error of one expression when all are asked for.
func (a *analyzer) tolerate(err error) bool {
	if a.collect {
		a.found = append(a.found, err)
	}
	return a.collect
}

// scope is what a query may see from around it.
type scope struct {
	ctes  []cte
	outer *binder   // the row of the enclosing query, nil when there is none
	row   *outerRow // as outer, for a sub-query that is computed anew for each row
}

// cte is a common table expression with what was visible when it was written.
type cte struct {
	name    string
	columns []string
	query   *sql.Query
	scope   scope

	recursive bool
	maxLevel  int64
	self      *selfReference // set inside a recursive expression, for its own name
}

// mark remembers where an operator was written and counts it.
func (a *analyzer) mark(n Node, pos sql.Pos) error {
	if a.positions == nil {
		a.positions = map[Node]sql.Pos{}
	}
	a.positions[n] = pos
	a.operators++
	if a.operators > MaxOperators {
		return fail(pos, "QUERY_TOO_LARGE", "54000", "the query needs more than %d operators; write it with fewer sub-queries", MaxOperators)
	}
	return nil
}

// visible drops the hidden columns of a finished query.
func (r *rel) visible() *rel {
	var exprs []expr.Expr
	out := &rel{delay: r.delay}
	for i, a := range r.attrs {
		if !a.hidden {
			exprs = append(exprs, r.column(i))
			out.attrs = append(out.attrs, a)
		}
	}
	if len(exprs) == len(r.attrs) {
		return r
	}
	out.node = &Project{Input: r.node, Exprs: exprs, Out: out.schema(projectedTime(r.node, exprs))}
	return out
}

// projectedTime is where a projection puts the event time of its input, or -1.
func projectedTime(in Node, exprs []expr.Expr) int {
	t := in.Schema().Time
	for i, e := range exprs {
		if o, ok := columnOrdinal(e); ok && o == t {
			return i
		}
	}
	return -1
}

func isStreaming(n Node) bool {
	if s, ok := n.(*Scan); ok {
		return s.Stream
	}
	for _, in := range n.Inputs() {
		if isStreaming(in) {
			return true
		}
	}
	return false
}

func boolType() column.Type      { return column.Of(column.Boolean) }
func timestampType() column.Type { return column.Of(column.Timestamp) }
