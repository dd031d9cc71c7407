package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"

	"signalbox/edge/wire"
)

// installFile holds the identity of this directory, in hex.
const installFile = "install"

// Open opens the spool in a directory. newInstall gives the random identity of a new directory.
// A torn tail is cut off; damage inside a segment is moved to a .bad file and reported as a gap.
func Open(fs FS, cfg Config, newInstall [16]byte) (*Spool, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.SegmentBytes = min(cfg.SegmentBytes, cfg.QuotaBytes/16) // space comes back in steps that the quota can spare
	s := &Spool{cfg: cfg, fs: fs, number: 1, space: make(chan struct{}), done: make(chan struct{}), stats: Stats{Dropped: map[string]uint64{}}}
	s.wake.L = &s.mu
	s.state.NextSeq = 1
	names, err := fs.List()
	if err == nil {
		err = s.install(names, newInstall)
	}
	if err == nil {
		err = s.recover(names)
	}
	if err == nil {
		err = s.openReserve(names)
	}
	if err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("spool: open: %w", err)
	}
	go s.commit()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushLost()
	s.trim()
	return s, nil
}

func (s *Spool) install(names []string, id [16]byte) error {
	for _, n := range names {
		if n == installFile {
			return s.readInstall()
		}
	}
	s.state.Install = id
	return writeInstall(s.fs, id)
}

func (s *Spool) readInstall() error {
	f, err := s.fs.Open(installFile)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 32)
	if _, err := f.ReadAt(b, 0); err != nil {
		return fmt.Errorf("%s: %w", installFile, err)
	}
	if _, err := hex.Decode(s.state.Install[:], b); err != nil {
		return fmt.Errorf("%s: %w: restore it, or remove it to become a new install", installFile, err)
	}
	return nil
}

// writeInstall replaces the file as a whole: after a power cut it is the old or the new one.
func writeInstall(fs FS, id [16]byte) error {
	f, err := fs.Create(installFile + ".new")
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(hex.EncodeToString(id[:])+"\n"), 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(installFile+".new", installFile)
	}
	if err == nil {
		err = fs.SyncDir()
	}
	return err
}

