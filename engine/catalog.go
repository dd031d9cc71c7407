package engine

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/stream"
)

// relation is one named thing of the catalog.
type relation struct {
	name   string // as declared
	kind   Kind
	schema *column.Schema
	text   string // the statement, to build it again from a snapshot

	// stream
	certified bool
	low       int64
	agents    stream.Agents
	rejected  *ring
	adapt     adapter
	late      *ring // also of a streaming table that reads another one

	// static table
	rows    *column.Batch
	version uint64 // static: of the rows, as the caller counts; streaming: of the query
	loaded  uint64 // static: how often rows were loaded

	// streaming table
	query   *plan.Query
	opts    plan.Options
	now     int64 // current_timestamp() of the query
	pipe    *stream.Pipeline
	results *results
	keys    keyColumns
	told    plan.Told
}

// catalog is the relations in order of creation, which is also an order in
// which every streaming table comes after what it reads.
type catalog struct {
	list   []*relation
	byName map[string]*relation
}

func (c *catalog) find(name string) *relation { return c.byName[strings.ToLower(name)] }

func (c *catalog) add(r *relation) {
	c.list = append(c.list, r)
	c.byName[strings.ToLower(r.name)] = r
}

func (c *catalog) replace(old, r *relation) {
	c.list[slices.Index(c.list, old)] = r
	c.byName[strings.ToLower(r.name)] = r
}

func (c *catalog) remove(r *relation) {
	c.list = slices.DeleteFunc(c.list, func(x *relation) bool { return x == r })
	delete(c.byName, strings.ToLower(r.name))
}

func (c *catalog) clone() *catalog {
	out := &catalog{list: slices.Clone(c.list), byName: make(map[string]*relation, len(c.byName))}
	for _, r := range c.list {
		out.byName[strings.ToLower(r.name)] = r
	}
	return out
}

// continuous is the catalog as CREATE STREAMING TABLE sees it.
type continuous struct{ c *catalog }

func (v continuous) Relation(name string) (plan.Relation, bool) {
	r := v.c.find(name)
	if r == nil {
		return plan.Relation{}, false
	}
	return plan.Relation{Schema: r.schema, Stream: r.kind != KindStatic, Told: r.told}, true
}

// asRestored is the catalog as a table of a snapshot sees it: what an earlier
// version accepted is there, and a newer one must not refuse it.
type asRestored struct{ continuous }

func (v asRestored) Relation(name string) (plan.Relation, bool) {
	r, ok := v.continuous.Relation(name)
	r.Told = min(r.Told, plan.Revised)
	return r, ok
}

func (v continuous) Names() []string {
	var out []string
	for _, r := range v.c.list {
		out = append(out, r.name)
	}
	return out
}

// Engine is the state machine. It is not safe for concurrent use, except that
// Snapshot.Write may run while Apply goes on.
type Engine struct {
	mu       sync.Mutex // held while the state changes, and while Snapshot.Write reads a slice of it
	open     []openState
	opt      Options
	cat      *catalog
	counters Counters
	rejected *ring // rows of no declared stream
	last     uint64
	tick     int64
	ended    bool
	out      Output
	alerts   *alerting
	sources  []stream.Source
	batches  []accepted

	minTime, maxTime int64 // of the batch that was just checked, when ranged
	ranged           bool
}

// New returns an engine with an empty catalog.
func New(opt Options) *Engine {
	e := &Engine{opt: opt.withDefaults(), cat: &catalog{byName: map[string]*relation{}}, counters: Counters{Rejected: map[string]uint64{}}}
	e.rejected = newRing(rejectedSchema, e.opt.RingRows)
	e.alerts = newAlerting(e)
	return e
}

