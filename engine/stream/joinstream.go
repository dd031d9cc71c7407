package stream

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// streamJoinOp joins two streams. Each side remembers its rows until the
// watermark and the bound on the event times say that no match can come.
type streamJoinOp struct {
	p     *Pipeline
	node  *plan.Join
	next  operator
	m     *mark
	side  [2]joinSide
	byKey bool      // the event times are themselves equal keys
	rest  expr.Expr // the part of the condition that reads both sides
	cond  expr.Context
	pairs *column.Batch
	out   *column.Batch
	c     chunk
	ids   []RowID
	over  bool
}

// joinSide is the left (0) or right (1) input.
type joinSide struct {
	o     *streamJoinOp
	no    int
	time  int // event time ordinal, -1 = none
	age   int // ordinal of the time by which its rows are forgotten, -1 = they never are
	keys  *keys
	store *rowStore
	ctx   expr.Context
	bad   []int32
	late  []int32
	outer bool // its rows without a match are emitted

	rows  []int32 // candidate pairs: row of the chunk,
	slots []int32 // and slot of the other side
	hit   []bool  // per row of the chunk: it has a match

	pre  expr.Expr // the part of the condition that reads this side only
	pctx expr.Context
	pass []int32
}

func (b *builder) streamJoin(n *plan.Join, next operator) (flow, error) {
	switch n.Kind {
	case plan.Inner, plan.Left, plan.Right, plan.Full, plan.Semi:
	default:
		return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "two streams can be joined by INNER, LEFT, RIGHT, FULL and LEFT SEMI JOIN only; for anything else keep one side as a static table")
	}
	if len(n.LeftKeys) == 0 && n.Bound == nil {
		return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "a join of two streams needs an equality; without one every row would be compared with every row")
	}
	op := &streamJoinOp{p: b.p, node: n, next: next}
	left := newKeys(b.p, n.LeftKeys)
	right := newKeys(b.p, n.RightKeys)
	right.table = left.table
	op.side[0] = joinSide{o: op, no: 0, time: n.LeftTime, age: n.LeftTime, keys: left, store: newRowStore(n.Left.Schema()), outer: n.Kind == plan.Left || n.Kind == plan.Full}
	op.side[1] = joinSide{o: op, no: 1, time: n.RightTime, age: n.RightTime, keys: right, store: newRowStore(n.Right.Schema()), outer: n.Kind == plan.Right || n.Kind == plan.Full}
	fields := append(append([]column.Field{}, n.Left.Schema().Fields...), n.Right.Schema().Fields...)
	op.pairs = column.NewBatch(&column.Schema{Fields: fields, Time: -1}, 0)
	op.out = column.NewBatch(n.Out, 0)
	op.equalTimes()
	op.splitCond(len(n.Left.Schema().Fields))
	lf, err := b.build(n.Left, sideInput{s: &op.side[0]})
	if err != nil {
		return flow{}, err
	}
	rf, err := b.build(n.Right, sideInput{s: &op.side[1]})
	if err != nil {
		return flow{}, err
	}
	b.add(op)
	op.m = b.merge(lf.mark, rf.mark)
	out := op.m
	if hold := op.hold(); op.m != nil && hold > 0 {
		out = &mark{inputs: []*mark{op.m}, hold: hold, late: noMark, evict: noMark}
		b.p.marks = append(b.p.marks, out)
	}
	return flow{mark: out}, nil
}

// splitCond takes the parts of the condition that read one side only to that
// side: a row that does not pass them can never match, and is not kept.
func (o *streamJoinOp) splitCond(width int) {
	if o.node.Cond == nil {
		return
	}
	var parts [3][]expr.Expr // left only, right only, both
	for _, e := range conjuncts(o.node.Cond) {
		left, right := false, false
		columnsOf(e, func(i int) { left, right = left || i < width, right || i >= width })
		switch {
		case left && !right:
			parts[0] = append(parts[0], e)
		case right && !left:
			parts[1] = append(parts[1], expr.Rewrite(e, func(x expr.Expr) expr.Expr {
				if i, ok := expr.ColumnOrdinal(x); ok {
					f := o.node.Right.Schema().Fields[i-width]
					return expr.NewColumn(i-width, f.Name, f.Type)
				}
				return x
			}))
		default:
			parts[2] = append(parts[2], e)
		}
	}
	o.side[0].pre, o.side[1].pre, o.rest = allOf(parts[0]), allOf(parts[1]), allOf(parts[2])
}

