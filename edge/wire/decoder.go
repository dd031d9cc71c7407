package wire

import (
	"errors"

	"signalbox/engine/column"
)

// Decoder reads frames. It keeps schemas and dictionaries between frames of the
// same stream, so that reading many frames allocates nothing per row and equal
// strings of one column keep one code. A batch is valid until the next Decode
// of the same stream. Not safe for concurrent use.
type Decoder struct{}

// Decode reads a frame.
func (d *Decoder) Decode(src []byte, opt DecodeOptions) (*column.Batch, error) {
	return nil, errors.New("wire: the frame codec is being written")
}

// Info reads the head of a frame without decoding it or checking its CRC.
func Info(src []byte) (FrameInfo, error) {
	return FrameInfo{}, errors.New("wire: the frame codec is being written")
}
