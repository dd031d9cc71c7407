package stream

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/window"
)

// multi builds rows made from the rows of a chunk, several from one.
type multi struct {
	p    *Pipeline
	next operator
	out  *column.Batch
	from []int32 // row of the chunk
	kth  []int32 // how many rows were made from it before
	ids  []RowID
	revs []uint32
	del  []bool
	ord  []int32
	time *column.Column
	c    chunk
	dup  bool
}

func (m *multi) init(p *Pipeline, s *column.Schema, next operator) {
	m.p, m.next, m.out = p, next, column.NewBatch(s, 0)
	m.time = column.New(column.Of(column.Timestamp), 0)
}

// begin starts the rows of a chunk.
func (m *multi) begin() {
	m.from, m.kth, m.dup = m.from[:0], m.kth[:0], false
}

func (m *multi) row(from int32, k int) {
	m.from, m.kth = append(m.from, from), append(m.kth, int32(k))
	m.dup = m.dup || k > 0
}

// left takes the columns of the chunk for the rows made so far.
func (m *multi) left(b *column.Batch) {
	for i, c := range b.Cols {
		if c == nil {
			m.out.Cols[i] = nil
			continue
		}
		if m.out.Cols[i] == nil {
			m.out.Cols[i] = column.New(c.Type, len(m.from))
		}
		col := m.out.Cols[i]
		col.Reset()
		take(col, c, m.from, len(m.from))
	}
	m.out.Len = len(m.from)
}

// send hands the rows on with the identity of the rows they were made from.
func (m *multi) send(c *chunk, sel []int32) {
	n := len(m.from)
	if n == 0 {
		return
	}
	m.c = chunk{b: m.out, sel: sel, src: c.src, scan: c.scan, full: c.full}
	m.ord = m.ord[:0]
	for _, r := range m.from {
		m.ord = append(m.ord, int32(c.ordinal(int(r))))
	}
	m.c.ord = m.ord
	if c.time != nil {
		m.time.Reset()
		take(m.time, c.time, m.from, n)
		m.c.time = m.time
	}
	if m.dup || c.ids != nil {
		m.ids = m.ids[:0]
		for i, r := range m.from {
			id := c.id(m.p, int(r))
			if m.kth[i] > 0 {
				id = childID(id, int(m.kth[i]))
			}
			m.ids = append(m.ids, id)
		}
		m.c.ids = m.ids
	}
	if c.revs != nil {
		m.revs = m.revs[:0]
		for _, r := range m.from {
			m.revs = append(m.revs, c.revs[r])
		}
		m.c.revs = m.revs
	}
	if c.del != nil {
		m.del = m.del[:0]
		for _, r := range m.from {
			m.del = append(m.del, c.del[r])
		}
		m.c.del = m.del
	}
	m.next.push(&m.c)
}

// explodeOp makes a row of each element of an array or map.
type explodeOp struct {
	stateless
	p    *Pipeline
	node *plan.Explode
	ctx  expr.Context
	m    multi
	bad  []int32
	own  int // columns of the input
}

func newExplodeOp(p *Pipeline, n *plan.Explode, next operator) *explodeOp {
	o := &explodeOp{p: p, node: n, own: len(n.Input.Schema().Fields)}
	o.m.init(p, n.Out, next)
	return o
}

func (o *explodeOp) push(c *chunk) {
	o.ctx.Reset()
	arr := o.node.Array.Eval(&o.ctx, c.b, c.sel)
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	o.m.begin()
	for _, col := range o.m.out.Cols[o.own:] {
		col.Reset()
	}
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		o.explode(r, arr)
	}
	o.m.left(c.b)
	o.m.send(c, nil)
}

func (o *explodeOp) explode(r int32, arr *column.Column) {
	var list []column.Datum
	if !arr.IsNull(int(r)) {
		list = arr.Any[r].L
	}
	step := 1
	if arr.Type.Kind == column.Map {
		step = 2
	}
	if len(list) == 0 && o.node.Outer {
		o.m.row(r, 0)
		for _, col := range o.m.out.Cols[o.own:] {
			col.AppendNull()
		}
	}
	for k := 0; k+step <= len(list); k += step {
		o.m.row(r, k/step)
		cols := o.m.out.Cols[o.own:]
		if o.node.Position {
			cols[0].AppendI64(int64(k / step))
			cols = cols[1:]
		}
		o.element(cols, list[k:k+step])
	}
}