// conjuncts splits a condition at its top-level ANDs.
func conjuncts(e expr.Expr) []expr.Expr {
	if k := e.Children(); len(k) == 2 && strings.EqualFold(e.String(), "("+k[0].String()+" AND "+k[1].String()+")") {
		return append(conjuncts(k[0]), conjuncts(k[1])...)
	}
	return []expr.Expr{e}
}

// allOf joins conditions by AND; nil when there are none.
func allOf(list []expr.Expr) expr.Expr {
	var out expr.Expr
	for _, e := range list {
		if out == nil {
			out = e
			continue
		}
		both, err := expr.Call("and", out, e)
		if err != nil { // both were operands of an AND before
			panic("stream: " + err.Error())
		}
		out = both
	}
	return out
}

func columnsOf(e expr.Expr, f func(int)) {
	if i, ok := expr.ColumnOrdinal(e); ok {
		f(i)
	}
	for _, c := range e.Children() {
		columnsOf(c, f)
	}
}

// prefilter keeps the rows that can match at all. Of an outer side the others
// are emitted at once, without a match.
func (s *joinSide) prefilter(c *chunk, sel []int32) []int32 {
	if s.pre == nil {
		return sel
	}
	s.pctx.Reset()
	cond := s.pre.Eval(&s.pctx, c.b, sel)
	s.pass = truths(cond, sel, c.b.Len, s.pass)
	for _, e := range s.pctx.Errors {
		s.o.p.refuse(c, int(e.Row), "expression", e.Err)
	}
	if !s.outer || len(s.pass) == len(sel) {
		return s.pass
	}
	s.o.out.Reset()
	s.o.ids = s.o.ids[:0]
	k := 0
	for _, r := range sel {
		if k < len(s.pass) && s.pass[k] == r {
			k++
		} else if !s.pctx.Failed(r) {
			s.o.single(s, c.b, int(r), c.id(s.o.p, int(r)))
		}
	}
	s.o.send()
	return s.pass
}

// equalTimes finds the pair of equality keys of which one is an event time: by it rows of both sides are forgotten.
func (o *streamJoinOp) equalTimes() {
	for i := range o.node.LeftKeys {
		l, ok1 := expr.ColumnOrdinal(o.node.LeftKeys[i])
		r, ok2 := expr.ColumnOrdinal(o.node.RightKeys[i])
		if ok1 && ok2 && (l == o.side[0].time || r == o.side[1].time) {
			o.byKey, o.side[0].age, o.side[1].age = true, l, r
			return
		}
	}
}

// sideInput is what the plan below one side pushes into.
type sideInput struct {
	stateless
	s *joinSide
}

func (i sideInput) push(c *chunk) { i.s.push(c) }

// expiry is when a row of this side can be forgotten: when the watermark
// reaches it. Spark computes it in whole milliseconds, one before the bound.
func (s *joinSide) expiry(t *column.Column, r int) int64 {
	o, b := s.o, s.o.node.Bound
	if s.age < 0 || o.m == nil || t == nil || t.IsNull(r) {
		return never
	}
	at := eventInstant(t, r)
	switch {
	case o.byKey:
		return at
	case b == nil || s.time < 0 || o.side[1-s.no].time < 0:
		return never
	case s.no == 0 && b.HasHi:
		return ceilMillis(at) + b.Hi + 1
	case s.no == 1 && b.HasLo:
		return ceilMillis(at) - b.Lo + 1
	}
	return never
}

// eventInstant is when a row happened: for a time window, its end.
func eventInstant(t *column.Column, r int) int64 {
	if t.Type.Kind != column.Struct {
		return t.I64[r]
	}
	return t.Any[r].L[1].I
}

func ceilMillis(t int64) int64 { return -floorDiv(-t, 1000) * 1000 }

// hold is how far the output's event times may be behind the watermark.
func (o *streamJoinOp) hold() int64 {
	b := o.node.Bound
	if b == nil || o.byKey {
		return 0
	}
	h := int64(0)
	if b.HasHi {
		h = max(h, ceilMillis(b.Hi+1))
	}
	if b.HasLo {
		h = max(h, ceilMillis(1-b.Lo))
	}
	return h
}

