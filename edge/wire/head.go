package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf8"

	"signalbox/engine/column"
)

// A frame:
//
//	version                      1 byte
//	rows                         uvarint
//	stream, columns, time+1      name, uvarint, uvarint (0 = no time column)
//	each column                  name, type
//	each column                  [length of the body, uvarint, when rows > smallFrame] body
//	CRC32C of all the above      4 bytes, little endian
//
// A body: head byte (bits 0-2 mode, bit 3 has NULLs, bits 4-7 exponent of ten),
// the mask when there are NULLs, the dictionary of a string, the values that are not NULL.

const frameVersion = 1

// smallFrame is the number of rows up to which bodies carry no length: skipping
// a column of so few rows costs no more than decoding it.
const smallFrame = 64

// Bounds of a frame beside those in wire.go.
const (
	MaxFrameCells = 1 << 21             // rows × columns, 16 MiB decoded; boxed values weigh more (cellWeight)
	MaxTypeDepth  = 8                   // nesting of ARRAY, STRUCT and MAP
	MaxTypes      = 4 * MaxFrameColumns // columns and members of their types in a frame
	MaxNested     = 1 << 17             // boxed values in the nested columns of a frame
)

func crcTable() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // the standard library keeps one instance

// FrameInfo is what the head of a frame says.
type FrameInfo struct {
	Stream string
	Rows   int
	Cols   int
	Cells  int // rows × columns, weighed by what a decoded value takes; at most MaxFrameCells
}

// Info reads the head of a frame. It decodes no values and does not check the CRC.
func Info(src []byte) (FrameInfo, error) {
	r := reader{b: src, what: "frame"}
	rows := r.frameStart()
	s := r.schema()
	if r.err == nil {
		r.checkCells(rows, s)
	}
	if r.err != nil {
		return FrameInfo{}, r.err
	}
	return FrameInfo{Stream: s.Name, Rows: rows, Cols: len(s.Fields), Cells: rows * cellWeight(s)}, nil
}

// cellWeight is how many eight-byte words a decoded row takes, about.
func cellWeight(s *column.Schema) int {
	w := 0
	for _, f := range s.Fields {
		switch f.Type.Kind.Storage() {
		case column.StoreAny:
			w += 12
		case column.StoreDec:
			w += 2
		default:
			w++
		}
	}
	return w
}

func (r *reader) frameStart() (rows int) {
	if v := r.byte(); v != frameVersion && r.err == nil {
		r.fail("version %d, this program reads version %d", v, frameVersion)
	}
	n := r.uvarint()
	if n > MaxFrameRows {
		r.fail("%d rows, at most %d are allowed", n, MaxFrameRows)
		return 0
	}
	return int(n)
}

func (r *reader) checkCells(rows int, s *column.Schema) {
	if rows*cellWeight(s) > MaxFrameCells {
		r.fail("%d rows of %d columns, at most %d values are allowed", rows, len(s.Fields), MaxFrameCells)
	}
}

func appendSchema(dst []byte, codes map[string]byte, s *column.Schema) ([]byte, error) {
	if len(s.Fields) > MaxFrameColumns {
		return dst, fmt.Errorf("wire: frame of %s has %d columns, at most %d are allowed", s.Name, len(s.Fields), MaxFrameColumns)
	}
	if err := checkName("stream", s.Name); err != nil {
		return dst, err
	}
	if s.Time < -1 || s.Time >= len(s.Fields) {
		return dst, fmt.Errorf("wire: frame of %s: time column %d of %d columns", s.Name, s.Time, len(s.Fields))
	}
	dst = appendName(dst, codes, s.Name)
	dst = binary.AppendUvarint(dst, uint64(len(s.Fields)))
	dst = binary.AppendUvarint(dst, uint64(s.Time+1))
	for _, f := range s.Fields {
		if err := checkName("column", f.Name); err != nil {
			return dst, err
		}
		dst = appendName(dst, codes, f.Name)
		var err error
		if dst, err = appendType(dst, codes, f.Type, 0); err != nil {
			return dst, fmt.Errorf("wire: frame of %s, column %s: %w", s.Name, f.Name, err)
		}
	}
	return dst, nil
}

