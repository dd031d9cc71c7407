package stream

import (
	"math"
	"math/bits"
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/window"
)

func (o *paneOp) weigh() {
	_, b := o.size()
	o.overBytes = b > o.p.opt.MaxStateBytes
}

func (o *paneOp) wants() bool {
	return o.m != nil && !o.complete() && len(o.panes) > 0
}

// close ends a pass: update and complete mode emit what the pass touched, then
// windows that the watermark passed are emitted (append) and forgotten.
func (o *paneOp) close() {
	switch {
	case o.complete():
		if o.p.data {
			o.emitAll()
		}
		o.weigh()
		return
	case o.update() && o.p.data:
		o.emitTouched()
	}
	if o.m != nil && o.m.evict != noMark {
		if o.update() {
			o.passed(o.m.evict)
		} else {
			o.emitClosed(o.m.evict)
		}
		o.revise()
		o.tellFinal()
		o.dropClosed(o.m.evict)
		o.settle()
	}
	o.emitB.flush()
	o.weigh()
}

// windowsOf calls f for each window that the panes in list are part of, in
// ascending order, with the panes of the window.
func (o *paneOp) windowsOf(list []*pane, f func(w window.Span, panes []*pane)) {
	if !o.panes2 {
		for i, pn := range list {
			f(pn.span, list[i:i+1])
		}
		return
	}
	o.starts = o.starts[:0]
	for _, pn := range list {
		s := pn.span.Start - o.spec.Size
		for range o.spec.PerWindow() { // counted: near the ends of int64 a comparison would not end
			s += o.spec.Slide
			if n := len(o.starts); n == 0 || s > o.starts[n-1] {
				o.starts = append(o.starts, s)
			}
		}
	}
	for _, s := range o.starts {
		w := window.Span{Start: s, End: s + o.spec.Size}
		f(w, o.panesIn(w))
	}
}

// panesIn returns the panes that lie in a window.
func (o *paneOp) panesIn(w window.Span) []*pane {
	lo, _ := slices.BinarySearchFunc(o.panes, w.Start, func(p *pane, t int64) int { return compare(p.span.Start, t) })
	hi := lo
	for hi < len(o.panes) && o.panes[hi].span.Start < w.End {
		hi++
	}
	return o.panes[lo:hi]
}

func compare(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// emitClosed emits every window with emitted < end <= mark.
func (o *paneOp) emitClosed(mark int64) {
	if mark <= o.emitted {
		return
	}
	from := o.emitted
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		if w.End > from && w.End <= mark && w != nullSpan {
			f := o.claim(w)
			o.emitWindow(w, panes, nil)
			o.first(w, f)
		}
	})
	o.emitted, o.unsettled = mark, true
}

// claim makes the rows of a window say how complete it is.
func (o *paneOp) claim(w window.Span) (f fullness) {
	if o.m != nil {
		f = o.p.fullness(o.m, w.End)
		if o.update() && w.End > o.emitted { // still open: it says that it is final when it has been passed
			f.complete = 0
		}
	}
	o.emitB.claim(f)
	return f
}

// peek emits the windows that were not emitted yet, as if they closed now; in update mode all that are held.
func (o *paneOp) peek() {
	from := o.emitted
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		if w.End > from {
			o.emitWindow(w, panes, nil)
		}
	})
	o.emitB.flush()
}

// emitAll emits every group of every window (complete mode).
func (o *paneOp) emitAll() {
	o.passes++
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		o.claim(w)
		o.emitWindow(w, panes, nil)
	})
	for _, pn := range o.panes {
		clear(pn.touched)
	}
	o.emitB.flush()
}

// emitTouched emits the groups that this pass changed (update mode).
func (o *paneOp) emitTouched() {
	o.passes++
	lm := o.lateMark()
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		if lm == noMark || w.End > lm {
			o.mask = o.mask[:0]
			for _, pn := range panes {
				o.mask = orWords(o.mask, pn.touched)
			}
			if !anyBit(o.mask) {
				return
			}
			f := o.claim(w)
			o.emitWindow(w, panes, o.mask)
			if o.emitted != noMark && w.End <= o.emitted {
				o.revised(w, panes, o.mask, f)
			}
		}
	})
	for _, pn := range o.panes {
		clear(pn.touched)
	}
	o.emitB.flush()
}

func orWords(dst, src []uint64) []uint64 {
	for len(dst) < len(src) {
		dst = append(dst, 0)
	}
	for i, w := range src {
		dst[i] |= w
	}
	return dst
}

// emitWindow emits the groups of a window (those in mask, when given) in order of their ids.
func (o *paneOp) emitWindow(w window.Span, panes []*pane, mask []uint64) {
	cell := o.eventCell(w)
	o.groupsOf(panes, mask, func(g int32) {
		accs, at := panes[0].accs, g
		if len(panes) > 1 {
			accs, at = o.merged(panes, g), 0
		}
		o.emitGroup(w, cell, g, accs, at, o.revision(panes, g))
	})
}

// groupsOf calls f for each group of the panes in ascending order.
func (o *paneOp) groupsOf(panes []*pane, mask []uint64, f func(g int32)) {
	o.union = o.union[:0]
	for _, pn := range panes {
		o.union = orWords(o.union, o.hasOf(pn))
	}
	for i, word := range o.union {
		if mask != nil {
			if i >= len(mask) {
				return
			}
			word &= mask[i]
		}
		for word != 0 {
			g := int32(i*64 + bits.TrailingZeros64(word))
			word &= word - 1
			f(g)
		}
	}
}

