package column

import "slices"

// Clone copies the values; the dictionary is shared.
func (c *Column) Clone() *Column {
	out := *c
	out.Nulls, out.I64, out.F64 = slices.Clone(c.Nulls), slices.Clone(c.I64), slices.Clone(c.F64)
	out.Codes, out.Dec, out.Any = slices.Clone(c.Codes), slices.Clone(c.Dec), slices.Clone(c.Any)
	return &out
}

// Frozen is the column as it is now, for a reader that runs beside a writer
// that only adds to its dictionary: values are shared, the dictionary's growth is not seen.
func (c *Column) Frozen() *Column {
	out := *c
	if c.Dict != nil {
		out.Dict = DictOf(slices.Clip(c.Dict.Values))
	}
	return &out
}

// Frozen is the batch as it is now; see Column.Frozen.
func (b *Batch) Frozen() *Batch {
	out := &Batch{Schema: b.Schema, Len: b.Len, Cols: make([]*Column, len(b.Cols))}
	for i, c := range b.Cols {
		if c != nil {
			out.Cols[i] = c.Frozen()
		}
	}
	return out
}
