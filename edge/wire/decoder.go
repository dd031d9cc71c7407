package wire

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
	"unicode/utf8"

	"signalbox/engine/column"
)

// Bounds of what a Decoder remembers.
const (
	maxSchemas      = 32 // schemas kept; more and the oldest is forgotten
	maxSchemaBytes  = 64 << 10
	maxInterned     = 1 << 15 // strings kept between frames
	maxInternedSize = 8 << 20 // bytes of them
)

// Decoder reads frames. It keeps schemas and strings between frames, so that
// reading many frames of a stream allocates nothing per row: the batches of one
// schema share one *column.Schema. The zero Decoder is ready. Not safe for concurrent use.
type Decoder struct {
	// SharedDict > 0: a column keeps one growing dictionary over frames until it
	// has this many values, so that codes can be compared between batches.
	// 0: each batch has dictionaries of its own.
	SharedDict int

	crc     *crc32.Table
	schemas []*knownSchema
	strings map[string]interned
	size    int    // bytes in strings
	turn    uint64 // the dictionary being read, to find values that come twice
	ints    []int64
	reals   []float64
	codes   []uint32
}

type interned struct {
	s    string
	turn uint64
}

type knownSchema struct {
	raw    []byte // as in the frame
	schema *column.Schema
	dicts  []knownDict // SharedDict > 0
}

// DecodeOptions say what to read of a frame, and into what.
type DecodeOptions struct {
	Columns []string      // wanted columns by name; nil = all. The others have a nil entry in Batch.Cols
	Reuse   *column.Batch // its memory is taken for the result, which may be the same batch; nil = new memory
}

// DecodeFrame reads a frame into a new batch. Any bytes give a batch or an error that wraps ErrCorrupt.
func DecodeFrame(src []byte, opt DecodeOptions) (*column.Batch, error) {
	var d Decoder
	return d.Decode(src, opt)
}

// Decode reads a frame. Any bytes give a batch or an error that wraps ErrCorrupt; then opt.Reuse is garbage.
func (d *Decoder) Decode(src []byte, opt DecodeOptions) (*column.Batch, error) {
	if d.crc == nil {
		d.crc, d.strings = crcTable(), map[string]interned{}
	}
	r := reader{b: src, what: "frame"}
	switch n := len(src) - 4; {
	case len(src) > MaxBatchBytes:
		r.fail("%d bytes, at most %d are allowed", len(src), MaxBatchBytes)
	case n < 0:
		r.fail("ends too early")
	case crc32.Checksum(src[:n], d.crc) != binary.LittleEndian.Uint32(src[n:]):
		r.fail("CRC does not match the %d bytes before it", n)
	default:
		r.b = src[:n]
	}
	rows := r.frameStart()
	known := d.schema(&r)
	if r.err == nil {
		r.checkCells(rows, known.schema)
	}
	if r.err != nil {
		return nil, r.err
	}
	b := shape(opt.Reuse, known.schema)
	b.Len = rows
	for i := range b.Cols {
		d.body(&r, known, b, i, wanted(opt.Columns, known.schema.Fields[i].Name))
		if r.err != nil {
			return nil, r.err
		}
	}
	return b, r.end()
}

func wanted(names []string, name string) bool { return names == nil || slices.Contains(names, name) }

// shape gives b the columns of a schema, keeping the memory of those that have the type already.
func shape(b *column.Batch, s *column.Schema) *column.Batch {
	if b == nil {
		b = &column.Batch{}
	}
	if b.Schema != s {
		b.Schema = s
		b.Cols = slices.Grow(b.Cols[:0], len(s.Fields))[:len(s.Fields)]
	}
	return b
}

