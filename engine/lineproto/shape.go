package lineproto

import (
	"encoding/binary"
	"math"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"

	"signalbox/engine/column"
)

// op is what the scanner does with the value of a field.
type op uint8

const (
	opNone     op = iota // does not fit: never in a shape
	opInt                // I64
	opIntSmall           // I64, 8 to 32 bits
	opIntWide            // integer into a DOUBLE
	opSlow               // fits, but is left to the library
	opFloat              // F64
	opFloat32            // F64, rounded to float32
	opBool               // I64
	opString             // Codes
)

// opFor says how a value goes into a column.
func opFor(v lp.ValueKind, c column.Kind) op {
	switch v {
	case lp.Int, lp.Uint:
		switch {
		case v == lp.Uint && (c.IsIntegral() || c == column.Float || c == column.Double):
			return opSlow
		case c == column.BigInt:
			return opInt
		case c.IsIntegral():
			return opIntSmall
		case c == column.Double:
			return opIntWide
		case c == column.Float:
			return opSlow
		}
	case lp.Float:
		switch c {
		case column.Double:
			return opFloat
		case column.Float:
			return opFloat32
		}
	case lp.Bool:
		if c == column.Boolean {
			return opBool
		}
	case lp.String:
		if c == column.String {
			return opString
		}
	}
	return opNone
}

// skipOp reads a value that no column takes.
func skipOp(v lp.ValueKind) op {
	switch v {
	case lp.Int:
		return opInt
	case lp.Float:
		return opFloat
	case lp.Bool:
		return opBool
	case lp.String:
		return opString
	}
	return opSlow
}

// shapeField is a field that is expected next: its name with '=', and what to do with the value.
type shapeField struct {
	key8, mask8 uint64 // the first eight bytes of the name
	rest        string // the others
	klen        int
	op          op
	lo, hi      int64 // opIntSmall
	i64         []int64
	f64         []float64
	codes       []uint32
	dict        *column.Dict
	col         int // -1 = not wanted
}

// shape is a sequence of fields seen before. It is only a guess: a line that
// differs from it is read by the library.
type shape struct {
	fields  []shapeField
	missing []int // wanted columns that no field of it fills, the time excepted
}

// maxShapes bounds the shapes remembered for a stream.
const maxShapes = 64

// learnShape finds or makes the shape of an entry, nil when it is not an ordinary one.
func (st *stream) learnShape(e *entry) *shape {
	for _, s := range st.shapes {
		if st.matches(s, e) {
			return s
		}
	}
	if len(st.shapes) >= maxShapes {
		return nil
	}
	s := &shape{}
	filled := make([]bool, len(st.wanted))
	for i := range e.fields {
		f, ok := st.shapeField(&e.fields[i])
		if !ok {
			return nil
		}
		if f.col >= 0 {
			filled[f.col] = true
		}
		s.fields = append(s.fields, f)
	}
	for col, w := range st.wanted {
		if w && !filled[col] && col != st.schema.Time {
			s.missing = append(s.missing, col)
		}
	}
	st.bind(s)
	st.shapes = append(st.shapes, s)
	return s
}

func (st *stream) matches(s *shape, e *entry) bool {
	if len(s.fields) != len(e.fields) {
		return false
	}
	for i := range s.fields {
		f, ok := st.shapeField(&e.fields[i])
		g := &s.fields[i]
		if !ok || f.key8 != g.key8 || f.mask8 != g.mask8 || f.rest != g.rest || f.op != g.op || f.col != g.col {
			return false
		}
	}
	return true
}

func (st *stream) shapeField(f *field) (shapeField, bool) {
	for _, b := range f.key {
		if b <= ' ' || b == ',' || b == '=' || b == '\\' || b == 0x7f {
			return shapeField{}, false
		}
	}
	out := shapeField{col: -1, op: skipOp(f.kind)}
	if col, ok := st.byName[string(f.key)]; ok {
		kind := st.schema.Fields[col].Type.Kind
		out.op = opFor(f.kind, kind)
		out.lo, out.hi = intRange(kind)
		if st.wanted[col] {
			out.col = col
		}
	}
	key := append(append([]byte{}, f.key...), '=')
	var first [8]byte
	n := copy(first[:], key)
	out.klen = len(key)
	out.rest = string(key[n:])
	out.key8 = binary.LittleEndian.Uint64(first[:])
	out.mask8 = ^uint64(0) >> (8 * (8 - n))
	return out, out.op != opSlow && out.op != opNone
}

func intRange(k column.Kind) (lo, hi int64) {
	switch k {
	case column.TinyInt:
		return math.MinInt8, math.MaxInt8
	case column.SmallInt:
		return math.MinInt16, math.MaxInt16
	}
	return math.MinInt32, math.MaxInt32
}

// bind points the fields at the columns of the batch; the columns keep their
// memory from batch to batch, but a dictionary may be replaced.
func (st *stream) bind(s *shape) {
	for i := range s.fields {
		f := &s.fields[i]
		if f.col < 0 {
			continue
		}
		c := st.batch.Cols[f.col]
		f.i64, f.f64, f.codes, f.dict = c.I64, c.F64, c.Codes, c.Dict
	}
}
