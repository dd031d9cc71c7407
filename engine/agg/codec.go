package agg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"signalbox/engine/column"
)

// maxCount bounds every count read from a snapshot before memory is taken for it.
const maxCount = 1 << 31

var errShort = errors.New("value is cut off")

// appendCell appends row i of a column in a form where equal keys give equal
// bytes: one zero, one NaN.
func appendCell(dst []byte, c *column.Column, i int) []byte {
	return appendDatum(dst, c.Type, c.Datum(i), true)
}

// appendDatum appends a self-delimiting form of d.
func appendDatum(dst []byte, t column.Type, d column.Datum, canon bool) []byte {
	if d.Null || t.Kind == column.Void {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	switch t.Kind.Storage() {
	case column.StoreI64:
		return binary.AppendVarint(dst, d.I)
	case column.StoreF64:
		if canon {
			return binary.LittleEndian.AppendUint64(dst, floatWord(d.F))
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(d.F))
	case column.StoreDict:
		dst = binary.AppendUvarint(dst, uint64(len(d.S)))
		return append(dst, d.S...)
	case column.StoreDec:
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.Dec.Hi))
		return binary.LittleEndian.AppendUint64(dst, d.Dec.Lo)
	}
	dst = binary.AppendUvarint(dst, uint64(len(d.L)))
	for i, m := range d.L {
		dst = appendDatum(dst, memberType(t, i), m, canon)
	}
	return dst
}

// memberType is the type of element i of a nested datum.
func memberType(t column.Type, i int) column.Type {
	switch {
	case t.Kind == column.Struct && i < len(t.Fields):
		return t.Fields[i].Type
	case t.Kind == column.Map && i%2 == 0 && t.Key != nil:
		return *t.Key
	case t.Elem != nil:
		return *t.Elem
	}
	return column.Type{}
}

// readDatum reads what appendDatum wrote and returns the rest.
func readDatum(t column.Type, b []byte) (column.Datum, []byte, error) {
	if len(b) == 0 {
		return column.NullDatum, nil, errShort
	}
	null := b[0] == 0
	b = b[1:]
	if null {
		return column.NullDatum, b, nil
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		v, n := binary.Varint(b)
		if n <= 0 {
			return column.NullDatum, nil, errShort
		}
		return column.I64(v), b[n:], nil
	case column.StoreF64:
		if len(b) < 8 {
			return column.NullDatum, nil, errShort
		}
		return column.F64(wordFloat(binary.LittleEndian.Uint64(b))), b[8:], nil
	case column.StoreDict:
		v, n := binary.Uvarint(b)
		if n <= 0 || v > uint64(len(b)-n) {
			return column.NullDatum, nil, errShort
		}
		return column.Str(string(b[n : n+int(v)])), b[n+int(v):], nil
	case column.StoreDec:
		if len(b) < 16 {
			return column.NullDatum, nil, errShort
		}
		d := column.Decimal128{Hi: int64(binary.LittleEndian.Uint64(b)), Lo: binary.LittleEndian.Uint64(b[8:])}
		return column.Datum{Dec: d}, b[16:], nil
	case column.StoreAny:
		return readNested(t, b)
	}
	return column.NullDatum, b, nil
}

func readNested(t column.Type, b []byte) (column.Datum, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > uint64(len(b)-n) {
		return column.NullDatum, nil, errShort
	}
	b = b[n:]
	d := column.Datum{L: make([]column.Datum, 0, v)}
	for i := 0; i < int(v); i++ {
		m, rest, err := readDatum(memberType(t, i), b)
		if err != nil {
			return column.NullDatum, nil, err
		}
		d.L, b = append(d.L, m), rest
	}
	return d, b, nil
}

func wordFloat(w uint64) float64 { return math.Float64frombits(w) }

// encodeBlock is how many bytes an encoder gathers before it writes them.
const encodeBlock = 64 << 10

