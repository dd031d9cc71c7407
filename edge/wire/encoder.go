package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"unicode/utf8"

	"signalbox/engine/column"
)

// Encoder writes frames and keeps its scratch memory between them. The zero
// Encoder is ready. Not safe for concurrent use.
type Encoder struct {
	names map[string]byte
	crc   *crc32.Table
	body  []byte
	ints  []int64 // the values that are not NULL, scaled
	tmp   []int64 // differences
	reals []float64
	local []uint32 // code in the column's Dict -> code in the frame + 1
	used  []uint32 // codes of the column's Dict in order of first use
}

// EncodeFrame appends the canonical frame of b to dst. The same rows give the same bytes on every machine.
func EncodeFrame(dst []byte, b *column.Batch) ([]byte, error) {
	var e Encoder
	return e.Encode(dst, b)
}

// Encode appends the canonical frame of b to dst; on an error dst is returned unchanged.
// Codes of dictionaries, values under NULLs and empty masks do not show in the bytes.
func (e *Encoder) Encode(dst []byte, b *column.Batch) ([]byte, error) {
	if e.names == nil {
		e.names, e.crc = nameCodes(), crcTable()
	}
	if err := checkBatch(b); err != nil {
		return dst, err
	}
	start := len(dst)
	out := binary.AppendUvarint(append(dst, frameVersion), uint64(b.Len))
	out, err := appendSchema(out, e.names, b.Schema)
	if err != nil {
		return dst, err
	}
	for i, c := range b.Cols {
		if e.body, err = e.column(e.body[:0], c, b.Len); err != nil {
			return dst, fmt.Errorf("wire: frame of %s, column %s: %w", b.Schema.Name, b.Schema.Fields[i].Name, err)
		}
		if b.Len > smallFrame {
			out = binary.AppendUvarint(out, uint64(len(e.body)))
		}
		out = append(out, e.body...)
	}
	out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(out[start:], e.crc))
	if len(out)-start > MaxBatchBytes {
		return dst, fmt.Errorf("wire: frame of %s takes %d bytes, at most %d are allowed: put fewer rows in it", b.Schema.Name, len(out)-start, MaxBatchBytes)
	}
	return out, nil
}

func checkBatch(b *column.Batch) error {
	switch {
	case len(b.Cols) != len(b.Schema.Fields):
		return fmt.Errorf("wire: batch of %s has %d columns, its schema %d", b.Schema.Name, len(b.Cols), len(b.Schema.Fields))
	case b.Len > MaxFrameRows:
		return fmt.Errorf("wire: batch of %s has %d rows, at most %d are allowed in a frame", b.Schema.Name, b.Len, MaxFrameRows)
	case b.Len*cellWeight(b.Schema) > MaxFrameCells:
		return fmt.Errorf("wire: batch of %s has %d rows of %d columns, at most %d values are allowed in a frame", b.Schema.Name, b.Len, len(b.Cols), MaxFrameCells)
	}
	if t := b.Schema.Time; t >= 0 && t < len(b.Schema.Fields) && !isTime(b.Schema.Fields[t].Type.Kind) {
		return fmt.Errorf("wire: time column of %s is %s, it must be timestamp_ns or timestamp", b.Schema.Name, b.Schema.Fields[t].Type)
	}
	for i, c := range b.Cols {
		if c == nil || c.Len() != b.Len || !c.Type.Equal(b.Schema.Fields[i].Type) {
			return fmt.Errorf("wire: column %s of %s is not there, not of its type or not of %d rows", b.Schema.Fields[i].Name, b.Schema.Name, b.Len)
		}
	}
	return nil
}

func isTime(k column.Kind) bool { return k == column.TimestampNS || k == column.Timestamp }

// Bits of a body's head byte.
const (
	headMode  = 7
	headNulls = 8
	headExp   = 4 // shift
)

func (e *Encoder) column(dst []byte, c *column.Column, rows int) ([]byte, error) {
	at := len(dst)
	dst = append(dst, 0)
	if c.Type.Kind == column.Void {
		return dst, nil
	}
	valid := rows
	if c.HasNulls() {
		dst[at] |= headNulls
		dst, valid = appendMask(dst, c, rows)
	}
	if valid == 0 {
		return dst, nil
	}
	switch c.Type.Kind.Storage() {
	case column.StoreI64:
		v := dense(c, c.I64, &e.ints)
		exp := 0
		if isTime(c.Type.Kind) {
			v, exp = e.unit(v)
		}
		return e.vector(dst, at, v, exp), nil
	case column.StoreF64:
		return e.doubles(dst, at, dense(c, c.F64, &e.reals)), nil
	case column.StoreDict:
		return e.strings(dst, at, c, rows)
	case column.StoreDec:
		return e.decimals(dst, at, c, rows), nil
	}
	return e.nested(dst, c, rows)
}

// vector writes integers and completes the head byte at dst[at].
func (e *Encoder) vector(dst []byte, at int, v []int64, exp int) []byte {
	s := statsOf(v)
	mode := chooseInts(v, &s)
	if mode == modeDelta || mode == modeDeltaDel {
		e.tmp = grow(e.tmp, len(v))
	}
	dst[at] |= byte(mode | exp<<headExp)
	return appendInts(dst, mode, v, e.tmp, &s)
}

