package stream

import (
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// Signature names everything that the state of a query depends on, inputs
// first: two queries with equal signatures can exchange their state. Filters
// and projections above the last stateful operator are not part of it.
func Signature(q *plan.Query, opt plan.Options) []string {
	g := &signer{}
	g.walk(q.Root)
	if !g.stateful {
		return []string{"stateless"}
	}
	return append([]string{fmt.Sprintf("mode %s ttl %d lateness %d max %t", q.Mode, opt.StateTTL, opt.AllowedLateness, opt.WatermarkMax)}, g.out[:g.last]...)
}

// SameState reports whether the state of one query can go on under another.
func SameState(a, b *plan.Query, ao, bo plan.Options) bool {
	return slices.Equal(Signature(a, ao), Signature(b, bo)) && shape(a.Root) == shape(b.Root)
}

// shape is the kinds of the operators but filters and projections: a state is
// read back operator by operator, and those have none.
func shape(n plan.Node) string {
	n = belowStateless(n)
	s := fmt.Sprintf("%T(", n)
	for _, in := range n.Inputs() {
		if hasStream(in) {
			s += shape(in)
		}
	}
	return s + ")"
}

// belowStateless passes over the filters and projections of a plan, HAVING among them.
func belowStateless(n plan.Node) plan.Node {
	for {
		switch x := n.(type) {
		case *plan.Filter:
			n = x.Input
		case *plan.Project:
			n = x.Input
		default:
			return n
		}
	}
}

type signer struct {
	out      []string
	last     int // how many entries matter
	stateful bool
}

func (g *signer) walk(n plan.Node) {
	for _, in := range n.Inputs() {
		g.walk(in)
	}
	text, stateful := describe(n)
	g.out = append(g.out, text)
	if stateful {
		g.last, g.stateful = len(g.out), true
	}
}

// describe renders one operator; stateful operators remember something between entries.
func describe(n plan.Node) (text string, stateful bool) {
	switch x := n.(type) {
	case *plan.Scan:
		return "scan " + strings.ToLower(x.Table) + fields(x), false
	case *plan.Watermark:
		return fmt.Sprintf("watermark %d %s delay %d", x.Time, exprs(x.Expr), x.Delay), true
	case *plan.Filter:
		return "filter " + exprs(x.Cond), false
	case *plan.Project:
		return "project " + exprs(x.Exprs...), false
	case *plan.Explode:
		return fmt.Sprintf("explode %s %t %t %t", exprs(x.Array), x.Outer, x.Position, x.Inline), false
	case *plan.TimeAssign:
		return fmt.Sprintf("window %d %s %d %d %d %s", x.Kind, exprs(x.Time), x.Size, x.Slide, x.Start, exprs(x.Gap)), false
	case *plan.Dedup:
		return fmt.Sprintf("dedup %v within %t", x.Keys, x.Within), true
	case *plan.Distinct, *plan.Limit, *plan.Sort:
		return fmt.Sprintf("%T", n), true
	case *plan.Aggregate:
		s := "aggregate by " + exprs(x.Keys...) + ":"
		for _, c := range x.Calls {
			s += fmt.Sprintf(" %s(%s) filter %s distinct %t", c.Func.Name(), exprs(c.Args...), exprs(c.Filter), c.Distinct)
		}
		return s, true
	case *plan.KeyedState:
		s := "state by " + exprs(x.Keys...) + ":"
		for _, c := range x.Calls {
			s += " " + c.Name + "(" + exprs(c.Args...) + ")"
		}
		return s, true
	case *plan.Join:
		stateful := hasStream(x.Left) && hasStream(x.Right)
		return fmt.Sprintf("join %d on %s = %s and %s", x.Kind, exprs(x.LeftKeys...), exprs(x.RightKeys...), exprs(x.Cond)), stateful
	}
	return fmt.Sprintf("%T", n), false
}

func fields(x *plan.Scan) string {
	s := ""
	for _, f := range x.Out.Fields {
		s += " " + f.Name + " " + f.Type.String()
	}
	return s
}

func exprs(list ...expr.Expr) string {
	var s []string
	for _, e := range list {
		if e == nil {
			s = append(s, "-")
			continue
		}
		s = append(s, e.String())
	}
	return strings.Join(s, ", ")
}
