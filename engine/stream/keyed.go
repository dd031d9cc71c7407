package stream

import (
	"math/bits"
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// keyedOp aggregates by keys without event time: groups live for ever, or until
// state_ttl of event time has passed since their last row.
type keyedOp struct {
	p     *Pipeline
	node  *plan.Aggregate
	next  operator
	inner bool // an aggregate above takes the changes: no ids, groups by number

	ctx     expr.Context
	keys    *keys
	calls   *calls
	accs    []agg.Accumulator
	revs    []uint32
	touched []uint64
	any     bool
	ttl     int64
	ages    ages
	emitB   emitter
	skip    []bool // inner: key columns that nothing above reads
	bad     []int32
	rows    []int32
	pos     []int
	over    bool
	caps    captures
}

func newKeyedOp(p *Pipeline, n *plan.Aggregate, next operator) *keyedOp {
	o := &keyedOp{p: p, node: n, next: next, keys: newKeys(p, n.Keys), calls: newCalls(n.Calls), ttl: p.opt.Table.StateTTL}
	o.accs = o.calls.newAccs()
	o.emitB.init(p, n.Out, next)
	for i := range n.Keys {
		o.pos = append(o.pos, i)
	}
	o.ages.step = max(1, o.ttl/64)
	return o
}

func (o *keyedOp) push(c *chunk) {
	o.ctx.Reset()
	o.keys.eval(&o.ctx, c.b, c.sel)
	o.calls.eval(&o.ctx, c.b, c.sel)
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	o.ctx.Errors = o.ctx.Errors[:0]
	sel = dropDeleted(c, sel, &o.rows)
	if sel = o.dropExpired(c, sel); lenOf(sel, c.b.Len) == 0 {
		return
	}
	gids, sel := o.keys.groups(c, sel, o.over)
	if len(gids) == 0 {
		return
	}
	o.reserve()
	if o.caps != nil {
		o.caps.before(gids)
	}
	gids, sel, added := o.calls.admit(o.p, &o.ctx, c, o.accs, gids, sel)
	if len(gids) == 0 {
		return
	}
	for _, g := range gids {
		o.touched[g>>6] |= 1 << (g & 63)
	}
	o.any = true
	if o.ttl > 0 && c.time != nil {
		for i, g := range gids {
			if r := int(at(sel, i)); !c.time.IsNull(r) {
				o.ages.saw(g, c.time.I64[r])
			}
		}
	}
	o.calls.add(&o.ctx, o.accs, gids, sel, added)
	o.p.refuseFailed(&o.ctx, c)
}

// dropExpired reports rows whose key would expire at once as late.
func (o *keyedOp) dropExpired(c *chunk, sel []int32) []int32 {
	wm := o.p.ttlMark()
	if o.ttl == 0 || c.time == nil || wm == noMark || !c.time.HasNulls() && minTime(c.time.I64, sel, c.b.Len)+o.ttl > wm {
		return sel
	}
	out := none(o.rows)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if !c.time.IsNull(int(r)) && c.time.I64[r]+o.ttl <= wm {
			o.p.late(c, int(r), "older than state_ttl")
			continue
		}
		out = append(out, r)
	}
	o.rows = out
	return out
}

func (o *keyedOp) reserve() {
	n := o.keys.table.Len()
	if n <= len(o.revs) {
		return
	}
	growAccs(o.accs, n)
	o.revs = append(o.revs, make([]uint32, n-len(o.revs))...)
	if w := (n + 63) / 64; w > len(o.touched) {
		o.touched = append(o.touched, make([]uint64, w-len(o.touched))...)
	}
	o.ages.grow(n, o.ttl)
}

func (o *keyedOp) weigh() {
	_, b := o.size()
	o.over = b > o.p.opt.MaxStateBytes
}

func (o *keyedOp) wants() bool { return o.ttl > 0 && o.keys.table.Live() > 0 || o.tellsAgain() }

