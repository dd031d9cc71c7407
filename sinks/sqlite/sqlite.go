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
// Each table has the row id as primary key and the columns of package row.
// When two revisions of a row meet, the one from the later log entry wins, and
// within one entry the higher revision.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sqlitedriver "modernc.org/sqlite"
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
	PruneRows   int           // at most this many old rows per table leave in one Write; default 2000
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

	mu      sync.Mutex // guards all below and serialises writers
	db      *sql.DB
	conn    *sql.Conn            // the one connection: statements and transactions live on it
	tables  map[string]*table    // by outside name, lower case
	stmts   map[string]*sql.Stmt // by SQL text; bounded by maxStatements
	upserts map[upsertKey]string // SQL texts; bounded by maxStatements
	upTo    uint64
	known   bool // upTo was read from the database
	closed  bool // Close was called
	pruned  int64
	stats   Stats
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
	s := &Sink{opt: o, upserts: map[upsertKey]string{}}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Sink) open() error {
	db, err := openDB(s.opt.Path, s.opt.BusyTimeout)
	if err != nil {
		return err
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		db.Close()
		return fmt.Errorf("sqlite: open %s: %w", s.opt.Path, err)
	}
	s.db, s.conn, s.tables, s.stmts = db, conn, map[string]*table{}, map[string]*sql.Stmt{}
	s.known, s.pruned = false, 0
	if err := s.createMeta(); err != nil {
		s.close()
		return fmt.Errorf("sqlite: %s: %w", s.opt.Path, err)
	}
	return nil
}

// openDB opens a file with one connection: SQLite has one writer, and a second
// connection would only wait for the first.
func openDB(path string, busy time.Duration) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(" + strconv.FormatInt(busy.Milliseconds(), 10) + ")",
		"journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(1000)", "journal_size_limit(67108864)",
		"cache_size(-8192)"}} // KiB: the pages a large transaction touches fit, or it writes them out and reads them back
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	db.SetConnMaxIdleTime(0)
	return db, nil
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
func (s *Sink) Cursor(ctx context.Context) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return 0, true, err
	}
	return s.upTo, true, nil
}

func (s *Sink) readCursor(ctx context.Context) error {
	if s.known {
		return nil
	}
	var n int64
	err := s.conn.QueryRowContext(ctx, `SELECT up_to FROM _signalbox_cursor`).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
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
	if s.db == nil {
		return nil
	}
	s.forgetStatements()
	err := errors.Join(s.conn.Close(), s.db.Close())
	s.db, s.conn, s.known = nil, nil, false
	return err
}

func (s *Sink) forgetStatements() {
	for _, st := range s.stmts {
		st.Close()
	}
	clear(s.stmts)
}

// statement returns a prepared statement of the one connection.
func (s *Sink) statement(text string) (*sql.Stmt, error) {
	if st := s.stmts[text]; st != nil {
		return st, nil
	}
	if len(s.stmts) >= maxStatements {
		s.forgetStatements()
	}
	st, err := s.conn.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	s.stmts[text] = st
	return st, nil
}

// exec runs a statement that is not worth keeping. It does not take a context:
// a cancelled statement inside a transaction leaves more to undo than it saves.
func (s *Sink) exec(text string, args ...any) error {
	_, err := s.conn.ExecContext(context.Background(), text, args...)
	return err
}

// permanent wraps errors that no repetition cures.
func permanent(err error) error {
	var e *sqlitedriver.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
			return fmt.Errorf("%w: %w", sinks.ErrPermanent, err)
		}
	}
	return err
}
