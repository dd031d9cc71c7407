package outbox

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync/atomic"

	"signalbox/core/codec"
	"signalbox/sinks"
)

// firstSegmentBytes is the least room of a segment.
const firstSegmentBytes = 64 << 10

// A record: length, CRC32C, index, payload.
const recordHead = 4 + 4 + 8

// segment is a run of records. Its bytes are append-only, so a prefix may be read while Apply appends.
type segment struct {
	first, last uint64
	records     int
	size        int
	buf         []byte // nil when spilled
	file        *spilled
	marks       []mark // byte offset after each index, so that readers stop at an entry's end
}

type mark struct {
	index uint64
	end   int
}

// spilled is a segment's file; it disappears with its last user.
type spilled struct {
	f    *os.File
	path string
	refs atomic.Int32
}

func (s *spilled) release() {
	if s.refs.Add(-1) == 0 {
		_ = s.f.Close()
		_ = os.Remove(s.path)
	}
}

// log is a list of segments, oldest first.
type log struct {
	segs  []*segment
	bytes int64
	last  int // size of the last segment but one, or of the last that left
}

func (l *log) append(index uint64, payload []byte, segmentBytes int) (sum uint32) {
	var s *segment
	if n := len(l.segs); n > 0 {
		s = l.segs[n-1]
	}
	// An entry's records stay together, so that trimming and dropping never cut one in two.
	if s == nil || s.file != nil || (s.size >= segmentBytes && s.last != index) {
		if s != nil {
			l.last = s.size
		}
		room := min(max(firstSegmentBytes, l.last), segmentBytes) + recordHead + len(payload) // about as large as the last one
		s = &segment{first: index, buf: make([]byte, 0, room)}
		l.segs = append(l.segs, s)
	}
	var head [recordHead]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(payload)))
	sum = crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(head[4:], sum)
	binary.LittleEndian.PutUint64(head[8:], index)
	s.buf = append(append(s.buf, head[:]...), payload...)
	l.bytes += int64(len(s.buf) - s.size)
	s.size = len(s.buf)
	s.records++
	if n := len(s.marks); n > 0 && s.marks[n-1].index == index {
		s.marks[n-1].end = s.size
	} else {
		s.marks = append(s.marks, mark{index, s.size})
	}
	s.last = index
	return sum
}

func (l *log) removeFirst() {
	s := l.segs[0]
	l.bytes -= int64(s.size)
	l.last = s.size
	if s.file != nil {
		s.file.release()
	}
	l.segs[0] = nil
	l.segs = l.segs[1:]
}

// span is a piece of a segment taken for reading outside the lock.
type span struct {
	buf      []byte
	file     *spilled
	from, to int
}

func (s *segment) span(from, to int) span {
	if s.file != nil {
		s.file.refs.Add(1)
		return span{file: s.file, from: from, to: to}
	}
	return span{buf: s.buf[:to:to], from: from, to: to}
}

func release(spans []span) {
	for _, s := range spans {
		if s.file != nil {
			s.file.release()
		}
	}
}

// collect takes the records after an index, whole entries, about maxBytes of them. end is the index up to
// which the result is complete.
func (l *log) collect(after uint64, maxBytes int, newest uint64) (out []span, end uint64) {
	taken := 0
	for _, s := range l.segs {
		if s.last <= after {
			continue
		}
		from, to := 0, 0
		for _, m := range s.marks {
			if m.index <= after {
				from, to = m.end, m.end
				continue
			}
			if taken > 0 && taken+m.end-to > maxBytes {
				if to > from {
					out = append(out, s.span(from, to))
				}
				return out, end
			}
			taken += m.end - to
			to, end = m.end, m.index
		}
		if to > from {
			out = append(out, s.span(from, to))
		}
	}
	return out, newest
}

func (s span) bytes() ([]byte, error) {
	if s.file == nil {
		return s.buf[s.from:s.to], nil
	}
	b := make([]byte, s.to-s.from)
	if _, err := s.file.f.ReadAt(b, int64(s.from)); err != nil {
		return nil, fmt.Errorf("outbox: read %s: %w", s.file.path, err)
	}
	return b, nil
}

// decode appends the batches with after < index <= upTo.
func (s span) decode(out []sinks.Batch, after, upTo uint64, defs []sinks.Table) ([]sinks.Batch, error) {
	b, err := s.bytes()
	if err != nil {
		return nil, err
	}
	for len(b) > 0 {
		if len(b) < recordHead || int(binary.LittleEndian.Uint32(b)) > len(b)-recordHead {
			return nil, fmt.Errorf("outbox: %w: record ends early", codec.ErrCorrupt)
		}
		n := int(binary.LittleEndian.Uint32(b))
		index, payload := binary.LittleEndian.Uint64(b[8:]), b[recordHead:recordHead+n]
		if sum := crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)); sum != binary.LittleEndian.Uint32(b[4:]) {
			return nil, fmt.Errorf("outbox: %w: checksum of a record of entry %d", codec.ErrCorrupt, index)
		}
		b = b[recordHead+n:]
		if index <= after || index > upTo {
			continue
		}
		batch, err := decodeRecord(payload, defs)
		if err != nil {
			return nil, fmt.Errorf("outbox: entry %d: %w", index, err)
		}
		batch.Index = index
		out = append(out, batch)
	}
	return out, nil
}

// spill moves the oldest full segments to files while more than MemoryBytes are in memory.
func (o *Outbox) spill() {
	if o.opts.Dir == "" || o.failure != nil {
		return
	}
	var inMemory int64
	for _, l := range []*log{&o.rows, &o.alerts} {
		for _, s := range l.segs {
			if s.file == nil {
				inMemory += int64(s.size)
			}
		}
	}
	for _, l := range []*log{&o.rows, &o.alerts} {
		for i := 0; i < len(l.segs)-1 && inMemory > o.opts.MemoryBytes; i++ {
			if s := l.segs[i]; s.file == nil {
				if o.failure = o.spillSegment(s); o.failure != nil {
					return
				}
				inMemory -= int64(s.size)
			}
		}
	}
}

func (o *Outbox) spillSegment(s *segment) error {
	o.spillN++
	path := filepath.Join(o.opts.Dir, fmt.Sprintf("%016x-%d.seg", s.first, o.spillN))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("outbox: spill: %w", err)
	}
	if _, err := f.Write(s.buf); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return fmt.Errorf("outbox: spill: %w", err)
	}
	s.file = &spilled{f: f, path: path}
	s.file.refs.Store(1)
	s.buf = nil
	return nil
}
