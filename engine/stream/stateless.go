package stream

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// stateless gives operators without state the methods they do not need.
type stateless struct{}

func (stateless) close()          {}
func (stateless) wants() bool     { return false }
func (stateless) save(e *encoder) {}
func (stateless) load(d *decoder) {}

// scanOp hands in the rows of a stream.
type scanOp struct {
	stateless
	p         *Pipeline
	node      *plan.Scan
	no        int32
	next      operator
	certified bool
	low       int64   // certified low-water mark
	agents    *Agents // behind it; the owner of the pipeline hands them in with every entry
	slack     int64   // see slackOf
	counted   bool    // something above adds up or remembers its rows
	firsts    []int32
	c         chunk
}

func (o *scanOp) push(c *chunk) { o.next.push(c) }

func (o *scanOp) pushBatch(b *Batch) {
	if len(b.Runs) == 0 {
		o.pushRows(b, b.Sel, fullness{})
		return
	}
	from := 0
	for i := range b.Runs { // rows of a streaming table keep what they can claim
		r := &b.Runs[i]
		sel := make([]int32, 0, r.To-from)
		for row := from; row < r.To; row++ {
			sel = append(sel, int32(row))
		}
		if from = r.To; !r.Same || !o.counted { // news about completeness is no news to what adds up
			o.pushRows(b, sel, r.fullness())
		}
	}
}

func (o *scanOp) pushRows(b *Batch, sel []int32, full fullness) {
	o.c = chunk{b: b.Rows, sel: sel, src: b, scan: o.no, ids: b.IDs, revs: b.Revisions, del: b.Deleted, full: full}
	if t := o.node.Out.Time; t >= 0 && t < len(b.Rows.Cols) {
		o.c.time = b.Rows.Cols[t]
		o.c.origTime = o.c.time
	}
	o.p.count.RowsIn += uint64(o.c.rows())
	if o.counted && b.Revisions != nil && !o.firstsOnly() {
		return
	}
	o.next.push(&o.c)
}

// firstsOnly keeps the rows that are told for the first time. A revision would
// be one more row to what counts them, and what it replaces could not be taken
// back: it is listed. It reports whether rows are left.
func (o *scanOp) firstsOnly() bool {
	c := &o.c
	o.firsts = none(o.firsts)
	for i, n := 0, c.rows(); i < n; i++ {
		if r := c.row(i); c.revs[r] > 1 || c.deleted(r) {
			o.p.revised(c, r)
		} else {
			o.firsts = append(o.firsts, int32(r))
		}
	}
	if len(o.firsts) < c.rows() {
		c.sel = o.firsts
	}
	c.revs, c.del = nil, nil
	return len(o.firsts) > 0
}

func (o *scanOp) save(e *encoder) { e.bool(o.certified); e.varint(o.low) }
func (o *scanOp) load(d *decoder) { o.certified, o.low = d.bool(), d.varint() }

// watermarkOp declares event time and observes its maximum.
type watermarkOp struct {
	stateless
	p     *Pipeline
	node  *plan.Watermark
	next  operator
	scan  *scanOp // the one source below, nil when there are several
	delay int64   // µs, whole milliseconds as in Spark
	max   int64   // ms
	seen  bool
	ctx   expr.Context
	out   column.Batch
	sel   []int32
	c     chunk
}

// value is the watermark this clause alone would give, µs.
func (o *watermarkOp) value() int64 {
	if o.scan != nil && o.scan.certified {
		return floorDiv(o.scan.low, 1000)*1000 - o.delay
	}
	if !o.seen {
		return 0
	}
	return o.max*1000 - o.delay
}

func (o *watermarkOp) observe(t *column.Column, sel []int32, n int) {
	nulls := t.HasNulls()
	isWindow := t.Type.Kind == column.Struct
	if sel == nil && !nulls && n > 0 && !isWindow {
		o.saw(maxTime(t.I64, nil, n))
		return
	}
	hi, any := int64(0), false
	for i, k := 0, lenOf(sel, n); i < k; i++ {
		r := at(sel, i)
		if nulls && t.IsNull(int(r)) {
			continue
		}
		v := int64(0)
		if isWindow {
			v = t.Any[r].L[1].I
		} else {
			v = t.I64[r]
		}
		if !any || v > hi {
			hi, any = v, true
		}
	}
	if any {
		o.saw(hi)
	}
}

