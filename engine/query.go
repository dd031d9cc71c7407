package engine

import (
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/alert"
	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// The bounds of a read-only query unless QueryLimits says otherwise.
const (
	MaxQueryRows   = 5_000_000 // rows that any operator may hold
	MaxQueryMemory = 512 << 20 // memory that all its operators hold together, estimated
)

// QueryLimits bound one read-only query; zero fields mean the default.
type QueryLimits struct {
	MaxRows  int
	MaxBytes int64
	// Interrupt is asked now and then while the query runs; its error ends the query. May be nil.
	Interrupt func() error
}

func (l QueryLimits) options() batch.Options {
	if l.MaxRows == 0 {
		l.MaxRows = MaxQueryRows
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = MaxQueryMemory
	}
	return batch.Options{Strict: true, MaxRows: l.MaxRows, MaxBytes: l.MaxBytes, Interrupt: l.Interrupt}
}

// SystemTable is a table that the engine's owner knows beside the catalog (agents$…).
type SystemTable struct {
	Schema *column.Schema // its Name is the table's
	// Capture takes the rows as they are now and costs next to nothing; it is
	// called by View. What it returns makes the rows and may run beside Apply.
	Capture func() func() *column.Batch
}

// Query runs a read-only SELECT over static tables, the retained results of
// streaming tables, <table>$open (what is open or live now would say), <table>$windows (what became of each window), <stream>$late, <table>$late (of other tables it reads), <stream>$rejected, $rejected, alerts and the
// system tables of Options.System. current_timestamp() is the time of the last entry.
// It is Prepare, View and Run in one, for a caller that has nothing to do meanwhile.
func (e *Engine) Query(text string) (*column.Batch, error) {
	p, err := e.Prepare(text)
	if err != nil {
		return nil, err
	}
	v, err := e.View(p)
	if err != nil {
		return nil, err
	}
	return v.Run(QueryLimits{})
}

// Prepared is a SELECT that was found to be valid, and what it reads.
type Prepared struct {
	text  string
	cat   *catalog
	names []string // tables, in lower case
}

// Prepare reads and checks a SELECT. It may run beside Apply.
func (e *Engine) Prepare(text string) (*Prepared, error) {
	e.mu.Lock()
	c := readable{cat: e.cat, system: e.opt.System, asked: new([]string)}
	e.mu.Unlock()
	if _, err := analyze(text, c, 0); err != nil {
		return nil, err
	}
	return &Prepared{text: text, cat: c.cat, names: *c.asked}, nil
}

func analyze(text string, c readable, now int64) (*plan.Query, error) {
	q, err := sql.ParseSelect(text)
	if err != nil {
		return nil, err
	}
	return plan.Analyze(q, c, plan.AnalyzeOptions{Now: now, Text: text})
}

// readable is the catalog as a read-only query sees it. It looks at nothing that Apply changes.
type readable struct {
	cat    *catalog
	system []SystemTable
	asked  *[]string // what was looked up and found, in lower case
}

func (v readable) Relation(name string) (plan.Relation, bool) {
	low := strings.ToLower(name)
	s, refuse := v.schema(low)
	if s == nil && refuse == nil {
		return plan.Relation{}, false
	}
	if refuse == nil && !slices.Contains(*v.asked, low) {
		*v.asked = append(*v.asked, low)
	}
	return plan.Relation{Schema: s, Refuse: refuse}, true
}

// schema finds the columns of a table, or why it cannot be read.
func (v readable) schema(low string) (*column.Schema, error) {
	if r := v.cat.find(low); r != nil {
		if r.kind == KindStream {
			return nil, notKept(r)
		}
		return r.schema, nil
	}
	var s column.Schema
	switch base, what, _ := strings.Cut(low, "$"); {
	case low == RejectedStream:
		s = *rejectedSchema
	case low == "alerts":
		s = *alertsSchema
	case what != "":
		r := v.cat.find(base)
		switch {
		case r == nil:
		case r.kind == KindStreaming && what == "open":
			if !r.pipe.Opens() {
				return nil, notOpen(r)
			}
			s = *r.schema
		case r.kind == KindStreaming && what == "windows" && r.pipe.Windowed():
			s = *windowsSchema
		case r.late != nil && what == "late" || r.kind == KindStream && what == "rejected":
			s = *rejectedSchema
		}
	}
	if s.Fields == nil {
		t := v.systemTable(low)
		if t == nil {
			return nil, nil
		}
		s = *t.Schema
	}
	s.Name = low
	return &s, nil
}

func (v readable) systemTable(low string) *SystemTable {
	i := slices.IndexFunc(v.system, func(t SystemTable) bool { return strings.EqualFold(t.Schema.Name, low) })
	if i < 0 {
		return nil
	}
	return &v.system[i]
}

// alertsSchema is the schema of the table of alerts.
var alertsSchema = alert.Schema()

func notKept(r *relation) error {
	return &expr.Error{Phase: expr.Analysis, Condition: "STREAM_NOT_KEPT", SQLState: "0A000",
		Message: fmt.Sprintf("the readings of stream %s are not kept; query a streaming table, %s$late or %s$rejected", r.name, r.name, r.name)}
}

func notOpen(r *relation) error {
	return &expr.Error{Phase: expr.Analysis, Condition: "UNSUPPORTED_FEATURE", SQLState: "0A000",
		Message: fmt.Sprintf("%s$open is not there for the query of %s (mode %s, sessions, LIMIT, DEDUP, joined streams, aggregates over aggregates and functions with state after an aggregate have none); query %s, its newest results", r.name, r.name, r.query.Mode, r.name)}
}

func (v readable) Names() []string {
	var out []string
	for _, r := range v.cat.list {
		switch r.kind {
		case KindStream:
			out = append(out, r.name+"$late", r.name+"$rejected")
		case KindStreaming:
			if out = append(out, r.name); r.pipe.Opens() {
				out = append(out, r.name+"$open")
			}
			if r.pipe.Windowed() {
				out = append(out, r.name+"$windows")
			}
			if r.late != nil {
				out = append(out, r.name+"$late")
			}
		default:
			out = append(out, r.name)
		}
	}
	for _, t := range v.system {
		out = append(out, t.Schema.Name)
	}
	return append(out, RejectedStream, "alerts")
}

// View is what a query reads, as it was at one entry.
type View struct {
	text   string
	now    int64
	cat    readable
	index  uint64
	names  []string
	tables []viewTable // of names
	held   *heldState
}

// viewTable makes the rows of a captured table.
type viewTable func(l batch.Options) (*column.Batch, error)

// View captures what a query reads as it is now, which costs next to nothing. Whoever owns the engine calls
// it between two entries; Run or Release must follow, and may run beside Apply.
func (e *Engine) View(p *Prepared) (*View, error) {
	e.mu.Lock()
	if p.cat != e.cat { // the catalog changed since
		e.mu.Unlock()
		var err error
		if p, err = e.Prepare(p.text); err != nil {
			return nil, err
		}
		e.mu.Lock()
	}
	defer e.mu.Unlock()
	if err := e.room(); err != nil {
		return nil, err
	}
	v := &View{text: p.text, now: e.tick, index: e.last, names: p.names, held: &heldState{lock: &e.mu},
		cat: readable{cat: p.cat, system: e.opt.System, asked: new([]string)}}
	for _, name := range p.names {
		t, err := e.captureTable(v, name)
		if err != nil {
			v.held.release()
			return nil, err
		}
		v.tables = append(v.tables, t)
	}
	hold(e, v, v.held)
	return v, nil
}

// Index is the entry at which the view was taken.
func (v *View) Index() uint64 { return v.index }

func rowsOf(b *column.Batch) viewTable {
	return func(batch.Options) (*column.Batch, error) { return b, nil }
}

func (e *Engine) captureTable(v *View, name string) (viewTable, error) {
	if r := e.cat.find(name); r != nil {
		if r.kind == KindStatic {
			return rowsOf(r.rows.Frozen()), nil
		}
		c := r.results.capture()
		return func(batch.Options) (*column.Batch, error) {
			b, _, _ := c.list()
			return b, nil
		}, nil
	}
	ring := func(r *ring) (viewTable, error) {
		c := r.capture()
		return func(batch.Options) (*column.Batch, error) { return c.batch(), nil }, nil
	}
	switch base, what, _ := strings.Cut(name, "$"); {
	case name == RejectedStream:
		return ring(e.rejected)
	case name == "alerts":
		c := e.alerts.set.Capture(v.held.lock)
		v.held.give = append(v.held.give, c.Release)
		return func(batch.Options) (*column.Batch, error) { return c.Table(), nil }, nil
	default:
		switch r := e.cat.find(base); {
		case r == nil:
		case what == "open" && r.kind == KindStreaming:
			return e.captureTwin(v, r, func(twin *stream.Pipeline) *column.Batch {
				b, _, _ := twin.Open()
				return &column.Batch{Schema: r.schema, Cols: b.Cols, Len: b.Len}
			})
		case what == "windows" && r.kind == KindStreaming:
			if r.pipe.Overlapping() { // to count the rows of a window takes the groups of its panes
				return e.captureTwin(v, r, windowRows)
			}
			for name, a := range e.agentsBehind(r) { // unordered: one each
				r.pipe.Know(name, a)
			}
			return rowsOf(windowRows(r.pipe)), nil
		case what == "late" && r.late != nil:
			return ring(r.late)
		case what == "rejected" && r.kind == KindStream:
			return ring(r.rejected)
		}
	}
	t := v.cat.systemTable(name)
	if t == nil {
		return nil, fmt.Errorf("engine: no table %s", name)
	}
	rows := t.Capture()
	return func(batch.Options) (*column.Batch, error) { return rows(), nil }, nil
}

// Release gives up a view; after Run it has no effect.
func (v *View) Release() {
	v.held.lock.Lock()
	defer v.held.lock.Unlock()
	v.held.release()
	v.tables = nil
}

// Run answers the query, once. What was captured is given back before the work on the rows begins.
func (v *View) Run(l QueryLimits) (*column.Batch, error) {
	defer v.Release()
	opt := l.options()
	rows := make([]*column.Batch, len(v.tables))
	for i, t := range v.tables {
		if opt.Interrupt != nil {
			if err := opt.Interrupt(); err != nil {
				return nil, err
			}
		}
		var err error
		if rows[i], err = t(opt); err != nil {
			return nil, err
		}
	}
	v.Release()
	q, err := analyze(v.text, v.cat, v.now)
	if err != nil {
		return nil, err
	}
	return batch.Run(q, func(s *plan.Scan) ([]*column.Batch, error) {
		i := slices.Index(v.names, strings.ToLower(s.Table))
		if i < 0 {
			return nil, fmt.Errorf("engine: no table %s", s.Table)
		}
		return []*column.Batch{rows[i]}, nil
	}, opt)
}

// captureTwin takes the state of a streaming table. The rows are read off a
// twin of the table that is given that state.
func (e *Engine) captureTwin(v *View, r *relation, rows func(twin *stream.Pipeline) *column.Batch) (viewTable, error) {
	c, err := r.pipe.Capture(v.held.lock)
	if err != nil {
		return nil, fmt.Errorf("engine: %s: %w", r.name, err)
	}
	v.held.give = append(v.held.give, c.Release)
	state := r.pipe.Counters().StateBytes
	statics := map[string]*column.Batch{}
	captureStatics(e.cat, r.query.Root, statics)
	agents := e.agentsBehind(r)
	return func(l batch.Options) (*column.Batch, error) {
		if state > l.MaxBytes {
			return nil, batch.TooManyBytes(l.MaxBytes)
		}
		opt := e.streamOptions(r)
		opt.Static = func(n plan.Node) (*column.Batch, error) {
			return batch.RunNode(n, func(s *plan.Scan) ([]*column.Batch, error) {
				return []*column.Batch{statics[strings.ToLower(s.Table)]}, nil
			}, batch.Options{Strict: true, MaxRows: MaxStaticRows, Interrupt: l.Interrupt})
		}
		opt.StaticVersion = func(plan.Node) uint64 { return 1 }
		twin, err := stream.Compile(r.query, opt)
		if err == nil {
			err = twinState(c, twin)
		}
		if err != nil {
			return nil, fmt.Errorf("engine: %s: %w", r.name, err)
		}
		for name, a := range agents { // unordered: one each
			twin.Know(name, a)
		}
		return rows(twin), nil
	}, nil
}

// captureStatics takes the static tables that a plan reads.
func captureStatics(c *catalog, n plan.Node, out map[string]*column.Batch) {
	if s, ok := n.(*plan.Scan); ok {
		if r := c.find(s.Table); r != nil && r.kind == KindStatic {
			out[strings.ToLower(s.Table)] = r.rows.Frozen()
		}
	}
	for _, in := range n.Inputs() {
		captureStatics(c, in, out)
	}
}
