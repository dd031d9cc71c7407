package batch

import (
	"fmt"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// MaxNested bounds the rows that a sub-query which is computed anew for the
// rows around it may read in all: distinct rows around it times rows below it.
const MaxNested = 50_000_000

// held is a part of a plan that was computed already.
type held struct{ rows *column.Batch }

func (h *held) Schema() *column.Schema { return h.rows.Schema }
func (h *held) Inputs() []plan.Node    { return nil }

// apply computes the right side of a join anew for each distinct set of the values it needs.
func (x *run) apply(n *plan.Join, left *column.Batch) (*column.Batch, error) {
	if left.Len == 0 {
		return column.NewBatch(n.Out, 0), nil
	}
	below := 0
	right, err := x.hold(n.Right, &below)
	if err != nil {
		return nil, err
	}
	around := make([]*column.Column, len(n.Params))
	for i, p := range n.Params {
		around[i] = left.Cols[p.Column]
	}
	groups := x.groupRows(around, left.Len)
	if len(groups)*below > MaxNested {
		return nil, &expr.Error{Phase: expr.Runtime, Condition: "QUERY_TOO_LARGE", SQLState: "54000",
			Message: fmt.Sprintf("a sub-query is computed anew for %d rows and reads %d rows each time, more than %d in all; compare with = so that it becomes a join, or filter first", len(groups), below, MaxNested)}
	}
	outs := make([]*column.Batch, len(groups))
	total := 0
	for i, rows := range groups {
		values := make([]column.Datum, len(around))
		for k, c := range around {
			values[k] = c.Datum(int(rows[0]))
		}
		before := x.guard.bytes
		in, err := x.node(plan.WithOuter(right, n.Params, values))
		if err != nil {
			return nil, err
		}
		if outs[i], err = x.joinRows(n, take(left, rows), in); err != nil {
			return nil, err
		}
		x.guard.now(before, outs[i])
		total += outs[i].Len
		if err := x.bound(total); err != nil {
			return nil, err
		}
	}
	return concat(n.Out, outs), nil
}

// groupRows lists the rows of each distinct key, in the order of their first rows.
func (x *run) groupRows(cols []*column.Column, n int) [][]int32 {
	g := x.grouper()
	var out [][]int32
	for i := range n {
		id := int(g.id(cols, i))
		if id == len(out) {
			out = append(out, nil)
		}
		out[id] = append(out[id], int32(i))
	}
	return out
}

// hold computes what does not depend on the row around once and counts its rows.
func (x *run) hold(n plan.Node, rows *int) (plan.Node, error) {
	if !plan.DependsOnOuter(n) {
		out, err := x.node(n)
		if err != nil {
			return nil, err
		}
		*rows += out.Len
		return &held{out}, nil
	}
	if _, recursive := n.(*plan.Recursive); recursive {
		return n, nil // parts of a step cannot be computed outside of it
	}
	var failed error
	out := plan.Rebuilt(n, func(in plan.Node) plan.Node {
		if failed != nil {
			return in
		}
		kept, err := x.hold(in, rows)
		failed = err
		return kept
	}, func(*expr.Expr) {})
	return out, failed
}
