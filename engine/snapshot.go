package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
	"weak"

	"github.com/zeebo/xxh3"

	"signalbox/engine/column"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// The snapshot format, all integers little endian or varint: magic, version,
// the body in blocks (length, bytes), a block of length 0, length and CRC32C of
// the body. Version 1 had the length before a body in one piece, and wrote the
// state of an operator in one piece; version 2 did not know which agents are
// behind and which windows became final; version 3 did not pack closed windows
// column by column; version 4 did not know which rows were new in a window that
// was told, and no late rows of tables that read tables. A newer version reads older ones.
const (
	snapshotMagic   = "SBXSNAP\n"
	snapshotVersion = 5
	snapshotBlock   = 256 << 10
	// MaxSnapshotBytes bounds the body of a snapshot.
	MaxSnapshotBytes = 64 << 30
	// MaxOpenSnapshots bounds the snapshots and views that are neither written nor released nor dropped.
	MaxOpenSnapshots = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSnapshot is wrapped by the errors of Restore for bytes that are no snapshot, damaged or too new.
var ErrSnapshot = errors.New("engine: unusable snapshot")

// Snapshot is the state of an Engine at one point in time. Until it is written,
// released or dropped, Apply saves what it is about to change.
type Snapshot struct {
	mu    sync.Mutex // Write, Hash and Release take turns
	parts []func(s *stream.Encoder)
	held  *heldState
	body  []byte // encoded, by Hash
	hash  uint64
	err   error
	done  bool // written to somewhere, or released
}

// heldState is what a snapshot or a view holds in the engine.
type heldState struct {
	lock sync.Locker // the engine's
	give []func()    // gives it back
	done bool
}

// release gives everything back; the caller holds the lock.
func (h *heldState) release() {
	for _, f := range h.give {
		f()
	}
	h.give, h.done = nil, true
}

// openState is a snapshot or view that may still be read. One that was dropped is forgotten.
type openState struct {
	dropped func() bool
	held    *heldState
}

// sweepOpen forgets snapshots and views that nobody can read any more.
func (e *Engine) sweepOpen() {
	e.open = slices.DeleteFunc(e.open, func(x openState) bool {
		if !x.held.done && !x.dropped() {
			return false
		}
		x.held.release()
		return true
	})
}

// hold notes what by, which somebody else keeps, holds in the engine; the caller holds the lock.
func hold[T any](e *Engine, by *T, held *heldState) {
	if len(held.give) == 0 {
		return
	}
	p := weak.Make(by)
	e.open = append(e.open, openState{func() bool { return p.Value() == nil }, held})
}

// room says whether one more snapshot or view may be open; the caller holds the lock.
func (e *Engine) room() error {
	e.sweepOpen()
	if len(e.open) >= MaxOpenSnapshots {
		return fmt.Errorf("engine: %d snapshots and views are open (MaxOpenSnapshots); write, release or drop some", len(e.open))
	}
	return nil
}

// Snapshot captures the state in little time, whatever its size: it is encoded
// by Write. It is deterministic: replicas at the same entry give the same bytes.
func (e *Engine) Snapshot() (*Snapshot, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.room(); err != nil {
		return nil, err
	}
	s := &Snapshot{held: &heldState{lock: &e.mu}}
	if err := e.capture(s); err != nil {
		s.held.release()
		return nil, err
	}
	hold(e, s, s.held)
	return s, nil
}

// Write writes the snapshot, once; it may run while the engine applies further entries.
func (s *Snapshot) Write(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := binary.LittleEndian.AppendUint32([]byte(snapshotMagic), snapshotVersion)
	if _, err := w.Write(head); err != nil {
		return err
	}
	out := &blockWriter{w: w, buf: make([]byte, 4, 4+snapshotBlock)}
	if s.body != nil {
		if _, err := out.Write(s.body); err != nil {
			return err
		}
	} else if err := s.encode(out); err != nil {
		return err
	}
	return out.end()
}

// encode writes the body and gives back what the snapshot held.
func (s *Snapshot) encode(w io.Writer) error {
	switch {
	case s.err != nil:
		return s.err
	case s.done:
		return errors.New("engine: a snapshot is written once; take another one")
	}
	h := xxh3.New()
	enc := stream.NewEncoder(io.MultiWriter(w, h))
	for _, part := range s.parts {
		part(enc)
	}
	s.err, s.hash = enc.Flush(), h.Sum64()
	s.release()
	return s.err
}

// Release gives up a snapshot that will not be written.
func (s *Snapshot) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}

func (s *Snapshot) release() {
	s.held.lock.Lock()
	defer s.held.lock.Unlock()
	s.held.release()
	s.done, s.parts = true, nil
}

