package stream

import (
	"math"
	"math/bits"
	"slices"
	"sort"

	"signalbox/engine/agg"
	"signalbox/engine/plan"
	"signalbox/engine/window"
)

// What became of windows that were told before every expected agent was past
// them, and the list of windows that operators look at.

// The states of a window.
const (
	WindowOpen    = "open"    // the watermark has not passed it
	WindowEmitted = "emitted" // told, and not final: agents are missing, or are not known
	WindowFinal   = "final"   // every expected agent is past it, and its rows say so
	WindowClosed  = "closed"  // forgotten without having become final: late rows go to $late
)

// WindowInfo describes one window of a query.
type WindowInfo struct {
	Start, End         int64
	State              string
	Rows               int  // groups, before HAVING
	Known              bool // false: no agents stand behind the query
	Complete, Expected int32
	Missing            string // names with reasons
	Revisions          uint32 // how often rows of it were emitted again
}

// toldWindow is a window that was told and is not forgotten, as far as there is anything to remember.
type toldWindow struct {
	span      window.Span
	untold    bool     // some of its rows still say that agents were missing
	rows      []uint64 // which, nil = all
	revisions uint32
}

// youngWindow is a sliding window that was told for the first time while its panes, which other windows share,
// had changes that wait for a revision: those it has told already.
type youngWindow struct {
	span    window.Span
	had     []uint64 // rows that it told then; nil = not known
	changed []uint64 // rows that changed since
}

// change notes late rows in the young windows that a pane is part of.
func (o *paneOp) change(pn *pane, gids []int32) {
	for i := range o.young {
		y := &o.young[i]
		if pn.span.Start < y.span.Start || pn.span.Start >= y.span.End {
			continue
		}
		for len(y.changed) < len(pn.touched) {
			y.changed = append(y.changed, 0)
		}
		for _, g := range gids {
			y.changed[g>>6] |= 1 << (g & 63)
		}
	}
}

// youngOf finds a sliding window that was told while its panes held changes that others had not told, or nil.
func (o *paneOp) youngOf(w window.Span) *youngWindow {
	if i := slices.IndexFunc(o.young, func(y youngWindow) bool { return y.span == w }); i >= 0 {
		return &o.young[i]
	}
	return nil
}

// isNew reports whether a row of a window that is revised was not told before: in a young window it is new when
// it was not told then, in others when none of their panes had it.
func (o *paneOp) isNew(panes []*pane, g int32) bool {
	if o.old {
		return isFresh(panes, g)
	}
	w := int(g >> 6)
	return len(o.had) > 0 && (w >= len(o.had) || o.had[w]&(1<<(g&63)) == 0)
}

// changed sets mask to the rows of a window that changed since they were told.
func (o *paneOp) changed(w window.Span, panes []*pane, mask []uint64) []uint64 {
	mask = mask[:0]
	for i := range o.young {
		if o.young[i].span == w {
			return append(mask, o.young[i].changed...)
		}
	}
	for _, pn := range panes {
		mask = orWords(mask, pn.touched)
	}
	return mask
}

// listWindows finds the operator whose windows are the windows of the query: the outermost.
func (p *Pipeline) listWindows() {
	again := true // rows of this operator may be emitted again without harm
	for _, op := range slices.Backward(p.ops) {
		switch o := op.(type) {
		case *paneOp:
			if !o.fused && !o.struct_ {
				return
			}
			o.listed = true
			o.finals = again && o.m != nil && (o.update() || p.mode == plan.Append && p.opt.Table.AllowedLateness > 0)
			return
		case *limitOp:
			again = false
		case *sortOp, *sink:
		default:
			if _, stateful := op.(interface{ size() (keys, bytes int64) }); stateful {
				again = false
			}
		}
	}
}

// incomplete counts the windows whose rows still say that agents were missing.
func (o *paneOp) incomplete() (n int64) {
	for i := range o.told {
		if o.told[i].untold {
			n++
		}
	}
	return n
}

func compareEnd(a toldWindow, w window.Span) int {
	if c := compare(a.span.End, w.End); c != 0 {
		return c
	}
	return compare(a.span.Start, w.Start)
}

// note returns what is remembered of a window that was told.
func (o *paneOp) note(w window.Span) *toldWindow {
	if n := len(o.told); n == 0 || compareEnd(o.told[n-1], w) < 0 {
		o.told = append(o.told, toldWindow{span: w})
		return &o.told[n]
	}
	i, found := slices.BinarySearchFunc(o.told, w, compareEnd)
	if !found {
		o.told = slices.Insert(o.told, i, toldWindow{span: w})
	}
	return &o.told[i]
}

