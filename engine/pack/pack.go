// Package pack writes columns of numbers in few bytes: what closed windows are
// kept as. Frames share its bit packing.
//
// It promises that every bit comes back (NaN payloads, both zeros, subnormals),
// that equal columns give equal bytes on every machine, and that damaged bytes
// are an error, never a panic or more memory than the caller asked for. It
// refuses to know what the numbers mean. A column is cut into blocks that are
// coded one by one; the number of values is the caller's to remember.
package pack

import (
	"encoding/binary"
	"errors"
)

// BlockLen is the number of values that share a coding.
const BlockLen = 1024

// ErrCorrupt is the error of bytes that no Append function wrote.
var ErrCorrupt = errors.New("pack: corrupt column")

// Codings of a column of truths.
const (
	allFalse = 0
	allTrue  = 1
	bitmap   = 2
)

// AppendBools appends v: one byte when all are equal, else a bit each.
func AppendBools(dst []byte, v []bool) []byte {
	n := 0
	for _, x := range v {
		if x {
			n++
		}
	}
	switch n {
	case 0:
		return append(dst, allFalse)
	case len(v):
		return append(dst, allTrue)
	}
	dst = append(dst, bitmap)
	for i := 0; i < len(v); i += 8 {
		b := byte(0)
		for k, x := range v[i:min(i+8, len(v))] {
			if x {
				b |= 1 << k
			}
		}
		dst = append(dst, b)
	}
	return dst
}

// Bools fills out and returns the bytes behind the column.
func Bools(b []byte, out []bool) ([]byte, error) {
	if len(b) == 0 || b[0] > bitmap {
		return nil, ErrCorrupt
	}
	kind := b[0]
	b = b[1:]
	if kind != bitmap {
		for i := range out {
			out[i] = kind == allTrue
		}
		return b, nil
	}
	n := (len(out) + 7) / 8
	if len(b) < n {
		return nil, ErrCorrupt
	}
	for i := range out {
		out[i] = b[i>>3]&(1<<(i&7)) != 0
	}
	return b[n:], nil
}

// reader takes bytes off a column; the first error sticks.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.b, r.err = nil, ErrCorrupt
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	x := r.b[:n]
	r.b = r.b[n:]
	return x
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}
