package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/zeebo/xxh3"

	"signalbox/engine/column"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// The snapshot format: magic, version, length of the body, body, CRC32C of the
// body, all integers little endian or varint. A newer version reads older ones.
const (
	snapshotMagic   = "SBXSNAP\n"
	snapshotVersion = 1
	// MaxSnapshotBytes bounds the body of a snapshot.
	MaxSnapshotBytes = 64 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshot is wrapped by the errors of Restore for bytes that are no snapshot, damaged or too new.
var ErrSnapshot = errors.New("engine: unusable snapshot")

// Snapshot is a point-in-time copy of an Engine's state.
type Snapshot struct{ body []byte }

// Snapshot captures the state. It is deterministic: replicas at the same entry give the same bytes.
func (e *Engine) Snapshot() (*Snapshot, error) {
	var buf bytes.Buffer
	if err := e.encode(&buf); err != nil {
		return nil, err
	}
	return &Snapshot{body: buf.Bytes()}, nil
}

// Write writes the snapshot; it may run while the engine applies further entries.
func (s *Snapshot) Write(w io.Writer) error {
	head := append([]byte(snapshotMagic), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(head[8:], snapshotVersion)
	binary.LittleEndian.PutUint64(head[12:], uint64(len(s.body)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	if _, err := w.Write(s.body); err != nil {
		return err
	}
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(s.body, castagnoli)))
	return err
}

// Hash identifies the captured state.
func (s *Snapshot) Hash() uint64 { return xxh3.Hash(s.body) }

// StateHash is equal on replicas that applied the same entries. It costs as much as a snapshot.
func (e *Engine) StateHash() (uint64, error) {
	s, err := e.Snapshot()
	if err != nil {
		return 0, err
	}
	return s.Hash(), nil
}

// Restore reads a snapshot into a new engine; nothing is returned unless all of it verified.
func Restore(r io.Reader, opt Options) (*Engine, error) {
	head := make([]byte, len(snapshotMagic)+12)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: header: %v", ErrSnapshot, err)
	}
	if string(head[:8]) != snapshotMagic {
		return nil, fmt.Errorf("%w: it does not begin as a snapshot", ErrSnapshot)
	}
	if v := binary.LittleEndian.Uint32(head[8:]); v == 0 || v > snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this program reads up to %d; use the newer program", ErrSnapshot, v, snapshotVersion)
	}
	n := binary.LittleEndian.Uint64(head[12:])
	if n > MaxSnapshotBytes {
		return nil, fmt.Errorf("%w: it says it has %d bytes", ErrSnapshot, n)
	}
	var body bytes.Buffer
	if got, err := io.CopyN(&body, r, int64(n)); err != nil {
		return nil, fmt.Errorf("%w: it ends after %d of %d bytes", ErrSnapshot, got, n)
	}
	var sum [4]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return nil, fmt.Errorf("%w: checksum: %v", ErrSnapshot, err)
	}
	if binary.LittleEndian.Uint32(sum[:]) != crc32.Checksum(body.Bytes(), castagnoli) {
		return nil, fmt.Errorf("%w: checksum mismatch", ErrSnapshot)
	}
	e := New(opt)
	if err := e.decode(body.Bytes()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return e, nil
}

func (e *Engine) encode(w io.Writer) error {
	s := stream.NewEncoder(w)
	s.Uvarint(e.last)
	s.Varint(e.tick)
	s.Bool(e.ended)
	e.encodeCounters(s)
	encodeRing(s, e.rejected)
	s.Uvarint(uint64(len(e.cat.list)))
	for _, r := range e.cat.list {
		s.String(string(r.kind))
		s.String(r.text)
		s.Uvarint(r.version)
		switch r.kind {
		case KindStream:
			s.Bool(r.certified)
			s.Varint(r.low)
			s.Varint(int64(r.agentsComplete))
			s.Varint(int64(r.agentsTotal))
			encodeRing(s, r.late)
			encodeRing(s, r.rejected)
		case KindStatic:
			s.Uvarint(r.loaded)
			s.Rows(r.rows)
		case KindStreaming:
			s.Varint(r.now)
			s.Varint(r.opts.AllowedLateness)
			r.pipe.Save(s)
			encodeResults(s, r.results)
		}
	}
	e.alerts.encode(s)
	return s.Flush()
}

func (e *Engine) decode(body []byte) error {
	d := stream.NewDecoder(bytes.NewReader(body))
	e.last, e.tick, e.ended = d.Uvarint(), d.Varint(), d.Bool()
	e.decodeCounters(d)
	decodeRing(d, e.rejected)
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		if err := e.decodeRelation(d); err != nil {
			return err
		}
	}
	if d.Err() != nil {
		return d.Err()
	}
	if err := e.alerts.decode(d); err != nil {
		return err
	}
	return d.Err()
}

