package column

import (
	"fmt"
	"strings"
)

// Decimal128 is an unscaled two's-complement 128-bit integer; the scale is in the Type.
type Decimal128 struct {
	Hi int64
	Lo uint64
}

// Datum is one value, boxed: the slow, general representation that scalar
// functions of the long tail, nested values and tests use.
type Datum struct {
	Null bool
	I    int64      // kinds stored in I64
	F    float64    // Float, Double
	S    string     // String, Binary
	Dec  Decimal128 // Decimal
	L    []Datum    // Array, Struct, Map
}

// NullDatum is the NULL of every type.
var NullDatum = Datum{Null: true}

// Dict maps small codes to strings. Codes are assigned in order of first use
// and never change, so a Dict may grow while columns refer to it. Two columns
// that share a *Dict can be compared and grouped by code: values are unique.
type Dict struct {
	Values []string
	index  map[string]uint32
}

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{index: map[string]uint32{}} }

// DictOf wraps values that the caller knows to be unique, without an index; Code builds it when first needed.
func DictOf(values []string) *Dict { return &Dict{Values: values} }

// Len returns the number of distinct values.
func (d *Dict) Len() int { return len(d.Values) }

// Code returns the code of s, adding it when it is new.
func (d *Dict) Code(s string) uint32 {
	d.build()
	if c, ok := d.index[s]; ok {
		return c
	}
	return d.add(strings.Clone(s))
}

// CodeBytes is Code for bytes; it copies them only when the value is new.
func (d *Dict) CodeBytes(b []byte) uint32 {
	d.build()
	if c, ok := d.index[string(b)]; ok {
		return c
	}
	return d.add(string(b))
}

// Find returns the code of s if it is in the dictionary.
func (d *Dict) Find(s string) (uint32, bool) {
	d.build()
	c, ok := d.index[s]
	return c, ok
}

// FindBytes is Find for bytes.
func (d *Dict) FindBytes(b []byte) (uint32, bool) {
	d.build()
	c, ok := d.index[string(b)]
	return c, ok
}

func (d *Dict) add(s string) uint32 {
	c := uint32(len(d.Values))
	d.Values = append(d.Values, s)
	d.index[s] = c
	return c
}

func (d *Dict) build() {
	if d.index != nil {
		return
	}
	d.index = make(map[string]uint32, len(d.Values))
	for i, v := range d.Values {
		if _, ok := d.index[v]; !ok {
			d.index[v] = uint32(i)
		}
	}
}

// Column is a vector of values of one type. Exactly the slice named by
// Type.Kind.Storage() is used and has Len() elements; at NULL rows it holds an
// arbitrary valid value (zero by convention, code 0 of a non-empty Dict).
type Column struct {
	Type  Type
	Nulls []uint64 // bit i set = row i is NULL; nil = no NULLs
	I64   []int64
	F64   []float64
	Codes []uint32
	Dict  *Dict
	Dec   []Decimal128
	Any   []Datum
	n     int
}

// New returns an empty column with room for n rows.
func New(t Type, n int) *Column {
	c := &Column{Type: t}
	switch t.Kind.Storage() {
	case StoreI64:
		c.I64 = make([]int64, 0, n)
	case StoreF64:
		c.F64 = make([]float64, 0, n)
	case StoreDict:
		c.Codes, c.Dict = make([]uint32, 0, n), NewDict()
	case StoreDec:
		c.Dec = make([]Decimal128, 0, n)
	case StoreAny:
		c.Any = make([]Datum, 0, n)
	}
	return c
}

// Resize sets the length to n rows without NULLs; the values are unspecified
// until written by index. It keeps the capacity, so a reused column does not allocate.
func (c *Column) Resize(n int) {
	c.n, c.Nulls = n, c.Nulls[:0]
	if len(c.Nulls) == 0 && cap(c.Nulls) == 0 {
		c.Nulls = nil
	}
	switch c.Type.Kind.Storage() {
	case StoreI64:
		c.I64 = resize(c.I64, n)
	case StoreF64:
		c.F64 = resize(c.F64, n)
	case StoreDict:
		c.Codes = resize(c.Codes, n)
		if c.Dict == nil {
			c.Dict = NewDict()
		}
	case StoreDec:
		c.Dec = resize(c.Dec, n)
	case StoreAny:
		c.Any = resize(c.Any, n)
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:n]
	}
	return append(s[:cap(s)], make([]T, n-cap(s))...)
}

