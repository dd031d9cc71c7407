package plan

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// attr is one column of a relation while names are resolved.
type attr struct {
	table  string // alias or name of the table it comes from, "" = none
	name   string
	typ    column.Type
	event  bool // carries watermarked event time
	made   bool // a time window of this query: a column of that name in the input comes first
	hidden bool // not part of *, and found only with its table's name when named at all
}

// rel is an operator with the names of its columns.
type rel struct {
	node  Node
	attrs []attr
	delay int64 // µs, delay of the watermark below, when there is one
}

func newRel(n Node, table string) *rel {
	r := &rel{node: n}
	s := n.Schema()
	for _, f := range s.Fields {
		r.attrs = append(r.attrs, attr{table: table, name: f.Name, typ: f.Type})
	}
	return r
}

func (r *rel) width() int { return len(r.attrs) }

// column makes the expression of an attribute.
func (r *rel) column(i int) expr.Expr { return expr.NewColumn(i, r.attrs[i].name, r.attrs[i].typ) }

// fields is the schema of the relation's attributes.
func (r *rel) fields() []column.Field {
	out := make([]column.Field, len(r.attrs))
	for i, a := range r.attrs {
		out[i] = column.Field{Name: a.name, Type: a.typ}
	}
	return out
}

// schema builds the schema of an operator with these attributes; Time is the
// watermarked event time, or else the column the input says.
func (r *rel) schema(time int) *column.Schema {
	s := &column.Schema{Fields: r.fields(), Time: time}
	for i, a := range r.attrs {
		if a.event {
			s.Time = i
			break
		}
	}
	return s
}

// eventColumn is the first watermarked event time, or -1.
func (r *rel) eventColumn() int {
	for i, a := range r.attrs {
		if a.event {
			return i
		}
	}
	return -1
}

// renamed gives all columns a table alias, and new names when names are given.
func (r *rel) renamed(alias *sql.TableAlias) (*rel, error) {
	if alias == nil {
		return r, nil
	}
	out := &rel{node: r.node, delay: r.delay, attrs: append([]attr(nil), r.attrs...)}
	visible := 0
	for i := range out.attrs {
		if out.attrs[i].hidden {
			out.attrs[i].table = "" // not reachable through the new name
			continue
		}
		if visible < len(alias.Columns) {
			out.attrs[i].name = alias.Columns[visible]
		}
		out.attrs[i].table = alias.Name
		visible++
	}
	if len(alias.Columns) > 0 && len(alias.Columns) != visible {
		return nil, fail(alias.Pos, "ASSIGNMENT_ARITY_MISMATCH", "42802",
			"%s names %d columns, but the relation has %d", alias.Name, len(alias.Columns), visible)
	}
	return out, nil
}

// lookup finds the columns that parts may mean. It returns the ordinal of the
// column and how many parts it took; the rest are fields of a struct.
func (r *rel) lookup(parts []string) (found []int, used int) {
	// The longest qualifier wins: a.b is column b of table a before field b of column a.
	for n := len(parts) - 1; n >= 1; n-- {
		table := strings.Join(parts[:n], ".")
		for i, a := range r.attrs {
			if a.table != "" && sameTable(a.table, table) && strings.EqualFold(a.name, parts[n]) {
				found = append(found, i)
			}
		}
		if len(found) > 0 {
			return found, n + 1
		}
	}
	for i, a := range r.attrs {
		if !a.hidden && a.name != "" && strings.EqualFold(a.name, parts[0]) && !(a.made && len(found) > 0) {
			found = append(found, i)
		}
	}
	return found, 1
}

// sameTable compares without case; the last part of a dotted name is enough.
func sameTable(have, want string) bool {
	if strings.EqualFold(have, want) {
		return true
	}
	dot := strings.LastIndexByte(have, '.')
	return dot >= 0 && strings.EqualFold(have[dot+1:], want)
}

// candidates lists the names for a hint.
func (r *rel) candidates() []string {
	var out []string
	for _, a := range r.attrs {
		if a.hidden || a.name == "" {
			continue
		}
		if a.table != "" {
			out = append(out, a.table+"."+a.name)
			continue
		}
		out = append(out, a.name)
	}
	return out
}

// fieldPath follows struct fields (and keys of maps) from an expression.
func fieldPath(pos sql.Pos, e expr.Expr, path []string) (expr.Expr, error) {
	for _, name := range path {
		var err error
		if e, err = field(pos, e, name); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// field is e.name: a field of a struct, that field of every element of an array, or a key of a map.
func field(pos sql.Pos, e expr.Expr, name string) (expr.Expr, error) {
	t := e.Type()
	switch t.Kind {
	case column.Struct:
		i, err := fieldOrdinal(pos, t, name)
		if err != nil {
			return nil, err
		}
		return expr.NewField(e, i), nil
	case column.Map:
		x, err := expr.Index(e, expr.NewLiteral(column.Of(column.String), column.Str(name)))
		return x, at(pos, err)
	case column.Array:
		if t.Elem.Kind == column.Struct {
			i, err := fieldOrdinal(pos, *t.Elem, name)
			if err != nil {
				return nil, err
			}
			elem := expr.NewLambdaVar("element", *t.Elem)
			x, err := expr.Call("transform", e, expr.NewLambda([]expr.Expr{elem}, expr.NewField(elem, i)))
			return x, at(pos, err)
		}
	}
	return nil, fail(pos, "INVALID_EXTRACT_BASE_FIELD_TYPE", "42000",
		"cannot take `%s` out of a value of type %s: only structs, maps and arrays of structs have fields", name, t)
}

func fieldOrdinal(pos sql.Pos, t column.Type, name string) (int, error) {
	found, names := -1, []string{}
	for i, f := range t.Fields {
		names = append(names, f.Name)
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		if found >= 0 {
			return 0, fail(pos, "AMBIGUOUS_REFERENCE_TO_FIELDS", "42000", "the struct has more than one field `%s`", name)
		}
		found = i
	}
	if found < 0 {
		return 0, fail(pos, "FIELD_NOT_FOUND", "42704", "there is no field `%s` in %s; did you mean one of %s?",
			name, t, quoted(nearest(name, names, 5)))
	}
	return found, nil
}
