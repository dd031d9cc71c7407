package sql

// Expr is an expression of the syntax tree.
type Expr interface {
	Position() Pos
	expr()
}

// Ident is a name, perhaps dotted: a, t.a, t.a.b. Whether a part is a table,
// a column or a struct field is for the analyser. Parts are as written (names compare without case).
type Ident struct {
	Pos
	Parts []string
}

// Star is * or t.*, with EXCEPT (cols) removed.
type Star struct {
	Pos
	Qualifier []string
	Except    [][]string
}

// LitKind is the kind of a literal.
type LitKind uint8

// The kinds of literal.
const (
	LitNull         LitKind = iota
	LitBool                 // Text is "true" or "false"
	LitString               // Text is the value, escapes resolved
	LitTinyInt              // 1Y; Text is decimal, with "-" when negative; in range
	LitSmallInt             // 1S
	LitInt                  // 1
	LitBigInt               // 1L, or too big for INT
	LitDecimal              // 1.5, 1BD, or too big for BIGINT; Text is plain digits with at most one point; see Literal.Decimal
	LitDouble               // 1e3, 1D; Text is what strconv.ParseFloat reads
	LitFloat                // 1F; parse with 32 bits
	LitBinary               // X'1F'; Text is the bytes
	LitDate                 // DATE'…'; Text is the inside: when it is no date, the analyser reports phase parse, INVALID_TYPED_LITERAL, 42604
	LitTimestamp            // TIMESTAMP'…' or TIMESTAMP_LTZ'…'
	LitTimestampNTZ         // TIMESTAMP_NTZ'…'
)

// Literal is a constant. A minus directly before a number belongs to it, as in Spark: -9223372036854775808 is a BIGINT.
type Literal struct {
	Pos
	Kind LitKind
	Text string
}

// Interval is an interval literal, already computed.
type Interval struct {
	Pos
	YearMonth bool  // true: Months counts; false: Micros counts
	Months    int64 // within int32
	Micros    int64
	// From and To are the first and last field of the type: YEAR, MONTH or DAY, HOUR, MINUTE, SECOND.
	From, To string
}

// Fields are From and To as fields of package column.
func (iv *Interval) Fields() (from, to uint8) {
	return uint8(fieldIndex(iv.From)), uint8(fieldIndex(iv.To))
}

// Unary is -x, +x, ~x or NOT x. Op is "-", "+", "~", "not".
type Unary struct {
	Pos
	Op string
	X  Expr
}

// Binary is an operator with two operands. Op is one of
// + - * / % div || & | ^ << >> >>> = <=> <> < <= > >= and or.
type Binary struct {
	Pos  // of the operator
	Op   string
	L, R Expr
}

// IsNull is x IS [NOT] NULL.
type IsNull struct {
	Pos
	X   Expr
	Not bool
}

// IsBool is x IS [NOT] TRUE | FALSE | UNKNOWN. Value is "true", "false" or "unknown".
type IsBool struct {
	Pos
	X     Expr
	Value string
	Not   bool
}

// IsDistinct is x IS [NOT] DISTINCT FROM y. (x IS NOT DISTINCT FROM y equals x <=> y.)
type IsDistinct struct {
	Pos
	L, R Expr
	Not  bool
}

// Between is x [NOT] BETWEEN lo AND hi.
type Between struct {
	Pos
	X, Lo, Hi Expr
	Not       bool
}

// InList is x [NOT] IN (a, b, …).
type InList struct {
	Pos
	X    Expr
	List []Expr
	Not  bool
}

// InQuery is x [NOT] IN (query). X may be a *Row.
type InQuery struct {
	Pos
	X     Expr
	Query *Query
	Not   bool
}

// Like is x [NOT] LIKE | ILIKE | RLIKE pattern [ESCAPE 'c'], or LIKE ANY | ALL (patterns).
type Like struct {
	Pos
	X          Expr
	Op         string // "like", "ilike", "rlike" (also REGEXP)
	Pattern    Expr   // nil with a quantifier
	Quantifier string // "", "any" (also SOME), "all"
	Patterns   []Expr
	Escape     string // one character; "" = the default backslash
	Not        bool
}

// Exists is EXISTS (query). NOT EXISTS is a Unary "not" around it.
type Exists struct {
	Pos
	Query *Query
}

// ScalarSubquery is (query) as a value.
type ScalarSubquery struct {
	Pos
	Query *Query
}

