package plan

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// StateCall is one function of a KeyedState.
type StateCall struct {
	Name string // previous, had_changed, counter_rate or unchanged_since
	Args []expr.Expr
	Type column.Type
}

// KeyedState appends, to each row of a stream, what functions say about the rows
// with the same Keys that came before it. Without keys all rows are of one key.
type KeyedState struct {
	Input Node
	Keys  []expr.Expr
	Calls []StateCall
	Out   *column.Schema
}

// Schema is the input's, then one column per call.
func (n *KeyedState) Schema() *column.Schema { return n.Out }

// Inputs is the one input.
func (n *KeyedState) Inputs() []Node { return []Node{n.Input} }

// StateFunctions describes the functions that remember something per key of a
// live stream. The example is the select list of a query over the stream
//
//	(time, bus, door, km) = (0 s, b1, closed, 10), (10 s, b1, open, 30), (20 s, b1, open, 60)
//
// and the result its values, row by row.
func StateFunctions() []expr.FuncInfo {
	return []expr.FuncInfo{
		{Name: "counter_rate", Signature: "counter_rate(counter, time, key…)", BeyondSpark: true, Example: "counter_rate(km, time, bus)", Result: "NULL, 2.0, 3.0",
			Doc: "By how much a counter rises per second since the reading of the same key before it. A counter that falls was reset and started at 0. NULL for the first reading and for one that is not later than the newest; such a reading, and one without counter or time, changes nothing."},
		{Name: "had_changed", Signature: "had_changed(value, key…)", BeyondSpark: true, Example: "had_changed(door, bus)", Result: "true, true, false",
			Doc: "True when the value differs from that of the row of the same key that came before; NULL is a value like others. True for the first row."},
		{Name: "previous", Signature: "previous(value, key…)", BeyondSpark: true, Example: "previous(door, bus)", Result: "NULL, closed, open",
			Doc: "The value of the row of the same key that came before; NULL for the first row. coalesce(previous(x, k), 0) gives another default."},
		{Name: "unchanged_since", Signature: "unchanged_since(value, time, key…)", BeyondSpark: true, Example: "CAST(time - unchanged_since(door, time, bus) AS STRING)", Result: "INTERVAL '0 00:00:00' DAY TO SECOND, INTERVAL '0 00:00:00' DAY TO SECOND, INTERVAL '0 00:00:10' DAY TO SECOND",
			Doc: "The time of the first reading since which the value of the key has been the same: time minus it is how long the present state has lasted. NULL, and nothing changes, for a reading without time or older than the newest."},
	}
}

// isStateFunction reports whether a call needs a KeyedState.
func isStateFunction(c *sql.Call) bool { return c.Over == nil && stateArgs(c.Name) > 0 }

// stateArgs is how many arguments come before the keys; 0 = no such function.
func stateArgs(name string) int {
	switch name {
	case "previous", "had_changed":
		return 1
	case "counter_rate", "unchanged_since":
		return 2
	}
	return 0
}

// keyedState puts the functions with state right above FROM, below WHERE: they
// see every row, whatever the query does with it, so that the same call means
// the same in every clause.
func (s *selection) keyedState() error {
	all := append(s.groupExprs(), s.expressions()...)
	if s.sel.Where != nil {
		all = append(all, s.sel.Where)
	}
	var calls []*sql.Call
	for _, e := range all {
		calls = append(calls, findCalls(e, isStateFunction)...)
	}
	if len(calls) == 0 {
		return nil
	}
	if err := readsOneStream(s.b.rel.node, calls[0]); err != nil {
		return err
	}
	input := *s.b
	input.clause = "the arguments of a function with state"
	var nodes []*KeyedState
	for _, c := range calls {
		keys, call, err := input.stateCall(c)
		if err != nil && s.a.tolerate(err) {
			s.b.calls[c] = expr.NewLiteral(column.Type{}, column.NullDatum)
			continue
		}
		if err != nil {
			return err
		}
		nodes = s.addState(nodes, c, keys, call)
	}
	return nil
}

// addState gives a call a column: in the operator with the same keys, else in a new one over the others.
func (s *selection) addState(nodes []*KeyedState, c *sql.Call, keys []expr.Expr, call StateCall) []*KeyedState {
	for _, n := range nodes {
		if exprTexts(n.Keys) != exprTexts(keys) {
			continue
		}
		for i, have := range n.Calls {
			if have.Name == call.Name && exprTexts(have.Args) == exprTexts(call.Args) {
				at := len(n.Input.Schema().Fields) + i
				s.b.calls[c] = expr.NewColumn(at, call.Name, call.Type)
				return nodes
			}
		}
	}
	n := &KeyedState{Input: s.b.rel.node, Keys: keys, Calls: []StateCall{call}}
	if len(nodes) > 0 && exprTexts(nodes[len(nodes)-1].Keys) == exprTexts(keys) {
		n = nodes[len(nodes)-1]
		n.Calls = append(n.Calls, call)
	} else {
		nodes = append(nodes, n)
	}
	out := &rel{node: n, attrs: append([]attr(nil), s.b.rel.attrs...), delay: s.b.rel.delay}
	out.attrs = append(out.attrs, attr{name: call.Name, typ: call.Type, hidden: true})
	n.Out = out.schema(n.Input.Schema().Time)
	s.b.rel = out
	s.b.calls[c] = out.column(out.width() - 1)
	s.a.markState(n, c.Pos)
	return nodes
}