// tellsAgain: Spark runs a batch without data when the watermark moves, and in
// update mode one group without keys is told in every batch. Where agents certify
// it moves several times a second without news, and nothing is told.
func (o *keyedOp) tellsAgain() bool {
	return len(o.node.Keys) == 0 && !o.inner && o.p.mode == plan.Update && len(o.p.wms) > 0 && !o.p.certified()
}

func (o *keyedOp) close() {
	o.oneGroup()
	expired := o.expire()
	if o.p.mode == plan.Complete && !o.inner {
		if o.p.data || expired {
			o.emitAll()
		}
	} else if o.any {
		o.emitTouched()
	}
	o.any = false
	clear(o.touched)
	o.emitB.flush()
	o.weigh()
}

// oneGroup: an aggregation without keys has its one group, and says so with
// every entry that brings rows, also when a filter drops all of them: as in Spark.
func (o *keyedOp) oneGroup() {
	if len(o.node.Keys) > 0 || o.inner || !o.p.data && !(o.p.empty && o.tellsAgain()) {
		return
	}
	o.keys.gids = o.keys.table.GroupRows(1, o.keys.gids)
	o.reserve()
	o.touched[0] |= 1
	o.any = true
}

func (o *keyedOp) emitTouched() {
	for i, word := range o.touched {
		for ; word != 0; word &= word - 1 {
			o.emit(int32(i*64+bits.TrailingZeros64(word)), false)
		}
	}
}

func (o *keyedOp) emitAll() {
	for g := range o.revs {
		if o.keys.table.Alive(int32(g)) {
			o.emit(int32(g), false)
		}
	}
}

// peek emits every group that is held.
func (o *keyedOp) peek() {
	o.emitAll()
	o.emitB.flush()
}

func (o *keyedOp) emit(g int32, del bool) {
	e := &o.emitB
	o.caps.beforeOne(g)
	o.revs[g]++
	if o.inner {
		for i, skip := range o.skip {
			if skip {
				e.out.Cols[i] = nil
			}
		}
		o.innerKeys(g)
	} else {
		e.keyCells(o.keys.table, g, o.pos)
	}
	if del {
		for i := range o.accs {
			e.out.Cols[len(o.pos)+i].AppendNull()
		}
	} else {
		e.values(o.accs, g, len(o.pos))
	}
	if o.inner {
		e.finishInner(g, o.revs[g], del)
		return
	}
	e.finish(len(o.pos), 0, 0, o.revs[g], del)
}

// innerKeys appends the key columns that something above reads.
func (o *keyedOp) innerKeys(g int32) {
	for i := range o.pos {
		if !o.skip[i] {
			col := o.emitB.out.Cols[i]
			col.Append(o.keys.table.Key(g, i))
		}
	}
}

// expire forgets keys whose event time is state_ttl behind the watermark.
func (o *keyedOp) expire() bool {
	if o.ttl == 0 || o.p.ended {
		return false
	}
	wm := o.p.ttlMark()
	if wm == noMark {
		return false
	}
	gone := o.ages.expire(wm-o.ttl, func(g int32) bool { return o.keys.table.Alive(g) })
	slices.Sort(gone)
	for _, g := range gone {
		o.emit(g, true)
		o.p.count.Expired++
	}
	o.emitB.flush()
	for _, g := range gone {
		o.revs[g] = 0
		o.touched[g>>6] &^= 1 << (g & 63)
		clearAccs(o.accs, g)
		o.ages.forget(g)
		o.keys.table.Remove(g)
	}
	return len(gone) > 0
}

func (o *keyedOp) size() (keys, bytes int64) {
	live := int64(o.keys.table.Live())
	return live, int64(o.keys.table.Bytes()+bytesOf(o.accs)+4*len(o.revs)+8*len(o.touched)) + o.ages.bytes()
}

