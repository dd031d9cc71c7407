// Package outbox holds what Apply produced until every sink has it: result rows
// and alert transitions in log order, with one cursor per sink.
//
// It promises the same content on every node after the same entries, a bound in
// bytes beyond which the oldest rows leave, counted (alert transitions never do),
// and that a snapshot carries everything not yet acknowledged. Its segments are
// in memory while the sinks keep up and spill to files when they do not; after a
// crash they come back from the snapshot and the log, so the files need no fsync
// of their own. It refuses to know sinks, Raft and time.
package outbox

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"signalbox/core/codec"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/sinks"
)

// The defaults of Options.
const (
	DefaultMaxBytes     = 1 << 30  // rows kept for a sink that does not take them
	DefaultMemoryBytes  = 32 << 20 // of them in memory; more spill to files
	DefaultSegmentBytes = 1 << 20
)

// Options bounds an Outbox. Zero values take the defaults. MaxBytes and SegmentBytes decide what is
// dropped and trimmed: they must be the same on every node.
type Options struct {
	Dir          string // where segments spill; "" = never spill (tests, simulation)
	MaxBytes     int64
	MemoryBytes  int64
	SegmentBytes int
}

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = DefaultMemoryBytes
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	return o
}

// Cursor is how far a sink has come. Name is the sink's, with "@node" for a sink that runs on every node.
type Cursor struct {
	Name string
	UpTo uint64 // log index: everything up to it is stored
}

// Outbox is safe for one writer (Apply) and many readers.
type Outbox struct {
	opts    Options
	mu      sync.Mutex
	enc     codec.RowEncoder
	scratch []byte
	defs    []sinks.Table
	current map[string]int // table name -> its newest definition
	rows    log
	alerts  log
	sum     uint64   // over the records of the last entry
	end     uint64   // index of the last entry, with or without output
	trimmed uint64   // no record up to this index is here any more
	dropped uint64   // records the bound pushed out
	cursors []Cursor // sorted by name
	spillN  uint64
	failure error // spilling failed: memory grows instead, and the operator is told
	changed chan struct{}
}

// New returns an empty outbox and removes what an earlier process left in its directory.
func New(opts Options) (*Outbox, error) {
	opts = opts.withDefaults()
	if opts.Dir != "" {
		if err := os.RemoveAll(opts.Dir); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
		if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("outbox: %w", err)
		}
	}
	return &Outbox{opts: opts, current: map[string]int{}}, nil
}

// Define tells what the tables look like from the next entry on.
func (o *Outbox) Define(tables []sinks.Table) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range tables {
		if i, ok := o.current[t.Name]; !ok || !sameTable(o.defs[i], t) {
			o.define(t)
		}
	}
}

func (o *Outbox) define(t sinks.Table) int {
	o.defs = append(o.defs, t)
	o.current[t.Name] = len(o.defs) - 1
	return len(o.defs) - 1
}

func sameTable(a, b sinks.Table) bool {
	if a.Name != b.Name || a.Time != b.Time || !slices.Equal(a.Key, b.Key) || !slices.Equal(a.Entity, b.Entity) {
		return false
	}
	if a.Schema == b.Schema {
		return true
	}
	return slices.EqualFunc(a.Schema.Fields, b.Schema.Fields, sameField)
}

// Append takes the output of one entry. Without registered sinks it is not kept.
func (o *Outbox) Append(index uint64, time int64, changes []engine.Changes, alerts []alert.Transition) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end, o.sum = index, 0
	if len(o.cursors) == 0 {
		if len(changes) > 0 || len(alerts) > 0 {
			o.trimmed = index
		}
		return
	}
	for i := range changes {
		if changes[i].Rows.Len > 0 {
			o.scratch = o.appendChanges(o.scratch[:0], time, &changes[i])
			o.sum = o.sum*31 + uint64(o.rows.append(index, o.scratch, o.opts.SegmentBytes))
		}
	}
	if len(alerts) > 0 {
		o.scratch = appendAlerts(o.scratch[:0], time, alerts)
		o.sum = o.sum*31 + uint64(o.alerts.append(index, o.scratch, o.opts.SegmentBytes))
	}
	if len(changes) == 0 && len(alerts) == 0 {
		return
	}
	o.enforceBound()
	o.spill()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
}

// Sum is over every byte that the last Append kept: equal on replicas that emitted the same values.
func (o *Outbox) Sum() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sum
}

// enforceBound drops the oldest rows, a segment at a time; alert transitions are never dropped.
func (o *Outbox) enforceBound() {
	for o.rows.bytes > o.opts.MaxBytes && len(o.rows.segs) > 1 {
		s := o.rows.segs[0]
		o.dropped += uint64(s.records)
		o.trimmed = max(o.trimmed, s.last)
		o.rows.removeFirst()
	}
}

