package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"signalbox/core/codec"
	"signalbox/core/outbox"
	"signalbox/edge/wire"
	"signalbox/raftstore"
)

// Version 1 did not know retired agents, nor who is behind. A newer program reads older snapshots.
const snapshotVersion = 2

// Bounds of a snapshot's parts, checked before memory is taken.
const (
	maxMetaBytes  = 2 << 30
	snapshotChunk = 256 << 10
)

type frozen struct {
	picture *state
	outbox  *outbox.Frozen
	engine  EngineSnapshot
}

// Snapshot implements raftstore.StateMachine.
func (m *Machine) Snapshot() (raftstore.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead != nil {
		return nil, m.dead
	}
	e, err := m.st.engine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("fsm: snapshot of the engine: %w", err)
	}
	return &frozen{picture: m.st.picture(), outbox: m.st.outbox.Freeze(), engine: e}, nil
}

// picture is the state beside engine and outbox as it is now. It costs a list of the agents and may be read while
// Apply goes on: an agent is copied before it is changed, everything else in it is copied here or only replaced.
func (s *state) picture() *state {
	p := *s
	s.round++
	p.order, p.streams = slices.Clone(s.order), slices.Clone(s.streams)
	p.scripts, p.rules = slices.Clone(s.scripts), slices.Clone(s.rules)
	p.uploads = slices.Clone(s.uploads)
	for i := range p.uploads {
		p.uploads[i].parts = slices.Clone(p.uploads[i].parts)
	}
	p.agents, p.minima, p.arena, p.engine, p.outbox, p.notice = nil, nil, nil, nil, nil, nil
	return &p
}

// Write implements raftstore.Snapshot.
func (f *frozen) Write(w io.Writer) error {
	bw := bufio.NewWriterSize(w, snapshotChunk)
	n, meta := 0, f.picture.encode()
	for _, p := range meta {
		n += len(p)
	}
	if _, err := bw.Write(binary.LittleEndian.AppendUint64(nil, uint64(n))); err != nil {
		return err
	}
	for _, p := range meta {
		if _, err := bw.Write(p); err != nil {
			return err
		}
	}
	if err := f.outbox.Write(bw); err != nil {
		return err
	}
	if err := f.engine.Write(bw); err != nil {
		return err
	}
	return bw.Flush()
}

// Release implements raftstore.Snapshot.
func (f *frozen) Release() {
	f.outbox.Release()
	if r, ok := f.engine.(interface{ Release() }); ok {
		r.Release()
	}
}

// Restore implements raftstore.StateMachine: everything is read and verified before anything is replaced.
func (m *Machine) Restore(r io.Reader) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	br := bufio.NewReaderSize(r, snapshotChunk)
	st, err := m.readState(br)
	if err != nil {
		return fmt.Errorf("fsm: restore: %w", err)
	}
	if n, err := io.Copy(io.Discard, br); err != nil || n > 0 { // the reader's io.EOF is its word that all was intact
		return fmt.Errorf("fsm: restore: %w", errors.Join(err, leftOver(n), st.outbox.Close()))
	}
	old := m.st
	m.st, m.dead, m.diverged = st, nil, ""
	clear(m.recent[:])
	return old.outbox.Close()
}

func leftOver(n int64) error {
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d bytes left over", codec.ErrCorrupt, n)
}

func (m *Machine) readState(r io.Reader) (*state, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(head[:])
	if n > maxMetaBytes {
		return nil, fmt.Errorf("%w: meta of %d bytes", codec.ErrCorrupt, n)
	}
	meta, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil || uint64(len(meta)) != n {
		return nil, errors.Join(err, fmt.Errorf("%w: meta has %d of %d bytes", codec.ErrCorrupt, len(meta), n))
	}
	st, err := m.newState()
	if err != nil {
		return nil, err
	}
	if err := st.decode(meta); err != nil {
		return nil, err
	}
	if err := st.outbox.Load(r); err != nil {
		return nil, err
	}
	st.engine, err = m.opts.Engine.Restore(r, m.systemTables())
	return st, err
}

