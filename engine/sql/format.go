package sql

import (
	"fmt"
	"strconv"
	"strings"

	"signalbox/engine/column"
)

// Format writes a statement, query, relation or expression canonically: on one
// line, keywords in capitals, names quoted where they must be. Parsing it again
// gives the same tree.
func Format(n Node) string {
	var w writer
	switch n := n.(type) {
	case Expr:
		w.expr(n, 0)
	case *Query:
		w.query(n)
	case Statement:
		w.statement(n)
	case Body:
		w.body(n)
	case Relation:
		w.relation(n)
	}
	return w.String()
}

type writer struct{ strings.Builder }

func (w *writer) put(parts ...string) {
	for _, s := range parts {
		w.WriteString(s)
	}
}

// list writes n items separated by commas.
func (w *writer) list(n int, item func(int)) {
	for i := range n {
		if i > 0 {
			w.put(", ")
		}
		item(i)
	}
}

func (w *writer) exprs(list []Expr) {
	w.list(len(list), func(i int) { w.expr(list[i], 0) })
}

func (w *writer) names(list []string) {
	w.put("(")
	w.list(len(list), func(i int) { w.put(QuoteName(list[i])) })
	w.put(")")
}

// QuoteName writes an identifier, in backquotes where it needs them.
func QuoteName(s string) string {
	plain := s != "" && !isDigit(s[0])
	for i := 0; plain && i < len(s); i++ {
		plain = isWordByte(s[i])
	}
	if plain && !has(clauseWords, s) && !has(quotedWords, s) {
		return s
	}
	return "`" + strings.ReplaceAll(s, "`", "``") + "`"
}

// QuoteString writes a string literal.
func QuoteString(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", `\'`) + "'"
}

func (w *writer) statement(st Statement) {
	switch st := st.(type) {
	case *CreateStream:
		w.put("CREATE STREAM ", QuoteName(st.Name))
		w.columns(st.Columns)
		w.options(st.Options)
	case *CreateTable:
		w.put("CREATE TABLE ", QuoteName(st.Name))
		w.columns(st.Columns)
		w.options(st.Options)
	case *CreateStreamingTable:
		w.put("CREATE STREAMING TABLE ", QuoteName(st.Name))
		w.options(st.Options)
		w.put(" AS ")
		w.query(st.Query)
	case *Drop:
		w.put("DROP ", string(st.Kind), " ", QuoteName(st.Name))
	case *SelectStatement:
		w.query(st.Query)
	}
}

func (w *writer) columns(cols []ColumnDef) {
	w.put(" (")
	w.list(len(cols), func(i int) { w.put(QuoteName(cols[i].Name), " ", FormatType(cols[i].Type)) })
	w.put(")")
}

func (w *writer) options(opts []Option) {
	if len(opts) == 0 {
		return
	}
	w.put(" OPTIONS (")
	w.list(len(opts), func(i int) { w.put(QuoteName(opts[i].Key), " ", QuoteString(opts[i].Value)) })
	w.put(")")
}

// FormatType writes a data type as CREATE STREAM and CAST take it.
func FormatType(t TypeName) string {
	if t.From != "" {
		if t.From == t.To {
			return "INTERVAL " + t.From
		}
		return "INTERVAL " + t.From + " TO " + t.To
	}
	return formatType(t.Type)
}

func formatType(t column.Type) string {
	switch t.Kind {
	case column.Decimal:
		return fmt.Sprintf("DECIMAL(%d, %d)", t.Precision, t.Scale)
	case column.Array:
		return "ARRAY<" + formatType(*t.Elem) + ">"
	case column.Map:
		return "MAP<" + formatType(*t.Key) + ", " + formatType(*t.Elem) + ">"
	case column.Struct:
		if t.Equal(column.CalendarInterval()) {
			return "INTERVAL"
		}
		parts := make([]string, len(t.Fields))
		for i, f := range t.Fields {
			parts[i] = QuoteName(f.Name) + ": " + formatType(f.Type)
		}
		return "STRUCT<" + strings.Join(parts, ", ") + ">"
	}
	return strings.ToUpper(t.String())
}

