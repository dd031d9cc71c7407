// Package file writes results as files, JSON lines or CSV, on every node.
//
// It promises exactly once per log range: a finished file FIRST-LAST.jsonl holds
// every change of the log entries FIRST to LAST of one table, once, in log order, and
// its bytes depend on the log alone: not on how writes were cut, repeated or
// interrupted, nor on the node. It refuses to know how the log is replicated.
//
//	DIR/TABLE/FIRST-LAST.jsonl        finished: safe to take away
//	DIR/TABLE/FIRST-LAST.jsonl.part   being written
//	DIR/alerts/FIRST-LAST.jsonl       transitions of alerts, always JSON lines
//	DIR/cursor.json                   how far all files are, and the valid length of each part
//
// Ranges have RangeEntries log entries, so the cut follows from the index alone.
// A part is appended to and synced first, then the cursor file is replaced
// (temporary file, sync, rename, sync of the folder): that is the commit. Bytes beyond
// the committed length are cut off before the next append. A part whose range
// is over is renamed. CSV files carry a hash of their header in the name, so
// that rows of another schema go to another file.
//
// Each row has _id, _revision, _index, _complete, _expected and _deleted before
// its own columns. In CSV an empty field is NULL and "" the empty string.
package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"signalbox/sinks"
	"signalbox/sinks/meter"
	"signalbox/sinks/row"
)

// Format of the files.
type Format string

// The formats.
const (
	JSONL Format = "jsonl"
	CSV   Format = "csv"
)

// Options of the sink. The zero value of each field takes its default.
type Options struct {
	Name         string // default "files"
	Dir          string
	Format       Format // default JSONL
	RangeEntries uint64 // log entries per file; default 100,000. It must not change while parts are open.
	KeepFiles    int    // finished files kept per table, the oldest go; 0 = all
}

// Stats counts what the sink did since it was opened.
type Stats struct {
	Rows, Alerts, Repeated, Finished, Removed uint64
}

// Sink writes below one folder. Its methods may be called from several goroutines; writes are serial.
type Sink struct {
	opt Options

	mu     sync.Mutex
	state  manifest
	loaded bool
	closed bool
	stats  Stats
}

// manifest is the content of cursor.json.
type manifest struct {
	UpTo         uint64           `json:"up_to"`
	RangeEntries uint64           `json:"range_entries"`
	Open         map[string]int64 `json:"open"` // path of the file below DIR, without .part -> committed bytes
}

// Open makes the sink on a folder that exists or is created.
func Open(o Options) (*Sink, error) {
	if o.Name == "" {
		o.Name = "files"
	}
	if o.Format == "" {
		o.Format = JSONL
	}
	if o.RangeEntries == 0 {
		o.RangeEntries = 100_000
	}
	switch {
	case o.Dir == "":
		return nil, errors.New("file: no dir: set the folder that the files go to")
	case o.Format != JSONL && o.Format != CSV:
		return nil, fmt.Errorf("file: format %q: use jsonl or csv", o.Format)
	case o.KeepFiles < 0:
		return nil, fmt.Errorf("file: keep_files %d is negative", o.KeepFiles)
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	s := &Sink{opt: o}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	return s, nil
}

// Name returns the name of the sink.
func (s *Sink) Name() string { return s.opt.Name }

// Scope returns EveryNode: each node keeps its own copy.
func (s *Sink) Scope() sinks.Scope { return sinks.EveryNode }

// Prepare has nothing to prepare: files appear with their first row.
func (s *Sink) Prepare(context.Context, []sinks.Table) error { return nil }

// Cursor returns the upTo of the last committed Write.
func (s *Sink) Cursor(context.Context) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return 0, true, err
	}
	return s.state.UpTo, true, nil
}

// Stats returns the counters.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Collectors returns the metrics of the sink.
func (s *Sink) Collectors() []prometheus.Collector {
	counter := func(name, help string, f func(Stats) uint64) prometheus.Collector {
		return meter.Counter(s.opt.Name, name, help, func() float64 { return float64(f(s.Stats())) })
	}
	return []prometheus.Collector{
		counter("rows_total", "Rows and deletions acknowledged by the receiver.", func(t Stats) uint64 { return t.Rows }),
		counter("alerts_total", "Transitions of alerts stored.", func(t Stats) uint64 { return t.Alerts }),
		counter("repeated_total", "Batches skipped because they were stored before.", func(t Stats) uint64 { return t.Repeated }),
		counter("files_finished_total", "Files finished.", func(t Stats) uint64 { return t.Finished }),
		counter("files_removed_total", "Finished files removed by retention.", func(t Stats) uint64 { return t.Removed }),
	}
}

// Close forgets the folder; everything is on disk already.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *Sink) ready() error {
	if s.closed {
		return errors.New("file: the sink is closed")
	}
	if s.loaded {
		return nil
	}
	return s.load()
}

func (s *Sink) manifestPath() string { return filepath.Join(s.opt.Dir, "cursor.json") }

