package edge

import (
	"errors"
	"fmt"

	"signalbox/edge/decode"
	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// frameRoom is what the frames of a batch may take; the rest of the bound is for frontiers and gaps.
const frameRoom = wire.MaxBatchBytes - 256<<10

var errTooMuch = errors.New("more than a batch has room for")

// pack encodes readings as the frames of one batch, or says why they do not fit one.
func pack(e *wire.Encoder, list []*column.Batch) ([][]byte, error) {
	fs, err := frames(e, list)
	if err != nil {
		return nil, err
	}
	size, cells := 0, 0
	for _, f := range fs {
		info, err := wire.Info(f)
		if err != nil {
			return nil, err
		}
		size += len(f)
		cells += info.Cells
	}
	if size > frameRoom || cells > wire.MaxBatchCells || len(fs) > wire.MaxFramesPerBatch {
		return nil, fmt.Errorf("%w: %d frames of %d bytes and %d values", errTooMuch, len(fs), size, cells)
	}
	return fs, nil
}

// split halves readings; it returns false when there is one row.
func split(list []*column.Batch) (first, rest []*column.Batch, ok bool) {
	if n := len(list); n > 1 {
		return list[:n/2], list[n/2:], true
	}
	if len(list) == 0 || list[0].Len < 2 {
		return nil, nil, false
	}
	h := halves(list[0])
	return h[:1], h[1:], true
}

func rowsOf(list []*column.Batch) (n int) {
	for _, b := range list {
		n += b.Len
	}
	return n
}

// encode makes a group's readings ready for the disk. What one record has no room for stays in rest, for the next one:
// rows of a message may have so little in common that a few kilobytes of text are millions of columns times rows.
func (a *Agent) encode(g *group) error {
	for {
		fs, err := pack(&a.loop.encoder, g.part.batches)
		if err == nil {
			g.part.payload, err = wire.AppendBatch(nil, &wire.Batch{Received: g.part.received, Frames: fs})
		}
		if err == nil || !a.halve(g) {
			return err
		}
	}
}

// halve leaves the second half of a group's readings for later.
func (a *Agent) halve(g *group) bool {
	first, rest, ok := split(g.part.batches)
	if ok {
		g.part.batches, g.rest = first, append(append([]*column.Batch(nil), rest...), g.rest...)
		g.part.rows, g.part.payload = rowsOf(first), nil
	}
	return ok
}

// tooLarge refuses a row that no batch can carry: as a rejected row it is acknowledged like any other.
func (a *Agent) tooLarge(g *group, err error) {
	l := &a.loop
	if g.part.batches[0].Schema.Name == decode.RejectedStream {
		l.failed = fmt.Errorf("edge: not even the refusal of a message fits a batch: %w", err)
		return
	}
	m := &g.msgs[0]
	if len(g.msgs) > 1 {
		err = fmt.Errorf("a row of stream %s: %w", g.part.batches[0].Schema.Name, err)
	}
	a.decoder.Refuse(m.Topic, m.Payload, m.Received, decode.Oversized, err.Error())
	l.rejected++
	g.part.batches, g.part.payload = a.decoder.Take(), nil
	a.store(g)
}