// schema reads the schema, or finds it among the known ones by its bytes: an
// encoding of a schema is never the beginning of another one.
func (d *Decoder) schema(r *reader) *knownSchema {
	if r.err != nil {
		return nil
	}
	for i, k := range d.schemas {
		if bytes.HasPrefix(r.b[r.off:], k.raw) {
			r.off += len(k.raw)
			if i > 0 { // the last used is looked at first
				copy(d.schemas[1:i+1], d.schemas[:i])
				d.schemas[0] = k
			}
			return k
		}
	}
	start := r.off
	s := r.schema()
	r.checkSchema(s)
	if r.err != nil {
		return nil
	}
	k := &knownSchema{schema: s, dicts: make([]knownDict, len(s.Fields))}
	if r.off-start > maxSchemaBytes {
		return k
	}
	k.raw = bytes.Clone(r.b[start:r.off])
	if len(d.schemas) >= maxSchemas {
		d.schemas = d.schemas[:maxSchemas-1]
	}
	d.schemas = slices.Insert(d.schemas, 0, k)
	return k
}

func (r *reader) checkSchema(s *column.Schema) {
	if r.err != nil {
		return
	}
	if s.Time >= 0 && !isTime(s.Fields[s.Time].Type.Kind) {
		r.fail("time column %s is %s", s.Fields[s.Time].Name, s.Fields[s.Time].Type)
	}
	seen := make(map[string]bool, len(s.Fields))
	for _, f := range s.Fields {
		if seen[f.Name] {
			r.fail("column %s comes twice", f.Name)
		}
		seen[f.Name] = true
	}
}

// body reads or skips the values of column i.
func (d *Decoder) body(r *reader, k *knownSchema, b *column.Batch, i int, want bool) {
	end := -1
	if b.Len > smallFrame {
		n := r.count(MaxBatchBytes, "bytes of a column")
		end = r.off + n
		if !want && r.err == nil {
			r.off, b.Cols[i] = end, nil
			return
		}
	}
	t := k.schema.Fields[i].Type
	if c := b.Cols[i]; c == nil || !sameType(c.Type, t) {
		b.Cols[i] = &column.Column{Type: t}
	}
	d.values(r, k, i, b.Cols[i], b.Len)
	if end >= 0 && r.off != end {
		r.fail("column %s does not end where it should", k.schema.Fields[i].Name)
	}
	if !want {
		b.Cols[i] = nil
	}
}

// sameType is Type.Equal with a short way for the types without members.
func sameType(a, b column.Type) bool {
	return a.Kind == b.Kind && (a.Kind.Storage() != column.StoreAny && a.Precision == b.Precision && a.Scale == b.Scale || a.Equal(b))
}

func (d *Decoder) values(r *reader, k *knownSchema, i int, c *column.Column, rows int) {
	head := r.byte()
	c.Resize(rows)
	valid := rows
	if head&headNulls != 0 {
		valid = r.mask(c, rows)
	}
	if r.err != nil {
		return
	}
	mode, exp := int(head&headMode), int(head>>headExp)
	if kind := c.Type.Kind; kind == column.Void || valid == 0 || rows == 0 {
		if head&^headNulls != 0 || kind == column.Void && head != 0 {
			r.fail("head byte %#x of a column without values", head)
		}
		d.noValues(c, rows)
		return
	}
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		d.integers(r, c, valid, mode, exp)
	case column.StoreF64:
		d.doubles(r, c, valid, mode, exp)
	case column.StoreDict:
		d.dictionary(r, k, i, c, valid, mode, exp)
	case column.StoreDec:
		d.decimals(r, c, valid, mode, exp)
	default:
		nestedValues(r, c, rows, head)
	}
}

// noValues makes an all-NULL column hold valid values.
func (d *Decoder) noValues(c *column.Column, rows int) {
	clear(c.I64)
	clear(c.F64)
	clear(c.Codes)
	clear(c.Dec)
	clear(c.Any)
	if c.Type.Kind.Storage() == column.StoreDict {
		c.Dict = column.DictOf([]string{""})
	}
	c.SetLen(rows)
}

func (d *Decoder) integers(r *reader, c *column.Column, valid, mode, exp int) {
	out := c.I64
	if valid < len(out) {
		d.ints = grow(d.ints, valid)
		out = d.ints
	}
	r.ints(mode, out)
	if exp > 0 {
		r.multiply(c.Type.Kind, out, exp)
	}
	r.narrow(c.Type.Kind, out)
	if r.err == nil && valid < len(c.I64) {
		spread(c, c.I64, out)
	}
}

