package stream

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// stateOp gives each row what is remembered of the rows of its key before it:
// previous, had_changed, counter_rate and unchanged_since. Rows are taken in
// the order of entry, whatever their event time. Deletions pass untouched.
type stateOp struct {
	p    *Pipeline
	node *plan.KeyedState
	next operator

	ctx   expr.Context
	keys  *keys
	calls []rememberer
	out   column.Batch
	ttl   int64
	ages  ages
	over  bool
	bad   []int32
	live  []int32
	sel   []int32
	used  []bool
	caps  []*stateCapture // that still have to be written; usually none
	c     chunk
}

func newStateOp(p *Pipeline, n *plan.KeyedState, next operator) *stateOp {
	o := &stateOp{p: p, node: n, next: next, keys: newKeys(p, n.Keys), ttl: p.opt.Table.StateTTL}
	for _, c := range n.Calls {
		o.calls = append(o.calls, newRememberer(c))
	}
	o.ages.step = max(1, o.ttl/64)
	return o
}

func (o *stateOp) push(c *chunk) {
	o.ctx.Reset()
	o.keys.eval(&o.ctx, c.b, c.sel)
	for i := range o.calls {
		o.calls[i].eval(&o.ctx, c.b, c.sel)
	}
	sel := o.p.dropFailed(&o.ctx, c, c.sel, &o.bad)
	live := dropDeleted(c, sel, &o.live)
	var gids, rows []int32
	if lenOf(live, c.b.Len) > 0 {
		gids, rows = o.keys.groups(c, live, o.over)
	}
	n := o.keys.table.Len()
	o.ages.grow(n, o.ttl)
	for i := range o.calls {
		o.calls[i].start(n, c.b.Len)
	}
	for i, g := range gids {
		r := int(at(rows, i))
		for _, x := range o.caps {
			x.before(g)
		}
		for k := range o.calls {
			o.calls[k].step(g, r)
		}
		if o.ttl > 0 && c.time != nil && !c.time.IsNull(r) {
			o.ages.saw(g, c.time.I64[r])
		}
	}
	o.emit(c, sel, rows)
}

// emit hands on the rows that have a group, and the deletions between them.
func (o *stateOp) emit(c *chunk, sel, rows []int32) {
	o.c = *c
	o.c.sel = rows
	if c.del != nil {
		o.c.sel = o.withDeleted(c, sel, rows)
	}
	cols := append(o.out.Cols[:0], c.b.Cols...)
	for i := range o.calls {
		cols = append(cols, o.calls[i].out)
	}
	o.out = column.Batch{Schema: o.node.Out, Cols: cols, Len: c.b.Len}
	o.c.b = &o.out
	if o.c.rows() > 0 {
		o.next.push(&o.c)
	}
}

func (o *stateOp) withDeleted(c *chunk, sel, rows []int32) []int32 {
	o.used = growBools(o.used, c.b.Len)
	for i, n := 0, lenOf(rows, c.b.Len); i < n; i++ {
		o.used[at(rows, i)] = true
	}
	o.sel = none(o.sel)
	for i, n := 0, lenOf(sel, c.b.Len); i < n; i++ {
		r := at(sel, i)
		if c.del[r] {
			for k := range o.calls {
				o.calls[k].out.SetNull(int(r))
			}
		}
		if c.del[r] || o.used[r] {
			o.sel = append(o.sel, r)
		}
	}
	return o.sel
}

func (o *stateOp) weigh() {
	_, b := o.size()
	o.over = b > o.p.opt.MaxStateBytes
}

func (o *stateOp) wants() bool { return o.ttl > 0 && o.keys.table.Live() > 0 }

func (o *stateOp) close() {
	o.expire()
	o.weigh() // last: a restored replica weighs what is left
}

