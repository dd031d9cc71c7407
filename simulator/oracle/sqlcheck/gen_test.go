package sqlcheck

import (
	"fmt"
	"math/rand"
	"strings"
)

// both is the same text for the engine and for SQLite, where they spell it differently.
type both struct{ ours, lite string }

func same(s string) both { return both{s, s} }

// f puts parts into a text, each where %s stands; a part's own % mean nothing.
func f(format string, parts ...both) both {
	var out both
	for _, p := range parts {
		before, after, found := strings.Cut(format, "%s")
		if !found {
			panic("more parts than places: " + format)
		}
		out, format = both{out.ours + before + p.ours, out.lite + before + p.lite}, after
	}
	return both{out.ours + format, out.lite + format}
}

func list(sep string, parts []both) both {
	var a, b []string
	for _, p := range parts {
		a, b = append(a, p.ours), append(b, p.lite)
	}
	return both{strings.Join(a, sep), strings.Join(b, sep)}
}

// gen makes random queries over t(a BIGINT, b BIGINT, c STRING, d STRING) and
// u(a BIGINT, e BIGINT, c STRING). Every value is small, so that nothing overflows.
type gen struct {
	r    *rand.Rand
	ints []string // columns in scope
	strs []string
	sub  int // nesting of sub-queries
}

func (g *gen) n(n int) int             { return g.r.Intn(n) }
func (g *gen) pick(s ...string) string { return s[g.n(len(s))] }
func (g *gen) scope(tables ...string) *gen {
	out := &gen{r: g.r, sub: g.sub}
	for _, t := range tables {
		switch t[0] {
		case 't':
			out.ints = append(out.ints, t+".a", t+".b")
			out.strs = append(out.strs, t+".c", t+".d")
		case 'u':
			out.ints = append(out.ints, t+".a", t+".e")
			out.strs = append(out.strs, t+".c")
		}
	}
	return out
}

func (g *gen) integer(depth int) both {
	if depth == 0 || g.n(4) == 0 {
		switch g.n(5) {
		case 0:
			return same(fmt.Sprintf("(%d)", g.n(13)-6))
		case 1:
			if g.n(6) == 0 {
				return both{"CAST(NULL AS BIGINT)", "NULL"}
			}
		}
		return same(g.pick(g.ints...))
	}
	x, y := g.integer(depth-1), g.integer(depth-1)
	switch g.n(11) {
	case 0, 1, 2:
		return f("(%s "+g.pick("+", "-", "*")+" %s)", x, y)
	case 3:
		return both{f("(%s div NULLIF(%s, 0))", x, y).ours, f("(%s / NULLIF(%s, 0))", x, y).lite}
	case 4:
		return f("(%s % NULLIF(%s, 0))", x, y)
	case 5:
		return f("COALESCE(%s, %s)", x, y)
	case 6:
		return f("(CASE WHEN %s THEN %s WHEN %s THEN %s ELSE %s END)", g.boolean(depth-1), x, g.boolean(depth-1), y, g.integer(depth-1))
	case 7:
		return f("abs(%s)", x)
	case 8:
		return f("length(%s)", g.text(depth-1))
	case 9:
		return f("(CASE %s WHEN %s THEN %s END)", x, y, g.integer(depth-1))
	}
	return f("(-%s)", x)
}

func (g *gen) text(depth int) both {
	if depth == 0 || g.n(3) == 0 {
		if g.n(4) == 0 {
			return same("'" + g.pick("", "a", "ab", "Ab", "b_", "x%y", "zz") + "'")
		}
		return same(g.pick(g.strs...))
	}
	x := g.text(depth - 1)
	switch g.n(7) {
	case 0:
		return f("(%s || %s)", x, g.text(depth-1))
	case 1:
		return f(g.pick("upper", "lower", "trim", "ltrim", "rtrim")+"(%s)", x)
	case 2:
		return f("substr(%s, "+g.pick("1", "2", "3")+", "+g.pick("0", "1", "2")+")", x)
	case 3:
		return f("COALESCE(%s, %s)", x, g.text(depth-1))
	case 4:
		return f("(CASE WHEN %s THEN %s ELSE %s END)", g.boolean(depth-1), x, g.text(depth-1))
	case 5:
		return f("replace(%s, 'a', 'q')", x)
	}
	return f("NULLIF(%s, %s)", x, g.text(depth-1))
}

