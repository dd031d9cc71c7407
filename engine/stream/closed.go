package stream

import (
	"bytes"
	"math/bits"
	"slices"

	"signalbox/engine/agg"
)

// A window that was emitted but may still be revised (allowed_lateness) is kept
// packed: its groups renumbered without gaps and encoded. A late row unpacks
// its pane, and the pane is packed again once the revision went out.

// settle packs the panes whose last window was emitted and that wait for no revision.
func (o *paneOp) settle() {
	if o.p.opt.Table.AllowedLateness == 0 || o.emitted == noMark || o.dirty || o.update() {
		return
	}
	for _, pn := range o.panes {
		if pn.span == nullSpan || o.lastEnd(pn) > o.emitted {
			break
		}
		if pn.packed == nil {
			o.pack(pn)
		}
	}
	o.enforceClosed()
}

// enforceClosed gives up the oldest packed panes while they exceed the budget;
// rows for them are late from then on.
func (o *paneOp) enforceClosed() {
	drop := 0
	for o.closedBytes > o.p.opt.MaxClosedBytes && drop < len(o.panes) && o.panes[drop].packed != nil {
		pn := o.panes[drop]
		o.gaveUp = max(o.gaveUp, o.lastEnd(pn))
		o.forget(o.gaveUp)
		o.recycle(pn)
		o.p.count.ClosedEvict++
		drop++
	}
	if drop > 0 {
		o.panes = append(o.panes[:0], o.panes[drop:]...)
		o.sweep()
	}
}

func (o *paneOp) pack(pn *pane) {
	n := int32(0)
	packed := o.calls.newAccs()
	growAccs(packed, pn.n)
	eachBit(pn.has, func(g int32) {
		for i, a := range packed {
			if err := a.Merge(n, pn.accs[i], g); err != nil {
				o.mergeErr = err
			}
		}
		if pn.caps == nil {
			clearAccs(pn.accs, g)
		}
		n++
	})
	var buf bytes.Buffer
	e := newEncoder(&buf)
	saveAccs(e, packed, int(n))
	e.fail(e.w.Flush())
	if e.err != nil { // an accumulator that cannot be encoded stays as it is: nothing was lost
		if pn.caps == nil {
			o.refill(pn, packed)
		}
		return
	}
	pn.packed = bytes.Clone(buf.Bytes())
	o.closedBytes += packedBytes(pn)
	if pn.caps == nil && len(o.spare) < 4 {
		o.spare = append(o.spare, spareAccs{pn.accs, pn.size})
	}
	pn.accs, pn.size, pn.touched, pn.caps = nil, 0, nil, nil
	if o.cur == pn { // the next row for it must unpack it
		o.cur = nil
	}
}

// spareAccs are empty accumulators of a packed pane, for the next window.
type spareAccs struct {
	accs []agg.Accumulator
	size int
}

func packedBytes(pn *pane) int64 { return int64(len(pn.packed) + 8*len(pn.has)) }

// unpack makes a packed pane writable again.
func (o *paneOp) unpack(pn *pane) {
	if pn.packed == nil {
		return
	}
	o.closedBytes -= packedBytes(pn)
	packed := o.calls.newAccs()
	growAccs(packed, pn.n)
	d := newDecoder(bytes.NewReader(pn.packed))
	loadAccs(d, packed, pn.n)
	if d.err != nil { // the bytes were made by pack or verified by a checksum
		panic("stream: packed window: " + d.err.Error())
	}
	pn.packed, pn.accs, pn.has = nil, o.calls.newAccs(), slices.Clone(pn.has)
	o.reserve(pn)
	o.refill(pn, packed)
}

// refill merges dense groups back to where they belong.
func (o *paneOp) refill(pn *pane, packed []agg.Accumulator) {
	n := int32(0)
	eachBit(pn.has, func(g int32) {
		for i, a := range pn.accs {
			if err := a.Merge(g, packed[i], n); err != nil {
				o.mergeErr = err
			}
		}
		n++
	})
}

// eachBit calls f for each set bit, ascending.
func eachBit(words []uint64, f func(g int32)) {
	for i, word := range words {
		for ; word != 0; word &= word - 1 {
			f(int32(i*64 + bits.TrailingZeros64(word)))
		}
	}
}

func anyBit(words []uint64) bool {
	for _, w := range words {
		if w != 0 {
			return true
		}
	}
	return false
}
