package wire

import (
	"errors"

	"signalbox/engine/column"
)

// Encoder writes frames and keeps its scratch memory between them. Not safe for concurrent use.
type Encoder struct{}

// Encode appends the canonical frame of b to dst.
func (e *Encoder) Encode(dst []byte, b *column.Batch) ([]byte, error) {
	return dst, errors.New("wire: the frame codec is being written")
}
