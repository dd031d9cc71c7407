package agg

import (
	"cmp"

	"signalbox/engine/column"
)

// cells keeps one value (or none) of a type for each index, without a pointer per index.
type cells struct {
	typ column.Type
	has []bool
	i64 []int64
	f64 []float64
	dec []column.Decimal128
	raw blobs // strings, and nested values encoded
}

func newCells(t column.Type) cells { return cells{typ: t} }

func (c *cells) grow(n int) {
	c.has = growTo(c.has, n)
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		c.i64 = growTo(c.i64, n)
	case column.StoreF64:
		c.f64 = growTo(c.f64, n)
	case column.StoreDec:
		c.dec = growTo(c.dec, n)
	case column.StoreDict, column.StoreAny:
		c.raw.grow(n)
	}
}

// set stores row of col, which may be NULL: then there is no value.
func (c *cells) set(i int32, col *column.Column, row int) {
	if col.IsNull(row) {
		c.clear(i)
		return
	}
	c.has[i] = true
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		c.i64[i] = col.I64[row]
	case column.StoreF64:
		c.f64[i] = col.F64[row]
	case column.StoreDec:
		c.dec[i] = col.Dec[row]
	case column.StoreDict:
		c.raw.set(int(i), stringBytes(col.Str(row)))
	case column.StoreAny:
		c.raw.set(int(i), appendDatum(nil, c.typ, col.Any[row], false))
	}
}

func (c *cells) copy(i int32, o *cells, j int32) {
	if !o.has[j] {
		c.clear(i)
		return
	}
	c.has[i] = true
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		c.i64[i] = o.i64[j]
	case column.StoreF64:
		c.f64[i] = o.f64[j]
	case column.StoreDec:
		c.dec[i] = o.dec[j]
	case column.StoreDict, column.StoreAny:
		c.raw.set(int(i), o.raw.get(int(j)))
	}
}

func (c *cells) clear(i int32) {
	c.has[i] = false
	if len(c.raw.refs) > 0 {
		c.raw.clear(int(i))
	}
}

func (c *cells) datum(i int32) column.Datum {
	if !c.has[i] {
		return column.NullDatum
	}
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		return column.I64(c.i64[i])
	case column.StoreF64:
		return column.F64(c.f64[i])
	case column.StoreDec:
		return column.Datum{Dec: c.dec[i]}
	case column.StoreDict:
		return column.Str(string(c.raw.get(int(i))))
	case column.StoreAny:
		d, _, err := readDatum(c.typ, c.raw.get(int(i)))
		if err != nil { // the arena holds only what set wrote and decode checked
			panic("agg: corrupt cell: " + err.Error())
		}
		return d
	}
	return column.NullDatum
}

func (c *cells) appendTo(i int32, out *column.Column) {
	switch {
	case !c.has[i]:
		out.AppendNull()
	case c.typ.Kind.Storage() == column.StoreDict:
		out.AppendBytes(c.raw.get(int(i)))
	default:
		out.Append(c.datum(i))
	}
}

// compare orders the value at i against a row that is not NULL.
func (c *cells) compare(i int32, col *column.Column, row int) int {
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		return cmp.Compare(c.i64[i], col.I64[row])
	case column.StoreF64:
		return compareFloat(c.f64[i], col.F64[row])
	case column.StoreDec:
		return cmpDec(c.dec[i], col.Dec[row])
	case column.StoreDict:
		return cmp.Compare(c.raw.str(int(i)), col.Str(row))
	}
	return compareDatum(c.typ, c.datum(i), col.Datum(row))
}

func (c *cells) compareCell(i int32, o *cells, j int32) int {
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		return cmp.Compare(c.i64[i], o.i64[j])
	case column.StoreF64:
		return compareFloat(c.f64[i], o.f64[j])
	case column.StoreDec:
		return cmpDec(c.dec[i], o.dec[j])
	case column.StoreDict:
		return cmp.Compare(c.raw.str(int(i)), o.raw.str(int(j)))
	}
	return compareDatum(c.typ, c.datum(i), o.datum(j))
}

func (c *cells) encode(e *encoder, n int) {
	e.bools(c.has[:n])
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		e.ints(there(c.i64, c.has[:n]))
	case column.StoreF64:
		e.floats(there(c.f64, c.has[:n]))
	case column.StoreDec:
		e.decimals(there(c.dec, c.has[:n]))
	case column.StoreDict, column.StoreAny:
		raw := make([][]byte, 0, n)
		for i := range n {
			if c.has[i] {
				raw = append(raw, c.raw.get(i))
			}
		}
		e.texts(raw)
	}
}

// there returns the values that are there; what is not may be left over from before.
func there[T any](v []T, has []bool) []T {
	out := make([]T, 0, len(has))
	for i, ok := range has {
		if ok {
			out = append(out, v[i])
		}
	}
	return out
}

func (c *cells) decode(d *decoder, n int) {
	*c = newCells(c.typ)
	has := d.bools(n)
	k := 0
	for _, ok := range has {
		if ok {
			k++
		}
	}
	switch c.typ.Kind.Storage() {
	case column.StoreI64:
		putBack(&c.i64, d.ints(k), has)
	case column.StoreF64:
		putBack(&c.f64, d.floats(k), has)
	case column.StoreDec:
		putBack(&c.dec, d.decimals(k), has)
	case column.StoreDict, column.StoreAny:
		c.decodeTexts(d, k, has)
	}
	if d.err == nil {
		c.has = has
	}
}

// putBack spreads values over the places that have one.
func putBack[T any](dst *[]T, v []T, has []bool) {
	*dst = make([]T, len(has))
	for i, ok := range has {
		if ok && len(v) > 0 {
			(*dst)[i], v = v[0], v[1:]
		}
	}
}

func (c *cells) decodeTexts(d *decoder, k int, has []bool) {
	texts := d.texts(k)
	if d.err != nil {
		return
	}
	c.raw.grow(len(has))
	for i, ok := range has {
		if !ok {
			continue
		}
		if c.typ.Kind.Storage() == column.StoreAny {
			if _, rest, err := readDatum(c.typ, texts[0]); err != nil || len(rest) > 0 {
				d.fail("a nested value does not fit its type " + c.typ.String())
				return
			}
		}
		c.raw.set(i, texts[0])
		texts = texts[1:]
	}
}

func (c *cells) bytes() int {
	return len(c.has)*c.width() + c.raw.live()
}

// width is the memory of a value, without the bytes of a text.
func (c *cells) width() int {
	switch c.typ.Kind.Storage() {
	case column.StoreNone:
		return 1
	case column.StoreDec:
		return 17
	}
	return 9
}

// compareFloat is Spark's order: NaN is the largest and equal to itself, -0.0 equals 0.0.
func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case a == b:
		return 0
	case a != a && b != b:
		return 0
	case a != a:
		return 1
	}
	return -1
}

// compareDatum is Spark's order of values: NULL first, members in turn, then the length.
func compareDatum(t column.Type, a, b column.Datum) int {
	if a.Null || b.Null {
		switch {
		case a.Null && b.Null:
			return 0
		case a.Null:
			return -1
		}
		return 1
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return cmp.Compare(a.I, b.I)
	case column.StoreF64:
		return compareFloat(a.F, b.F)
	case column.StoreDec:
		return cmpDec(a.Dec, b.Dec)
	case column.StoreDict:
		return cmp.Compare(a.S, b.S)
	}
	for i := range min(len(a.L), len(b.L)) {
		if r := compareDatum(memberType(t, i), a.L[i], b.L[i]); r != 0 {
			return r
		}
	}
	return cmp.Compare(len(a.L), len(b.L))
}
