package spool

import (
	"encoding/binary"
	"fmt"
	"time"

	"signalbox/edge/wire"
)

// diskFullRetry is how long the committer waits before it tries a full disk again.
const diskFullRetry = time.Second

// enqueue numbers a record and hands it to the committer. mu is held.
func (s *Spool) enqueue(k kind, content []byte, apply func(*segment, int64), done func(error)) {
	o := &op{bytes: appendRecord(nil, k, s.number, content), apply: apply, done: done}
	s.number++
	s.queue = append(s.queue, o)
	s.queued += int64(len(o.bytes))
	s.wake.Signal()
}

// commit is the one goroutine that writes. It starts as soon as there is work:
// while it waits for the disk, the next group gathers by itself.
func (s *Spool) commit() {
	defer close(s.done)
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.wake.Wait()
		}
		if len(s.queue) == 0 {
			s.mu.Unlock()
			return
		}
		group := s.takeGroup()
		seg, err := s.segments[len(s.segments)-1], s.failed
		s.mu.Unlock()
		if err == nil {
			err = s.writeGroup(seg, group)
		}
		for _, o := range group {
			if o.done != nil {
				o.done(err)
			}
		}
	}
}

func (s *Spool) takeGroup() []*op {
	n, size := 0, 0
	for n < len(s.queue) && (n == 0 || size+len(s.queue[n].bytes) <= s.cfg.GroupBytes) {
		size += len(s.queue[n].bytes)
		n++
	}
	group := append([]*op(nil), s.queue[:n]...)
	s.queue = append(s.queue[:0], s.queue[n:]...)
	return group
}

// writeGroup makes a group durable. Any failure is final: after a failed fsync the
// kernel may have dropped the pages and would report success next time.
func (s *Spool) writeGroup(seg *segment, group []*op) error {
	var buf []byte
	for _, o := range group {
		buf = append(buf, o.bytes...)
	}
	seg, err := s.rotate(seg, group)
	if err == nil {
		err = s.write(seg, buf)
	}
	if err == nil {
		err = seg.file.Sync()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = fmt.Errorf("%w: segment %s: %w: stop, check the disk, start again", ErrFailed, seg.name, err)
		return s.failed
	}
	s.stats.Syncs++
	for _, o := range group {
		offset := seg.size
		seg.size += int64(len(o.bytes))
		s.queued -= int64(len(o.bytes))
		if o.apply != nil {
			o.apply(seg, offset)
		}
	}
	s.signalSpace()
	return nil
}

func (s *Spool) signalSpace() {
	close(s.space)
	s.space = make(chan struct{})
}

// write waits while the disk is full: then nothing is acknowledged and nothing is lost.
func (s *Spool) write(seg *segment, buf []byte) error {
	return s.untilRoom(func() error {
		_, err := seg.file.WriteAt(buf, seg.size)
		if !noRoom(err) {
			return err
		}
		if terr := seg.file.Truncate(seg.size); terr != nil {
			return terr
		}
		return err
	})
}

// rotate starts a new segment when the group would make this one too large.
func (s *Spool) rotate(seg *segment, group []*op) (*segment, error) {
	size := int64(0)
	for _, o := range group {
		size += int64(len(o.bytes))
	}
	if seg.size == headerBytes || seg.size+size <= s.cfg.SegmentBytes {
		return seg, nil
	}
	var next *segment
	err := s.untilRoom(func() (err error) {
		next, err = createSegment(s.fs, binary.LittleEndian.Uint64(group[0].bytes[frameBytes+1:]))
		return err
	})
	if err != nil {
		return seg, err
	}
	s.mu.Lock()
	s.segments = append(s.segments, next)
	s.mu.Unlock()
	return next, nil
}

// consume marks data records as no longer needed. mu is held.
func (s *Spool) consume(r Range) {
	for n := r.From; n <= r.To; n++ {
		if s.consumed.Has(n) {
			continue
		}
		if seg := s.segmentOf(n); seg != nil && seg.data > 0 {
			each := seg.bytes / int64(seg.data) // the mean: only the total has to come out even
			seg.data--
			seg.bytes -= each
			s.stats.UnsealedBytes -= min(s.stats.UnsealedBytes, uint64(each))
		}
	}
	s.consumed = s.consumed.Add(r)
}

// trim removes segments that nobody needs. What their records said about other
// segments is made durable in a checkpoint first. mu is held.
func (s *Spool) trim() {
	if s.trimming || s.failed != nil || s.closed {
		return
	}
	var free []*segment
	for _, seg := range s.segments[:len(s.segments)-1] {
		if seg.data == 0 && seg.sealed == 0 {
			free = append(free, seg)
		}
	}
	if len(free) == 0 {
		return
	}
	s.trimming = true
	s.enqueue(kindCheckpoint, s.appendCheckpoint(nil), nil, func(err error) {
		if err == nil {
			s.removeSegments(free)
		}
	})
}

