package agg

import (
	"slices"
	"sort"

	"signalbox/engine/column"
)

func percentileEntries() []entry {
	return []entry{
		{Info: Info{Name: "percentile", Signature: "percentile(x, percentage [, frequency])", Doc: "Exact percentile with linear interpolation; the percentage is a constant from 0 to 1 or an array of them.", Example: "percentile(speed, 0.9)"},
			bind: bindPercentile, min: 2, max: 3},
		{Info: Info{Name: "median", Signature: "median(x)", Doc: "The percentile 0.5.", Example: "median(speed)"},
			bind: bindMedian, min: 1, max: 1},
		{Info: Info{Name: "percentile_cont", Signature: "percentile_cont(percentage) WITHIN GROUP (ORDER BY x [DESC])", Doc: "Exact percentile with linear interpolation.", Example: "percentile_cont(0.9) WITHIN GROUP (ORDER BY speed)"},
			bind: bindPercentileOrdered, min: 2, max: 2, ordered: true},
		{Info: Info{Name: "percentile_disc", Signature: "percentile_disc(percentage) WITHIN GROUP (ORDER BY x [DESC])", Doc: "First value, in order, whose cumulative share reaches the percentage.", Example: "percentile_disc(0.5) WITHIN GROUP (ORDER BY passengers)"},
			bind: bindPercentileOrdered, min: 2, max: 2, ordered: true},
		{Info: Info{Name: "mode", Signature: "mode(x) | mode() WITHIN GROUP (ORDER BY x [DESC])", Doc: "Most frequent value; of equally frequent ones the smallest (the first in the order given).", Example: "mode(route)"},
			bind: bindMode, min: 1, max: 2, ordered: true},
	}
}

// floatOrInterval makes argument i a DOUBLE unless it is an interval, and returns the type of percentiles of it.
func (c *call) floatOrInterval(i int) (column.Type, error) {
	if k := c.args[i].Type().Kind; k == column.IntervalDT || k == column.IntervalYM {
		return column.Of(k), nil
	}
	return column.Of(column.Double), c.double(i)
}

func bindMedian(c *call) (Func, error) {
	t, err := c.floatOrInterval(0)
	if err != nil {
		return nil, err
	}
	return c.listFn(t, 0, 1, percentileOf([]float64{0.5}, false, false, interpolate))
}

func bindPercentile(c *call) (Func, error) {
	t, err := c.floatOrInterval(0)
	if err != nil {
		return nil, err
	}
	ps, array, err := c.percentages(1)
	if err != nil {
		return nil, err
	}
	if array {
		t = column.ArrayOf(t)
	}
	if len(c.args) == 2 {
		return c.listFn(t, 0, 1, percentileOf(ps, array, false, interpolate))
	}
	// The frequency comes beside the value: keep the constant last.
	c.args[1], c.args[2] = c.args[2], c.args[1]
	if err := c.coerce(1, column.Of(column.BigInt)); err != nil {
		return nil, err
	}
	return c.listFn(t, 0, 2, weightedPercentileOf(ps, array))
}

func bindPercentileOrdered(c *call) (Func, error) {
	if len(c.opt.OrderBy) != 1 {
		return nil, analysis("INVALID_WITHIN_GROUP_EXPRESSION.WITHIN_GROUP_MISSING", "42K0K", "%s needs one key: %s(p) WITHIN GROUP (ORDER BY x)", c.name, c.name)
	}
	t, err := c.floatOrInterval(1)
	if err != nil {
		return nil, err
	}
	ps, array, err := c.percentages(0)
	if err != nil {
		return nil, err
	}
	if array {
		t = column.ArrayOf(t)
	}
	pick := interpolate
	if c.name == "percentile_disc" {
		pick = discrete
	}
	return c.listFn(t, 1, 1, percentileOf(ps, array, c.opt.OrderBy[0].Desc, pick))
}

// floats reads the values of a group, sorted as Spark orders them.
func (a *listAcc) floats(slots []int32, desc bool) []float64 {
	vs := make([]float64, len(slots))
	cell := &a.lists.cells[0]
	for i, s := range slots {
		if cell.typ.Kind.Storage() == column.StoreI64 {
			vs[i] = float64(cell.i64[s])
		} else {
			vs[i] = cell.f64[s]
		}
	}
	slices.SortStableFunc(vs, compareFloat)
	if desc {
		slices.Reverse(vs)
	}
	return vs
}

