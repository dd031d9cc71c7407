package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// readChunk is how much of a segment is read at once.
const readChunk = 64 << 10

// ReadBacklog returns readings and gaps that are in no sealed batch, oldest first, of
// records numbered below before, until maxReadings or maxBytes are reached (at least one record).
// Each is returned once per Open: the caller seals them.
func (s *Spool) ReadBacklog(before uint64, maxReadings, maxBytes int) ([]Data, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return nil, err
	}
	var out []Data
	readings, size := 0, 0
	for {
		d, n, err := s.nextData(before)
		if err != nil || d == nil {
			return out, err
		}
		if len(out) > 0 && (readings+d.Readings > maxReadings || size+len(d.Payload) > maxBytes) {
			return out, nil
		}
		s.read.offset += n
		readings += d.Readings
		size += len(d.Payload)
		out = append(out, *d)
		if readings >= maxReadings || size >= maxBytes {
			return out, nil
		}
	}
}

// Recent returns the newest readings that are in no sealed batch, oldest first: back to the first one that was not received
// between two times (a clock that was set counts as one), or until maxBytes are reached. It moves no read position.
func (s *Spool) Recent(since, until int64, maxBytes int) ([]Data, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Data
	size := 0
	for _, seg := range slices.Backward(s.segments) {
		if seg.data == 0 {
			continue
		}
		all, err := s.unsealedOf(seg)
		if err != nil {
			return nil, fmt.Errorf("spool: segment %s: %w: stop and start again to repair it", seg.name, err)
		}
		for _, d := range slices.Backward(all) {
			if size += len(d.Payload); d.Received < since || d.Received > until || size > maxBytes {
				slices.Reverse(out)
				return out, nil
			}
			d.Payload = bytes.Clone(d.Payload)
			out = append(out, d)
		}
	}
	slices.Reverse(out)
	return out, nil
}

func (s *Spool) unsealedOf(seg *segment) (out []Data, err error) {
	err = seg.scan(func(rec record, _ int64) error {
		if rec.kind != kindData || s.consumed.Has(rec.number) {
			return nil
		}
		d, err := parseData(rec)
		out = append(out, d)
		return err
	})
	return out, err
}

// Unsealed reports whether a record that was appended is in no sealed batch and was not dropped.
func (s *Spool) Unsealed(number uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return number >= s.segments[0].first && !s.consumed.Has(number)
}

// nextData moves to the next data record below before and returns it with its size on disk, without passing it.
func (s *Spool) nextData(before uint64) (*Data, int64, error) {
	for {
		seg, last := s.segmentToRead()
		if seg.data == 0 && !last { // everything in it is in batches or dropped
			s.read = position{first: seg.first + 1}
			continue
		}
		if s.read.offset >= seg.size {
			if last {
				return nil, 0, nil
			}
			s.read = position{first: seg.first + 1}
			continue
		}
		rec, n, err := readRecord(seg, s.read.offset)
		if err != nil {
			return nil, 0, fmt.Errorf("spool: segment %s at byte %d: %w: stop and start again to repair it", seg.name, s.read.offset, err)
		}
		if rec.number >= before {
			return nil, 0, nil
		}
		if rec.kind == kindData || rec.kind == kindGap {
			if !s.consumed.Has(rec.number) {
				d, err := parseData(rec)
				return &d, n, err
			}
		}
		s.read.offset += n
	}
}

// segmentToRead returns the segment at the read position, or the first one after it.
func (s *Spool) segmentToRead() (*segment, bool) {
	for i, seg := range s.segments {
		if seg.first < s.read.first {
			continue
		}
		if seg.first != s.read.first || s.read.offset == 0 {
			s.read = position{first: seg.first, offset: headerBytes}
		}
		return seg, i == len(s.segments)-1
	}
	// The position is past the start of the last segment only when a new one is about to come.
	last := s.segments[len(s.segments)-1]
	s.read = position{first: last.first, offset: last.size}
	return last, true
}

func readRecord(seg *segment, offset int64) (record, int64, error) {
	b := make([]byte, min(readChunk, seg.size-offset))
	if _, err := seg.file.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return record{}, 0, err
	}
	rec, n, err := parseRecord(b)
	if err == nil || int64(len(b)) == seg.size-offset {
		return rec, int64(n), err
	}
	b = make([]byte, min(seg.size-offset, frameBytes+maxRecordBytes)) // longer than a chunk
	if _, err := seg.file.ReadAt(b, offset); err != nil && !errors.Is(err, io.EOF) {
		return record{}, 0, err
	}
	rec, n, err = parseRecord(b)
	return rec, int64(n), err
}

// Body returns the bytes of a waiting batch.
func (s *Spool) Body(b *Sealed) ([]byte, error) {
	if b.Body != nil {
		return b.Body, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.segmentOf(b.number)
	if seg == nil {
		return nil, fmt.Errorf("spool: batch %d is not here any more", b.Seq)
	}
	body := make([]byte, b.size)
	if _, err := seg.file.ReadAt(body, b.offset); err != nil {
		return nil, fmt.Errorf("spool: batch %d in segment %s: %w", b.Seq, seg.name, err)
	}
	return body, nil
}
