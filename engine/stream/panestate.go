package stream

import (
	"bytes"
	"math"
	"math/bits"
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/plan"
	"signalbox/engine/window"
)

// paneCapture is one pane of a capture. The state of a packed pane is only referred to: it is never written.
type paneCapture struct {
	span         window.Span
	has, touched []uint64
	fresh        []uint64
	packed       []byte
	n            int // groups of packed
	groups       *groupCapture
	revs         bool
}

func (o *paneOp) capture(c *Capture) func(e *encoder) {
	head, err := eager(o.saveHead)
	table := c.table(o.keys.table)
	panes := make([]paneCapture, 0, len(o.panes))
	for _, pn := range o.panes {
		x := paneCapture{span: pn.span, packed: pn.packed, n: pn.n, revs: len(pn.revs) > 0}
		if pn.packed == nil {
			x.has, x.touched, x.fresh = slices.Clone(pn.has), slices.Clone(pn.touched), slices.Clone(pn.fresh)
			x.groups = c.groups(&pn.caps, o.calls, pn.size, groupState{accs: pn.accs, revs: pn.revs})
		}
		panes = append(panes, x)
	}
	return func(e *encoder) {
		e.fail(err)
		e.Write(head)
		table(e)
		e.int(len(panes))
		for i := range panes {
			panes[i].write(e, c)
		}
	}
}

func (x *paneCapture) write(e *encoder, c *Capture) {
	e.varint(x.span.Start)
	e.varint(x.span.End)
	if e.bool(x.packed != nil); x.packed != nil {
		e.int(x.n)
		e.bytes(x.packed)
		return
	}
	e.words(x.has)
	e.words(x.touched)
	e.words(x.fresh)
	e.bool(x.revs)
	x.groups.write(e, c.lock)
}

// save is what capture writes, at once.
func (o *paneOp) save(e *encoder) { saveCaptured(e, o) }

func (o *paneOp) saveHead(e *encoder) {
	e.varint(o.emitted)
	e.varint(o.revisedAt)
	e.bool(o.dirty)
	e.uvarint(uint64(o.sweeps))
	e.uvarint(uint64(o.passes))
	e.varint(o.gaveUp)
	o.saveWindows(e)
}

func (o *paneOp) load(d *decoder) {
	o.emitted, o.revisedAt, o.dirty = d.varint(), d.varint(), d.bool()
	o.sweeps, o.passes, o.gaveUp = uint32(d.uvarint()), uint32(d.uvarint()), d.varint()
	if d.version >= 3 {
		o.loadWindows(d)
	}
	if d.v1 {
		loadTable(d, o.keys.table)
	} else {
		loadTableBlocks(d, o.keys.table)
	}
	o.refs = make([]uint32, o.keys.table.Len())
	for n := d.int(); n > 0 && d.err == nil; n-- {
		pn := &pane{span: window.Span{Start: d.varint(), End: d.varint()}}
		if d.v1 {
			pn.size = d.int()
		}
		if d.version < columnsVersion {
			pn.has = d.words()
		}
		if d.bool() {
			o.loadPacked(d, pn)
		} else if o.loadPane(d, pn); pn.size > len(o.refs) || len(pn.has) != (pn.size+63)/64 {
			d.fail(errState)
		}
		if d.err != nil {
			return
		}
		o.count(pn)
		o.panes = append(o.panes, pn)
	}
	o.unsettled = true
	for i := range o.peaks {
		o.peaks[i] = math.Inf(1)
	}
}

// columnsVersion is the first version of the snapshot format that packs closed
// windows column by column.
const columnsVersion = 4

// firstsVersion is the first version that knows which rows of a window that was
// told are new in it.
const firstsVersion = 5

