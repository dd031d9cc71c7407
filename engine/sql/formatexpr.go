package sql

import "fmt"

// Binding powers above the value operators' scale, for the printer.
const (
	precOrWord  = 1
	precAndWord = 2
	precNot     = 3
	precIs      = 4 // predicates: their operands are values
)

// power returns how tightly the top operator of e binds.
func power(e Expr) int {
	switch e := e.(type) {
	case *Binary:
		switch e.Op {
		case "or":
			return precOrWord
		case "and":
			return precAndWord
		}
		return precedence(e.Op)
	case *Unary:
		if e.Op == "not" {
			return precNot
		}
		return precUnary
	case *Exists:
		return precNot
	case *IsNull, *IsBool, *IsDistinct, *Between, *InList, *InQuery, *Like:
		return precIs
	case *Lambda, *NamedArg, *Alias:
		return 0
	}
	return precPrimary
}

// expr writes e, in parentheses when it binds looser than least.
func (w *writer) expr(e Expr, least int) {
	if power(e) < least {
		w.put("(")
		w.open(e)
		w.put(")")
		return
	}
	w.open(e)
}

// value writes an operand of a predicate; comparisons get parentheses there to be readable.
func (w *writer) value(e Expr) { w.expr(e, precCompare+1) }

func (w *writer) open(e Expr) {
	switch e := e.(type) {
	case *Binary:
		w.binary(e)
	case *Unary:
		w.unary(e)
	case *IsNull, *IsBool, *IsDistinct, *Between, *InList, *InQuery, *Like:
		w.predicate(e)
	case *Exists:
		w.put("EXISTS (")
		w.query(e.Query)
		w.put(")")
	case *ScalarSubquery:
		w.put("(")
		w.query(e.Query)
		w.put(")")
	case *Case:
		w.caseExpr(e)
	case *Cast:
		w.put(map[bool]string{false: "CAST(", true: "TRY_CAST("}[e.Try])
		w.expr(e.X, 0)
		w.put(" AS ", FormatType(e.Type), ")")
	case *Call:
		w.call(e)
	default:
		w.simple(e)
	}
}

func (w *writer) binary(e *Binary) {
	prec := power(e)
	op := e.Op
	switch op {
	case "or", "and", "div":
		op = upper(op)
	}
	w.expr(e.L, prec)
	w.put(" ", op, " ")
	w.expr(e.R, prec+1)
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' {
			b[i] = c - 32
		}
	}
	return string(b)
}

func (w *writer) unary(e *Unary) {
	if e.Op == "not" {
		w.put("NOT ")
		w.expr(e.X, precNot)
		return
	}
	w.put(e.Op)
	_, nested := e.X.(*Unary)
	lit, number := e.X.(*Literal)
	if nested || number && lit.Kind >= LitTinyInt && lit.Kind <= LitFloat {
		w.put("(")
		w.open(e.X)
		w.put(")")
		return
	}
	if w.startsNegative(e.X) {
		w.put("(")
		w.open(e.X)
		w.put(")")
		return
	}
	w.expr(e.X, precUnary)
}

// startsNegative reports whether e is written with a number in front that a minus before it would join.
func (w *writer) startsNegative(e Expr) bool {
	for {
		switch x := e.(type) {
		case *Subscript:
			e = x.X
		case *Field:
			e = x.X
		case *Literal:
			return x.Kind >= LitTinyInt && x.Kind <= LitFloat
		default:
			return false
		}
	}
}

