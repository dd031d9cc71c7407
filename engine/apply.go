package engine

import (
	"fmt"
	"strings"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	"signalbox/engine/stream"
)

// Apply runs one entry. An error means that Options.Strict met a failing row
// or that the entry is out of order (a bug of the caller); the state is then undefined.
func (e *Engine) Apply(in *Input) (*Output, error) {
	if in.Index <= e.last && e.last != 0 {
		return nil, fmt.Errorf("engine: entry %d after entry %d: indexes must rise", in.Index, e.last)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.open) > 0 {
		e.sweepOpen()
	}
	e.last, e.tick = in.Index, max(in.Time, e.tick)
	e.ended = e.ended || in.End
	e.counters.Entries++
	e.out = Output{Changes: e.out.Changes[:0], Late: e.out.Late[:0], Partly: e.out.Partly[:0], Revised: e.out.Revised[:0], Rejected: e.out.Rejected[:0]}
	for _, c := range in.Certified {
		e.certify(c)
	}
	e.batches = e.batches[:0]
	for i := range in.Batches {
		if a, ok := e.adaptBatch(&in.Batches[i]); ok {
			e.batches = append(e.batches, a)
		}
	}
	for _, r := range e.cat.list {
		if r.kind == KindStreaming {
			if err := e.run(r, in); err != nil {
				return nil, err
			}
		}
	}
	if err := e.alerts.run(); err != nil {
		return nil, err
	}
	return &e.out, nil
}

func (e *Engine) certify(c Certified) {
	r := e.cat.find(c.Stream)
	if r == nil || r.kind != KindStream {
		return
	}
	r.certified, r.low = true, max(r.low, c.LowWater)
	r.agents.Complete, r.agents.Expected = c.AgentsComplete, c.AgentsExpected
	r.agents.Behind = append(r.agents.Behind[:0], c.Behind...)
}

// run applies the entry to one streaming table.
func (e *Engine) run(r *relation, in *Input) error {
	e.sources = e.sources[:0]
	for _, name := range r.pipe.Sources() {
		if !e.hasSource(name) {
			e.addSource(name)
		}
	}
	res, err := r.pipe.Apply(&stream.Entry{Index: in.Index, Time: e.tick, Sources: e.sources, End: in.End})
	if err != nil {
		return fmt.Errorf("engine: %s: %w", r.name, err)
	}
	e.collect(r, res)
	return nil
}

func (e *Engine) hasSource(name string) bool {
	for i := range e.sources {
		if strings.EqualFold(e.sources[i].Name, name) {
			return true
		}
	}
	return false
}

// addSource gathers what a relation brings into this entry.
func (e *Engine) addSource(name string) {
	n := len(e.sources)
	if n == cap(e.sources) {
		e.sources = append(e.sources, stream.Source{})
	} else {
		e.sources = e.sources[:n+1]
	}
	s := &e.sources[n]
	*s = stream.Source{Name: name, Batches: s.Batches[:0]}
	r := e.cat.find(name)
	if r == nil {
		return
	}
	s.Certified, s.LowWater, s.Agents = r.certified, r.low, &r.agents
	for i := range e.batches {
		if e.batches[i].rel == r {
			s.Batches = append(s.Batches, e.batches[i].b)
		}
	}
	if r.kind == KindStreaming {
		for _, c := range e.out.Changes {
			if c.Table == r.name {
				s.Batches = append(s.Batches, stream.Batch{Rows: c.Rows, IDs: c.IDs, Revisions: c.Revisions, Deleted: c.Deleted, Runs: c.runs})
			}
		}
	}
}

