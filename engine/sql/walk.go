package sql

import "strconv"

// Node is anything in the tree that has a position.
type Node interface{ Position() Pos }

// Walk calls visit for n and everything below it, parents first, in the order
// of the text as far as the tree keeps it. When visit returns false, what is
// below that node is left out.
func Walk(n Node, visit func(Node) bool) {
	if !visit(n) {
		return
	}
	for _, c := range Children(n) {
		Walk(c, visit)
	}
}

// Children returns the nodes directly below n: expressions, queries, relations and bodies.
func Children(n Node) []Node {
	var k kids
	switch n := n.(type) {
	case Expr:
		k.ofExpr(n)
	case *Query:
		for i := range n.With {
			k.query(n.With[i].Query)
		}
		k.node(n.Body)
		k.sorts(n.OrderBy)
		k.exprs(n.Limit, n.Offset)
	case *Select:
		k.ofSelect(n)
	case *SetOp:
		k.node(n.Left)
		k.node(n.Right)
	case *Values:
		for _, row := range n.Rows {
			k.exprs(row...)
		}
	case Relation:
		k.ofRelation(n)
	case *SelectStatement:
		k.query(n.Query)
	case *CreateStreamingTable:
		k.query(n.Query)
	}
	return k
}

type kids []Node

func (k *kids) node(n Node) {
	if n != nil {
		*k = append(*k, n)
	}
}

func (k *kids) exprs(list ...Expr) {
	for _, e := range list {
		if e != nil {
			*k = append(*k, e)
		}
	}
}

func (k *kids) query(q *Query) {
	if q != nil {
		*k = append(*k, q)
	}
}

func (k *kids) sorts(items []SortItem) {
	for i := range items {
		k.exprs(items[i].Expr)
	}
}

func (k *kids) groups(sets []*Groups) {
	for _, g := range sets {
		for _, set := range g.Sets {
			k.exprs(set...)
		}
		k.groups(g.Nested)
	}
}

func (k *kids) ofSelect(s *Select) {
	for i := range s.Items {
		k.exprs(s.Items[i].Expr)
	}
	if s.From != nil {
		k.node(s.From)
	}
	k.exprs(s.Where)
	if g := s.GroupBy; g != nil {
		k.exprs(g.Exprs...)
		k.groups(g.Sets)
	}
	k.exprs(s.Having, s.Qualify)
	for i := range s.Windows {
		k.window(s.Windows[i].Spec)
	}
}

func (k *kids) window(w *WindowSpec) {
	if w == nil {
		return
	}
	k.exprs(w.Partition...)
	k.sorts(w.Order)
	if w.Frame != nil {
		k.exprs(w.Frame.Start.Offset, w.Frame.End.Offset)
	}
}

func (k *kids) watermark(w *Watermark) {
	if w != nil {
		k.exprs(w.Expr)
	}
}

func (k *kids) ofRelation(r Relation) {
	switch r := r.(type) {
	case *Table:
		k.watermark(r.Watermark)
	case *Subquery:
		k.query(r.Query)
		k.watermark(r.Watermark)
	case *ParenRelation:
		k.node(r.Rel)
		k.watermark(r.Watermark)
	case *TableFunc:
		k.exprs(r.Call)
		k.watermark(r.Watermark)
	case *Join:
		k.node(r.Left)
		k.node(r.Right)
		k.exprs(r.On)
	case *Pivot:
		k.node(r.Input)
		for i := range r.Items {
			k.exprs(r.Items[i].Expr)
		}
		k.exprs(r.For...)
		for i := range r.Values {
			k.exprs(r.Values[i].Exprs...)
		}
	case *Unpivot:
		k.node(r.Input)
		for i := range r.Columns {
			k.exprs(r.Columns[i].Exprs...)
		}
	case *LateralView:
		if r.Input != nil {
			k.node(r.Input)
		}
		k.exprs(r.Call)
	}
}

func (k *kids) ofExpr(e Expr) {
	switch e := e.(type) {
	case *Unary:
		k.exprs(e.X)
	case *Binary:
		k.exprs(e.L, e.R)
	case *IsNull:
		k.exprs(e.X)
	case *IsBool:
		k.exprs(e.X)
	case *IsDistinct:
		k.exprs(e.L, e.R)
	case *Between:
		k.exprs(e.X, e.Lo, e.Hi)
	case *InList:
		k.exprs(e.X)
		k.exprs(e.List...)
	case *InQuery:
		k.exprs(e.X)
		k.query(e.Query)
	case *Like:
		k.exprs(e.X, e.Pattern)
		k.exprs(e.Patterns...)
	case *Exists:
		k.query(e.Query)
	case *ScalarSubquery:
		k.query(e.Query)
	case *Case:
		k.exprs(e.Operand)
		for _, w := range e.Whens {
			k.exprs(w.Cond, w.Then)
		}
		k.exprs(e.Else)
	case *Cast:
		k.exprs(e.X)
	case *Call:
		k.exprs(e.Args...)
		k.sorts(e.Within)
		k.exprs(e.Filter)
		k.window(e.Over)
	default:
		k.ofOther(e)
	}
}

func (k *kids) ofOther(e Expr) {
	switch e := e.(type) {
	case *NamedArg:
		k.exprs(e.Value)
	case *Alias:
		k.exprs(e.X)
	case *Row:
		k.exprs(e.Items...)
	case *Lambda:
		k.exprs(e.Body)
	case *Subscript:
		k.exprs(e.X, e.Index)
	case *Field:
		k.exprs(e.X)
	}
}

// checkHeight refuses a tree that is too high for recursive walks. It looks
// once, when the outermost query or expression is complete, and does not recurse itself.
func (p *parser) checkHeight(n Node) {
	if p.depth > 1 {
		return
	}
	type item struct {
		n      Node
		height int
	}
	stack := []item{{n, 1}}
	for len(stack) > 0 {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if top.height > MaxTreeHeight {
			p.failAt(top.n.Position(), "PARSE_SYNTAX_ERROR", "42601", "the chain of operators or joins is longer than the limit MaxTreeHeight = "+strconv.Itoa(MaxTreeHeight), "write a long OR as IN (…)")
		}
		for _, c := range Children(top.n) {
			stack = append(stack, item{c, top.height + 1})
		}
	}
}
