package plan

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// unpivot plans UNPIVOT: a row for each of its columns, as inline(array(struct(name, value), …)).
func (a *analyzer) unpivot(u *sql.Unpivot, sc scope) (*rel, error) {
	in, err := a.from(u.Input, sc)
	if err != nil {
		return nil, err
	}
	b := &binder{a: a, scope: sc, rel: in, clause: "UNPIVOT"}
	used := make([]bool, in.width())
	cells := make([][]expr.Expr, len(u.Columns))
	names := make([]string, len(u.Columns))
	for i, c := range u.Columns {
		var parts []string
		for _, e := range c.Exprs {
			x, err := b.bind(e)
			if err != nil {
				return nil, err
			}
			o, plain := columnOrdinal(x)
			if !plain {
				return nil, fail(e.Position(), "UNPIVOT_REQUIRES_ATTRIBUTES", "42K0A", "UNPIVOT takes the names of columns")
			}
			used[o] = true
			cells[i] = append(cells[i], x)
			parts = append(parts, in.attrs[o].name)
		}
		if names[i] = c.Name; c.Name == "" {
			names[i] = strings.Join(parts, "_")
		}
	}
	types, err := unpivotTypes(u, cells)
	if err != nil {
		return nil, err
	}
	array, err := unpivotArray(u, names, cells, types)
	if err != nil {
		return nil, err
	}
	return a.unpivoted(u, in, used, array)
}

// unpivotTypes are the common types of the value columns.
func unpivotTypes(u *sql.Unpivot, cells [][]expr.Expr) ([]column.Type, error) {
	out := make([]column.Type, len(u.Values))
	for k := range out {
		types := make([]column.Type, len(cells))
		for i := range cells {
			types[i] = cells[i][k].Type()
		}
		t, ok := expr.CommonType(types...)
		if !ok || mixesStrings(types) {
			return nil, fail(u.Pos, "UNPIVOT_VALUE_DATA_TYPE_MISMATCH", "42K09", "the columns of UNPIVOT that go into `%s` have no common type; cast them in a sub-query", u.Values[k])
		}
		out[k] = t
	}
	return out, nil
}

func unpivotArray(u *sql.Unpivot, names []string, cells [][]expr.Expr, types []column.Type) (expr.Expr, error) {
	text := func(s string) expr.Expr { return expr.NewLiteral(column.Of(column.String), column.Str(s)) }
	var rows []expr.Expr
	for i := range cells {
		args := []expr.Expr{text(u.Name), text(names[i])}
		for k, x := range cells[i] {
			x, err := expr.ImplicitCast(x, types[k])
			if err != nil {
				return nil, at(u.Columns[i].Pos, err)
			}
			args = append(args, text(u.Values[k]), x)
		}
		row, err := call(u.Columns[i].Pos, "named_struct", args...)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return call(u.Pos, "array", rows...)
}

// unpivoted puts the rows beside the columns that UNPIVOT does not name.
func (a *analyzer) unpivoted(u *sql.Unpivot, in *rel, used []bool, array expr.Expr) (*rel, error) {
	n := &Explode{Input: in.node, Array: array, Inline: true}
	grown := &rel{attrs: append([]attr(nil), in.attrs...), delay: in.delay}
	for _, f := range array.Type().Elem.Fields {
		grown.attrs = append(grown.attrs, attr{name: f.Name, typ: f.Type})
	}
	n.Out = grown.schema(in.node.Schema().Time)
	grown.node = n
	if err := a.mark(n, u.Pos); err != nil {
		return nil, err
	}
	values := in.width() + 1
	if !u.Nulls {
		var known expr.Expr
		for i := values; i < grown.width(); i++ {
			x := notNull(grown.column(i))
			if known != nil {
				either, err := call(u.Pos, "or", known, x)
				if err != nil {
					return nil, err
				}
				x = either
			}
			known = x
		}
		f := &Filter{Input: n, Cond: known}
		grown = &rel{node: f, attrs: grown.attrs, delay: grown.delay}
		if err := a.mark(f, u.Pos); err != nil {
			return nil, err
		}
	}
	out := &rel{delay: in.delay}
	var exprs []expr.Expr
	for i, at := range grown.attrs {
		if i < in.width() && used[i] {
			continue
		}
		exprs, out.attrs = append(exprs, grown.column(i)), append(out.attrs, at)
	}
	p := &Project{Input: grown.node, Exprs: exprs, Out: out.schema(projectedTime(grown.node, exprs))}
	out.node = p
	if err := a.mark(p, u.Pos); err != nil {
		return nil, err
	}
	return out.renamed(u.Alias)
}
