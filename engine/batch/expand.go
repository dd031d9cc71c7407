package batch

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// explode repeats each row for the elements of its array or map.
func (x *run) explode(n *plan.Explode, in *column.Batch) (*column.Batch, error) {
	cols, in, err := x.eval(in, []expr.Expr{n.Array})
	if err != nil {
		return nil, err
	}
	added := n.Out.Fields[len(in.Cols):]
	more := make([]*column.Column, len(added))
	for i, f := range added {
		more[i] = column.New(f.Type, in.Len)
	}
	var rows []int32
	for i := range in.Len {
		x.guard.poll()
		elems := elements(cols[0].Type, cols[0].Datum(i))
		if len(elems) == 0 && n.Outer {
			rows = append(rows, int32(i))
			for _, c := range more {
				c.AppendNull()
			}
		}
		for at, e := range elems {
			rows = append(rows, int32(i))
			appendElement(n, more, at, e)
		}
		x.guard.rows(len(elems), more)
		if err := x.bound(len(rows)); err != nil {
			return nil, err
		}
	}
	return withColumns(n.Out, x.take(in, rows), more...), nil
}

// elements lists the elements of an array, or the (key, value) pairs of a map.
func elements(t column.Type, d column.Datum) []column.Datum {
	if d.Null || t.Kind != column.Map {
		return d.L
	}
	out := make([]column.Datum, 0, len(d.L)/2)
	for i := 0; i+1 < len(d.L); i += 2 {
		out = append(out, column.Datum{L: d.L[i : i+2]})
	}
	return out
}

func appendElement(n *plan.Explode, more []*column.Column, at int, e column.Datum) {
	if n.Position {
		more[0].AppendI64(int64(at))
		more = more[1:]
	}
	if !n.Inline && n.Array.Type().Kind != column.Map {
		more[0].Append(e)
		return
	}
	for i, c := range more {
		if e.Null || i >= len(e.L) {
			c.AppendNull()
			continue
		}
		c.Append(e.L[i])
	}
}

// timeAssign appends the time window of each row; a row in several windows is repeated.
func (x *run) timeAssign(n *plan.TimeAssign, in *column.Batch) (*column.Batch, error) {
	es := []expr.Expr{n.Time}
	if n.Kind == plan.SessionWindow {
		es = append(es, n.Gap)
	}
	cols, in, err := x.eval(in, es)
	if err != nil {
		return nil, err
	}
	win := column.New(n.Out.Fields[len(in.Cols)].Type, in.Len)
	var rows []int32
	for i := range in.Len {
		if cols[0].IsNull(i) {
			continue
		}
		t := cols[0].I64[i]
		if n.Kind == plan.SessionWindow {
			if cols[1].IsNull(i) || cols[1].I64[i] <= 0 {
				continue
			}
			rows = append(rows, int32(i))
			win.Append(span(t, t+cols[1].I64[i]))
			continue
		}
		for start := lastStart(t, n.Slide, n.Start); start > t-n.Size; start -= n.Slide {
			rows = append(rows, int32(i))
			win.Append(span(start, start+n.Size))
			x.guard.poll()
			x.guard.hold(3*datumBytes + 4)
			if err := x.bound(len(rows)); err != nil {
				return nil, err
			}
		}
	}
	return withColumns(n.Out, x.take(in, rows), win), nil
}

// lastStart is the start of the latest window that a time is in.
func lastStart(t, slide, offset int64) int64 {
	r := (t - offset) % slide
	if r < 0 {
		r += slide
	}
	return t - r
}

func span(start, end int64) column.Datum {
	return column.Datum{L: []column.Datum{{I: start}, {I: end}}}
}
