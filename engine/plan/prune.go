package plan

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// prune notes in every Scan which columns the query uses, and stops computing
// what nobody reads: a source then decodes only what is needed, and an
// expression that nobody reads cannot fail, as in Spark.
func prune(root Node) {
	p := &pruner{needs: map[Node][]bool{}}
	p.need(root, everything(root))
	for _, n := range p.order {
		p.cut(n)
	}
}

type pruner struct {
	needs map[Node][]bool
	order []Node
}

func everything(n Node) []bool {
	out := make([]bool, len(n.Schema().Fields))
	for i := range out {
		out[i] = true
	}
	return out
}

// need adds columns of n's output that are read and follows them down.
func (p *pruner) need(n Node, cols []bool) {
	have, seen := p.needs[n]
	if !seen {
		have = make([]bool, len(n.Schema().Fields))
		p.order = append(p.order, n)
	}
	grown := !seen
	for i, c := range cols[:min(len(cols), len(have))] {
		if c && !have[i] {
			have[i], grown = true, true
		}
	}
	p.needs[n] = have
	if !grown {
		return
	}
	if isStreaming(n) {
		if t := n.Schema().Time; t >= 0 && t < len(have) {
			have[t] = true
		}
	}
	p.inputs(n, have)
}

// inputs asks the inputs of n for what it needs to make the columns in have.
func (p *pruner) inputs(n Node, have []bool) {
	switch n := n.(type) {
	case *Join:
		p.join(n, have)
		return
	case *Union:
		for _, b := range n.Branches {
			p.need(b, have)
		}
		return
	case *SetOp:
		p.need(n.Left, everything(n.Left))
		p.need(n.Right, everything(n.Right))
		return
	case *Recursive:
		p.need(n.Anchor, everything(n.Anchor))
		p.need(n.Step, everything(n.Step))
		return
	}
	ins := n.Inputs()
	if len(ins) != 1 {
		return
	}
	want := make([]bool, len(ins[0].Schema().Fields))
	switch n := n.(type) {
	case *Project:
		for i, e := range n.Exprs {
			if have[i] {
				columnsOf(e, func(c int) { want[c] = true })
			}
		}
	case *Aggregate:
		aggregateColumns(n, func(c int) { want[c] = true })
	case *Distinct:
		want = everything(ins[0])
	default: // the input's columns come first in the output
		copy(want, have)
		ownColumns(n, func(c int) {
			if c < len(want) {
				want[c] = true
			}
		})
	}
	p.need(ins[0], want)
}

func aggregateColumns(n *Aggregate, add func(int)) {
	for _, k := range n.Keys {
		columnsOf(k, add)
	}
	for _, c := range n.Calls {
		columnsOf(c.Filter, add)
		for _, a := range c.Args {
			columnsOf(a, add)
		}
	}
	if t := n.Input.Schema().Time; t >= 0 && isStreaming(n) {
		add(t) // state_ttl looks at it
	}
}

// ownColumns are the columns that an operator reads itself.
func ownColumns(n Node, add func(int)) {
	switch n := n.(type) {
	case *Filter:
		columnsOf(n.Cond, add)
	case *Watermark:
		columnsOf(n.Expr, add)
		add(n.Time)
	case *Dedup:
		for _, k := range n.Keys {
			add(k)
		}
		if n.EventKey >= 0 {
			add(n.EventKey)
		}
	case *Explode:
		columnsOf(n.Array, add)
	case *TimeAssign:
		columnsOf(n.Time, add)
		columnsOf(n.Gap, add)
	case *Sort:
		sortColumns(n.Keys, add)
	case *Analytic:
		analyticColumns(n, add)
	case *KeyedState:
		for _, k := range n.Keys {
			columnsOf(k, add)
		}
		for _, c := range n.Calls {
			for _, a := range c.Args {
				columnsOf(a, add)
			}
		}
	}
}

func sortColumns(keys []SortKey, add func(int)) {
	for _, k := range keys {
		columnsOf(k.Expr, add)
	}
}

func analyticColumns(n *Analytic, add func(int)) {
	for _, e := range n.Partition {
		columnsOf(e, add)
	}
	sortColumns(n.Order, add)
	for _, c := range n.Calls {
		for _, a := range c.Args {
			columnsOf(a, add)
		}
	}
}

func (p *pruner) join(n *Join, have []bool) {
	lw, rw := len(n.Left.Schema().Fields), len(n.Right.Schema().Fields)
	both := make([]bool, lw+rw)
	add := func(i int) { both[i] = true }
	columnsOf(n.Cond, add)
	for i := range n.LeftKeys {
		columnsOf(n.LeftKeys[i], add)
		columnsOf(n.RightKeys[i], func(c int) { both[lw+c] = true })
	}
	for _, param := range n.Params {
		add(param.Column)
	}
	if n.LeftTime >= 0 {
		add(n.LeftTime)
	}
	if n.RightTime >= 0 {
		add(lw + n.RightTime)
	}
	rightOut := n.Kind != Semi && n.Kind != Anti && n.Kind != Mark
	for i, h := range have {
		if h && (i < lw || rightOut) {
			add(i)
		}
	}
	p.need(n.Left, both[:lw])
	p.need(n.Right, both[lw:])
}

// cut applies what was found.
func (p *pruner) cut(n Node) {
	have := p.needs[n]
	switch n := n.(type) {
	case *Scan:
		n.Columns = nil
		for i, h := range have {
			if h {
				n.Columns = append(n.Columns, i)
			}
		}
		slices.Sort(n.Columns)
	case *Project:
		for i := range n.Exprs {
			if _, plain := columnOrdinal(n.Exprs[i]); !have[i] && !plain {
				n.Exprs[i] = expr.NewLiteral(n.Exprs[i].Type(), column.NullDatum)
			}
		}
	}
}
