package edge

import (
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// merger puts the rows of many small batches into few: one per stream while the
// columns agree in type. A column that a batch lacks is NULL in its rows.
type merger struct {
	list []*column.Batch
	rows int
}

// add copies the rows of b.
func (m *merger) add(b *column.Batch) {
	m.rows += b.Len
	for _, acc := range m.list {
		if fits(acc, b) {
			appendRows(acc, b)
			return
		}
	}
	s := *b.Schema
	s.Fields = append([]column.Field(nil), s.Fields...)
	acc := column.NewBatch(&s, b.Len)
	appendRows(acc, b)
	m.list = append(m.list, acc)
}

func fits(acc, b *column.Batch) bool {
	if acc.Schema.Name != b.Schema.Name || acc.Schema.Time != b.Schema.Time || acc.Len+b.Len > wire.MaxFrameRows/4 {
		return false
	}
	if t := b.Schema.Time; t >= 0 && acc.Schema.Fields[t].Name != b.Schema.Fields[t].Name {
		return false
	}
	extra := 0
	for _, f := range b.Schema.Fields {
		i := acc.Schema.Ordinal(f.Name)
		if i < 0 {
			extra++
		} else if !acc.Schema.Fields[i].Type.Equal(f.Type) {
			return false
		}
	}
	return len(acc.Schema.Fields)+extra <= wire.MaxFrameColumns/2
}

func appendRows(acc, b *column.Batch) {
	rows := make([]int32, b.Len)
	for i := range rows {
		rows[i] = int32(i)
	}
	for i, f := range b.Schema.Fields {
		j := acc.Schema.Ordinal(f.Name)
		if j < 0 {
			j = len(acc.Cols)
			acc.Schema.Fields = append(acc.Schema.Fields, f)
			acc.Cols = append(acc.Cols, column.New(f.Type, acc.Len+b.Len))
			for range acc.Len {
				acc.Cols[j].AppendNull()
			}
		}
		acc.Cols[j].Take(b.Cols[i], rows)
	}
	acc.Len += b.Len
	for _, c := range acc.Cols {
		for c.Len() < acc.Len {
			c.AppendNull()
		}
	}
}

// frames encodes batches one by one. A batch that does not fit a frame is halved.
func frames(e *wire.Encoder, list []*column.Batch) ([][]byte, error) {
	var out [][]byte
	for _, b := range list {
		f, err := e.Encode(nil, b)
		if err != nil && b.Len > 1 {
			for _, half := range halves(b) {
				more, err := frames(e, []*column.Batch{half})
				if err != nil {
					return nil, err
				}
				out = append(out, more...)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func halves(b *column.Batch) [2]*column.Batch {
	var out [2]*column.Batch
	for h := range out {
		from, to := h*b.Len/2, (h+1)*b.Len/2
		rows := make([]int32, 0, to-from)
		for i := from; i < to; i++ {
			rows = append(rows, int32(i))
		}
		out[h] = column.NewBatch(b.Schema, len(rows))
		for i, c := range b.Cols {
			out[h].Cols[i].Take(c, rows)
		}
		out[h].Len = len(rows)
	}
	return out
}
