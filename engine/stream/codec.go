package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"signalbox/engine/column"
)

// encoder writes state; the first error sticks.
type encoder struct {
	w   *bufio.Writer
	err error
	buf [binary.MaxVarintLen64]byte
}

func newEncoder(w io.Writer) *encoder { return &encoder{w: bufio.NewWriterSize(w, 64<<10)} }

func (e *encoder) Write(b []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	n, err := e.w.Write(b)
	e.err = err
	return n, err
}

func (e *encoder) uvarint(v uint64) { e.Write(e.buf[:binary.PutUvarint(e.buf[:], v)]) }
func (e *encoder) varint(v int64)   { e.Write(e.buf[:binary.PutVarint(e.buf[:], v)]) }
func (e *encoder) int(v int)        { e.uvarint(uint64(v)) }
func (e *encoder) bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	e.Write([]byte{b})
}
func (e *encoder) bytes(b []byte) { e.int(len(b)); e.Write(b) }
func (e *encoder) str(s string)   { e.bytes([]byte(s)) }
func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *encoder) words(w []uint64) {
	e.int(len(w))
	for _, v := range w {
		e.uvarint(v)
	}
}

// datum writes a value; the reader knows the type.
func (e *encoder) datum(t column.Type, d column.Datum) {
	if e.bool(d.Null); d.Null {
		return
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		e.varint(d.I)
	case column.StoreF64:
		binary.LittleEndian.PutUint64(e.buf[:8], math.Float64bits(d.F))
		e.Write(e.buf[:8])
	case column.StoreDict:
		e.str(d.S)
	case column.StoreDec:
		e.varint(d.Dec.Hi)
		e.uvarint(d.Dec.Lo)
	case column.StoreAny:
		e.int(len(d.L))
		for i, x := range d.L {
			e.datum(elemType(t, i), x)
		}
	}
}

// rows writes a batch of a known schema.
func (e *encoder) rows(b *column.Batch) {
	e.int(b.Len)
	for _, c := range b.Cols {
		for i := range b.Len {
			e.datum(c.Type, c.Datum(i))
		}
	}
}

// decoder reads what an encoder wrote; the first error sticks and every later read gives zero.
type decoder struct {
	r       *bufio.Reader
	err     error
	version uint32 // of the snapshot format
	v1      bool   // written by version 1, which wrote the state of an operator in one piece
	moved   bool   // see Decoder.Moved
}

func newDecoder(r io.Reader) *decoder { return &decoder{r: bufio.NewReaderSize(r, 64<<10)} }

var errState = errors.New("stream: corrupt state")

func (d *decoder) fail(err error) {
	if d.err == nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: it ends too early", errState)
		}
		d.err = err
	}
}

func (d *decoder) Read(b []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	return d.r.Read(b)
}

func (d *decoder) ReadByte() (byte, error) {
	if d.err != nil {
		return 0, d.err
	}
	return d.r.ReadByte()
}

func (d *decoder) uvarint() uint64 {
	v, err := binary.ReadUvarint(d)
	if err != nil {
		d.fail(err)
		return 0
	}
	return v
}

func (d *decoder) varint() int64 {
	v, err := binary.ReadVarint(d)
	if err != nil {
		d.fail(err)
		return 0
	}
	return v
}

// maxCount bounds every length in a state, so that damaged bytes cannot ask for memory.
const maxCount = 1 << 30

func (d *decoder) int() int {
	v := d.uvarint()
	if v > maxCount {
		d.fail(fmt.Errorf("%w: a length of %d", errState, v))
		return 0
	}
	return int(v)
}

func (d *decoder) bool() bool {
	b, err := d.ReadByte()
	if err != nil {
		d.fail(err)
	}
	return b != 0
}

func (d *decoder) bytes() []byte {
	n := d.int()
	var out []byte
	for len(out) < n && d.err == nil { // in steps, so that a wrong length meets the end before the memory
		step := min(n-len(out), 64<<10)
		at := len(out)
		out = append(out, make([]byte, step)...)
		if _, err := io.ReadFull(d.r, out[at:]); err != nil {
			d.fail(err)
		}
	}
	return out
}

func (d *decoder) str() string { return string(d.bytes()) }

func (d *decoder) words() []uint64 {
	n := d.int()
	var w []uint64
	for i := 0; i < n && d.err == nil; i++ {
		w = append(w, d.uvarint())
	}
	return w
}

func (d *decoder) datum(t column.Type) column.Datum {
	if d.bool() || d.err != nil {
		return column.NullDatum
	}
	switch t.Kind.Storage() {
	case column.StoreI64:
		return column.I64(d.varint())
	case column.StoreF64:
		var b [8]byte
		if _, err := io.ReadFull(d, b[:]); err != nil {
			d.fail(err)
		}
		return column.F64(math.Float64frombits(binary.LittleEndian.Uint64(b[:])))
	case column.StoreDict:
		return column.Str(d.str())
	case column.StoreDec:
		return column.Datum{Dec: column.Decimal128{Hi: d.varint(), Lo: d.uvarint()}}
	case column.StoreAny:
		n := d.int()
		if t.Kind == column.Struct && n != len(t.Fields) {
			d.fail(fmt.Errorf("%w: a struct of %d members, %d expected", errState, n, len(t.Fields)))
			return column.NullDatum
		}
		var l []column.Datum
		for i := 0; i < n && d.err == nil; i++ {
			l = append(l, d.datum(elemType(t, i)))
		}
		return column.Datum{L: l}
	}
	return column.NullDatum
}