// collect takes the results of one streaming table into the output.
func (e *Engine) collect(r *relation, res *stream.Result) {
	for i := range res.Failed {
		x := e.refused(r, &res.Failed[i])
		e.reject(e.cat.find(x.Stream), x)
	}
	for i := range res.Late {
		x := e.refused(r, &res.Late[i])
		e.counters.Late++
		e.out.Late = append(e.out.Late, x)
		e.listLate(r, x)
	}
	for i := range res.Partly { // they count: the list only says where they are missing
		x := e.refused(r, &res.Partly[i])
		e.out.Partly = append(e.out.Partly, x)
		e.listLate(r, x)
	}
	for i := range res.Revised {
		x := e.refused(r, &res.Revised[i])
		e.out.Revised = append(e.out.Revised, x)
		e.listLate(r, x)
	}
	if res.Rows.Len == 0 {
		return
	}
	rows := &column.Batch{Schema: r.schema, Cols: res.Rows.Cols, Len: res.Rows.Len}
	c := Changes{Table: r.name, Rows: rows, IDs: res.IDs, Revisions: res.Revisions, Deleted: res.Deleted}
	c.Complete, c.Expected = e.completeness(r, rows.Len)
	c.claim(res.Runs)
	e.out.Changes = append(e.out.Changes, c)
	e.counters.ResultsOut += uint64(rows.Len)
	if r.query.Mode == plan.Complete {
		r.results.clear()
	}
	e.counters.ResultsEvict += r.results.apply(rows, res.IDs, res.Revisions, res.Deleted, c.Same)
}

// listLate lists a row in $late of its stream, a row of another table in that of the table that reads it.
func (e *Engine) listLate(r *relation, x Refused) {
	at := e.cat.find(x.Stream)
	if at == nil || at.kind == KindStreaming {
		at = r
	}
	if at.late != nil {
		e.counters.RingEvict += at.late.add(x, e.tick)
	}
}

// claim takes over what the rows of windows claim.
func (c *Changes) claim(runs []stream.Run) {
	c.runs = runs
	from := 0
	for i := range runs {
		r := &runs[i]
		for row := from; row < r.To; row++ {
			if r.Known {
				if c.Complete == nil {
					c.Complete, c.Expected = make([]int32, c.Rows.Len), make([]int32, c.Rows.Len)
				}
				c.Complete[row], c.Expected[row] = r.Complete, r.Expected
			}
			if r.Same {
				if c.Same == nil {
					c.Same = make([]bool, c.Rows.Len)
				}
				c.Same[row] = true
			}
		}
		from = r.To
	}
}

// completeness is the state of the agents behind a table's certified streams:
// the least complete one counts.
func (e *Engine) completeness(r *relation, n int) (complete, expected []int32) {
	c, x, any := 0, 0, false
	for _, name := range r.pipe.Sources() {
		s := e.cat.find(name)
		if s == nil || !s.certified {
			continue
		}
		if !any || s.agents.Expected-s.agents.Complete > x-c {
			c, x, any = s.agents.Complete, s.agents.Expected, true
		}
	}
	if !any {
		return nil, nil
	}
	complete, expected = make([]int32, n), make([]int32, n)
	for i := range n {
		complete[i], expected[i] = int32(c), int32(x)
	}
	return complete, expected
}

func (e *Engine) refused(r *relation, x *stream.Refused) Refused {
	out := Refused{Query: r.name, Reason: x.Reason, Detail: x.Detail, Time: x.Time, Origin: x.Origin, Ordinal: x.Ordinal, Row: rowJSON(x.Schema, x.Row)}
	if src := r.pipe.Sources(); len(src) > 0 {
		out.Stream = src[0]
	}
	if s := e.cat.find(x.Schema.Name); s != nil {
		out.Stream = s.name
	}
	return out
}

// MaxStaticRows bounds the rows any operator over static tables may hold inside
// a continuous query; beyond it the rows that would be joined go to $rejected.
const MaxStaticRows = 10_000_000

// static evaluates a sub-plan over static tables.
func (e *Engine) static(n plan.Node) (*column.Batch, error) {
	return batch.RunNode(n, func(s *plan.Scan) ([]*column.Batch, error) {
		r := e.cat.find(s.Table)
		if r == nil || r.kind != KindStatic {
			return nil, fmt.Errorf("%s is not a static table", s.Table)
		}
		return []*column.Batch{r.rows}, nil
	}, batch.Options{Strict: true, MaxRows: MaxStaticRows})
}

// staticVersion combines the versions of the static tables a sub-plan reads.
func (e *Engine) staticVersion(n plan.Node) uint64 {
	v := uint64(0)
	if s, ok := n.(*plan.Scan); ok {
		if r := e.cat.find(s.Table); r != nil {
			v = r.loaded
		}
	}
	for _, in := range n.Inputs() {
		v = v*31 + e.staticVersion(in)
	}
	return v
}
