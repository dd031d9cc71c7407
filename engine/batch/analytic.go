package batch

import (
	"sort"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// partition is the rows of one PARTITION BY value, in order.
type partition struct {
	n    *plan.Analytic
	rows []int32
	keys []*column.Column // the sort keys of all rows
	// peer[i] is the first and end[i] the position after the last row that ties with position i.
	peer, end []int
	guard     *guard
}

// analytic appends the results of functions over ordered partitions.
func (x *run) analytic(n *plan.Analytic, in *column.Batch) (*column.Batch, error) {
	es := append([]expr.Expr(nil), n.Partition...)
	es = append(es, sortExprs(n.Order)...)
	for _, c := range n.Calls {
		es = append(es, c.Args...)
	}
	cols, in, err := x.eval(in, es)
	if err != nil {
		return nil, err
	}
	keys := cols[len(n.Partition) : len(n.Partition)+len(n.Order)]
	parts := x.split(n, cols[:len(n.Partition)], keys, in.Len)
	args := cols[len(n.Partition)+len(n.Order):]
	var more []*column.Column
	for i := range n.Calls {
		c := &n.Calls[i]
		out := column.New(c.Type, in.Len)
		out.Resize(in.Len)
		for _, p := range parts {
			if err := x.over(c, p, args[:len(c.Args)], out); err != nil {
				return nil, err
			}
		}
		args = args[len(c.Args):]
		more = append(more, out)
	}
	return withColumns(n.Out, in, more...), nil
}

// split sorts the rows of each partition and finds the rows that tie.
func (x *run) split(n *plan.Analytic, by, keys []*column.Column, rows int) []*partition {
	g := x.grouper()
	var parts []*partition
	for i := range rows {
		id := int(g.id(by, i))
		if id == len(parts) {
			parts = append(parts, &partition{n: n, keys: keys, guard: x.guard})
		}
		parts[id].rows = append(parts[id].rows, int32(i))
	}
	for _, p := range parts {
		x.sortRows(p.rows, n.Order, keys)
		p.peer, p.end = make([]int, len(p.rows)), make([]int, len(p.rows))
		for i := range p.rows {
			if i > 0 && compareKeys(n.Order, keys, int(p.rows[i-1]), int(p.rows[i])) == 0 {
				p.peer[i] = p.peer[i-1]
				continue
			}
			p.peer[i] = i
		}
		for i := len(p.rows) - 1; i >= 0; i-- {
			p.end[i] = i + 1
			if i+1 < len(p.rows) && p.peer[i+1] == p.peer[i] {
				p.end[i] = p.end[i+1]
			}
		}
	}
	return parts
}

// over computes one function over one partition.
func (x *run) over(c *plan.AnalyticCall, p *partition, args []*column.Column, out *column.Column) error {
	switch {
	case c.Func != nil:
		return x.overFrame(c, p, args, out)
	case c.Name == "lag" || c.Name == "lead":
		p.shift(c, args, out)
	case c.Name == "nth_value":
		p.nth(c, args, out)
	default:
		p.rank(c, args, out)
	}
	return nil
}

// rank is row_number and its relatives.
func (p *partition) rank(c *plan.AnalyticCall, args []*column.Column, out *column.Column) {
	n, dense := len(p.rows), int64(0)
	for i, r := range p.rows {
		if p.peer[i] == i {
			dense++
		}
		var d column.Datum
		switch c.Name {
		case "row_number":
			d = column.I64(int64(i + 1))
		case "rank":
			d = column.I64(int64(p.peer[i] + 1))
		case "dense_rank":
			d = column.I64(dense)
		case "percent_rank":
			if n > 1 {
				d = column.F64(float64(p.peer[i]) / float64(n-1))
			}
		case "cume_dist":
			d = column.F64(float64(p.end[i]) / float64(n))
		case "ntile":
			buckets := int64(1)
			if len(args) > 0 {
				buckets = args[0].I64[r]
			}
			d = column.I64(ntile(int64(i), int64(n), buckets))
		}
		out.Set(int(r), d)
	}
}

// ntile puts position i of n into one of the buckets, the first ones being larger by one.
func ntile(i, n, buckets int64) int64 {
	size, extra := n/buckets, n%buckets
	if i < extra*(size+1) {
		return i/(size+1) + 1
	}
	return (i-extra*(size+1))/size + extra + 1
}

// shift is lag and lead.
func (p *partition) shift(c *plan.AnalyticCall, args []*column.Column, out *column.Column) {
	for i, r := range p.rows {
		off := int64(1)
		if len(args) > 1 {
			off = args[1].I64[r]
		}
		if c.Name == "lag" {
			off = -off
		}
		at := p.offset(int64(i), off, c.IgnoreNulls, args[0])
		switch {
		case at >= 0:
			out.Set(int(r), args[0].Datum(int(p.rows[at])))
		case len(args) > 2:
			out.Set(int(r), args[2].Datum(int(r)))
		default:
			out.Set(int(r), column.NullDatum)
		}
	}
}

// offset finds the position off rows away, counting only values that are not NULL when asked to; -1 = outside.
func (p *partition) offset(i, off int64, skipNulls bool, v *column.Column) int {
	n := int64(len(p.rows))
	if !skipNulls || off == 0 {
		if at := i + off; at >= 0 && at < n {
			return int(at)
		}
		return -1
	}
	step := int64(1)
	if off < 0 {
		step, off = -1, -off
	}
	for at := i + step; at >= 0 && at < n; at += step {
		p.guard.poll()
		if v.IsNull(int(p.rows[at])) {
			continue
		}
		if off--; off == 0 {
			return int(at)
		}
	}
	return -1
}

// nth is nth_value over the frame.
func (p *partition) nth(c *plan.AnalyticCall, args []*column.Column, out *column.Column) {
	for i, r := range p.rows {
		from, to := p.frame(&c.Frame, i)
		want := args[1].I64[r]
		d := column.NullDatum
		for at := from; at < to; at++ {
			p.guard.poll()
			if c.IgnoreNulls && args[0].IsNull(int(p.rows[at])) {
				continue
			}
			if want--; want == 0 {
				d = args[0].Datum(int(p.rows[at]))
				break
			}
		}
		out.Set(int(r), d)
	}
}

// overFrame computes an aggregate over the frame of each row; a frame that only grows is folded once.
func (x *run) overFrame(c *plan.AnalyticCall, p *partition, args []*column.Column, out *column.Column) error {
	acc := c.Func.New()
	acc.Grow(1)
	zeros := make([]int32, len(p.rows))
	tmp := column.New(c.Type, 1)
	haveFrom, haveTo := 0, 0
	for i, r := range p.rows {
		x.guard.poll()
		from, to := p.frame(&c.Frame, i)
		if from != haveFrom || to < haveTo {
			acc.Clear(0)
			haveFrom, haveTo = from, from
		}
		if to > haveTo {
			if err := x.addRows(acc, p.rows[haveTo:to], zeros, args); err != nil {
				return err
			}
			haveTo = to
		}
		tmp.Reset()
		if err := acc.Value(0, tmp); err != nil {
			return err
		}
		out.Set(int(r), tmp.Datum(0))
	}
	return nil
}

func (x *run) addRows(acc agg.Accumulator, rows, zeros []int32, args []*column.Column) error {
	for len(rows) > 0 {
		x.guard.ask()
		n := min(len(rows), evalRows)
		ctx := new(expr.Context)
		acc.Add(ctx, zeros[:n], args, rows[:n])
		if len(ctx.Errors) > 0 && x.opt.Strict {
			return ctx.Errors[0].Err
		}
		rows = rows[n:]
	}
	return nil
}

// frame is the positions [from, to) that the frame of position i covers.
func (p *partition) frame(f *plan.Frame, i int) (from, to int) {
	n := len(p.rows)
	to = n
	switch {
	case f.StartUnbounded:
	case f.Rows:
		from = clamp(i, f.Start.I, n)
	default:
		from = p.rangeStart(f, i)
	}
	switch {
	case f.EndUnbounded:
	case f.Rows:
		to = clamp(i, f.End.I, n-1) + 1
		if int64(i)+f.End.I < 0 {
			to = 0
		}
	default:
		to = p.rangeEnd(f, i)
	}
	if from > to {
		from = to
	}
	return from, to
}

func clamp(i int, off int64, n int) int {
	at := int64(i) + off
	if off > 0 && at < 0 {
		return n
	}
	return int(max(0, min(at, int64(n))))
}

// rangeStart is the first position whose key is within the start of a RANGE frame.
func (p *partition) rangeStart(f *plan.Frame, i int) int {
	if p.isCurrent(f.Start) || p.keys[0].IsNull(int(p.rows[i])) {
		return p.peer[i]
	}
	bound := p.moved(i, f.Start)
	return sort.Search(len(p.rows), func(at int) bool { return p.beyond(at, bound) >= 0 })
}

// rangeEnd is the position after the last whose key is within the end of a RANGE frame.
func (p *partition) rangeEnd(f *plan.Frame, i int) int {
	if p.isCurrent(f.End) || p.keys[0].IsNull(int(p.rows[i])) {
		return p.end[i]
	}
	bound := p.moved(i, f.End)
	return sort.Search(len(p.rows), func(at int) bool { return p.beyond(at, bound) > 0 })
}

func (p *partition) isCurrent(d column.Datum) bool {
	return d.I == 0 && d.F == 0 && d.Dec == (column.Decimal128{})
}

// moved is the key of position i moved by the offset of the frame, along the order.
func (p *partition) moved(i int, off column.Datum) column.Datum {
	k, r := p.keys[0], int(p.rows[i])
	sign := int64(1)
	if p.n.Order[0].Desc {
		sign = -1
	}
	d := k.Datum(r)
	switch k.Type.Kind.Storage() {
	case column.StoreF64:
		return column.F64(d.F + float64(float64(sign)*off.F))
	case column.StoreDec:
		return column.Datum{Dec: addDecimal(d.Dec, off.Dec, sign < 0)}
	}
	return column.I64(addSaturating(d.I, off.I*sign))
}

func addSaturating(a, b int64) int64 {
	s := a + b
	switch {
	case b > 0 && s < a:
		return 1<<63 - 1
	case b < 0 && s > a:
		return -1 << 63
	}
	return s
}

func addDecimal(a, b column.Decimal128, subtract bool) column.Decimal128 {
	if subtract {
		b = column.Decimal128{Hi: ^b.Hi, Lo: ^b.Lo}
		b = addDecimal(b, column.Decimal128{Lo: 1}, false)
	}
	lo := a.Lo + b.Lo
	hi := a.Hi + b.Hi
	if lo < a.Lo {
		hi++
	}
	return column.Decimal128{Hi: hi, Lo: lo}
}

// beyond says on which side of a bound the key of a position lies, along the order: -1 before, 0 at it, 1 after.
func (p *partition) beyond(at int, bound column.Datum) int {
	k, r := p.keys[0], int(p.rows[at])
	if k.IsNull(r) {
		if p.n.Order[0].NullsFirst {
			return -1
		}
		return 1
	}
	c := compareDatum(k.Type, k.Datum(r), bound)
	if p.n.Order[0].Desc {
		return -c
	}
	return c
}
