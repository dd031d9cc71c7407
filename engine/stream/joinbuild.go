package stream

import "signalbox/engine/plan"

func (b *builder) join(n *plan.Join, next operator) (flow, error) {
	left, right := hasStream(n.Left), hasStream(n.Right)
	if left && right {
		return b.streamJoin(n, next)
	}
	op, err := newStaticJoin(b.p, n, next)
	if err != nil {
		return flow{}, err
	}
	if right {
		return b.unary(n.Right, op)
	}
	return b.unary(n.Left, op)
}
