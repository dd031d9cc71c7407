package stream

import (
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/window"
)

// sessionOp aggregates by session windows: a row's session is [time, time+gap)
// and sessions of one key that touch become one.
type sessionOp struct {
	p     *Pipeline
	node  *plan.Aggregate
	m     *mark // nil: sessions never close
	timeX expr.Expr
	gapX  expr.Expr // nil: timeX is the window column itself
	rest  []int
	ctx   expr.Context
	keys  *keys
	calls *calls
	emitB emitter

	lists [][]session // per key, by start
	accs  []agg.Accumulator
	slots int     // accumulator groups in use or free
	free  []int32 // slots to use again, last first
	held  int64
	first int64 // no session ends before it

	into  []int32 // per slot: the slot it was merged into during this batch
	gone  []int32 // slots that were merged away during this batch
	spans []window.Span
	slot  []int32
	bad   []int32
	rows  []int32
	fail  error
	sums  []agg.Accumulator // of one session, to see whether a row fits
	over  bool

	caps    captures    // of slots
	rowCaps rowCaptures // of lists
}

type session struct {
	window.Span
	slot int32
}

func (b *builder) session(n *plan.Aggregate, next operator) (flow, error) {
	op := &sessionOp{p: b.p, node: n, calls: newCalls(n.Calls), timeX: n.Keys[n.Window], first: never}
	var rest []expr.Expr
	for i, k := range n.Keys {
		if i != n.Window {
			op.rest, rest = append(op.rest, i), append(rest, k)
		}
	}
	op.keys = newKeys(b.p, rest)
	op.accs = op.calls.newAccs()
	op.emitB.init(b.p, n.Out, next)
	input := n.Input
	if t, ok := input.(*plan.TimeAssign); ok && !usesWindow(n, len(t.Input.Schema().Fields)) {
		op.timeX, op.gapX, input = t.Time, t.Gap, t.Input
	}
	f, err := b.build(input, op)
	if n.EventKey >= 0 {
		op.m = f.mark
	}
	b.add(op)
	return f, err
}

func (o *sessionOp) push(c *chunk) {
	o.ctx.Reset()
	t := o.timeX.Eval(&o.ctx, c.b, c.sel)
	var gap *column.Column
	if o.gapX != nil {
		gap = o.gapX.Eval(&o.ctx, c.b, c.sel)
	}
	o.keys.eval(&o.ctx, c.b, c.sel)
	o.calls.eval(&o.ctx, c.b, c.sel)
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	o.ctx.Errors = o.ctx.Errors[:0]
	if sel = o.spansOf(c, t, gap, dropDeleted(c, sel, &o.rows)); len(sel) == 0 {
		return
	}
	gids, sel := o.keys.groups(c, sel, o.over)
	for len(o.lists) < o.keys.table.Len() {
		o.lists = append(o.lists, nil)
	}
	o.slot = o.slot[:0]
	added := len(o.calls.admission.guards) > 0 && !o.safe(gids, sel)
	if added {
		sel = o.admit(c, gids, sel)
	} else {
		for i, g := range gids {
			o.slot = append(o.slot, o.place(g, o.spans[at(sel, i)]))
		}
	}
	for i, s := range o.slot {
		o.slot[i] = o.final(s)
	}
	o.caps.before(o.slot)
	o.calls.add(&o.ctx, o.accs, o.slot, sel, added)
	o.p.refuseFailed(&o.ctx, c)
	o.release()
}

// spansOf computes the session of each row alone; rows without time or with a
// gap that is not positive are dropped, late ones reported.
func (o *sessionOp) spansOf(c *chunk, t, gap *column.Column, sel []int32) []int32 {
	if cap(o.spans) < c.b.Len {
		o.spans = make([]window.Span, c.b.Len)
	}
	o.spans = o.spans[:c.b.Len]
	late := int64(noMark)
	if o.m != nil && o.p.mode != plan.Complete {
		late = o.m.late
	}
	out := none(o.bad)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if t.IsNull(int(r)) || gap != nil && (gap.IsNull(int(r)) || gap.I64[r] <= 0) {
			continue
		}
		if gap != nil {
			o.spans[r] = window.Span{Start: t.I64[r], End: t.I64[r] + gap.I64[r]}
		} else {
			o.spans[r] = window.Span{Start: t.Any[r].L[0].I, End: t.Any[r].L[1].I}
		}
		if late != noMark && o.spans[r].End <= late {
			o.p.late(c, int(r), "")
			continue
		}
		out = append(out, r)
	}
	o.bad = out
	return out
}

// place finds or makes the session that a span belongs to, merging what it touches.
func (o *sessionOp) place(g int32, x window.Span) int32 {
	o.rowCaps.before(g)
	list := o.lists[g]
	x, lo, hi := window.Touching(list, func(s session) window.Span { return s.Span }, x)
	var slot int32
	if lo == hi {
		slot = o.newSlot()
		o.held++
	} else {
		slot = list[lo].slot
		for _, s := range list[lo+1 : hi] {
			o.merge(slot, s.slot)
		}
	}
	o.lists[g] = slices.Replace(list, lo, hi, session{x, slot})
	o.first = min(o.first, x.End)
	return slot
}

func (o *sessionOp) newSlot() int32 {
	if n := len(o.free); n > 0 {
		s := o.free[n-1]
		o.free = o.free[:n-1]
		return s
	}
	o.slots++
	growAccs(o.accs, o.slots)
	o.into = append(o.into, -1)
	return int32(o.slots - 1)
}

