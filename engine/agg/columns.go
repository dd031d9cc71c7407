package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/pack"
)

// packedBytes is what an accumulator writes to and reads from when its columns
// are to be short: encoders and decoders know it.
type packedBytes struct{ b []byte }

func (p *packedBytes) Write(b []byte) (int, error) {
	p.b = append(p.b, b...)
	return len(b), nil
}

func (p *packedBytes) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.b)
	p.b = p.b[n:]
	return n, nil
}

func (p *packedBytes) ReadByte() (byte, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	x := p.b[0]
	p.b = p.b[1:]
	return x, nil
}

// Pack appends the state of groups 0..n-1 in fewer bytes than Encode writes:
// numbers are coded column by column. Equal states give equal bytes.
func Pack(dst []byte, a Accumulator, n int) ([]byte, error) {
	p := &packedBytes{dst}
	err := a.Encode(p, n)
	return p.b, err
}

// Unpack replaces the state by what Pack wrote and returns the bytes behind it.
func Unpack(b []byte, a Accumulator, n int) ([]byte, error) {
	p := &packedBytes{b}
	err := a.Decode(p, n)
	return p.b, err
}

func (e *encoder) bools(v []bool) {
	if e.packed {
		e.buf = pack.AppendBools(e.buf, v)
		return
	}
	var b byte
	for i, x := range v {
		if x {
			b |= 1 << (i & 7)
		}
		if i&7 == 7 || i == len(v)-1 {
			e.byte(b)
			b = 0
		}
	}
}

func (e *encoder) ints(v []int64) {
	if e.packed {
		e.buf = pack.AppendInts(e.buf, v)
		return
	}
	for _, x := range v {
		e.varint(x)
	}
}

// counts writes integers that are not negative.
func (e *encoder) counts(v []int64) {
	if e.packed {
		e.ints(v)
		return
	}
	for _, x := range v {
		e.uvarint(uint64(x))
	}
}

func (e *encoder) floats(v []float64) {
	if e.packed {
		e.buf = pack.AppendFloats(e.buf, v)
		return
	}
	for _, x := range v {
		e.float(x)
	}
}

// decimals are mostly small: then the upper halves say nothing.
func (e *encoder) decimals(v []column.Decimal128) {
	if !e.packed {
		for _, x := range v {
			e.varint(x.Hi)
			e.uvarint(x.Lo)
		}
		return
	}
	hi, lo := make([]int64, len(v)), make([]int64, len(v))
	for i, x := range v {
		hi[i], lo[i] = x.Hi-int64(x.Lo)>>63, int64(x.Lo)
	}
	e.ints(hi)
	e.ints(lo)
}

func (e *encoder) texts(v [][]byte) {
	if e.packed {
		e.buf = pack.AppendTexts(e.buf, v)
		return
	}
	for _, x := range v {
		e.blob(x)
	}
}

// rows writes records of floats, column by column when they are packed.
func (e *encoder) rows(n, width int, get func(i int, row []float64)) {
	row := make([]float64, width)
	if !e.packed {
		for i := range n {
			get(i, row)
			e.floats(row)
		}
		return
	}
	col := make([]float64, n)
	for k := range width {
		for i := range n {
			get(i, row)
			col[i] = row[k]
		}
		e.floats(col)
	}
}

// unpack reads one packed column of n values; damaged bytes must not ask for memory.
func (d *decoder) unpack(n int, read func(b []byte) ([]byte, error)) {
	if d.err == nil && n > pack.BlockLen*(len(d.packed.b)+1) {
		d.fail("a packed column is cut off")
	}
	if d.err != nil {
		return
	}
	rest, err := read(d.packed.b)
	if err != nil {
		d.err = err
		return
	}
	d.packed.b = rest
}

func (d *decoder) bools(n int) []bool {
	if d.packed != nil {
		var out []bool
		d.unpack(n, func(b []byte) ([]byte, error) { out = make([]bool, n); return pack.Bools(b, out) })
		return out
	}
	var out []bool
	var b byte
	for i := 0; i < n && d.err == nil; i++ {
		if i&7 == 0 {
			b, d.err = d.r.ReadByte()
		}
		out = append(out, b&(1<<(i&7)) != 0)
	}
	return out
}

func (d *decoder) ints(n int) []int64 {
	if d.packed != nil {
		var out []int64
		d.unpack(n, func(b []byte) ([]byte, error) { out = make([]int64, n); return pack.Ints(b, out) })
		return out
	}
	var out []int64
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, d.varint())
	}
	return out
}

func (d *decoder) counts(n int) []int64 {
	if d.packed != nil {
		return d.ints(n)
	}
	var out []int64
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, int64(d.uvarint()))
	}
	return out
}

func (d *decoder) floats(n int) []float64 {
	if d.packed != nil {
		var out []float64
		d.unpack(n, func(b []byte) ([]byte, error) { out = make([]float64, n); return pack.Floats(b, out) })
		return out
	}
	var out []float64
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, d.float())
	}
	return out
}

func (d *decoder) decimals(n int) []column.Decimal128 {
	if d.packed != nil {
		hi, lo := d.ints(n), d.ints(n)
		if d.err != nil {
			return nil
		}
		out := make([]column.Decimal128, n)
		for i := range out {
			out[i] = column.Decimal128{Hi: hi[i] + lo[i]>>63, Lo: uint64(lo[i])}
		}
		return out
	}
	var out []column.Decimal128
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, column.Decimal128{Hi: d.varint(), Lo: d.uvarint()})
	}
	return out
}

func (d *decoder) texts(n int) [][]byte {
	var out [][]byte
	if d.packed != nil {
		d.unpack(n, func(b []byte) ([]byte, error) { out = make([][]byte, n); return pack.Texts(b, out) })
		return out
	}
	for i := 0; i < n && d.err == nil; i++ {
		out = append(out, d.blob())
	}
	return out
}

// rows reads what encoder.rows wrote.
func (d *decoder) rows(n, width int, put func(i int, row []float64)) {
	row := make([]float64, width)
	if d.packed == nil {
		for i := 0; i < n && d.err == nil; i++ {
			for k := range row {
				row[k] = d.float()
			}
			put(i, row)
		}
		return
	}
	cols := make([][]float64, width)
	for k := range cols {
		cols[k] = d.floats(n)
	}
	for i := 0; i < n && d.err == nil; i++ {
		for k := range row {
			row[k] = cols[k][i]
		}
		put(i, row)
	}
}