func percentileOf(ps []float64, array, desc bool, pick func([]float64, float64) float64) valueOf {
	return func(a *listAcc, slots []int32, out *column.Column) error {
		if len(slots) == 0 {
			out.AppendNull()
			return nil
		}
		vs := a.floats(slots, desc)
		a.appendPicked(out, ps, array, func(p float64) float64 { return pick(vs, p) })
		return nil
	}
}

func (a *listAcc) appendPicked(out *column.Column, ps []float64, array bool, pick func(float64) float64) {
	rs := make([]float64, len(ps))
	for i, p := range ps {
		rs[i] = pick(p)
	}
	if a.lists.cells[0].typ.Kind.Storage() != column.StoreI64 {
		appendDoubles(out, rs, array)
		return
	}
	d := column.Datum{}
	for _, r := range rs {
		d.L = append(d.L, column.I64(int64(r)))
	}
	if !array {
		d = d.L[0]
	}
	out.Append(d)
}

// weightedPercentileOf repeats each value as often as its frequency says, without writing it out.
func weightedPercentileOf(ps []float64, array bool) valueOf {
	return func(a *listAcc, slots []int32, out *column.Column) error {
		type weighted struct {
			v float64
			n int64
		}
		var all []weighted
		total := int64(0)
		for _, s := range slots {
			w := a.datum(1, s)
			if w.Null || w.I == 0 {
				continue
			}
			if w.I < 0 || total+w.I < 0 {
				return overflow("the frequency of percentile must not be negative, nor their sum exceed BIGINT")
			}
			v := a.floats([]int32{s}, false)[0]
			all = append(all, weighted{v, w.I})
			total += w.I
		}
		if total == 0 {
			out.AppendNull()
			return nil
		}
		sort.SliceStable(all, func(i, j int) bool { return compareFloat(all[i].v, all[j].v) < 0 })
		at := func(i int64) float64 {
			for _, w := range all {
				if i < w.n {
					return w.v
				}
				i -= w.n
			}
			return all[len(all)-1].v
		}
		a.appendPicked(out, ps, array, func(p float64) float64 {
			pos := float64(float64(total-1) * p)
			lo, hi := int64(pos), int64(pos)
			if float64(lo) < pos {
				hi++
			}
			if lo == hi || at(lo) == at(hi) {
				return at(lo)
			}
			x := float64((float64(hi) - pos) * at(lo))
			y := float64((pos - float64(lo)) * at(hi))
			return x + y
		})
		return nil
	}
}

func bindMode(c *call) (Func, error) {
	if len(c.opt.OrderBy) > 1 || len(c.opt.OrderBy) == 1 && len(c.args) != 1 {
		return nil, analysis("INVALID_WITHIN_GROUP_EXPRESSION", "42K0K", "write mode() WITHIN GROUP (ORDER BY x) with one key")
	}
	desc := len(c.opt.OrderBy) == 1 && c.opt.OrderBy[0].Desc
	if len(c.args) == 2 {
		d, err := c.constant(1, "flag")
		if err != nil {
			return nil, err
		}
		if c.args[1].Type().Kind != column.Boolean || d.Null {
			return nil, c.typeError(1, "a BOOLEAN constant")
		}
	}
	if err := c.orderable(0); err != nil {
		return nil, err
	}
	return c.listFn(c.args[0].Type(), 0, 1, func(a *listAcc, slots []int32, out *column.Column) error {
		if len(slots) == 0 {
			out.AppendNull()
			return nil
		}
		cell := &a.lists.cells[0]
		slices.SortStableFunc(slots, func(x, y int32) int { return cell.compareCell(x, cell, y) })
		best, most := slots[0], 0
		for i := 0; i < len(slots); {
			j := i
			for j < len(slots) && cell.compareCell(slots[i], cell, slots[j]) == 0 {
				j++
			}
			if n := j - i; n > most || n == most && desc {
				best, most = slots[i], n
			}
			i = j
		}
		cell.appendTo(best, out)
		return nil
	})
}

// order compares two rows by the cells from first on, in the directions asked for.
func (a *listAcc) order(keys []Order, first int, x, y int32) int {
	for k, o := range keys {
		cell := &a.lists.cells[first+k]
		var r int
		switch {
		case cell.has[x] && cell.has[y]:
			if r = cell.compareCell(x, cell, y); o.Desc {
				r = -r
			}
		case cell.has[x] != cell.has[y]:
			if r = 1; cell.has[y] == o.NullsFirst {
				r = -1
			}
		}
		if r != 0 {
			return r
		}
	}
	return 0
}