// first notes that all rows of a window were told for the first time, just now: they are in union.
func (o *paneOp) first(w window.Span, f fullness) {
	if o.finals && f.known && !f.final() {
		o.note(w).untold = true
		o.nextUntold = min(o.nextUntold, w.End)
	}
	if o.panes2 && o.dirty && o.p.opt.Table.AllowedLateness > 0 {
		o.young = append(o.young, youngWindow{span: w, had: slices.Clone(o.union)})
	}
}

// revised notes that some rows of a window were told again.
func (o *paneOp) revised(w window.Span, panes []*pane, mask []uint64, f fullness) {
	if !o.listed {
		return
	}
	r := o.note(w)
	r.revisions++
	switch {
	case !o.finals || !f.known:
	case !f.final() && !r.untold:
		r.untold, r.rows = true, slices.Clone(mask)
		o.nextUntold = min(o.nextUntold, w.End)
	case !f.final() && r.rows != nil:
		r.rows = orWords(r.rows, mask)
	case f.final() && r.untold:
		o.leave(r, panes, mask)
	}
}

// leave takes rows out of those that still have to be told anew.
func (o *paneOp) leave(r *toldWindow, panes []*pane, mask []uint64) {
	if r.rows == nil {
		for _, pn := range panes {
			r.rows = orWords(r.rows, o.hasOf(pn))
		}
	}
	for i := range min(len(mask), len(r.rows)) {
		r.rows[i] &^= mask[i]
	}
	if !anyBit(r.rows) {
		r.untold, r.rows = false, nil
	}
}

// passed notes the windows that the watermark passed in update mode: while
// they were open nobody could be past them, so all their rows say that.
func (o *paneOp) passed(mark int64) {
	if mark <= o.emitted {
		return
	}
	from := o.emitted
	if o.emitted = mark; !o.finals {
		return
	}
	o.windowsOf(o.panes, func(w window.Span, _ []*pane) {
		if w.End > from && w.End <= mark && w != nullSpan {
			if f := o.p.fullness(o.m, w.End); f.known {
				o.note(w).untold = true
				o.nextUntold = min(o.nextUntold, w.End)
			}
		}
	})
}

// tellFinal emits the rows of windows that became final once more, so that they
// say so. It goes on in the next entry when there are many; a window that is
// about to be forgotten cannot wait.
func (o *paneOp) tellFinal() {
	if !o.becameFinal() {
		o.telling = false
		return
	}
	end := o.p.finalEnd(o.m)
	closing, budget, started := o.dropMark(o.m.evict), o.p.opt.FinalRows, false
	for i := 0; i < len(o.told) && o.told[i].span.End <= end; i++ {
		r := &o.told[i]
		if !o.tellable(r) {
			continue
		}
		if r.span.End > closing && (!o.telling || budget <= 0) {
			break
		}
		if !started {
			started = true
			o.newRevision()
		}
		most := math.MaxInt
		if r.span.End > closing && !o.update() && !o.panes2 { // others would be packed again for each piece
			most = budget
		}
		budget -= o.tellWindow(r, most)
	}
	o.nextUntold = o.earliestUntold()
	o.telling = o.telling && o.nextUntold <= end
}

// becameFinal reports whether there is a window that is final and does not say so everywhere.
func (o *paneOp) becameFinal() bool {
	return o.finals && o.nextUntold != never && o.nextUntold <= o.p.finalEnd(o.m)
}

func (o *paneOp) newRevision() {
	if o.update() {
		o.passes++
		return
	}
	o.sweeps++
}

