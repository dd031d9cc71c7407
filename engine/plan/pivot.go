package plan

import (
	"slices"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// pivoting is one PIVOT while it is planned.
type pivoting struct {
	a      *analyzer
	p      *sql.Pivot
	scope  scope
	in     *rel
	on     []int // the columns after FOR
	groups []int // what neither FOR nor an aggregate reads
	calls  []*sql.Call
}

// pivot plans PIVOT: rows are grouped by the columns that it does not name.
func (a *analyzer) pivot(p *sql.Pivot, sc scope) (*rel, error) {
	in, err := a.from(p.Input, sc)
	if err != nil {
		return nil, err
	}
	if isStreaming(in.node) {
		return nil, fail(p.Pos, "_LEGACY_ERROR_TEMP_3102", "42KDE", "PIVOT of a stream is not possible; write one aggregate with FILTER (WHERE …) for each column")
	}
	v := &pivoting{a: a, p: p, scope: sc, in: in}
	if err := v.columns(); err != nil {
		return nil, err
	}
	perRow, err := v.grouped(append(slices.Clone(v.groups), v.on...), v.items())
	if err != nil {
		return nil, err
	}
	var out *rel
	if v.kept(perRow) {
		out, err = v.spread(perRow)
	} else {
		out, err = v.direct()
	}
	if err != nil {
		return nil, err
	}
	return out.renamed(p.Alias)
}

// columns finds out what is grouped by.
func (v *pivoting) columns() error {
	b := &binder{a: v.a, scope: v.scope, rel: v.in, clause: "PIVOT"}
	used := make([]bool, v.in.width())
	read := func(e sql.Expr) error {
		x, err := b.bind(e)
		if err != nil {
			return err
		}
		columnsOf(x, func(i int) { used[i] = true })
		return nil
	}
	for _, e := range v.p.For {
		x, err := b.bind(e)
		if err != nil {
			return err
		}
		i, plain := columnOrdinal(x)
		if !plain {
			return fail(e.Position(), "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "FOR takes the name of a column")
		}
		used[i] = true
		v.on = append(v.on, i)
	}
	for _, it := range v.p.Items {
		calls := findCalls(it.Expr, isAggregate)
		if len(calls) == 0 {
			return fail(it.Pos, "_LEGACY_ERROR_TEMP_1006", "", "PIVOT needs an aggregate, like sum(x)")
		}
		v.calls = append(v.calls, calls...)
		for _, c := range calls {
			for _, e := range children(c) {
				if _, star := e.(*sql.Star); star {
					continue
				}
				if err := read(e); err != nil {
					return err
				}
			}
		}
	}
	for i, at := range v.in.attrs {
		if !used[i] && !at.hidden {
			v.groups = append(v.groups, i)
		}
	}
	return nil
}

func (v *pivoting) items() []sql.Expr {
	out := make([]sql.Expr, len(v.p.Items))
	for i, it := range v.p.Items {
		out[i] = it.Expr
	}
	return out
}

// grouped plans SELECT keys, exprs GROUP BY keys over the input.
func (v *pivoting) grouped(keys []int, exprs []sql.Expr) (*rel, error) {
	return v.groupedOver(v.in, keys, exprs)
}

func (v *pivoting) groupedOver(in *rel, keys []int, exprs []sql.Expr) (*rel, error) {
	sel := &sql.Select{Pos: v.p.Pos}
	for _, k := range keys {
		ref := v.ref(in, k)
		sel.Items = append(sel.Items, sql.SelectItem{Pos: v.p.Pos, Expr: ref, Alias: in.attrs[k].name})
		if sel.GroupBy == nil {
			sel.GroupBy = &sql.GroupBy{Pos: v.p.Pos}
		}
		sel.GroupBy.Exprs = append(sel.GroupBy.Exprs, ref)
	}
	for _, e := range exprs {
		sel.Items = append(sel.Items, sql.SelectItem{Pos: e.Position(), Expr: e})
	}
	return v.a.selectOver(in, sel, nil, v.scope)
}

func (v *pivoting) ref(in *rel, at int) sql.Expr {
	return &ordinalRef{Ident: &sql.Ident{Pos: v.p.Pos, Parts: []string{in.attrs[at].name}}, at: at}
}

// kept reports whether Spark aggregates before it spreads the values: where a
// group has no rows of a value, a count is NULL then and not 0.
func (v *pivoting) kept(perRow *rel) bool {
	for _, at := range perRow.attrs[len(v.groups)+len(v.on):] {
		if k := at.typ.Kind; !k.IsNumeric() && k != column.Boolean {
			return false
		}
	}
	return true
}

// condition is: the columns after FOR have the values of one entry of IN. from
// says where in the relation these columns are.
func (v *pivoting) condition(in *rel, on []int, val sql.PivotValue) (sql.Expr, error) {
	if len(val.Exprs) != len(on) {
		return nil, fail(val.Pos, "PIVOT_VALUE_DATA_TYPE_MISMATCH", "42K09", "IN has %d values here, FOR has %d columns", len(val.Exprs), len(on))
	}
	var out sql.Expr
	for i, e := range val.Exprs {
		t := in.attrs[on[i]].typ
		same := &sql.IsDistinct{Pos: val.Pos, Not: true, L: v.ref(in, on[i]), R: &sql.Cast{Pos: val.Pos, X: e, Type: sql.TypeName{Pos: val.Pos, Type: t}}}
		if out == nil {
			out = same
			continue
		}
		out = &sql.Binary{Pos: val.Pos, Op: "and", L: out, R: same}
	}
	return out, nil
}

// spread gives each value of IN a column of what was aggregated for it.
func (v *pivoting) spread(perRow *rel) (*rel, error) {
	g := len(v.groups)
	var keys, on []int
	for i := range perRow.attrs[:g] {
		keys = append(keys, i)
	}
	for i := range v.on {
		on = append(on, g+i)
	}
	var exprs []sql.Expr
	for _, val := range v.p.Values {
		cond, err := v.condition(perRow, on, val)
		if err != nil {
			return nil, err
		}
		for i := range v.p.Items {
			exprs = append(exprs, &sql.Call{Pos: val.Pos, Name: "any_value", Args: []sql.Expr{v.ref(perRow, g+len(on)+i)}, Filter: cond})
		}
	}
	out, err := v.groupedOver(perRow, keys, exprs)
	if err != nil {
		return nil, err
	}
	return v.named(out)
}

// direct aggregates for each value of IN the rows that have it, NULL for the others.
func (v *pivoting) direct() (*rel, error) {
	var exprs []sql.Expr
	for _, val := range v.p.Values {
		cond, err := v.condition(v.in, v.on, val)
		if err != nil {
			return nil, err
		}
		for _, c := range v.calls {
			exprs = append(exprs, onlyIf(c, cond))
		}
	}
	sums, err := v.grouped(v.groups, exprs)
	if err != nil {
		return nil, err
	}
	n := &Project{Input: sums.node}
	out := &rel{attrs: append([]attr(nil), sums.attrs[:len(v.groups)]...), delay: sums.delay}
	for i := range v.groups {
		n.Exprs = append(n.Exprs, sums.column(i))
	}
	for i := range v.p.Values {
		b := &binder{a: v.a, scope: v.scope, rel: &rel{}, calls: map[*sql.Call]expr.Expr{}}
		for k, c := range v.calls {
			b.calls[c] = sums.column(len(v.groups) + i*len(v.calls) + k)
		}
		for _, it := range v.p.Items {
			x, err := b.bind(it.Expr)
			if err != nil {
				return nil, err
			}
			n.Exprs = append(n.Exprs, x)
			out.attrs = append(out.attrs, attr{typ: x.Type()})
		}
	}
	n.Out = out.schema(-1)
	out.node = n
	if err := v.a.mark(n, v.p.Pos); err != nil {
		return nil, err
	}
	return v.named(out)
}

// onlyIf is an aggregate whose arguments are NULL where the condition does not hold.
func onlyIf(c *sql.Call, cond sql.Expr) *sql.Call {
	out := *c
	out.Args = nil
	switch c.Name {
	case "first", "first_value", "last", "last_value":
		out.Nulls = "ignore"
	}
	for i, arg := range c.Args {
		if i > 0 && strings.Contains(c.Name, "percentile") {
			out.Args = append(out.Args, arg)
			continue
		}
		if _, star := arg.(*sql.Star); star {
			arg = &sql.Literal{Pos: c.Pos, Kind: sql.LitInt, Text: "1"}
		}
		out.Args = append(out.Args, &sql.Case{Pos: c.Pos, Whens: []sql.When{{Cond: cond, Then: arg}}})
	}
	return &out
}

// named names the columns of the result: the value, and the aggregate when there are several.
func (v *pivoting) named(r *rel) (*rel, error) {
	out := *r
	out.attrs = append([]attr(nil), r.attrs...)
	at := len(v.groups)
	for i, g := range v.groups {
		out.attrs[i].table = v.in.attrs[g].table
	}
	for _, val := range v.p.Values {
		name, err := v.valueName(val)
		if err != nil {
			return nil, err
		}
		for _, it := range v.p.Items {
			out.attrs[at].name = name
			if len(v.p.Items) > 1 {
				label := it.Alias
				if label == "" {
					label = outputName(it.Expr)
				}
				out.attrs[at].name = name + "_" + label
			}
			at++
		}
	}
	n := &Project{Input: r.node}
	for i := range out.attrs {
		n.Exprs = append(n.Exprs, r.column(i))
	}
	n.Out = out.schema(-1)
	out.node = n
	return &out, v.a.mark(n, v.p.Pos)
}

// valueName is the text of a value, or the name it was given.
func (v *pivoting) valueName(val sql.PivotValue) (string, error) {
	var texts []string
	for _, e := range val.Exprs {
		x, err := (&binder{a: v.a, scope: v.scope, rel: v.in, clause: "PIVOT"}).bind(e)
		if err != nil {
			return "", err
		}
		if !isConstant(x) {
			return "", fail(e.Position(), "NON_LITERAL_PIVOT_VALUES", "42K08", "IN of PIVOT takes constants")
		}
		if x, err = expr.Cast(x, column.Of(column.String), false); err != nil {
			return "", at(e.Position(), err)
		}
		d, err := constant(x)
		if err != nil {
			return "", at(e.Position(), err)
		}
		text := d.S
		if d.Null {
			text = "null"
		}
		texts = append(texts, text)
	}
	switch {
	case val.Name != "":
		return val.Name, nil
	case len(texts) == 1:
		return texts[0], nil
	}
	return "{" + strings.Join(texts, ", ") + "}", nil
}
