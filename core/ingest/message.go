package ingest

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/coder/websocket"
)

// firstMessage is the room that a message of unknown size is given at first.
const firstMessage = 4 << 10

// readMessage reads one message into the memory of buf, and into more when it does not fit. Reading a message the size of
// the last one then takes one piece of memory, or none when the caller hands in the last one's.
func readMessage(ctx context.Context, c *websocket.Conn, buf []byte) ([]byte, error) {
	_, r, err := c.Reader(ctx)
	if err != nil {
		return nil, err
	}
	buf = buf[:0]
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, max(firstMessage, len(buf)))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		if buf = buf[:len(buf)+n]; errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// roomFor is memory for a message that is kept, after one of that size.
func roomFor(last int) []byte { return make([]byte, 0, last+last/8+1) }
