package batch

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"

	"signalbox/engine/column"
)

// grouper numbers distinct keys in the order they are first seen, by SQL's
// grouping equality: NULL is a key, NaN is one value, 0.0 and -0.0 are equal.
type grouper struct {
	ids map[string]int32
	buf []byte
	// first is the row in which each key was first seen.
	first []int32
	guard *guard
}

func (x *run) grouper() *grouper { return &grouper{ids: map[string]int32{}, guard: x.guard} }

// id returns the number of the key of a row, adding it when it is new.
func (g *grouper) id(cols []*column.Column, row int) int32 {
	g.guard.poll()
	g.buf = appendKey(g.buf[:0], cols, row)
	id, ok := g.ids[string(g.buf)]
	if !ok {
		g.guard.hold(groupBytes + int64(len(g.buf)))
		id = int32(len(g.first))
		g.ids[string(g.buf)] = id
		g.first = append(g.first, int32(row))
	}
	return id
}

// find returns the number of a known key, or -1.
func (g *grouper) find(cols []*column.Column, row int) int32 {
	g.guard.poll()
	g.buf = appendKey(g.buf[:0], cols, row)
	if id, ok := g.ids[string(g.buf)]; ok {
		return id
	}
	return -1
}

// appendKey encodes a row so that equal bytes = equal keys.
func appendKey(b []byte, cols []*column.Column, row int) []byte {
	for _, c := range cols {
		if c.IsNull(row) {
			b = append(b, 0)
			continue
		}
		b = append(b, 1)
		switch c.Type.Kind.Storage() {
		case column.StoreI64:
			b = binary.BigEndian.AppendUint64(b, uint64(c.I64[row]))
		case column.StoreF64:
			b = binary.BigEndian.AppendUint64(b, floatKey(c.F64[row]))
		case column.StoreDict:
			b = appendString(b, c.Str(row))
		case column.StoreDec:
			b = binary.BigEndian.AppendUint64(b, uint64(c.Dec[row].Hi))
			b = binary.BigEndian.AppendUint64(b, c.Dec[row].Lo)
		case column.StoreAny:
			b = appendDatum(b, c.Type, c.Any[row])
		}
	}
	return b
}

func floatKey(f float64) uint64 {
	switch {
	case f == 0:
		return 0
	case math.IsNaN(f):
		return math.Float64bits(math.NaN())
	}
	return math.Float64bits(f)
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendDatum(b []byte, t column.Type, d column.Datum) []byte {
	if d.Null || t.Kind == column.Void {
		return append(b, 0)
	}
	b = append(b, 1)
	switch t.Kind.Storage() {
	case column.StoreI64:
		return binary.BigEndian.AppendUint64(b, uint64(d.I))
	case column.StoreF64:
		return binary.BigEndian.AppendUint64(b, floatKey(d.F))
	case column.StoreDict:
		return appendString(b, d.S)
	case column.StoreDec:
		b = binary.BigEndian.AppendUint64(b, uint64(d.Dec.Hi))
		return binary.BigEndian.AppendUint64(b, d.Dec.Lo)
	}
	b = binary.AppendUvarint(b, uint64(len(d.L)))
	for i, e := range d.L {
		b = appendDatum(b, memberType(t, i), e)
	}
	return b
}

// memberType is the type of element i of a nested datum.
func memberType(t column.Type, i int) column.Type {
	switch {
	case t.Kind == column.Struct && i < len(t.Fields):
		return t.Fields[i].Type
	case t.Kind == column.Map && i%2 == 0:
		return *t.Key
	case t.Elem != nil:
		return *t.Elem
	}
	return column.Type{}
}

// compareRows orders two non-NULL values of a column as ORDER BY ASC does.
func compareRows(c *column.Column, a, b int) int {
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		return cmp.Compare(c.I64[a], c.I64[b])
	case column.StoreF64:
		return compareFloat(c.F64[a], c.F64[b])
	case column.StoreDict:
		if c.Codes[a] == c.Codes[b] {
			return 0
		}
		return cmp.Compare(c.Str(a), c.Str(b))
	case column.StoreDec:
		return compareDecimal(c.Dec[a], c.Dec[b])
	case column.StoreAny:
		return compareDatum(c.Type, c.Any[a], c.Any[b])
	}
	return 0
}

// compareFloat: NaN is the largest and equal to itself, -0.0 equals 0.0.
func compareFloat(a, b float64) int {
	an, bn := math.IsNaN(a), math.IsNaN(b)
	switch {
	case an && bn:
		return 0
	case an:
		return 1
	case bn:
		return -1
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareDecimal(a, b column.Decimal128) int {
	if c := cmp.Compare(a.Hi, b.Hi); c != 0 {
		return c
	}
	return cmp.Compare(a.Lo, b.Lo)
}

// compareDatum orders boxed values; inside nested values NULL is smallest.
func compareDatum(t column.Type, a, b column.Datum) int {
	if a.Null || b.Null {
		return boolInt(b.Null) - boolInt(a.Null)
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return cmp.Compare(a.I, b.I)
	case column.StoreF64:
		return compareFloat(a.F, b.F)
	case column.StoreDict:
		return bytes.Compare([]byte(a.S), []byte(b.S))
	case column.StoreDec:
		return compareDecimal(a.Dec, b.Dec)
	}
	for i := 0; i < len(a.L) && i < len(b.L); i++ {
		if c := compareDatum(memberType(t, i), a.L[i], b.L[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a.L), len(b.L))
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