func checkName(what, s string) error {
	if len(s) > MaxNameBytes || !utf8.ValidString(s) {
		return fmt.Errorf("wire: %s name %.40q is longer than %d bytes or not UTF-8", what, s, MaxNameBytes)
	}
	return nil
}

func (r *reader) schema() *column.Schema {
	s := &column.Schema{Name: r.utf8Name("stream")}
	n := r.count(MaxFrameColumns, "columns")
	t := r.uvarint()
	if t > uint64(n) {
		r.fail("time column %d of %d", t, n)
	}
	s.Time = int(t) - 1
	if n > 0 {
		s.Fields = make([]column.Field, 0, n)
	}
	for range n {
		if r.err != nil {
			break
		}
		s.Fields = append(s.Fields, column.Field{Name: r.utf8Name("column"), Type: r.typ(0)})
	}
	return s
}

func (r *reader) utf8Name(what string) string {
	s := r.name()
	if !utf8.ValidString(s) {
		r.fail("%s name is not UTF-8", what)
	}
	return s
}

func appendType(dst []byte, codes map[string]byte, t column.Type, depth int) ([]byte, error) {
	if depth > MaxTypeDepth {
		return dst, fmt.Errorf("type nested deeper than %d", MaxTypeDepth)
	}
	var err error
	dst = append(dst, byte(t.Kind))
	switch t.Kind {
	case column.Decimal:
		dst = append(dst, t.Precision, t.Scale)
	case column.Array:
		return appendType(dst, codes, *t.Elem, depth+1)
	case column.Map:
		if dst, err = appendType(dst, codes, *t.Key, depth+1); err != nil {
			return dst, err
		}
		return appendType(dst, codes, *t.Elem, depth+1)
	case column.Struct:
		if len(t.Fields) > MaxFrameColumns {
			return dst, fmt.Errorf("struct of %d members, at most %d are allowed", len(t.Fields), MaxFrameColumns)
		}
		dst = binary.AppendUvarint(dst, uint64(len(t.Fields)))
		for _, f := range t.Fields {
			if err := checkName("struct member", f.Name); err != nil {
				return dst, err
			}
			dst = appendName(dst, codes, f.Name)
			if dst, err = appendType(dst, codes, f.Type, depth+1); err != nil {
				return dst, err
			}
		}
	}
	return dst, nil
}

func (r *reader) typ(depth int) column.Type {
	if r.types++; depth > MaxTypeDepth || r.types > MaxTypes {
		r.fail("type nested deeper than %d, or more than %d types", MaxTypeDepth, MaxTypes)
		return column.Type{}
	}
	t := column.Type{Kind: column.Kind(r.byte())}
	if t.Kind > column.TimestampNS {
		r.fail("unknown type %d", t.Kind)
		return column.Type{}
	}
	switch t.Kind {
	case column.Decimal:
		t.Precision, t.Scale = r.byte(), r.byte()
		if r.err == nil && (t.Precision < 1 || t.Precision > 38 || t.Scale > t.Precision) {
			r.fail("decimal(%d,%d)", t.Precision, t.Scale)
		}
	case column.Array:
		e := r.typ(depth + 1)
		t.Elem = &e
	case column.Map:
		k := r.typ(depth + 1)
		e := r.typ(depth + 1)
		t.Key, t.Elem = &k, &e
	case column.Struct:
		n := r.count(MaxFrameColumns, "struct members")
		for range n {
			if r.err != nil {
				break
			}
			t.Fields = append(t.Fields, column.Field{Name: r.utf8Name("struct member"), Type: r.typ(depth + 1)})
		}
	}
	return t
}