func (o *stateOp) expire() {
	wm := o.p.ttlMark()
	if o.ttl == 0 || wm == noMark || o.p.ended {
		return
	}
	gone := o.ages.expire(wm-o.ttl, func(g int32) bool { return o.keys.table.Alive(g) })
	slices.Sort(gone)
	for _, g := range gone {
		for _, x := range o.caps {
			x.before(g)
		}
		for i := range o.calls {
			o.calls[i].forget(g)
		}
		o.ages.forget(g)
		o.keys.table.Remove(g)
		o.p.count.Expired++
	}
}

func (o *stateOp) size() (keys, bytes int64) {
	bytes = int64(o.keys.table.Bytes()) + o.ages.bytes()
	for i := range o.calls {
		bytes += o.calls[i].bytes()
	}
	return int64(o.keys.table.Live()), bytes
}

func (o *stateOp) save(e *encoder) { saveCaptured(e, o) }

func (o *stateOp) load(d *decoder) {
	loadTableBlocks(d, o.keys.table)
	n := o.keys.table.Len()
	o.ages.grow(n, o.ttl)
	for from := 0; from < n && d.err == nil; from += blockGroups {
		to := min(from+blockGroups, n)
		for i := range o.calls {
			o.calls[i].load(d, from, to)
		}
		for g := from; g < to && o.ttl > 0; g++ {
			o.ages.last[g] = d.varint()
		}
	}
	if o.ttl > 0 && d.err == nil {
		o.ages.restore(o.ages.last)
	}
}

// capture writes a block of groups when it is written or before it changes, whichever comes first.
func (o *stateOp) capture(c *Capture) func(e *encoder) {
	table := c.table(o.keys.table)
	x := &stateCapture{o: o, n: o.keys.table.Len()}
	x.saved = make([][]byte, (x.n+blockGroups-1)/blockGroups)
	for i := range o.calls {
		o.calls[i].grow(x.n)
	}
	o.ages.grow(x.n, o.ttl)
	o.caps = append(o.caps, x)
	c.undo = append(c.undo, func() { o.caps = slices.DeleteFunc(o.caps, func(y *stateCapture) bool { return x == y }) })
	return func(e *encoder) {
		table(e)
		x.write(e, c.lock)
	}
}

// stateCapture is the state of groups 0..n-1 at one moment.
type stateCapture struct {
	o       *stateOp
	n       int
	saved   [][]byte // per block: as it was, nil = as it is now
	written int      // blocks that may change again
	enc     *encoder
	buf     bytes.Buffer
}

// before must be called for a group that is about to change.
func (x *stateCapture) before(g int32) {
	b := int(g) / blockGroups
	if int(g) < x.n && b >= x.written && x.saved[b] == nil {
		x.saved[b] = x.block(b)
	}
}

func (x *stateCapture) block(b int) []byte {
	from := b * blockGroups
	to := min(from+blockGroups, x.n)
	if x.enc == nil {
		x.enc = newEncoder(&x.buf)
	}
	for i := range x.o.calls {
		x.o.calls[i].save(x.enc, from, to)
	}
	for g := from; g < to && x.o.ttl > 0; g++ {
		x.enc.varint(x.o.ages.last[g])
	}
	x.enc.fail(x.enc.w.Flush())
	data := bytes.Clone(x.buf.Bytes())
	x.buf.Reset()
	return data
}

func (x *stateCapture) write(e *encoder, lock sync.Locker) {
	for x.written < len(x.saved) {
		lock.Lock()
		var slice [sliceBlocks][]byte
		n := 0
		for ; n < sliceBlocks && x.written < len(x.saved); n++ {
			b := x.written
			if x.saved[b] == nil {
				x.saved[b] = x.block(b)
			}
			slice[n], x.saved[b] = x.saved[b], nil
			x.written++
		}
		err := x.enc.err
		lock.Unlock()
		for _, data := range slice[:n] {
			e.Write(data)
		}
		if err != nil {
			e.fail(err)
		}
	}
}

// What a rememberer knows of a group's value.
const (
	neverSeen = iota
	sawNull
	sawValue
)