func (r *reader) multiply(k column.Kind, v []int64, exp int) {
	if exp > 9 || exp%3 != 0 || !isTime(k) {
		r.fail("exponent %d of a %s", exp, k)
		return
	}
	u := intPow10[exp]
	for i, x := range v {
		v[i] = x * u // wraps on garbage: still a valid time
	}
}

// narrow holds values to the range of their kind.
func (r *reader) narrow(k column.Kind, v []int64) {
	if r.err != nil || k == column.BigInt || k > column.Date && k != column.IntervalYM {
		return
	}
	lo, hi := v[0], v[0]
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	r.inRange(k, lo, hi)
}

func (r *reader) inRange(k column.Kind, lo, hi int64) {
	var a, b int64
	switch k {
	case column.Boolean:
		a, b = 0, 1
	case column.TinyInt:
		a, b = math.MinInt8, math.MaxInt8
	case column.SmallInt:
		a, b = math.MinInt16, math.MaxInt16
	case column.Int, column.Date, column.IntervalYM:
		a, b = math.MinInt32, math.MaxInt32
	default:
		return
	}
	if lo < a || hi > b {
		r.fail("value out of the range of %s", k)
	}
}

// spread puts the dense values at the rows that are not NULL.
func spread[T any](c *column.Column, out, dense []T) {
	var zero T
	j := 0
	for i := range out {
		if c.IsNull(i) {
			out[i] = zero
			continue
		}
		out[i] = dense[j]
		j++
	}
}

func (d *Decoder) doubles(r *reader, c *column.Column, valid, mode, exp int) {
	out := c.F64
	if valid < len(out) {
		d.reals = grow(d.reals, valid)
		out = d.reals
	}
	switch {
	case exp <= maxExponent:
		d.ints = grow(d.ints, valid)
		if r.ints(mode, d.ints); r.err == nil {
			unscale(out, d.ints, exp)
		}
	case mode == modeXOR:
		r.xor(out)
	case mode == modeRaw:
		r.raw(out)
	default:
		r.fail("unknown mode %d of a vector of doubles", mode)
	}
	if r.err != nil {
		return
	}
	if c.Type.Kind == column.Float {
		for _, f := range out {
			r.isFloat(column.Float, f)
		}
	}
	if valid < len(c.F64) {
		spread(c, c.F64, out)
	}
}

func (r *reader) isFloat(k column.Kind, f float64) {
	if k == column.Float && float64(float32(f)) != f && f == f {
		r.fail("%v is not a float", f)
	}
}

// dictionary reads the dictionary and the codes of a string column.
func (d *Decoder) dictionary(r *reader, k *knownSchema, i int, c *column.Column, valid, mode, exp int) {
	n := r.count(valid, "dictionary values")
	if n == 0 {
		r.fail("dictionary without values")
	}
	if exp != 0 || n == 1 && mode != 0 {
		r.fail("head byte of a string column")
	}
	d.ints = grow(d.ints, max(n, valid))
	total := 0
	for j := range n {
		l := r.uvarint()
		if l > MaxStringBytes {
			r.fail("value of %d bytes, at most %d are allowed", l, MaxStringBytes)
		}
		if r.err != nil {
			return
		}
		d.ints[j] = int64(l)
		total += int(l)
	}
	if text := r.take(total); r.err == nil {
		d.dict(r, k, i, c, text, n)
	}
	if r.err != nil {
		return
	}
	d.readCodes(r, c, n, valid, mode)
}

// dict leaves the column's dictionary in c.Dict and the meaning of the frame's codes in d.codes.
func (d *Decoder) dict(r *reader, k *knownSchema, i int, c *column.Column, text []byte, n int) {
	d.turn++
	d.codes = grow(d.codes, n)
	if d.SharedDict > 0 {
		d.sharedDict(r, &k.dicts[i], c, text, n)
		return
	}
	if len(d.strings) > maxInterned || d.size > maxInternedSize { // never within a dictionary: see intern
		clear(d.strings)
		d.size = 0
	}
	values := make([]string, n)
	for j := range n {
		l := int(d.ints[j])
		s, twice := d.intern(text[:l])
		text = text[l:]
		if twice {
			r.fail("value %.40q comes twice in a dictionary", s)
		}
		if c.Type.Kind == column.String && !utf8.ValidString(s) {
			r.fail("value %.40q is not UTF-8", s)
		}
		d.codes[j], values[j] = uint32(j), s
	}
	c.Dict = column.DictOf(values)
}