// Hash identifies the captured state, 0 when it cannot be encoded. Before
// Write it encodes the state and keeps that, so that Write can follow.
func (s *Snapshot) Hash() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		var buf bytes.Buffer
		if s.encode(&buf) == nil {
			s.body = buf.Bytes()
		}
	}
	return s.hash
}

// StateHash is equal on replicas that applied the same entries. It costs as much as writing a snapshot.
func (e *Engine) StateHash() (uint64, error) {
	s, err := e.Snapshot()
	if err != nil {
		return 0, err
	}
	err = s.encode(io.Discard)
	return s.hash, err
}

// blockWriter cuts a body into blocks.
type blockWriter struct {
	w   io.Writer
	buf []byte // length of the block, block
	n   uint64
	sum uint32
}

func (b *blockWriter) Write(p []byte) (int, error) {
	all := len(p)
	for len(p) > 0 {
		k := min(len(p), cap(b.buf)-len(b.buf))
		b.buf, p = append(b.buf, p[:k]...), p[k:]
		if len(b.buf) == cap(b.buf) {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
	}
	return all, nil
}

func (b *blockWriter) flush() error {
	body := b.buf[4:]
	if len(body) == 0 {
		return nil
	}
	binary.LittleEndian.PutUint32(b.buf, uint32(len(body)))
	b.n, b.sum = b.n+uint64(len(body)), crc32.Update(b.sum, castagnoli, body)
	_, err := b.w.Write(b.buf)
	b.buf = b.buf[:4]
	return err
}

func (b *blockWriter) end() error {
	if err := b.flush(); err != nil {
		return err
	}
	tail := binary.LittleEndian.AppendUint64(make([]byte, 4, 16), b.n)
	_, err := b.w.Write(binary.LittleEndian.AppendUint32(tail, b.sum))
	return err
}

// Restore reads a snapshot into a new engine; nothing is returned unless all of it verified.
func Restore(r io.Reader, opt Options) (*Engine, error) {
	body, version, err := readBody(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	e := New(opt)
	if err := e.decode(body, version); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return e, nil
}

// readBody reads and verifies all of a snapshot, and not a byte beyond it.
func readBody(r io.Reader) ([]byte, uint32, error) {
	head := make([]byte, len(snapshotMagic)+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, 0, fmt.Errorf("header: %v", err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return nil, 0, errors.New("it does not begin as a snapshot")
	}
	version := binary.LittleEndian.Uint32(head[len(snapshotMagic):])
	var body bytes.Buffer
	var err error
	switch version {
	case 1:
		err = readPiece(r, &body)
	case 2, 3, 4, snapshotVersion:
		err = readBlocks(r, &body)
	default:
		err = fmt.Errorf("version %d, this program reads up to %d; use the newer program", version, snapshotVersion)
	}
	if err != nil {
		return nil, 0, err
	}
	var sum [4]byte
	if _, err := io.ReadFull(r, sum[:]); err != nil {
		return nil, 0, fmt.Errorf("checksum: %v", err)
	}
	if binary.LittleEndian.Uint32(sum[:]) != crc32.Checksum(body.Bytes(), castagnoli) {
		return nil, 0, errors.New("checksum mismatch")
	}
	return body.Bytes(), version, nil
}

func readPiece(r io.Reader, body *bytes.Buffer) error {
	var size [8]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("header: %v", err)
	}
	n := binary.LittleEndian.Uint64(size[:])
	if n > MaxSnapshotBytes {
		return fmt.Errorf("it says it has %d bytes", n)
	}
	if got, err := io.CopyN(body, r, int64(n)); err != nil {
		return fmt.Errorf("it ends after %d of %d bytes", got, n)
	}
	return nil
}

func readBlocks(r io.Reader, body *bytes.Buffer) error {
	var size [8]byte
	for {
		if _, err := io.ReadFull(r, size[:4]); err != nil {
			return fmt.Errorf("it ends after %d bytes", body.Len())
		}
		n := binary.LittleEndian.Uint32(size[:])
		if n == 0 {
			break
		}
		if n > snapshotBlock || body.Len()+int(n) > MaxSnapshotBytes {
			return fmt.Errorf("a block of %d bytes after %d", n, body.Len())
		}
		if _, err := io.CopyN(body, r, int64(n)); err != nil {
			return fmt.Errorf("it ends after %d bytes", body.Len())
		}
	}
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return fmt.Errorf("it ends after %d bytes", body.Len())
	}
	if n := binary.LittleEndian.Uint64(size[:]); n != uint64(body.Len()) {
		return fmt.Errorf("it has %d of %d bytes", body.Len(), n)
	}
	return nil
}

// capture takes the state, part by part in the order in which it is written.
func (e *Engine) capture(s *Snapshot) error {
	var err error
	now := func(encode func(s *stream.Encoder)) {
		var buf bytes.Buffer
		enc := stream.NewEncoder(&buf)
		encode(enc)
		err = errors.Join(err, enc.Flush())
		s.parts = append(s.parts, func(s *stream.Encoder) { s.Raw(buf.Bytes()) })
	}
	later := func(part func(s *stream.Encoder)) { s.parts = append(s.parts, part) }
	ring := func(r *ring) {
		c := r.capture()
		later(func(s *stream.Encoder) { encodeRing(s, c) })
	}
	now(func(s *stream.Encoder) {
		s.Uvarint(e.last)
		s.Varint(e.tick)
		s.Bool(e.ended)
		e.encodeCounters(s)
	})
	ring(e.rejected)
	now(func(s *stream.Encoder) { s.Uvarint(uint64(len(e.cat.list))) })
	for _, r := range e.cat.list {
		now(r.encodeHead)
		switch r.kind {
		case KindStream:
			behind := slices.Clone(r.agents.Behind)
			later(func(s *stream.Encoder) { encodeBehind(s, behind) })
			ring(r.late)
			ring(r.rejected)
		case KindStatic:
			rows := r.rows.Frozen()
			later(func(s *stream.Encoder) { s.Rows(rows) })
		case KindStreaming:
			pipe, perr := r.pipe.Capture(s.held.lock)
			if perr != nil {
				return fmt.Errorf("engine: %s: %w", r.name, perr)
			}
			s.held.give = append(s.held.give, pipe.Release)
			results := r.results.capture()
			later(pipe.Write)
			later(func(s *stream.Encoder) { encodeResults(s, results) })
			if r.late == nil {
				ring(newRing(rejectedSchema, 0))
			} else {
				ring(r.late)
			}
		}
	}
	alerts := e.alerts.set.Capture(s.held.lock)
	s.held.give = append(s.held.give, alerts.Release)
	later(func(s *stream.Encoder) { s.Bytes(alerts.Encode(nil)) })
	now(e.alerts.encodePending)
	return err
}

// encodeHead writes what is small of a relation.
func (r *relation) encodeHead(s *stream.Encoder) {
	s.String(string(r.kind))
	s.String(r.text)
	s.Uvarint(r.version)
	switch r.kind {
	case KindStream:
		s.Bool(r.certified)
		s.Varint(r.low)
		s.Varint(int64(r.agents.Complete))
		s.Varint(int64(r.agents.Expected))
	case KindStatic:
		s.Uvarint(r.loaded)
	case KindStreaming:
		s.Varint(r.now)
		s.Varint(r.opts.AllowedLateness)
	}
}

func encodeBehind(s *stream.Encoder, list []Behind) {
	s.Uvarint(uint64(len(list)))
	for _, b := range list {
		s.String(b.Agent)
		s.String(b.Reason)
		s.Varint(b.Low)
	}
}

func (e *Engine) decode(body []byte, version uint32) error {
	d := stream.NewDecoder(bytes.NewReader(body), version)
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
		r.agents.Complete, r.agents.Expected = int(d.Varint()), int(d.Varint())
		if d.Version() >= 3 {
			for n := d.Uvarint(); n > 0 && d.Err() == nil; n-- {
				r.agents.Behind = append(r.agents.Behind, Behind{Agent: d.String(), Reason: d.String(), Low: d.Varint()})
			}
		}
		decodeRing(d, r.late)
		decodeRing(d, r.rejected)
	case KindStatic:
		r.loaded = d.Uvarint()
		r.rows = column.NewBatch(r.schema, 0)
		d.Rows(r.rows)
	case KindStreaming:
		r.pipe.Load(d)
		decodeResults(d, r.results)
		if d.Version() >= 5 {
			late := r.late
			if late == nil {
				late = newRing(rejectedSchema, 0)
			}
			decodeRing(d, late)
		}
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
	for i := range r.rows {
		x := &r.rows[i]
		for _, t := range []string{x.x.Stream, x.x.Query, x.x.Reason, x.x.Detail, x.x.Origin.Agent, x.x.Row} {
			s.String(t)
		}
		s.Uvarint(x.x.Origin.Epoch)
		s.Uvarint(x.x.Origin.Seq)
		s.Varint(x.x.Time)
		s.Varint(int64(x.x.Ordinal))
		s.Varint(x.tick)
	}
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
		r.apply(b, ids, revs, nil, nil)
	}
}
