package stream

import (
	"bytes"
	"math/bits"

	"signalbox/engine/agg"
	"signalbox/engine/pack"
)

// A window that was emitted but may still be revised (allowed_lateness) is kept
// packed: which groups it has, and their states without gaps, column by column
// (see package pack). The keys stay in the table that all windows share. A late
// row unpacks its pane, and the pane is packed again once the revision went out.

// settle packs the panes whose last window was emitted and that wait for no revision.
func (o *paneOp) settle() {
	if o.p.opt.Table.AllowedLateness == 0 || o.emitted == noMark || o.dirty || !o.unsettled {
		return
	}
	o.unsettled = false
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
		o.recycle(pn)
		o.p.count.ClosedEvict++
		drop++
	}
	if drop > 0 {
		o.panes = append(o.panes[:0], o.panes[drop:]...)
		o.nextUntold = o.earliestUntold()
		o.sweep()
	}
}

func (o *paneOp) pack(pn *pane) {
	var err error
	accs := pn.accs
	if pn.n != pn.size {
		accs = o.calls.newAccs()
		growAccs(accs, pn.n)
		err = copyRuns(pn.has, func(dense, g, n int) error { return copyAccs(accs, dense, pn.accs, g, n) })
	}
	var packed []byte
	if err == nil {
		packed, err = o.packPane(pn.has, pn.revs, accs, pn.n)
	}
	if err != nil { // an accumulator that cannot be encoded stays as it is: nothing was lost
		o.mergeErr = err
		return
	}
	pn.packed, pn.bounds = packed, o.calls.bounds(accs)
	o.closedBytes += packedBytes(pn)
	if pn.caps == nil && len(o.spare) < 4 {
		eachBit(pn.has, func(g int32) { clearAccs(pn.accs, g) })
		o.spare = append(o.spare, pn.accs)
	}
	pn.accs, pn.size, pn.has, pn.revs, pn.touched, pn.fresh, pn.caps = nil, 0, nil, nil, nil, nil, nil
	if o.cur == pn { // the next row for it must unpack it
		o.cur = nil
	}
}

// packPane writes a set of groups and the states of those n groups; revs, if
// any, are those of all groups.
func (o *paneOp) packPane(has []uint64, revs []uint32, accs []agg.Accumulator, n int) ([]byte, error) {
	b := pack.AppendSet(nil, has)
	b = pack.AppendBools(b, []bool{len(revs) > 0})
	if len(revs) > 0 {
		list := make([]int64, 0, n)
		eachBit(has, func(g int32) { list = append(list, int64(revs[g])) })
		b = pack.AppendInts(b, list)
	}
	b = pack.AppendFloats(b, o.calls.bounds(accs))
	var err error
	for _, a := range accs {
		if b, err = agg.Pack(b, a, n); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(b), nil
}

// closedPane is the memory of a packed pane beside its bytes.
const closedPane = 256

func packedBytes(pn *pane) int64 { return int64(len(pn.packed)) + closedPane }

// unpack makes a packed pane writable again.
func (o *paneOp) unpack(pn *pane) {
	if pn.packed == nil {
		return
	}
	o.unsettled = true
	o.closedBytes -= packedBytes(pn)
	packed := pn.packed
	pn.packed, pn.accs = nil, o.calls.newAccs()
	o.reserve(pn)
	err := o.unpackInto(pn, packed)
	if err != nil { // the bytes were made by pack or verified by a checksum
		panic("stream: packed window: " + err.Error())
	}
}

// unpackInto puts the states of a packed pane back to where they belong.
func (o *paneOp) unpackInto(pn *pane, packed []byte) error {
	h, b, err := o.unpackHead(packed, pn.has, pn.n)
	if err != nil {
		return err
	}
	pn.bounds = nil
	if revs := h.revisions(pn.has, pn.size); revs != nil {
		pn.revs = revs
	}
	dense := o.calls.newAccs()
	for _, a := range dense {
		if b, err = agg.Unpack(b, a, pn.n); err != nil {
			return err
		}
	}
	return copyRuns(pn.has, func(at, g, n int) error { return copyAccs(pn.accs, g, dense, at, n) })
}

// packedHead is what comes before the states of a packed pane.
type packedHead struct {
	revs   []int64   // of its groups, nil when there are none
	bounds []float64 // per call that can fail
}

// revisions spreads the revisions over n groups.
func (h *packedHead) revisions(has []uint64, n int) []uint32 {
	if h.revs == nil {
		return nil
	}
	out, k := make([]uint32, n), 0
	eachBit(has, func(g int32) { out[g] = uint32(h.revs[k]); k++ })
	return out
}

func (o *paneOp) unpackHead(packed []byte, has []uint64, n int) (h packedHead, rest []byte, err error) {
	return unpackHead(packed, has, n, len(o.calls.admission.guards))
}

func unpackHead(packed []byte, has []uint64, n, guards int) (h packedHead, rest []byte, err error) {
	k, b, err := pack.Set(packed, has)
	if err == nil && k != n {
		err = errState
	}
	if err != nil {
		return h, nil, err
	}
	var with [1]bool
	if b, err = pack.Bools(b, with[:]); err == nil && with[0] {
		h.revs = make([]int64, n)
		b, err = pack.Ints(b, h.revs)
	}
	if err == nil {
		h.bounds = make([]float64, guards)
		b, err = pack.Floats(b, h.bounds)
	}
	return h, b, err
}

// copyRuns calls f for each run of groups in a set, with the number of groups before it.
func copyRuns(has []uint64, f func(dense, g, n int) error) error {
	dense, from, to := 0, 0, 0
	var err error
	run := func() {
		if to > from && err == nil {
			err = f(dense, from, to-from)
			dense += to - from
		}
	}
	eachBit(has, func(g int32) {
		if int(g) != to {
			run()
			from = int(g)
		}
		to = int(g) + 1
	})
	run()
	return err
}

func copyAccs(dst []agg.Accumulator, at int, src []agg.Accumulator, from, n int) error {
	for i, a := range dst {
		if err := agg.CopyGroups(a, at, src[i], from, n); err != nil {
			return err
		}
	}
	return nil
}

// hasOf returns the groups of a pane, valid until the next call.
func (o *paneOp) hasOf(pn *pane) []uint64 {
	if pn.packed == nil {
		return pn.has
	}
	o.set = append(o.set[:0], make([]uint64, (o.keys.table.Len()+63)/64)...)
	if _, _, err := pack.Set(pn.packed, o.set); err != nil {
		panic("stream: packed window: " + err.Error())
	}
	return o.set
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
