package stream

import (
	"fmt"
	"math"
	"slices"
	"time"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/window"
)

// emitRows is the number of result rows an aggregate hands on at once.
const emitRows = 4096

// paneOp aggregates by an event-time key: a time window, a window made further
// below, or a raw timestamp. One key table is shared by all panes; a pane is a
// set of accumulators indexed by the table's dense ids.
type paneOp struct {
	p    *Pipeline
	node *plan.Aggregate
	next operator
	m    *mark // nil: groups never close

	spec    window.Spec // of a fused TimeAssign
	fused   bool        // times come from timeX; otherwise the event key is a column of the input
	panes2  bool        // several panes make one window (sliding)
	timeX   expr.Expr
	evPos   int   // position of the event key in node.Keys
	rest    []int // positions of the other keys
	struct_ bool  // the event key is a window struct

	ctx   expr.Context
	keys  *keys
	calls *calls
	refs  []uint32 // panes that hold a group
	held  int64    // sum of groups over panes

	panes  []*pane // by span
	free   []*pane
	cur    *pane
	lists  []*pane // panes that the current batch touched
	spans  []window.Span
	bad    []int32
	rows   []int32
	late   []int32
	lo, hi int64 // range of the times of the batch, when known
	ranged bool
	emitB  emitter

	emitted   int64  // every window that ends at or before it was emitted
	passes    uint32 // emitting passes, update and complete mode
	dirty     bool   // late rows changed emitted windows since the last sweep
	revising  bool
	revisedAt int64 // tick of the last sweep
	sweeps    uint32
	overBytes bool

	// What operators see of the windows, and what has to be told again: see windows.go.
	listed        bool // these windows are those of the query
	finals        bool // windows that become final are told once more
	told          []toldWindow
	old           bool     // the window that is revised was told before its panes changed
	had           []uint64 // rows that the young window that is revised has told
	young         []youngWindow
	touched       []uint64
	nextUntold    int64 // end of the first window of told with rows that say that agents were missing
	telling       bool  // windows that became final are being told; those that did not fit wait for the next entry
	forgotten     int64 // every window that ends at or before it was forgotten
	closedWindows []WindowInfo
	oldest        int // of closedWindows, once they are full

	closedBytes int64               // of packed panes
	gaveUp      int64               // windows that end at or before it were given up for the byte budget
	unsettled   bool                // a pane may have to be packed
	spare       [][]agg.Accumulator // empty, of packed panes, for the next window
	set         []uint64
	starts      []int64
	mask        []uint64
	union       []uint64
	tmp         []agg.Accumulator
	sums        []agg.Accumulator // of one group, to see whether a row fits
	peaks       []float64         // per call that can fail: no pane's Bound is above it
	one         [1]*pane
	mergeErr    error
}

// pane is the state of one window, or of one slide of sliding windows.
type pane struct {
	span    window.Span
	accs    []agg.Accumulator
	size    int // groups the accumulators have room for
	has     []uint64
	n       int
	revs    []uint32 // emissions per group, update and complete mode
	touched []uint64 // groups of this pass, update mode
	fresh   []uint64 // append mode: of touched, groups that the pane did not have when its windows were told
	sel     []int32  // rows of the current batch
	gids    []int32
	listed  bool
	bounds  []float64 // of packed: per call that can fail
	packed  []byte    // the groups of an emitted window and their state; then accs and has are nil
	caps    captures
}

func newPaneOp(p *Pipeline, n *plan.Aggregate, next operator, m *mark) *paneOp {
	o := &paneOp{p: p, node: n, next: next, calls: newCalls(n.Calls)}
	o.evPos = n.EventKey
	if o.evPos < 0 {
		o.evPos = n.Window
	} else {
		o.m = m
	}
	var rest []expr.Expr
	for i, k := range n.Keys {
		if i != o.evPos {
			o.rest = append(o.rest, i)
			rest = append(rest, k)
		}
	}
	o.emitted, o.revisedAt, o.gaveUp, o.forgotten = noMark, noMark, noMark, noMark
	o.nextUntold = never
	o.peaks = make([]float64, len(o.calls.admission.guards))
	o.keys = newKeys(p, rest)
	o.timeX = n.Keys[o.evPos]
	o.struct_ = o.timeX.Type().Kind == column.Struct
	o.emitB.init(p, n.Out, next)
	return o
}

// fuse takes the window assignment into the aggregate.
func (o *paneOp) fuse(t *plan.TimeAssign) {
	o.fused, o.timeX = true, t.Time
	o.spec = window.Spec{Size: t.Size, Slide: t.Slide, Start: t.Start}
	o.panes2 = o.spec.Panes() && o.spec.Size > o.spec.Slide
}

func (o *paneOp) update() bool   { return o.p.mode == plan.Update }
func (o *paneOp) complete() bool { return o.p.mode == plan.Complete }

