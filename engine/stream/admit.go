package stream

import (
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/expr"
	"signalbox/engine/window"
)

// A row on which one aggregate fails (a sum that does not fit any more) must
// leave no trace: not in the other aggregates, not in other windows, not in the
// bounds of a session. So nothing is changed before it is known that a row
// fits. Usually the largest value of a batch and the largest sum of all groups
// say so for all rows at once; near the limit rows are taken one by one, those
// that do not fit are refused, and the aggregates that can fail have the others
// already when the rest are added.

// admission is the scratch of calls that can refuse rows.
type admission struct {
	guards []int // places of these calls
	gids   []int32
	sel    []int32
	oneGid [1]int32
	oneRow [1]int32
}

func (k *calls) findGuards() {
	for i, a := range k.newAccs() {
		if _, ok := agg.GuardOf(a); ok {
			k.admission.guards = append(k.admission.guards, i)
		}
	}
}

// guardsOf counts the accumulators that can fail.
func guardsOf(accs []agg.Accumulator) (n int) {
	for _, a := range accs {
		if _, ok := agg.GuardOf(a); ok {
			n++
		}
	}
	return n
}

func (k *calls) guard(accs []agg.Accumulator, i int) agg.Guarded {
	g, _ := agg.GuardOf(accs[i])
	return g
}

// counts reports whether call i takes a row.
func (k *calls) counts(i int, r int32) bool { return k.list[i].Filter == nil || k.pass[i][r] }

// announce tells the accumulator of call i of the rows to come.
func (k *calls) announce(accs []agg.Accumulator, i int, gids, sel []int32) (g agg.Guarded, part float64) {
	gids, sel = k.rowsOf(i, gids, sel)
	g = k.guard(accs, i)
	if len(gids) == 0 {
		return g, 0
	}
	return g, g.Announce(k.args[i], sel, len(gids))
}

// safe reports whether no row can fail in accs.
func (k *calls) safe(accs []agg.Accumulator, gids, sel []int32) bool {
	ok := true
	for _, i := range k.admission.guards {
		g, part := k.announce(accs, i, gids, sel)
		ok = ok && (g.Bound() < agg.Full || g.Peak(gids)+part < agg.Full)
	}
	return ok
}

