package stream

import (
	"math/bits"
	"slices"

	"signalbox/engine/window"
)

// paneCapture is one pane of a capture. The state of a packed pane is only referred to: it is never written.
type paneCapture struct {
	span         window.Span
	has, touched []uint64
	packed       []byte
	groups       *groupCapture
	revs         bool
}

func (o *paneOp) capture(c *Capture) func(e *encoder) {
	head, err := eager(o.saveHead)
	table := c.table(o.keys.table)
	panes := make([]paneCapture, 0, len(o.panes))
	for _, pn := range o.panes {
		x := paneCapture{span: pn.span, has: pn.has, packed: pn.packed, revs: len(pn.revs) > 0}
		if pn.packed == nil {
			x.has, x.touched = slices.Clone(pn.has), slices.Clone(pn.touched)
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
	e.words(x.has)
	if e.bool(x.packed != nil); x.packed != nil {
		e.bytes(x.packed)
		return
	}
	e.words(x.touched)
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
		pn.has = d.words()
		if d.bool() {
			pn.size = 0
			pn.packed = d.bytes()
			if err := o.widen(pn); err != nil {
				d.fail(err)
			}
			o.closedBytes += packedBytes(pn)
		} else if o.loadPane(d, pn); pn.size > len(o.refs) || len(pn.has) != (pn.size+63)/64 {
			d.fail(errState)
		}
		if len(pn.has)*64 > len(o.refs)+63 || d.err != nil {
			d.fail(errState)
			return
		}
		o.count(pn)
		o.panes = append(o.panes, pn)
	}
}

// loadPane reads the groups of a pane that is not packed.
func (o *paneOp) loadPane(d *decoder, pn *pane) {
	pn.accs, pn.touched = o.calls.newAccs(), d.words()
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
	for i, word := range pn.has {
		for ; word != 0; word &= word - 1 {
			if g := i*64 + bits.TrailingZeros64(word); g < len(o.refs) {
				o.refs[g]++
				pn.n++
				o.held++
			}
		}
	}
}
