package engine

import (
	"errors"
	"io"

	"signalbox/engine/column"
)

// Engine is the state machine. It is not safe for concurrent use, except that
// Snapshot.Write may run while Apply goes on.
type Engine struct {
	opt      Options
	counters Counters
	out      Output
}

// New returns an engine with an empty catalog.
func New(opt Options) *Engine {
	return &Engine{opt: opt.withDefaults(), counters: Counters{Rejected: map[string]uint64{}}}
}

var errWiring = errors.New("engine: the executor is not connected yet")

// Execute runs DDL statements, all or none. Errors carry the position; several are joined.
func (e *Engine) Execute(sqlText string) error { return errWiring }

// LoadTable replaces the rows of a static table and makes them active from the next entry.
func (e *Engine) LoadTable(name string, version uint64, rows *column.Batch) error { return errWiring }

// Apply runs one entry. An error means Options.Strict met a failing row, or a bug; the state is then undefined.
func (e *Engine) Apply(in *Input) (*Output, error) { return &e.out, errWiring }

// Query runs a read-only SELECT over the catalog's tables, results, live state and system tables.
func (e *Engine) Query(sqlText string) (*column.Batch, error) { return nil, errWiring }

// Tables describes the catalog in order of creation.
func (e *Engine) Tables() []TableInfo { return nil }

// Counters returns a copy of the accounts.
func (e *Engine) Counters() Counters { return e.counters }

// StateHash is equal on replicas that applied the same entries.
func (e *Engine) StateHash() uint64 { return 0 }

// Snapshot is a point-in-time copy of an Engine's state.
type Snapshot struct{ parts [][]byte }

// Snapshot captures the state; the pause does not grow with Write's speed.
func (e *Engine) Snapshot() (*Snapshot, error) { return &Snapshot{}, errWiring }

// Write writes the snapshot; it may run while the engine applies further entries.
func (s *Snapshot) Write(w io.Writer) error { return errWiring }

// Restore reads a snapshot into a new engine; nothing is returned unless all of it verified.
func Restore(r io.Reader, opt Options) (*Engine, error) { return nil, errWiring }
