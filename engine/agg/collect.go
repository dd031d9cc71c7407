package agg

import (
	"slices"

	"signalbox/engine/column"
)

func collectEntries() []entry {
	e := func(name, doc string) entry {
		return entry{Info: Info{Name: name, Signature: name + "(x)", Doc: doc, Example: name + "(route)"}, bind: bindCollect, min: 1, max: 1}
	}
	l := func(name string) entry {
		return entry{Info: Info{Name: name, Signature: name + "([DISTINCT] x [, delimiter]) [WITHIN GROUP (ORDER BY key [DESC], …)]",
			Doc: "The strings that are not NULL joined by a constant delimiter, in the order asked for, else in order of arrival.", Example: name + "(route, ',') WITHIN GROUP (ORDER BY route)"},
			bind: bindListagg, min: 1, max: -1, ordered: true}
	}
	return []entry{
		e("collect_list", "Array of the values that are not NULL, in order of arrival."),
		e("array_agg", "The same as collect_list."),
		e("collect_set", "Array of the different values that are not NULL, in order of first arrival."),
		l("listagg"), l("string_agg"),
	}
}

func bindCollect(c *call) (Func, error) {
	t := c.args[0].Type()
	if c.name == "collect_set" && !orderableType(t) {
		return nil, c.typeError(0, "a type whose values can be compared (not MAP)")
	}
	f, err := c.listFn(column.ArrayOf(t), 0, 1, func(a *listAcc, slots []int32, out *column.Column) error {
		d := column.Datum{L: make([]column.Datum, 0, len(slots))}
		for _, s := range slots {
			d.L = append(d.L, a.datum(0, s))
		}
		out.Append(d)
		return nil
	})
	if err == nil && c.name == "collect_set" && !c.opt.Distinct {
		f = distinctOf(f, c.args)
	}
	return f, err
}

func bindListagg(c *call) (Func, error) {
	keys := c.opt.OrderBy
	plain := len(c.args) - len(keys)
	if plain < 1 || plain > 2 {
		return nil, analysis("WRONG_NUM_ARGS", "42605", "%s takes 1 or 2 arguments, not %d", c.name, plain)
	}
	if c.opt.Distinct && len(keys) > 0 && (len(keys) > 1 || c.args[plain].String() != c.args[0].String()) {
		return nil, analysis("INVALID_WITHIN_GROUP_EXPRESSION.MISMATCH_WITH_DISTINCT", "42K0K",
			"%s(DISTINCT x) can be ordered only by x: write WITHIN GROUP (ORDER BY x)", c.name)
	}
	t := c.args[0].Type()
	if t.Kind != column.Binary {
		t = column.Of(column.String)
	}
	if err := c.coerce(0, t); err != nil {
		return nil, err
	}
	delim := ""
	if plain == 2 {
		if c.args[1].Type().Kind != column.Void && c.args[1].Type().Kind != t.Kind {
			return nil, c.typeError(1, t.String())
		}
		d, err := c.constant(1, "delimiter")
		if err != nil {
			return nil, err
		}
		delim = d.S
		// The keys must follow the value: the delimiter goes last.
		c.args = append(append(slices.Clone(c.args[:1]), c.args[2:]...), c.args[1])
	}
	for i := range keys {
		if err := c.orderable(1 + i); err != nil {
			return nil, err
		}
	}
	return c.listFn(t, 0, 1+len(keys), func(a *listAcc, slots []int32, out *column.Column) error {
		if len(slots) == 0 {
			out.AppendNull()
			return nil
		}
		slices.SortStableFunc(slots, func(x, y int32) int { return a.order(keys, 1, x, y) })
		var b []byte
		for i, s := range slots {
			if i > 0 {
				b = append(b, delim...)
			}
			b = append(b, a.lists.cells[0].raw.get(int(s))...)
		}
		out.AppendBytes(b)
		return nil
	})
}