// fits returns why a row cannot be added to a group, nil when it can.
func (k *calls) fits(accs []agg.Accumulator, g, r int32) *expr.Error {
	for _, i := range k.admission.guards {
		if k.counts(i, r) {
			if err := k.guard(accs, i).Fits(g, k.args[i], int(r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// addOne adds a row that fits to the accumulators that could have refused it.
func (k *calls) addOne(ctx *expr.Context, accs []agg.Accumulator, g, r int32) {
	a := &k.admission
	a.oneGid[0], a.oneRow[0] = g, r
	for _, i := range a.guards {
		if k.counts(i, r) {
			accs[i].Add(ctx, a.oneGid[:], k.args[i], a.oneRow[:])
		}
	}
}

// admit returns the rows that fit; the others are refused. added says that the
// accumulators that can fail have them already.
func (k *calls) admit(p *Pipeline, ctx *expr.Context, c *chunk, accs []agg.Accumulator, gids, sel []int32) (g, s []int32, added bool) {
	a := &k.admission
	if len(a.guards) == 0 || k.safe(accs, gids, sel) {
		return gids, sel, false
	}
	a.gids, a.sel = none(a.gids), none(a.sel)
	for i, g := range gids {
		r := at(sel, i)
		if err := k.fits(accs, g, r); err != nil {
			p.refuse(c, int(r), "expression", err)
			continue
		}
		k.addOne(ctx, accs, g, r)
		a.gids, a.sel = append(a.gids, g), append(a.sel, r)
	}
	return a.gids, a.sel, true
}

// refuseFailed reports rows that failed although they had been admitted: there are none.
func (p *Pipeline) refuseFailed(ctx *expr.Context, c *chunk) {
	for _, f := range ctx.Errors {
		p.refuse(c, int(f.Row), "expression", f.Err)
	}
}

// fold adds rows to one pane.
func (o *paneOp) fold(c *chunk, pn *pane, gids, sel []int32) {
	o.reserve(pn)
	if len(o.calls.admission.guards) > 0 {
		ownGids, ownSel := pn.gids, pn.sel
		pn.gids, pn.sel = gids, sel
		o.one[0] = pn
		added := !o.safe(o.one[:])
		if added {
			pn.gids, pn.sel = slices.Clone(gids), rowsOrAll(sel, len(gids))
			o.admit(c, o.one[:])
			gids, sel = pn.gids, pn.sel
		}
		pn.gids, pn.sel = ownGids[:0], ownSel[:0]
		if o.add(pn, gids, sel, added); added {
			o.dropUnused(o.one[:])
		}
		return
	}
	o.add(pn, gids, sel, false)
}

func rowsOrAll(sel []int32, n int) []int32 {
	if sel == nil {
		return identity(n)
	}
	return slices.Clone(sel)
}

// foldLists adds rows to the panes that have lists of them.
func (o *paneOp) foldLists(c *chunk) {
	added := false
	if len(o.calls.admission.guards) > 0 {
		for _, pn := range o.lists {
			o.reserve(pn)
		}
		if added = !o.safe(o.lists); added {
			o.admit(c, o.lists)
		}
	}
	for _, pn := range o.lists {
		o.add(pn, pn.gids, pn.sel, added)
		pn.sel, pn.gids, pn.listed = pn.sel[:0], pn.gids[:0], false
	}
	if added {
		o.dropUnused(o.lists)
	}
	o.lists = o.lists[:0]
}

// safe reports whether no row of the panes' lists can fail, in a pane or in a
// window that is made of several.
func (o *paneOp) safe(list []*pane) bool {
	ok := true
	for k, i := range o.calls.admission.guards {
		total, most := 0.0, 0.0
		for _, pn := range list {
			g, part := o.calls.announce(pn.accs, i, pn.gids, pn.sel)
			total, most = total+part, max(most, g.Bound())
		}
		o.peaks[k] = max(o.peaks[k], most)
		if ok {
			ok = o.safeCall(list, k, i, most, total)
		}
	}
	return ok
}

// safeCall is safe for call i, which is the k-th that can fail: most is the
// bound of the panes, total what their rows add.
func (o *paneOp) safeCall(list []*pane, k, i int, most, total float64) bool {
	if !o.panes2 {
		if most < agg.Full {
			return true
		}
		for _, pn := range list {
			if o.calls.guard(pn.accs, i).Peak(pn.gids)+total >= agg.Full {
				return false
			}
		}
		return true
	}
	per := float64(o.spec.PerWindow())
	if per*o.peaks[k] < agg.Full {
		return true
	}
	if o.peaks[k] = o.highest(k, i); per*o.peaks[k] < agg.Full {
		return true
	}
	for _, pn := range list {
		sum := total
		for _, near := range o.near(pn) {
			sum += o.calls.guard(near.accs, i).Peak(pn.gids)
		}
		if sum >= agg.Full {
			return false
		}
	}
	return true
}

// highest is the bound of every pane.
func (o *paneOp) highest(k, i int) float64 {
	most := 0.0
	for _, pn := range o.panes {
		if pn.packed != nil {
			most = max(most, pn.bounds[k])
		} else {
			most = max(most, o.calls.guard(pn.accs, i).Bound())
		}
	}
	return most
}

// bounds are those of accumulators that can fail; they depend on their groups only.
func (k *calls) bounds(accs []agg.Accumulator) []float64 {
	out := make([]float64, 0, len(k.admission.guards))
	for _, i := range k.admission.guards {
		g := k.guard(accs, i)
		g.Measure()
		out = append(out, g.Bound())
	}
	return out
}

// near returns the panes that share a window with pn, ready to be read.
func (o *paneOp) near(pn *pane) []*pane {
	w := window.Span{Start: pn.span.Start - o.spec.Size + o.spec.Slide, End: pn.span.Start + o.spec.Size}
	list := o.panesIn(w)
	for _, x := range list {
		o.unpack(x)
		o.reserve(x)
	}
	return list
}

// listedRow is a row in one of the lists of panes.
type listedRow struct {
	row, gid int32
	pn       *pane
}

// admit keeps in the lists the rows that fit into every window they are in, and
// refuses the others. The accumulators that can fail have them then.
func (o *paneOp) admit(c *chunk, list []*pane) {
	var rows []listedRow
	for _, pn := range list {
		pn.caps.before(pn.gids)
		for i, r := range pn.sel {
			rows = append(rows, listedRow{r, pn.gids[i], pn})
		}
		pn.sel, pn.gids = pn.sel[:0], pn.gids[:0]
	}
	slices.SortStableFunc(rows, func(a, b listedRow) int { return int(a.row - b.row) })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].row == rows[0].row {
			n++
		}
		if err := o.fits(rows[:n]); err != nil {
			o.p.refuse(c, int(rows[0].row), "expression", err)
		} else {
			for _, x := range rows[:n] {
				o.calls.addOne(&o.ctx, x.pn.accs, x.gid, x.row)
				x.pn.sel, x.pn.gids = append(x.pn.sel, x.row), append(x.pn.gids, x.gid)
			}
		}
		rows = rows[n:]
	}
}

// fits returns why a row fits not into all of its panes and windows. A slide
// that sliding windows share is a sum of its own, which must fit as well.
func (o *paneOp) fits(places []listedRow) *expr.Error {
	for _, x := range places {
		if err := o.calls.fits(x.pn.accs, x.gid, x.row); err != nil {
			return err
		}
		if !o.panes2 {
			continue
		}
		near, lm := o.near(x.pn), o.lateMark()
		for s := x.pn.span.Start - o.spec.Size + o.spec.Slide; s <= x.pn.span.Start; s += o.spec.Slide {
			if lm != noMark && s+o.spec.Size <= lm {
				continue
			}
			if err := o.fitsWindow(near, window.Span{Start: s, End: s + o.spec.Size}, x); err != nil {
				return err
			}
		}
	}
	return nil
}

// fitsWindow is fits for one window of several panes: its sums, in whatever
// order they are made, must fit with the row.
func (o *paneOp) fitsWindow(near []*pane, w window.Span, x listedRow) *expr.Error {
	if o.sums == nil {
		o.sums = o.calls.newAccs()
		growAccs(o.sums, 1)
		widen(o.sums)
	}
	for _, i := range o.calls.admission.guards {
		if !o.calls.counts(i, x.row) {
			continue
		}
		o.sums[i].Clear(0)
		for _, pn := range near {
			if pn.span.Start >= w.Start && pn.span.Start < w.End {
				if err := o.sums[i].Merge(0, pn.accs[i], x.gid); err != nil {
					return asError(err)
				}
			}
		}
		if err := o.calls.guard(o.sums, i).Fits(0, o.calls.args[i], int(x.row)); err != nil {
			return err
		}
	}
	return nil
}

// dropUnused forgets panes that were opened for rows that were all refused.
func (o *paneOp) dropUnused(list []*pane) {
	for _, pn := range list {
		if pn.n > 0 {
			continue
		}
		if i, found := slices.BinarySearchFunc(o.panes, pn.span, compareSpan); found {
			o.panes = slices.Delete(o.panes, i, i+1)
			o.recycle(pn)
		}
	}
}

// safe reports whether no row can fail, also when all sessions become one.
func (o *sessionOp) safe(gids, sel []int32) bool {
	ok, sessions := true, float64(o.held+int64(len(gids)))
	for _, i := range o.calls.admission.guards {
		g, _ := o.calls.announce(o.accs, i, gids, sel)
		ok = ok && g.Bound()*sessions < agg.Full
	}
	return ok
}

// admit places the rows that fit, one by one, and returns their slots.
func (o *sessionOp) admit(c *chunk, gids, sel []int32) (rows []int32) {
	rows = none(o.calls.admission.sel)
	for i, g := range gids {
		r := at(sel, i)
		if err := o.fits(g, r); err != nil {
			o.p.refuse(c, int(r), "expression", err)
			continue
		}
		slot := o.place(g, o.spans[r])
		o.caps.beforeOne(slot)
		o.calls.addOne(&o.ctx, o.accs, slot, r)
		o.slot, rows = append(o.slot, slot), append(rows, r)
	}
	o.calls.admission.sel = rows
	return rows
}

// fits returns why a row does not fit into the session that it would be part of.
func (o *sessionOp) fits(g, r int32) *expr.Error {
	list := o.lists[g]
	_, lo, hi := window.Touching(list, func(s session) window.Span { return s.Span }, o.spans[r])
	switch hi - lo {
	case 0:
		return nil // a value alone fits
	case 1:
		return o.calls.fits(o.accs, list[lo].slot, r)
	}
	if o.sums == nil {
		o.sums = o.calls.newAccs()
		growAccs(o.sums, 1)
	}
	for _, i := range o.calls.admission.guards {
		o.sums[i].Clear(0)
		for _, s := range list[lo:hi] {
			if err := o.sums[i].Merge(0, o.accs[i], s.slot); err != nil {
				return asError(err)
			}
		}
	}
	return o.calls.fits(o.sums, 0, r)
}
