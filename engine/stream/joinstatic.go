package stream

import (
	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// lookup is a hash table over the rows of a static sub-plan.
type lookup struct {
	p       *Pipeline
	node    plan.Node
	keys    []expr.Expr
	safe    []bool // per key: NULL matches NULL
	version uint64
	ready   bool
	err     error

	rows  *column.Batch
	table *agg.GroupTable
	first []int32 // per group: first row + 1
	next  []int32 // per row: next row + 1
	ctx   expr.Context
	gids  []int32
}

// refresh reads the rows again when their version changed.
func (l *lookup) refresh() {
	version := l.p.opt.StaticVersion(l.node)
	if l.ready && version == l.version {
		return
	}
	rows, err := l.p.opt.Static(l.node)
	l.ready, l.version, l.rows, l.err = true, version, rows, err
	types := make([]column.Type, len(l.keys))
	for i, k := range l.keys {
		types[i] = k.Type()
	}
	l.table = agg.NewGroupTable(types)
	l.first, l.next = l.first[:0], l.next[:0]
	if err != nil || rows.Len == 0 {
		return
	}
	l.ctx.Reset()
	cols := make([]*column.Column, len(l.keys))
	for i, k := range l.keys {
		cols[i] = k.Eval(&l.ctx, rows, nil)
	}
	sel := identity(rows.Len)
	if len(l.keys) == 0 {
		l.gids = l.table.GroupRows(rows.Len, l.gids)
	} else {
		l.gids = l.table.Groups(cols, sel, l.gids)
	}
	l.first = make([]int32, l.table.Len())
	l.next = make([]int32, rows.Len)
	for r := rows.Len - 1; r >= 0; r-- { // backwards, so that chains run forwards
		if l.ctx.Failed(int32(r)) || l.nullKey(cols, r) {
			continue
		}
		g := l.gids[r]
		l.next[r] = l.first[g]
		l.first[g] = int32(r) + 1
	}
}

func (l *lookup) nullKey(cols []*column.Column, r int) bool {
	for i, c := range cols {
		if !l.isSafe(i) && c.IsNull(r) {
			return true
		}
	}
	return false
}

func (l *lookup) isSafe(i int) bool { return i < len(l.safe) && l.safe[i] }

// staticJoinOp joins the rows of a stream with a static table.
type staticJoinOp struct {
	stateless
	p       *Pipeline
	node    *plan.Join
	swapped bool // the stream is the right side
	kind    plan.JoinKind
	keys    []expr.Expr // of the stream
	right   lookup
	inKey   int // NullAware: from which key pair on they are the IN itself

	ctx   expr.Context
	cctx  expr.Context
	m     multi
	match []int32 // static row per built row, -1 = none
	bad   []int32
	sel   []int32
	cols  []*column.Column
	gids  []int32
	nl    int // columns of the stream
	mark  []column.Datum
}

func newStaticJoin(p *Pipeline, n *plan.Join, next operator) (*staticJoinOp, error) {
	o := &staticJoinOp{p: p, node: n, kind: n.Kind, keys: n.LeftKeys, inKey: -1}
	o.right = lookup{p: p, node: n.Right, keys: n.RightKeys, safe: n.NullSafe}
	if hasStream(n.Right) {
		o.swapped, o.keys = true, n.RightKeys
		o.right.node, o.right.keys = n.Left, n.LeftKeys
		switch n.Kind {
		case plan.Right:
			o.kind = plan.Left
		case plan.Inner, plan.Cross:
		default:
			return nil, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "this join would have to wait for rows of the stream that may never come; put the stream on the left of a LEFT, SEMI or ANTI join")
		}
	} else if n.Kind == plan.Right || n.Kind == plan.Full {
		return nil, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "a RIGHT or FULL join of a stream with a static table would have to wait for rows that may never come; use LEFT")
	}
	if n.NullAware {
		o.inKey = len(n.LeftKeys) - n.InKeys
	}
	left, right := n.Left.Schema(), n.Right.Schema()
	if o.swapped {
		left, right = right, left
	}
	o.nl = len(left.Fields)
	fields := append(append([]column.Field{}, left.Fields...), right.Fields...)
	o.m.init(p, &column.Schema{Fields: fields, Time: -1}, next)
	return o, nil
}