// rememberer is the state of one function: per group the newest value and, for
// functions with a time, when.
type rememberer struct {
	call   plan.StateCall
	typ    column.Type // of the value
	args   []*column.Column
	out    *column.Column
	seen   []uint8
	nums   []int64        // values stored in I64
	floats []float64      // values stored in F64
	other  []column.Datum // every other value, copied
	held   int64          // bytes of other beyond its slots
	newest []int64        // time of the newest reading
	since  []int64        // unchanged_since: time of the first reading with this value
	a, b   []byte         // scratch to compare
}

func newRememberer(c plan.StateCall) rememberer {
	r := rememberer{call: c, typ: c.Args[0].Type(), args: make([]*column.Column, len(c.Args))}
	r.out = column.New(c.Type, 0)
	return r
}

func (m *rememberer) eval(ctx *expr.Context, b *column.Batch, sel []int32) {
	for i, a := range m.call.Args {
		m.args[i] = a.Eval(ctx, b, sel)
	}
}

// maxOutDict bounds the strings that an output column keeps from chunk to chunk.
const maxOutDict = 4096

// start makes room for n groups and a result of rows rows.
func (m *rememberer) start(n, rows int) {
	m.grow(n)
	if m.out.Type.Kind.Storage() == column.StoreDict && (m.out.Dict.Len() == 0 || m.out.Dict.Len() > maxOutDict) {
		m.out.Dict = column.NewDict()
		m.out.Dict.Code("") // rows that are not selected have code 0
	}
	m.out.Resize(rows)
	clear(m.out.Codes)
}

func (m *rememberer) grow(n int) {
	more := n - len(m.seen)
	if more <= 0 {
		return
	}
	m.seen = append(m.seen, make([]uint8, more)...)
	switch m.typ.Kind.Storage() {
	case column.StoreI64:
		m.nums = append(m.nums, make([]int64, more)...)
	case column.StoreF64:
		m.floats = append(m.floats, make([]float64, more)...)
	default:
		m.other = append(m.other, make([]column.Datum, more)...)
	}
	if len(m.call.Args) == 2 {
		m.newest = append(m.newest, make([]int64, more)...)
		m.since = append(m.since, make([]int64, more)...)
	}
}

// step computes the result of row r, of group g, and remembers the row.
func (m *rememberer) step(g int32, r int) {
	switch m.call.Name {
	case "previous":
		m.out.Set(r, m.value(g))
		m.remember(g, r)
	case "had_changed":
		changed := !m.same(g, r)
		m.out.Set(r, column.Bool(changed))
		if changed {
			m.remember(g, r)
		}
	case "counter_rate":
		m.rate(g, r)
	case "unchanged_since":
		m.unchanged(g, r)
	}
}

func (m *rememberer) rate(g int32, r int) {
	value, time := m.args[0], m.args[1]
	m.out.SetNull(r)
	if value.IsNull(r) || time.IsNull(r) || value.Type.Kind == column.Void {
		return
	}
	v, t := value.F64[r], time.I64[r]
	if m.seen[g] != neverSeen {
		if t <= m.newest[g] {
			return
		}
		grown := v - m.floats[g]
		if v < m.floats[g] {
			grown = v
		}
		m.out.Set(r, column.F64(grown/(float64(t-m.newest[g])/1e6)))
	}
	m.seen[g], m.floats[g], m.newest[g] = sawValue, v, t
}

func (m *rememberer) unchanged(g int32, r int) {
	time := m.args[1]
	m.out.SetNull(r)
	if time.IsNull(r) {
		return
	}
	t := time.I64[r]
	if m.seen[g] != neverSeen && t < m.newest[g] {
		return
	}
	if !m.same(g, r) {
		m.remember(g, r)
		m.since[g] = t
	}
	m.newest[g] = t
	m.out.Set(r, column.I64(m.since[g]))
}

// value is what is remembered of a group; NULL when nothing is.
func (m *rememberer) value(g int32) column.Datum {
	if m.seen[g] != sawValue {
		return column.NullDatum
	}
	switch m.typ.Kind.Storage() {
	case column.StoreI64:
		return column.I64(m.nums[g])
	case column.StoreF64:
		return column.F64(m.floats[g])
	}
	return m.other[g]
}