// intern returns the one copy of b, and whether the dictionary being read had it already.
func (d *Decoder) intern(b []byte) (s string, twice bool) {
	if e, ok := d.strings[string(b)]; ok {
		twice = e.turn == d.turn
		if !twice {
			e.turn = d.turn
			d.strings[e.s] = e
		}
		return e.s, twice
	}
	s = string(b)
	d.strings[s] = interned{s: s, turn: d.turn}
	d.size += len(s)
	return s, false
}

func (d *Decoder) readCodes(r *reader, c *column.Column, n, valid, mode int) {
	out := c.Codes
	if n == 1 {
		for i := range out {
			out[i] = d.codes[0]
		}
		return
	}
	v := d.ints[:valid]
	if r.ints(mode, v); r.err != nil {
		return
	}
	for _, x := range v {
		if uint64(x) >= uint64(n) {
			r.fail("code %d of a dictionary of %d", x, n)
			return
		}
	}
	if valid == len(out) {
		for i, x := range v {
			out[i] = d.codes[x]
		}
		return
	}
	j := 0
	for i := range out {
		out[i] = d.codes[0]
		if !c.IsNull(i) {
			out[i] = d.codes[v[j]]
			j++
		}
	}
}

func (d *Decoder) decimals(r *reader, c *column.Column, valid, mode, exp int) {
	d.ints = grow(d.ints, 2*valid)
	hi, lo := d.ints[:valid], d.ints[valid:2*valid]
	r.ints(mode, hi)
	head := r.byte()
	if exp != 0 || head&^headMode != 0 {
		r.fail("head byte of a decimal column")
	}
	if r.err != nil {
		return
	}
	if r.ints(int(head), lo); r.err != nil {
		return
	}
	j := 0
	for i := range c.Dec {
		c.Dec[i] = column.Decimal128{}
		if !c.IsNull(i) {
			c.Dec[i] = column.Decimal128{Hi: hi[j], Lo: uint64(lo[j])}
			j++
		}
	}
}

func nestedValues(r *reader, c *column.Column, rows int, head byte) {
	if head&^headNulls != 0 {
		r.fail("head byte %#x of a nested column", head)
	}
	left := MaxNested
	for i := range rows {
		c.Any[i] = column.NullDatum
		if r.err == nil && !c.IsNull(i) {
			c.Any[i] = r.datum(c.Type, &left)
		}
	}
}

// mask reads which rows are NULL and returns how many are not.
func (r *reader) mask(c *column.Column, rows int) (valid int) {
	kind := r.byte()
	words := (rows + 63) / 64
	if cap(c.Nulls) < words {
		c.Nulls = make([]uint64, words)
	}
	c.Nulls = c.Nulls[:words]
	clear(c.Nulls)
	switch kind {
	case maskBits:
		return r.bitMask(c, rows)
	case maskRuns:
		return r.runMask(c, rows)
	}
	r.fail("unknown kind %d of a mask", kind)
	return 0
}

func (r *reader) bitMask(c *column.Column, rows int) (valid int) {
	b := r.take((rows + 7) / 8)
	if r.err != nil {
		return 0
	}
	for i, x := range b {
		c.Nulls[i>>3] |= uint64(x) << (8 * (i & 7))
	}
	if last := rows & 7; last != 0 && b[len(b)-1]>>last != 0 {
		r.fail("mask longer than %d rows", rows)
	}
	for i := range rows {
		if !c.IsNull(i) {
			valid++
		}
	}
	return valid
}

func (r *reader) runMask(c *column.Column, rows int) (valid int) {
	null := false
	for at := 0; at < rows && r.err == nil; null = !null {
		n := r.uvarint()
		if n > uint64(rows-at) || n == 0 && at > 0 {
			r.fail("run of %d in a mask, %d rows are left", n, rows-at)
			return 0
		}
		for end := at + int(n); at < end; at++ {
			if null {
				c.Nulls[at>>6] |= 1 << (at & 63)
			} else {
				valid++
			}
		}
	}
	return valid
}
