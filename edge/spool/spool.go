// Package spool is the agent's bounded queue on disk: readings go in and are
// durable before MQTT is acknowledged; sealed batches go in and stay until the
// core acknowledged them.
//
// It promises that what Append or Seal reported as durable survives a power
// cut, that a sealed batch keeps its bytes, that readings are in at most one
// sealed batch, that the disk use stays below the quota, and that whatever it
// drops is counted by reason and becomes a gap to report. It refuses to know
// MQTT, the network, what a reading looks like, and the time.
package spool

import (
	"errors"
	"fmt"
	"sync"

	"signalbox/edge/wire"
)

// Errors that callers branch on.
var (
	// ErrFull: the quota is used up and the policy is not to drop. Wait for Space and try again.
	ErrFull = errors.New("spool: full")
	// ErrDropped: the quota is used up and the policy is drop_new. The reading is counted in a gap: acknowledge it.
	ErrDropped = errors.New("spool: full, new reading dropped")
	// ErrTooLarge: a record that would not fit an empty spool.
	ErrTooLarge = errors.New("spool: record larger than the quota")
	// ErrGone: a record that the batch consumes is in another batch or was dropped by the policy. Seal without it.
	ErrGone = errors.New("spool: record is gone")
	// ErrFailed wraps the first failed fsync or write: nothing more is promised. The process must stop and start anew.
	ErrFailed = errors.New("spool: failed")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("spool: closed")
)

// Policy says what happens when the quota is used up.
type Policy string

// The policies.
const (
	StopAcknowledging Policy = "stop_acknowledging"
	DropNew           Policy = "drop_new"
	DropOldest        Policy = "drop_oldest"
)

// Config of a spool.
type Config struct {
	QuotaBytes   int64  `yaml:"quota_bytes" default:"1073741824" help:"disk the spool may use; 1 GiB is about a month of one bus without a network"`
	SegmentBytes int64  `yaml:"segment_bytes" default:"4194304" help:"size of a segment file: space comes back in these steps"`
	GroupBytes   int    `yaml:"group_bytes" default:"65536" help:"most bytes that one fsync covers; a group is written as soon as the disk is idle"`
	Policy       Policy `yaml:"policy" default:"stop_acknowledging" help:"when the quota is used up: stop_acknowledging (the broker keeps the messages), drop_new or drop_oldest (both reported as gaps)"`
}

// Validate returns what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case c.QuotaBytes < 1<<20:
		return fmt.Errorf("spool.quota_bytes is %d, at least 1048576 (1 MiB) is needed", c.QuotaBytes)
	case c.SegmentBytes < 512:
		return fmt.Errorf("spool.segment_bytes is %d, at least 512 is needed", c.SegmentBytes)
	case c.GroupBytes < 1:
		return fmt.Errorf("spool.group_bytes is %d, at least 1 is needed", c.GroupBytes)
	case c.Policy != StopAcknowledging && c.Policy != DropNew && c.Policy != DropOldest:
		return fmt.Errorf("spool.policy is %q, it must be stop_acknowledging, drop_new or drop_oldest", c.Policy)
	}
	return nil
}

// DefaultConfig returns the defaults of the tags.
func DefaultConfig() Config {
	return Config{QuotaBytes: 1 << 30, SegmentBytes: 4 << 20, GroupBytes: 64 << 10, Policy: StopAcknowledging}
}

// State is where the agent is with the core.
type State struct {
	Install [16]byte // of this directory
	Epoch   uint64   // 0: none granted yet
	NextSeq uint64   // that Seal has to use next
	Applied uint64   // highest acknowledged sequence of Epoch
}

// Stats are counts since Open, and sizes now.
type Stats struct {
	Bytes            int64  // on disk
	UnsealedReadings uint64 // durable, not in a sealed batch
	UnsealedBytes    uint64
	WaitingReadings  uint64 // in sealed batches, not acknowledged
	Syncs            uint64
	Recovered        uint64            // readings found by Open that are not acknowledged
	AckedReadings    uint64            // readings of acknowledged batches
	Dropped          map[string]uint64 // readings dropped, by reason
	TornBytes        uint64            // cut off the end by Open
	Quarantined      uint64            // records lost to damage inside a segment
	DiskFull         uint64            // writes that found the disk full and were tried again
	DiskWaits        bool              // one is being tried again now
	DiskTight        bool              // the reserve is used: the disk is full, and readings meet the policy
}

// Spool is safe for concurrent use.
type Spool struct {
	cfg Config
	fs  FS

	mu       sync.Mutex
	wake     sync.Cond // work for the committer, or the end
	state    State
	segments []*segment // sorted; the last is written to
	number   uint64     // of the next record
	consumed Ranges     // data and gap records that are in a sealed batch or dropped
	waiting  []*Sealed  // not acknowledged, in order of sequence
	queue    []*op
	queued   int64 // bytes in queue
	space    chan struct{}
	lost     wire.Gap // dropped and not yet a gap record
	read     position
	trimming bool
	dropped  bool // a segment, for the reserve
	failed   error
	closed   bool
	done     chan struct{}
	stats    Stats
	watching sync.WaitGroup // for room for the reserve
}

// op is a record on its way to the disk.
type op struct {
	bytes []byte
	apply func(s *segment, offset int64) // under mu, after the fsync
	done  func(error)
}

type position struct {
	first  uint64 // of the segment
	offset int64
}

