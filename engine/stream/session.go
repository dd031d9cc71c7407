package stream

import "signalbox/engine/plan"

func (b *builder) session(n *plan.Aggregate, next operator) (flow, error) {
	return flow{}, refuseNode("UNSUPPORTED_STREAMING_OPERATOR", "session windows")
}