func (e *Engine) decodeRelation(d *stream.Decoder) error {
	kind, text, version := Kind(d.String()), d.String(), d.Uvarint()
	if d.Err() != nil {
		return d.Err()
	}
	list, errs := sql.ParseScript(text)
	if len(errs) > 0 || len(list) != 1 {
		return fmt.Errorf("statement %q: %w", text, errors.Join(errs...))
	}
	if kind == KindStreaming {
		now, lateness := d.Varint(), d.Varint()
		st, ok := list[0].(*sql.CreateStreamingTable)
		if !ok {
			return fmt.Errorf("statement %q is no streaming table", text)
		}
		if err := e.createStreaming(e.cat, st, now, version, lateness); err != nil {
			return err
		}
	} else if err := e.execute(e.cat, list[0]); err != nil {
		return err
	}
	r := e.cat.list[len(e.cat.list)-1]
	r.version = version
	switch kind {
	case KindStream:
		r.certified, r.low = d.Bool(), d.Varint()
		r.agentsComplete, r.agentsTotal = int(d.Varint()), int(d.Varint())
		decodeRing(d, r.late)
		decodeRing(d, r.rejected)
	case KindStatic:
		r.loaded = d.Uvarint()
		r.rows = column.NewBatch(r.schema, 0)
		d.Rows(r.rows)
	case KindStreaming:
		r.pipe.Load(d)
		decodeResults(d, r.results)
	}
	return d.Err()
}

func (e *Engine) encodeCounters(s *stream.Encoder) {
	c := &e.counters
	for _, v := range []uint64{c.Entries, c.Received, c.Applied, c.Late, c.ExtraColumns, c.ResultsOut, c.ResultsEvict, c.RingEvict} {
		s.Uvarint(v)
	}
	reasons := make([]string, 0, len(c.Rejected))
	for k := range c.Rejected { // unordered: sorted below
		reasons = append(reasons, k)
	}
	slices.Sort(reasons)
	s.Uvarint(uint64(len(reasons)))
	for _, k := range reasons {
		s.String(k)
		s.Uvarint(c.Rejected[k])
	}
}

func (e *Engine) decodeCounters(d *stream.Decoder) {
	c := &e.counters
	for _, p := range []*uint64{&c.Entries, &c.Received, &c.Applied, &c.Late, &c.ExtraColumns, &c.ResultsOut, &c.ResultsEvict, &c.RingEvict} {
		*p = d.Uvarint()
	}
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		k := d.String()
		c.Rejected[k] = d.Uvarint()
	}
}

func encodeRing(s *stream.Encoder, r *ring) {
	s.Uvarint(uint64(len(r.rows)))
	r.each(func(x *ringRow) {
		for _, t := range []string{x.x.Stream, x.x.Query, x.x.Reason, x.x.Detail, x.x.Origin.Agent, x.x.Row} {
			s.String(t)
		}
		s.Uvarint(x.x.Origin.Epoch)
		s.Uvarint(x.x.Origin.Seq)
		s.Varint(x.x.Time)
		s.Varint(int64(x.x.Ordinal))
		s.Varint(x.tick)
	})
}

func decodeRing(d *stream.Decoder, r *ring) {
	for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
		var x ringRow
		for _, p := range []*string{&x.x.Stream, &x.x.Query, &x.x.Reason, &x.x.Detail, &x.x.Origin.Agent, &x.x.Row} {
			*p = d.String()
		}
		x.x.Origin.Epoch, x.x.Origin.Seq = d.Uvarint(), d.Uvarint()
		x.x.Time, x.x.Ordinal, x.tick = d.Varint(), int(d.Varint()), d.Varint()
		r.add(x.x, x.tick)
	}
}

func encodeResults(s *stream.Encoder, r *results) {
	b, ids, revs := r.list()
	s.Rows(b)
	for i := range ids {
		s.Bytes(ids[i][:])
		s.Uvarint(uint64(revs[i]))
	}
}

func decodeResults(d *stream.Decoder, r *results) {
	b := column.NewBatch(r.schema, 0)
	d.Rows(b)
	ids, revs := make([]RowID, 0, 16), make([]uint32, 0, 16)
	for i := 0; i < b.Len && d.Err() == nil; i++ {
		var id RowID
		copy(id[:], d.Bytes())
		ids, revs = append(ids, id), append(revs, uint32(d.Uvarint()))
	}
	if d.Err() == nil {
		r.apply(b, ids, revs, nil)
	}
}
