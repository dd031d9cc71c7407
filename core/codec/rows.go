package codec

import (
	"encoding/binary"
	"math"

	"signalbox/engine/column"
)

// Bounds of a decoded type and value.
const (
	maxTypeDepth  = 16
	maxValueDepth = 32
)

// AppendSchema appends names and types.
func AppendSchema(dst []byte, s *column.Schema) []byte {
	dst = AppendString(dst, s.Name)
	dst = binary.AppendVarint(dst, int64(s.Time))
	return appendFields(dst, s.Fields)
}

func appendFields(dst []byte, fs []column.Field) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(fs)))
	for _, f := range fs {
		dst = appendType(AppendString(dst, f.Name), f.Type)
	}
	return dst
}

func appendType(dst []byte, t column.Type) []byte {
	if isInterval(t.Kind) && t.Precision > 0 {
		return append(dst, byte(t.Kind)|narrowInterval, t.Precision, t.Scale)
	}
	dst = append(dst, byte(t.Kind))
	switch t.Kind {
	case column.Decimal:
		dst = append(dst, t.Precision, t.Scale)
	case column.Array:
		dst = appendType(dst, *t.Elem)
	case column.Map:
		dst = appendType(appendType(dst, *t.Key), *t.Elem)
	case column.Struct:
		dst = appendFields(dst, t.Fields)
	}
	return dst
}

// Schema reads names and types.
func (r *Reader) Schema() *column.Schema {
	s := &column.Schema{Name: r.String(), Time: int(r.Varint())}
	s.Fields = r.fields(0)
	if s.Time < -1 || s.Time >= len(s.Fields) {
		r.Fail("time column %d of %d", s.Time, len(s.Fields))
		s.Time = -1
	}
	return s
}

func (r *Reader) fields(depth int) []column.Field {
	n := r.Count()
	out := make([]column.Field, 0, min(n, 1024))
	for range n {
		if r.err != nil {
			return nil
		}
		out = append(out, column.Field{Name: r.String(), Type: r.typ(depth)})
	}
	return out
}

func (r *Reader) typ(depth int) column.Type {
	b := r.Byte()
	if t := (column.Type{Kind: column.Kind(b &^ narrowInterval)}); b != byte(t.Kind) && isInterval(t.Kind) {
		return r.intervalType()
	}
	t := column.Type{Kind: column.Kind(b)}
	if depth > maxTypeDepth || t.Kind > column.TimestampNS {
		r.Fail("type %d at depth %d", t.Kind, depth)
		return column.Type{}
	}
	switch t.Kind {
	case column.Decimal:
		t.Precision, t.Scale = r.Byte(), r.Byte()
	case column.Array:
		t = column.ArrayOf(r.typ(depth + 1))
	case column.Map:
		k := r.typ(depth + 1)
		v := r.typ(depth + 1)
		t.Key, t.Elem = &k, &v
	case column.Struct:
		t.Fields = r.fields(depth + 1)
	}
	return t
}

// narrowInterval marks, in the byte of the kind, an interval type that names its fields: the two numbers follow.
const narrowInterval = 0x80

func isInterval(k column.Kind) bool { return k == column.IntervalDT || k == column.IntervalYM }

func (r *Reader) intervalType() column.Type {
	from, to := r.Byte(), r.Byte()
	if from < 1 || to < from || to > column.FieldSecond+1 || (from-1 <= column.FieldMonth) != (to-1 <= column.FieldMonth) {
		r.Fail("interval of fields %d to %d", from, to)
		return column.Type{}
	}
	return column.IntervalOf(from-1, to-1)
}

// RowEncoder writes rows. It keeps scratch memory between batches; not safe for concurrent use.
type RowEncoder struct {
	local []uint32 // dictionary code -> 1 + number in this column
	used  []uint32 // codes in order of first use
}

// AppendRows appends the rows of b, without the schema.
func (e *RowEncoder) AppendRows(dst []byte, b *column.Batch) []byte {
	dst = binary.AppendUvarint(dst, uint64(b.Len))
	for _, c := range b.Cols {
		if c == nil {
			dst = append(dst, colAbsent)
			continue
		}
		dst = e.appendColumn(dst, c, b.Len)
	}
	return dst
}

// How a column is written.
const (
	colAbsent = iota
	colPlain
	colNulls // null mask first
)

func (e *RowEncoder) appendColumn(dst []byte, c *column.Column, n int) []byte {
	if c.HasNulls() && c.Type.Kind != column.Void {
		dst = append(dst, colNulls)
		for i := 0; i < n; i += 64 {
			var w uint64
			if i>>6 < len(c.Nulls) {
				w = c.Nulls[i>>6]
			}
			if n-i < 64 {
				w &= 1<<(n-i) - 1
			}
			dst = binary.LittleEndian.AppendUint64(dst, w)
		}
	} else {
		dst = append(dst, colPlain)
	}
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		var prev int64
		for i := range n {
			v := prev // a NULL row holds an arbitrary value: it must not reach the bytes
			if !c.IsNull(i) {
				v = c.I64[i]
			}
			dst = binary.AppendVarint(dst, v-prev)
			prev = v
		}
	case column.StoreF64:
		for i := range n {
			var bits uint64
			if !c.IsNull(i) {
				bits = math.Float64bits(c.F64[i])
			}
			dst = binary.LittleEndian.AppendUint64(dst, bits)
		}
	case column.StoreDict:
		dst = e.appendDict(dst, c, n)
	default:
		for i := range n {
			if !c.IsNull(i) {
				dst = appendDatum(dst, c.Type, c.Datum(i))
			}
		}
	}
	return dst
}

