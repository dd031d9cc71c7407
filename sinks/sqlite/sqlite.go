// Package sqlite keeps results in an embedded SQLite database on every node.
//
// It promises exactly once: rows, alerts and the cursor change in one
// transaction that is synced to disk before Write returns, and the cursor in
// the database is the truth. It refuses to know the cluster: a node that was
// restored by snapshot installs a copy made by another node (CopyTo, Install).
//
// How values look inside, for people and programs alike:
//
//	BOOLEAN                      INTEGER 0 or 1
//	TINYINT … BIGINT             INTEGER, all 64 bits
//	FLOAT, DOUBLE                REAL; NaN is the text 'NaN' (SQLite would make it NULL), -0.0 becomes 0.0
//	DECIMAL                      TEXT with all digits, 12.50
//	STRING                       TEXT
//	BINARY                       BLOB
//	DATE                         TEXT 2026-01-31
//	TIMESTAMP                    TEXT 2026-01-31T08:15:00.000000Z: sorts as time does, SQLite's date functions read it
//	TIMESTAMP_NTZ                TEXT 2026-01-31T08:15:00.000000
//	INTERVAL                     INTEGER microseconds, or months
//	ARRAY, STRUCT, MAP           TEXT, JSON
//
// Each table has the columns of package row. Rows that keep their time lie in its
// order, under the primary key (time column, _id): retention, questions about a
// span of time and new rows all touch one end of one B-tree. Other tables have
// the primary key _id and an index on the time column, see layout. When two
// revisions of a row meet, the one from the later log entry wins, and within one
// entry the higher revision.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sqlite3 "modernc.org/sqlite/lib"

	"signalbox/sinks"
	"signalbox/sinks/meter"
)

// Options of the sink. The zero value of each field takes its default.
type Options struct {
	Name        string        // default "sqlite"
	Path        string        // the database file; its folder is created
	Retention   time.Duration // rows whose time column is older than the log by more than this are deleted; default 30 days, negative = keep for ever
	PruneEvery  time.Duration // how much log time passes between two looks for old rows; default 1 minute
	PruneRows   int           // at most this many old rows per table leave in one Write, twice as many in each that finds more left; default 2000
	BusyTimeout time.Duration // how long to wait for another program's lock; default 5 s
}

func (o Options) withDefaults() (Options, error) {
	if o.Path == "" {
		return o, errors.New("sqlite: no path: set the file that the database lives in")
	}
	if o.Name == "" {
		o.Name = "sqlite"
	}
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.PruneEvery <= 0 {
		o.PruneEvery = time.Minute
	}
	if o.PruneRows <= 0 {
		o.PruneRows = 2000
	}
	if o.BusyTimeout <= 0 {
		o.BusyTimeout = 5 * time.Second
	}
	return o, nil
}

// Stats counts what the sink did since it was opened.
type Stats struct {
	Rows, Alerts, Repeated, Pruned uint64 // Repeated: batches at or below the cursor, skipped
}

// Sink writes to one database file. Its methods may be called from several goroutines; writes are serial.
type Sink struct {
	opt Options

	mu     sync.Mutex        // guards all below and serialises writers
	conn   *conn             // the one connection; nil when it broke
	tables map[string]*table // by outside name, lower case
	plans  map[planKey]*plan // bounded by maxStatements
	upTo   uint64
	known  bool  // upTo was read from the database
	closed bool  // Close was called
	pruned int64 // log time of the last look that found nothing more
	room   int   // rows that may leave each table in the next Write
	relaid bool  // this write has copied a table
	stats  Stats
}

// maxStatements bounds the prepared statements that are kept; beyond it all are closed and made anew.
const maxStatements = 512

// Open opens or creates the database.
func Open(o Options) (*Sink, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, fmt.Errorf("sqlite: folder of the database: %w", err)
	}
	s := &Sink{opt: o, plans: map[planKey]*plan{}}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sink) open() error {
	c, err := openConn(s.opt.Path, s.opt.BusyTimeout)
	if err != nil {
		return err
	}
	s.conn, s.tables = c, map[string]*table{}
	s.known, s.pruned, s.room = false, 0, s.opt.PruneRows
	if err := s.createMeta(); err != nil {
		return errors.Join(fmt.Errorf("sqlite: %s: %w", s.opt.Path, err), s.close())
	}
	return nil
}

// Name returns the name of the sink.
func (s *Sink) Name() string { return s.opt.Name }

// Scope returns EveryNode: each node keeps its own copy.
func (s *Sink) Scope() sinks.Scope { return sinks.EveryNode }

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
		counter("pruned_total", "Rows deleted because they were older than the retention.", func(t Stats) uint64 { return t.Pruned }),
	}
}

// Cursor returns the upTo of the last committed Write.
func (s *Sink) Cursor(context.Context) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return 0, true, err
	}
	return s.upTo, true, nil
}

func (s *Sink) readCursor() error {
	if s.known {
		return nil
	}
	n, err := s.conn.number(`SELECT up_to FROM _signalbox_cursor`)
	if err != nil {
		return fmt.Errorf("sqlite: read cursor of %s: %w", s.opt.Path, err)
	}
	s.upTo, s.known = uint64(n), true
	return nil
}

var errClosed = errors.New("sqlite: the sink is closed")

// Close closes the database; the write-ahead log is folded into the file.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.close()
}

func (s *Sink) close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.close()
	s.conn, s.known = nil, false
	return err
}

// permanent wraps errors that no repetition cures.
func permanent(err error) error {
	var e *Error
	if errors.As(err, &e) {
		switch e.Code & 0xff {
		case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
			return fmt.Errorf("%w: %w", sinks.ErrPermanent, err)
		}
	}
	return err
}