// tellWindow emits what a final window has to say anew, at most some rows of it.
// Rows that changed meanwhile are left to their revision.
func (o *paneOp) tellWindow(r *toldWindow, most int) (rows int) {
	panes := o.panesOf(r.span)
	o.mask = append(o.mask[:0], r.rows...)
	if r.rows == nil {
		for _, pn := range panes {
			o.mask = orWords(o.mask, o.hasOf(pn))
		}
	}
	o.touched = o.changed(r.span, panes, o.touched)
	for i := range min(len(o.touched), len(o.mask)) {
		o.mask[i] &^= o.touched[i]
	}
	if !anyBit(o.mask) {
		return 0
	}
	rows = firstBits(o.mask, most)
	f := o.p.fullness(o.m, r.span.End)
	f.same = true
	o.emitB.claim(f)
	if len(panes) == 1 && panes[0].packed != nil && !o.update() {
		o.emitPacked(r.span, panes[0], o.mask)
	} else {
		for _, pn := range panes {
			o.unpack(pn)
		}
		o.revising = !o.update()
		o.emitWindow(r.span, panes, o.mask)
		o.revising = false
	}
	o.emitB.flush()
	r.revisions++
	o.leave(r, panes, o.mask)
	o.p.count.Finals += uint64(rows)
	return rows
}

// firstBits leaves the first n bits that are set, at most, and returns how many there are.
func firstBits(words []uint64, n int) (k int) {
	for i, w := range words {
		if c := bits.OnesCount64(w); k+c <= n {
			k += c
			continue
		}
		words[i] = 0
		for ; k < n; k++ {
			words[i] |= w & -w
			w &= w - 1
		}
	}
	return k
}

// emitPacked emits groups of a packed pane, which stays packed.
func (o *paneOp) emitPacked(w window.Span, pn *pane, mask []uint64) {
	has := o.hasOf(pn)
	_, b, err := o.unpackHead(pn.packed, make([]uint64, len(has)), pn.n)
	dense := o.calls.newAccs()
	for _, a := range dense {
		if err == nil {
			b, err = agg.Unpack(b, a, pn.n)
		}
	}
	if err != nil { // the bytes were made by pack or verified by a checksum
		panic("stream: packed window: " + err.Error())
	}
	cell, at := o.eventCell(w), int32(0)
	eachBit(has, func(g int32) {
		if i := int(g >> 6); i < len(mask) && mask[i]&(1<<(g&63)) != 0 {
			o.emitGroup(w, cell, g, dense, at, o.sweeps+1)
		}
		at++
	})
}

// panesOf returns the panes of a window.
func (o *paneOp) panesOf(w window.Span) []*pane {
	if o.panes2 {
		return o.panesIn(w)
	}
	i, found := slices.BinarySearchFunc(o.panes, w, compareSpan)
	if !found {
		return nil
	}
	return o.panes[i : i+1]
}

func (o *paneOp) earliestUntold() int64 {
	for i := range o.told {
		if o.tellable(&o.told[i]) {
			return o.told[i].span.End
		}
	}
	return never
}

// tellable reports whether a window has rows to tell anew. Of one that was given up for the byte budget panes are
// gone: its rows, told again, would lack what was in them, so they never say that they are final.
func (o *paneOp) tellable(r *toldWindow) bool { return r.untold && r.span.End > o.gaveUp }

// forget moves the windows that end at or before mark to the list of those that are closed.
func (o *paneOp) forget(mark int64) {
	if !o.listed || mark <= o.forgotten {
		return
	}
	from := o.forgotten
	o.forgotten = mark
	n := sort.Search(len(o.panes), func(i int) bool { return o.panes[i].span.End > mark || o.panes[i].span == nullSpan })
	o.windowsOf(o.panes[:n], func(w window.Span, panes []*pane) {
		if w.End > from && w.End <= mark {
			o.close1(o.info(w, panes))
		}
	})
	if k := sort.Search(len(o.told), func(i int) bool { return o.told[i].span.End > mark }); k > 0 {
		o.told = slices.Delete(o.told, 0, k)
		o.nextUntold = o.earliestUntold()
	}
}

func (o *paneOp) close1(x WindowInfo) {
	if x.State != WindowFinal {
		x.State = WindowClosed
	}
	if len(o.closedWindows) < o.p.opt.WindowRows {
		o.closedWindows = append(o.closedWindows, x)
		return
	}
	o.p.count.WindowsEvict++
	if len(o.closedWindows) > 0 {
		o.closedWindows[o.oldest] = x
		o.oldest = (o.oldest + 1) % len(o.closedWindows)
	}
}