func (e *RowEncoder) appendDict(dst []byte, c *column.Column, n int) []byte {
	if len(e.local) < c.Dict.Len() {
		e.local = append(e.local, make([]uint32, c.Dict.Len()-len(e.local))...)
	}
	e.used = e.used[:0]
	for i := range n {
		code := c.Codes[i]
		if !c.IsNull(i) && e.local[code] == 0 {
			e.used = append(e.used, code)
			e.local[code] = uint32(len(e.used))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.used)))
	for _, code := range e.used {
		dst = AppendString(dst, c.Dict.Values[code])
	}
	for i := range n {
		var local uint32 = 1
		if !c.IsNull(i) {
			local = e.local[c.Codes[i]]
		}
		dst = binary.AppendUvarint(dst, uint64(local-1))
	}
	for _, code := range e.used {
		e.local[code] = 0
	}
	return dst
}

func appendDatum(dst []byte, t column.Type, d column.Datum) []byte {
	switch t.Kind.Storage() {
	case column.StoreI64:
		return binary.AppendVarint(dst, d.I)
	case column.StoreF64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(d.F))
	case column.StoreDict:
		return AppendString(dst, d.S)
	case column.StoreDec:
		return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, uint64(d.Dec.Hi)), d.Dec.Lo)
	case column.StoreAny:
		dst = binary.AppendUvarint(dst, uint64(len(d.L)))
		for i, v := range d.L {
			dst = AppendBool(dst, v.Null)
			if !v.Null {
				dst = appendDatum(dst, memberType(t, i), v)
			}
		}
	}
	return dst
}

func memberType(t column.Type, i int) column.Type {
	switch t.Kind {
	case column.Array:
		return *t.Elem
	case column.Map:
		if i%2 == 0 {
			return *t.Key
		}
		return *t.Elem
	}
	return t.Fields[i].Type
}

// Rows reads rows of a schema into a new batch.
func (r *Reader) Rows(s *column.Schema) *column.Batch {
	n := int(r.Uvarint())
	b := &column.Batch{Schema: s, Cols: make([]*column.Column, len(s.Fields)), Len: n}
	if n < 0 || n > 64*(r.Left()+1) { // a column of constants still takes a byte for 8 rows of null mask or a varint a row
		r.Fail("%d rows in %d bytes", n, r.Left())
		return &column.Batch{Schema: s, Cols: b.Cols}
	}
	for i, f := range s.Fields {
		if r.err != nil {
			break
		}
		b.Cols[i] = r.column(f.Type, n)
	}
	return b
}

func (r *Reader) column(t column.Type, n int) *column.Column {
	mode := r.Byte()
	if mode == colAbsent {
		return nil
	}
	if mode > colNulls {
		r.Fail("column mode %d", mode)
		return nil
	}
	var nulls []uint64
	if mode == colNulls {
		for range (n + 63) / 64 {
			nulls = append(nulls, r.Uint64())
			if r.err != nil {
				return nil
			}
		}
	}
	if st := t.Kind.Storage(); st != column.StoreNone && nulls == nil && n > r.Left() {
		r.Fail("%d values in %d bytes", n, r.Left())
		return nil
	}
	c := column.New(t, min(n, 64*(r.Left()+1)))
	r.fill(c, n, nulls)
	c.Nulls = nulls
	c.SetLen(n)
	return c
}

func (r *Reader) fill(c *column.Column, n int, nulls []uint64) {
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		var prev int64
		for i := 0; i < n && r.err == nil; i++ {
			prev += r.Varint()
			c.I64 = append(c.I64, prev)
		}
	case column.StoreF64:
		for i := 0; i < n && r.err == nil; i++ {
			c.F64 = append(c.F64, r.Float())
		}
	case column.StoreDict:
		r.fillDict(c, n)
	case column.StoreDec, column.StoreAny:
		for i := 0; i < n && r.err == nil; i++ {
			d := column.Datum{}
			if nulls == nil || nulls[i>>6]&(1<<(i&63)) == 0 {
				d = r.datum(c.Type, 0)
			}
			if c.Type.Kind == column.Decimal {
				c.Dec = append(c.Dec, d.Dec)
			} else {
				c.Any = append(c.Any, d)
			}
		}
	}
}

func (r *Reader) fillDict(c *column.Column, n int) {
	k := r.Count()
	values := make([]string, 0, k)
	for range k {
		values = append(values, r.String())
	}
	if len(values) == 0 {
		values = append(values, "")
	}
	c.Dict = column.DictOf(values)
	for i := 0; i < n && r.err == nil; i++ {
		v := r.Uvarint()
		if v >= uint64(len(values)) {
			r.Fail("string %d of %d", v, len(values))
			return
		}
		c.Codes = append(c.Codes, uint32(v))
	}
}

func (r *Reader) datum(t column.Type, depth int) column.Datum {
	if depth > maxValueDepth {
		r.Fail("value nested deeper than %d", maxValueDepth)
		return column.NullDatum
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return column.I64(r.Varint())
	case column.StoreF64:
		return column.F64(r.Float())
	case column.StoreDict:
		return column.Str(r.String())
	case column.StoreDec:
		return column.Datum{Dec: column.Decimal128{Hi: int64(r.Uint64()), Lo: r.Uint64()}}
	case column.StoreAny:
		n := r.Count()
		if t.Kind == column.Struct && n != len(t.Fields) {
			r.Fail("struct of %d members with %d values", len(t.Fields), n)
			return column.NullDatum
		}
		d := column.Datum{L: make([]column.Datum, 0, n)}
		for i := range n {
			if r.Bool() {
				d.L = append(d.L, column.NullDatum)
			} else {
				d.L = append(d.L, r.datum(memberType(t, i), depth+1))
			}
		}
		return d
	}
	return column.NullDatum
}