func (s *joinSide) push(c *chunk) {
	o := s.o
	s.ctx.Reset()
	s.keys.eval(&s.ctx, c.b, c.sel)
	sel := o.p.dropFailed(&s.ctx, c, c.sel, &s.bad)
	sel = s.dropLate(c, dropDeleted(c, sel, &s.late))
	if sel = s.prefilter(c, sel); len(sel) == 0 {
		return
	}
	gids, sel := s.keys.groups(c, sel, o.over)
	if len(gids) == 0 {
		return
	}
	other := &o.side[1-s.no]
	s.rows, s.slots = s.rows[:0], s.slots[:0]
	for i, r := range sel {
		if s.nullKey(int(r)) {
			gids[i] = -1
		}
		for x := other.store.first(gids[i]); x > 0; x = other.store.next[x-1] {
			s.rows, s.slots = append(s.rows, r), append(s.slots, x-1)
		}
	}
	s.match(c, other)
	s.remember(c, gids, sel)
	for _, g := range gids { // only now: rows of one batch share keys
		o.dropKey(g)
	}
}

// nullKey reports whether a row can have no match because a key is NULL. In a
// FULL join of two streams NULL equals NULL: Spark looks up rows by their bytes,
// and for the other kinds of join a filter has removed NULL keys from one side.
func (s *joinSide) nullKey(r int) bool {
	if s.o.node.Kind == plan.Full {
		return false
	}
	for i, c := range s.keys.cols {
		if c.IsNull(r) && !(i < len(s.o.node.NullSafe) && s.o.node.NullSafe[i]) {
			return true
		}
	}
	return false
}

func (s *joinSide) dropLate(c *chunk, sel []int32) []int32 {
	o := s.o
	out := none(s.bad)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if s.time >= 0 && o.m != nil && o.m.late != noMark {
			if t := c.b.Cols[s.time]; !t.IsNull(int(r)) && eventInstant(t, int(r)) <= o.m.late {
				o.p.late(c, int(r), "")
				continue
			}
		}
		out = append(out, r)
	}
	s.bad = out
	return out
}

// match keeps the candidates for which the whole condition holds and emits what follows from them.
func (s *joinSide) match(c *chunk, other *joinSide) {
	o := s.o
	s.hit = growBools(s.hit, c.b.Len)
	if len(s.rows) == 0 {
		return
	}
	b := s.pairBatch(c, other)
	passed := identity(b.Len)
	if o.rest != nil {
		o.cond.Reset()
		passed = truths(o.rest.Eval(&o.cond, b, nil), nil, b.Len, nil)
		for _, e := range o.cond.Errors {
			o.p.refuse(c, int(s.rows[e.Row]), "expression", e.Err)
		}
	}
	if o.node.Kind == plan.Semi {
		s.semi(c, other, passed)
		return
	}
	o.out.Reset()
	o.ids = o.ids[:0]
	for _, i := range passed {
		r, slot := int(s.rows[i]), s.slots[i]
		s.hit[r] = true
		other.store.match(slot)
		l, x := c.id(o.p, r), other.store.ids[slot]
		if s.no == 1 {
			l, x = x, l
		}
		o.ids = append(o.ids, pairID(l, x))
	}
	takeBatch(o.out, b, passed)
	o.send()
}

// pairBatch builds the candidates in the order left, right.
func (s *joinSide) pairBatch(c *chunk, other *joinSide) *column.Batch {
	b := s.o.pairs
	nl := len(s.o.node.Left.Schema().Fields)
	mine, theirs := b.Cols[:nl], b.Cols[nl:]
	if s.no == 1 {
		mine, theirs = theirs, mine
	}
	fill := func(dst []*column.Column, src []*column.Column, rows []int32) {
		for i, col := range dst {
			col.Reset()
			take(col, src[i], rows, len(rows))
		}
	}
	fill(mine, c.b.Cols, s.rows)
	fill(theirs, other.store.rows.Cols, s.slots)
	b.Len = len(s.rows)
	return b
}

// semi emits each left row once, with its first match; a matched left row is not kept.
func (s *joinSide) semi(c *chunk, other *joinSide, passed []int32) {
	o := s.o
	o.out.Reset()
	o.ids = o.ids[:0]
	var gone []int32
	for _, i := range passed {
		r, slot := s.rows[i], s.slots[i]
		if s.no == 0 {
			if !s.hit[r] {
				s.hit[r] = true
				o.ids = append(o.ids, c.id(o.p, int(r)))
				takeBatch(o.out, c.b, []int32{r})
			}
			continue
		}
		if !other.store.matched[slot] {
			other.store.match(slot)
			gone = append(gone, slot)
			o.ids = append(o.ids, other.store.ids[slot])
			takeBatch(o.out, other.store.rows, []int32{slot})
		}
	}
	o.send()
	for _, slot := range gone {
		other.store.remove(slot)
	}
}