func (o *staticJoinOp) push(c *chunk) {
	o.right.refresh()
	if o.right.err != nil {
		for i, n := 0, c.rows(); i < n; i++ {
			o.p.refuse(c, c.row(i), "expression", o.right.err)
		}
		return
	}
	o.ctx.Reset()
	o.cols = o.cols[:0]
	for _, k := range o.keys {
		o.cols = append(o.cols, k.Eval(&o.ctx, c.b, c.sel))
	}
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	if sel == nil {
		sel = identity(c.b.Len)
	}
	if o.node.NullAware {
		o.pushNullAware(c, sel)
		return
	}
	o.candidates(sel)
	passed := o.test(c, sel)
	switch o.kind {
	case plan.Semi, plan.Anti, plan.Mark:
		o.existence(c, sel, passed)
	default:
		o.emitPairs(c, sel, passed)
	}
}

// candidates lists the pairs with equal keys in m.from and match.
func (o *staticJoinOp) candidates(sel []int32) {
	o.m.begin()
	o.match = o.match[:0]
	if o.right.rows.Len == 0 {
		return
	}
	if len(o.keys) == 0 {
		o.gids = o.gids[:0]
		for range sel {
			o.gids = append(o.gids, 0)
		}
	} else {
		o.gids = o.right.table.Find(o.cols, sel, o.gids)
	}
	for i, r := range sel {
		if o.gids[i] < 0 || o.right.nullKey(o.cols, int(r)) {
			continue
		}
		for k, s := 0, o.right.first[o.gids[i]]; s > 0; k, s = k+1, o.right.next[s-1] {
			o.m.row(r, k)
			o.match = append(o.match, s-1)
		}
	}
}

// test evaluates the rest of the condition; it returns which pairs hold, nil = all.
func (o *staticJoinOp) test(c *chunk, sel []int32) []bool {
	if o.node.Cond == nil {
		return nil
	}
	b := o.pairBatch(c)
	o.cctx.Reset()
	cond := o.node.Cond.Eval(&o.cctx, b, nil)
	passed := make([]bool, b.Len)
	for i := range passed {
		passed[i] = !o.cctx.Failed(int32(i)) && !cond.IsNull(i) && cond.I64[i] != 0
	}
	for _, e := range o.cctx.Errors {
		o.p.refuse(c, int(o.m.from[e.Row]), "expression", e.Err)
	}
	return passed
}

// pairBatch builds the pairs in the column order of the join: left, then right.
func (o *staticJoinOp) pairBatch(c *chunk) *column.Batch {
	o.m.left(c.b)
	o.fillRight()
	return o.ordered()
}

// fillRight takes the static columns of every built row; -1 gives NULLs.
func (o *staticJoinOp) fillRight() {
	for i, src := range o.right.rows.Cols {
		col := o.m.out.Cols[o.nl+i]
		if src == nil {
			o.m.out.Cols[o.nl+i] = nil
			continue
		}
		if col == nil {
			col = column.New(src.Type, 0)
			o.m.out.Cols[o.nl+i] = col
		}
		col.Reset()
		if src.Dict != nil {
			col.Dict = src.Dict
			if src.Dict.Len() == 0 {
				col.Dict = column.NewDict()
			}
		}
		for _, r := range o.match {
			o.cell(col, src, r)
		}
	}
}

func (o *staticJoinOp) cell(col, src *column.Column, r int32) {
	switch {
	case r < 0 || src.IsNull(int(r)):
		col.AppendNull()
	case col.Dict != nil && col.Dict == src.Dict:
		col.Codes = append(col.Codes, src.Codes[r])
		col.SetLen(len(col.Codes))
	default:
		col.Append(src.Datum(int(r)))
	}
}

// ordered is the built batch with the columns of the join's output.
func (o *staticJoinOp) ordered() *column.Batch {
	if !o.swapped {
		return &column.Batch{Schema: o.node.Out, Cols: o.m.out.Cols, Len: o.m.out.Len}
	}
	cols := append(append([]*column.Column{}, o.m.out.Cols[o.nl:]...), o.m.out.Cols[:o.nl]...)
	return &column.Batch{Schema: o.node.Out, Cols: cols, Len: o.m.out.Len}
}