func (o *watermarkOp) saw(t int64) {
	if ms := floorDiv(t, 1000); !o.seen || ms > o.max {
		o.max, o.seen = ms, true
	}
}

func (o *watermarkOp) push(c *chunk) {
	o.c = *c
	if o.node != nil && o.node.Expr != nil {
		o.ctx.Reset()
		col := o.node.Expr.Eval(&o.ctx, c.b, c.sel)
		o.c.sel = o.p.dropFailed(&o.ctx, c, c.sel, &o.sel)
		o.out = column.Batch{Schema: o.node.Out, Len: c.b.Len, Cols: append(o.out.Cols[:0], c.b.Cols...)}
		if len(o.out.Cols) < len(o.node.Out.Fields) {
			o.out.Cols = append(o.out.Cols, col)
		} else {
			o.out.Cols[o.node.Time] = col
		}
		o.c.b = &o.out
	}
	if o.node != nil {
		o.c.time = o.c.b.Cols[o.node.Time]
	}
	if o.c.time != nil {
		if _, hi, ok := o.c.timeRange(o.c.time); ok {
			o.saw(hi)
		} else {
			o.observe(o.c.time, o.c.sel, o.c.b.Len)
		}
	}
	if o.next != nil {
		o.next.push(&o.c)
	}
}

func (o *watermarkOp) save(e *encoder) { e.bool(o.seen); e.varint(o.max) }
func (o *watermarkOp) load(d *decoder) { o.seen, o.max = d.bool(), d.varint() }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// filterOp keeps rows.
type filterOp struct {
	stateless
	p    *Pipeline
	cond expr.Expr
	next operator
	ctx  expr.Context
	sel  []int32
	bad  []int32
	gone []bool
	c    chunk
}

func (o *filterOp) push(c *chunk) {
	o.ctx.Reset()
	cond := o.cond.Eval(&o.ctx, c.b, c.sel)
	if c.del != nil || c.revs != nil {
		o.pushRevised(c, cond)
		return
	}
	o.c = *c
	in := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	o.sel = truths(cond, in, c.b.Len, o.sel)
	if o.c.sel = o.sel; len(o.sel) > 0 {
		o.next.push(&o.c)
	}
}

// pushRevised filters rows that replace earlier ones: a row that does not pass
// any more, and rows that are deleted, go on as deletions.
func (o *filterOp) pushRevised(c *chunk, cond *column.Column) {
	o.c = *c
	o.sel = none(o.sel)
	o.gone = growBools(o.gone, c.b.Len)
	for _, e := range o.ctx.Errors {
		if !c.deleted(int(e.Row)) {
			o.p.refuse(c, int(e.Row), "expression", e.Err)
		}
	}
	for i, n := 0, c.rows(); i < n; i++ {
		r := c.row(i)
		pass := !cond.IsNull(r) && cond.I64[r] != 0 && !o.ctx.Failed(int32(r))
		o.gone[r] = c.deleted(r) || !pass
		if pass || o.gone[r] && (c.deleted(r) || c.revs != nil && c.revs[r] > 1 && !c.full.same) {
			o.sel = append(o.sel, int32(r))
		}
	}
	o.c.sel, o.c.del = o.sel, o.gone
	if len(o.sel) > 0 {
		o.next.push(&o.c)
	}
}