// unit divides times by the largest of 10^9, 10^6 and 10^3 that leaves no rest.
func (e *Encoder) unit(v []int64) ([]int64, int) {
	for exp := 9; exp > 0; exp -= 3 {
		u := intPow10[exp]
		if !divisible(v, u) {
			continue
		}
		if len(e.ints) == 0 || &v[0] != &e.ints[0] { // the column's own memory is not ours to change
			e.ints = append(e.ints[:0], v...)
			v = e.ints
		}
		for i := range v {
			v[i] /= u
		}
		return v, exp
	}
	return v, 0
}

var intPow10 = [...]int64{1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

func divisible(v []int64, u int64) bool {
	for _, x := range v {
		if x%u != 0 {
			return false
		}
	}
	return true
}

func (e *Encoder) doubles(dst []byte, at int, v []float64) []byte {
	e.ints = grow(e.ints, len(v))
	if exp, ok := scale(v, e.ints); ok {
		return e.vector(dst, at, e.ints[:len(v)], exp)
	}
	start := len(dst)
	dst = appendXOR(dst, v)
	mode := modeXOR
	if len(dst)-start > 8*len(v) {
		dst, mode = appendRaw(dst[:start], v), modeRaw
	}
	dst[at] |= byte(mode | notScaled<<headExp)
	return dst
}

func (e *Encoder) strings(dst []byte, at int, c *column.Column, rows int) ([]byte, error) {
	if err := e.renumber(c, rows); err != nil {
		return dst, err
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.used)))
	for _, code := range e.used {
		s := c.Dict.Values[code]
		if len(s) > MaxStringBytes {
			return dst, fmt.Errorf("value of %d bytes, at most %d are allowed", len(s), MaxStringBytes)
		}
		if c.Type.Kind == column.String && !utf8.ValidString(s) {
			return dst, fmt.Errorf("value %.40q is not UTF-8", s)
		}
		dst = binary.AppendUvarint(dst, uint64(len(s)))
	}
	for _, code := range e.used {
		dst = append(dst, c.Dict.Values[code]...)
	}
	if len(e.used) == 1 {
		return dst, nil // every code is 0
	}
	return e.vector(dst, at, e.ints, 0), nil
}

// renumber leaves the used codes in order of first use in e.used and the rows' new codes in e.ints.
func (e *Encoder) renumber(c *column.Column, rows int) error {
	e.local = grow(e.local, c.Dict.Len())
	clear(e.local)
	e.used, e.ints = e.used[:0], grow(e.ints, rows)[:0]
	for i, code := range c.Codes[:rows] {
		if c.Nulls != nil && c.IsNull(i) {
			continue
		}
		if int(code) >= len(e.local) {
			return fmt.Errorf("row %d has code %d of a dictionary of %d", i, code, len(e.local))
		}
		l := e.local[code]
		if l == 0 {
			e.used = append(e.used, code)
			l = uint32(len(e.used))
			e.local[code] = l
		}
		e.ints = append(e.ints, int64(l-1))
	}
	return nil
}

func (e *Encoder) decimals(dst []byte, at int, c *column.Column, rows int) []byte {
	for half := range 2 {
		e.ints = e.ints[:0]
		for i, d := range c.Dec[:rows] {
			switch {
			case c.IsNull(i):
			case half == 0:
				e.ints = append(e.ints, d.Hi)
			default:
				e.ints = append(e.ints, int64(d.Lo))
			}
		}
		if half == 1 {
			at = len(dst)
			dst = append(dst, 0)
		}
		dst = e.vector(dst, at, e.ints, 0)
	}
	return dst
}

func (e *Encoder) nested(dst []byte, c *column.Column, rows int) ([]byte, error) {
	left := MaxNested
	var err error
	for i := range rows {
		if c.IsNull(i) {
			continue
		}
		d := c.Any[i]
		d.Null = false
		if dst, err = appendDatum(dst, c.Type, d, &left); err != nil {
			return dst, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return dst, nil
}

// dense returns the values that are not NULL: the column's own slice when all are.
func dense[T any](c *column.Column, v []T, scratch *[]T) []T {
	if !c.HasNulls() {
		return v[:c.Len()]
	}
	out := (*scratch)[:0]
	for i, x := range v[:c.Len()] {
		if !c.IsNull(i) {
			out = append(out, x)
		}
	}
	*scratch = out
	return out
}

// Kinds of masks: as bits, or as lengths of runs, not NULL first.
const (
	maskBits byte = 0
	maskRuns byte = 1
)

// appendMask writes which rows are NULL in the shorter of two ways and returns how many are not.
func appendMask(dst []byte, c *column.Column, rows int) ([]byte, int) {
	at := len(dst)
	dst = append(dst, maskRuns)
	valid, run, null, nbits := 0, 0, false, (rows+7)/8
	for i := range rows {
		if c.IsNull(i) != null {
			dst = binary.AppendUvarint(dst, uint64(run))
			run, null = 0, !null
		}
		run++
		if !null {
			valid++
		}
	}
	dst = binary.AppendUvarint(dst, uint64(run))
	if len(dst)-at-1 <= nbits {
		return dst, valid
	}
	dst = append(dst[:at], maskBits)
	for i := range nbits {
		var b byte
		if i>>3 < len(c.Nulls) {
			b = byte(c.Nulls[i>>3] >> (8 * (i & 7)))
		}
		if last := rows & 7; i == nbits-1 && last != 0 {
			b &= 1<<last - 1
		}
		dst = append(dst, b)
	}
	return dst, valid
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, 1<<bits.Len(uint(n)))
	}
	return s[:n]
}
