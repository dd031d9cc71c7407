package batch

import (
	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// aggregate groups rows and folds them, in the order in which they come.
func (x *run) aggregate(n *plan.Aggregate, in *column.Batch) (*column.Batch, error) {
	cols, in, err := x.eval(in, n.Keys)
	if err != nil {
		return nil, err
	}
	if n.Kind == plan.SessionWindow && n.Window >= 0 {
		cols[n.Window] = x.mergeSessions(cols, n.Window, in.Len)
	}
	g := x.grouper()
	groups := make([]int32, in.Len)
	for i := range groups {
		groups[i] = g.id(cols, i)
	}
	count := len(g.first)
	if len(n.Keys) == 0 {
		count = 1 // an aggregate without GROUP BY gives a row for no rows
	}
	out := &column.Batch{Schema: n.Out, Cols: make([]*column.Column, 0, len(n.Keys)+len(n.Calls)), Len: count}
	for _, c := range cols {
		out.Cols = append(out.Cols, gather(c, g.first))
	}
	for i := range n.Calls {
		c, err := x.fold(&n.Calls[i], in, groups, count)
		if err != nil {
			return nil, err
		}
		out.Cols = append(out.Cols, c)
	}
	return out, nil
}

// fold computes one aggregate for all groups.
func (x *run) fold(call *plan.AggCall, in *column.Batch, groups []int32, count int) (*column.Column, error) {
	acc := call.Func.New()
	acc.Grow(count)
	err := x.pieces(in, func(piece *column.Batch, from int) error {
		before := int64(acc.Bytes())
		err := x.foldPiece(call, acc, piece, groups[from:from+piece.Len])
		x.guard.hold(int64(acc.Bytes()) - before)
		return err
	})
	if err != nil {
		return nil, err
	}
	return values1(acc, call.Func, count)
}

func (x *run) foldPiece(call *plan.AggCall, acc agg.Accumulator, in *column.Batch, groups []int32) error {
	ctx := new(expr.Context)
	var sel []int32
	if call.Filter != nil {
		sel = trueRows(call.Filter.Eval(ctx, in, nil), in.Len)
	}
	args := make([]*column.Column, len(call.Args))
	for i, a := range call.Args {
		args[i] = a.Eval(ctx, in, sel)
	}
	if len(ctx.Errors) > 0 {
		keep, err := x.refuse(ctx, in)
		if err != nil {
			return err
		}
		sel = intersect(sel, keep)
	}
	add := new(expr.Context)
	if in.Len > 0 && (sel == nil || len(sel) > 0) {
		acc.Add(add, selected(groups, sel), args, sel)
	}
	_, err := x.refuse(add, in)
	return err
}

// selected gives the groups in the order of sel: Accumulator.Add pairs them.
func selected(groups, sel []int32) []int32 {
	if sel == nil {
		return groups
	}
	out := make([]int32, len(sel))
	for i, r := range sel {
		out[i] = groups[r]
	}
	return out
}

func values1(acc agg.Accumulator, f agg.Func, count int) (*column.Column, error) {
	out := column.New(f.Result(), count)
	for i := range count {
		if err := acc.Value(int32(i), out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// intersect keeps the rows of sel (nil = all) that are in keep; both ascend.
func intersect(sel, keep []int32) []int32 {
	if sel == nil {
		return keep
	}
	out := make([]int32, 0, len(sel))
	for _, r := range sel {
		for len(keep) > 0 && keep[0] < r {
			keep = keep[1:]
		}
		if len(keep) > 0 && keep[0] == r {
			out = append(out, r)
		}
	}
	return out
}

// mergeSessions replaces the window of each row by its merged session: windows
// of one key that overlap or touch become one.
func (x *run) mergeSessions(cols []*column.Column, window, n int) *column.Column {
	others := make([]*column.Column, 0, len(cols)-1)
	others = append(append(others, cols[:window]...), cols[window+1:]...)
	g := x.grouper()
	byKey := make([]int32, n)
	for i := range n {
		byKey[i] = g.id(others, i)
	}
	win := cols[window]
	rows := ordinals(n)
	x.sortRowsBy(rows, func(a, b int32) int {
		if byKey[a] != byKey[b] {
			return int(byKey[a]) - int(byKey[b])
		}
		return compareDatum(win.Type, win.Any[a], win.Any[b])
	})
	out := column.New(win.Type, n)
	out.Resize(n)
	for from := 0; from < n; {
		key, start, end := byKey[rows[from]], win.Any[rows[from]].L[0].I, win.Any[rows[from]].L[1].I
		to := from + 1
		for to < n && byKey[rows[to]] == key && win.Any[rows[to]].L[0].I <= end {
			end = max(end, win.Any[rows[to]].L[1].I)
			to++
		}
		merged := span(start, end)
		for _, r := range rows[from:to] {
			out.Any[r] = merged
		}
		from = to
	}
	return out
}
