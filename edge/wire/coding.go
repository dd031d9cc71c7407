package wire

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Coding is how a batch body is packed for the transport. The canonical bytes,
// the hash and the log never see it.
type Coding uint8

// The codings. Append, never renumber.
const (
	Plain Coding = 0
	Zstd  Coding = 1
)

// minSaving is the part of a body that zstd has to save to be worth its decoding: 1/10.
const minSaving = 10

// minPacked is the body below which zstd is not tried: so little rarely shrinks, and the live path is short.
const minPacked = 512

// Coder packs and unpacks batch bodies for the transport. It is not safe for
// concurrent use; keep one per connection.
type Coder struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewCoder returns a Coder that starts no goroutines.
func NewCoder() (*Coder, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true))
	if err != nil {
		return nil, fmt.Errorf("wire: zstd encoder: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBatchBytes), zstd.WithDecoderMaxWindow(MaxBatchBytes), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("wire: zstd decoder: %w", err)
	}
	return &Coder{enc: enc, dec: dec}, nil
}

// Pack builds the message for a sealed body, zstd-coded when that saves at least a tenth.
// The payload may alias body.
func (c *Coder) Pack(epoch, seq uint64, hash Hash, body []byte) *BatchMessage {
	m := &BatchMessage{Epoch: epoch, Seq: seq, Hash: hash, Size: uint32(len(body)), Payload: body}
	if len(body) < minPacked {
		return m
	}
	packed := c.enc.EncodeAll(body, nil)
	if len(packed) <= len(body)-len(body)/minSaving && len(packed)*MaxCompressionRatio >= len(body) {
		m.Coding, m.Payload = Zstd, packed
	}
	return m
}

// Body undoes the transport coding and checks size, ratio and hash. The result
// may alias m.Payload. Every error wraps ErrCorrupt.
func (c *Coder) Body(m *BatchMessage) ([]byte, error) {
	body, err := c.unpack(m)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w batch %d: %w", ErrCorrupt, m.Seq, err)
	case len(body) != int(m.Size):
		return nil, fmt.Errorf("%w batch %d: %d bytes, %d were announced", ErrCorrupt, m.Seq, len(body), m.Size)
	case HashBody(body) != m.Hash:
		return nil, fmt.Errorf("%w batch %d: hash of the body differs from the announced one", ErrCorrupt, m.Seq)
	}
	return body, nil
}

func (c *Coder) unpack(m *BatchMessage) ([]byte, error) {
	switch {
	case m.Size > MaxBatchBytes:
		return nil, fmt.Errorf("%d bytes announced, at most %d are allowed", m.Size, MaxBatchBytes)
	case m.Coding == Plain:
		return m.Payload, nil
	case m.Coding != Zstd:
		return nil, fmt.Errorf("unknown transport coding %d", m.Coding)
	case uint64(m.Size) > uint64(len(m.Payload))*MaxCompressionRatio:
		return nil, fmt.Errorf("%d bytes announced from %d, the ratio is above %d", m.Size, len(m.Payload), MaxCompressionRatio)
	}
	// The announced size bounds the output; the decoder's own limit holds against a lying header.
	return c.dec.DecodeAll(m.Payload, make([]byte, 0, m.Size))
}
