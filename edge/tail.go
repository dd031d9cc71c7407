package edge

import (
	"bytes"
	"time"

	"signalbox/edge/wire"
	"signalbox/engine/column"
)

// Bounds of what the tail keeps decoded; what comes beyond is kept as the bytes that went to the disk, a tenth of the size.
const (
	openRows  = 4000
	openParts = 256
)

// tail is what is durable and in no batch yet, and young enough to alert: the live lane, oldest first. Its order is
// the order of arrival, because a reading that is older than the last one evaluated of its key changes no alert.
type tail struct {
	parts  []part
	rows   int
	bytes  int // encoded size of the parts
	open   int // parts that are decoded
	opened int // their rows
}

// part is a durable record of the tail.
type part struct {
	number   uint64
	at       time.Time // receipt of its newest reading
	received int64     // the same, ns, as far as it is known what time it is
	oldest   int64     // event time
	rows     int
	size     int             // of the encoded readings
	batches  []*column.Batch // nil: see payload
	payload  []byte
}

func (t *tail) empty() bool { return len(t.parts) == 0 }

// add takes a record that is durable.
func (t *tail) add(p part) {
	p.size = len(p.payload)
	if p.batches != nil && t.open < openParts && t.opened+p.rows <= openRows {
		p.payload = nil
		t.open++
		t.opened += p.rows
	} else {
		p.batches, p.payload = nil, bytes.Clone(p.payload)
	}
	t.parts = append(t.parts, p)
	t.rows += p.rows
	t.bytes += p.size
}

// drop forgets the oldest n parts and returns how many rows those were.
func (t *tail) drop(n int) (rows int) {
	for i := range t.parts[:n] {
		p := &t.parts[i]
		rows += p.rows
		t.bytes -= p.size
		if p.batches != nil {
			t.open--
			t.opened -= p.rows
		}
		*p = part{}
	}
	t.rows -= rows
	if t.parts = t.parts[n:]; len(t.parts) == 0 {
		t.parts = nil
	}
	return rows
}

// filter keeps the parts that f wants.
func (t *tail) filter(f func(number uint64) bool) {
	old := t.parts
	*t = tail{}
	for _, p := range old {
		if f(p.number) {
			if p.payload == nil {
				t.open++
				t.opened += p.rows
			}
			t.parts = append(t.parts, p)
			t.rows += p.rows
			t.bytes += p.size
		}
	}
}

// read returns a part's readings.
func (p *part) read(d *wire.Decoder) ([]*column.Batch, error) {
	if p.batches != nil {
		return p.batches, nil
	}
	b, err := wire.DecodeBatch(p.payload)
	if err != nil {
		return nil, err
	}
	var out []*column.Batch
	for _, f := range b.Frames {
		rows, err := d.Decode(f, wire.DecodeOptions{})
		if err != nil {
			return nil, err
		}
		out = append(out, rows)
	}
	return out, nil
}

// since returns how many rows of the tail were received before a moment, and when the oldest was.
func (t *tail) since(moment time.Time) (rows int, oldest int64) {
	for i := range t.parts {
		if !t.parts[i].at.Before(moment) {
			break
		}
		if rows == 0 {
			oldest = t.parts[i].received
		}
		rows += t.parts[i].rows
	}
	return rows, oldest
}

// demote gives readings back to the disk that are too old to alert, or too many to be kept: they go out beside the live
// ones, as history, and are counted. It goes on to half of the bound: a core that takes less than comes in would otherwise
// be sent nothing but readings that are too old when they arrive, and so it gets some that still count.
func (a *Agent) demote() {
	t := &a.loop.tail
	window := a.cfg.LiveWindow + a.cfg.Linger
	if t.empty() || time.Since(t.parts[0].at) <= window && t.bytes <= a.cfg.LiveBytes {
		return
	}
	n, size := 0, t.bytes
	for n < len(t.parts) && (time.Since(t.parts[n].at) > window/2 || size > a.cfg.LiveBytes/2) {
		size -= t.parts[n].size
		n++
	}
	a.loop.demoted += uint64(t.drop(n))
	a.loop.backlog = true
	a.tailChanged()
}

// tailChanged keeps what depends on whether the tail is empty.
func (a *Agent) tailChanged() {
	if l := &a.loop; l.tail.empty() {
		l.due = false
		l.linger.Stop()
	}
}
