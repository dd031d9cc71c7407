package spool

import (
	"fmt"
	"sort"
)

// segment is a file of records with rising numbers.
type segment struct {
	name    string
	first   uint64 // number of its first record
	file    File
	size    int64 // written and synced
	data    int   // data and gap records that are in no sealed batch
	bytes   int64 // of them
	sealed  int   // batches that are not acknowledged
	minTime int64 // lower bound of the data's event times
	dropped bool  // given up; goes as soon as a checkpoint is durable
}

func (seg *segment) addData(minTime int64, size int) {
	if seg.data == 0 || minTime < seg.minTime {
		seg.minTime = minTime
	}
	seg.data++
	seg.bytes += int64(size)
}

func segmentName(first uint64) string { return fmt.Sprintf("%016x.seg", first) }

// createSegment makes a file whose name and header are durable before a record goes in.
func createSegment(fs FS, first uint64) (*segment, error) {
	seg := &segment{name: segmentName(first), first: first, size: headerBytes}
	f, err := fs.Create(seg.name)
	if err != nil {
		return seg, err
	}
	_, err = f.WriteAt([]byte(segmentMagic), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = fs.SyncDir()
	}
	if err != nil { // there is nothing in it yet: it may be made anew
		f.Close()
		return seg, err
	}
	seg.file = f
	return seg, nil
}

// scan calls f for each good record. It stops at the first bad one with errBadRecord.
func (seg *segment) scan(f func(rec record, offset int64) error) error {
	b := make([]byte, seg.size)
	if _, err := seg.file.ReadAt(b, 0); err != nil && len(b) > 0 {
		return err
	}
	for at := headerBytes; at < len(b); {
		rec, n, err := parseRecord(b[at:])
		if err != nil {
			return err
		}
		if err := f(rec, int64(at)); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// segmentOf returns the segment that holds a record, or nil when it is gone. mu is held.
func (s *Spool) segmentOf(number uint64) *segment {
	i := sort.Search(len(s.segments), func(i int) bool { return s.segments[i].first > number })
	if i == 0 {
		return nil
	}
	return s.segments[i-1]
}