// same reports whether row r has the remembered value; NULL equals NULL, NaN equals NaN.
func (m *rememberer) same(g int32, r int) bool {
	c := m.args[0]
	null := c.Type.Kind == column.Void || c.IsNull(r)
	if m.seen[g] == neverSeen || null != (m.seen[g] == sawNull) {
		return false
	}
	switch {
	case null:
		return true
	case m.nums != nil:
		return m.nums[g] == c.I64[r]
	case m.floats != nil:
		return m.floats[g] == c.F64[r] || m.floats[g] != m.floats[g] && c.F64[r] != c.F64[r]
	case c.Type.Kind.Storage() == column.StoreDict:
		return m.other[g].S == c.Str(r)
	}
	m.a = appendDatum(m.a[:0], m.typ, m.other[g])
	m.b = appendDatum(m.b[:0], m.typ, c.Datum(r))
	return string(m.a) == string(m.b)
}

func (m *rememberer) remember(g int32, r int) {
	c := m.args[0]
	if c.Type.Kind == column.Void || c.IsNull(r) {
		m.seen[g] = sawNull
		m.put(g, column.Datum{})
		return
	}
	m.seen[g] = sawValue
	switch {
	case m.nums != nil:
		m.nums[g] = c.I64[r]
	case m.floats != nil:
		m.floats[g] = c.F64[r]
	case c.Type.Kind.Storage() == column.StoreDict:
		if s := c.Str(r); s != m.other[g].S {
			m.put(g, column.Str(strings.Clone(s)))
		}
	default:
		m.put(g, copyDatum(c.Datum(r)))
	}
}

// put stores a boxed value and accounts for its bytes.
func (m *rememberer) put(g int32, d column.Datum) {
	if m.other != nil {
		m.held += datumBytes(d) - datumBytes(m.other[g])
		m.other[g] = d
	}
}

func (m *rememberer) forget(g int32) {
	m.put(g, column.Datum{})
	m.seen[g] = neverSeen
}

func (m *rememberer) bytes() int64 {
	const datum = 88
	return int64(len(m.seen)+8*(len(m.nums)+len(m.floats)+len(m.newest)+len(m.since))+datum*len(m.other)) + m.held
}

func (m *rememberer) save(e *encoder, from, to int) {
	for g := from; g < to; g++ {
		e.int(int(m.seen[g]))
		if m.seen[g] == sawValue {
			e.datum(m.typ, m.value(int32(g)))
		}
		if m.seen[g] != neverSeen && len(m.call.Args) == 2 {
			e.varint(m.newest[g])
			e.varint(m.since[g])
		}
	}
}

func (m *rememberer) load(d *decoder, from, to int) {
	m.grow(to)
	for g := from; g < to; g++ {
		if d.err != nil {
			return
		}
		if m.seen[g] = uint8(d.int()); m.seen[g] > sawValue {
			d.fail(errState)
			return
		}
		if m.seen[g] == sawValue {
			v := d.datum(m.typ)
			switch {
			case m.nums != nil:
				m.nums[g] = v.I
			case m.floats != nil:
				m.floats[g] = v.F
			default:
				m.put(int32(g), v)
			}
		}
		if m.seen[g] != neverSeen && len(m.call.Args) == 2 {
			m.newest[g], m.since[g] = d.varint(), d.varint()
		}
	}
}

// copyDatum copies a value out of memory that the next batch overwrites.
func copyDatum(d column.Datum) column.Datum {
	d.S = strings.Clone(d.S)
	if d.L != nil {
		l := make([]column.Datum, len(d.L))
		for i, x := range d.L {
			l[i] = copyDatum(x)
		}
		d.L = l
	}
	return d
}

func datumBytes(d column.Datum) int64 {
	n := int64(len(d.S))
	for _, x := range d.L {
		n += 88 + datumBytes(x)
	}
	return n
}
