package batch

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

func values(n *plan.Values) *column.Batch {
	out := column.NewBatch(n.Out, len(n.Rows))
	for _, row := range n.Rows {
		out.AppendRow(row...)
	}
	return out
}

func (x *run) filter(n *plan.Filter, in *column.Batch) (*column.Batch, error) {
	cols, in, err := x.eval(in, []expr.Expr{n.Cond})
	if err != nil {
		return nil, err
	}
	return x.take(in, trueRows(cols[0], in.Len)), nil
}

// trueRows lists the rows in which a BOOLEAN column is true.
func trueRows(c *column.Column, n int) []int32 {
	out := make([]int32, 0, n)
	for i := range n {
		if !c.IsNull(i) && c.I64[i] != 0 {
			out = append(out, int32(i))
		}
	}
	return out
}

func (x *run) project(n *plan.Project, in *column.Batch) (*column.Batch, error) {
	cols, in, err := x.eval(in, n.Exprs)
	if err != nil {
		return nil, err
	}
	return &column.Batch{Schema: n.Out, Cols: cols, Len: in.Len}, nil
}

func (x *run) watermark(n *plan.Watermark, in *column.Batch) (*column.Batch, error) {
	if n.Expr == nil {
		return &column.Batch{Schema: n.Out, Cols: in.Cols, Len: in.Len}, nil
	}
	cols, in, err := x.eval(in, []expr.Expr{n.Expr})
	if err != nil {
		return nil, err
	}
	return withColumns(n.Out, in, cols[0]), nil
}

// dedup keeps the first row of each key.
func (x *run) dedup(n *plan.Dedup, in *column.Batch) *column.Batch {
	cols := make([]*column.Column, len(n.Keys))
	for i, k := range n.Keys {
		cols[i] = in.Cols[k]
	}
	return x.take(in, x.firstRows(cols, in.Len))
}

func (x *run) distinct(in *column.Batch) *column.Batch {
	return x.take(in, x.firstRows(in.Cols, in.Len))
}

func (x *run) firstRows(cols []*column.Column, n int) []int32 {
	g := x.grouper()
	for i := range n {
		g.id(cols, i)
	}
	return g.first
}

func limit(n *plan.Limit, in *column.Batch) *column.Batch {
	from := min(max(n.Offset, 0), int64(in.Len))
	to := int64(in.Len)
	if n.N >= 0 && n.N < to-from {
		to = from + n.N
	}
	if from == 0 && to == int64(in.Len) {
		return in
	}
	return take(in, ordinals(int(to))[from:])
}

// single makes a scalar sub-query's result exactly one row.
func single(in *column.Batch) (*column.Batch, error) {
	switch in.Len {
	case 1:
		return in, nil
	case 0:
		return take(in, []int32{-1}), nil
	}
	return nil, &expr.Error{Phase: expr.Runtime, Condition: "SCALAR_SUBQUERY_TOO_MANY_ROWS", SQLState: "21000",
		Message: "more than one row returned by a sub-query used as a value; aggregate it or add LIMIT 1"}
}

func (x *run) union(n *plan.Union) (*column.Batch, error) {
	ins := make([]*column.Batch, len(n.Branches))
	for i, b := range n.Branches {
		in, err := x.node(b)
		if err != nil {
			return nil, err
		}
		ins[i] = in
	}
	total := 0
	for _, in := range ins {
		total += in.Len
	}
	if err := x.bound(total); err != nil {
		return nil, err
	}
	x.guard.rows(total, ins[0].Cols)
	return concat(n.Out, ins), nil
}

// setOp is INTERSECT and EXCEPT, on multisets when ALL.
func (x *run) setOp(n *plan.SetOp) (*column.Batch, error) {
	left, err := x.node(n.Left)
	if err != nil {
		return nil, err
	}
	right, err := x.node(n.Right)
	if err != nil {
		return nil, err
	}
	g := x.grouper()
	var count []int
	for i := range right.Len {
		if id := int(g.id(right.Cols, i)); id == len(count) {
			count = append(count, 1)
		} else {
			count[id]++
		}
	}
	keep := make([]int32, 0, left.Len)
	for i := range left.Len {
		id := g.find(left.Cols, i)
		found := id >= 0 && count[id] > 0
		if n.All && found {
			count[id]--
		}
		if found != n.Except {
			keep = append(keep, int32(i))
		}
	}
	out := take(left, keep)
	if !n.All {
		out = x.distinct(out)
	}
	return out, nil
}

func (x *run) sort(n *plan.Sort, in *column.Batch) (*column.Batch, error) {
	cols, in, err := x.eval(in, sortExprs(n.Keys))
	if err != nil {
		return nil, err
	}
	rows := ordinals(in.Len)
	x.sortRows(rows, n.Keys, cols)
	return x.take(in, rows), nil
}

func sortExprs(keys []plan.SortKey) []expr.Expr {
	out := make([]expr.Expr, len(keys))
	for i, k := range keys {
		out[i] = k.Expr
	}
	return out
}

// sortRows sorts row numbers by evaluated keys; rows that tie keep their order.
func (x *run) sortRows(rows []int32, keys []plan.SortKey, cols []*column.Column) {
	x.sortRowsBy(rows, func(a, b int32) int { return compareKeys(keys, cols, int(a), int(b)) })
}

func compareKeys(keys []plan.SortKey, cols []*column.Column, a, b int) int {
	for i, k := range keys {
		an, bn := cols[i].IsNull(a), cols[i].IsNull(b)
		switch {
		case an && bn:
			continue
		case an || bn:
			if an == k.NullsFirst {
				return -1
			}
			return 1
		}
		c := compareRows(cols[i], a, b)
		if c == 0 {
			continue
		}
		if k.Desc {
			return -c
		}
		return c
	}
	return 0
}

func (x *run) sortRowsBy(rows []int32, compare func(a, b int32) int) {
	slices.SortStableFunc(rows, func(a, b int32) int {
		x.guard.poll()
		return compare(a, b)
	})
}
