package outbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"signalbox/core/codec"
	"signalbox/sinks"
)

const snapshotVersion = 1

// Frozen is a point-in-time copy that is written while Apply goes on.
type Frozen struct {
	head  []byte
	spans []span
}

// Freeze captures definitions, cursors and everything not yet acknowledged; it copies no rows.
func (o *Outbox) Freeze() *Frozen {
	o.mu.Lock()
	defer o.mu.Unlock()
	f := &Frozen{}
	h := []byte{snapshotVersion}
	for _, v := range []uint64{o.end, o.trimmed, o.dropped} {
		h = binary.AppendUvarint(h, v)
	}
	h = binary.AppendUvarint(h, uint64(len(o.cursors)))
	for _, c := range o.cursors {
		h = binary.AppendUvarint(codec.AppendString(h, c.Name), c.UpTo)
	}
	h = o.appendDefs(h)
	for _, l := range []*log{&o.rows, &o.alerts} {
		h = binary.AppendUvarint(h, uint64(len(l.segs)))
		for _, s := range l.segs {
			h = binary.AppendUvarint(h, uint64(s.size))
			f.spans = append(f.spans, s.span(0, s.size))
		}
	}
	f.head = h
	return f
}

func (o *Outbox) appendDefs(h []byte) []byte {
	h = binary.AppendUvarint(h, uint64(len(o.defs)))
	for i, d := range o.defs {
		h = codec.AppendBool(codec.AppendString(h, d.Name), o.current[d.Name] == i)
		h = codec.AppendSchema(h, d.Schema)
		h = appendStrings(appendStrings(h, d.Key), d.Entity)
		h = codec.AppendString(h, d.Time)
	}
	return h
}

func appendStrings(dst []byte, ss []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ss)))
	for _, s := range ss {
		dst = codec.AppendString(dst, s)
	}
	return dst
}

func readStrings(r *codec.Reader) []string {
	var out []string
	for range r.Count() {
		out = append(out, r.String())
	}
	return out
}

// Write writes the copy.
func (f *Frozen) Write(w io.Writer) error {
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(f.head)))); err != nil {
		return err
	}
	if _, err := w.Write(f.head); err != nil {
		return err
	}
	for _, s := range f.spans {
		b, err := s.bytes()
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Release lets go of what the copy holds.
func (f *Frozen) Release() {
	release(f.spans)
	f.spans = nil
}

const maxSnapshotHead = 64 << 20

// Load fills an empty outbox with a copy.
func (o *Outbox) Load(in io.Reader) error {
	var n [8]byte
	if _, err := io.ReadFull(in, n[:]); err != nil {
		return fmt.Errorf("outbox: snapshot: %w", err)
	}
	size := binary.LittleEndian.Uint64(n[:])
	if size > maxSnapshotHead {
		return fmt.Errorf("outbox: snapshot: %w: head of %d bytes", codec.ErrCorrupt, size)
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(in, head); err != nil {
		return fmt.Errorf("outbox: snapshot: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := codec.NewReader(head, "outbox snapshot")
	if v := r.Byte(); v != snapshotVersion {
		r.Fail("version %d, this program reads %d", v, snapshotVersion)
	}
	o.end, o.trimmed, o.dropped = r.Uvarint(), r.Uvarint(), r.Uvarint()
	for range r.Count() {
		o.cursors = append(o.cursors, Cursor{Name: r.String(), UpTo: r.Uvarint()})
	}
	o.loadDefs(r)
	for _, l := range []*log{&o.rows, &o.alerts} {
		for range r.Count() {
			if err := o.loadSegment(l, in, r); err != nil {
				return err
			}
		}
	}
	return r.End()
}

func (o *Outbox) loadDefs(r *codec.Reader) {
	for i := range r.Count() {
		t := sinks.Table{Name: r.String()}
		if r.Bool() {
			o.current[t.Name] = i
		}
		t.Schema = r.Schema()
		t.Key, t.Entity, t.Time = readStrings(r), readStrings(r), r.String()
		o.defs = append(o.defs, t)
	}
}

func (o *Outbox) loadSegment(l *log, in io.Reader, r *codec.Reader) error {
	size := r.Uvarint()
	if err := r.Err(); err != nil {
		return err
	}
	if size > math.MaxInt64 {
		return fmt.Errorf("outbox: snapshot: %w: segment of %d bytes", codec.ErrCorrupt, size)
	}
	// An entry's output is one segment however large it is, so its size has no bound here; memory grows with what is read.
	var buf bytes.Buffer
	buf.Grow(int(min(size, uint64(o.opts.SegmentBytes)+bytes.MinRead)))
	if _, err := io.CopyN(&buf, in, int64(size)); err != nil {
		return fmt.Errorf("outbox: snapshot: %w", err)
	}
	b := buf.Bytes()
	s := &segment{buf: b, size: len(b)}
	for at := 0; at < len(b); {
		if len(b)-at < recordHead {
			return fmt.Errorf("outbox: snapshot: %w: record ends early", codec.ErrCorrupt)
		}
		n, index := int(binary.LittleEndian.Uint32(b[at:])), binary.LittleEndian.Uint64(b[at+8:])
		if at += recordHead + n; at > len(b) {
			return fmt.Errorf("outbox: snapshot: %w: record ends early", codec.ErrCorrupt)
		}
		if s.records == 0 {
			s.first = index
		}
		s.records++
		if k := len(s.marks); k > 0 && s.marks[k-1].index == index {
			s.marks[k-1].end = at
		} else {
			s.marks = append(s.marks, mark{index, at})
		}
		s.last = index
	}
	l.segs = append(slices.Clip(l.segs), s)
	l.bytes += int64(s.size)
	o.spill()
	return nil
}
