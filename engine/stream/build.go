package stream

import (
	"fmt"

	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// builder turns plan nodes into operators. It builds consumers before inputs
// (an input needs to know its consumer) and lists inputs before consumers.
type builder struct {
	p *Pipeline
}

// flow is what a built sub-plan tells its consumer.
type flow struct {
	mark *mark   // nil: no event time below
	scan *scanOp // the one stream below, nil when there are several
}

func refuseNode(condition, format string, args ...any) error {
	return &expr.Error{Phase: expr.Analysis, Condition: condition, SQLState: "0A000", Message: fmt.Sprintf(format, args...)}
}

func (b *builder) add(op operator) { b.p.ops = append(b.p.ops, op) }

func (b *builder) build(n plan.Node, next operator) (flow, error) {
	switch x := n.(type) {
	case *plan.Scan:
		return b.scan(x, next)
	case *plan.Watermark:
		return b.watermark(x, next)
	case *plan.Filter:
		op := &filterOp{p: b.p, cond: x.Cond, next: next}
		return b.unary(x.Input, op)
	case *plan.Project:
		return b.unary(x.Input, &projectOp{p: b.p, node: x, next: next})
	case *plan.Explode:
		return b.unary(x.Input, newExplodeOp(b.p, x, next))
	case *plan.TimeAssign:
		return b.unary(x.Input, newAssignOp(b.p, x, next))
	case *plan.Limit:
		op := &limitOp{p: b.p, n: x.N, offset: x.Offset, next: next, perPass: b.p.mode == plan.Complete}
		return b.unary(x.Input, op)
	case *plan.Sort:
		return b.unary(x.Input, newSortOp(b.p, x, next))
	case *plan.Union:
		return b.union(x, next)
	case *plan.Aggregate:
		return b.aggregate(x, next)
	case *plan.Dedup:
		return b.dedup(x, next)
	case *plan.KeyedState:
		return b.unary(x.Input, newStateOp(b.p, x, next))
	case *plan.Distinct:
		return b.dedup(distinctKeys(x), next)
	case *plan.Join:
		return b.join(x, next)
	}
	return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "%T is not possible on a stream; use it over a static table or in signalbox query", n)
}

// unary builds the input of an operator without a mark of its own.
func (b *builder) unary(input plan.Node, op operator) (flow, error) {
	f, err := b.build(input, op)
	b.add(op)
	return f, err
}

func (b *builder) scan(n *plan.Scan, next operator) (flow, error) {
	if !n.Stream {
		return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "the static table %s cannot drive a continuous query; read a stream with FROM STREAM", n.Table)
	}
	op := &scanOp{p: b.p, node: n, no: int32(len(b.p.scans)), next: next}
	b.p.scans = append(b.p.scans, op)
	b.add(op)
	return flow{scan: op}, nil
}

func (b *builder) watermark(n *plan.Watermark, next operator) (flow, error) {
	op := &watermarkOp{p: b.p, node: n, next: next, delay: floorDiv(n.Delay, 1000) * 1000}
	f, err := b.build(n.Input, op)
	if err != nil {
		return flow{}, err
	}
	if f.mark != nil {
		return flow{}, &expr.Error{Phase: expr.Analysis, Condition: "REDEFINE_WATERMARK", SQLState: "XXKST",
			Message: "event time has a WATERMARK already; keep one of the two"}
	}
	op.scan = f.scan
	b.add(op)
	b.p.wms = append(b.p.wms, op)
	m := &mark{source: true, late: noMark, evict: noMark}
	b.p.marks = append(b.p.marks, m)
	return flow{mark: m, scan: f.scan}, nil
}

// implicitTime observes the event time of the first stream for state_ttl.
func (b *builder) implicitTime() {
	for _, s := range b.p.scans {
		if s.node.Out.Time >= 0 {
			b.p.ttl = &watermarkOp{p: b.p, next: s.next, scan: s}
			s.next = b.p.ttl
			b.add(b.p.ttl)
			return
		}
	}
}

// join of marks: the minimum over the inputs.
func (b *builder) merge(ms ...*mark) *mark {
	var in []*mark
	for _, m := range ms {
		if m != nil {
			in = append(in, m)
		}
	}
	switch len(in) {
	case 0:
		return nil
	case 1:
		return in[0]
	}
	m := &mark{inputs: in, late: noMark, evict: noMark}
	b.p.marks = append(b.p.marks, m)
	return m
}

func (b *builder) union(n *plan.Union, next operator) (flow, error) {
	var marks []*mark
	for _, br := range n.Branches {
		op := &unionOp{out: n.Out, next: next}
		if !hasStream(br) {
			return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "UNION ALL of a stream and a static table; read both as streams")
		}
		f, err := b.unary(br, op)
		if err != nil {
			return flow{}, err
		}
		marks = append(marks, f.mark)
	}
	return flow{mark: b.merge(marks...)}, nil
}

func (b *builder) aggregate(n *plan.Aggregate, next operator) (flow, error) {
	if n.Kind == plan.SessionWindow && n.Window >= 0 {
		return b.session(n, next)
	}
	if n.EventKey < 0 && n.Window < 0 {
		return b.keyed(n, next)
	}
	op := newPaneOp(b.p, n, next, nil)
	input := n.Input
	if t, ok := input.(*plan.TimeAssign); ok && t.Kind == plan.TimeWindow && n.Window == op.evPos && !usesWindow(n, len(t.Input.Schema().Fields)) {
		op.fuse(t)
		input = t.Input
	}
	f, err := b.build(input, op)
	if n.EventKey >= 0 {
		op.m = f.mark
	}
	b.add(op)
	return f, err
}

// usesWindow reports whether an aggregate reads the window column elsewhere than as its key.
func usesWindow(n *plan.Aggregate, ord int) bool {
	for i, k := range n.Keys {
		if i != n.Window && readsColumn(k, ord) {
			return true
		}
	}
	for _, c := range n.Calls {
		for _, a := range c.Args {
			if readsColumn(a, ord) {
				return true
			}
		}
		if c.Filter != nil && readsColumn(c.Filter, ord) {
			return true
		}
	}
	return false
}

func readsColumn(e expr.Expr, ord int) bool {
	if o, ok := expr.ColumnOrdinal(e); ok {
		return o == ord
	}
	for _, c := range e.Children() {
		if readsColumn(c, ord) {
			return true
		}
	}
	return false
}
