package wire

import (
	"signalbox/engine/column"
)

// FrameInfo is what the head of a frame says.
type FrameInfo struct {
	Stream string
	Rows   int
	Cols   int
}

// DecodeOptions say what to read of a frame.
type DecodeOptions struct {
	Columns []string // wanted columns by name; nil = all. The others have a nil entry in Batch.Cols
}

// EncodeFrame appends the canonical frame of b to dst. The same rows give the same bytes on every machine.
func EncodeFrame(dst []byte, b *column.Batch) ([]byte, error) {
	var e Encoder
	return e.Encode(dst, b)
}

// DecodeFrame reads a frame into a new batch. Any bytes give a batch or an error that wraps ErrCorrupt.
func DecodeFrame(src []byte, opt DecodeOptions) (*column.Batch, error) {
	var d Decoder
	return d.Decode(src, opt)
}