func (s *Spool) removeSegments(free []*segment) {
	for _, seg := range free {
		seg.file.Close() // read only from now on; what it could report is of no use
		// A file that stays is removed by the next Open: nothing in it is needed.
		_ = s.fs.Remove(seg.name)
	}
	_ = s.fs.SyncDir()
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.segments[:0:0]
	for _, seg := range s.segments {
		if !contains(free, seg) {
			kept = append(kept, seg)
		}
	}
	s.segments = kept
	s.consumed = s.consumed.Forget(s.segments[0].first)
	s.trimming = false
	s.signalSpace()
	s.trim()
}

func contains(list []*segment, x *segment) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}

// appendCheckpoint writes everything that records said and that still holds: epoch, sequences,
// the ids of the waiting batches and which data records are in sealed batches. mu is held.
func (s *Spool) appendCheckpoint(dst []byte) []byte {
	for _, v := range []uint64{s.state.Epoch, s.state.NextSeq, s.state.Applied, uint64(len(s.waiting))} {
		dst = binary.AppendUvarint(dst, v)
	}
	for _, b := range s.waiting {
		dst = binary.AppendUvarint(dst, b.number)
		dst = binary.AppendUvarint(dst, b.Seq)
	}
	return appendRanges(dst, s.consumed)
}

type checkpoint struct {
	state    State
	waiting  map[uint64]uint64 // record number -> sequence
	consumed Ranges
}

func parseCheckpoint(rec record) (checkpoint, error) {
	c := cursor{b: rec.content}
	cp := checkpoint{state: State{Epoch: c.u(), NextSeq: c.u(), Applied: c.u()}, waiting: map[uint64]uint64{}}
	n := c.u()
	for i := uint64(0); i < n && c.err == nil; i++ {
		number := c.u()
		cp.waiting[number] = c.u()
	}
	cp.consumed = c.ranges()
	return cp, c.err
}

// makeRoom applies the policy when size more bytes do not fit. An eighth of the
// quota is kept for sealed batches: without them no space would ever come back. mu is held.
func (s *Spool) makeRoom(size int64, d *Data) error {
	limit := s.cfg.QuotaBytes - s.cfg.QuotaBytes/8 - s.reserveBytes()
	if size > limit {
		return ErrTooLarge
	}
	if s.stats.DiskTight {
		return s.tight(size, d)
	}
	for s.bytes()+size > limit {
		switch {
		case s.cfg.Policy == StopAcknowledging:
			return ErrFull
		case s.cfg.Policy == DropOldest && s.dropOldest():
		case s.cfg.Policy == DropOldest && len(s.queue) > 0:
			return ErrFull // until what is on its way is old enough to be dropped
		default: // drop_new, or nothing old that may be dropped
			s.drop("drop_new", uint64(d.Readings), d.MinTime, d.MinTime)
			return ErrDropped
		}
	}
	return nil
}

// dropOldest gives up the oldest segment that holds no sealed batch.
func (s *Spool) dropOldest() bool {
	for i, seg := range s.segments[:len(s.segments)-1] {
		if seg.sealed > 0 || seg.data == 0 {
			continue
		}
		s.dropSegment(seg, s.segments[i+1].first-1)
		return true
	}
	return false
}

func (s *Spool) dropSegment(seg *segment, last uint64) {
	_ = seg.scan(func(rec record, _ int64) error {
		if rec.kind != kindData && rec.kind != kindGap || s.consumed.Has(rec.number) {
			return nil
		}
		d, err := parseData(rec)
		if err != nil {
			return nil // its CRC was right, so a newer program wrote it: there is no count of readings to report
		}
		if d.Gap != nil {
			s.drop(d.Gap.Reason, 0, d.Gap.From, d.Gap.To)
			s.lost.Readings += d.Gap.Readings
			return nil
		}
		s.drop("drop_oldest", uint64(d.Readings), d.MinTime, d.MinTime)
		s.stats.UnsealedReadings -= min(uint64(d.Readings), s.stats.UnsealedReadings)
		return nil
	})
	s.stats.UnsealedBytes -= min(s.stats.UnsealedBytes, uint64(seg.bytes))
	s.consumed = s.consumed.Add(Range{seg.first, last})
	seg.data, seg.bytes, seg.dropped = 0, 0, true
	s.flushLost()
	s.trim()
}

// drop counts readings that are given up and remembers them for a gap.
func (s *Spool) drop(reason string, readings uint64, from, to int64) {
	s.stats.Dropped[reason] += readings
	if s.lost.Reason != "" && s.lost.Reason != reason {
		s.flushLost()
	}
	if s.lost.Reason == "" {
		s.lost = wire.Gap{Reason: reason, From: from, To: to}
	}
	s.lost.Readings += readings
	s.lost.From, s.lost.To = min(s.lost.From, from), max(s.lost.To, to)
}

// flushLost writes what was dropped as a gap record, so that the report survives a restart.
func (s *Spool) flushLost() {
	if s.lost.Reason == "" {
		return
	}
	g := s.lost
	s.lost = wire.Gap{}
	content := appendGap(nil, &g)
	s.enqueue(kindGap, content, func(seg *segment, _ int64) { seg.addData(g.From, len(content)) }, nil)
}

// bytes is what is on disk or on the way there, without what is being given up.
func (s *Spool) bytes() int64 {
	n := s.queued
	for _, seg := range s.segments {
		if !seg.dropped {
			n += seg.size
		}
	}
	return n
}