// markState notes the place of an operator that is already counted by its first call.
func (a *analyzer) markState(n Node, pos sql.Pos) {
	if _, known := a.positions[n]; !known {
		a.positions[n] = pos
		a.operators++
	}
}

// readsOneStream refuses what has no order of rows that is the same in every run.
func readsOneStream(n Node, c *sql.Call) error {
	if !isStreaming(n) {
		return fail(c.Pos, "UNSUPPORTED_FEATURE", "0A000", "%s remembers the rows of a live stream; the rows of a table have no order: write lag(value) OVER (PARTITION BY key ORDER BY time)", c.Name)
	}
	scans, keyed := 0, false
	each(n, func(n Node) {
		switch x := n.(type) {
		case *Scan:
			if x.Stream {
				scans++
			}
		case *Aggregate:
			keyed = keyed || isStreaming(x) && x.EventKey < 0
		}
	})
	if scans > 1 {
		return fail(c.Pos, "UNSUPPORTED_FEATURE", "0A000", "%s needs the rows of one stream: which row of two streams came first depends on how they were batched; compute it in a sub-query over each stream", c.Name)
	}
	if keyed {
		return fail(c.Pos, "UNSUPPORTED_FEATURE", "0A000", "%s over an aggregation without event time would depend on how rows were batched; compute it over the stream, or group by window(time, …)", c.Name)
	}
	return nil
}

// stateCall binds one call: its keys, and the call without them.
func (b *binder) stateCall(c *sql.Call) ([]expr.Expr, StateCall, error) {
	out := StateCall{Name: c.Name}
	n := stateArgs(c.Name)
	if len(c.Args) < n {
		return nil, out, fail(c.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "%s takes at least %d arguments: write %s", c.Name, n, stateSignature(c.Name))
	}
	if c.Filter != nil || c.Distinct || len(c.Within) > 0 {
		return nil, out, b.notAggregate(c)
	}
	for _, a := range c.Args {
		if inner := findCalls(a, isStateFunction); len(inner) > 0 {
			return nil, out, fail(inner[0].Pos, "UNSUPPORTED_FEATURE", "0A000", "%s stands inside %s; compute the inner one in a sub-query", inner[0].Name, c.Name)
		}
		if hasSubquery(a) {
			return nil, out, fail(a.Position(), "UNSUPPORTED_FEATURE", "0A000", "a sub-query may not stand in %s; join the table in FROM", c.Name)
		}
	}
	args, err := b.bindAll(c.Args)
	if err != nil {
		return nil, out, err
	}
	args, keys := args[:n:n], args[n:]
	for i, k := range keys {
		if k.Type().Kind == column.Map {
			return nil, out, fail(c.Args[n+i].Position(), "DATATYPE_MISMATCH.INVALID_ORDERING_TYPE", "42K09", "a map cannot be a key of %s", c.Name)
		}
	}
	out.Args, out.Type, err = stateTypes(c, args)
	return keys, out, err
}

func stateTypes(c *sql.Call, args []expr.Expr) ([]expr.Expr, column.Type, error) {
	var err error
	if len(args) == 2 {
		if k := args[1].Type().Kind; k != column.Timestamp && k != column.TimestampNTZ {
			return nil, column.Type{}, fail(c.Args[1].Position(), "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "the second argument of %s is the time of the reading, a TIMESTAMP, not %s", c.Name, args[1].Type())
		}
	}
	switch c.Name {
	case "had_changed":
		return args, boolType(), nil
	case "unchanged_since":
		return args, args[1].Type(), nil
	case "counter_rate":
		if k := args[0].Type().Kind; !k.IsNumeric() && k != column.Void {
			return nil, column.Type{}, fail(c.Args[0].Position(), "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "42K09", "the counter of counter_rate is a number, not %s", args[0].Type())
		}
		args[0], err = expr.ImplicitCast(args[0], column.Of(column.Double))
		return args, column.Of(column.Double), at(c.Pos, err)
	}
	return args, args[0].Type(), nil
}

func stateSignature(name string) string {
	for _, f := range StateFunctions() {
		if f.Name == name {
			return f.Signature
		}
	}
	return name
}

// misplacedState refuses a function with state where rows are not those of FROM.
func (b *binder) misplacedState(c *sql.Call) error {
	return fail(c.Pos, "UNSUPPORTED_FEATURE", "0A000", "%s may not stand in %s; compute it in the select list of a sub-query over the stream", c.Name, b.place())
}

func stateCallTexts(n *KeyedState) string {
	var out []string
	for _, c := range n.Calls {
		out = append(out, c.Name+"("+exprTexts(c.Args)+")")
	}
	return strings.Join(out, ", ") + " by (" + exprTexts(n.Keys) + ")"
}

// keptPerKey says what the state of a KeyedState is, for explain.
func keptPerKey(n *KeyedState, o Options) string {
	s := "the newest values of (" + exprTexts(n.Keys) + ")"
	if o.StateTTL > 0 {
		return s + " until its last event time + " + micros(o.StateTTL) + " <= watermark"
	}
	return s + ", for ever: set state_ttl to forget keys"
}