// Append makes readings durable: done is called from another goroutine after the
// fsync, or with an error that wraps ErrFailed. An error of Append itself means that
// done will not be called. The payload is kept until then.
func (s *Spool) Append(d Data, done func(number uint64, err error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	content := appendData(nil, &d)
	if err := s.makeRoom(int64(len(content))+64, &d); err != nil {
		return err
	}
	s.flushLost()
	n := s.number
	s.stats.UnsealedReadings += uint64(d.Readings)
	s.stats.UnsealedBytes += uint64(len(content))
	minTime, size := d.MinTime, len(content)
	s.enqueue(kindData, content, func(seg *segment, _ int64) {
		seg.addData(minTime, size)
	}, func(err error) { done(n, err) })
	return nil
}

// Seal makes a sealed batch durable, in one fsync with whatever else is waiting.
// Readings of it that are durable records already (done was called) are named in b.Consumes; the others come with it.
// fresh is how many those are. done is called as for Append.
func (s *Spool) Seal(b *Sealed, fresh int, done func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	switch {
	case s.state.Epoch == 0 || b.Epoch != s.state.Epoch || b.Seq != s.state.NextSeq:
		return fmt.Errorf("spool: batch (epoch %d, seq %d) is not the next: epoch %d, seq %d", b.Epoch, b.Seq, s.state.Epoch, s.state.NextSeq)
	case s.bytes()+int64(len(b.Body))+s.reserveBytes() > s.cfg.QuotaBytes:
		return ErrFull
	case s.anyConsumed(b.Consumes):
		return ErrGone
	}
	s.state.NextSeq++
	b.number, b.size = s.number, len(b.Body)
	s.waiting = append(s.waiting, b)
	s.stats.UnsealedReadings -= min(uint64(b.Readings-fresh), s.stats.UnsealedReadings)
	s.stats.WaitingReadings += uint64(b.Readings)
	content := appendSealed(nil, b)
	body := int64(len(content) - len(b.Body))
	s.enqueue(kindSealed, content, func(seg *segment, offset int64) {
		b.offset = offset + frameBytes + minRest + body
		seg.sealed++
	}, done)
	// At once and not after the fsync, so that no other batch and no policy takes them; a
	// checkpoint that says so comes after this record, and a segment goes only after its checkpoint.
	for _, r := range b.Consumes {
		s.consume(r)
	}
	s.trim()
	return nil
}

func (s *Spool) anyConsumed(rs Ranges) bool {
	for _, r := range rs {
		for n := r.From; n <= r.To; n++ {
			if n < s.segments[0].first || s.consumed.Has(n) {
				return true
			}
		}
	}
	return false
}

// Acked forgets batches up to a sequence: the core has them for ever. It returns how many readings those were.
func (s *Spool) Acked(epoch, seq uint64) (readings int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if epoch != s.state.Epoch || seq >= s.state.NextSeq {
		return 0
	}
	n := 0
	for n < len(s.waiting) && s.waiting[n].Seq <= seq {
		readings += s.waiting[n].Readings
		s.release(s.waiting[n])
		n++
	}
	s.waiting = append(s.waiting[:0:0], s.waiting[n:]...)
	s.state.Applied = max(s.state.Applied, seq)
	s.trim()
	return readings
}

func (s *Spool) release(b *Sealed) {
	s.stats.WaitingReadings -= min(uint64(b.Readings), s.stats.WaitingReadings)
	s.stats.AckedReadings += uint64(b.Readings)
	if seg := s.segmentOf(b.number); seg != nil {
		seg.sealed--
	}
}

// SetEpoch takes over what the core granted: batches whose hash the core has applied
// already are forgotten, the others get sequences from applied+1 on. done is called after the fsync.
func (s *Spool) SetEpoch(epoch, applied uint64, known map[wire.Hash]bool, done func(error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	kept := make([]*Sealed, 0, len(s.waiting))
	seq := applied
	for _, b := range s.waiting {
		if known[b.Hash] {
			s.release(b)
			continue
		}
		seq++
		moved := *b // what is being sent keeps the old id until the session looks again
		moved.Epoch, moved.Seq = epoch, seq
		kept = append(kept, &moved)
	}
	s.waiting = kept
	s.state.Epoch, s.state.Applied, s.state.NextSeq = epoch, applied, seq+1
	s.enqueue(kindEpoch, s.appendCheckpoint(nil), nil, done)
	return nil
}

// SetInstall makes the directory a new install, after a conflict: the core then grants a new epoch.
func (s *Spool) SetInstall(id [16]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := writeInstall(s.fs, id); err != nil {
		return err
	}
	s.state.Install = id
	return nil
}

// State returns where the agent is with the core.
func (s *Spool) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Waiting returns the sealed batches that are not acknowledged, oldest first.
func (s *Spool) Waiting() []*Sealed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*Sealed(nil), s.waiting...)
}

// Stats returns counts and sizes.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Bytes = s.bytes()
	st.Dropped = make(map[string]uint64, len(s.stats.Dropped))
	for k, v := range s.stats.Dropped {
		st.Dropped[k] = v
	}
	return st
}

// Space returns a channel that is closed when it is worth trying again after ErrFull.
func (s *Spool) Space() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.space
}

// OldestUnsealed returns a lower bound of the event times that are durable and
// in no sealed batch, and false when there are none.
func (s *Spool) OldestUnsealed() (minTime int64, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		if seg.data > 0 && (!some || seg.minTime < minTime) {
			minTime, some = seg.minTime, true
		}
	}
	return minTime, some
}

// NextNumber returns the number that the next record gets: records before it are older.
func (s *Spool) NextNumber() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.number
}

// Err returns why the spool failed, or nil.
func (s *Spool) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

func (s *Spool) usable() error {
	if s.closed {
		return ErrClosed
	}
	return s.failed
}
