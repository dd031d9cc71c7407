package expr

import (
	"fmt"
	"slices"

	"signalbox/engine/column"
)

// lambdaVar is a parameter of a lambda; identity is the pointer.
type lambdaVar struct {
	name string
	t    column.Type
}

// NewLambdaVar makes a parameter for NewLambda; use the same value in the body.
func NewLambdaVar(name string, t column.Type) Expr { return &lambdaVar{name, t} }

func (e *lambdaVar) Type() column.Type { return e.t }
func (e *lambdaVar) Children() []Expr  { return nil }
func (e *lambdaVar) String() string    { return e.name }
func (e *lambdaVar) Eval(ctx *Context, _ *column.Batch, _ []int32) *column.Column {
	for i := len(ctx.vars) - 1; i >= 0; i-- {
		if ctx.vars[i].v == e {
			return ctx.vars[i].col
		}
	}
	panic("expr: lambda variable " + e.name + " evaluated outside its lambda")
}

// binding gives a lambda variable its values: a column as long as the batch of the body.
type binding struct {
	v   *lambdaVar
	col *column.Column
}

// lambda is params -> body. It is an argument of a higher-order function only.
type lambda struct {
	params []*lambdaVar
	body   Expr
}

// NewLambda makes params -> body; params are values of NewLambdaVar.
func NewLambda(params []Expr, body Expr) Expr {
	l := &lambda{body: body}
	for _, p := range params {
		l.params = append(l.params, p.(*lambdaVar))
	}
	return l
}

func (e *lambda) Type() column.Type { return e.body.Type() }
func (e *lambda) Children() []Expr  { return []Expr{e.body} }
func (e *lambda) String() string {
	s := "("
	for i, p := range e.params {
		if i > 0 {
			s += ", "
		}
		s += p.name
	}
	return s + ") -> " + e.body.String()
}

// Eval is not for use: the function that takes the lambda evaluates its body.
func (e *lambda) Eval(*Context, *column.Batch, []int32) *column.Column {
	panic("expr: a lambda has no value of its own")
}

// LambdaParams returns the types of the parameters of the lambda that is the
// next argument of a function, after the arguments given so far; n is the
// number of parameters written in the lambda.
func LambdaParams(name string, args []Expr, n int) ([]column.Type, error) {
	var types []column.Type
	elem := func(i int) column.Type {
		if len(args) > i && args[i].Type().Elem != nil {
			return *args[i].Type().Elem
		}
		return column.Type{}
	}
	index := column.Of(column.Int)
	switch name {
	case "transform", "filter":
		types = []column.Type{elem(0), index}
	case "exists", "any_match", "forall":
		types = []column.Type{elem(0)}
	case "array_sort":
		types = []column.Type{elem(0), elem(0)}
	case "zip_with":
		types = []column.Type{elem(0), elem(1)}
	case "aggregate", "reduce":
		if len(args) == 2 {
			types = []column.Type{args[1].Type(), elem(0)}
		} else if len(args) == 3 {
			types = []column.Type{args[1].Type()}
		}
	case "map_zip_with":
		if len(args) == 2 && args[0].Type().Kind == column.Map {
			types = []column.Type{*args[0].Type().Key, elem(0), elem(1)}
		}
	case "map_filter", "transform_values", "transform_keys":
		if len(args) > 0 && args[0].Type().Kind == column.Map {
			types = []column.Type{*args[0].Type().Key, elem(0)}
		}
	default:
		return nil, analysisErr("INVALID_LAMBDA_FUNCTION_CALL.NON_HIGHER_ORDER_FUNCTION", "42K0D", "%s does not take a lambda", name)
	}
	if n > len(types) || n < len(types) && !(n == 1 && (name == "transform" || name == "filter")) {
		return nil, analysisErr("INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH", "42K0D", "%s calls its lambda with %d arguments, not %d", name, len(types), n)
	}
	return types[:n], nil
}

