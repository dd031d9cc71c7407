package stream

import (
	"math"
	"math/bits"
	"slices"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// totalOp aggregates over the current rows of a keyed aggregate: when a key's
// row changes, its previous contribution is taken back. Whole numbers are
// subtracted and added; every other function is recomputed, without outer keys
// only along the path of a tree (64 keys to a block, 64 blocks to a
// superblock), so that the answer does not depend on the history.
type totalOp struct {
	p     *Pipeline
	node  *plan.Aggregate
	ctx   expr.Context
	keys  *keys
	calls *calls
	args  [][]*column.Column // per call: last arguments of each inner key
	pass  [][]bool           // per call: FILTER kept the key
	group []int32            // outer group of each inner key, -1 = none
	size_ []int32            // inner keys of each outer group
	revs  []uint32
	ints  []*intTotal // per call, nil = by recomputing
	tree  *tree
	flat  []agg.Accumulator
	touch []uint64
	any   bool
	emitB emitter
	gids  []int32
	sel   []int32
	pos   []int
	caps  rowCaptures
}

func newTotalOp(p *Pipeline, n *plan.Aggregate, next operator) *totalOp {
	o := &totalOp{p: p, node: n, keys: newKeys(p, n.Keys), calls: newCalls(n.Calls)}
	o.emitB.init(p, n.Out, next)
	o.args, o.pass, o.ints = make([][]*column.Column, len(n.Calls)), make([][]bool, len(n.Calls)), make([]*intTotal, len(n.Calls))
	all := true
	for i, c := range n.Calls {
		for _, a := range c.Args {
			o.args[i] = append(o.args[i], column.New(a.Type(), 0))
		}
		o.ints[i] = newIntTotal(c)
		all = all && o.ints[i] != nil
	}
	for i := range n.Keys {
		o.pos = append(o.pos, i)
	}
	switch {
	case all:
	case len(n.Keys) == 0:
		o.tree = newTree(o.calls)
	default:
		o.flat = o.calls.newAccs()
		widen(o.flat)
	}
	return o
}

// widen lets sums pass what fits on the way to a result that does: of current
// values it is not for a row to fail, but for the result.
func widen(accs []agg.Accumulator) {
	for _, a := range accs {
		agg.Widen(a)
	}
}

func (o *totalOp) push(c *chunk) {
	o.ctx.Reset()
	o.keys.eval(&o.ctx, c.b, c.sel)
	o.calls.eval(&o.ctx, c.b, c.sel)
	for i, n := 0, c.rows(); i < n; i++ {
		r := c.row(i)
		failed := o.ctx.Failed(int32(r))
		o.replace(c, int32(r), c.ord[r], c.deleted(r) || failed)
	}
	for _, f := range o.ctx.Errors {
		if !c.deleted(int(f.Row)) {
			o.p.refuse(c, int(f.Row), "expression", f.Err)
		}
	}
	o.any = true
}

// replace takes back what an inner key contributed and adds what it contributes now.
func (o *totalOp) replace(c *chunk, r, key int32, gone bool) {
	o.caps.before(key)
	o.reserve(int(key) + 1)
	if g := o.group[key]; g >= 0 {
		o.move(g, key, -1)
	}
	o.group[key] = -1
	if o.tree != nil {
		o.tree.touch(key)
	}
	if gone {
		return
	}
	g := int32(0)
	if len(o.keys.exprs) > 0 {
		gids, _ := o.keys.groups(c, []int32{r}, false)
		if len(gids) == 0 {
			return
		}
		g = gids[0]
	} else {
		o.keys.table.GroupRows(1, o.gids)
	}
	o.grow(int(g) + 1)
	for i := range o.args {
		for j, col := range o.args[i] {
			setCell(col, int(key), o.calls.args[i][j], int(r))
		}
		o.pass[i][key] = o.calls.list[i].Filter == nil || o.calls.pass[i][r]
	}
	o.group[key] = g
	o.move(g, key, 1)
}

// move adds (sign 1) or takes back (-1) the stored contribution of a key.
func (o *totalOp) move(g, key int32, sign int64) {
	o.size_[g] += int32(sign)
	o.touch[g>>6] |= 1 << (g & 63)
	for i, t := range o.ints {
		if t != nil && o.pass[i][key] {
			t.move(g, o.args[i], int(key), sign)
		}
	}
}

func setCell(dst *column.Column, i int, src *column.Column, r int) {
	if src == nil || src.IsNull(r) {
		dst.Set(i, column.NullDatum)
		return
	}
	switch dst.Type.Kind.Storage() {
	case column.StoreI64:
		dst.ClearNull(i)
		dst.I64[i] = src.I64[r]
	case column.StoreF64:
		dst.ClearNull(i)
		dst.F64[i] = src.F64[r]
	default:
		dst.Set(i, src.Datum(r))
	}
}

func (o *totalOp) reserve(keys int) {
	for len(o.group) < keys {
		o.group = append(o.group, -1)
		for i := range o.args {
			for _, col := range o.args[i] {
				col.AppendNull()
			}
			o.pass[i] = append(o.pass[i], false)
		}
	}
}

func (o *totalOp) grow(groups int) {
	for len(o.size_) < groups {
		o.size_, o.revs = append(o.size_, 0), append(o.revs, 0)
	}
	if w := (groups + 63) / 64; w > len(o.touch) {
		o.touch = append(o.touch, make([]uint64, w-len(o.touch))...)
	}
	for _, t := range o.ints {
		if t != nil {
			t.grow(groups)
		}
	}
	if o.flat != nil {
		growAccs(o.flat, groups)
	}
}

func (o *totalOp) wants() bool { return false }

func (o *totalOp) close() {
	if !o.any {
		return
	}
	o.any = false
	o.recompute()
	for i, word := range o.touch {
		if o.p.mode == plan.Complete {
			word = ^uint64(0)
		}
		for ; word != 0; word &= word - 1 {
			if g := i*64 + bits.TrailingZeros64(word); g < len(o.size_) {
				o.emit(int32(g))
			}
		}
	}
	clear(o.touch)
	o.emitB.flush()
	o.forget()
}

// recompute brings the functions that cannot subtract up to date.
func (o *totalOp) recompute() {
	if o.tree != nil {
		o.tree.update(&o.ctx, o)
	}
	if o.flat == nil {
		return
	}
	for g := range o.size_ {
		clearAccs(o.flat, int32(g))
	}
	for i, a := range o.flat {
		o.members(i, 0, len(o.group))
		if o.ints[i] == nil && len(o.gids) > 0 {
			a.Add(&o.ctx, o.gids, o.args[i], o.sel)
		}
	}
}

// members lists the inner keys in [lo, hi) that count for call i, with their outer groups.
func (o *totalOp) members(i, lo, hi int) {
	o.gids, o.sel = o.gids[:0], o.sel[:0]
	for k := lo; k < min(hi, len(o.group)); k++ {
		if o.group[k] >= 0 && o.pass[i][k] {
			o.gids, o.sel = append(o.gids, o.group[k]), append(o.sel, int32(k))
		}
	}
}

func (o *totalOp) emit(g int32) {
	if len(o.pos) > 0 && o.size_[g] == 0 && o.revs[g] == 0 {
		return
	}
	e := &o.emitB
	e.keyCells(o.keys.table, g, o.pos)
	for i, t := range o.ints {
		col, n := e.out.Cols[len(o.pos)+i], e.out.Len
		var err error
		switch {
		case t != nil:
			err = t.value(g, col)
		case o.tree != nil:
			err = o.tree.root[i].Value(0, col)
		default:
			err = o.flat[i].Value(g, col)
		}
		if err != nil {
			if col.Len() == n {
				col.AppendNull()
			}
			e.fail(err)
		}
	}
	o.revs[g]++
	e.finish(len(o.pos), 0, 0, o.revs[g], len(o.pos) > 0 && o.size_[g] == 0)
}

// forget drops outer groups that lost their last key.
func (o *totalOp) forget() {
	if len(o.pos) == 0 {
		return
	}
	for g, n := range o.size_ {
		if n == 0 && o.revs[g] > 0 && o.keys.table.Alive(int32(g)) {
			o.revs[g] = 0
			o.keys.table.Remove(int32(g))
		}
	}
}

func (o *totalOp) size() (keys, bytes int64) {
	n := int64(len(o.group))
	per := int64(5)
	for i := range o.args {
		per += 1 + 8*int64(len(o.args[i]))
	}
	return int64(len(o.size_)), n*per + int64(o.keys.table.Bytes())
}

func (o *totalOp) capture(c *Capture) func(e *encoder) {
	table, revs := c.table(o.keys.table), slices.Clone(o.revs)
	keys := c.rows(&o.caps, len(o.group), o.encode)
	return func(e *encoder) {
		table(e)
		e.int(len(revs))
		for _, r := range revs {
			e.uvarint(uint64(r))
		}
		keys.write(e, c.lock)
	}
}

func (o *totalOp) save(e *encoder) { saveCaptured(e, o) }

// encode writes what is known of some inner keys.
func (o *totalOp) encode(e *encoder, from, to int) {
	for k := from; k < to; k++ {
		g := o.group[k]
		e.varint(int64(g))
		if g < 0 {
			continue
		}
		for i := range o.args {
			e.bool(o.pass[i][k])
			for _, col := range o.args[i] {
				e.datum(col.Type, col.Datum(k))
			}
		}
	}
}

func (o *totalOp) load(d *decoder) {
	if d.v1 {
		loadTable(d, o.keys.table)
	} else {
		loadTableBlocks(d, o.keys.table)
	}
	groups := d.int()
	if groups != o.keys.table.Len() {
		d.fail(errState)
		return
	}
	o.grow(groups)
	for g := range groups {
		o.revs[g] = uint32(d.uvarint())
	}
	n := d.int()
	for k := 0; k < n && d.err == nil; k++ {
		g := d.varint()
		if g < -1 || g >= int64(groups) {
			d.fail(errState)
			return
		}
		o.reserve(k + 1)
		if g < 0 {
			continue
		}
		for i := range o.args {
			o.pass[i][k] = d.bool()
			for _, col := range o.args[i] {
				col.Set(k, d.datum(col.Type))
			}
		}
		o.group[k] = int32(g)
		o.move(int32(g), int32(k), 1)
		if o.tree != nil {
			o.tree.touch(int32(k))
		}
	}
	clear(o.touch)
	o.recompute()
}

// intTotal is a sum, count or average of whole numbers that can be taken back.
type intTotal struct {
	kind   byte // 's' sum, 'c' count, 'a' avg
	result column.Type
	hi     []int64 // 128-bit sum, so that it cannot overflow on the way
	lo     []uint64
	n      []int64
}

func newIntTotal(c plan.AggCall) *intTotal {
	whole := len(c.Args) == 1 && c.Args[0].Type().Kind.IsIntegral()
	t := &intTotal{result: c.Func.Result()}
	switch name := c.Func.Name(); {
	case c.Distinct:
		return nil
	case name == "count" && len(c.Args) <= 1:
		t.kind = 'c'
	case name == "sum" && whole && t.result.Kind == column.BigInt:
		t.kind = 's'
	case (name == "avg" || name == "mean") && whole && t.result.Kind == column.Double:
		t.kind = 'a'
	default:
		return nil
	}
	return t
}

func (t *intTotal) grow(n int) {
	for len(t.n) < n {
		t.hi, t.lo, t.n = append(t.hi, 0), append(t.lo, 0), append(t.n, 0)
	}
}

func (t *intTotal) move(g int32, args []*column.Column, key int, sign int64) {
	if len(args) == 0 {
		t.n[g] += sign
		return
	}
	if args[0].IsNull(key) {
		return
	}
	t.n[g] += sign
	if t.kind == 'c' {
		return
	}
	v := args[0].I64[key]
	var carry uint64
	if sign > 0 {
		t.lo[g], carry = bits.Add64(t.lo[g], uint64(v), 0)
		t.hi[g] += v>>63 + int64(carry)
		return
	}
	t.lo[g], carry = bits.Sub64(t.lo[g], uint64(v), 0)
	t.hi[g] -= v>>63 + int64(carry)
}

func (t *intTotal) value(g int32, out *column.Column) error {
	hi, lo := t.hi[g], t.lo[g]
	switch {
	case t.kind == 'c':
		out.AppendI64(t.n[g])
	case t.n[g] == 0:
		out.AppendNull()
	case t.kind == 'a':
		sum := math.Ldexp(float64(hi), 64) + float64(lo)
		if hi == int64(lo)>>63 {
			sum = float64(int64(lo))
		}
		out.AppendF64(sum / float64(t.n[g]))
	case hi != int64(lo)>>63:
		return &expr.Error{Phase: expr.Runtime, Condition: "ARITHMETIC_OVERFLOW", SQLState: "22003", Message: "sum of BIGINT overflows; sum a DECIMAL or DOUBLE instead"}
	default:
		out.AppendI64(int64(lo))
	}
	return nil
}

// tree keeps partial aggregates of blocks of inner keys.
type tree struct {
	k     *calls
	leaf  []agg.Accumulator // one group per 64 keys
	super []agg.Accumulator // one group per 64 leaves
	root  []agg.Accumulator
	dirty []uint64 // leaves
	zeros []int32
}

func newTree(k *calls) *tree {
	t := &tree{k: k, leaf: k.newAccs(), super: k.newAccs(), root: k.newAccs(), zeros: make([]int32, 64)}
	for _, accs := range [][]agg.Accumulator{t.leaf, t.super, t.root} {
		widen(accs)
	}
	growAccs(t.root, 1)
	return t
}

func (t *tree) touch(key int32) {
	l := int(key >> 6)
	for l>>6 >= len(t.dirty) {
		t.dirty = append(t.dirty, 0)
		growAccs(t.leaf, 64*len(t.dirty))
		growAccs(t.super, len(t.dirty))
	}
	t.dirty[l>>6] |= 1 << (l & 63)
}

// update recomputes the dirty leaves, the superblocks above them, and the root.
func (t *tree) update(ctx *expr.Context, o *totalOp) {
	ctx.Reset()
	for s, word := range t.dirty {
		if word == 0 {
			continue
		}
		for w := word; w != 0; w &= w - 1 {
			t.leafFrom(ctx, o, int32(s*64+bits.TrailingZeros64(w)))
		}
		clearAccs(t.super, int32(s))
		for l := s * 64; l < s*64+64; l++ {
			t.merge(t.super, int32(s), t.leaf, int32(l), o)
		}
		t.dirty[s] = 0
	}
	clearAccs(t.root, 0)
	for s := range t.dirty {
		t.merge(t.root, 0, t.super, int32(s), o)
	}
}

func (t *tree) leafFrom(ctx *expr.Context, o *totalOp, l int32) {
	clearAccs(t.leaf, l)
	for i, a := range t.leaf {
		o.members(i, int(l)*64, int(l)*64+64)
		if len(o.sel) == 0 || o.ints[i] != nil {
			continue
		}
		for j := range o.gids {
			o.gids[j] = l
		}
		a.Add(ctx, o.gids, o.args[i], o.sel)
	}
}

func (t *tree) merge(into []agg.Accumulator, g int32, from []agg.Accumulator, h int32, o *totalOp) {
	for i := range into {
		if o.ints[i] != nil {
			continue
		}
		if err := into[i].Merge(g, from[i], h); err != nil {
			o.emitB.fail(err)
		}
	}
}