func (s *Spool) recover(names []string) error {
	for i, name := range names {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		last := true
		for _, later := range names[i+1:] {
			last = last && !strings.HasSuffix(later, ".seg")
		}
		if err := s.openSegment(name, last); err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	if err := s.readFacts(); err != nil {
		return err
	}
	if err := s.countData(); err != nil {
		return err
	}
	if len(s.segments) > 0 {
		return nil
	}
	seg, err := createSegment(s.fs, s.number)
	s.segments = append(s.segments, seg)
	return err
}

// openSegment opens a file and repairs it.
func (s *Spool) openSegment(name string, last bool) error {
	seg := &segment{name: name}
	if _, err := fmt.Sscanf(name, "%016x.seg", &seg.first); err != nil {
		return err
	}
	f, err := s.fs.Open(name)
	if err != nil {
		return err
	}
	seg.file = f
	if seg.size, err = f.Size(); err != nil {
		return err
	}
	b := make([]byte, seg.size)
	if len(b) > 0 {
		if _, err := f.ReadAt(b, 0); err != nil {
			return err
		}
	}
	if len(b) < headerBytes || string(b[:headerBytes]) != segmentMagic {
		return s.badSegment(seg, b, last)
	}
	s.number = max(s.number, seg.first)
	good, err := s.repair(seg, b, last)
	if err != nil {
		return err
	}
	if good {
		s.segments = append(s.segments, seg)
	}
	return nil
}

// badSegment deals with a file that does not start like a segment: an unfinished creation, or damage.
func (s *Spool) badSegment(seg *segment, b []byte, last bool) error {
	seg.file.Close()
	s.number = max(s.number, seg.first)
	if last && len(b) <= headerBytes {
		s.stats.TornBytes += uint64(len(b))
		return errors.Join(s.fs.Remove(seg.name), s.fs.SyncDir())
	}
	s.quarantined(1)
	return errors.Join(s.fs.Rename(seg.name, seg.name+".bad"), s.fs.SyncDir())
}

// repair walks the records. A bad one with good ones after it is damage and is
// quarantined; a bad one at the end of the last segment is the torn last write.
func (s *Spool) repair(seg *segment, b []byte, last bool) (bool, error) {
	var clean, bad []byte
	at := headerBytes
	for at < len(b) {
		rec, n, err := parseRecord(b[at:])
		if err == nil && rec.number >= s.number {
			s.number = rec.number + 1
			if bad != nil {
				clean = append(clean, b[at:at+n]...)
			}
			at += n
			continue
		}
		next, found := resync(b, at+1, s.number)
		if !found && last {
			s.stats.TornBytes += uint64(len(b) - at)
			break
		}
		if bad == nil {
			clean = append(clean, b[:at]...)
		}
		if !found {
			next = len(b)
			s.quarantined(1)
		} else {
			rec, _, _ := parseRecord(b[next:])
			s.quarantined(rec.number - s.number)
		}
		bad = append(bad, b[at:next]...)
		at = next
	}
	if bad != nil {
		return true, s.rewrite(seg, clean, bad)
	}
	if int64(at) == seg.size {
		return true, nil
	}
	seg.size = int64(at)
	return true, errors.Join(seg.file.Truncate(seg.size), seg.file.Sync())
}

// resync finds the next good record with a number from min on.
func resync(b []byte, at int, min uint64) (int, bool) {
	for ; at+frameBytes+minRest <= len(b); at++ {
		k := kind(b[at+frameBytes])
		if k < kindData || k > kindCheckpoint {
			continue
		}
		if rec, _, err := parseRecord(b[at:]); err == nil && rec.number >= min {
			return at, true
		}
	}
	return 0, false
}

// rewrite replaces a damaged segment by its good records and keeps the bad bytes beside it.
func (s *Spool) rewrite(seg *segment, clean, bad []byte) error {
	if err := writeFile(s.fs, seg.name+".bad", bad); err != nil {
		return err
	}
	if err := writeFile(s.fs, seg.name+".new", clean); err != nil {
		return err
	}
	seg.file.Close()
	if err := errors.Join(s.fs.Rename(seg.name+".new", seg.name), s.fs.SyncDir()); err != nil {
		return err
	}
	f, err := s.fs.Open(seg.name)
	seg.file, seg.size = f, int64(len(clean))
	return err
}

func writeFile(fs FS, name string, b []byte) error {
	f, err := fs.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	return errors.Join(err, f.Sync(), f.Close())
}

// quarantined counts records that damage took. How many readings those were nobody can know: at least one each.
func (s *Spool) quarantined(records uint64) {
	s.stats.Quarantined += records
	if s.lost.Reason == "" {
		s.lost = wire.Gap{Reason: "quarantine"}
	}
	s.lost.Readings += records
	s.stats.Dropped["quarantine"] += records
}

// readFacts takes epoch, sequences and waiting batches from the records.
func (s *Spool) readFacts() error {
	var sealed []*Sealed
	var cp checkpoint
	var cpAt uint64
	for _, seg := range s.segments {
		err := seg.scan(func(rec record, offset int64) error {
			switch rec.kind {
			case kindSealed:
				b, err := parseSealed(rec)
				if err != nil {
					return err
				}
				b.offset = offset + frameBytes + minRest + int64(len(rec.content)-b.size)
				b.Body = nil
				for _, r := range b.Consumes {
					s.consumed = s.consumed.Add(r)
				}
				sealed = append(sealed, b)
			case kindEpoch, kindCheckpoint:
				c, err := parseCheckpoint(rec)
				if err != nil {
					return err
				}
				for _, r := range c.consumed {
					s.consumed = s.consumed.Add(r)
				}
				cp, cpAt = c, rec.number
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("segment %s: %w", seg.name, err)
		}
	}
	s.restoreState(cp, cpAt, sealed)
	return nil
}

func (s *Spool) restoreState(cp checkpoint, cpAt uint64, sealed []*Sealed) {
	install := s.state.Install
	if cpAt > 0 {
		s.state = cp.state
		s.state.Install = install
	}
	for _, b := range sealed {
		if b.number < cpAt {
			seq, waits := cp.waiting[b.number]
			if !waits {
				continue
			}
			b.Epoch, b.Seq = cp.state.Epoch, seq
		}
		s.state.Epoch = max(s.state.Epoch, b.Epoch) // the record that said so may be the damaged one
		s.state.NextSeq = max(s.state.NextSeq, b.Seq+1)
		s.waiting = append(s.waiting, b)
		s.segmentOf(b.number).sealed++
		s.stats.WaitingReadings += uint64(b.Readings)
		s.stats.Recovered += uint64(b.Readings)
	}
}

// countData counts the readings that are in no sealed batch.
func (s *Spool) countData() error {
	for _, seg := range s.segments {
		err := seg.scan(func(rec record, _ int64) error {
			if rec.kind != kindData && rec.kind != kindGap || s.consumed.Has(rec.number) {
				return nil
			}
			d, err := parseData(rec)
			if err != nil {
				return err
			}
			if d.Gap != nil {
				d.MinTime = d.Gap.From
			}
			seg.addData(d.MinTime, len(rec.content))
			s.stats.UnsealedReadings += uint64(d.Readings)
			s.stats.UnsealedBytes += uint64(len(rec.content))
			s.stats.Recovered += uint64(d.Readings)
			return nil
		})
		if err != nil {
			return fmt.Errorf("segment %s: %w", seg.name, err)
		}
	}
	return nil
}

// Close waits until everything that was appended is durable and closes the files.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	if s.failed == nil {
		s.flushLost()
		s.enqueue(kindCheckpoint, s.appendCheckpoint(nil), nil, nil)
	}
	s.closed = true
	s.wake.Signal()
	s.mu.Unlock()
	<-s.done
	s.watching.Wait()
	return errors.Join(s.failed, s.closeFiles())
}

func (s *Spool) closeFiles() error {
	var errs []error
	for _, seg := range s.segments {
		if seg.file == nil {
			continue
		}
		if err := seg.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
