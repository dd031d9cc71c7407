package plan

import (
	"strconv"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// explode puts a generator over the binder's relation; names name its columns.
func (b *binder) explode(c *sql.Call, outer bool, table string, names []string) (*rel, error) {
	name := c.Name
	if base, ok := strings.CutSuffix(name, "_outer"); ok {
		name, outer = base, true
	}
	if !isGenerator(c) {
		return nil, fail(c.Pos, "UNRESOLVABLE_TABLE_VALUED_FUNCTION", "42883", "%s makes no rows; LATERAL VIEW takes explode, posexplode and inline", c.Name)
	}
	if name == "stack" {
		rows, err := stackRows(c)
		if err != nil {
			return nil, err
		}
		c, name = rows, "inline"
	}
	if name == "json_tuple" {
		if len(c.Args) < 2 {
			return nil, fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "json_tuple takes a JSON text and at least one key")
		}
		c, name = tupleRow(c), "inline"
	}
	if len(c.Args) != 1 {
		return nil, fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "%s takes 1 argument, not %d", c.Name, len(c.Args))
	}
	x, err := b.bind(c.Args[0])
	if err != nil {
		return nil, err
	}
	n := &Explode{Array: x, Outer: outer, Position: name == "posexplode", Inline: name == "inline"}
	fields, err := generated(c, n)
	if err != nil {
		return nil, err
	}
	if len(names) > 0 && len(names) != len(fields) {
		return nil, fail(c.Pos, "UDTF_ALIAS_NUMBER_MISMATCH", "42802", "%s gives %d columns, but %d names were written", c.Name, len(fields), len(names))
	}
	in := b.rel
	out := &rel{attrs: append([]attr(nil), in.attrs...), delay: in.delay}
	for i, f := range fields {
		if len(names) > 0 {
			f.Name = names[i]
		}
		out.attrs = append(out.attrs, attr{table: table, name: f.Name, typ: f.Type})
	}
	n.Input = in.node
	n.Out = out.schema(in.node.Schema().Time)
	out.node = n
	return out, b.a.mark(n, c.Pos)
}

// stackRows writes stack(n, a, b, c, …) as inline(array(struct(a, b), struct(c, …))): n rows, the last one filled up with NULL.
func stackRows(c *sql.Call) (*sql.Call, error) {
	rows, ok := int64(0), false
	if len(c.Args) > 1 {
		rows, ok = ordinal(c.Args[0])
	}
	if !ok || rows < 1 || rows > MaxRange {
		return nil, fail(c.Pos, "DATATYPE_MISMATCH.VALUE_OUT_OF_RANGE", "42K09", "stack needs a positive constant number of rows and at least one value")
	}
	values := c.Args[1:]
	width := (len(values) + int(rows) - 1) / int(rows)
	array := &sql.Call{Pos: c.Pos, Name: "array"}
	for r := range int(rows) {
		row := &sql.Call{Pos: c.Pos, Name: "struct"}
		for i := range width {
			var v sql.Expr = &sql.Literal{Pos: c.Pos, Kind: sql.LitNull}
			if at := r*width + i; at < len(values) {
				v = values[at]
			}
			row.Args = append(row.Args, &sql.Alias{Pos: c.Pos, X: v, Name: "col" + strconv.Itoa(i)})
		}
		array.Args = append(array.Args, row)
	}
	return &sql.Call{Pos: c.Pos, Name: "inline", Args: []sql.Expr{array}}, nil
}

// tupleRow writes json_tuple(text, 'a', …) as inline of one struct of the members of the object.
func tupleRow(c *sql.Call) *sql.Call {
	row := &sql.Call{Pos: c.Pos, Name: "struct"}
	for i, key := range c.Args[1:] {
		x := &sql.Call{Pos: c.Pos, Name: "json_member", Args: []sql.Expr{c.Args[0], key}}
		row.Args = append(row.Args, &sql.Alias{Pos: c.Pos, X: x, Name: "c" + strconv.Itoa(i)})
	}
	return &sql.Call{Pos: c.Pos, Name: "inline", Args: []sql.Expr{&sql.Call{Pos: c.Pos, Name: "array", Args: []sql.Expr{row}}}}
}

// generated lists the columns that a generator adds.
func generated(c *sql.Call, n *Explode) ([]column.Field, error) {
	t := n.Array.Type()
	var out []column.Field
	if n.Position {
		out = append(out, column.Field{Name: "pos", Type: column.Of(column.Int)})
	}
	switch {
	case n.Inline:
		if t.Kind == column.Array && t.Elem.Kind == column.Struct {
			return append(out, t.Elem.Fields...), nil
		}
	case t.Kind == column.Array:
		return append(out, column.Field{Name: "col", Type: *t.Elem}), nil
	case t.Kind == column.Map:
		return append(out, column.Field{Name: "key", Type: *t.Key}, column.Field{Name: "value", Type: *t.Elem}), nil
	}
	return nil, fail(c.Pos, "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "%s cannot take a value of type %s; it needs an array (explode, posexplode), a map or, inline, an array of structs", c.Name, t)
}

// lambda binds x -> body as the next argument of a higher-order function.
func (b *binder) lambda(c *sql.Call, before []expr.Expr, l *sql.Lambda) (expr.Expr, error) {
	if len(before) == 0 {
		return nil, fail(l.Pos, "INVALID_LAMBDA_FUNCTION_CALL.PARAMETER_DOES_NOT_ACCEPT_LAMBDA_FUNCTION", "42K0D", "the first argument of %s is a value, not a lambda", c.Name)
	}
	types, err := expr.LambdaParams(c.Name, before, len(l.Params))
	if err != nil {
		return nil, at(l.Pos, err)
	}
	inner := *b
	inner.names = append([]named(nil), b.names...)
	params := make([]expr.Expr, len(types))
	var mine []named
	for i, t := range types {
		params[i] = expr.NewLambdaVar(l.Params[i], t)
		mine = append(mine, named{l.Params[i], params[i]})
	}
	inner.lambdas = append(mine, b.lambdas...)
	body, err := inner.bind(l.Body)
	if err != nil {
		return nil, err
	}
	return expr.NewLambda(params, body), nil
}

// lambdaParam finds a parameter of an enclosing lambda.
func (b *binder) lambdaParam(e *sql.Ident) (expr.Expr, bool, error) {
	for _, p := range b.lambdas {
		if strings.EqualFold(p.name, e.Parts[0]) {
			x, err := fieldPath(e.Pos, p.expr, e.Parts[1:])
			return x, true, err
		}
	}
	return nil, false, nil
}