func (g *gen) boolean(depth int) both {
	if depth <= 0 {
		return f("(%s "+g.pick("=", "<>", "<", "<=", ">", ">=")+" %s)", g.integer(0), g.integer(0))
	}
	x, y := g.integer(depth-1), g.integer(depth-1)
	switch g.n(12) {
	case 0, 1:
		return f("(%s "+g.pick("AND", "OR")+" %s)", g.boolean(depth-1), g.boolean(depth-1))
	case 2:
		return f("(NOT %s)", g.boolean(depth-1))
	case 3:
		return f("(%s "+g.pick("IS NULL", "IS NOT NULL")+")", g.value(depth-1))
	case 4:
		return f("(%s "+g.pick("BETWEEN", "NOT BETWEEN")+" %s AND %s)", x, y, g.integer(depth-1))
	case 5:
		return f("(%s "+g.pick("IN", "NOT IN")+" (%s, %s, %s))", x, y, g.integer(0), g.integer(0))
	case 6:
		return f("(%s "+g.pick("LIKE", "NOT LIKE")+" '"+g.pick("a%", "%b", "_", "%a%", "A%", "", "%", "__%")+"')", g.text(depth-1))
	case 7:
		return f("(%s "+g.pick("=", "<>", "<", "<=", ">", ">=")+" %s)", g.text(depth-1), g.text(depth-1))
	case 8:
		return f("(%s "+g.pick("IS DISTINCT FROM", "IS NOT DISTINCT FROM")+" %s)", x, y)
	case 9:
		return f("(%s "+g.pick("IN", "NOT IN")+" ('a', 'ab', %s))", g.text(depth-1), g.text(0))
	}
	return f("(%s "+g.pick("=", "<>", "<", "<=", ">", ">=")+" %s)", x, y)
}

func (g *gen) value(depth int) both {
	switch g.n(5) {
	case 0, 1:
		return g.text(depth)
	case 2:
		return g.boolean(depth)
	}
	return g.integer(depth)
}

// condition is a WHERE or ON condition, perhaps with a sub-query.
func (g *gen) condition() both {
	c := g.boolean(2)
	if g.sub > 0 || g.n(4) > 0 {
		return c
	}
	inner := g.scope("u9")
	inner.sub = 1
	outer := g.pick(g.ints...)
	var q both
	switch g.n(4) {
	case 0:
		q = f(g.pick("", "NOT ")+"EXISTS (SELECT 1 FROM u u9 WHERE u9.a = "+outer+" AND %s)", inner.boolean(1))
	case 1:
		q = f(outer+g.pick(" IN", " NOT IN")+" (SELECT u9.e FROM u u9 WHERE %s)", inner.boolean(1))
	case 2:
		q = f("(%s "+g.pick("<", ">=")+" (SELECT "+g.pick("max(u9.e)", "count(*)", "sum(u9.e)")+" FROM u u9 WHERE u9.a = "+outer+"))", g.integer(1))
	default:
		q = f("(%s "+g.pick("=", "<>")+" (SELECT "+g.pick("min(u9.e)", "count(u9.e)")+" FROM u u9 WHERE %s))", g.integer(1), inner.boolean(1))
	}
	return f("(%s "+g.pick("AND", "OR")+" %s)", q, c)
}

// query is a whole SELECT; ordered says whether its rows have an order.
func (g *gen) query() (q both, ordered bool) {
	switch g.n(12) {
	case 0:
		return g.setOp(), false
	case 1:
		return g.cte(), false
	case 2:
		return g.analytic(), false
	}
	q, width := g.body()
	if g.n(3) > 0 {
		return q, false
	}
	var keys []string
	for i := range width {
		keys = append(keys, fmt.Sprintf("%d%s", i+1, g.pick("", " DESC", " ASC", " NULLS LAST", " DESC NULLS FIRST")))
	}
	g.r.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	q = f("%s ORDER BY "+strings.Join(keys, ", "), q)
	if g.n(2) == 0 {
		q = f("%s LIMIT "+g.pick("0", "1", "3", "7"), q)
		if g.n(3) == 0 {
			q = f("%s OFFSET "+g.pick("0", "2"), q)
		}
	}
	return q, true
}

// body is a SELECT without ORDER BY and the number of its columns.
func (g *gen) body() (both, int) {
	from, in := g.from()
	where := same("")
	if g.n(2) == 0 {
		where = f(" WHERE %s", in.condition())
	}
	if g.n(5) < 2 {
		return in.grouped(from, where)
	}
	var items []both
	for i := range 1 + g.n(4) {
		items = append(items, f("%s AS v"+fmt.Sprint(i), in.value(3)))
	}
	distinct := g.pick("", "", "", "DISTINCT ")
	return f("SELECT "+distinct+"%s FROM %s%s", list(", ", items), from, where), len(items)
}

