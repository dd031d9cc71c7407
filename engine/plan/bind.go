package plan

import (
	"strings"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// binder turns syntax into expressions over the columns of one relation.
type binder struct {
	a      *analyzer
	scope  scope
	rel    *rel   // sub-queries append columns to it while expressions are bound
	clause string // for messages: "WHERE", "ON", …

	// shift is added to the ordinals of rel's columns: a sub-query's condition is
	// bound over the columns of the enclosing row followed by its own.
	shift      int
	correlated bool // a column of the enclosing row was used

	// calls are computed below: time windows, aggregates, analytic functions, generators.
	calls map[*sql.Call]expr.Expr
	subs  map[sql.Expr]expr.Expr // sub-queries that were joined already
	// names are the select list so far (lateral column aliases), or all of it for HAVING and ORDER BY.
	names      []named
	namesFirst bool
	group      *grouping // set above an aggregation
	lambdas    []named   // parameters of the lambdas around, innermost first
}

type named struct {
	name string
	expr expr.Expr
}

func (b *binder) bindAll(es []sql.Expr) ([]expr.Expr, error) {
	out := make([]expr.Expr, len(es))
	for i, e := range es {
		x, err := b.bind(e)
		if err != nil {
			return nil, err
		}
		out[i] = x
	}
	return out, nil
}

// call makes a bound call with the position of its syntax on errors.
func call(pos sql.Pos, name string, args ...expr.Expr) (expr.Expr, error) {
	e, err := expr.Call(name, args...)
	return e, at(pos, err)
}

// bind returns the typed expression of e.
func (b *binder) bind(e sql.Expr) (expr.Expr, error) {
	if c, ok := e.(*sql.Call); ok {
		if x, ok := b.calls[c]; ok {
			return x, nil
		}
	}
	if x, ok := b.subs[e]; ok {
		return x, nil
	}
	if b.group != nil {
		if x, ok := b.group.key(e); ok {
			return x, nil
		}
	}
	switch e := e.(type) {
	case *sql.Literal:
		if x, ok, err := b.namedTime(e); ok || err != nil {
			return x, err
		}
		return literal(e)
	case *sql.Interval:
		return intervalLiteral(e), nil
	case *sql.Ident:
		return b.ident(e)
	case *ordinalRef:
		return b.ordinal(e)
	case *sql.Call:
		return b.function(e)
	case *sql.Exists, *sql.InQuery, *sql.ScalarSubquery:
		return b.subqueryValue(e)
	case *sql.Unary: // NOT (x IN (SELECT …)) is x NOT IN (SELECT …)
		if in, ok := e.X.(*sql.InQuery); ok && e.Op == "not" {
			flipped := *in
			flipped.Not = !in.Not
			return b.subqueryValue(&flipped)
		}
	case *sql.Cast:
		return b.cast(e)
	case *sql.Case:
		return b.caseWhen(e)
	case *sql.Like:
		return b.like(e)
	case *sql.Star:
		return nil, fail(e.Pos, "INVALID_USAGE_OF_STAR_OR_REGEX", "42000", "`*` may stand only in the select list and in count(*)")
	case *sql.Unit, *sql.NamedArg, *sql.Alias, *sql.Lambda:
		return nil, fail(e.Position(), "PARSE_SYNTAX_ERROR", "42601", "this may stand only as an argument of some functions")
	}
	return b.operator(e)
}

// operator binds the expressions that are calls in other clothes.
func (b *binder) operator(e sql.Expr) (expr.Expr, error) {
	args, err := b.bindAll(children(e))
	if err != nil {
		return nil, err
	}
	pos := e.Position()
	switch e := e.(type) {
	case *sql.Unary:
		if e.Op == "+" || e.Op == "-" {
			return call(pos, map[string]string{"+": "positive", "-": "negative"}[e.Op], args...)
		}
		return call(pos, e.Op, args...)
	case *sql.Binary:
		return call(pos, e.Op, args...)
	case *sql.IsNull:
		if e.Not {
			return call(pos, "isnotnull", args...)
		}
		return call(pos, "isnull", args...)
	case *sql.IsBool:
		return isBool(e, args[0])
	case *sql.IsDistinct:
		x, err := call(pos, "<=>", args...)
		return negate(pos, x, err, !e.Not)
	case *sql.Between:
		return between(e, args)
	case *sql.InList:
		x, err := call(pos, "in", args...)
		return negate(pos, x, err, e.Not)
	case *sql.Row:
		return rowStruct(e, args)
	case *sql.Subscript:
		x, err := expr.Index(args[0], args[1])
		return x, at(pos, err)
	case *sql.Field:
		return field(pos, args[0], e.Name)
	}
	return nil, fail(pos, "INTERNAL_ERROR", "XX000", "the analyser does not know the syntax node %T", e)
}

// negate wraps a BOOLEAN in NOT when asked to.
func negate(pos sql.Pos, x expr.Expr, err error, not bool) (expr.Expr, error) {
	if err != nil || !not {
		return x, err
	}
	return call(pos, "not", x)
}

func isBool(e *sql.IsBool, x expr.Expr) (expr.Expr, error) {
	var out expr.Expr
	var err error
	if e.Value == "unknown" {
		if x, err = expr.ImplicitCast(x, boolType()); err != nil {
			return nil, at(e.Pos, err)
		}
		out, err = call(e.Pos, "isnull", x)
	} else {
		out, err = call(e.Pos, "<=>", x, expr.NewLiteral(boolType(), column.Bool(e.Value == "true")))
	}
	return negate(e.Pos, out, err, e.Not)
}

func between(e *sql.Between, args []expr.Expr) (expr.Expr, error) {
	lo, err := call(e.Pos, ">=", args[0], args[1])
	if err != nil {
		return nil, err
	}
	hi, err := call(e.Pos, "<=", args[0], args[2])
	if err != nil {
		return nil, err
	}
	x, err := call(e.Pos, "and", lo, hi)
	return negate(e.Pos, x, err, e.Not)
}

// rowStruct is (a, b AS c): a struct with fields col1, c or the names of its columns.
func rowStruct(e *sql.Row, args []expr.Expr) (expr.Expr, error) {
	return namedStruct(e.Pos, e.Items, args)
}

func namedStruct(pos sql.Pos, items []sql.Expr, args []expr.Expr) (expr.Expr, error) {
	var out []expr.Expr
	for i, a := range args {
		out = append(out, expr.NewLiteral(column.Of(column.String), column.Str(fieldName(items[i], i))), a)
	}
	return call(pos, "named_struct", out...)
}

func (b *binder) cast(e *sql.Cast) (expr.Expr, error) {
	x, err := b.bind(e.X)
	if err != nil {
		return nil, err
	}
	out, err := expr.Cast(x, e.Type.Type, e.Try)
	return out, at(e.Pos, err)
}

func (b *binder) caseWhen(e *sql.Case) (expr.Expr, error) {
	var operand expr.Expr
	if e.Operand != nil {
		x, err := b.bind(e.Operand)
		if err != nil {
			return nil, err
		}
		operand = x
	}
	var args []expr.Expr
	for _, w := range e.Whens {
		cond, err := b.bind(w.Cond)
		if err != nil {
			return nil, err
		}
		if operand != nil {
			if cond, err = call(w.Cond.Position(), "=", operand, cond); err != nil {
				return nil, err
			}
		}
		then, err := b.bind(w.Then)
		if err != nil {
			return nil, err
		}
		args = append(args, cond, then)
	}
	if e.Else != nil {
		x, err := b.bind(e.Else)
		if err != nil {
			return nil, err
		}
		args = append(args, x)
	}
	return call(e.Pos, "case", args...)
}

func (b *binder) like(e *sql.Like) (expr.Expr, error) {
	args, err := b.bindAll(likeChildren(e))
	if err != nil {
		return nil, err
	}
	patterns := args[1:]
	var out expr.Expr
	for i, p := range patterns {
		one := []expr.Expr{args[0], p}
		if e.Escape != "" {
			one = append(one, expr.NewLiteral(column.Of(column.String), column.Str(e.Escape)))
		}
		x, err := call(e.Pos, e.Op, one...)
		if err != nil {
			return nil, err
		}
		// NOT LIKE ALL (p, q) means: no pattern matches; NOT LIKE ANY: some pattern does not.
		if x, err = negate(e.Pos, x, nil, e.Not); err != nil {
			return nil, err
		}
		if i == 0 {
			out = x
			continue
		}
		op := "or"
		if e.Quantifier == "all" {
			op = "and"
		}
		if out, err = call(e.Pos, op, out, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ident resolves a name: a column, a field of a struct column, an alias of the select list.
func (b *binder) ident(e *sql.Ident) (expr.Expr, error) {
	if x, ok, err := b.lambdaParam(e); ok || err != nil {
		return x, err
	}
	if b.namesFirst {
		if x, ok, err := b.alias(e); ok || err != nil {
			return x, err
		}
	}
	if b.rel != nil {
		if x, ok, err := b.inRel(e); ok || err != nil {
			return x, err
		}
	}
	if b.group != nil {
		if err := b.group.missing(e); err != nil {
			return nil, err
		}
	}
	if !b.namesFirst {
		if x, ok, err := b.alias(e); ok || err != nil {
			return x, err
		}
	}
	if x, ok, err := b.inOuter(e); ok || err != nil {
		return x, err
	}
	if x, ok, err := b.scope.row.find(e); ok || err != nil {
		return x, err
	}
	if len(e.Parts) == 1 {
		if c, ok := b.constantFunction(e); ok {
			return c, nil
		}
	}
	return nil, unresolvedColumn(e.Pos, strings.Join(e.Parts, "."), b.candidates())
}

// ordinal is a column by its place.
func (b *binder) ordinal(e *ordinalRef) (expr.Expr, error) {
	if b.group != nil && !e.late {
		return nil, missingAggregation(e.Pos, e.Parts[0], len(b.group.texts) == 0)
	}
	return b.rel.column(e.at), nil
}

func (b *binder) candidates() []string {
	var out []string
	if b.group != nil {
		out = append(out, b.group.input.rel.candidates()...)
	} else if b.rel != nil {
		out = b.rel.candidates()
	}
	if b.namesFirst {
		for _, n := range b.names {
			out = append(out, n.name)
		}
	}
	return out
}

func (b *binder) inRel(e *sql.Ident) (expr.Expr, bool, error) {
	found, used := b.rel.lookup(e.Parts)
	if len(found) == 0 {
		return nil, false, nil
	}
	if len(found) > 1 {
		return nil, false, ambiguous(e, b.rel, found)
	}
	i := found[0]
	x, err := fieldPath(e.Pos, expr.NewColumn(i+b.shift, b.rel.attrs[i].name, b.rel.attrs[i].typ), e.Parts[used:])
	return x, true, err
}

func ambiguous(e *sql.Ident, r *rel, found []int) error {
	var names []string
	for _, i := range found {
		names = append(names, r.attrs[i].table+"."+r.attrs[i].name)
	}
	return fail(e.Pos, "AMBIGUOUS_REFERENCE", "42704", "`%s` may be any of %s; write the table before the column",
		strings.Join(e.Parts, "."), quoted(names))
}

// alias finds a name of the select list.
func (b *binder) alias(e *sql.Ident) (expr.Expr, bool, error) {
	var found expr.Expr
	for _, n := range b.names {
		if !strings.EqualFold(n.name, e.Parts[0]) {
			continue
		}
		if found != nil && found.String() != n.expr.String() {
			condition := "AMBIGUOUS_LATERAL_COLUMN_ALIAS"
			if b.namesFirst {
				condition = "AMBIGUOUS_REFERENCE"
			}
			return nil, false, fail(e.Pos, condition, "42702", "more than one item of the select list is named `%s`", e.Parts[0])
		}
		found = n.expr
	}
	if found == nil {
		return nil, false, nil
	}
	x, err := fieldPath(e.Pos, found, e.Parts[1:])
	return x, true, err
}

// inOuter finds a column of the enclosing row, where this binder's columns follow it.
func (b *binder) inOuter(e *sql.Ident) (expr.Expr, bool, error) {
	out := b.scope.outer
	if out == nil || out.rel == nil || b.shift == 0 {
		return nil, false, nil
	}
	x, ok, err := out.inRel(e)
	if ok {
		b.correlated = true
	}
	return x, ok, err
}

// constantFunction reads names that Spark lets stand without parentheses.
func (b *binder) constantFunction(e *sql.Ident) (expr.Expr, bool) {
	switch strings.ToLower(e.Parts[0]) {
	case "current_timestamp", "current_date", "localtimestamp":
		x, err := b.now(e.Pos, strings.ToLower(e.Parts[0]))
		return x, err == nil
	}
	return nil, false
}

// isAggregate reports whether a call is an aggregate function.
func isAggregate(c *sql.Call) bool { return c.Over == nil && agg.Exists(c.Name) }