func growBools(s []bool, n int) []bool {
	if cap(s) < n {
		return make([]bool, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// projectOp computes columns.
type projectOp struct {
	stateless
	p    *Pipeline
	node *plan.Project
	next operator
	ctx  expr.Context
	out  column.Batch
	sel  []int32
	c    chunk
}

func (o *projectOp) push(c *chunk) {
	o.ctx.Reset()
	o.c = *c
	cols := o.out.Cols[:0]
	for _, x := range o.node.Exprs {
		if ord, ok := expr.ColumnOrdinal(x); ok {
			cols = append(cols, c.b.Cols[ord])
			continue
		}
		cols = append(cols, x.Eval(&o.ctx, c.b, c.sel))
	}
	o.out = column.Batch{Schema: o.node.Out, Cols: cols, Len: c.b.Len}
	o.c.b = &o.out
	if c.del == nil {
		o.c.sel = o.p.dropFailed(&o.ctx, c, c.sel, &o.sel)
	} else if len(o.ctx.Errors) > 0 {
		o.c.sel = o.keepDeleted(c)
	}
	if o.c.rows() > 0 {
		o.next.push(&o.c)
	}
}

// keepDeleted drops failing rows unless they are deletions, whose values do not matter.
func (o *projectOp) keepDeleted(c *chunk) []int32 {
	o.sel = none(o.sel)
	for i, n := 0, c.rows(); i < n; i++ {
		r := c.row(i)
		if !o.ctx.Failed(int32(r)) || c.deleted(r) {
			o.sel = append(o.sel, int32(r))
		}
	}
	for _, e := range o.ctx.Errors {
		if !c.deleted(int(e.Row)) {
			o.p.refuse(c, int(e.Row), "expression", e.Err)
		}
	}
	return o.sel
}

// limitOp counts rows over the stream's life, or per entry when every entry emits the whole answer.
type limitOp struct {
	p         *Pipeline
	n, offset int64
	next      operator
	taken     int64
	skipped   int64
	perPass   bool
	sel       []int32
	c         chunk
}

func (o *limitOp) push(c *chunk) {
	o.c = *c
	o.sel = none(o.sel)
	for i, n := 0, c.rows(); i < n; i++ {
		switch {
		case o.skipped < o.offset:
			o.skipped++
		case o.n < 0 || o.taken < o.n:
			o.taken++
			o.sel = append(o.sel, int32(c.row(i)))
		}
	}
	if o.c.sel = o.sel; len(o.sel) > 0 {
		o.next.push(&o.c)
	}
}

func (o *limitOp) close() {
	if o.perPass {
		o.taken, o.skipped = 0, 0
	}
}
func (o *limitOp) wants() bool     { return false }
func (o *limitOp) save(e *encoder) { e.varint(o.taken); e.varint(o.skipped) }
func (o *limitOp) load(d *decoder) { o.taken, o.skipped = d.varint(), d.varint() }

// unionOp gives the rows of a branch the schema of the union.
type unionOp struct {
	stateless
	out  *column.Schema
	next operator
	b    column.Batch
	c    chunk
}

func (o *unionOp) push(c *chunk) {
	o.c = *c
	o.b = column.Batch{Schema: o.out, Cols: c.b.Cols, Len: c.b.Len}
	o.c.b = &o.b
	o.next.push(&o.c)
}

// sink collects what reaches the end of the pipeline.
type sink struct {
	stateless
	p    *Pipeline
	rows *column.Batch
	ids  []RowID
	revs []uint32
	del  []bool
	dels int
	runs []Run
	own  []*column.Dict // one per column, while a column borrows the dictionary of its rows
}

func newSink(p *Pipeline, s *column.Schema) *sink {
	o := &sink{p: p, rows: column.NewBatch(s, 0)}
	for _, c := range o.rows.Cols {
		o.own = append(o.own, c.Dict)
	}
	return o
}

func (o *sink) reset() {
	for i, c := range o.rows.Cols {
		c.Reset()
		if c.Dict != nil {
			o.own[i] = bounded(o.own[i])
			c.Dict = o.own[i]
		}
	}
	o.rows.Len, o.dels = 0, 0
	o.ids, o.revs, o.del, o.runs = o.ids[:0], o.revs[:0], o.del[:0], o.runs[:0]
}

// maxDict is the number of strings after which a reused dictionary is started
// anew, so that it does not grow with the stream.
const maxDict = 4096

func bounded(d *column.Dict) *column.Dict {
	if d.Len() > maxDict {
		return column.NewDict()
	}
	return d
}

func (o *sink) push(c *chunk) {
	takeBatch(o.rows, c.b, c.sel)
	for i, n := 0, c.rows(); i < n; i++ {
		r := c.row(i)
		o.ids = append(o.ids, c.id(o.p, r))
		rev := uint32(1)
		if c.revs != nil {
			rev = c.revs[r]
		}
		o.revs = append(o.revs, rev)
		o.del = append(o.del, c.deleted(r))
		if c.deleted(r) {
			o.dels++
		}
	}
	o.runs = addRun(o.runs, c.rows(), c.full)
	o.p.count.RowsOut += uint64(c.rows())
}

func (o *sink) finish(res *Result) {
	res.Rows, res.IDs, res.Revisions, res.Deleted = o.rows, o.ids, o.revs, nil
	if o.dels > 0 {
		res.Deleted = o.del
	}
	res.Runs = nil
	if len(o.runs) > 1 || len(o.runs) == 1 && o.runs[0].Known {
		res.Runs = o.runs
	}
}
