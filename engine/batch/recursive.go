package batch

import (
	"fmt"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// recursive computes the steps of WITH RECURSIVE until one gives no rows.
func (x *run) recursive(n *plan.Recursive) (*column.Batch, error) {
	rows, err := x.node(n.Anchor)
	if err != nil {
		return nil, err
	}
	if x.steps == nil {
		x.steps = map[*plan.StepRows]*column.Batch{}
	}
	defer delete(x.steps, n.Before)
	all := []*column.Batch{rows}
	total := int64(rows.Len)
	for level := int64(1); rows.Len > 0 && (n.Enough == 0 || total < n.Enough); level++ {
		if level > n.MaxLevel {
			return nil, &expr.Error{Phase: expr.Runtime, Condition: "RECURSION_LEVEL_LIMIT_EXCEEDED", SQLState: "42836",
				Message: fmt.Sprintf("the recursive query still gives rows after %d steps; end it with a condition, or write MAX RECURSION LEVEL", n.MaxLevel)}
		}
		x.steps[n.Before] = &column.Batch{Schema: n.Before.Out, Cols: rows.Cols, Len: rows.Len}
		if rows, err = x.node(n.Step); err != nil {
			return nil, err
		}
		all = append(all, rows)
		total += int64(rows.Len)
		if err := x.bound(int(total)); err != nil {
			return nil, err
		}
	}
	return concat(n.Out, all), nil
}