func (d *decoder) rows(b *column.Batch) {
	n := d.int()
	for _, c := range b.Cols {
		for i := 0; i < n && d.err == nil; i++ {
			c.Append(d.datum(c.Type))
		}
	}
	b.Len = n
}

// Encoder writes values of the snapshot format for the engine around a pipeline.
type Encoder struct{ e *encoder }

// NewEncoder returns an encoder; Flush ends it and reports the first error.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{newEncoder(w)} }

func (s *Encoder) Uvarint(v uint64)     { s.e.uvarint(v) }
func (s *Encoder) Varint(v int64)       { s.e.varint(v) }
func (s *Encoder) Bool(v bool)          { s.e.bool(v) }
func (s *Encoder) String(v string)      { s.e.str(v) }
func (s *Encoder) Bytes(v []byte)       { s.e.bytes(v) }
func (s *Encoder) Raw(v []byte)         { s.e.Write(v) }
func (s *Encoder) Rows(b *column.Batch) { s.e.rows(b) }

// Flush writes what is buffered.
func (s *Encoder) Flush() error {
	if s.e.err == nil {
		s.e.err = s.e.w.Flush()
	}
	return s.e.err
}

// Decoder reads what an Encoder wrote. After an error every read gives zero.
type Decoder struct{ d *decoder }

// NewDecoder returns a decoder of what a version of the snapshot format wrote.
func NewDecoder(r io.Reader, version uint32) *Decoder {
	d := newDecoder(r)
	d.version, d.v1 = version, version == 1
	return &Decoder{d}
}

// Moved says that the state was written by a query with the same stateful
// operators and perhaps other filters and projections, which write nothing.
func (s *Decoder) Moved() { s.d.moved = true }

func (s *Decoder) Uvarint() uint64      { return s.d.uvarint() }
func (s *Decoder) Varint() int64        { return s.d.varint() }
func (s *Decoder) Bool() bool           { return s.d.bool() }
func (s *Decoder) String() string       { return s.d.str() }
func (s *Decoder) Bytes() []byte        { return s.d.bytes() }
func (s *Decoder) Rows(b *column.Batch) { s.d.rows(b) }
func (s *Decoder) Err() error           { return s.d.err }

// Version is the version of the snapshot format that is read.
func (s *Decoder) Version() uint32 { return s.d.version }

// saveHead writes the state of a pipeline that belongs to no operator.
func (p *Pipeline) saveHead(e *encoder) {
	e.varint(p.wm)
	e.varint(p.age)
	e.uvarint(p.index)
	e.varint(p.tick)
	e.bool(p.ended)
	for _, v := range []uint64{p.count.RowsIn, p.count.RowsOut, p.count.Late, p.count.LatePartly, p.count.Failed, p.count.StateLimited, p.count.ClosedEvict, p.count.Expired, p.count.Finals, p.count.WindowsEvict, p.count.Revised} {
		e.uvarint(v)
	}
	e.int(len(p.marks))
	for _, m := range p.marks {
		e.varint(m.late)
		e.varint(m.evict)
	}
	e.int(len(p.ops))
}

// noLock is for a capture that nothing runs beside.
type noLock struct{}

func (noLock) Lock()   {}
func (noLock) Unlock() {}

// Save writes the state of a pipeline at once.
func (p *Pipeline) Save(s *Encoder) {
	c, err := p.Capture(noLock{})
	if err != nil {
		s.e.fail(err)
		return
	}
	c.Write(s)
	c.Release()
}

// Load reads the state of a pipeline compiled from the same query.
func (p *Pipeline) Load(s *Decoder) {
	d := s.d
	p.wm, p.age, p.index, p.tick, p.ended = d.varint(), d.varint(), d.uvarint(), d.varint(), d.bool()
	for _, v := range []*uint64{&p.count.RowsIn, &p.count.RowsOut, &p.count.Late, &p.count.LatePartly, &p.count.Failed, &p.count.StateLimited, &p.count.ClosedEvict, &p.count.Expired} {
		*v = d.uvarint()
	}
	if d.version >= 3 {
		p.count.Finals, p.count.WindowsEvict = d.uvarint(), d.uvarint()
	}
	if d.version >= firstsVersion {
		p.count.Revised = d.uvarint()
	}
	if d.int() != len(p.marks) {
		d.fail(errState)
		return
	}
	for _, m := range p.marks {
		m.late, m.evict = d.varint(), d.varint()
	}
	if n := d.int(); n != len(p.ops) && !d.moved {
		d.fail(errState)
		return
	}
	for _, op := range p.ops {
		if d.err != nil {
			return
		}
		op.load(d)
		if x, ok := op.(weigher); ok && d.err == nil {
			x.weigh()
		}
	}
}

// weigher is an operator that takes no new keys while its state is too large.
// That is decided at the end of each entry, and so once more after a restore.
type weigher interface{ weigh() }