func (w *writer) predicate(e Expr) {
	not := func(is bool) {
		if is {
			w.put(" NOT")
		}
	}
	switch e := e.(type) {
	case *IsNull:
		w.value(e.X)
		w.put(" IS")
		not(e.Not)
		w.put(" NULL")
	case *IsBool:
		w.value(e.X)
		w.put(" IS")
		not(e.Not)
		w.put(" ", upper(e.Value))
	case *IsDistinct:
		w.value(e.L)
		w.put(" IS")
		not(e.Not)
		w.put(" DISTINCT FROM ")
		w.value(e.R)
	case *Between:
		w.value(e.X)
		not(e.Not)
		w.put(" BETWEEN ")
		w.value(e.Lo)
		w.put(" AND ")
		w.value(e.Hi)
	case *InList:
		w.value(e.X)
		not(e.Not)
		w.put(" IN (")
		w.exprs(e.List)
		w.put(")")
	case *InQuery:
		w.value(e.X)
		not(e.Not)
		w.put(" IN (")
		w.query(e.Query)
		w.put(")")
	case *Like:
		w.value(e.X)
		not(e.Not)
		w.like(e)
	}
}

func (w *writer) like(e *Like) {
	w.put(" ", upper(e.Op), " ")
	if e.Quantifier != "" {
		w.put(upper(e.Quantifier), " (")
		w.exprs(e.Patterns)
		w.put(")")
		return
	}
	w.value(e.Pattern)
	if e.Escape != "" {
		w.put(" ESCAPE ", QuoteString(e.Escape))
	}
}

func (w *writer) caseExpr(e *Case) {
	w.put("CASE ")
	if e.Operand != nil {
		w.expr(e.Operand, 0)
		w.put(" ")
	}
	for _, c := range e.Whens {
		w.put("WHEN ")
		w.expr(c.Cond, 0)
		w.put(" THEN ")
		w.expr(c.Then, 0)
		w.put(" ")
	}
	if e.Else != nil {
		w.put("ELSE ")
		w.expr(e.Else, 0)
		w.put(" ")
	}
	w.put("END")
}

func (w *writer) call(c *Call) {
	w.put(functionName(c.Name), "(")
	if c.Distinct {
		w.put("DISTINCT ")
	}
	w.exprs(c.Args)
	w.put(")")
	if len(c.Within) > 0 {
		w.put(" WITHIN GROUP (ORDER BY ")
		w.sorts(c.Within)
		w.put(")")
	}
	if c.Filter != nil {
		w.put(" FILTER (WHERE ")
		w.expr(c.Filter, 0)
		w.put(")")
	}
	if c.Nulls != "" {
		w.put(" ", upper(c.Nulls), " NULLS")
	}
	if c.Over != nil {
		w.put(" OVER ")
		w.window(c.Over)
	}
}

// functionName quotes the names that would begin something else than a call.
func functionName(s string) string {
	if has(" CASE CAST TRY_CAST NOT EXISTS STREAM SELECT INTERVAL DISTINCT ALL VALUES LATERAL OUTER TABLE ", s) {
		return "`" + s + "`"
	}
	if has(clauseWords, s) || has(quotedWords, s) {
		return s
	}
	return QuoteName(s)
}

func (w *writer) window(s *WindowSpec) {
	if s.Ref != "" {
		w.put(QuoteName(s.Ref))
		return
	}
	sep := ""
	w.put("(")
	if len(s.Partition) > 0 {
		w.put("PARTITION BY ")
		w.exprs(s.Partition)
		sep = " "
	}
	if len(s.Order) > 0 {
		w.put(sep, "ORDER BY ")
		w.sorts(s.Order)
		sep = " "
	}
	if f := s.Frame; f != nil {
		w.put(sep, map[bool]string{false: "RANGE", true: "ROWS"}[f.Rows], " BETWEEN ")
		w.bound(f.Start)
		w.put(" AND ")
		w.bound(f.End)
	}
	w.put(")")
}

func (w *writer) bound(b Bound) {
	if b.Offset != nil {
		w.value(b.Offset)
		w.put(" ")
	}
	w.put(string(b.Kind))
}

