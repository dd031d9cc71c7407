package spool

import (
	"errors"
	"syscall"
	"time"
)

// The reserve is a file that takes room for nothing, until the disk is full because of others: then it is given up, so that
// batches can still be sealed and what the core has can still be forgotten. Without it a full disk could never be drained.
// While it is gone the disk is tight and readings are treated as when the quota is used up.
const (
	reserveFile = "reserve"
	maxReserve  = 4 << 20
)

func (s *Spool) reserveBytes() int64 { return min(maxReserve, s.cfg.QuotaBytes/32) }

// noRoom reports whether an error says that there is no room on the disk now.
func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// makeReserve takes the room, with bytes that no file system makes smaller.
func (s *Spool) makeReserve() error {
	f, err := s.fs.Create(reserveFile)
	if err != nil {
		return err
	}
	b := make([]byte, s.reserveBytes())
	x := uint64(0x9e3779b97f4a7c15)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = s.fs.Remove(reserveFile) // half of it is of no use
	}
	return err
}

// openReserve makes the reserve when the spool is opened. A disk that has no room for it is tight from the start.
func (s *Spool) openReserve(names []string) error {
	for _, n := range names {
		if n != reserveFile {
			continue
		}
		f, err := s.fs.Open(n)
		if err != nil {
			return err
		}
		size, err := f.Size()
		f.Close()
		if err == nil && size == s.reserveBytes() {
			return nil
		}
	}
	err := s.makeReserve()
	if noRoom(err) {
		s.beTight()
		return nil
	}
	return err
}

// beTight notes that the reserve is gone and tries to get it back. mu is held, or nobody else knows the spool yet.
func (s *Spool) beTight() {
	s.stats.DiskTight = true
	s.watching.Go(func() {
		for {
			time.Sleep(diskFullRetry)
			s.mu.Lock()
			over := s.closed || s.failed != nil
			s.mu.Unlock()
			if over {
				return
			}
			err := s.makeReserve()
			s.mu.Lock()
			s.dropped = false
			if err == nil {
				s.stats.DiskTight = false
			}
			s.signalSpace()
			s.mu.Unlock()
			if err == nil {
				return
			}
		}
	})
}

// untilRoom tries again while there is no room on the disk, with the reserve's room the first time.
func (s *Spool) untilRoom(try func() error) error {
	for {
		err := try()
		s.mu.Lock()
		s.stats.DiskWaits = noRoom(err) && !s.closed
		again, release := s.stats.DiskWaits, false
		if noRoom(err) {
			s.stats.DiskFull++
			release = !s.stats.DiskTight
		}
		if again && release {
			_ = s.fs.Remove(reserveFile) // what it could report is that it is gone already
			s.beTight()
		}
		s.mu.Unlock()
		switch {
		case !again:
			return err
		case !release:
			time.Sleep(diskFullRetry)
		}
	}
}

// tight applies the policy to a reading that comes while there is no reserve. mu is held.
func (s *Spool) tight(size int64, d *Data) error {
	switch s.cfg.Policy {
	case DropNew:
		s.drop("drop_new", uint64(d.Readings), d.MinTime, d.MinTime)
		return ErrDropped
	case DropOldest: // as much as the reserve takes, then it has a chance
		if !s.dropped {
			want := s.bytes() - s.reserveBytes() - size
			for s.bytes() > want && s.dropOldest() {
				s.dropped = true
			}
		}
	}
	return ErrFull
}
