package agg

import (
	"fmt"
	"sort"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Order is the direction of one WITHIN GROUP key.
type Order struct{ Desc, NullsFirst bool }

// Options are the parts of a call beside its arguments.
type Options struct {
	Distinct    bool    // the Func that Lookup returns drops repeated arguments itself
	IgnoreNulls bool    // first, last, any_value, nth_value
	OrderBy     []Order // WITHIN GROUP (ORDER BY …): its keys are the last len(OrderBy) arguments
}

// Info describes an aggregate for the documentation.
type Info struct {
	Name, Signature, Doc, Example string
	BeyondSpark                   bool
}

// binder makes the Func of one call; it returns the arguments coerced.
type binder func(c *call) (Func, error)

// call is an aggregate call being bound.
type call struct {
	name string
	args []expr.Expr
	opt  Options
}

type entry struct {
	Info
	bind     binder
	min, max int // arguments, WITHIN GROUP keys included; max < 0 = any number
	ordered  bool
}

// Exists reports whether name is an aggregate function, in any case.
func Exists(name string) bool {
	_, ok := find(name)
	return ok
}

// Functions lists every aggregate, sorted by name.
func Functions() []Info {
	var out []Info
	for _, e := range table() {
		out = append(out, e.Info)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Lookup binds an aggregate by name (any case) to its arguments and returns it
// with the arguments coerced; WITHIN GROUP keys stay last among them. count(*)
// is count without arguments. Errors are *expr.Error of phase Analysis.
func Lookup(name string, args []expr.Expr, opt Options) (Func, []expr.Expr, error) {
	e, ok := find(name)
	if !ok {
		return nil, nil, analysis("UNRESOLVED_ROUTINE", "42883", "there is no aggregate function %s", name)
	}
	c := &call{name: e.Name, args: append([]expr.Expr(nil), args...), opt: opt}
	if len(args) < e.min || e.max >= 0 && len(args) > e.max {
		return nil, nil, analysis("WRONG_NUM_ARGS", "42605", "%s takes %s, not %d: write %s", e.Name, argCount(e.min, e.max), len(args), e.Signature)
	}
	if len(opt.OrderBy) > 0 && !e.ordered {
		return nil, nil, analysis("INVALID_WITHIN_GROUP_EXPRESSION", "42K0K", "%s does not take WITHIN GROUP (ORDER BY …)", e.Name)
	}
	f, err := e.bind(c)
	if err != nil {
		return nil, nil, err
	}
	if opt.Distinct && len(c.args) > 0 {
		f = distinctOf(f, c.args)
	}
	return f, c.args, nil
}

func find(name string) (entry, bool) {
	name = strings.ToLower(name)
	for _, e := range table() {
		if e.Name == name {
			return e, true
		}
	}
	return entry{}, false
}

func argCount(lo, hi int) string {
	switch {
	case hi < 0:
		return fmt.Sprintf("at least %d arguments", lo)
	case lo == hi && lo == 1:
		return "1 argument"
	case lo == hi:
		return fmt.Sprintf("%d arguments", lo)
	}
	return fmt.Sprintf("%d to %d arguments", lo, hi)
}

func analysis(condition, state, format string, a ...any) *expr.Error {
	return &expr.Error{Phase: expr.Analysis, Condition: condition, SQLState: state, Message: fmt.Sprintf(format, a...)}
}

// typeError says which argument does not fit.
func (c *call) typeError(i int, want string) error {
	return analysis("DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "argument %d of %s is %s, but %s is needed",
		i+1, c.name, c.args[i].Type(), want)
}

// simple is a Func that is its result type and a constructor.
type simple struct {
	name string
	typ  column.Type
	make func() Accumulator
}

func (s *simple) Name() string        { return s.name }
func (s *simple) Result() column.Type { return s.typ }
func (s *simple) New() Accumulator    { return s.make() }

func (c *call) fn(t column.Type, make func() Accumulator) (Func, error) {
	return &simple{c.name, t, make}, nil
}

func mismatch(into, from Accumulator) error {
	return fmt.Errorf("agg: cannot merge %T into %T", from, into)
}

func table() []entry {
	var t []entry
	t = append(t, countEntries()...)
	t = append(t, sumEntries()...)
	t = append(t, minMaxEntries()...)
	t = append(t, pickEntries()...)
	t = append(t, byEntries()...)
	t = append(t, bitEntries()...)
	t = append(t, momentEntries()...)
	t = append(t, pairEntries()...)
	t = append(t, collectEntries()...)
	t = append(t, percentileEntries()...)
	t = append(t, approxEntries()...)
	t = append(t, telemetryEntries()...)
	t = append(t, histogramEntries()...)
	return t
}