// lateMark is the time at or before which a window's end makes a row late.
func (o *paneOp) lateMark() int64 {
	if o.m == nil || o.complete() || o.m.late == noMark {
		return noMark
	}
	if o.m.late == math.MaxInt64 {
		return o.m.late
	}
	return max(o.m.late-o.p.opt.Table.AllowedLateness, o.gaveUp)
}

func (o *paneOp) push(c *chunk) {
	o.ctx.Reset()
	t := o.timeX.Eval(&o.ctx, c.b, c.sel)
	o.keys.eval(&o.ctx, c.b, c.sel)
	o.calls.eval(&o.ctx, c.b, c.sel)
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	if o.ctx.Errors != nil {
		o.ctx.Errors = o.ctx.Errors[:0]
	}
	sel = dropDeleted(c, sel, &o.rows)
	if o.struct_ && !o.fused {
		t = o.structEnds(t, sel, c.b.Len)
	}
	o.lo, o.hi, o.ranged = c.timeRange(t)
	sel = o.dropLate(c, t, sel)
	if lenOf(sel, c.b.Len) == 0 {
		return
	}
	o.ranged = o.ranged && sel == nil
	gids, sel := o.keys.groups(c, sel, o.overBytes)
	if len(gids) == 0 {
		return
	}
	o.distribute(c, t, gids, sel)
	o.p.refuseFailed(&o.ctx, c)
}

// dropDeleted leaves out rows that only say that an earlier row is gone.
func dropDeleted(c *chunk, sel []int32, buf *[]int32) []int32 {
	if c.del == nil {
		return sel
	}
	out := none(*buf)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		if r := at(sel, i); !c.del[r] {
			out = append(out, r)
		}
	}
	*buf = out
	return out
}

// structEnds makes a column of window ends from window structs; the spans go to o.spans by row.
func (o *paneOp) structEnds(t *column.Column, sel []int32, n int) *column.Column {
	ends := o.ctx.Column(column.Of(column.Timestamp), n)
	if cap(o.spans) < n {
		o.spans = make([]window.Span, n)
	}
	o.spans = o.spans[:n]
	for i, k := 0, lenOf(sel, n); i < k; i++ {
		r := int(at(sel, i))
		if t.IsNull(r) || t.Any[r].L[0].Null || t.Any[r].L[1].Null {
			ends.SetNull(r)
			continue
		}
		w := t.Any[r].L
		o.spans[r] = window.Span{Start: w[0].I, End: w[1].I}
		ends.I64[r] = w[1].I
	}
	return ends
}

// dropLate leaves out rows without time and rows whose every window is closed.
func (o *paneOp) dropLate(c *chunk, t *column.Column, sel []int32) []int32 {
	lm := o.lateMark()
	limit := o.firstOnTime(lm)
	nulls := t.HasNulls()
	n := c.b.Len
	if o.ranged && sel != nil {
		o.ranged = false
	}
	if !nulls && !o.ranged && (lm != noMark || o.fused) {
		o.lo = minTime(t.I64, sel, n)
	}
	several := o.fused && o.spec.Size > o.spec.Slide
	if !nulls && (lm == noMark || o.lo >= limit) {
		if several && lm != noMark {
			o.partly(c, t, sel, lm)
		}
		return sel
	}
	o.late = none(o.late)
	for i, k := 0, lenOf(sel, n); i < k; i++ {
		r := at(sel, i)
		switch {
		case nulls && t.IsNull(int(r)):
			if !o.fused {
				o.late = append(o.late, r) // NULL is a group of its own, kept until the end
			}
		case lm != noMark && t.I64[r] < limit:
			o.p.late(c, int(r), "")
		default:
			o.late = append(o.late, r)
		}
	}
	if several && lm != noMark {
		o.partly(c, t, o.late, lm)
	}
	return o.late
}

// firstOnTime is the earliest time (window end, or raw time) that is not late.
func (o *paneOp) firstOnTime(lm int64) int64 {
	if lm == noMark {
		return noMark
	}
	if !o.fused {
		return lm + 1
	}
	// The latest window of t ends at Last(t)+Size; it must be > lm. Last(t) > lm-Size, and starts are multiples of Slide.
	return o.spec.Last(lm-o.spec.Size) + o.spec.Slide
}

// partly reports rows that some, not all, of their sliding windows could take: they count.
func (o *paneOp) partly(c *chunk, t *column.Column, sel []int32, lm int64) {
	for i, k := 0, lenOf(sel, c.b.Len); i < k; i++ {
		r := int(at(sel, i))
		if t.IsNull(r) {
			continue
		}
		first := o.spec.Last(t.I64[r]-o.spec.Size) + o.spec.Slide // of the windows that contain the row
		if first+o.spec.Size > lm {
			continue
		}
		o.p.count.LatePartly++
		if o.p.opt.ListPartly {
			o.p.res.Partly = append(o.p.res.Partly, o.p.refused(c, r, "late_partly", o.missedWindows(first, t.I64[r], lm), nil))
		}
	}
}

