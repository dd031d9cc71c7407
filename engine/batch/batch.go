// Package batch runs a plan over bounded input: every operator reads its whole
// input, computes, and hands one batch on. It answers queries over tables and
// recorded readings, and it is the simple executor that the streaming one is
// compared with.
//
// It promises Spark's answers, the same rows in the same order for the same
// input, and an error instead of unbounded memory. It refuses to know where
// rows come from, clocks and state between two runs.
package batch

import (
	"fmt"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// DefaultMaxRows bounds the rows that any one operator may hold.
const DefaultMaxRows = 50_000_000

// Options of a run. The zero value is ready: not strict, default bound.
type Options struct {
	// Strict makes the first row that fails fail the query, as Spark does.
	// Otherwise the row is handed to Refused and left out.
	Strict bool
	// Refused is told of every row left out; may be nil.
	Refused func(rows *column.Batch, row int, err *expr.Error)
	// MaxRows is the most rows one operator may produce, 0 = DefaultMaxRows.
	MaxRows int
	// MaxBytes is the most memory that the operators at work may hold together, estimated, 0 = no bound.
	MaxBytes int64
	// Interrupt is asked now and then; its error ends the run. May be nil.
	Interrupt func() error
}

// Source gives the batches of a scan; columns that are not in scan.Columns may be nil.
type Source func(scan *plan.Scan) ([]*column.Batch, error)

// Run computes the rows of q.
func Run(q *plan.Query, source Source, opt Options) (*column.Batch, error) {
	return RunNode(q.Root, source, opt)
}

// RunNode computes the rows of one operator.
func RunNode(n plan.Node, source Source, opt Options) (out *column.Batch, err error) {
	if opt.MaxRows <= 0 {
		opt.MaxRows = DefaultMaxRows
	}
	x := &run{source: source, opt: opt, guard: &guard{interrupt: opt.Interrupt, max: opt.MaxBytes}}
	defer caught(&err)
	return x.node(n)
}

// run is one evaluation of a plan.
type run struct {
	source Source
	opt    Options
	guard  *guard
	steps  map[*plan.StepRows]*column.Batch // of the recursions that are going on
}

func (x *run) node(n plan.Node) (*column.Batch, error) {
	x.guard.ask()
	before := x.guard.bytes
	out, err := x.operator(n)
	if err != nil {
		return nil, err
	}
	if err := x.bound(out.Len); err != nil {
		return nil, err
	}
	switch n.(type) {
	case *held, *plan.StepRows: // counted where they were made
	default:
		x.guard.now(before, out)
	}
	return out, nil
}

func (x *run) operator(n plan.Node) (*column.Batch, error) {
	switch n := n.(type) {
	case *held:
		return n.rows, nil
	case *plan.Recursive:
		return x.recursive(n)
	case *plan.StepRows:
		return x.steps[n], nil
	case *plan.Scan:
		return x.scan(n)
	case *plan.Values:
		return values(n), nil
	case *plan.Union:
		return x.union(n)
	case *plan.Join:
		return x.join(n)
	case *plan.SetOp:
		return x.setOp(n)
	}
	ins := n.Inputs()
	if len(ins) != 1 {
		return nil, fmt.Errorf("batch: operator %T is not supported", n)
	}
	in, err := x.node(ins[0])
	if err != nil {
		return nil, err
	}
	return x.unary(n, in)
}

func (x *run) unary(n plan.Node, in *column.Batch) (*column.Batch, error) {
	switch n := n.(type) {
	case *plan.Watermark:
		return x.watermark(n, in)
	case *plan.Dedup:
		return x.dedup(n, in), nil
	case *plan.Filter:
		return x.filter(n, in)
	case *plan.Project:
		return x.project(n, in)
	case *plan.Explode:
		return x.explode(n, in)
	case *plan.TimeAssign:
		return x.timeAssign(n, in)
	case *plan.Aggregate:
		return x.aggregate(n, in)
	case *plan.Sort:
		return x.sort(n, in)
	case *plan.Limit:
		return limit(n, in), nil
	case *plan.Single:
		return single(in)
	case *plan.Distinct:
		return x.distinct(in), nil
	case *plan.Analytic:
		return x.analytic(n, in)
	}
	return nil, fmt.Errorf("batch: operator %T is not supported", n)
}

// bound refuses to hold more rows than the caller allows.
func (x *run) bound(rows int) error {
	if rows <= x.opt.MaxRows {
		return nil
	}
	return &expr.Error{Phase: expr.Runtime, Condition: "QUERY_TOO_LARGE", SQLState: "54000",
		Message: fmt.Sprintf("an operator of the query holds more than %d rows; add a filter or a LIMIT, or raise the bound on rows", x.opt.MaxRows)}
}

func (x *run) scan(n *plan.Scan) (*column.Batch, error) {
	in, err := x.source(n)
	if err != nil {
		return nil, err
	}
	out := concat(n.Out, in)
	x.guard.know(out)
	return out, nil
}

// refuse reports the rows that failed and returns the others, or the error of a strict run.
func (x *run) refuse(ctx *expr.Context, in *column.Batch) ([]int32, error) {
	if x.opt.Strict && len(ctx.Errors) > 0 {
		return nil, firstError(ctx.Errors)
	}
	keep := make([]int32, 0, in.Len)
	for i := range in.Len {
		if !ctx.Failed(int32(i)) {
			keep = append(keep, int32(i))
		}
	}
	if x.opt.Refused != nil {
		for _, e := range ctx.Errors {
			x.opt.Refused(in, int(e.Row), e.Err)
		}
	}
	return keep, nil
}

func firstError(errs []expr.RowError) error {
	first := errs[0]
	for _, e := range errs[1:] {
		if e.Row < first.Row {
			first = e
		}
	}
	return first.Err
}