// Changed returns a channel that is closed at the next output. Take it before reading.
func (o *Outbox) Changed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.changed
}

// Register names the sinks. A new one starts with the next entry; one that is not named any more is forgotten.
func (o *Outbox) Register(names []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	names = slices.Clone(names)
	slices.Sort(names)
	next := make([]Cursor, 0, len(names))
	for _, n := range slices.Compact(names) {
		at := o.end
		if i, ok := o.find(n); ok {
			at = o.cursors[i].UpTo
		}
		next = append(next, Cursor{Name: n, UpTo: at})
	}
	o.cursors = next
	o.trim()
}

func (o *Outbox) find(name string) (int, bool) {
	return slices.BinarySearchFunc(o.cursors, name, func(c Cursor, n string) int {
		switch {
		case c.Name < n:
			return -1
		case c.Name > n:
			return 1
		}
		return 0
	})
}

// Ack moves a cursor forward and frees what every sink has. Unknown sinks and older positions change nothing.
func (o *Outbox) Ack(name string, upTo uint64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i, ok := o.find(name)
	if !ok || upTo <= o.cursors[i].UpTo {
		return
	}
	o.cursors[i].UpTo = min(upTo, o.end)
	o.trim()
}

func (o *Outbox) trim() {
	low := o.end
	for _, c := range o.cursors {
		low = min(low, c.UpTo)
	}
	for _, l := range []*log{&o.rows, &o.alerts} {
		for len(l.segs) > 0 && l.segs[0].last <= low {
			o.trimmed = max(o.trimmed, l.segs[0].last)
			l.removeFirst()
		}
	}
}

// Cursors returns the sinks and how far they have come.
func (o *Outbox) Cursors() []Cursor {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cursors)
}

// Stats is what an operator asks for.
type Stats struct {
	End, Trimmed   uint64
	Newest         uint64 // entry of the newest record; sinks at or past it have everything
	Bytes, Spilled int64
	Records        int
	Dropped        uint64
	Failure        string
}

// Stats describes the outbox.
func (o *Outbox) Stats() Stats {
	o.mu.Lock()
	defer o.mu.Unlock()
	st := Stats{End: o.end, Trimmed: o.trimmed, Bytes: o.rows.bytes + o.alerts.bytes, Dropped: o.dropped}
	for _, l := range []*log{&o.rows, &o.alerts} {
		for _, s := range l.segs {
			st.Records += s.records
			st.Newest = max(st.Newest, s.last)
			if s.file != nil {
				st.Spilled += int64(s.size)
			}
		}
	}
	if o.failure != nil {
		st.Failure = o.failure.Error()
	}
	return st
}

// Definitions counts the table definitions so far: it changes when a table does.
func (o *Outbox) Definitions() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.defs)
}

// Tables returns the newest definition of every table, in the order they were defined.
func (o *Outbox) Tables() []sinks.Table {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []sinks.Table
	for i, t := range o.defs {
		if o.current[t.Name] == i {
			out = append(out, t)
		}
	}
	return out
}

// ErrGap means that rows after the asked index are gone: the sink has to be refilled another way.
var ErrGap = errors.New("outbox: rows are no longer here")

// Read returns output with index > after, at least one entry's when there is any, and stops at about
// maxBytes. upTo is the index that is then completely read; without more output it is the newest entry.
// It fails with ErrGap when output after that index is gone, unless the caller accepts losses up to lost:
// then it returns what is left, every alert transition included.
func (o *Outbox) Read(after uint64, maxBytes int, lost uint64) (out []sinks.Batch, upTo uint64, err error) {
	o.mu.Lock()
	if after < o.trimmed && lost < o.trimmed {
		t := o.trimmed
		o.mu.Unlock()
		return nil, 0, fmt.Errorf("%w: cursor %d, oldest kept is after %d", ErrGap, after, t)
	}
	rows, rowsEnd := o.rows.collect(after, maxBytes, o.end)
	alerts, alertsEnd := o.alerts.collect(after, maxBytes, o.end)
	defs := o.defs[:len(o.defs):len(o.defs)]
	o.mu.Unlock()
	defer release(rows)
	defer release(alerts)
	upTo = min(rowsEnd, alertsEnd)
	for _, span := range append(rows, alerts...) {
		if out, err = span.decode(out, after, upTo, defs); err != nil {
			return nil, 0, err
		}
	}
	slices.SortStableFunc(out, func(a, b sinks.Batch) int {
		switch {
		case a.Index < b.Index:
			return -1
		case a.Index > b.Index:
			return 1
		}
		return 0
	})
	return out, upTo, nil
}

// Close removes the spilled files.
func (o *Outbox) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range []*log{&o.rows, &o.alerts} {
		for len(l.segs) > 0 {
			l.removeFirst()
		}
	}
	return nil
}
