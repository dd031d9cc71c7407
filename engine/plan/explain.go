package plan

import (
	"fmt"
	"hash/fnv"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Explain shows a query as an indented plan, consumers first: what each
// operator does, its id, the state it keeps and until when, and for a
// continuous query its mode, event time, watermark and every default in force.
func Explain(q *Query, o Options) string {
	var b strings.Builder
	if q.Streaming {
		explainOptions(&b, q, o)
	} else {
		b.WriteString("bounded query: reads what there is, keeps no state\nplan\n")
	}
	explainNode(&b, q.Root, 0, o)
	return b.String()
}

func explainOptions(b *strings.Builder, q *Query, o Options) {
	why := "set"
	if o.Mode == "" {
		why = "default: append when event time closes every group, else update"
	}
	fmt.Fprintf(b, "continuous query\n  mode              %s (%s)\n", q.Mode, why)
	fmt.Fprintf(b, "  columns           %s\n", columnNames(q.Root))
	fmt.Fprintf(b, "  event time        %s\n", eventTimeText(q.Root))
	fmt.Fprintf(b, "  watermark         %s\n", watermarkText(q.Root, o))
	fmt.Fprintf(b, "  state_ttl         %s\n", orDefault(o.StateTTL, "none (default: a key is kept for ever; set it for a last value per key)"))
	fmt.Fprintf(b, "  allowed_lateness  %s\n", latenessText(o.AllowedLateness))
	noted := map[string]bool{}
	Counted(q.Root, func(s *Scan, _ Node) {
		if s.Told == Revised && !noted[s.Table] {
			noted[s.Table] = true
			fmt.Fprintf(b, "  note              each row of %s counts once, as it is told first; late readings revise it within its allowed_lateness, and the revisions are listed in <table>$late. To count late readings here as well read the stream itself; to have no revisions set allowed_lateness '0 seconds' on %s\n", s.Table, s.Table)
		}
	})
	b.WriteString("plan\n")
}

func latenessText(us int64) string {
	if us == 0 {
		return "0 (windows close for good at first emission)"
	}
	return micros(us) + " (late readings revise a closed window for so long; 0 in replay unless it is set)"
}

func orDefault(us int64, text string) string {
	if us == 0 {
		return text
	}
	return micros(us)
}

// micros writes a length of time.
func micros(us int64) string {
	n, unit := us, "microsecond"
	for _, u := range []struct {
		us   int64
		name string
	}{{86_400_000_000, "day"}, {3_600_000_000, "hour"}, {60_000_000, "minute"}, {1_000_000, "second"}} {
		if us%u.us == 0 && (us != 0 || u.name == "second") {
			n, unit = us/u.us, u.name
			break
		}
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

func columnNames(n Node) string {
	var out []string
	for _, f := range n.Schema().Fields {
		out = append(out, f.Name+" "+strings.ToUpper(f.Type.String()))
	}
	return strings.Join(out, ", ")
}

func eventTimeText(n Node) string {
	var out []string
	each(n, func(n Node) {
		switch n := n.(type) {
		case *Watermark:
			out = append(out, n.Out.Fields[n.Time].Name)
		case *Scan:
			if n.Stream && n.Out.Time >= 0 && len(out) == 0 {
				out = append(out, n.Out.Fields[n.Out.Time].Name+" of "+n.Table)
			}
		}
	})
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func watermarkText(n Node, o Options) string {
	var out []string
	each(n, func(n Node) {
		if w, ok := n.(*Watermark); ok {
			out = append(out, "event time - "+micros(w.Delay))
		}
	})
	switch {
	case len(out) == 0:
		return "none written: nothing closes by time"
	case len(out) == 1:
		return out[0]
	case o.WatermarkMax:
		return "the latest of " + strings.Join(out, ", ") + " (watermark_policy 'max')"
	}
	return "the earliest of " + strings.Join(out, ", ") + " (default; watermark_policy 'max' takes the latest)"
}

func explainNode(b *strings.Builder, n Node, depth int, o Options) {
	pad := strings.Repeat("  ", depth+1)
	b.WriteString(pad + describe(n))
	if s := stateText(n, o); s != "" {
		b.WriteString("\n" + pad + "    id " + OperatorID(n) + "; state: " + s)
	}
	b.WriteString("\n")
	for _, in := range n.Inputs() {
		explainNode(b, in, depth+1, o)
	}
}

// stateText says what an operator remembers, "" for nothing.
func stateText(n Node, o Options) string {
	if !isStreaming(n) {
		return ""
	}
	switch n := n.(type) {
	case *Aggregate:
		return aggregateState(n, o)
	case *Dedup:
		switch {
		case n.Within:
			return "one entry per key until its first event time + " + micros(n.Delay) + " <= watermark"
		case n.EventKey >= 0:
			return "one entry per key until its event time <= watermark"
		}
		return "one entry per key, for ever: add the event time to the keys, or write WITHIN WATERMARK"
	case *Join:
		if !isStreaming(n.Left) || !isStreaming(n.Right) {
			return ""
		}
		if n.Bound == nil {
			return "every row of both streams, for ever: bound the distance of their times in ON"
		}
		return "the rows of both streams until the watermark passes what can still match"
	case *Limit:
		return "the number of rows emitted"
	case *KeyedState:
		return keptPerKey(n, o)
	}
	return ""
}

func aggregateState(n *Aggregate, o Options) string {
	if len(n.Keys) == 0 {
		return "one row"
	}
	s := fmt.Sprintf("one row of about %d bytes per (%s)", rowBytes(n), exprTexts(n.Keys))
	switch {
	case n.EventKey >= 0 && o.AllowedLateness > 0:
		return s + " until its end + " + micros(o.AllowedLateness) + " <= watermark"
	case n.EventKey >= 0:
		return s + " until its end <= watermark"
	case o.StateTTL > 0:
		return s + " until its last event time + " + micros(o.StateTTL) + " <= watermark"
	}
	return s + ", for ever: set state_ttl to forget keys"
}

// rowBytes estimates the state of one group: its keys and its accumulators.
func rowBytes(n *Aggregate) int {
	const groups, slot, word = 1024, 8, 8
	size := slot
	for _, k := range n.Keys {
		size += word
		if k.Type().Kind.Storage() == column.StoreAny {
			size += word
		}
	}
	for _, c := range n.Calls {
		acc := c.Func.New()
		acc.Grow(groups)
		size += (acc.Bytes() + groups - 1) / groups
	}
	return size
}

func exprTexts(es []expr.Expr) string {
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.String()
	}
	return strings.Join(out, ", ")
}

// describe is the canonical text of one operator, without its inputs.
func describe(n Node) string {
	switch n := n.(type) {
	case *Scan:
		kind := "Table"
		if n.Stream {
			kind = "Stream"
		}
		var cols []string
		for _, c := range n.Columns {
			cols = append(cols, n.Out.Fields[c].Name)
		}
		return kind + " " + n.Table + " (" + strings.Join(cols, ", ") + ")"
	case *Watermark:
		s := "Watermark " + n.Out.Fields[n.Time].Name
		if n.Expr != nil {
			s += " = " + n.Expr.String()
		}
		return s + " - " + micros(n.Delay)
	case *Dedup:
		s := "Dedup by"
		for _, k := range n.Keys {
			s += " " + n.Input.Schema().Fields[k].Name
		}
		if n.Within {
			s += " within watermark"
		}
		return s
	case *Filter:
		return "Filter " + n.Cond.String()
	case *Project:
		return "Project " + projectText(n)
	case *Explode:
		return "Explode " + n.Array.String()
	case *TimeAssign:
		return assignText(n)
	case *Aggregate:
		var calls []string
		for _, c := range n.Calls {
			calls = append(calls, c.Name)
		}
		return "Aggregate by (" + exprTexts(n.Keys) + ") of " + strings.Join(calls, ", ")
	case *Join:
		return joinText(n)
	case *Sort:
		return "Sort by " + sortText(n.Keys)
	case *Limit:
		return fmt.Sprintf("Limit %d offset %d", n.N, n.Offset)
	case *Single:
		return "Single row"
	case *Distinct:
		return "Distinct"
	case *Union:
		return "Union all"
	case *SetOp:
		return fmt.Sprintf("Set operation (except %t, all %t)", n.Except, n.All)
	case *Analytic:
		var calls []string
		for _, c := range n.Calls {
			calls = append(calls, fmt.Sprintf("%s(%s)", c.Name, exprTexts(c.Args)))
		}
		return "Analytic " + strings.Join(calls, ", ") + " over (" + exprTexts(n.Partition) + " order by " + sortText(n.Order) + ")"
	case *KeyedState:
		return "State " + stateCallTexts(n)
	case *Values:
		return fmt.Sprintf("Values, %d rows", len(n.Rows))
	case *Recursive:
		return fmt.Sprintf("Recursive, at most %d steps", n.MaxLevel)
	case *StepRows:
		return "Rows of the step before"
	}
	return fmt.Sprintf("%T", n)
}

func projectText(n *Project) string {
	var out []string
	for i, e := range n.Exprs {
		out = append(out, n.Out.Fields[i].Name+" = "+e.String())
	}
	return strings.Join(out, ", ")
}

func assignText(n *TimeAssign) string {
	if n.Kind == SessionWindow {
		return "Session " + n.Time.String() + " gap " + n.Gap.String()
	}
	s := "Window " + n.Time.String() + " of " + micros(n.Size)
	if n.Slide != n.Size {
		s += " every " + micros(n.Slide)
	}
	if n.Start != 0 {
		s += " from " + micros(n.Start)
	}
	return s
}

var joinNames = map[JoinKind]string{Inner: "Inner", Left: "Left", Right: "Right", Full: "Full", Semi: "Semi", Anti: "Anti",
	Cross: "Cross", LeftSingle: "Left single", Mark: "Mark"}

func joinText(n *Join) string {
	s := joinNames[n.Kind] + " join"
	for i := range n.LeftKeys {
		s += " " + n.LeftKeys[i].String() + " = " + n.RightKeys[i].String()
	}
	if n.Cond != nil {
		s += " if " + n.Cond.String()
	}
	for i, p := range n.Params {
		s += [...]string{" for each ", ", "}[min(i, 1)] + p.Var.String()
	}
	return s
}

func sortText(keys []SortKey) string {
	var out []string
	for _, k := range keys {
		out = append(out, k.Expr.String()+direction(k))
	}
	return strings.Join(out, ", ")
}

// Canonical is the text of an operator and everything below it; equal texts compute the same.
func Canonical(n Node) string {
	s := describe(n)
	if sc, ok := n.(*Scan); ok {
		s = "Scan " + sc.Table // which columns are read does not change the state above
	}
	for _, in := range n.Inputs() {
		s += "\n(" + Canonical(in) + ")"
	}
	return s
}

// OperatorID names an operator for as long as its query computes the same thing.
func OperatorID(n Node) string {
	h := fnv.New64a()
	h.Write([]byte(Canonical(n)))
	return fmt.Sprintf("%016x", h.Sum64())
}
