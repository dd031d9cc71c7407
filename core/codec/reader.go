// Package codec is how the core writes values into log entries, the outbox and
// snapshots: little-endian, varints, length-prefixed.
//
// It promises that any bytes decode to values or to an error that wraps
// ErrCorrupt, with allocation bounded by the input, and that the same rows give
// the same bytes on every node. It refuses to know what the values mean.
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrCorrupt is wrapped by every decoding error.
var ErrCorrupt = errors.New("core: corrupt encoding")

// AppendString appends a length-prefixed string.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendBytes appends length-prefixed bytes.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendBool appends one byte.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// Reader takes values off the front of bytes. The first failure sticks and everything after it reads as
// zero, so that callers check once, with End or Err.
type Reader struct {
	b    []byte
	off  int
	what string
	err  error
}

// NewReader reads b; what names it in errors.
func NewReader(b []byte, what string) *Reader { return &Reader{b: b, what: what} }

// Fail records a failure at the current position.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s at byte %d: %s", ErrCorrupt, r.what, r.off, fmt.Sprintf(format, args...))
	}
}

// Err is the first failure.
func (r *Reader) Err() error { return r.err }

// End is the first failure, or an error when bytes are left over.
func (r *Reader) End() error {
	if r.err == nil && r.off != len(r.b) {
		r.Fail("%d bytes left over", len(r.b)-r.off)
	}
	return r.err
}

// Left is how many bytes have not been read.
func (r *Reader) Left() int { return len(r.b) - r.off }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.err != nil || r.off >= len(r.b) {
		r.Fail("ends too early")
		return 0
	}
	r.off++
	return r.b[r.off-1]
}

// Bool reads one byte that must be 0 or 1.
func (r *Reader) Bool() bool {
	v := r.Byte()
	if v > 1 {
		r.Fail("flag %d", v)
	}
	return v == 1
}

// Uvarint reads an unsigned number.
func (r *Reader) Uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.off:])
	if n <= 0 {
		r.Fail("bad number")
		return 0
	}
	r.off += n
	return v
}

// Varint reads a signed number.
func (r *Reader) Varint() int64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Varint(r.b[r.off:])
	if n <= 0 {
		r.Fail("bad number")
		return 0
	}
	r.off += n
	return v
}

// Count reads the length of a list whose elements take at least one byte each, so that it cannot exceed the input.
func (r *Reader) Count() int {
	v := r.Uvarint()
	if v > uint64(r.Left()) {
		r.Fail("list of %d in %d bytes", v, r.Left())
		return 0
	}
	return int(v)
}

// Take reads n raw bytes; they alias the input.
func (r *Reader) Take(n int) []byte {
	if r.err != nil || n < 0 || n > r.Left() {
		r.Fail("%d bytes wanted, %d left", n, r.Left())
		return nil
	}
	b := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

// Bytes reads length-prefixed bytes; they alias the input.
func (r *Reader) Bytes() []byte { return r.Take(r.Count()) }

// String reads a length-prefixed string.
func (r *Reader) String() string { return string(r.Bytes()) }

// Hash reads 16 bytes.
func (r *Reader) Hash() (h [16]byte) {
	copy(h[:], r.Take(16))
	return h
}

// Uint64 reads 8 bytes.
func (r *Reader) Uint64() uint64 {
	if b := r.Take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// Float reads 8 bytes.
func (r *Reader) Float() float64 { return math.Float64frombits(r.Uint64()) }