// loadPacked reads a packed pane. What an earlier version packed, or a query
// with fewer functions, is packed anew: the bytes count against a budget that
// replicas must enforce alike.
func (o *paneOp) loadPacked(d *decoder, pn *pane) {
	has := make([]uint64, (len(o.refs)+63)/64)
	switch {
	case d.version < columnsVersion:
		o.repackPlain(d, pn)
	default:
		pn.n, pn.packed = d.int(), d.bytes()
		if o.calls.from != nil {
			o.widen(d, pn, has)
		}
	}
	clear(has)
	if d.err != nil {
		return
	}
	h, _, err := o.unpackHead(pn.packed, has, pn.n)
	if err != nil || !o.known(has) {
		d.fail(errState)
		return
	}
	pn.bounds = h.bounds
	o.closedBytes += packedBytes(pn)
}

// known reports whether every group of a set has an id.
func (o *paneOp) known(has []uint64) bool {
	top := len(o.refs)
	return top&63 == 0 || len(has) == 0 || has[len(has)-1]>>(top&63) == 0
}

// repackPlain reads a pane that an earlier version packed.
func (o *paneOp) repackPlain(d *decoder, pn *pane) {
	has := pn.has
	pn.n, pn.size, pn.has = ones(has), 0, nil
	saved := o.calls.savedAccs()
	growAccs(saved, pn.n)
	b := newDecoder(bytes.NewReader(d.bytes()))
	if loadAccs(b, saved, pn.n); b.err != nil {
		d.fail(b.err)
		return
	}
	o.packSaved(d, pn, has, nil, saved)
}

// widen adds the functions that are new, without a value, to a packed pane.
func (o *paneOp) widen(d *decoder, pn *pane, has []uint64) {
	saved := o.calls.savedAccs()
	h, b, err := unpackHead(pn.packed, has, pn.n, guardsOf(saved))
	for _, a := range saved {
		if err == nil {
			b, err = agg.Unpack(b, a, pn.n)
		}
	}
	if err != nil {
		d.fail(err)
		return
	}
	o.packSaved(d, pn, has, h.revisions(has, 64*len(has)), saved)
}

func (o *paneOp) packSaved(d *decoder, pn *pane, has []uint64, revs []uint32, saved []agg.Accumulator) {
	all := o.calls.newAccs()
	growAccs(all, pn.n)
	err := d.err
	for i, a := range saved {
		if err == nil {
			err = agg.CopyGroups(all[o.calls.place(i)], 0, a, 0, pn.n)
		}
	}
	if err == nil {
		pn.packed, err = o.packPane(has, revs, all, pn.n)
	}
	if err != nil {
		d.fail(err)
	}
}

func ones(words []uint64) int {
	n := 0
	for _, w := range words {
		n += bits.OnesCount64(w)
	}
	return n
}

// loadPane reads the groups of a pane that is not packed.
func (o *paneOp) loadPane(d *decoder, pn *pane) {
	if d.version >= columnsVersion {
		pn.has = d.words()
	}
	pn.accs, pn.touched = o.calls.newAccs(), d.words()
	switch {
	case d.version >= firstsVersion:
		if pn.fresh = d.words(); len(pn.fresh) != 0 && len(pn.fresh) != len(pn.touched) {
			d.fail(errState)
		}
	case o.p.mode == plan.Append:
		pn.fresh = make([]uint64, len(pn.touched))
	}
	if !d.v1 {
		s := groupState{accs: pn.accs}
		pn.size = loadGroups(d, o.calls, &s, d.bool(), false)
		pn.revs = s.revs
		return
	}
	for k := d.int(); k > 0 && d.err == nil; k-- {
		pn.revs = append(pn.revs, uint32(d.uvarint()))
	}
	if len(pn.revs) > 0 && len(pn.revs) != pn.size {
		d.fail(errState)
	}
	if pn.size <= len(o.refs) {
		loadAccs(d, pn.accs, pn.size)
	}
}

// count takes the groups of a restored pane into the accounts.
func (o *paneOp) count(pn *pane) {
	pn.n = 0
	eachBit(o.hasOf(pn), func(g int32) {
		if int(g) < len(o.refs) {
			o.refs[g]++
			pn.n++
			o.held++
		}
	})
}
