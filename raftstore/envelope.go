package raftstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
)

// An entry on disk and on the wire: version, length, CRC32C, data. Neither raft-wal nor the transport
// verifies what it reads back, so every entry carries its own proof.
const (
	entryVersion  = 1
	entryOverhead = 9
	// MaxEntryBytes bounds one proposal: several of them are in memory per follower.
	MaxEntryBytes = 5 << 20
)

// ErrCorrupt means that bytes read back are not the bytes that were written.
var ErrCorrupt = errors.New("raftstore: corrupt")

func sealEntry(data []byte) []byte {
	out := make([]byte, entryOverhead, entryOverhead+len(data))
	out[0] = entryVersion
	binary.LittleEndian.PutUint32(out[1:], uint32(len(data)))
	binary.LittleEndian.PutUint32(out[5:], crc32.Checksum(data, castagnoli()))
	return append(out, data...)
}

func openEntry(b []byte) ([]byte, error) {
	if len(b) < entryOverhead {
		return nil, fmt.Errorf("%w: entry of %d bytes is shorter than its header", ErrCorrupt, len(b))
	}
	if b[0] != entryVersion {
		return nil, fmt.Errorf("%w: entry version %d, this binary reads %d", ErrCorrupt, b[0], entryVersion)
	}
	data := b[entryOverhead:]
	if n := binary.LittleEndian.Uint32(b[1:]); int(n) != len(data) {
		return nil, fmt.Errorf("%w: entry has %d bytes, its header says %d", ErrCorrupt, len(data), n)
	}
	if sum := crc32.Checksum(data, castagnoli()); sum != binary.LittleEndian.Uint32(b[5:]) {
		return nil, fmt.Errorf("%w: entry checksum %08x, header says %08x", ErrCorrupt, sum, binary.LittleEndian.Uint32(b[5:]))
	}
	return data, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// A snapshot stream: magic and applied index, then the state machine's bytes, then the footer
// (length and CRC32C of everything before it). The state machine sees io.EOF only after the footer agreed.
const (
	snapshotMagic  = "SBSNAP1\n"
	snapshotHeader = len(snapshotMagic) + 8
	snapshotFooter = 8 + 4
)

type snapshotWriter struct {
	w   io.Writer
	sum hash.Hash32
	n   uint64
}

func newSnapshotWriter(w io.Writer, index uint64) (*snapshotWriter, error) {
	s := &snapshotWriter{w: w, sum: crc32.New(castagnoli())}
	_, err := s.Write(binary.LittleEndian.AppendUint64([]byte(snapshotMagic), index))
	return s, err
}

func (s *snapshotWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.sum.Write(p[:n])
	s.n += uint64(n)
	return n, err
}

func (s *snapshotWriter) finish() error {
	f := binary.LittleEndian.AppendUint64(nil, s.n)
	f = binary.LittleEndian.AppendUint32(f, s.sum.Sum32())
	_, err := s.w.Write(f)
	return err
}

// snapshotReader holds the last bytes back until it knows that they are the footer.
type snapshotReader struct {
	r     io.Reader
	sum   hash.Hash32
	n     uint64
	buf   []byte // read but not yet handed out; its last snapshotFooter bytes may be the footer
	eof   bool
	index uint64
	state error // sticky result: io.EOF after a good footer
}

func newSnapshotReader(r io.Reader) (*snapshotReader, error) {
	s := &snapshotReader{r: r, sum: crc32.New(castagnoli())}
	head := make([]byte, snapshotHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: snapshot ends in its header: %v", ErrCorrupt, err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: not a snapshot of this version (starts with %q)", ErrCorrupt, head[:len(snapshotMagic)])
	}
	s.index = binary.LittleEndian.Uint64(head[len(snapshotMagic):])
	s.sum.Write(head)
	s.n = uint64(len(head))
	return s, nil
}

func (s *snapshotReader) Read(p []byte) (int, error) {
	if s.state != nil {
		return 0, s.state
	}
	for !s.eof && len(s.buf) <= snapshotFooter {
		if err := s.fill(); err != nil {
			s.state = err
			return 0, err
		}
	}
	body := len(s.buf) - snapshotFooter
	if body <= 0 {
		s.state = s.verify()
		return 0, s.state
	}
	n := copy(p, s.buf[:body])
	s.sum.Write(s.buf[:n])
	s.n += uint64(n)
	s.buf = s.buf[n:]
	return n, nil
}

func (s *snapshotReader) fill() error {
	next := make([]byte, len(s.buf), 64<<10)
	copy(next, s.buf)
	n, err := io.ReadFull(s.r, next[len(s.buf):cap(next)])
	s.buf = next[:len(s.buf)+n]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		s.eof = true
		return nil
	}
	return err
}

func (s *snapshotReader) verify() error {
	if len(s.buf) != snapshotFooter {
		return fmt.Errorf("%w: snapshot of index %d is truncated after %d bytes", ErrCorrupt, s.index, s.n)
	}
	if want := binary.LittleEndian.Uint64(s.buf); want != s.n {
		return fmt.Errorf("%w: snapshot of index %d has %d bytes, its footer says %d", ErrCorrupt, s.index, s.n, want)
	}
	if want := binary.LittleEndian.Uint32(s.buf[8:]); want != s.sum.Sum32() {
		return fmt.Errorf("%w: snapshot of index %d has checksum %08x, its footer says %08x", ErrCorrupt, s.index, s.sum.Sum32(), want)
	}
	return io.EOF
}