func (o *explodeOp) element(cols []*column.Column, vals []column.Datum) {
	if !o.node.Inline {
		for i, col := range cols {
			col.Append(vals[i])
		}
		return
	}
	for i, col := range cols {
		if vals[0].Null {
			col.AppendNull()
			continue
		}
		col.Append(vals[0].L[i])
	}
}

// assignOp appends the windows a row is in, when no aggregate takes that over.
type assignOp struct {
	stateless
	p    *Pipeline
	node *plan.TimeAssign
	spec window.Spec
	ctx  expr.Context
	m    multi
	bad  []int32
	buf  []window.Span
}

func newAssignOp(p *Pipeline, n *plan.TimeAssign, next operator) *assignOp {
	o := &assignOp{p: p, node: n, spec: window.Spec{Size: n.Size, Slide: n.Slide, Start: n.Start}}
	o.m.init(p, n.Out, next)
	return o
}

func (o *assignOp) push(c *chunk) {
	o.ctx.Reset()
	t := o.node.Time.Eval(&o.ctx, c.b, c.sel)
	var gap *column.Column
	if o.node.Kind == plan.SessionWindow {
		gap = o.node.Gap.Eval(&o.ctx, c.b, c.sel)
	}
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	win := o.m.out.Cols[len(o.m.out.Cols)-1]
	win.Reset()
	o.m.begin()
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if t.IsNull(int(r)) {
			continue
		}
		o.buf = o.windows(o.buf[:0], t.I64[r], gap, int(r))
		for k, w := range o.buf {
			o.m.row(r, k)
			win.Append(column.Datum{L: []column.Datum{column.I64(w.Start), column.I64(w.End)}})
		}
	}
	o.m.left(c.b)
	o.m.send(c, nil)
}

func (o *assignOp) windows(buf []window.Span, t int64, gap *column.Column, r int) []window.Span {
	if gap == nil {
		return o.spec.Windows(buf, t)
	}
	if gap.IsNull(r) || gap.I64[r] <= 0 {
		return buf
	}
	return append(buf, window.Span{Start: t, End: t + gap.I64[r]})
}

// sortOp orders the rows of one entry (complete mode).
type sortOp struct {
	stateless
	p    *Pipeline
	node *plan.Sort
	next operator
	ctx  expr.Context
	rows *column.Batch
	ids  []RowID
	revs []uint32
	keys []*column.Column
	c    chunk
	full fullness // of the least complete row
}

func newSortOp(p *Pipeline, n *plan.Sort, next operator) *sortOp {
	return &sortOp{p: p, node: n, next: next, rows: column.NewBatch(n.Input.Schema(), 0)}
}

func (o *sortOp) push(c *chunk) {
	if o.rows.Len == 0 || c.full.expected-c.full.complete > o.full.expected-o.full.complete {
		o.full = c.full
	}
	takeBatch(o.rows, c.b, c.sel)
	for i, n := 0, c.rows(); i < n; i++ {
		r := c.row(i)
		o.ids = append(o.ids, c.id(o.p, r))
		rev := uint32(1)
		if c.revs != nil {
			rev = c.revs[r]
		}
		o.revs = append(o.revs, rev)
	}
}

func (o *sortOp) close() {
	if o.rows.Len == 0 {
		return
	}
	o.ctx.Reset()
	o.keys = o.keys[:0]
	for _, k := range o.node.Keys {
		o.keys = append(o.keys, k.Expr.Eval(&o.ctx, o.rows, nil))
	}
	order := identity(o.rows.Len)
	slices.SortStableFunc(order, o.compare)
	sorted := column.NewBatch(o.rows.Schema, o.rows.Len)
	takeBatch(sorted, o.rows, order)
	ids, revs := make([]RowID, len(order)), make([]uint32, len(order))
	for i, r := range order {
		ids[i], revs[i] = o.ids[r], o.revs[r]
	}
	o.c = chunk{b: sorted, ids: ids, revs: revs, full: o.full}
	o.next.push(&o.c)
	o.rows, o.ids, o.revs = column.NewBatch(o.rows.Schema, 0), o.ids[:0], o.revs[:0]
}

func (o *sortOp) compare(a, b int32) int {
	for i, k := range o.node.Keys {
		col := o.keys[i]
		an, bn := col.IsNull(int(a)), col.IsNull(int(b))
		if an || bn {
			if an == bn {
				continue
			}
			if an == k.NullsFirst {
				return -1
			}
			return 1
		}
		v := expr.Compare(col.Type, col.Datum(int(a)), col.Datum(int(b)))
		if v == 0 {
			continue
		}
		if k.Desc {
			v = -v
		}
		return v
	}
	return 0
}