// merge folds session slot b into a; rows of this batch that were placed in b follow.
func (o *sessionOp) merge(a, b int32) {
	o.caps.beforeOne(a)
	for _, acc := range o.accs {
		if err := acc.Merge(a, acc, b); err != nil {
			o.fail = err
		}
	}
	o.into[b] = a
	o.gone = append(o.gone, b)
	o.held--
}

func (o *sessionOp) final(s int32) int32 {
	for o.into[s] >= 0 {
		s = o.into[s]
	}
	return s
}

// release frees the slots that were merged away.
func (o *sessionOp) release() {
	for _, s := range o.gone {
		o.into[s] = -1
		o.caps.beforeOne(s)
		clearAccs(o.accs, s)
		o.free = append(o.free, s)
	}
	o.gone = o.gone[:0]
}

func (o *sessionOp) weigh() {
	_, b := o.size()
	o.over = b > o.p.opt.MaxStateBytes
}

func (o *sessionOp) wants() bool {
	return o.m != nil && o.p.mode != plan.Complete && o.held > 0
}

func (o *sessionOp) close() {
	switch {
	case o.p.mode == plan.Complete:
		if o.p.data {
			o.emit(never, false)
		}
	case o.m != nil && o.m.evict != noMark && o.m.evict >= o.first:
		o.emit(o.m.evict, true)
	}
	o.emitB.flush()
	o.weigh()
}

type ended struct {
	session
	g int32
}

// emit hands on the sessions that end at or before mark, in order of time, and forgets them.
func (o *sessionOp) emit(mark int64, forget bool) {
	var out []ended
	o.first = never
	for g, list := range o.lists {
		for _, s := range list {
			if s.End <= mark {
				out = append(out, ended{s, int32(g)})
			} else {
				o.first = min(o.first, s.End)
			}
		}
	}
	slices.SortFunc(out, func(a, b ended) int {
		if c := compare(a.Start, b.Start); c != 0 {
			return c
		}
		return int(a.g - b.g)
	})
	e := &o.emitB
	for _, x := range out {
		if o.m != nil {
			e.claim(o.p.fullness(o.m, x.End))
		}
		cell := column.Datum{L: []column.Datum{column.I64(x.Start), column.I64(x.End)}}
		e.out.Cols[o.node.Window].Append(cell)
		e.keyCells(o.keys.table, x.g, o.rest)
		if o.fail != nil {
			e.fail(o.fail)
			o.fail = nil
		}
		e.values(o.accs, x.slot, len(o.node.Keys))
		e.finish(len(o.node.Keys), x.Start, x.End, 1, false)
	}
	e.flush()
	if !forget {
		return
	}
	for _, x := range out {
		o.caps.beforeOne(x.slot)
		o.rowCaps.before(x.g)
		clearAccs(o.accs, x.slot)
		o.free = append(o.free, x.slot)
		o.held--
		list := o.lists[x.g]
		i := slices.IndexFunc(list, func(s session) bool { return s.slot == x.slot })
		if o.lists[x.g] = slices.Delete(list, i, i+1); len(o.lists[x.g]) == 0 {
			o.keys.table.Remove(x.g)
		}
	}
}

func (o *sessionOp) size() (keys, bytes int64) {
	return o.held, int64(o.keys.table.Bytes()+bytesOf(o.accs)+24*len(o.lists)) + 24*o.held
}

func (o *sessionOp) capture(c *Capture) func(e *encoder) {
	table, slots, free := c.table(o.keys.table), o.slots, slices.Clone(o.free)
	lists := c.rows(&o.rowCaps, len(o.lists), o.encode)
	groups := c.groups(&o.caps, o.calls, o.slots, groupState{accs: o.accs})
	return func(e *encoder) {
		table(e)
		e.int(slots)
		e.int(len(free))
		for _, s := range free {
			e.int(int(s))
		}
		lists.write(e, c.lock)
		groups.write(e, c.lock)
	}
}

func (o *sessionOp) save(e *encoder) { saveCaptured(e, o) }

// encode writes the sessions of some keys.
func (o *sessionOp) encode(e *encoder, from, to int) {
	for _, list := range o.lists[from:to] {
		e.int(len(list))
		for _, s := range list {
			e.varint(s.Start)
			e.varint(s.End)
			e.int(int(s.slot))
		}
	}
}

func (o *sessionOp) load(d *decoder) {
	if d.v1 {
		loadTable(d, o.keys.table)
	} else {
		loadTableBlocks(d, o.keys.table)
	}
	o.slots = d.int()
	for n := d.int(); n > 0 && d.err == nil; n-- {
		o.free = append(o.free, int32(d.int()))
	}
	used := 0
	for n := d.int(); n > 0 && d.err == nil; n-- {
		var list []session
		for k := d.int(); k > 0 && d.err == nil; k-- {
			s := session{window.Span{Start: d.varint(), End: d.varint()}, int32(d.int())}
			if int(s.slot) >= o.slots {
				d.fail(errState)
				return
			}
			o.first = min(o.first, s.End)
			list = append(list, s)
			used++
		}
		o.lists = append(o.lists, list)
	}
	o.held = int64(used)
	if used+len(o.free) != o.slots {
		d.fail(errState)
		return
	}
	for range o.slots {
		o.into = append(o.into, -1)
	}
	if d.v1 {
		loadAccs(d, o.accs, o.slots)
		return
	}
	if n := loadGroups(d, o.calls, &groupState{accs: o.accs}, false, false); n != o.slots {
		d.fail(errState)
	}
}
