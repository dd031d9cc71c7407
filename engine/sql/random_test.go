package sql

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"signalbox/engine/column"
)

// generator makes random trees that the parser could have made.
type generator struct{ *rand.Rand }

func (g generator) name() string {
	names := [...]string{"a", "b", "Time", "end", "select", "from", "weird `name`", "day", "all", "x", "left", "not", "null", "日本", "1st", "interval", "first"}
	return names[g.IntN(len(names))]
}

func (g generator) list(depth, least int) []Expr {
	out := make([]Expr, least+g.IntN(3))
	for i := range out {
		out[i] = g.expr(depth)
	}
	return out
}

func (g generator) leaf() Expr {
	switch g.IntN(12) {
	case 0:
		return &Literal{Kind: LitNull}
	case 1:
		return &Literal{Kind: LitString, Text: [...]string{"", "it's", `a\b%`, "line\nend", `\%`, "é\x00", `"`}[g.IntN(7)]}
	case 2:
		return &Literal{Kind: LitInt, Text: [...]string{"0", "-1", "2147483647", "-2147483648"}[g.IntN(4)]}
	case 3:
		return &Literal{Kind: LitBigInt, Text: [...]string{"9223372036854775807", "-9223372036854775808", "5"}[g.IntN(3)]}
	case 4:
		return &Literal{Kind: LitDecimal, Text: [...]string{"0.50", "-1.5", "99999999999999999999", "0.001"}[g.IntN(4)]}
	case 5:
		return &Literal{Kind: LitDouble, Text: [...]string{"1e3", "-2.5", ".5", "1E-300"}[g.IntN(4)]}
	case 6:
		return &Literal{Kind: LitTimestamp, Text: "2024-01-01 00:00:00"}
	case 7:
		return &Interval{Micros: g.Int64N(200)*microsPerHour - 100*microsPerHour + g.Int64N(microsPerSecond), From: "DAY", To: "SECOND"}
	case 8:
		return &Interval{YearMonth: true, Months: g.Int64N(100) - 50, From: "YEAR", To: "MONTH"}
	case 9:
		return &Ident{Parts: []string{g.name(), g.name()}}
	}
	return &Ident{Parts: []string{g.name()}}
}

func (g generator) expr(depth int) Expr {
	if depth <= 0 {
		return g.leaf()
	}
	depth--
	switch g.IntN(20) {
	case 0, 1, 2, 3:
		ops := [...]string{"+", "-", "*", "/", "%", "div", "||", "&", "|", "^", "<<", ">>>", "=", "<=>", "<>", "<", "and", "or", "and", "or"}
		return &Binary{Op: ops[g.IntN(len(ops))], L: g.expr(depth), R: g.expr(depth)}
	case 4, 5:
		return &Unary{Op: [...]string{"-", "+", "~", "not"}[g.IntN(4)], X: g.expr(depth)}
	case 6:
		return &IsNull{X: g.expr(depth), Not: g.IntN(2) == 0}
	case 7:
		return &IsDistinct{L: g.expr(depth), R: g.expr(depth), Not: g.IntN(2) == 0}
	case 8:
		return &Between{X: g.expr(depth), Lo: g.expr(depth), Hi: g.expr(depth), Not: g.IntN(2) == 0}
	case 9:
		return &InList{X: g.expr(depth), List: g.list(depth, 1), Not: g.IntN(2) == 0}
	case 10:
		return &Like{X: g.expr(depth), Op: [...]string{"like", "ilike", "rlike"}[g.IntN(3)], Pattern: g.expr(depth), Not: g.IntN(2) == 0}
	case 11:
		return &Case{Operand: [...]Expr{nil, g.expr(depth)}[g.IntN(2)], Whens: []When{{g.expr(depth), g.expr(depth)}}, Else: [...]Expr{nil, g.expr(depth)}[g.IntN(2)]}
	case 12:
		return &Cast{X: g.expr(depth), Type: TypeName{Type: column.ArrayOf(column.DecimalType(10, 2))}, Try: g.IntN(2) == 0}
	case 13:
		return &Row{Items: g.list(depth, 2)}
	case 14:
		return &Subscript{X: g.expr(depth), Index: g.value(depth)}
	case 15:
		return &Field{X: g.expr(depth), Name: g.name()}
	case 16:
		return &ScalarSubquery{Query: g.query(depth)}
	case 17:
		return &Exists{Query: g.query(depth)}
	case 18:
		return &InQuery{X: g.expr(depth), Query: g.query(depth)}
	}
	return g.call(depth)
}