// missedWindows says which windows of a row were closed, the earliest first.
func (o *paneOp) missedWindows(first, t, lm int64) string {
	const shown = 5
	closed := (lm-first-o.spec.Size)/o.spec.Slide + 1
	all := (o.spec.Last(t)-first)/o.spec.Slide + 1
	text := fmt.Sprintf("closed were %d of its %d windows:", closed, all)
	for i := range min(closed, shown) {
		start := first + i*o.spec.Slide
		text += " [" + instant(start) + ", " + instant(start+o.spec.Size) + ")"
	}
	if closed > shown {
		text += fmt.Sprintf(" and %d more", closed-shown)
	}
	return text + "; it counts in the others"
}

func instant(us int64) string { return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.999999Z") }

func minTime(v []int64, sel []int32, n int) int64 {
	lo := int64(1<<63 - 1)
	if sel == nil {
		for _, x := range v[:n] {
			lo = min(lo, x)
		}
		return lo
	}
	for _, r := range sel {
		lo = min(lo, v[r])
	}
	return lo
}

func maxTime(v []int64, sel []int32, n int) int64 {
	hi := int64(-1 << 63)
	if sel == nil {
		for _, x := range v[:n] {
			hi = max(hi, x)
		}
		return hi
	}
	for _, r := range sel {
		hi = max(hi, v[r])
	}
	return hi
}

// distribute adds rows to their panes. Most batches lie in one pane.
func (o *paneOp) distribute(c *chunk, t *column.Column, gids, sel []int32) {
	n := t.Len()
	if o.fused && o.onePane() && !t.HasNulls() {
		if !o.ranged {
			o.lo, o.hi = minTime(t.I64, sel, n), maxTime(t.I64, sel, n)
		}
		if lo := o.spec.Last(o.lo); uint64(o.hi-lo) < uint64(o.spec.Slide) {
			o.fold(c, o.pane(window.Span{Start: lo, End: lo + o.width()}), gids, sel)
			return
		}
	}
	o.split(t, gids, sel)
	o.foldLists(c)
}

// onePane reports whether a row is in exactly one pane.
func (o *paneOp) onePane() bool { return o.panes2 || o.spec.Size == o.spec.Slide }

// width is the length of a pane.
func (o *paneOp) width() int64 {
	if o.panes2 {
		return o.spec.Slide
	}
	return o.spec.Size
}

// split sorts rows into the lists of their panes.
func (o *paneOp) split(t *column.Column, gids, sel []int32) {
	one := o.fused && o.onePane()
	var cur *pane
	var lo, hi int64
	lm := o.lateMark()
	var buf [8]window.Span
	for i, g := range gids {
		r := at(sel, i)
		if one {
			v := t.I64[r]
			if cur == nil || v < lo || v >= hi {
				lo = o.spec.Last(v)
				hi = lo + o.spec.Slide
				cur = o.list(window.Span{Start: lo, End: lo + o.width()})
			}
			cur.sel, cur.gids = append(cur.sel, r), append(cur.gids, g)
			continue
		}
		if !o.fused {
			pn := o.list(o.spanOf(t, int(r)))
			pn.sel, pn.gids = append(pn.sel, r), append(pn.gids, g)
			continue
		}
		for _, w := range o.spec.Windows(buf[:0], t.I64[r]) {
			if lm == noMark || w.End > lm {
				pn := o.list(w)
				pn.sel, pn.gids = append(pn.sel, r), append(pn.gids, g)
			}
		}
	}
}

// nullSpan is the pane of rows whose event key is NULL: it never closes.
var nullSpan = window.Span{Start: 1<<63 - 1, End: 1<<63 - 1}

func (o *paneOp) spanOf(t *column.Column, r int) window.Span {
	switch {
	case t.IsNull(r):
		return nullSpan
	case o.struct_:
		return o.spans[r]
	}
	return window.Span{Start: t.I64[r], End: t.I64[r]}
}

func (o *paneOp) list(s window.Span) *pane {
	pn := o.pane(s)
	if !pn.listed {
		pn.listed = true
		o.lists = append(o.lists, pn)
	}
	return pn
}

func compareSpan(a *pane, s window.Span) int {
	switch {
	case a.span.Start != s.Start && a.span.Start < s.Start:
		return -1
	case a.span.Start != s.Start:
		return 1
	case a.span.End < s.End:
		return -1
	case a.span.End > s.End:
		return 1
	}
	return 0
}

// pane finds or opens the pane of a span.
func (o *paneOp) pane(s window.Span) *pane {
	if o.cur != nil && o.cur.span == s {
		return o.cur
	}
	i, found := slices.BinarySearchFunc(o.panes, s, compareSpan)
	if !found {
		o.panes = slices.Insert(o.panes, i, o.newPane(s))
	}
	o.cur = o.panes[i]
	o.unpack(o.cur)
	return o.cur
}

func (o *paneOp) newPane(s window.Span) *pane {
	o.unsettled = true
	if n := len(o.free); n > 0 {
		pn := o.free[n-1]
		o.free = o.free[:n-1]
		pn.span = s
		return pn
	}
	if n := len(o.spare); n > 0 {
		pn := &pane{span: s, accs: o.spare[n-1]}
		o.spare = o.spare[:n-1]
		o.reserve(pn)
		return pn
	}
	return &pane{span: s, accs: o.calls.newAccs()}
}

// add folds rows into a pane.
func (o *paneOp) add(pn *pane, gids, sel []int32, added bool) {
	if len(gids) == 0 {
		return
	}
	o.reserve(pn)
	has := pn.has
	told := pn.touched != nil && (o.p.mode != plan.Append || o.isEmitted(pn))
	for _, g := range gids {
		w, bit := g>>6, uint64(1)<<(g&63)
		if has[w]&bit == 0 {
			if has[w] |= bit; told && pn.fresh != nil {
				pn.fresh[w] |= bit
			}
			pn.n++
			o.held++
			o.refs[g]++
		}
	}
	if pn.caps != nil {
		pn.caps.before(gids)
	}
	if told {
		o.dirty = true
		for _, g := range gids {
			pn.touched[g>>6] |= 1 << (g & 63)
		}
		if len(o.young) > 0 {
			o.change(pn, gids)
		}
	}
	o.calls.add(&o.ctx, pn.accs, gids, sel, added)
}

// isEmitted reports whether the first window of a pane was emitted.
func (o *paneOp) isEmitted(pn *pane) bool {
	end := pn.span.End // of panes: the earliest window ends with the pane
	return o.emitted != noMark && end <= o.emitted
}

// reserve makes room in a pane for every group of the table.
func (o *paneOp) reserve(pn *pane) {
	n := o.keys.table.Len()
	if n > len(o.refs) {
		o.refs = append(o.refs, make([]uint32, n-len(o.refs))...)
	}
	if n <= pn.size {
		return
	}
	pn.size = n
	growAccs(pn.accs, n)
	if w := (n + 63) / 64; w > len(pn.has) {
		pn.has = append(pn.has, make([]uint64, w-len(pn.has))...)
	}
	if o.p.mode != plan.Append || o.p.opt.Table.AllowedLateness > 0 {
		if w := len(pn.has); w > len(pn.touched) {
			pn.touched = append(pn.touched, make([]uint64, w-len(pn.touched))...)
		}
		if w := len(pn.touched); w > len(pn.fresh) && o.p.mode == plan.Append {
			pn.fresh = append(pn.fresh, make([]uint64, w-len(pn.fresh))...)
		}
		if n > len(pn.revs) && o.p.mode != plan.Append {
			pn.revs = append(pn.revs, make([]uint32, n-len(pn.revs))...)
		}
	}
}

// recycle empties a pane and keeps its memory for a later window.
func (o *paneOp) recycle(pn *pane) {
	eachBit(o.hasOf(pn), func(g int32) { o.refs[g]-- })
	o.held -= int64(pn.n)
	if o.cur == pn {
		o.cur = nil
	}
	if pn.packed != nil {
		o.closedBytes -= packedBytes(pn)
		return
	}
	if pn.caps != nil { // a capture reads it: it is theirs now
		return
	}
	if len(o.free) >= 4 {
		return
	}
	eachBit(pn.has, func(g int32) { clearAccs(pn.accs, g) })
	clear(pn.has)
	clear(pn.touched)
	clear(pn.fresh)
	clear(pn.revs)
	pn.n = 0
	o.free = append(o.free, pn)
}

// sweep forgets keys that no pane holds, once they may be the majority: a key
// that comes back in the next window, as most do, is then not added again.
func (o *paneOp) sweep() {
	live := o.keys.table.Live()
	if live < 4096 || int64(live) < 2*o.held {
		return
	}
	for g := range o.refs {
		if o.refs[g] == 0 && o.keys.table.Alive(int32(g)) {
			o.keys.table.Remove(int32(g))
		}
	}
}

func (o *paneOp) size() (keys, bytes int64) {
	b := int64(o.keys.table.Bytes()) + int64(4*o.keys.table.Len()) + o.closedBytes
	for _, pn := range o.panes { // those that wait to be used again are few, and no state
		b += int64(bytesOf(pn.accs) + 8*len(pn.has) + 8*len(pn.touched) + 8*len(pn.fresh) + 4*len(pn.revs))
	}
	return o.held, b
}
