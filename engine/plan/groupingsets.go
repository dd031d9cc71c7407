package plan

import (
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// groupingSets replaces one aggregation by one for each set of keys; keys that
// are not in a set are NULL. A last hidden column tells the sets apart.
func (s *selection) groupingSets(n *Aggregate, out *rel, sets [][]int) (*rel, error) {
	width := out.width()
	all := &rel{attrs: append(append([]attr(nil), out.attrs...), attr{name: "spark_grouping_id", typ: column.Of(column.BigInt), hidden: true}), delay: out.delay}
	for i := range n.Keys {
		all.attrs[i].event = false
	}
	u := &Union{}
	for _, set := range sets {
		branch := &Aggregate{Input: n.Input, Calls: n.Calls, Window: -1, EventKey: -1}
		exprs := make([]expr.Expr, width+1)
		id := int64(0)
		for i, k := range n.Keys {
			at := indexOf(set, i)
			if at < 0 {
				id |= 1 << (len(n.Keys) - 1 - i)
				exprs[i] = expr.NewLiteral(k.Type(), column.NullDatum)
				continue
			}
			if i == n.Window {
				branch.Window, branch.Kind = len(branch.Keys), n.Kind
			}
			exprs[i] = expr.NewColumn(len(branch.Keys), out.attrs[i].name, k.Type())
			branch.Keys = append(branch.Keys, k)
		}
		branch.Out = &column.Schema{Time: -1}
		for _, k := range branch.Keys {
			branch.Out.Fields = append(branch.Out.Fields, column.Field{Type: k.Type()})
		}
		for c, call := range n.Calls {
			t := call.Func.Result()
			exprs[len(n.Keys)+c] = expr.NewColumn(len(branch.Keys)+c, call.Name, t)
			branch.Out.Fields = append(branch.Out.Fields, column.Field{Name: call.Name, Type: t})
		}
		exprs[width] = expr.NewLiteral(column.Of(column.BigInt), column.I64(id))
		if err := s.a.mark(branch, s.sel.Pos); err != nil {
			return nil, err
		}
		u.Branches = append(u.Branches, &Project{Input: branch, Exprs: exprs, Out: all.schema(-1)})
	}
	u.Out = all.schema(-1)
	all.node = u
	return all, nil
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
		bit, err := b.groupingBit(e.Pos, len(b.group.cols)-1-at)
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

func indexOf(set []int, v int) int {
	for i, x := range uniqueInts(set) {
		if x == v {
			return i
		}
	}
	return -1
}

func uniqueInts(in []int) []int {
	var out []int
	seen := map[int]bool{}
	for _, v := range in {
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}