// emitPairs hands on the pairs that hold and, for an outer join, rows without one.
func (o *staticJoinOp) emitPairs(c *chunk, sel []int32, passed []bool) {
	from, match := o.m.from, o.match
	o.m.from, o.m.kth, o.match, o.m.dup = nil, o.m.kth[:0], nil, false
	i := 0
	for _, r := range sel {
		k := 0
		for ; i < len(from) && from[i] == r; i++ {
			if passed == nil || passed[i] {
				o.m.row(r, k)
				o.match = append(o.match, match[i])
				k++
			}
		}
		if k == 0 && o.kind == plan.Left {
			o.m.row(r, 0)
			o.match = append(o.match, -1)
		}
	}
	o.m.left(c.b)
	o.fillRight()
	out := o.m.out
	o.m.out = o.ordered()
	o.m.send(c, nil)
	o.m.out = out
}

// existence keeps rows by whether they have a match, or appends that as a column.
func (o *staticJoinOp) existence(c *chunk, sel []int32, passed []bool) {
	has := growBools(nil, c.b.Len)
	for i, r := range o.m.from {
		has[r] = has[r] || passed == nil || passed[i]
	}
	o.mark = o.mark[:0]
	for _, r := range sel {
		o.mark = append(o.mark, column.Bool(has[r]))
	}
	o.emitMarks(c, sel)
}

// emitMarks applies the three-valued answers in o.mark, one per row of sel.
func (o *staticJoinOp) emitMarks(c *chunk, sel []int32) {
	out := *c
	if o.kind == plan.Mark {
		col := column.New(column.Of(column.Boolean), c.b.Len)
		col.Resize(c.b.Len)
		for i, r := range sel {
			col.Set(int(r), o.mark[i])
		}
		out.b = &column.Batch{Schema: o.node.Out, Len: c.b.Len, Cols: append(append([]*column.Column{}, c.b.Cols...), col)}
		out.sel = sel
		o.m.next.push(&out)
		return
	}
	o.sel = none(o.sel)
	for i, r := range sel {
		m := o.mark[i]
		if o.kind == plan.Semi && !m.Null && m.I != 0 || o.kind == plan.Anti && !m.Null && m.I == 0 {
			o.sel = append(o.sel, r)
		}
	}
	if out.sel = o.sel; len(o.sel) > 0 {
		o.m.next.push(&out)
	}
}

// pushNullAware answers IN with SQL's three values by looking at every static
// row that the correlation admits.
func (o *staticJoinOp) pushNullAware(c *chunk, sel []int32) {
	o.right.ctx.Reset()
	rcols := make([]*column.Column, len(o.right.keys))
	for i, k := range o.right.keys {
		rcols[i] = k.Eval(&o.right.ctx, o.right.rows, nil)
	}
	o.m.begin()
	o.match = o.match[:0]
	for _, r := range sel {
		k := 0
		for s := 0; s < o.right.rows.Len; s++ {
			if o.correlated(rcols, int(r), s) {
				o.m.row(r, k)
				o.match = append(o.match, int32(s))
				k++
			}
		}
	}
	passed := o.test(c, sel)
	state := make([]column.Datum, c.b.Len) // false
	for i, r := range o.m.from {
		if passed != nil && !passed[i] || !state[r].Null && state[r].I == 1 {
			continue
		}
		switch equal, known := o.same(rcols, int(r), int(o.match[i])); {
		case equal && known:
			state[r] = column.Bool(true)
		case equal:
			state[r] = column.NullDatum
		}
	}
	o.mark = o.mark[:0]
	for _, r := range sel {
		o.mark = append(o.mark, state[r])
	}
	o.emitMarks(c, sel)
}

// same compares the keys of IN of two rows: unequal, equal, or (not known) equal but for a NULL.
func (o *staticJoinOp) same(rcols []*column.Column, r, s int) (equal, known bool) {
	known = true
	for i := o.inKey; i < len(o.cols); i++ {
		a, b := o.cols[i], rcols[i]
		switch {
		case a.IsNull(r) || b.IsNull(s):
			known = false
		case expr.Compare(a.Type, a.Datum(r), b.Datum(s)) != 0:
			return false, true
		}
	}
	return true, known
}

// correlated reports whether all key pairs but those of IN are equal.
func (o *staticJoinOp) correlated(rcols []*column.Column, r, s int) bool {
	for i, a := range o.cols {
		b := rcols[i]
		if i >= o.inKey {
			break
		}
		an, bn := a.IsNull(r), b.IsNull(s)
		if an || bn {
			if an && bn && o.right.isSafe(i) {
				continue
			}
			return false
		}
		if expr.Compare(a.Type, a.Datum(r), b.Datum(s)) != 0 {
			return false
		}
	}
	return true
}