// Reset empties the column and keeps its memory and its Dict.
func (c *Column) Reset() { c.Resize(0) }

// Len returns the number of rows.
func (c *Column) Len() int { return c.n }

// SetLen declares the length after the slices were filled directly.
func (c *Column) SetLen(n int) { c.n = n }

// IsNull reports whether row i is NULL.
func (c *Column) IsNull(i int) bool {
	if c.Type.Kind == Void {
		return true
	}
	w := i >> 6
	return w < len(c.Nulls) && c.Nulls[w]&(1<<(i&63)) != 0
}

// HasNulls reports whether any row is NULL.
func (c *Column) HasNulls() bool {
	if c.Type.Kind == Void {
		return c.n > 0
	}
	for _, w := range c.Nulls {
		if w != 0 {
			return true
		}
	}
	return false
}

// SetNull marks row i NULL.
func (c *Column) SetNull(i int) {
	for len(c.Nulls) <= i>>6 {
		c.Nulls = append(c.Nulls, 0)
	}
	c.Nulls[i>>6] |= 1 << (i & 63)
}

// ClearNull marks row i not NULL.
func (c *Column) ClearNull(i int) {
	if i>>6 < len(c.Nulls) {
		c.Nulls[i>>6] &^= 1 << (i & 63)
	}
}

// AppendNull appends a NULL row.
func (c *Column) AppendNull() {
	i := c.n
	switch c.Type.Kind.Storage() {
	case StoreI64:
		c.I64 = append(c.I64, 0)
	case StoreF64:
		c.F64 = append(c.F64, 0)
	case StoreDict:
		if c.Dict.Len() == 0 {
			c.Dict.Code("")
		}
		c.Codes = append(c.Codes, 0)
	case StoreDec:
		c.Dec = append(c.Dec, Decimal128{})
	case StoreAny:
		c.Any = append(c.Any, NullDatum)
	}
	c.n++
	c.SetNull(i)
}

// AppendI64 appends a value to a column stored in I64.
func (c *Column) AppendI64(v int64) { c.I64 = append(c.I64, v); c.n++ }

// AppendF64 appends a value to a column stored in F64.
func (c *Column) AppendF64(v float64) { c.F64 = append(c.F64, v); c.n++ }

// AppendString appends a value to a String or Binary column.
func (c *Column) AppendString(s string) { c.Codes = append(c.Codes, c.Dict.Code(s)); c.n++ }

// AppendBytes appends a value to a String or Binary column.
func (c *Column) AppendBytes(b []byte) { c.Codes = append(c.Codes, c.Dict.CodeBytes(b)); c.n++ }

// Append appends a boxed value; it must be of the column's type.
func (c *Column) Append(d Datum) {
	if d.Null {
		c.AppendNull()
		return
	}
	switch c.Type.Kind.Storage() {
	case StoreNone:
		c.n++
	case StoreI64:
		c.AppendI64(d.I)
	case StoreF64:
		c.AppendF64(d.F)
	case StoreDict:
		c.AppendString(d.S)
	case StoreDec:
		c.Dec = append(c.Dec, d.Dec)
		c.n++
	case StoreAny:
		c.Any = append(c.Any, d)
		c.n++
	}
}

// Str returns the string of row i of a String or Binary column.
func (c *Column) Str(i int) string { return c.Dict.Values[c.Codes[i]] }

// Datum boxes row i.
func (c *Column) Datum(i int) Datum {
	if c.IsNull(i) {
		return NullDatum
	}
	switch c.Type.Kind.Storage() {
	case StoreI64:
		return Datum{I: c.I64[i]}
	case StoreF64:
		return Datum{F: c.F64[i]}
	case StoreDict:
		return Datum{S: c.Str(i)}
	case StoreDec:
		return Datum{Dec: c.Dec[i]}
	case StoreAny:
		return c.Any[i]
	}
	return NullDatum
}