// encode returns the state beside engine and outbox, in pieces. What is large
// and never changed, the parts of uploads, is not copied.
func (s *state) encode() [][]byte {
	b := append(make([]byte, 0, s.estimate()), snapshotVersion)
	for _, v := range []uint64{uint64(s.group), uint64(s.generation), s.index, s.term, s.chain} {
		b = binary.AppendUvarint(b, v)
	}
	for _, v := range []int64{s.time, s.tick, s.certSlot} {
		b = binary.AppendVarint(b, v)
	}
	b = codec.AppendString(b, s.leader)
	for _, p := range s.counts.all() {
		b = binary.AppendUvarint(b, *p)
	}
	b = binary.AppendUvarint(b, uint64(len(s.streams)))
	for i := range s.streams {
		c := &s.streams[i]
		b = codec.AppendBool(codec.AppendString(b, c.name), c.dirty)
		for _, v := range []int64{c.low, int64(c.complete), int64(c.expected), int64(c.holder), c.holderLow} {
			b = binary.AppendVarint(b, v)
		}
		b = binary.AppendUvarint(b, c.behind)
	}
	b = binary.AppendUvarint(b, uint64(len(s.order)))
	for _, a := range s.order {
		b = a.encode(b)
	}
	b = appendDocuments(appendDocuments(b, s.scripts), s.rules)
	pieces := uploadPieces(b, s.uploads)
	b = binary.AppendUvarint(nil, uint64(len(s.gaps)))
	for _, g := range s.gaps {
		b = codec.AppendString(codec.AppendString(codec.AppendString(b, g.Agent), g.Stream), g.Reason)
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, g.At), g.From), g.To)
		b = binary.AppendUvarint(b, g.Readings)
	}
	return append(pieces, b)
}

// estimate is about the size of encode's first piece, so that it need not grow.
func (s *state) estimate() int {
	n := 4096
	for _, a := range s.order {
		n += 256 + (len(a.hashes)+len(a.prevHashes))*(binary.MaxVarintLen32+len(wire.SeqHash{}.Hash)) + 12*len(a.fronts)
	}
	for _, d := range s.scripts {
		n += len(d.Text) + 64
	}
	for _, d := range s.rules {
		n += len(d.Text) + 64
	}
	return n
}

func (c *Counters) all() []*uint64 {
	return []*uint64{&c.Entries, &c.Batches, &c.Received, &c.Applied, &c.Duplicate, &c.Rejected,
		&c.BadEntries, &c.Gaps, &c.Conflicts, &c.Fenced, &c.Panic, &c.SinkRefused}
}

func (s *state) decode(b []byte) error {
	r := codec.NewReader(b, "snapshot")
	version := r.Byte()
	if version < 1 || version > snapshotVersion {
		return fmt.Errorf("snapshot version %d, this program reads up to %d", version, snapshotVersion)
	}
	if g := uint32(r.Uvarint()); g != s.group {
		return fmt.Errorf("snapshot of group %d, this is group %d", g, s.group)
	}
	s.generation = uint32(r.Uvarint())
	s.index, s.term, s.chain = r.Uvarint(), r.Uvarint(), r.Uvarint()
	s.time, s.tick, s.certSlot = r.Varint(), r.Varint(), r.Varint()
	s.leader = r.String()
	for _, p := range s.counts.all() {
		*p = r.Uvarint()
	}
	for range r.Count() {
		c := certified{name: r.String(), dirty: r.Bool()}
		c.low, c.complete, c.expected, c.holder, c.holderLow = r.Varint(), int(r.Varint()), int(r.Varint()), int(r.Varint()), r.Varint()
		if version >= 2 {
			c.behind = r.Uvarint()
		}
		s.streams = append(s.streams, c)
	}
	for range r.Count() {
		s.decodeAgent(r, version)
	}
	s.scripts, s.rules = readDocuments(r), readDocuments(r)
	s.uploads = readUploads(r)
	for range r.Count() {
		g := AgentGap{Agent: r.String()}
		g.Stream, g.Reason = r.String(), r.String()
		g.At, g.From, g.To, g.Readings = r.Varint(), r.Varint(), r.Varint(), r.Uvarint()
		s.gaps = append(s.gaps, g)
	}
	return r.End()
}