// info describes a window that is not forgotten.
func (o *paneOp) info(w window.Span, panes []*pane) WindowInfo {
	x := WindowInfo{Start: w.Start, End: w.End, State: WindowOpen}
	var has []uint64
	for _, pn := range panes {
		if len(panes) == 1 {
			x.Rows = pn.n
			break
		}
		has = orWords(has, o.hasOf(pn))
	}
	for _, word := range has {
		x.Rows += bits.OnesCount64(word)
	}
	if o.m == nil {
		return x
	}
	f, untold := o.p.fullness(o.m, w.End), false
	if f.known && !f.final() {
		x.Missing = o.p.missingText(o.m, w.End)
	}
	x.Known, x.Complete, x.Expected = f.known, f.complete, f.expected
	if i, found := slices.BinarySearchFunc(o.told, w, compareEnd); found {
		x.Revisions, untold = o.told[i].revisions, o.told[i].untold
	}
	switch {
	case o.complete() || o.emitted == noMark || w.End > o.emitted:
	case f.final() && !untold:
		x.State = WindowFinal
	default:
		x.State = WindowEmitted
	}
	return x
}

// Windows lists the windows of a query: closed ones, oldest first, then those
// that were told, then the open ones. ok is false for a query without windows.
func (p *Pipeline) Windows() (list []WindowInfo, ok bool) {
	for _, op := range p.ops {
		o, isPane := op.(*paneOp)
		if !isPane || !o.listed {
			continue
		}
		for i := range o.closedWindows {
			list = append(list, o.closedWindows[(o.oldest+i)%len(o.closedWindows)])
		}
		o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
			if w.End > o.forgotten && w != nullSpan {
				list = append(list, o.info(w, panes))
			}
		})
		return list, true
	}
	return nil, false
}

// Windowed reports whether Windows has something to list.
func (p *Pipeline) Windowed() bool {
	for _, op := range p.ops {
		if o, ok := op.(*paneOp); ok && o.listed {
			return true
		}
	}
	return false
}

// Overlapping reports whether the windows share panes, so that Windows has to look at groups.
func (p *Pipeline) Overlapping() bool {
	for _, op := range p.ops {
		if o, ok := op.(*paneOp); ok && o.listed {
			return o.panes2
		}
	}
	return false
}

// saveWindows writes what is remembered of windows beside their panes.
func (o *paneOp) saveWindows(e *encoder) {
	e.varint(o.forgotten)
	e.bool(o.telling)
	e.int(len(o.told))
	for i := range o.told {
		r := &o.told[i]
		e.varint(r.span.Start)
		e.varint(r.span.End)
		e.bool(r.untold)
		e.words(r.rows)
		e.uvarint(uint64(r.revisions))
	}
	e.int(len(o.young))
	for i := range o.young {
		e.varint(o.young[i].span.Start)
		e.varint(o.young[i].span.End)
		e.words(o.young[i].changed)
		e.words(o.young[i].had)
	}
	e.int(len(o.closedWindows))
	for i := range o.closedWindows {
		x := &o.closedWindows[(o.oldest+i)%len(o.closedWindows)]
		for _, v := range []int64{x.Start, x.End, int64(x.Rows), int64(x.Complete), int64(x.Expected), int64(x.Revisions)} {
			e.varint(v)
		}
		e.bool(x.Known)
		e.str(x.State)
		e.str(x.Missing)
	}
}

func (o *paneOp) loadWindows(d *decoder) {
	o.forgotten, o.telling = d.varint(), d.bool()
	for n := d.int(); n > 0 && d.err == nil; n-- {
		r := toldWindow{span: window.Span{Start: d.varint(), End: d.varint()}, untold: d.bool()}
		if r.rows = d.words(); len(r.rows) == 0 {
			r.rows = nil
		}
		r.revisions = uint32(d.uvarint())
		if k := len(o.told); k > 0 && compareEnd(o.told[k-1], r.span) >= 0 {
			d.fail(errState)
			return
		}
		o.told = append(o.told, r)
	}
	for n := d.int(); n > 0 && d.err == nil; n-- {
		y := youngWindow{span: window.Span{Start: d.varint(), End: d.varint()}, changed: d.words()}
		if d.version >= firstsVersion {
			y.had = d.words()
		}
		o.young = append(o.young, y)
	}
	for n := d.int(); n > 0 && d.err == nil; n-- {
		var x WindowInfo
		var v [6]int64
		for i := range v {
			v[i] = d.varint()
		}
		x.Start, x.End, x.Rows, x.Complete, x.Expected, x.Revisions = v[0], v[1], int(v[2]), int32(v[3]), int32(v[4]), uint32(v[5])
		x.Known, x.State, x.Missing = d.bool(), d.str(), d.str()
		o.close1(x)
	}
	o.nextUntold = o.earliestUntold()
}