// value is an expression that the grammar takes as the index of a subscript: no boolean operators on top.
func (g generator) value(depth int) Expr {
	for {
		if e := g.expr(depth); power(e) > precIs {
			return e
		}
	}
}

func (g generator) call(depth int) Expr {
	c := &Call{Name: [...]string{"f", "left", "if", "window", "trim", "substring", "extract", "struct", "exists", "count"}[g.IntN(10)], Args: g.list(depth, 0)}
	if g.IntN(4) == 0 {
		c.Args = append(c.Args, &Lambda{Params: []string{"p", "q"}[:1+g.IntN(2)], Body: g.expr(depth)})
	}
	if g.IntN(4) == 0 {
		c.Filter = g.expr(depth)
	}
	if g.IntN(4) == 0 {
		c.Over = &WindowSpec{Partition: g.list(depth, 0), Order: []SortItem{{Expr: g.expr(depth), Desc: g.IntN(2) == 0, NullsFirst: g.IntN(2) == 0}},
			Frame: &Frame{Rows: g.IntN(2) == 0, Start: Bound{Kind: Preceding, Offset: g.value(depth)}, End: Bound{Kind: UnboundedFollowing}}}
	}
	return c
}

func (g generator) query(depth int) *Query {
	s := &Select{Distinct: g.IntN(2) == 0, Items: []SelectItem{{Expr: g.expr(depth), Alias: g.name()}, {Expr: &Star{}}}}
	s.From = g.relation(depth)
	if g.IntN(2) == 0 {
		s.Where = g.expr(depth)
	}
	if g.IntN(3) == 0 {
		s.GroupBy = &GroupBy{Exprs: g.list(depth, 1)}
	}
	q := &Query{Body: s}
	if g.IntN(3) == 0 {
		q.Body = &SetOp{Kind: Union, All: true, Left: s, Right: &Values{Rows: [][]Expr{g.list(depth, 2)}}}
	}
	if g.IntN(3) == 0 {
		q.With = []CTE{{Name: g.name(), Query: &Query{Body: &Select{Items: []SelectItem{{Expr: g.expr(depth)}}}}}}
	}
	if g.IntN(3) == 0 {
		q.Limit = g.expr(depth)
	}
	return q
}

func (g generator) relation(depth int) Relation {
	t := &Table{Name: g.name(), Stream: g.IntN(2) == 0}
	if g.IntN(3) == 0 {
		t.Alias = &TableAlias{Name: g.name(), Columns: []string{g.name()}}
	}
	if g.IntN(4) == 0 {
		t.Watermark = &Watermark{Expr: g.expr(depth), Alias: g.name(), Delay: &Interval{Micros: microsPerSecond, From: "SECOND", To: "SECOND"}}
	}
	if g.IntN(4) == 0 {
		t.Dedup = &Dedup{Keys: []string{g.name()}, Within: g.IntN(2) == 0}
	}
	if depth <= 0 {
		return t
	}
	switch g.IntN(4) {
	case 0:
		return &Join{Left: t, Right: g.relation(0), Kind: LeftJoin, On: g.expr(depth)}
	case 1:
		return &Subquery{Query: g.query(depth - 1)}
	case 2:
		return &ParenRelation{Rel: t}
	}
	return t
}

// shape writes the nodes of a tree in order, each with its number of children: equal shapes are equal groupings.
func shape(n Node) string {
	var b strings.Builder
	Walk(n, func(n Node) bool {
		fmt.Fprintf(&b, "%T%d ", n, len(Children(n)))
		return true
	})
	return b.String()
}

// TestRandomTrees prints random trees and parses them: parentheses, quotes and signs must bring back the same tree.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(2000) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		q := g.query(1 + g.IntN(3))
		out := Format(q)
		got, err := ParseSelect(out)
		if err != nil {
			t.Fatalf("seed %d: %s\n%v", seed, out, err)
		}
		if again := Format(got); again != out {
			at := 0
			for at < min(len(out), len(again)) && out[at] == again[at] {
				at++
			}
			from := max(at-60, 0)
			t.Fatalf("seed %d: printed as\n…%s\nthen as\n…%s", seed, out[from:min(at+60, len(out))], again[from:min(at+60, len(again))])
		}
		if a, b := shape(q), shape(got); a != b {
			t.Fatalf("seed %d: %s\nhas the shape\n%s\nand parses as\n%s", seed, out, a, b)
		}
		if seed%40 == 0 {
			if d := sameTree(q, got); d != "" {
				t.Fatalf("seed %d: %s\n%s", seed, out, d)
			}
		}
	}
}
