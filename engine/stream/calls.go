package stream

import (
	"bytes"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// calls evaluates the arguments of an aggregate's functions for one batch.
type calls struct {
	list []plan.AggCall
	args [][]*column.Column
	pass [][]bool  // rows that a FILTER keeps, nil = no filter
	sels [][]int32 // per call: rows that a FILTER keeps
	from []int     // of a state with fewer functions that is about to be read: the places of those
	gids []int32   // scratch
	sel  []int32

	admission admission
}

func newCalls(list []plan.AggCall) *calls {
	k := &calls{list: list, args: make([][]*column.Column, len(list)), pass: make([][]bool, len(list)), sels: make([][]int32, len(list))}
	k.findGuards()
	return k
}

// eval computes every argument for the rows of sel.
func (k *calls) eval(ctx *expr.Context, b *column.Batch, sel []int32) {
	for i := range k.list {
		call := &k.list[i]
		rows := sel
		if call.Filter != nil {
			cond := call.Filter.Eval(ctx, b, sel)
			k.sels[i] = truths(cond, sel, b.Len, k.sels[i])
			rows = k.sels[i]
			k.pass[i] = growBools(k.pass[i], b.Len)
			for _, r := range rows {
				k.pass[i][r] = true
			}
		}
		k.args[i] = k.args[i][:0]
		for _, a := range call.Args {
			k.args[i] = append(k.args[i], a.Eval(ctx, b, rows))
		}
	}
}

// add folds the rows of sel, of groups gids, into accs; added says that those
// that can fail have them already.
func (k *calls) add(ctx *expr.Context, accs []agg.Accumulator, gids, sel []int32, added bool) {
	guards := k.admission.guards
	for i, acc := range accs {
		if added && len(guards) > 0 && guards[0] == i {
			guards = guards[1:]
			continue
		}
		if g, s := k.rowsOf(i, gids, sel); len(g) > 0 {
			acc.Add(ctx, g, k.args[i], s)
		}
	}
}

// rowsOf returns the rows that call i takes.
func (k *calls) rowsOf(i int, gids, sel []int32) (g, s []int32) {
	if k.list[i].Filter == nil {
		return gids, sel
	}
	k.gids, k.sel = none(k.gids), none(k.sel)
	for j, n := 0, len(gids); j < n; j++ {
		if r := at(sel, j); k.pass[i][r] {
			k.gids, k.sel = append(k.gids, gids[j]), append(k.sel, r)
		}
	}
	return k.gids, k.sel
}

func (k *calls) newAccs() []agg.Accumulator {
	out := make([]agg.Accumulator, len(k.list))
	for i := range k.list {
		out[i] = k.list[i].Func.New()
	}
	return out
}

func growAccs(accs []agg.Accumulator, n int) {
	for _, a := range accs {
		a.Grow(n)
	}
}

func clearAccs(accs []agg.Accumulator, g int32) {
	for _, a := range accs {
		a.Clear(g)
	}
}

func bytesOf(accs []agg.Accumulator) int {
	n := 0
	for _, a := range accs {
		n += a.Bytes()
	}
	return n
}

// saveAccs writes each accumulator with its length, so that it may read ahead when it is decoded.
func saveAccs(e *encoder, accs []agg.Accumulator, n int) {
	var buf bytes.Buffer
	for _, a := range accs {
		buf.Reset()
		if err := a.Encode(&buf, n); err != nil {
			e.fail(err)
		}
		e.bytes(buf.Bytes())
	}
}

func loadAccs(d *decoder, accs []agg.Accumulator, n int) {
	for _, a := range accs {
		b := d.bytes()
		if d.err != nil {
			return
		}
		if err := a.Decode(bytes.NewReader(b), n); err != nil {
			d.fail(err)
		}
	}
}

func loadTable(d *decoder, t *agg.GroupTable) {
	b := d.bytes()
	if d.err != nil {
		return
	}
	if err := t.Decode(bytes.NewReader(b)); err != nil {
		d.fail(err)
	}
}

// keys evaluates key expressions and finds groups, within the limits of the query.
type keys struct {
	p     *Pipeline
	exprs []expr.Expr
	table *agg.GroupTable
	cols  []*column.Column
	gids  []int32
	one   []int32
	sel   []int32
}

func newKeys(p *Pipeline, exprs []expr.Expr) *keys {
	types := make([]column.Type, len(exprs))
	for i, x := range exprs {
		types[i] = x.Type()
	}
	return &keys{p: p, exprs: exprs, table: agg.NewGroupTable(types)}
}

func (k *keys) eval(ctx *expr.Context, b *column.Batch, sel []int32) {
	k.cols = k.cols[:0]
	for _, x := range k.exprs {
		k.cols = append(k.cols, x.Eval(ctx, b, sel))
	}
}

// groups returns the group of each row of sel; rows that a limit refuses are left
// out of the returned sel.
func (k *keys) groups(c *chunk, sel []int32, full bool) (gids, rows []int32) {
	n := lenOf(sel, c.b.Len)
	if len(k.exprs) == 0 {
		k.gids = k.table.GroupRows(n, k.gids)
		return k.gids, sel
	}
	if !full && k.table.Live()+n <= k.p.opt.MaxKeys {
		k.gids = k.table.Groups(k.cols, sel, k.gids)
		return k.gids, sel
	}
	if sel == nil {
		sel = identity(n)
	}
	k.gids, k.sel = none(k.gids), none(k.sel)
	for _, r := range sel {
		k.one = k.table.Find(k.cols, []int32{r}, k.one)
		if k.one[0] < 0 && !full && k.table.Live() < k.p.opt.MaxKeys {
			k.one = k.table.Groups(k.cols, []int32{r}, k.one)
		}
		if k.one[0] < 0 {
			k.p.limited(c, int(r), k.limit(full))
			continue
		}
		k.gids, k.sel = append(k.gids, k.one[0]), append(k.sel, r)
	}
	return k.gids, k.sel
}

func (k *keys) limit(full bool) string {
	if full {
		return "the query holds more than its max_state_bytes; raise the limit, or group by fewer values"
	}
	return "the query holds its max_keys groups; raise the limit, or group by fewer values"
}