// Case is CASE [operand] WHEN … THEN … [ELSE …] END.
type Case struct {
	Pos
	Operand Expr // nil = searched
	Whens   []When
	Else    Expr // nil = NULL
}

// When is one branch of a Case.
type When struct{ Cond, Then Expr }

// Cast is CAST(x AS type), TRY_CAST(x AS type) or x::type.
type Cast struct {
	Pos
	X    Expr
	Type TypeName
	Try  bool
}

// Call is a function call, aggregates and analytic functions included. Special
// syntaxes become calls: EXTRACT(f FROM x) = extract('F', x); SUBSTRING(s FROM a FOR b) =
// substring(s, a, b); TRIM(BOTH t FROM s) = trim(t, s), LEADING ltrim, TRAILING rtrim;
// POSITION(a IN b) = position(a, b); OVERLAY = overlay(…); TIMESTAMPADD and DATEADD with
// a unit = timestampadd(Unit, n, ts); TIMESTAMPDIFF and DATEDIFF with a unit =
// timestampdiff(Unit, a, b); CURRENT_TIMESTAMP and CURRENT_DATE without parentheses = the call;
// FIRST(x IGNORE NULLS) = Nulls "ignore".
type Call struct {
	Pos
	Name     string // lower case
	Args     []Expr // count(*) has one *Star; also *Lambda, *Unit, *NamedArg, and *Alias in struct(…)
	Distinct bool
	Within   []SortItem // WITHIN GROUP (ORDER BY …)
	Filter   Expr       // FILTER (WHERE …)
	Nulls    string     // "", "ignore", "respect"
	Over     *WindowSpec
}

// Unit is the bare unit of TIMESTAMPADD and friends: YEAR, QUARTER, MONTH, WEEK, DAY, DAYOFYEAR, HOUR, MINUTE, SECOND, MILLISECOND, MICROSECOND.
type Unit struct {
	Pos
	Name string // upper case
}

// NamedArg is name => value in a call.
type NamedArg struct {
	Pos
	Name  string
	Value Expr
}

// Alias is x AS name inside struct(…) or a row.
type Alias struct {
	Pos
	X    Expr
	Name string
}

// Row is (a, b, …) with at least two items: a struct, or the left side of IN.
type Row struct {
	Pos
	Items []Expr
}

// Lambda is x -> body or (x, y) -> body.
type Lambda struct {
	Pos
	Params []string
	Body   Expr
}

// Subscript is x[index].
type Subscript struct {
	Pos
	X, Index Expr
}

// Field is x.name where x is not a plain name: window(ts, '1 minute').start.
type Field struct {
	Pos
	X    Expr
	Name string
}

// WindowSpec is OVER (…), or OVER name when only Ref is set.
type WindowSpec struct {
	Pos
	Ref       string
	Partition []Expr
	Order     []SortItem
	Frame     *Frame // nil = the default frame
}

// Frame is ROWS | RANGE BETWEEN start AND end. With only a start, End is CurrentRow.
type Frame struct {
	Pos
	Rows       bool
	Start, End Bound
}

// BoundKind is the kind of a frame bound.
type BoundKind string

// The frame bounds.
const (
	UnboundedPreceding BoundKind = "UNBOUNDED PRECEDING"
	Preceding          BoundKind = "PRECEDING"
	CurrentRow         BoundKind = "CURRENT ROW"
	Following          BoundKind = "FOLLOWING"
	UnboundedFollowing BoundKind = "UNBOUNDED FOLLOWING"
)

// Bound is one end of a frame.
type Bound struct {
	Kind   BoundKind
	Offset Expr // Preceding and Following
}

func (*Ident) expr()          {}
func (*Star) expr()           {}
func (*Literal) expr()        {}
func (*Interval) expr()       {}
func (*Unary) expr()          {}
func (*Binary) expr()         {}
func (*IsNull) expr()         {}
func (*IsBool) expr()         {}
func (*IsDistinct) expr()     {}
func (*Between) expr()        {}
func (*InList) expr()         {}
func (*InQuery) expr()        {}
func (*Like) expr()           {}
func (*Exists) expr()         {}
func (*ScalarSubquery) expr() {}
func (*Case) expr()           {}
func (*Cast) expr()           {}
func (*Call) expr()           {}
func (*Unit) expr()           {}
func (*NamedArg) expr()       {}
func (*Alias) expr()          {}
func (*Row) expr()            {}
func (*Lambda) expr()         {}
func (*Subscript) expr()      {}
func (*Field) expr()          {}
