package stream

import (
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// keyed builds an aggregate without event time: over a stream, or over the
// current rows of another one (the fleet total).
func (b *builder) keyed(n *plan.Aggregate, next operator) (flow, error) {
	if inner := keyedBelow(n.Input); inner != nil {
		op := newTotalOp(b.p, n, next)
		f, err := b.changes(n.Input, inner, op)
		b.add(op)
		return f, err
	}
	op := newKeyedOp(b.p, n, next)
	f, err := b.build(n.Input, op)
	b.add(op)
	return f, err
}

// keyedBelow finds the keyed aggregate whose rows n filters and projects.
func keyedBelow(n plan.Node) *plan.Aggregate {
	switch x := n.(type) {
	case *plan.Filter:
		return keyedBelow(x.Input)
	case *plan.Project:
		return keyedBelow(x.Input)
	case *plan.Aggregate:
		if x.EventKey < 0 && x.Window < 0 && hasStream(x) {
			return x
		}
	}
	return nil
}

// changes builds the way from the inner aggregate to the one above, on which
// rows are known by the number of their key.
func (b *builder) changes(n plan.Node, inner *plan.Aggregate, next operator) (flow, error) {
	switch x := n.(type) {
	case *plan.Filter:
		op := &filterOp{p: b.p, cond: x.Cond, next: next}
		f, err := b.changes(x.Input, inner, op)
		b.add(op)
		return f, err
	case *plan.Project:
		op := &projectOp{p: b.p, node: x, next: next}
		f, err := b.changes(x.Input, inner, op)
		b.add(op)
		return f, err
	}
	op := newKeyedOp(b.p, inner, next)
	op.inner = true
	op.skip = make([]bool, len(inner.Keys))
	for i := range op.skip {
		op.skip[i] = !read(next, i)
	}
	f, err := b.build(inner.Input, op)
	b.add(op)
	return f, err
}

// read reports whether an operator above a keyed aggregate needs column i of its input.
func read(op operator, i int) bool {
	switch x := op.(type) {
	case *filterOp:
		return readsColumn(x.cond, i) || read(x.next, i)
	case *projectOp:
		for j, e := range x.node.Exprs {
			if o, plain := expr.ColumnOrdinal(e); plain && o != i || !readsColumn(e, i) {
				continue
			} else if !plain || read(x.next, j) {
				return true
			}
		}
		return false
	case *totalOp:
		for _, k := range x.node.Keys {
			if readsColumn(k, i) {
				return true
			}
		}
		for _, c := range x.node.Calls {
			if c.Filter != nil && readsColumn(c.Filter, i) || anyReads(c.Args, i) {
				return true
			}
		}
		return false
	}
	return true
}

func anyReads(list []expr.Expr, i int) bool {
	for _, e := range list {
		if readsColumn(e, i) {
			return true
		}
	}
	return false
}