// simple writes literals, names and what is made of them.
func (w *writer) simple(e Expr) {
	switch e := e.(type) {
	case *Ident:
		w.dotted(e.Parts)
	case *Star:
		w.star(e)
	case *Literal:
		w.put(formatLiteral(e))
	case *Interval:
		w.interval(e)
	case *Unit:
		w.put(e.Name)
	case *NamedArg:
		w.put(QuoteName(e.Name), " => ")
		w.expr(e.Value, 0)
	case *Alias:
		w.expr(e.X, 0)
		w.put(" AS ", QuoteName(e.Name))
	case *Row:
		w.put("(")
		w.exprs(e.Items)
		w.put(")")
	case *Lambda:
		if len(e.Params) == 1 {
			w.put(QuoteName(e.Params[0]))
		} else {
			w.names(e.Params)
		}
		w.put(" -> ")
		w.expr(e.Body, 0)
	case *Subscript:
		w.base(e.X)
		w.put("[")
		w.expr(e.Index, precIs+1)
		w.put("]")
	case *Field:
		if _, name := e.X.(*Ident); name {
			w.put("(")
			w.open(e.X)
			w.put(")")
		} else {
			w.base(e.X)
		}
		w.put(".", QuoteName(e.Name))
	}
}

// base writes what a subscript or field applies to.
func (w *writer) base(e Expr) {
	if lit, ok := e.(*Literal); ok && lit.Kind != LitString {
		w.put("(")
		w.open(e)
		w.put(")")
		return
	}
	w.expr(e, precPrimary)
}

func (w *writer) dotted(parts []string) {
	for i, s := range parts {
		if i > 0 {
			w.put(".")
		}
		w.put(QuoteName(s))
	}
}

func (w *writer) star(e *Star) {
	if len(e.Qualifier) > 0 {
		w.dotted(e.Qualifier)
		w.put(".")
	}
	w.put("*")
	if len(e.Except) > 0 {
		w.put(" EXCEPT (")
		w.list(len(e.Except), func(i int) { w.dotted(e.Except[i]) })
		w.put(")")
	}
}

func formatLiteral(l *Literal) string {
	switch l.Kind {
	case LitNull:
		return "NULL"
	case LitBool:
		return upper(l.Text)
	case LitString:
		return QuoteString(l.Text)
	case LitTinyInt:
		return l.Text + "Y"
	case LitSmallInt:
		return l.Text + "S"
	case LitBigInt:
		return l.Text + "L"
	case LitDecimal:
		return l.Text + "BD"
	case LitDouble:
		return l.Text + "D"
	case LitFloat:
		return l.Text + "F"
	case LitBinary:
		return fmt.Sprintf("X'%x'", l.Text)
	case LitDate:
		return "DATE" + QuoteString(l.Text)
	case LitTimestamp:
		return "TIMESTAMP" + QuoteString(l.Text)
	case LitTimestampNTZ:
		return "TIMESTAMP_NTZ" + QuoteString(l.Text)
	}
	return l.Text
}

// interval writes one value and unit for each of From and To, so that the type is kept too.
func (w *writer) interval(iv *Interval) {
	w.put("INTERVAL ")
	if iv.YearMonth {
		switch {
		case iv.From == iv.To && iv.From == "YEAR":
			w.put(fmt.Sprintf("%d YEARS", iv.Months/12))
		case iv.From == iv.To:
			w.put(fmt.Sprintf("%d MONTHS", iv.Months))
		default:
			w.put(fmt.Sprintf("%d YEARS %d MONTHS", iv.Months/12, iv.Months%12))
		}
		return
	}
	// The remainder of every unit but the last goes on to the next; all keep the sign of the whole.
	size := [...]int64{0, 0, microsPerDay, microsPerHour, microsPerMinute, microsPerSecond}
	rest := iv.Micros
	for f := fieldIndex(iv.From); f < fieldIndex(iv.To); f++ {
		w.put(fmt.Sprintf("%d %sS ", rest/size[f], intervalFields[f]))
		rest %= size[f]
	}
	if f := fieldIndex(iv.To); f < 5 {
		w.put(fmt.Sprintf("%d %sS", rest/size[f], iv.To))
		return
	}
	sign := ""
	if rest < 0 {
		sign = "-"
	}
	w.put(fmt.Sprintf("'%s%d.%06d' SECONDS", sign, abs(rest/microsPerSecond), abs(rest%microsPerSecond)))
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