func (w *writer) query(q *Query) {
	if len(q.With) > 0 {
		w.put("WITH ")
		if q.Recursive {
			w.put("RECURSIVE ")
		}
		w.list(len(q.With), func(i int) {
			c := q.With[i]
			w.put(QuoteName(c.Name))
			if len(c.Columns) > 0 {
				w.put(" ")
				w.names(c.Columns)
			}
			if c.MaxLevel > 0 {
				w.put(" MAX RECURSION LEVEL ", strconv.FormatInt(c.MaxLevel, 10))
			}
			w.put(" AS (")
			w.query(c.Query)
			w.put(")")
		})
		w.put(" ")
	}
	w.body(q.Body)
	if len(q.OrderBy) > 0 {
		w.put(" ORDER BY ")
		w.sorts(q.OrderBy)
	}
	if q.Limit != nil {
		w.put(" LIMIT ")
		w.expr(q.Limit, 0)
	}
	if q.Offset != nil {
		w.put(" OFFSET ")
		w.expr(q.Offset, 0)
	}
}

func (w *writer) body(b Body) {
	switch b := b.(type) {
	case *Select:
		w.selectBody(b)
	case *SetOp:
		w.body(b.Left)
		w.put(" ", string(b.Kind))
		if b.All {
			w.put(" ALL")
		}
		w.put(" ")
		w.body(b.Right)
	case *Values:
		w.values(b)
	case *TableBody:
		w.put("TABLE ", QuoteName(b.Name))
	case *Query:
		w.put("(")
		w.query(b)
		w.put(")")
	}
}

func (w *writer) values(v *Values) {
	w.put("VALUES ")
	w.list(len(v.Rows), func(i int) {
		w.put("(")
		w.exprs(v.Rows[i])
		w.put(")")
	})
	w.alias(v.Alias)
}

func (w *writer) selectBody(s *Select) {
	w.put("SELECT ")
	if s.Distinct {
		w.put("DISTINCT ")
	}
	w.list(len(s.Items), func(i int) { w.item(s.Items[i]) })
	if s.From != nil {
		if hasBase(s.From) {
			w.put(" FROM")
		}
		w.relation(s.From)
	}
	w.clause(" WHERE ", s.Where)
	if s.GroupBy != nil {
		w.groupBy(s.GroupBy)
	}
	w.clause(" HAVING ", s.Having)
	w.clause(" QUALIFY ", s.Qualify)
	if len(s.Windows) > 0 {
		w.put(" WINDOW ")
		w.list(len(s.Windows), func(i int) {
			w.put(QuoteName(s.Windows[i].Name), " AS ")
			w.window(s.Windows[i].Spec)
		})
	}
}

// hasBase reports whether a chain of lateral views stands on a relation.
func hasBase(r Relation) bool {
	for {
		v, ok := r.(*LateralView)
		if !ok {
			return r != nil
		}
		r = v.Input
	}
}

func (w *writer) clause(word string, e Expr) {
	if e != nil {
		w.put(word)
		w.expr(e, 0)
	}
}

func (w *writer) item(it SelectItem) {
	w.expr(it.Expr, 0)
	switch {
	case it.Alias != "":
		w.put(" AS ", QuoteName(it.Alias))
	case len(it.Aliases) > 0:
		w.put(" AS ")
		w.names(it.Aliases)
	}
}

func (w *writer) groupBy(g *GroupBy) {
	w.put(" GROUP BY ")
	if g.All {
		w.put("ALL")
		return
	}
	w.exprs(g.Exprs)
	if len(g.Exprs) > 0 && len(g.Sets) > 0 {
		w.put(", ")
	}
	w.list(len(g.Sets), func(i int) { w.groups(g.Sets[i]) })
}

