package batch

import "signalbox/engine/column"

// gather copies the listed rows of a column; row -1 is NULL. A nil column stays nil.
func gather(c *column.Column, rows []int32) *column.Column {
	if c == nil {
		return nil
	}
	out := &column.Column{Type: c.Type, Dict: c.Dict}
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		out.I64 = pick(c.I64, rows)
	case column.StoreF64:
		out.F64 = pick(c.F64, rows)
	case column.StoreDict:
		out.Codes = pick(c.Codes, rows)
		nonEmptyDict(out)
	case column.StoreDec:
		out.Dec = pick(c.Dec, rows)
	case column.StoreAny:
		out.Any = pick(c.Any, rows)
	}
	out.SetLen(len(rows))
	for i, r := range rows {
		if r < 0 || c.IsNull(int(r)) {
			out.SetNull(i)
		}
	}
	return out
}

// nonEmptyDict keeps the promise that code 0 of a NULL row can be looked up.
func nonEmptyDict(c *column.Column) {
	if c.Dict == nil || c.Dict.Len() == 0 {
		c.Dict = column.NewDict()
		c.Dict.Code("")
	}
}

func pick[T any](src []T, rows []int32) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		if r >= 0 {
			out[i] = src[r]
		}
	}
	return out
}

// take copies the listed rows of a batch; row -1 is a row of NULLs.
func take(b *column.Batch, rows []int32) *column.Batch {
	out := &column.Batch{Schema: b.Schema, Cols: make([]*column.Column, len(b.Cols)), Len: len(rows)}
	for i, c := range b.Cols {
		out.Cols[i] = gather(c, rows)
	}
	return out
}

// take notes the memory before it is taken.
func (x *run) take(b *column.Batch, rows []int32) *column.Batch {
	x.guard.rows(len(rows), b.Cols)
	return take(b, rows)
}

// concat puts batches of one layout behind each other.
func concat(s *column.Schema, in []*column.Batch) *column.Batch {
	if len(in) == 1 {
		return &column.Batch{Schema: s, Cols: in[0].Cols, Len: in[0].Len}
	}
	out := &column.Batch{Schema: s, Cols: make([]*column.Column, len(s.Fields))}
	for _, b := range in {
		out.Len += b.Len
	}
	for j, f := range s.Fields {
		out.Cols[j] = concatColumn(f.Type, in, j, out.Len)
	}
	return out
}

func concatColumn(t column.Type, in []*column.Batch, j, n int) *column.Column {
	out := column.New(t, n)
	for _, b := range in {
		if b.Cols[j] == nil {
			return nil
		}
		appendColumn(out, b.Cols[j])
	}
	return out
}

// appendColumn appends all of src, looking each dictionary entry up once.
func appendColumn(out, src *column.Column) {
	if src.Type.Kind == column.Void {
		for range src.Len() {
			out.AppendNull()
		}
		return
	}
	if src.Type.Kind.Storage() != column.StoreDict {
		for i := range src.Len() {
			out.Append(src.Datum(i))
		}
		return
	}
	codes := make([]uint32, src.Dict.Len())
	known := make([]bool, src.Dict.Len())
	for i := range src.Len() {
		if src.IsNull(i) {
			out.AppendNull()
			continue
		}
		c := src.Codes[i]
		if !known[c] {
			codes[c], known[c] = out.Dict.Code(src.Dict.Values[c]), true
		}
		out.Codes = append(out.Codes, codes[c])
		out.SetLen(out.Len() + 1)
	}
}

// ordinals returns 0..n-1.
func ordinals(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// withColumns appends columns to a batch under a new schema.
func withColumns(s *column.Schema, b *column.Batch, more ...*column.Column) *column.Batch {
	cols := make([]*column.Column, 0, len(b.Cols)+len(more))
	cols = append(append(cols, b.Cols...), more...)
	return &column.Batch{Schema: s, Cols: cols, Len: b.Len}
}