func (o *streamJoinOp) send() {
	if o.out.Len == 0 {
		return
	}
	o.c = chunk{b: o.out, ids: o.ids}
	if t := o.node.LeftTime; t >= 0 {
		o.c.time = o.out.Cols[t]
	}
	o.next.push(&o.c)
	for _, c := range o.out.Cols {
		if c.Dict != nil {
			c.Reset()
			c.Dict = column.NewDict()
		}
	}
}

// remember stores the rows that may match later, or that must be emitted without a match.
func (s *joinSide) remember(c *chunk, gids, sel []int32) {
	semi := s.o.node.Kind == plan.Semi
	for i, r := range sel {
		if gids[i] < 0 && !s.outer || semi && s.no == 0 && s.hit[r] {
			continue
		}
		var t *column.Column
		if s.age >= 0 {
			t = c.b.Cols[s.age]
		}
		s.store.add(c.b, int(r), c.id(s.o.p, int(r)), gids[i], s.hit[r], s.expiry(t, int(r)))
	}
}

// forget drops a stored row, and its key when no side needs it.
func (o *streamJoinOp) forget(s *joinSide, slot int32) {
	g := s.store.gids[slot]
	s.store.remove(slot)
	o.dropKey(g)
}

// dropKey forgets a key that neither side has rows of.
func (o *streamJoinOp) dropKey(g int32) {
	if t := o.side[0].keys.table; g >= 0 && t.Alive(g) && o.side[0].store.first(g) == 0 && o.side[1].store.first(g) == 0 {
		t.Remove(g)
	}
}

func (o *streamJoinOp) push(*chunk) {}

func (o *streamJoinOp) weigh() {
	_, b := o.size()
	o.over = b > o.p.opt.MaxStateBytes
}

func (o *streamJoinOp) wants() bool {
	return o.m != nil && len(o.side[0].store.wait)+len(o.side[1].store.wait) > 0
}

func (o *streamJoinOp) close() {
	if o.m != nil && o.m.evict != noMark {
		for i := range o.side {
			o.evict(&o.side[i], o.m.evict)
		}
	}
	o.weigh()
}

// evict forgets the rows that can find no match any more and emits those that never had one.
func (o *streamJoinOp) evict(s *joinSide, mark int64) {
	o.out.Reset()
	o.ids = o.ids[:0]
	for {
		x, ok := s.store.wait.due(mark)
		if !ok {
			break
		}
		if !s.store.alive[x.n] || s.expiryOf(int(x.n)) != x.at {
			continue // it left earlier (a semi join), and its slot may have another row
		}
		if s.outer && !s.store.matched[x.n] {
			o.single(s, s.store.rows, int(x.n), s.store.ids[x.n])
		}
		o.forget(s, x.n)
	}
	o.send()
}

func (s *joinSide) expiryOf(slot int) int64 {
	if s.age < 0 {
		return never
	}
	return s.expiry(s.store.rows.Cols[s.age], slot)
}

// single appends row r of b, a row of side s without match, the other side NULL.
func (o *streamJoinOp) single(s *joinSide, b *column.Batch, r int, id RowID) {
	from := 0
	if s.no == 1 {
		from = len(o.node.Left.Schema().Fields)
	}
	for i, col := range o.out.Cols {
		if j := i - from; j >= 0 && j < len(b.Cols) && b.Cols[j] != nil {
			col.Append(b.Cols[j].Datum(r))
		} else {
			col.AppendNull()
		}
	}
	o.out.Len++
	if s.no == 0 {
		o.ids = append(o.ids, pairID(id, RowID{}))
	} else {
		o.ids = append(o.ids, pairID(RowID{}, id))
	}
}

func (o *streamJoinOp) size() (keys, bytes int64) {
	l, r := o.side[0].store, o.side[1].store
	return l.live + r.live, l.bytes() + r.bytes() + int64(o.side[0].keys.table.Bytes())
}

func (o *streamJoinOp) capture(c *Capture) func(e *encoder) {
	table, a, b := c.table(o.side[0].keys.table), o.side[0].store.capture(c), o.side[1].store.capture(c)
	return func(e *encoder) {
		table(e)
		a(e)
		b(e)
	}
}

func (o *streamJoinOp) save(e *encoder) { saveCaptured(e, o) }

func (o *streamJoinOp) load(d *decoder) {
	if d.v1 {
		loadTable(d, o.side[0].keys.table)
	} else {
		loadTableBlocks(d, o.side[0].keys.table)
	}
	for i := range o.side {
		s := &o.side[i]
		s.store.load(d, o.side[0].keys.table.Len(), s.expiryOf)
	}
}