func (w *writer) groups(g *Groups) {
	w.put(string(g.Kind), " (")
	w.list(len(g.Sets)+len(g.Nested), func(i int) {
		if i >= len(g.Sets) {
			w.groups(g.Nested[i-len(g.Sets)])
			return
		}
		w.put("(")
		w.exprs(g.Sets[i])
		w.put(")")
	})
	w.put(")")
}

func (w *writer) sorts(items []SortItem) {
	w.list(len(items), func(i int) {
		it := items[i]
		w.expr(it.Expr, 0)
		if it.Desc {
			w.put(" DESC")
		}
		switch {
		case it.NullsFirst && it.Desc:
			w.put(" NULLS FIRST")
		case !it.NullsFirst && !it.Desc:
			w.put(" NULLS LAST")
		}
	})
}

// relation writes r with a space before each of its words, so that a chain of lateral views may begin without a base.
func (w *writer) relation(r Relation) {
	switch r := r.(type) {
	case *Table:
		w.put(" ")
		if r.Stream {
			w.put("STREAM ")
		}
		w.put(QuoteName(r.Name))
		w.stream(r.Watermark, r.Dedup)
		w.alias(r.Alias)
	case *Subquery:
		w.lateral(r.Lateral)
		w.put(" (")
		w.query(r.Query)
		w.put(")")
		w.stream(r.Watermark, r.Dedup)
		w.alias(r.Alias)
	case *ParenRelation:
		var inner writer
		inner.relation(r.Rel)
		w.put(" (", strings.TrimPrefix(inner.String(), " "), ")")
		w.stream(r.Watermark, r.Dedup)
		w.alias(r.Alias)
	case *Values:
		w.put(" ")
		w.values(r)
	case *TableFunc:
		w.lateral(r.Lateral)
		w.put(" ")
		w.call(r.Call)
		w.stream(r.Watermark, nil)
		w.alias(r.Alias)
	case *Join:
		w.join(r)
	case *LateralView:
		w.lateralView(r)
	case *Pivot:
		w.pivot(r)
	case *Unpivot:
		w.unpivot(r)
	}
}

func (w *writer) lateral(is bool) {
	if is {
		w.put(" LATERAL")
	}
}

func (w *writer) join(j *Join) {
	w.relation(j.Left)
	if j.Comma {
		w.put(",")
		w.relation(j.Right)
		return
	}
	if j.Natural {
		w.put(" NATURAL")
	}
	w.put(" ", string(j.Kind), " JOIN")
	w.relation(j.Right)
	if len(j.Using) > 0 {
		w.put(" USING ")
		w.names(j.Using)
	}
	w.clause(" ON ", j.On)
}

func (w *writer) lateralView(v *LateralView) {
	if v.Input != nil {
		w.relation(v.Input)
	}
	w.put(" LATERAL VIEW ")
	if v.Outer {
		w.put("OUTER ")
	}
	w.call(v.Call)
	if v.Table != "" {
		w.put(" ", QuoteName(v.Table))
	}
	if len(v.Columns) > 0 {
		w.put(" AS ")
		w.list(len(v.Columns), func(i int) { w.put(QuoteName(v.Columns[i])) })
	}
}

func (w *writer) stream(m *Watermark, d *Dedup) {
	if m != nil {
		w.put(" WATERMARK ")
		w.expr(m.Expr, 0)
		if m.Alias != "" {
			w.put(" AS ", QuoteName(m.Alias))
		}
		w.put(" DELAY OF ")
		w.interval(m.Delay)
	}
	if d != nil {
		w.put(" DEDUP")
		if len(d.Keys) > 0 {
			w.put(" BY ")
			w.names(d.Keys)
		}
		if d.Within {
			w.put(" WITHIN WATERMARK")
		}
	}
}

func (w *writer) alias(a *TableAlias) {
	if a == nil {
		return
	}
	w.put(" AS ", QuoteName(a.Name))
	if len(a.Columns) > 0 {
		w.put(" ")
		w.names(a.Columns)
	}
}
