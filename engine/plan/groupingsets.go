package plan

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// MaxGroupings bounds the sets of one GROUP BY: every row is repeated for each.
const MaxGroupings = 1024

// expandSets turns ROLLUP, CUBE and GROUPING SETS into sets of keys: those of one
// element of GROUP BY are combined with those of the others.
func expandSets(g *sql.GroupBy, plain []int, add func(sql.Expr) (int, error)) ([][]int, error) {
	sets := [][]int{plain}
	for _, element := range g.Sets {
		more, err := setsOf(element, add)
		if err != nil {
			return nil, err
		}
		if sets, err = combined(element.Pos, sets, more); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

func combined(pos sql.Pos, a, b [][]int) ([][]int, error) {
	if len(a)*len(b) > MaxGroupings {
		return nil, fail(pos, "QUERY_TOO_LARGE", "54000", "GROUP BY has %d sets of keys; at most %d", len(a)*len(b), MaxGroupings)
	}
	var out [][]int
	for _, x := range a {
		for _, y := range b {
			out = append(out, slices.Concat(x, y))
		}
	}
	return out, nil
}

// setsOf lists the sets of one ROLLUP, CUBE or GROUPING SETS.
func setsOf(g *sql.Groups, add func(sql.Expr) (int, error)) ([][]int, error) {
	var parts [][]int
	for _, set := range g.Sets {
		var part []int
		for _, e := range set {
			i, err := add(e)
			if err != nil {
				return nil, err
			}
			part = append(part, i)
		}
		parts = append(parts, part)
	}
	var sets [][]int
	switch g.Kind {
	case sql.Rollup:
		for n := len(parts); n >= 0; n-- {
			sets = append(sets, slices.Concat(parts[:n]...))
		}
		return sets, nil
	case sql.Cube:
		sets = [][]int{nil}
		for _, p := range parts {
			var err error
			if sets, err = combined(g.Pos, sets, [][]int{p, nil}); err != nil {
				return nil, err
			}
		}
		return sets, nil
	}
	sets = parts
	for _, nested := range g.Nested {
		more, err := setsOf(nested, add)
		if err != nil {
			return nil, err
		}
		sets = append(sets, more...)
	}
	return sets, nil
}

// repeatSets repeats every row for each set of GROUPING SETS, ROLLUP or CUBE. A
// key that is not in a set is NULL there; the number of the set is one more key.
// It returns the keys over the repeated rows.
func (b *binder) repeatSets(pos sql.Pos, keys []expr.Expr, sets [][]int) ([]expr.Expr, error) {
	ids := make([]column.Datum, len(sets))
	for i := range sets {
		ids[i] = column.I64(int64(i))
	}
	num := column.Of(column.Int)
	in := b.rel
	n := &Explode{Input: in.node, Array: expr.NewLiteral(column.ArrayOf(num), column.Datum{L: ids})}
	out := &rel{attrs: append(append([]attr(nil), in.attrs...), attr{name: "grouping_set", typ: num, hidden: true}), delay: in.delay}
	n.Out = out.schema(in.node.Schema().Time)
	out.node = n
	b.rel = out
	set := out.column(out.width() - 1)
	expanded := make([]expr.Expr, len(keys))
	for i, k := range keys {
		in := []expr.Expr{set}
		for at, members := range sets {
			if slices.Contains(members, i) {
				in = append(in, expr.NewLiteral(num, column.I64(int64(at))))
			}
		}
		expanded[i] = k
		switch len(in) - 1 {
		case len(sets):
			continue
		case 0:
			expanded[i] = expr.NewLiteral(k.Type(), column.NullDatum)
			continue
		}
		there, err := call(pos, "in", in...)
		if err != nil {
			return nil, err
		}
		if expanded[i], err = call(pos, "case", there, k); err != nil {
			return nil, err
		}
	}
	return append(expanded, set), b.a.mark(n, pos)
}

// groupingID computes the grouping id from the column with the number of the set:
// a bit for each key, the first one highest, set where the key was left out.
func groupingID(pos sql.Pos, set expr.Expr, keys int, sets [][]int) (expr.Expr, error) {
	var args []expr.Expr
	for at, members := range sets {
		id := int64(0)
		for i := range keys {
			if !slices.Contains(members, i) {
				id |= 1 << (keys - 1 - i)
			}
		}
		is, err := call(pos, "=", set, expr.NewLiteral(set.Type(), column.I64(int64(at))))
		if err != nil {
			return nil, err
		}
		args = append(args, is, expr.NewLiteral(column.Of(column.BigInt), column.I64(id)))
	}
	return call(pos, "case", args...)
}

// groupingFunction is grouping(key), 1 where the key was left out, and grouping_id([keys]).
func (b *binder) groupingFunction(e *sql.Call) (expr.Expr, error) {
	if b.group == nil || b.group.id == nil {
		return nil, fail(e.Pos, "UNSUPPORTED_GROUPING_EXPRESSION", "42K0E", "%s goes with GROUPING SETS, ROLLUP and CUBE only", e.Name)
	}
	if e.Name == "grouping_id" && len(e.Args) == 0 {
		return b.group.id, nil
	}
	if e.Name == "grouping" && len(e.Args) != 1 {
		return nil, fail(e.Pos, "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605", "grouping takes 1 argument: a grouping column")
	}
	var bits expr.Expr
	for i, arg := range e.Args {
		at := -1
		if x, ok := b.group.key(arg); ok {
			at, _ = columnOrdinal(x)
		}
		if at < 0 {
			return nil, fail(arg.Position(), "GROUPING_COLUMN_MISMATCH", "42803", "the argument of %s must be a grouping column", e.Name)
		}
		if e.Name == "grouping_id" && at != i {
			return nil, fail(arg.Position(), "GROUPING_ID_COLUMN_MISMATCH", "42803", "the arguments of grouping_id must be the grouping columns, in their order")
		}
		bit, err := b.groupingBit(e.Pos, len(b.group.texts)-1-at)
		if err != nil {
			return nil, err
		}
		bits = bit
	}
	if e.Name == "grouping" {
		x, err := expr.Cast(bits, column.Of(column.TinyInt), false)
		return x, at(e.Pos, err)
	}
	return b.group.id, nil
}

func (b *binder) groupingBit(pos sql.Pos, shift int) (expr.Expr, error) {
	big := func(v int64) expr.Expr { return expr.NewLiteral(column.Of(column.BigInt), column.I64(v)) }
	moved, err := call(pos, "div", b.group.id, big(1<<shift))
	if err != nil {
		return nil, err
	}
	return call(pos, "%", moved, big(2))
}
