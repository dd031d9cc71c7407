package wire

import (
	"encoding/binary"
	"fmt"
)

// reader takes values off the front of untrusted bytes. The first failure
// sticks: everything after it reads as zero, so that callers check once.
type reader struct {
	b    []byte
	off  int
	what string
	err  error

	types int // read so far, see MaxTypes
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w %s at byte %d: %s", ErrCorrupt, r.what, r.off, fmt.Sprintf(format, args...))
	}
}

func (r *reader) left() int { return len(r.b) - r.off }

func (r *reader) byte() byte {
	if r.err != nil || r.off >= len(r.b) {
		r.fail("ends too early")
		return 0
	}
	r.off++
	return r.b[r.off-1]
}

func (r *reader) uvarint() uint64 {
	if r.err == nil && r.off < len(r.b) && r.b[r.off] < 0x80 {
		r.off++
		return uint64(r.b[r.off-1])
	}
	return r.longUvarint()
}

func (r *reader) longUvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.off:])
	if n <= 0 {
		r.fail("bad number")
		return 0
	}
	if n > 1 && r.b[r.off+n-1] == 0 {
		r.fail("number with padding") // two encodings of one value would be two hashes of one batch
		return 0
	}
	r.off += n
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.fail("number %d does not fit 32 bits", v)
		return 0
	}
	return uint32(v)
}

// count reads a number of elements, each at least one byte long, bounded
// before anything is allocated for them.
func (r *reader) count(limit int, what string) int {
	v := r.uvarint()
	if r.err == nil && (v > uint64(limit) || v > uint64(r.left())) {
		r.fail("%d %s, at most %d are allowed and %d bytes follow", v, what, limit, r.left())
	}
	if r.err != nil {
		return 0
	}
	return int(v)
}

// bytes reads a length and that many bytes, which alias the input.
func (r *reader) bytes(limit int, what string) []byte {
	n := r.count(limit, what+" bytes")
	return r.take(n)
}

func (r *reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > r.left() {
		r.fail("needs %d bytes, %d follow", n, r.left())
		return nil
	}
	r.off += n
	return r.b[r.off-n : r.off : r.off]
}

func (r *reader) string(limit int, what string) string { return string(r.bytes(limit, what)) }

// end returns the first failure, or complains about bytes that nobody reads.
func (r *reader) end() error {
	if r.err == nil && r.left() > 0 {
		r.fail("%d bytes too many", r.left())
	}
	return r.err
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
