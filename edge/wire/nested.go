package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"signalbox/engine/column"
)

// Nested values (ARRAY, STRUCT, MAP) are rare at the edge and are written
// value by value: a byte 1 = NULL or 0, then the value.

func appendDatum(dst []byte, t column.Type, d column.Datum, left *int) ([]byte, error) {
	if *left--; *left < 0 {
		return dst, fmt.Errorf("more than %d nested values in a frame", MaxNested)
	}
	if d.Null || t.Kind == column.Void {
		return append(dst, 1), nil
	}
	dst = append(dst, 0)
	switch t.Kind.Storage() {
	case column.StoreI64:
		return binary.AppendVarint(dst, d.I), nil
	case column.StoreF64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(d.F)), nil
	case column.StoreDict:
		if len(d.S) > MaxStringBytes || t.Kind == column.String && !utf8.ValidString(d.S) {
			return dst, fmt.Errorf("string of %d bytes is longer than %d or not UTF-8", len(d.S), MaxStringBytes)
		}
		return appendString(dst, d.S), nil
	case column.StoreDec:
		return binary.AppendUvarint(binary.AppendVarint(dst, d.Dec.Hi), d.Dec.Lo), nil
	}
	var err error
	if t.Kind != column.Struct {
		dst = binary.AppendUvarint(dst, uint64(len(d.L)))
	}
	if t.Kind == column.Struct && len(d.L) != len(t.Fields) || t.Kind == column.Map && len(d.L)%2 != 0 {
		return dst, fmt.Errorf("%d values do not make a %s", len(d.L), t)
	}
	for i, m := range d.L {
		if dst, err = appendDatum(dst, memberType(t, i), m, left); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

func memberType(t column.Type, i int) column.Type {
	switch {
	case t.Kind == column.Struct:
		return t.Fields[i].Type
	case t.Kind == column.Map && i%2 == 0:
		return *t.Key
	}
	return *t.Elem
}

func (r *reader) datum(t column.Type, left *int) column.Datum {
	if *left--; *left < 0 {
		r.fail("more than %d nested values", MaxNested)
	}
	null := r.byte()
	if null > 1 || null == 0 && t.Kind == column.Void {
		r.fail("mark of NULL %d", null)
	}
	if r.err != nil || null == 1 {
		return column.NullDatum
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		v := r.varint()
		r.inRange(t.Kind, v, v)
		return column.I64(v)
	case column.StoreF64:
		return r.nestedReal(t.Kind)
	case column.StoreDict:
		s := r.string(MaxStringBytes, "string")
		if t.Kind == column.String && !utf8.ValidString(s) {
			r.fail("string is not UTF-8")
		}
		return column.Str(s)
	case column.StoreDec:
		return column.Datum{Dec: column.Decimal128{Hi: r.varint(), Lo: r.uvarint()}}
	}
	return r.members(t, left)
}

func (r *reader) nestedReal(k column.Kind) column.Datum {
	b := r.take(8)
	if r.err != nil {
		return column.NullDatum
	}
	f := math.Float64frombits(binary.LittleEndian.Uint64(b))
	r.isFloat(k, f)
	return column.F64(f)
}

func (r *reader) members(t column.Type, left *int) column.Datum {
	n := len(t.Fields)
	if t.Kind != column.Struct {
		n = r.count(MaxNested, "members")
	}
	if n > *left || t.Kind == column.Map && n%2 != 0 {
		r.fail("%d values in a %s", n, t.Kind)
	}
	if r.err != nil {
		return column.NullDatum
	}
	d := column.Datum{L: make([]column.Datum, 0, n)}
	for i := 0; i < n && r.err == nil; i++ {
		d.L = append(d.L, r.datum(memberType(t, i), left))
	}
	return d
}
