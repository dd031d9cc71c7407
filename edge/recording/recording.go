// Package recording is a file of frames: readings as an agent would ship
// them, kept to be replayed. It promises that a torn or foreign file is
// refused with its offset, and refuses to know who wrote the frames.
//
// Format: the 8 bytes "SBREC\x00\x00\x01", then per frame its length in bytes
// as unsigned 32 bits, little-endian, and the frame.
package recording

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"signalbox/edge/wire"
)

// Magic begins every recording; its last byte is the version.
var magic = [8]byte{'S', 'B', 'R', 'E', 'C', 0, 0, 1}

// MagicBytes is how many bytes Is needs.
const MagicBytes = len(magic)

// Is reports whether a file that begins with these bytes is a recording.
func Is(head []byte) bool { return len(head) >= MagicBytes && bytes.Equal(head[:MagicBytes], magic[:]) }

// Writer writes a recording.
type Writer struct {
	w     io.Writer
	begun bool
}

// NewWriter returns a writer; the header is written with the first frame.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write appends one frame.
func (w *Writer) Write(frame []byte) error {
	if !w.begun {
		w.begun = true
		if _, err := w.w.Write(magic[:]); err != nil {
			return err
		}
	}
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(frame)))
	if _, err := w.w.Write(size[:]); err != nil {
		return err
	}
	_, err := w.w.Write(frame)
	return err
}

// Reader reads a recording.
type Reader struct {
	r      *bufio.Reader
	buf    []byte
	offset int64
}

// NewReader checks the header.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 256<<10)
	var head [8]byte
	if _, err := io.ReadFull(b, head[:]); err != nil || !Is(head[:]) {
		return nil, errors.New("not a recording: it does not begin with SBREC, version 1")
	}
	return &Reader{r: b, offset: int64(len(head))}, nil
}

// Next returns the next frame, valid until the next call, or io.EOF.
func (r *Reader) Next() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r.r, size[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("recording torn at byte %d: %w", r.offset, err)
	}
	n := int(binary.LittleEndian.Uint32(size[:]))
	if n > wire.MaxBatchBytes {
		return nil, fmt.Errorf("recording at byte %d: a frame of %d bytes, more than %d", r.offset, n, wire.MaxBatchBytes)
	}
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return nil, fmt.Errorf("recording torn at byte %d: %w", r.offset, err)
	}
	r.offset += int64(4 + n)
	return r.buf, nil
}