// LoadTable replaces the rows of a static table; they are active from the next
// entry. Columns are matched by name, a missing one is NULL.
func (e *Engine) LoadTable(name string, version uint64, rows *column.Batch) error {
	r := e.cat.find(name)
	if r == nil || r.kind != KindStatic {
		return fmt.Errorf("engine: %s is not a static table; declare it with CREATE TABLE %s (…) first", name, name)
	}
	b, err := conform(r.schema, rows)
	if err != nil {
		return fmt.Errorf("engine: table %s: %w", r.name, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.rows, r.version = b, version
	r.loaded++
	return nil
}

// conform copies rows to a declared schema.
func conform(s *column.Schema, in *column.Batch) (*column.Batch, error) {
	out := column.NewBatch(s, in.Len)
	for i, f := range s.Fields {
		j := ordinalFold(in.Schema, f.Name)
		if j < 0 || in.Cols[j] == nil {
			for range in.Len {
				out.Cols[i].AppendNull()
			}
			continue
		}
		src := in.Cols[j]
		for r := range in.Len {
			d, ok := convert(src.Type, f.Type, src.Datum(r))
			if !ok {
				return nil, fmt.Errorf("row %d, column %s: a value of type %s does not fit %s", r+1, f.Name, src.Type, f.Type)
			}
			out.Cols[i].Append(d)
		}
	}
	out.Len = in.Len
	return out, nil
}

// ordinalFold finds a column by name: exactly, else in any case.
func ordinalFold(s *column.Schema, name string) int {
	if i := s.Ordinal(name); i >= 0 {
		return i
	}
	return slices.IndexFunc(s.Fields, func(f column.Field) bool { return strings.EqualFold(f.Name, name) })
}

// Tables describes the catalog in order of creation.
func (e *Engine) Tables() []TableInfo {
	var out []TableInfo
	for _, r := range e.cat.list {
		t := TableInfo{Name: r.name, Kind: r.kind, Schema: r.schema, Version: r.version, SQL: r.text}
		switch r.kind {
		case KindStream:
			if r.schema.Time >= 0 {
				t.Time = r.schema.Fields[r.schema.Time].Name
			}
		case KindStatic:
			t.Rows = r.rows.Len
		case KindStreaming:
			t.Key, t.Entity, t.Time = r.keys.key, r.keys.entity, r.keys.time
			t.SQL, t.Options, t.Mode, t.Plan = r.query.SQL, r.opts, r.query.Mode, r.query.Root
			t.Rows, t.Counters, t.Told = r.results.len(), r.pipe.Counters(), r.told
			t.Watermark, _ = r.pipe.Watermark()
		}
		out = append(out, t)
	}
	return out
}

// Needed returns the columns of a stream that some query or rule reads, in
// order of the schema, so that a source need not decode the others; nil when
// the stream is not declared.
func (e *Engine) Needed(name string) []string {
	r := e.cat.find(name)
	if r == nil {
		return nil
	}
	used := make([]bool, len(r.schema.Fields))
	if r.schema.Time >= 0 {
		used[r.schema.Time] = true
	}
	for _, q := range e.cat.list {
		if q.kind == KindStreaming {
			markUsed(q.query.Root, r.name, used)
		}
	}
	e.alerts.markUsed(r.name, used)
	out := []string{}
	for i, u := range used {
		if u {
			out = append(out, r.schema.Fields[i].Name)
		}
	}
	return out
}

func markUsed(n plan.Node, name string, used []bool) {
	if s, ok := n.(*plan.Scan); ok && strings.EqualFold(s.Table, name) {
		for _, c := range s.Columns {
			used[c] = true
		}
	}
	for _, in := range n.Inputs() {
		markUsed(in, name, used)
	}
}

// Counters returns a copy of the accounts.
func (e *Engine) Counters() Counters {
	c := e.counters
	c.Rejected = make(map[string]uint64, len(e.counters.Rejected))
	for k, v := range e.counters.Rejected { // unordered: copied into a map
		c.Rejected[k] = v
	}
	for _, r := range e.cat.list {
		if r.kind == KindStreaming {
			p := r.pipe.Counters()
			c.Keys += p.Keys
			c.StateBytes += p.StateBytes
			c.ClosedBytes += p.ClosedBytes
			c.StateLimited += p.StateLimited
			c.ClosedEvict += p.ClosedEvict
			c.LatePartly += p.LatePartly
			c.Revised += p.Revised
			c.Finals += p.Finals
			c.WindowsEvict += p.WindowsEvict
			c.Incomplete += p.Incomplete
		}
	}
	return c
}

// ForgetSources forgets what each source of each query has seen; the
// watermarks stay. It is what a restart does to a query of Spark; a restored
// snapshot of ours forgets nothing.
func (e *Engine) ForgetSources() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.cat.list {
		if r.pipe != nil {
			r.pipe.ForgetSources()
		}
	}
}

// keyColumns are the columns of a result that identify a row.
type keyColumns struct {
	key, entity []string
	time        string
}

// keysOf finds the key of a result by following its columns down to the aggregate that makes them.
func keysOf(root plan.Node) keyColumns {
	var k keyColumns
	s := root.Schema()
	var window []string
	seen := map[int]bool{}
	var agg *plan.Aggregate
	for i, f := range s.Fields {
		a, key, part := keyOrigin(root, i)
		if a == nil {
			if part == "time" && k.time == "" {
				k.time = f.Name
			}
			continue
		}
		agg = a
		switch {
		case seen[key] && part != "start":
		case part == "start":
			window = []string{f.Name}
			seen[key] = true
		case part == "end" || part == "window":
			window = append(window, f.Name)
			seen[key] = true
		default:
			k.entity = append(k.entity, f.Name)
			seen[key] = true
		}
	}
	if agg == nil || len(seen) < len(agg.Keys) {
		if s.Time >= 0 && k.time == "" {
			k.time = s.Fields[s.Time].Name
		}
		return keyColumns{time: k.time}
	}
	if len(window) > 0 {
		k.time = window[0]
		window = window[:1]
	}
	k.key = append(window, k.entity...)
	return k
}

// keyOrigin follows a column: to key number key of an aggregate, or (part "time") to the time of a stream.
func keyOrigin(n plan.Node, ord int) (a *plan.Aggregate, key int, part string) {
	switch x := n.(type) {
	case *plan.Aggregate:
		if ord >= len(x.Keys) {
			return nil, 0, ""
		}
		if x.Keys[ord].Type().Kind == column.Struct {
			return x, ord, "window"
		}
		return x, ord, ""
	case *plan.Project:
		e := x.Exprs[ord]
		if o, ok := expr.ColumnOrdinal(e); ok {
			return keyOrigin(x.Input, o)
		}
		if len(e.Children()) == 1 {
			if o, ok := expr.ColumnOrdinal(e.Children()[0]); ok {
				if a, key, part := keyOrigin(x.Input, o); part == "window" {
					return a, key, windowPart(e)
				}
			}
		}
		return nil, 0, ""
	case *plan.Scan:
		if ord == x.Out.Time {
			return nil, 0, "time"
		}
		return nil, 0, ""
	case *plan.Join:
		if ord < len(x.Left.Schema().Fields) {
			return keyOrigin(x.Left, ord)
		}
		return nil, 0, ""
	case *plan.Filter, *plan.Sort, *plan.Limit, *plan.Watermark, *plan.Dedup, *plan.TimeAssign, *plan.Distinct, *plan.KeyedState:
		in := n.Inputs()[0]
		if ord < len(in.Schema().Fields) {
			return keyOrigin(in, ord)
		}
	}
	return nil, 0, ""
}

func windowPart(e expr.Expr) string {
	s := e.String()
	switch {
	case strings.HasSuffix(s, ".start"):
		return "start"
	case strings.HasSuffix(s, ".end"), strings.HasPrefix(s, "window_time("):
		return "end"
	}
	return ""
}
