package stream

import (
	"fmt"
	"slices"
	"strings"

	"signalbox/engine/agg"
	"signalbox/engine/plan"
)

// Added says how the state of one query goes on under another that aggregates
// more: Calls[i] is the place of the old query's i-th function.
type Added struct {
	Calls []int
	Names []string // the new functions
}

// AddsColumns reports whether query b is query a with further aggregate
// functions beside those of its one aggregation. The state of the old ones can
// be kept; the new ones count from now.
func AddsColumns(a, b *plan.Query, ao, bo plan.Options) (Added, bool) {
	x := comparer{}
	if a.Mode != b.Mode || ao != bo {
		return x.added, false
	}
	x.walk(belowStateless(a.Root), belowStateless(b.Root))
	return x.added, x.aggregates == 1 && !x.differs && len(x.added.Names) > 0
}

// comparer walks two plans side by side.
type comparer struct {
	added      Added
	aggregates int
	differs    bool // in what a stateful operator depends on
	above      bool // something that is stateless so far differs
}

func (x *comparer) walk(a, b plan.Node) {
	in, jn := a.Inputs(), b.Inputs()
	if fmt.Sprintf("%T", a) != fmt.Sprintf("%T", b) || len(in) != len(jn) {
		x.differs = true
		return
	}
	for i := range in {
		x.walk(in[i], jn[i])
	}
	if x.differs {
		return
	}
	s, stateful := describe(a)
	t, _ := describe(b)
	switch n := a.(type) {
	case *plan.Scan: // which of its columns are read is no state
		m := b.(*plan.Scan)
		x.differs = !strings.EqualFold(n.Table, m.Table) || n.Stream != m.Stream
	case *plan.Watermark:
		x.differs = x.above || s != t
	case *plan.Aggregate:
		x.aggregates++
		x.differs = x.above || !x.aggregate(n, b.(*plan.Aggregate))
	default:
		x.differs = stateful
		x.above = x.above || s != t
	}
}

// aggregate finds the functions of a among those of b.
func (x *comparer) aggregate(a, b *plan.Aggregate) bool {
	if a.Kind != b.Kind || a.Window != b.Window || a.EventKey != b.EventKey || exprs(a.Keys...) != exprs(b.Keys...) {
		return false
	}
	texts := make([]string, len(b.Calls))
	for i := range b.Calls {
		texts[i] = callText(&b.Calls[i])
	}
	for i := range a.Calls {
		at := slices.Index(texts, callText(&a.Calls[i]))
		if at < 0 || slices.Contains(x.added.Calls, at) {
			return false
		}
		x.added.Calls = append(x.added.Calls, at)
	}
	for i, t := range texts {
		if !slices.Contains(x.added.Calls, i) {
			x.added.Names = append(x.added.Names, t)
		}
	}
	return true
}

func callText(c *plan.AggCall) string {
	s := c.Func.Name() + "(" + exprs(c.Args...) + ")"
	if c.Distinct {
		s = c.Func.Name() + "(DISTINCT " + exprs(c.Args...) + ")"
	}
	if c.Filter != nil {
		s += " FILTER (WHERE " + exprs(c.Filter) + ")"
	}
	return s + " " + c.Func.Result().String()
}

// Adopt makes the next Load read the state of the query that has fewer functions.
func (p *Pipeline) Adopt(a Added) {
	for _, op := range p.ops {
		switch o := op.(type) {
		case *paneOp:
			o.calls.from = a.Calls
		case *keyedOp:
			o.calls.from = a.Calls
		case *sessionOp:
			o.calls.from = a.Calls
		}
	}
}

// savedAccs makes accumulators for the functions whose state is read.
func (k *calls) savedAccs() []agg.Accumulator {
	if k.from == nil {
		return k.newAccs()
	}
	out := make([]agg.Accumulator, len(k.from))
	for i, at := range k.from {
		out[i] = k.list[at].Func.New()
	}
	return out
}

// place is where the i-th function that is read belongs.
func (k *calls) place(i int) int {
	if k.from == nil {
		return i
	}
	return k.from[i]
}