// Set writes a boxed value at row i of a resized column.
func (c *Column) Set(i int, d Datum) {
	if d.Null {
		c.zero(i)
		c.SetNull(i)
		return
	}
	c.ClearNull(i)
	switch c.Type.Kind.Storage() {
	case StoreI64:
		c.I64[i] = d.I
	case StoreF64:
		c.F64[i] = d.F
	case StoreDict:
		c.Codes[i] = c.Dict.Code(d.S)
	case StoreDec:
		c.Dec[i] = d.Dec
	case StoreAny:
		c.Any[i] = d
	}
}

func (c *Column) zero(i int) {
	switch c.Type.Kind.Storage() {
	case StoreI64:
		c.I64[i] = 0
	case StoreF64:
		c.F64[i] = 0
	case StoreDict:
		if c.Dict.Len() == 0 {
			c.Dict.Code("")
		}
		c.Codes[i] = 0
	case StoreDec:
		c.Dec[i] = Decimal128{}
	case StoreAny:
		c.Any[i] = NullDatum
	}
}

// Take appends the rows of src listed in rows. src must have the same type.
func (c *Column) Take(src *Column, rows []int32) {
	if c.Type.Kind.Storage() == StoreDict && c.n == 0 && src.Dict != nil {
		c.Dict = src.Dict // share: codes stay comparable and nothing is hashed
	}
	for _, r := range rows {
		i := int(r)
		switch {
		case src.IsNull(i):
			c.AppendNull()
		case c.Type.Kind.Storage() == StoreDict && c.Dict == src.Dict:
			c.Codes = append(c.Codes, src.Codes[i])
			c.n++
		default:
			c.Append(src.Datum(i))
		}
	}
}

// Schema names the columns of a batch.
type Schema struct {
	Name   string // the stream or table
	Fields []Field
	Time   int // ordinal of the event-time column, -1 when there is none
}

// Ordinal returns the position of a column by exact name, or -1.
func (s *Schema) Ordinal(name string) int {
	for i := range s.Fields {
		if s.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Batch is a set of rows of one schema, stored by column. Every column has Len rows.
// A nil entry in Cols is a column that was not asked for (projection pushed into the source).
type Batch struct {
	Schema *Schema
	Cols   []*Column
	Len    int
}

// NewBatch returns an empty batch with room for n rows.
func NewBatch(s *Schema, n int) *Batch {
	b := &Batch{Schema: s, Cols: make([]*Column, len(s.Fields))}
	for i, f := range s.Fields {
		b.Cols[i] = New(f.Type, n)
	}
	return b
}

// AppendRow appends boxed values in column order.
func (b *Batch) AppendRow(row ...Datum) {
	if len(row) != len(b.Cols) {
		panic(fmt.Sprintf("column: row of %d values for %d columns of %s", len(row), len(b.Cols), b.Schema.Name))
	}
	for i, d := range row {
		b.Cols[i].Append(d)
	}
	b.Len++
}

// Row boxes row i.
func (b *Batch) Row(i int) []Datum {
	out := make([]Datum, len(b.Cols))
	for j, c := range b.Cols {
		if c == nil {
			out[j] = NullDatum
			continue
		}
		out[j] = c.Datum(i)
	}
	return out
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	for _, c := range b.Cols {
		if c != nil {
			c.Reset()
		}
	}
	b.Len = 0
}

// I64 boxes a value of a kind stored in I64.
func I64(v int64) Datum { return Datum{I: v} }

// F64 boxes a Float or Double.
func F64(v float64) Datum { return Datum{F: v} }

// Str boxes a String or Binary.
func Str(s string) Datum { return Datum{S: s} }

// Bool boxes a Boolean.
func Bool(v bool) Datum {
	if v {
		return Datum{I: 1}
	}
	return Datum{}
}

// FloorMicros converts nanoseconds to microseconds, rounding towards the past.
func FloorMicros(ns int64) int64 {
	q := ns / 1000
	if ns%1000 < 0 {
		q--
	}
	return q
}
