package stream

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// dedupOp lets the first row of each key pass. A key is forgotten when the
// watermark reaches its event time (or, within the watermark, its first event
// time plus the delay); without event time in the key it is never forgotten.
type dedupOp struct {
	p     *Pipeline
	node  *plan.Dedup
	next  operator
	m     *mark // forgets keys; nil: never
	judge *mark // judges rows, also when the event time is no key
	time  int   // event time of the input, -1 = none
	keys  *keys
	ctx   expr.Context
	until []int64 // per key: forgotten when <= watermark
	caps  captures
	wait  expiries
	sel   []int32
	late  []int32
	del   []int32
	over  bool
	c     chunk
}

// distinctKeys is SELECT DISTINCT as a dedup by every column.
func distinctKeys(n *plan.Distinct) *plan.Dedup {
	d := &plan.Dedup{Input: n.Input, EventKey: -1}
	for i := range n.Schema().Fields {
		d.Keys = append(d.Keys, i)
	}
	return d
}

func (b *builder) dedup(n *plan.Dedup, next operator) (flow, error) {
	s := n.Input.Schema()
	var exprs []expr.Expr
	for _, k := range n.Keys {
		exprs = append(exprs, expr.NewColumn(k, s.Fields[k].Name, s.Fields[k].Type))
	}
	op := &dedupOp{p: b.p, node: n, next: next, keys: newKeys(b.p, exprs)}
	f, err := b.build(n.Input, op)
	if n.EventKey >= 0 {
		op.m = f.mark
	}
	if op.judge, op.time = f.mark, n.EventKey; op.time < 0 {
		op.time = s.Time
	}
	b.add(op)
	return f, err
}

func (o *dedupOp) push(c *chunk) {
	o.ctx.Reset()
	o.c = *c
	sel := dropDeleted(c, c.sel, &o.del)
	if o.judge != nil && o.judge.late != noMark && o.time >= 0 && !o.node.TakesLate {
		sel = o.dropLate(c, sel)
	}
	if lenOf(sel, c.b.Len) == 0 {
		return
	}
	o.keys.eval(&o.ctx, c.b, sel)
	gids, sel := o.keys.groups(c, sel, o.over)
	o.sel = none(o.sel)
	for i, g := range gids {
		r := at(sel, i)
		for int(g) >= len(o.until) {
			o.until = append(o.until, absent)
		}
		if o.until[g] != absent {
			continue
		}
		o.caps.beforeOne(g)
		o.until[g] = o.expiry(c.b, int(r))
		if o.until[g] != never {
			o.wait.push(expiry{o.until[g], g})
		}
		o.sel = append(o.sel, r)
	}
	if o.c.sel = o.sel; len(o.sel) > 0 {
		o.next.push(&o.c)
	}
}

const (
	absent = -1 << 63
	never  = 1<<63 - 1
)

func (o *dedupOp) expiry(b *column.Batch, r int) int64 {
	if o.m == nil {
		return never
	}
	t := b.Cols[o.node.EventKey]
	if t.IsNull(r) {
		return never
	}
	at := t.I64[r]
	if t.Type.Kind == column.Struct {
		at = t.Any[r].L[1].I
	}
	if o.node.Within {
		at += o.node.Delay
	}
	return max(at, absent+1)
}

func (o *dedupOp) dropLate(c *chunk, sel []int32) []int32 {
	t := c.b.Cols[o.time]
	if t == nil {
		return sel
	}
	o.late = none(o.late)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if !t.IsNull(int(r)) && t.Type.Kind != column.Struct && t.I64[r] <= o.judge.late {
			o.p.late(c, int(r), "")
			continue
		}
		o.late = append(o.late, r)
	}
	return o.late
}

func (o *dedupOp) weigh() {
	_, b := o.size()
	o.over = b > o.p.opt.MaxStateBytes
}

func (o *dedupOp) wants() bool { return o.m != nil && o.keys.table.Live() > 0 }

func (o *dedupOp) close() {
	if o.m != nil && o.m.evict != noMark {
		for {
			x, ok := o.wait.due(o.m.evict)
			if !ok {
				break
			}
			o.caps.beforeOne(x.n)
			o.until[x.n] = absent
			o.keys.table.Remove(x.n)
		}
	}
	o.weigh()
}

func (o *dedupOp) size() (keys, bytes int64) {
	return int64(o.keys.table.Live()), int64(o.keys.table.Bytes() + 8*len(o.until) + 16*len(o.wait))
}

func (o *dedupOp) capture(c *Capture) func(e *encoder) {
	table := c.table(o.keys.table)
	groups := c.groups(&o.caps, nil, len(o.until), groupState{ages: o.until})
	return func(e *encoder) {
		table(e)
		groups.write(e, c.lock)
	}
}

func (o *dedupOp) save(e *encoder) { saveCaptured(e, o) }

func (o *dedupOp) load(d *decoder) {
	if d.v1 {
		loadTable(d, o.keys.table)
		for n := d.int(); n > 0 && d.err == nil; n-- {
			o.until = append(o.until, d.varint())
		}
	} else {
		loadTableBlocks(d, o.keys.table)
		var s groupState
		loadGroups(d, nil, &s, false, true)
		o.until = s.ages
	}
	if len(o.until) > o.keys.table.Len() {
		d.fail(errState)
	}
	for g, u := range o.until {
		if u != absent && u != never {
			o.wait.push(expiry{u, int32(g)})
		}
	}
}