func (g *gen) from() (both, *gen) {
	switch g.n(6) {
	case 0:
		in := g.scope("t1", "u1")
		kind := g.pick("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")
		return f("t t1 "+kind+" u u1 ON t1.a = u1.a AND %s", in.boolean(1)), in
	case 1:
		in := g.scope("t1", "u1")
		return same("t t1 CROSS JOIN u u1"), in
	case 2:
		in := g.scope("t1", "t2")
		return same("t t1 " + g.pick("JOIN", "LEFT JOIN") + " t t2 ON t1.b = t2.a"), in
	case 3:
		inner := g.scope("t2")
		return f("(SELECT t2.a AS a, %s AS b, %s AS c, t2.d AS d FROM t t2 WHERE %s) t1", inner.integer(2), inner.text(1), inner.boolean(2)), g.scope("t1")
	}
	return same("t t1"), g.scope("t1")
}

// grouped makes a GROUP BY over one or two keys, or over all rows.
func (g *gen) grouped(from, where both) (both, int) {
	var keys, items []both
	for range g.n(3) {
		k := same(g.pick(append(append([]string{}, g.ints...), g.strs...)...))
		if g.n(4) == 0 {
			k = f("("+g.pick(g.ints...)+" % %s)", same("3"))
		}
		keys = append(keys, k)
		items = append(items, f("%s AS k"+fmt.Sprint(len(keys)), k))
	}
	for i := range 1 + g.n(3) {
		items = append(items, f("%s AS g"+fmt.Sprint(i), g.aggregate()))
	}
	q := f("SELECT %s FROM %s%s", list(", ", items), from, where)
	if len(keys) > 0 {
		q = f("%s GROUP BY %s", q, list(", ", keys))
		if g.n(3) == 0 {
			q = f("%s HAVING %s "+g.pick(">", "<=", "<>")+" %s", q, g.intAggregate(), same(fmt.Sprint(g.n(4))))
		}
	}
	return q, len(items)
}

func (g *gen) intAggregate() both {
	a := f(g.pick("sum", "count", "min", "max")+"("+g.pick("", "", "DISTINCT ")+"%s)", g.integer(2))
	if g.n(4) == 0 {
		a = same("count(*)")
	}
	if g.n(5) == 0 {
		a = f("%s FILTER (WHERE %s)", a, g.boolean(1))
	}
	return a
}

func (g *gen) aggregate() both {
	switch g.n(6) {
	case 0:
		return f(g.pick("min", "max")+"(%s)", g.text(1))
	case 1:
		return f("avg(%s)", g.integer(2))
	case 2:
		return f("(%s + %s)", g.intAggregate(), g.intAggregate())
	}
	return g.intAggregate()
}

// setOp combines SELECTs of two columns of the same types.
func (g *gen) setOp() both {
	part := func() both {
		in := g.scope("t1")
		q := f("SELECT %s AS x, %s AS y FROM t t1", in.integer(2), in.text(1))
		if g.n(2) == 0 {
			q = f("%s WHERE %s", q, in.boolean(2))
		}
		return q
	}
	return f("SELECT x, y FROM (%s "+g.pick("UNION ALL", "UNION", "INTERSECT", "EXCEPT")+" %s) s", part(), part())
}

func (g *gen) cte() both {
	in := g.scope("t1")
	n := &gen{r: g.r, ints: []string{"w1.a", "w1.n", "w2.n"}, strs: []string{"w1.c"}}
	return f("WITH w AS (SELECT t1.a AS a, t1.c AS c, count(*) AS n FROM t t1 WHERE %s GROUP BY t1.a, t1.c) SELECT %s AS p, w1.c AS q FROM w w1 "+g.pick("JOIN", "LEFT JOIN")+" w w2 ON w1.a = w2.a WHERE %s",
		in.boolean(2), n.integer(2), n.boolean(1))
}

// analytic uses functions whose answer does not depend on the order of equal rows.
func (g *gen) analytic() both {
	in := g.scope("t1")
	fn := g.pick("sum(t1.b)", "count(t1.b)", "min(t1.b)", "max(t1.c)", "rank()", "dense_rank()", "avg(t1.b)", "count(*)")
	over := "PARTITION BY t1.c ORDER BY t1.a" + g.pick("", " DESC")
	if !strings.Contains(fn, "rank") && g.n(3) == 0 {
		over = "PARTITION BY t1.c"
	}
	return f("SELECT t1.a AS a, t1.b AS b, t1.c AS c, "+fn+" OVER ("+over+") AS w FROM t t1 WHERE %s", in.boolean(1))
}
