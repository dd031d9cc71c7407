package plan

import (
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// timeBound reads from a join's condition how far apart the event times of a match can be.
func timeBound(n *Join, leftWidth int) *TimeBound {
	if n.LeftTime < 0 || n.RightTime < 0 {
		return nil
	}
	t := &TimeBound{}
	for i := range n.LeftKeys {
		l, lo, lok := offsetOf(n.LeftKeys[i])
		r, ro, rok := offsetOf(n.RightKeys[i])
		if lok && rok && l == n.LeftTime && r == n.RightTime {
			t.atLeast(lo - ro) // left + lo = right + ro
			t.atMost(lo - ro)
		}
	}
	t.read(n.Cond, n.LeftTime, n.RightTime+leftWidth)
	if !t.HasLo && !t.HasHi {
		return nil
	}
	return t
}

// boundOf is n.Bound; where only one stream has event time, what the condition says about it and a time of the other.
// Spark takes such an outer join, but forgets nothing and so never tells the rows without a match.
func boundOf(n *Join) *TimeBound {
	if n.Bound != nil || (n.LeftTime < 0) == (n.RightTime < 0) {
		return n.Bound
	}
	guess, width := *n, len(n.Left.Schema().Fields)
	each := func(l, r expr.Expr) {
		i, _, lok := offsetOf(l)
		j, _, rok := offsetOf(r)
		if i, j = min(i, j), max(i, j)-width; !lok || !rok || i >= width || j < 0 || !isTimestamp(n.Left.Schema().Fields[i].Type) || !isTimestamp(n.Right.Schema().Fields[j].Type) {
			return
		}
		if j == n.RightTime || i == n.LeftTime {
			guess.LeftTime, guess.RightTime = i, j
		}
	}
	for i := range n.LeftKeys {
		each(n.LeftKeys[i], shifted(n.RightKeys[i], width))
	}
	if n.Cond != nil {
		for _, c := range splitAnd(n.Cond) {
			if op, args := operatorOf(c); flipped[op] != "" {
				each(args[0], args[1])
			}
		}
	}
	return timeBound(&guess, width)
}

func (t *TimeBound) atLeast(v int64) {
	if !t.HasLo || v > t.Lo {
		t.Lo, t.HasLo = v, true
	}
}

func (t *TimeBound) atMost(v int64) {
	if !t.HasHi || v < t.Hi {
		t.Hi, t.HasHi = v, true
	}
}

// read takes the comparisons of the two times out of a condition.
func (t *TimeBound) read(cond expr.Expr, left, right int) {
	if cond == nil {
		return
	}
	op, args := operatorOf(cond)
	if op == "and" {
		for _, c := range args {
			t.read(c, left, right)
		}
		return
	}
	if len(args) != 2 {
		return
	}
	a, ao, aok := offsetOf(args[0])
	b, bo, bok := offsetOf(args[1])
	if !aok || !bok {
		return
	}
	switch {
	case a == right && b == left:
	case a == left && b == right:
		ao, bo, op = bo, ao, flipped[op]
	default:
		return
	}
	// Now: right + ao op left + bo, so right - left op bo - ao.
	d := bo - ao
	switch op {
	case "=":
		t.atLeast(d)
		t.atMost(d)
	case ">=":
		t.atLeast(d)
	case ">":
		t.atLeast(d + 1)
	case "<=":
		t.atMost(d)
	case "<":
		t.atMost(d - 1)
	}
}

var flipped = map[string]string{"=": "=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}

// offsetOf reads column, column + interval and column - interval: the ordinal and the offset in µs.
func offsetOf(e expr.Expr) (ordinal int, offset int64, ok bool) {
	if i, ok := columnOrdinal(e); ok {
		return i, 0, true
	}
	op, args := operatorOf(e)
	if len(args) != 2 || op != "+" && op != "-" {
		return 0, 0, false
	}
	if _, _, ok := offsetOf(args[0]); !ok && op == "+" {
		args = []expr.Expr{args[1], args[0]}
	}
	i, base, ok := offsetOf(args[0])
	if !ok || args[1].Type().Kind != column.IntervalDT || !isConstant(args[1]) {
		return 0, 0, false
	}
	d, err := constant(args[1])
	if err != nil || d.Null {
		return 0, 0, false
	}
	if op == "-" {
		return i, base - d.I, true
	}
	return i, base + d.I, true
}

// operatorOf takes an infix expression apart; op is "" for everything else.
func operatorOf(e expr.Expr) (op string, args []expr.Expr) {
	args = e.Children()
	if len(args) != 2 {
		return "", nil
	}
	s, ok := strings.CutPrefix(e.String(), "("+args[0].String()+" ")
	if !ok {
		return "", nil
	}
	op, ok = strings.CutSuffix(s, " "+args[1].String()+")")
	if !ok {
		return "", nil
	}
	return strings.ToLower(op), args
}