// merged merges one group of several panes into the scratch accumulators.
func (o *paneOp) merged(panes []*pane, g int32) []agg.Accumulator {
	if o.tmp == nil {
		o.tmp = o.calls.newAccs()
		growAccs(o.tmp, 1)
		widen(o.tmp)
	}
	clearAccs(o.tmp, 0)
	for _, pn := range panes {
		if int(g) >= pn.size || pn.has[g>>6]&(1<<(g&63)) == 0 {
			continue
		}
		for i, a := range o.tmp {
			if err := a.Merge(0, pn.accs[i], g); err != nil {
				o.mergeErr = err
			}
		}
	}
	return o.tmp
}

func (o *paneOp) emitGroup(w window.Span, cell column.Datum, g int32, accs []agg.Accumulator, at int32, rev uint32) {
	e := &o.emitB
	e.out.Cols[o.evPos].Append(cell)
	e.keyCells(o.keys.table, g, o.rest)
	if o.mergeErr != nil {
		e.fail(o.mergeErr)
		o.mergeErr = nil
	}
	e.values(accs, at, len(o.node.Keys))
	e.finish(len(o.node.Keys), w.Start, w.End, rev, false)
}

// eventCell is the value of the event key for a window.
func (o *paneOp) eventCell(w window.Span) column.Datum {
	switch {
	case w == nullSpan:
		return column.NullDatum
	case o.fused || o.struct_:
		return column.Datum{L: []column.Datum{column.I64(w.Start), column.I64(w.End)}}
	}
	return column.I64(w.Start)
}

// revision counts an emission of a group and returns its number. Rows of
// sliding windows share panes, so there the number of emitting passes stands in.
func (o *paneOp) revision(panes []*pane, g int32) uint32 {
	switch {
	case o.revising && o.isNew(panes, g):
		return 1
	case o.revising:
		return o.sweeps + 1
	case !o.update() && !o.complete():
		return 1
	case o.panes2:
		return o.passes
	}
	pn := panes[0]
	pn.caps.beforeOne(g)
	pn.revs[g]++
	return pn.revs[g]
}

// isFresh reports whether the panes of a window that was told have a group only since then.
func isFresh(panes []*pane, g int32) bool {
	w, bit := int(g>>6), uint64(1)<<(g&63)
	for _, pn := range panes {
		if w < len(pn.has) && pn.has[w]&bit != 0 && (w >= len(pn.fresh) || pn.fresh[w]&bit == 0) {
			return false
		}
	}
	return true
}

// revise emits again what late rows changed in windows that were already
// emitted, at most every ReviseEvery of tick time.
func (o *paneOp) revise() {
	due := o.revisedAt == noMark || o.p.tick-o.revisedAt >= o.p.opt.ReviseEvery || o.p.ended
	if due && o.becameFinal() {
		o.telling, o.revisedAt = true, o.p.tick
	}
	if !o.dirty || o.update() || !due && !o.losesRevisions() {
		return
	}
	o.dirty, o.revising, o.revisedAt = false, true, o.p.tick
	o.sweeps++
	final := o.lateMark()
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		if w.End > o.emitted || w.End <= final { // not told yet, or closed for good: some of its panes may be gone
			return
		}
		if o.mask = o.changed(w, panes, o.mask); anyBit(o.mask) {
			for _, pn := range panes {
				o.unpack(pn)
			}
			f := o.claim(w)
			if y := o.youngOf(w); y != nil {
				o.old, o.had = false, y.had
			} else {
				o.old, o.had = true, nil
			}
			o.emitWindow(w, panes, o.mask)
			o.revised(w, panes, o.mask, f)
		}
	})
	for _, pn := range o.panes {
		clear(pn.touched)
		clear(pn.fresh)
	}
	o.revising, o.old, o.had, o.young = false, false, nil, nil
}

// losesRevisions reports whether a window with changes that were not told yet closes for good in this pass.
func (o *paneOp) losesRevisions() bool {
	last, mark, loses := o.lateMark(), o.dropMark(o.m.evict), false
	o.windowsOf(o.panes, func(w window.Span, panes []*pane) {
		if w.End <= last || w.End > mark || loses {
			return
		}
		for _, pn := range panes {
			loses = loses || anyBit(pn.touched)
		}
	})
	return loses
}

// dropMark is the time up to which windows are forgotten.
func (o *paneOp) dropMark(mark int64) int64 {
	if mark == math.MaxInt64 {
		return mark
	}
	return mark - o.p.opt.Table.AllowedLateness
}

// dropClosed forgets panes that no open window needs any more.
func (o *paneOp) dropClosed(mark int64) {
	mark = o.dropMark(mark)
	o.forget(mark)
	drop := 0
	for _, pn := range o.panes {
		if pn.span == nullSpan || o.lastEnd(pn) > mark {
			break // panes are in order of their spans, and so of their last windows
		}
		drop++
	}
	if drop == 0 {
		return
	}
	for _, pn := range o.panes[:drop] {
		o.recycle(pn)
	}
	o.panes = slices.Delete(o.panes, 0, drop)
	o.sweep()
}

// lastEnd is the end of the last window that a pane is part of.
func (o *paneOp) lastEnd(pn *pane) int64 {
	if o.panes2 {
		return pn.span.Start + o.spec.Size
	}
	return pn.span.End
}
