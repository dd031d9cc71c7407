package batch

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// eval computes expressions over in. The second result is in, or what is left
// of it (with the columns cut to fit) when rows failed and the run goes on.
func (x *run) eval(in *column.Batch, es []expr.Expr) ([]*column.Column, *column.Batch, error) {
	outs := make([]joined, len(es))
	var keep []int32 // rows of the pieces so far, once one failed
	failed := false
	err := x.pieces(in, func(piece *column.Batch, from int) error {
		ctx := new(expr.Context) // never reset: the columns stay valid as long as they are used
		part := make([]*column.Column, len(es))
		for i, e := range es {
			if _, plain := expr.ColumnOrdinal(e); e != nil && !plain {
				part[i] = e.Eval(ctx, piece, nil)
			}
		}
		switch {
		case len(ctx.Errors) > 0:
			left, err := x.refuse(ctx, piece)
			if err != nil {
				return err
			}
			if !failed {
				failed, keep = true, ordinals(from)
			}
			for i, c := range part {
				part[i] = gather(c, left)
			}
			for _, r := range left {
				keep = append(keep, int32(from)+r)
			}
		case failed:
			for r := range piece.Len {
				keep = append(keep, int32(from+r))
			}
		}
		for i, c := range part {
			outs[i].append(x.guard, c, piece.Len == in.Len)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if failed {
		in = take(in, keep)
	}
	cols := make([]*column.Column, len(es))
	for i, e := range es {
		if o, plain := expr.ColumnOrdinal(e); e != nil && plain {
			cols[i] = in.Cols[o]
		} else {
			cols[i] = outs[i].col
		}
	}
	return cols, in, nil
}

// evalRows is how many rows are computed between two questions to Options.Interrupt; a multiple of 64.
const evalRows = 16 << 10

// pieces cuts a batch into views of evalRows rows; one piece when nobody may interrupt.
func (x *run) pieces(in *column.Batch, f func(piece *column.Batch, from int) error) error {
	if x.guard.interrupt == nil || in.Len <= evalRows {
		return f(in, 0)
	}
	for from := 0; from < in.Len; from += evalRows {
		x.guard.ask()
		if err := f(view(in, from, min(in.Len, from+evalRows)), from); err != nil {
			return err
		}
	}
	return nil
}

// joined is a column that is put together from pieces.
type joined struct {
	col *column.Column
	own bool // its dictionary is not that of a piece
}

func (j *joined) append(g *guard, c *column.Column, all bool) {
	switch {
	case c == nil:
		return
	case all:
		j.col = c
		return
	case j.col == nil:
		j.col = column.New(c.Type, 0)
		j.col.Dict = c.Dict
	}
	out := j.col
	if g.max > 0 {
		bytes := int64(c.Len())*rowBytes(c.Type) + nestedBytes(c.Any)
		if c.Dict != nil && (c.Dict != out.Dict || out.Len() == 0) && g.dicts[c.Dict] == 0 {
			bytes += dictBytes(c.Dict)
		}
		g.hold(bytes)
	}
	if out.Dict != c.Dict && !j.own {
		d := column.NewDict()
		for _, s := range out.Dict.Values {
			d.Code(s)
		}
		out.Dict, j.own = d, true
	}
	if j.own || c.Type.Kind == column.Void {
		appendColumn(out, c)
		return
	}
	n := out.Len()
	out.I64, out.F64, out.Codes = append(out.I64, c.I64...), append(out.F64, c.F64...), append(out.Codes, c.Codes...)
	out.Dec, out.Any = append(out.Dec, c.Dec...), append(out.Any, c.Any...)
	out.SetLen(n + c.Len())
	if c.HasNulls() {
		for i := range c.Len() {
			if c.IsNull(i) {
				out.SetNull(n + i)
			}
		}
	}
}

// view is rows from..to-1 of a batch, not copied; from is a multiple of 64.
func view(b *column.Batch, from, to int) *column.Batch {
	out := &column.Batch{Schema: b.Schema, Cols: make([]*column.Column, len(b.Cols)), Len: to - from}
	for i, c := range b.Cols {
		if c == nil {
			continue
		}
		v := &column.Column{Type: c.Type, Dict: c.Dict}
		if w := from / 64; w < len(c.Nulls) {
			v.Nulls = c.Nulls[w:min(len(c.Nulls), (to+63)/64)]
		}
		switch c.Type.Kind.Storage() {
		case column.StoreI64:
			v.I64 = c.I64[from:to:to]
		case column.StoreF64:
			v.F64 = c.F64[from:to:to]
		case column.StoreDict:
			v.Codes = c.Codes[from:to:to]
		case column.StoreDec:
			v.Dec = c.Dec[from:to:to]
		case column.StoreAny:
			v.Any = c.Any[from:to:to]
		}
		v.SetLen(to - from)
		out.Cols[i] = v
	}
	return out
}