func (o *keyedOp) capture(c *Capture) func(e *encoder) {
	table := c.table(o.keys.table)
	groups := c.groups(&o.caps, o.calls, len(o.revs), groupState{accs: o.accs, revs: o.revs, ages: o.ages.last})
	return func(e *encoder) {
		table(e)
		groups.write(e, c.lock)
	}
}

func (o *keyedOp) save(e *encoder) { saveCaptured(e, o) }

func (o *keyedOp) load(d *decoder) {
	if d.v1 {
		o.loadV1(d)
		return
	}
	loadTableBlocks(d, o.keys.table)
	s := groupState{accs: o.accs}
	n := loadGroups(d, o.calls, &s, true, o.ttl > 0)
	if n != o.keys.table.Len() || d.err != nil {
		d.fail(errState)
		return
	}
	o.revs, o.touched = s.revs, make([]uint64, (n+63)/64)
	o.ages.restore(s.ages)
}

func (o *keyedOp) loadV1(d *decoder) {
	loadTable(d, o.keys.table)
	n := d.int()
	if n != o.keys.table.Len() {
		d.fail(errState)
		return
	}
	for range n {
		o.revs = append(o.revs, uint32(d.uvarint()))
	}
	o.touched = make([]uint64, (n+63)/64)
	loadAccs(d, o.accs, n)
	o.ages.load(d, n)
}

// ages knows the last event time of each group and finds the groups that are
// older than a mark without looking at all: groups wait in coarse buckets and
// move on when they turn out to have been seen since.
type ages struct {
	step  int64
	last  []int64 // per group; unseen = never
	in    []bool  // waits in a bucket
	slots []ageBucket
	gone  []int32
	moved []int32
}

type ageBucket struct {
	at   int64 // times in [at, at+step)
	gids []int32
}

const unseen = -1 << 63

func (a *ages) grow(n int, ttl int64) {
	if ttl == 0 {
		return
	}
	for len(a.last) < n {
		a.last, a.in = append(a.last, unseen), append(a.in, false)
	}
}

func (a *ages) saw(g int32, t int64) {
	if t > a.last[g] {
		a.last[g] = t
	}
	if !a.in[g] {
		a.wait(g)
	}
}

func (a *ages) wait(g int32) {
	a.in[g] = true
	at := floorDiv(a.last[g], a.step) * a.step
	i, found := slices.BinarySearchFunc(a.slots, at, func(b ageBucket, t int64) int { return compare(b.at, t) })
	if !found {
		a.slots = slices.Insert(a.slots, i, ageBucket{at: at})
	}
	a.slots[i].gids = append(a.slots[i].gids, g)
}

// expire returns the groups last seen at or before mark.
func (a *ages) expire(mark int64, alive func(int32) bool) []int32 {
	a.gone, a.moved = a.gone[:0], a.moved[:0]
	n := 0
	for ; n < len(a.slots) && a.slots[n].at <= mark; n++ {
		for _, g := range a.slots[n].gids {
			a.in[g] = false
			switch {
			case !alive(g):
			case a.last[g] <= mark:
				a.gone = append(a.gone, g)
			default:
				a.moved = append(a.moved, g)
			}
		}
	}
	if n > 0 {
		a.slots = slices.Delete(a.slots, 0, n)
	}
	for _, g := range a.moved {
		a.wait(g)
	}
	return a.gone
}

func (a *ages) forget(g int32) { a.last[g] = unseen }

func (a *ages) bytes() int64 { return int64(len(a.last)) * 13 }

func (a *ages) load(d *decoder, n int) {
	k := d.int()
	if k != 0 && k != n {
		d.fail(errState)
		return
	}
	last := make([]int64, 0, min(k, 1<<16))
	for i := 0; i < k && d.err == nil; i++ {
		last = append(last, d.varint())
	}
	a.restore(last)
}

// restore takes the last event times of all groups.
func (a *ages) restore(last []int64) {
	a.last, a.in = last, make([]bool, len(last))
	for g, t := range last {
		if t != unseen {
			a.wait(int32(g))
		}
	}
}