func (a *agent) encode(b []byte) []byte {
	b = codec.AppendString(codec.AppendString(b, a.name), a.version)
	b = append(append(append(b, a.install[:]...), a.session[:]...), byte(a.lane))
	for _, v := range a.numbers() {
		b = binary.AppendUvarint(b, *v)
	}
	b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, a.seen), a.live.Oldest), a.back.Oldest)
	b = binary.AppendVarint(b, a.retired)
	b = appendHashes(appendHashes(b, a.hashes), a.prevHashes)
	b = binary.AppendUvarint(b, uint64(len(a.fronts)))
	for _, f := range a.fronts {
		b = binary.AppendUvarint(b, uint64(f.stream))
		b = binary.AppendVarint(binary.AppendVarint(b, f.max), f.low)
	}
	if a.pending == nil {
		return codec.AppendBytes(b, nil)
	}
	return codec.AppendBytes(b, wire.AppendMessage(nil, a.pending))
}

func (a *agent) numbers() []*uint64 {
	return []*uint64{&a.epoch, &a.applied, &a.prevEpoch, &a.prevApplied, &a.live.Readings, &a.live.Bytes, &a.back.Readings, &a.back.Bytes,
		&a.counts.Received, &a.counts.Applied, &a.counts.Duplicate, &a.counts.Rejected, &a.counts.Batches, &a.counts.Conflicts,
		&a.edge.received, &a.edge.rejected, &a.edge.dropped}
}

func (s *state) decodeAgent(r *codec.Reader, version byte) {
	a := s.newAgent(r.String())
	a.version = r.String()
	a.install, a.session, a.lane = r.Hash(), r.Hash(), wire.Lane(r.Byte())
	for _, v := range a.numbers() {
		*v = r.Uvarint()
	}
	a.seen, a.live.Oldest, a.back.Oldest = r.Varint(), r.Varint(), r.Varint()
	if version >= 2 {
		a.retired = r.Varint()
	}
	a.hashes, a.prevHashes = readHashes(r), readHashes(r)
	for range r.Count() {
		f := front{stream: int(min(r.Uvarint(), math.MaxInt32)), max: r.Varint(), low: r.Varint()}
		if f.stream >= len(s.streams) {
			r.Fail("stream %d of %d", f.stream, len(s.streams))
			return
		}
		a.fronts = append(a.fronts, f)
	}
	if p := r.Bytes(); len(p) > 0 {
		msg, err := wire.DecodeMessage(p)
		hb, ok := msg.(*wire.Heartbeat)
		if err != nil || !ok {
			r.Fail("pending heartbeat of %s: %v", a.name, err)
		}
		a.pending = hb
	}
}

func appendHashes(b []byte, hs []wire.SeqHash) []byte {
	b = binary.AppendUvarint(b, uint64(len(hs)))
	for _, h := range hs {
		b = append(binary.AppendUvarint(b, h.Seq), h.Hash[:]...)
	}
	return b
}

func readHashes(r *codec.Reader) (out []wire.SeqHash) {
	for range r.Count() {
		out = append(out, wire.SeqHash{Seq: r.Uvarint(), Hash: r.Hash()})
	}
	return out
}

func appendDocuments(b []byte, ds []Document) []byte {
	b = binary.AppendUvarint(b, uint64(len(ds)))
	for _, d := range ds {
		b = binary.AppendUvarint(codec.AppendString(codec.AppendString(b, d.Name), d.Text), d.Index)
	}
	return b
}

func readDocuments(r *codec.Reader) (out []Document) {
	for range r.Count() {
		out = append(out, Document{Name: r.String(), Text: r.String(), Index: r.Uvarint()})
	}
	return out
}

// uploadPieces continues b; parts are referred to.
func uploadPieces(b []byte, us []upload) [][]byte {
	var out [][]byte
	b = binary.AppendUvarint(b, uint64(len(us)))
	for _, u := range us {
		b = appendUpload(b, u.Upload)
		for _, p := range u.parts {
			b = binary.AppendUvarint(codec.AppendBool(b, p != nil), uint64(len(p)))
			out = append(out, b, p)
			b = nil
		}
	}
	return append(out, b)
}

func readUploads(r *codec.Reader) (out []upload) {
	for range r.Count() {
		u := upload{Upload: readUpload(r)}
		for range u.Parts {
			if r.Err() != nil {
				return nil
			}
			there, p := r.Bool(), r.Bytes()
			if !there {
				p = nil
			} else {
				p = slices.Clone(append([]byte{}, p...))
			}
			u.parts = append(u.parts, p)
			u.bytes += len(p)
		}
		out = append(out, u)
	}
	return out
}