// encoder writes varints and slices in blocks; the first error sticks.
type encoder struct {
	w      io.Writer
	buf    []byte
	packed bool // see Pack
	err    error
}

func newEncoder(w io.Writer) *encoder {
	_, packed := w.(*packedBytes)
	return &encoder{w: w, packed: packed}
}

// full hands a gathered block on.
func (e *encoder) full() {
	if e.err == nil && len(e.buf) > 0 {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *encoder) spill() {
	if len(e.buf) >= encodeBlock {
		e.full()
	}
}

func (e *encoder) byte(b byte) {
	e.buf = append(e.buf, b)
	e.spill()
}

func (e *encoder) uvarint(v uint64) {
	e.buf = binary.AppendUvarint(e.buf, v)
	e.spill()
}

func (e *encoder) varint(v int64) {
	e.buf = binary.AppendVarint(e.buf, v)
	e.spill()
}

func (e *encoder) float(v float64) {
	e.buf = binary.LittleEndian.AppendUint64(e.buf, math.Float64bits(v))
	e.spill()
}

func (e *encoder) blob(b []byte) {
	e.buf = append(binary.AppendUvarint(e.buf, uint64(len(b))), b...)
	e.spill()
}

func (e *encoder) flush() error {
	e.full()
	return e.err
}

// byteReader is what a decoder needs: it must not read ahead of what belongs to it.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// oneByte adds ReadByte to a reader without reading ahead.
type oneByte struct {
	io.Reader
	b [1]byte
}

func (o *oneByte) ReadByte() (byte, error) {
	_, err := io.ReadFull(o.Reader, o.b[:])
	return o.b[0], err
}

// decoder reads what encoder wrote; the first error sticks and zero values follow.
type decoder struct {
	r      byteReader
	packed *packedBytes // not nil: Pack wrote it
	err    error
}

// newDecoder reads exactly its own bytes when r is an io.ByteReader or not.
func newDecoder(r io.Reader) *decoder {
	if br, ok := r.(byteReader); ok {
		p, _ := r.(*packedBytes)
		return &decoder{r: br, packed: p}
	}
	return &decoder{r: &oneByte{Reader: r}}
}

func (d *decoder) fail(msg string) {
	if d.err == nil {
		d.err = errors.New(msg)
	}
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(d.r)
	d.err = err
	return v
}

func (d *decoder) varint() int64 {
	if d.err != nil {
		return 0
	}
	v, err := binary.ReadVarint(d.r)
	d.err = err
	return v
}

func (d *decoder) float() float64 {
	var b [8]byte
	if d.err == nil {
		_, d.err = io.ReadFull(d.r, b[:])
	}
	return wordFloat(binary.LittleEndian.Uint64(b[:]))
}

func (d *decoder) count() int {
	v := d.uvarint()
	if v >= maxCount {
		d.fail(fmt.Sprintf("count %d is out of range", v))
		return 0
	}
	return int(v)
}

// blob reads a byte string, taking memory only as the bytes really arrive.
func (d *decoder) blob() []byte {
	n := d.count()
	if d.err != nil {
		return nil
	}
	var out []byte
	for len(out) < n {
		step := min(n-len(out), 1<<16)
		at := len(out)
		out = append(out, make([]byte, step)...)
		if _, d.err = io.ReadFull(d.r, out[at:]); d.err != nil {
			return nil
		}
	}
	return out
}

func (d *decoder) datum(t column.Type) column.Datum {
	b := d.blob()
	if d.err != nil {
		return column.NullDatum
	}
	v, rest, err := readDatum(t, b)
	if err == nil && len(rest) > 0 {
		err = errors.New("value is too long")
	}
	d.err = err
	return v
}

// positive refuses counts below 0, and of 0 where has says that there are values.
func (d *decoder) positive(has []bool, counts []int64) {
	for i, c := range counts {
		if c < 0 || c == 0 && i < len(has) && has[i] {
			d.fail("a count is out of range")
		}
	}
}