// load reads the manifest and finishes what a crash left undone.
func (s *Sink) load() error {
	m := manifest{RangeEntries: s.opt.RangeEntries, Open: map[string]int64{}}
	text, err := os.ReadFile(s.manifestPath())
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(text, &m); err != nil {
			return fmt.Errorf("%s: %w", s.manifestPath(), err)
		}
	}
	if m.Open == nil {
		m.Open = map[string]int64{}
	}
	if m.RangeEntries != s.opt.RangeEntries && len(m.Open) > 0 {
		return fmt.Errorf("%s: files are open with ranges of %d entries, configured are %d: keep the old number, or move the folder away",
			s.manifestPath(), m.RangeEntries, s.opt.RangeEntries)
	}
	m.RangeEntries = s.opt.RangeEntries
	s.state = m
	if err := s.finish(); err != nil {
		return err
	}
	s.loaded = true
	return nil
}

// Write appends the changes of entries above the cursor, and commits.
func (s *Sink) Write(ctx context.Context, batches []sinks.Batch, upTo uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("file: up to index %d: %w", upTo, err)
	}
	if upTo <= s.state.UpTo {
		s.stats.Repeated += uint64(len(batches))
		return nil
	}
	texts, done, err := s.render(batches)
	if err == nil {
		err = s.commit(texts, upTo)
	}
	if err != nil {
		return fmt.Errorf("file: up to index %d: %w", upTo, err)
	}
	s.stats.Rows += done.Rows
	s.stats.Alerts += done.Alerts
	s.stats.Repeated += done.Repeated
	if err := s.finish(); err != nil {
		s.loaded = false // committed all the same; load tries the rest again
	}
	return nil
}

// render collects the text to append, by file.
func (s *Sink) render(batches []sinks.Batch) (map[string][]byte, Stats, error) {
	texts, done := map[string][]byte{}, Stats{}
	for i := range batches {
		b := &batches[i]
		if b.Index <= s.state.UpTo {
			done.Repeated++
			continue
		}
		if err := row.Check(b); err != nil {
			return nil, done, err
		}
		if len(b.Alerts) > 0 {
			name := s.path("alerts", b.Index, "", JSONL)
			texts[name] = appendAlerts(texts[name], b)
			done.Alerts += uint64(len(b.Alerts))
		}
		if b.Rows == nil || b.Rows.Len == 0 {
			continue
		}
		done.Rows += uint64(b.Rows.Len)
		if s.opt.Format == JSONL {
			name := s.path(folder(b.Table.Name), b.Index, "", JSONL)
			texts[name] = appendJSONL(texts[name], b)
			continue
		}
		head := csvHeader(b.Rows.Schema)
		name := s.path(folder(b.Table.Name), b.Index, "-"+hash(head), CSV)
		if len(texts[name]) == 0 && s.state.Open[name] == 0 {
			texts[name] = append(texts[name], head...)
		}
		texts[name] = appendCSV(texts[name], b)
	}
	return texts, done, nil
}

// path names the file of a table that the entry at index belongs to.
func (s *Sink) path(folder string, index uint64, suffix string, f Format) string {
	first := index - index%s.opt.RangeEntries
	return fmt.Sprintf("%s/%020d-%020d%s.%s", folder, first, first+s.opt.RangeEntries-1, suffix, f)
}

// commit appends to the parts and then replaces the manifest.
func (s *Sink) commit(texts map[string][]byte, upTo uint64) error {
	next := manifest{UpTo: upTo, RangeEntries: s.opt.RangeEntries, Open: maps.Clone(s.state.Open)}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if err := appendPart(filepath.Join(s.opt.Dir, name)+".part", s.state.Open[name], texts[name]); err != nil {
			return err
		}
		next.Open[name] = s.state.Open[name] + int64(len(texts[name]))
	}
	text, err := json.MarshalIndent(next, "", " ")
	if err != nil {
		return err
	}
	if err := replaceFile(s.manifestPath(), append(text, '\n')); err != nil {
		return err
	}
	s.state = next
	return nil
}

// finish renames the parts whose range is over. A crash in between is harmless:
// a part that is gone while its finished file is there was renamed before.
func (s *Sink) finish() error {
	for _, name := range slices.Sorted(maps.Keys(s.state.Open)) {
		if lastOf(name) > s.state.UpTo {
			continue
		}
		final := filepath.Join(s.opt.Dir, name)
		err := truncate(final+".part", s.state.Open[name])
		switch {
		case errors.Is(err, os.ErrNotExist):
			if _, there := os.Stat(final); there != nil {
				return fmt.Errorf("%s.part was committed and is gone: restore it, or remove its line from %s", final, s.manifestPath())
			}
		case err != nil:
			return err
		default:
			if err := errors.Join(os.Rename(final+".part", final), syncPath(filepath.Dir(final))); err != nil {
				return err
			}
			s.stats.Finished++
		}
		delete(s.state.Open, name)
		if err := s.retire(filepath.Dir(final)); err != nil {
			return err
		}
	}
	return nil
}

// lastOf reads the end of the range from a name that path made.
func lastOf(name string) (last uint64) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	var first uint64
	if _, err := fmt.Sscanf(base, "%d-%d", &first, &last); err != nil {
		return ^uint64(0) // not ours: never finished
	}
	return last
}

// retire removes the oldest finished files of a table beyond KeepFiles.
func (s *Sink) retire(dir string) error {
	if s.opt.KeepFiles == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir) // sorted by name, that is by range
	if err != nil {
		return err
	}
	var finished []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".part") {
			finished = append(finished, e.Name())
		}
	}
	for len(finished) > s.opt.KeepFiles {
		if err := os.Remove(filepath.Join(dir, finished[0])); err != nil {
			return err
		}
		finished = finished[1:]
		s.stats.Removed++
	}
	return nil
}
