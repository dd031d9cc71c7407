package plan

import "signalbox/engine/sql"

// Told says how often a relation tells a row.
type Told uint8

// The ways of telling rows.
const (
	Once    Told = iota
	Revised      // late readings revise a row that was told (allowed_lateness)
	Updated      // a row is told again whenever it changes (mode update and complete)
)

// Counted calls f for every scan of a continuous query whose rows an operator
// above it adds up or remembers, with the nearest such operator. A row that is
// told again would be one more row to it.
func Counted(root Node, f func(s *Scan, by Node)) {
	var walk func(n, by Node)
	walk = func(n, by Node) {
		if s, ok := n.(*Scan); ok && s.Stream && by != nil {
			f(s, by)
		}
		if counts(n) {
			by = n
		}
		for _, in := range n.Inputs() {
			walk(in, by)
		}
	}
	walk(root, nil)
}

func counts(n Node) bool {
	switch n := n.(type) {
	case *Aggregate, *Dedup, *Distinct, *KeyedState, *Limit:
		return true
	case *Join:
		return isStreaming(n.Left) && isStreaming(n.Right)
	}
	return false
}

// checkCounted refuses to count the rows of a table that tells them again with every change.
func checkCounted(q *Query, pos map[Node]sql.Pos) (err error) {
	Counted(q.Root, func(s *Scan, by Node) {
		if err == nil && s.Told == Updated {
			err = fail(pos[s], "UPDATED_ROWS_COUNT_AGAIN", "0A000", "%s tells a row again with every change (mode update or complete), and %s would count it each time; "+
				"read the stream that %s is made of (a total over latest values: SELECT sum(x) FROM (SELECT key, max_by(x, time) AS x FROM STREAM … GROUP BY key)), or give %s mode append; filters, projections and alert rules over it are possible",
				s.Table, operatorName(by), s.Table, s.Table)
		}
	})
	return err
}

func operatorName(n Node) string {
	switch n.(type) {
	case *Dedup, *Distinct:
		return "DEDUP or DISTINCT"
	case *KeyedState:
		return "a function with state"
	case *Limit:
		return "LIMIT"
	case *Join:
		return "a join of streams"
	}
	return "an aggregation"
}

// TellsAgain is how a continuous query tells its own rows. lateness is its allowed_lateness in µs.
func TellsAgain(q *Query, lateness int64) Told {
	told := Once
	if len(aggregates(q.Root)) > 0 {
		switch {
		case q.Mode != Append:
			told = Updated
		case lateness > 0:
			told = Revised
		}
	}
	counted := map[*Scan]bool{}
	Counted(q.Root, func(s *Scan, _ Node) { counted[s] = true })
	each(q.Root, func(n Node) { // what only passes rows on passes on that they are told again
		if s, ok := n.(*Scan); ok && s.Stream && !counted[s] {
			told = max(told, s.Told)
		}
	})
	return told
}