// higher is a function that takes lambdas; run computes one row, given the
// values of the arguments and a way to call the lambdas.
type higher struct {
	name string
	args []Expr // lambdas among them
	t    column.Type
	run  func(c *caller, a []column.Datum) (column.Datum, *Error)
}

func (e *higher) Type() column.Type { return e.t }
func (e *higher) Children() []Expr  { return e.args }
func (e *higher) String() string    { return callText(e.name, e.args) }

// Eval implements Expr.
func (e *higher) Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column {
	cols := make([]*column.Column, len(e.args))
	for i, a := range e.args {
		if _, ok := a.(*lambda); !ok {
			cols[i] = a.Eval(ctx, b, sel)
		}
	}
	out := ctx.Column(e.t, b.Len)
	c := &caller{e: e, outer: ctx, batch: b, sub: ctx.subContext()}
	row := make([]column.Datum, len(e.args))
	for _, r := range ctx.rows(b.Len, sel) {
		for j, col := range cols {
			if col != nil {
				row[j] = col.Datum(int(r))
			}
		}
		if ctx.Failed(r) || row[0].Null {
			setNull(out, int(r))
			continue
		}
		c.row = r
		d, err := e.run(c, row)
		ctx.set(out, int(r), d, err)
	}
	ctx.nsub--
	return out
}

func (c *Context) subContext() *Context {
	if c.nsub == len(c.subs) {
		c.subs = append(c.subs, NewContext())
	}
	c.nsub++
	sub := c.subs[c.nsub-1]
	if sub.root = c.root; sub.root == nil {
		sub.root = c
	}
	return sub
}

// caller calls the lambdas of a function for one row of its batch.
type caller struct {
	e     *higher
	outer *Context
	batch *column.Batch
	sub   *Context
	row   int32
}

// call computes the body of lambda argument arg for n parameter tuples at once; values[p] holds the n values of parameter p.
func (c *caller) call(arg int, n int, values ...[]column.Datum) ([]column.Datum, *Error) {
	l := c.e.args[arg].(*lambda)
	s := c.sub
	s.Reset()
	s.vars = s.vars[:0]
	same := make([]int32, n)
	for i := range same {
		same[i] = c.row
	}
	for _, v := range c.outer.vars { // variables of enclosing lambdas keep their value of this row
		col := s.Column(v.v.t, 0)
		col.Reset()
		col.Take(v.col, same)
		s.vars = append(s.vars, binding{v.v, col})
	}
	for p, v := range l.params {
		col := s.Column(v.t, n)
		for i := range n {
			col.Set(i, values[p][i])
		}
		s.vars = append(s.vars, binding{v, col})
	}
	inner := &column.Batch{Schema: c.batch.Schema, Cols: make([]*column.Column, len(c.batch.Cols)), Len: n}
	for _, o := range Columns(nil, l.body) {
		col := column.New(c.batch.Cols[o].Type, n)
		col.Take(c.batch.Cols[o], same)
		inner.Cols[o] = col
	}
	res := l.body.Eval(s, inner, nil)
	if len(s.Errors) > 0 {
		first := slices.MinFunc(s.Errors, func(a, b RowError) int { return int(a.Row - b.Row) })
		return nil, first.Err
	}
	out := make([]column.Datum, n)
	for i := range out {
		out[i] = res.Datum(i)
	}
	return out, nil
}

func bindLambda(name string, i int, e Expr, params int) (*lambda, error) {
	l, ok := e.(*lambda)
	if !ok {
		return nil, analysisErr("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "%s: argument %d must be a lambda such as x -> x + 1", name, i+1)
	}
	if len(l.params) != params {
		return nil, analysisErr("INVALID_LAMBDA_FUNCTION_CALL.NUM_ARGS_MISMATCH", "42K0D", "%s: the lambda must take %s", name, fmt.Sprint(params, " parameters"))
	}
	return l, nil
}
