package agg

import (
	"slices"
	"unsafe"
)

const (
	blobLenBits = 30
	// maxBlob is the longest value a blob store keeps, 1 GiB; a longer one is cut
	// off. Frames, lines and the state of a query are bounded far below it.
	maxBlob = 1<<blobLenBits - 1
)

// blobs keeps one byte string for each index in a single arena.
type blobs struct {
	refs []uint64 // offset<<30 | length
	buf  []byte
	dead int // bytes of buf that nothing refers to
}

func (b *blobs) len() int { return len(b.refs) }

func (b *blobs) grow(n int) { b.refs = growTo(b.refs, n) }

func (b *blobs) get(i int) []byte {
	r := b.refs[i]
	off, n := int(r>>blobLenBits), int(r&maxBlob)
	return b.buf[off : off+n : off+n]
}

func (b *blobs) str(i int) string {
	s := b.get(i)
	return unsafe.String(unsafe.SliceData(s), len(s))
}

// set copies s; it reuses the place of the old value when s fits.
func (b *blobs) set(i int, s []byte) {
	s = s[:min(len(s), maxBlob)]
	r := b.refs[i]
	off, n := int(r>>blobLenBits), int(r&maxBlob)
	if len(s) <= n {
		copy(b.buf[off:], s)
		b.dead += n - len(s)
	} else {
		b.dead += n
		off = len(b.buf)
		b.buf = append(b.buf, s...)
	}
	b.refs[i] = uint64(off)<<blobLenBits | uint64(len(s))
	if b.dead > len(b.buf)/2 && b.dead > 4096 {
		b.compact()
	}
}

func (b *blobs) clear(i int) {
	b.dead += int(b.refs[i] & maxBlob)
	b.refs[i] = 0
}

func (b *blobs) compact() {
	buf := make([]byte, 0, len(b.buf)-b.dead+4096)
	for i := range b.refs {
		s := b.get(i)
		b.refs[i] = uint64(len(buf))<<blobLenBits | uint64(len(s))
		buf = append(buf, s...)
	}
	b.buf, b.dead = buf, 0
}

// live is the number of bytes that something refers to.
func (b *blobs) live() int { return len(b.buf) - b.dead }

// growTo lengthens s to n elements, new ones zero, with a quarter of slack for large slices.
func growTo[T any](s []T, n int) []T {
	if n <= len(s) {
		return s
	}
	if n > cap(s) {
		want := n
		if len(s) > 0 {
			want = max(n, len(s)+len(s)/4+16)
		}
		s = slices.Grow(s, want-len(s))
	}
	old := len(s)
	s = s[:n]
	clear(s[old:])
	return s
}

// stringBytes views a string as bytes that must not be written.
func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
