// Package sql turns query text into a syntax tree: the SELECT of Spark SQL 4
// (ANSI mode) and the few statements that declare streams and tables.
//
// It promises a tree or errors with line, column, what was found and what was
// expected, for any bytes and in bounded memory and stack; and that Format of a
// tree parses to the same tree. It refuses to know which names exist, what
// they mean and what type an expression has: that is engine/plan.
package sql

import "signalbox/engine/column"

// Pos is a position in the query text, 1-based; Col counts characters. The zero Pos is unknown.
type Pos struct{ Line, Col int }

// Position returns the position; every node has it by embedding Pos.
func (p Pos) Position() Pos { return p }

// Statement is one of *CreateStream, *CreateTable, *CreateStreamingTable, *Drop, *SelectStatement.
type Statement interface {
	Position() Pos
	// SQL is the text of the statement as written, without the semicolon.
	SQL() string
}

// Source is the text a statement was parsed from.
type Source struct{ Text string }

// SQL returns the text as written.
func (s Source) SQL() string { return s.Text }

// CreateStream declares a stream: CREATE STREAM name (col TYPE, …) [OPTIONS (…)].
type CreateStream struct {
	Pos
	Source
	Name    string
	Columns []ColumnDef
	Options []Option
}

// CreateTable declares a static table: CREATE TABLE name (col TYPE, …) [OPTIONS (…)].
type CreateTable struct {
	Pos
	Source
	Name    string
	Columns []ColumnDef
	Options []Option
}

// CreateStreamingTable is CREATE STREAMING TABLE name [OPTIONS (…)] AS query.
type CreateStreamingTable struct {
	Pos
	Source
	Name    string
	Options []Option
	Query   *Query
	// QueryText is the query as written, from its first to its last token.
	QueryText string
}

// DropKind says what is dropped.
type DropKind string

// What can be dropped.
const (
	DropStream         DropKind = "STREAM"
	DropTable          DropKind = "TABLE"
	DropStreamingTable DropKind = "STREAMING TABLE"
)

// Drop is DROP STREAM | TABLE | STREAMING TABLE name.
type Drop struct {
	Pos
	Source
	Kind DropKind
	Name string
}

// SelectStatement is a query on its own.
type SelectStatement struct {
	Pos
	Source
	Query *Query
}

// ColumnDef is one declared column.
type ColumnDef struct {
	Pos
	Name string
	Type TypeName
}

// Option is one entry of OPTIONS (key 'value', …). The key is lower case; the value is text.
type Option struct {
	Pos             // of the key
	Key      string // lower case; dotted keys keep their dots
	Value    string
	ValuePos Pos
}

// TypeName is a data type in a declaration or a cast.
type TypeName struct {
	Pos
	Type column.Type
	// From and To are the fields of an interval type: "YEAR","MONTH" or "DAY","HOUR","MINUTE","SECOND"; empty for other types.
	From, To string
}

// Query is a query expression: [WITH …] body [ORDER BY …] [LIMIT …] [OFFSET …].
type Query struct {
	Pos
	With []CTE
	// Recursive is WITH RECURSIVE: the expressions may refer to themselves.
	Recursive bool
	Body      Body
	OrderBy   []SortItem
	Limit     Expr // nil = none (also LIMIT ALL)
	Offset    Expr // nil = none
}

// CTE is one common table expression: name [(columns)] [MAX RECURSION LEVEL n] AS (query).
type CTE struct {
	Pos
	Name     string
	Columns  []string
	MaxLevel int64 // 0 = the default
	Query    *Query
}

// Body is one of *Select, *SetOp, *Values, *TableBody, *Query (parenthesised).
type Body interface {
	Position() Pos
	body()
}

// Select is SELECT … FROM … WHERE … GROUP BY … HAVING … [QUALIFY …].
type Select struct {
	Pos
	Distinct bool
	Items    []SelectItem
	From     Relation // nil without FROM; comma-separated relations are a Join of kind Cross with Comma set
	Where    Expr
	GroupBy  *GroupBy
	Having   Expr
	Qualify  Expr
	Windows  []NamedWindow
}

// SelectItem is an expression of the select list, perhaps named.
// A star is an Expr *Star. Aliases names the outputs of a generator: expr AS (a, b).
type SelectItem struct {
	Pos
	Expr    Expr
	Alias   string // "" = none
	Aliases []string
}

// GroupBy is the GROUP BY clause.
type GroupBy struct {
	Pos
	All   bool      // GROUP BY ALL
	Exprs []Expr    // grouping expressions (or ordinals, or aliases) in order
	Sets  []*Groups // their sets are combined with each other and with Exprs
}

// GroupsKind tells the grouping analytics apart.
type GroupsKind string

// The grouping analytics.
const (
	GroupingSets GroupsKind = "GROUPING SETS"
	Rollup       GroupsKind = "ROLLUP"
	Cube         GroupsKind = "CUBE"
)

// Groups is GROUPING SETS ((a, b), (a), ()), ROLLUP (a, b) or CUBE (a, b).
type Groups struct {
	Pos
	Kind   GroupsKind
	Sets   [][]Expr
	Nested []*Groups // in GROUPING SETS: their sets stand beside Sets
}

// NamedWindow is one entry of the WINDOW clause.
type NamedWindow struct {
	Pos
	Name string
	Spec *WindowSpec
}

// SetOpKind is the kind of a set operation.
type SetOpKind string

// The set operations. MINUS is Except.
const (
	Union     SetOpKind = "UNION"
	Intersect SetOpKind = "INTERSECT"
	Except    SetOpKind = "EXCEPT"
)

// SetOp is left UNION | INTERSECT | EXCEPT [ALL] right.
type SetOp struct {
	Pos         // of the operator
	Kind        SetOpKind
	All         bool
	Left, Right Body
}

// Values is an inline table: VALUES (1, 'a'), (2, 'b') [AS t (x, y)]. Rows of one value need no parentheses.
type Values struct {
	Pos
	Rows  [][]Expr
	Alias *TableAlias
}

// TableBody is TABLE name used as a query.
type TableBody struct {
	Pos
	Name string
}

func (*Select) body()    {}
func (*SetOp) body()     {}
func (*Values) body()    {}
func (*TableBody) body() {}
func (*Query) body()     {}

// SortItem is one entry of ORDER BY. NullsFirst is already resolved: ascending puts NULL first, descending last, unless said otherwise.
type SortItem struct {
	Pos
	Expr       Expr
	Desc       bool
	NullsFirst bool
}

// Relation is one of *Table, *Subquery, *Values, *TableFunc, *Join, *LateralView, *ParenRelation, *Pivot, *Unpivot.
type Relation interface {
	Position() Pos
	relation()
}

// TableAlias is [AS] name [(columns)].
type TableAlias struct {
	Pos
	Name    string
	Columns []string
}

// Watermark is WATERMARK expr [AS alias] DELAY OF INTERVAL ….
type Watermark struct {
	Pos
	Expr  Expr
	Alias string // "" = Expr is a column of the relation
	Delay *Interval
}

// Dedup is DEDUP BY (keys) [WITHIN WATERMARK]. DEDUP without BY takes every column as key: Keys is empty.
type Dedup struct {
	Pos
	Keys   []string
	Within bool
}

// Table is a named relation, a stream when written STREAM name.
type Table struct {
	Pos
	Name      string // dotted when qualified
	Stream    bool
	Watermark *Watermark
	Dedup     *Dedup
	Alias     *TableAlias
}

// Subquery is a parenthesised query in FROM.
type Subquery struct {
	Pos
	Query     *Query
	Lateral   bool
	Watermark *Watermark
	Dedup     *Dedup
	Alias     *TableAlias
}

// ParenRelation is a parenthesised relation: FROM (a JOIN b ON …) [AS t].
type ParenRelation struct {
	Pos
	Rel       Relation
	Watermark *Watermark
	Dedup     *Dedup
	Alias     *TableAlias
}

// TableFunc is a function in FROM: range(10), explode(array(1, 2)).
type TableFunc struct {
	Pos
	Call      *Call
	Lateral   bool
	Watermark *Watermark
	Alias     *TableAlias
}

// JoinKind is the kind of a join.
type JoinKind string

// The kinds of join.
const (
	InnerJoin JoinKind = "INNER"
	LeftJoin  JoinKind = "LEFT"
	RightJoin JoinKind = "RIGHT"
	FullJoin  JoinKind = "FULL"
	SemiJoin  JoinKind = "LEFT SEMI"
	AntiJoin  JoinKind = "LEFT ANTI"
	CrossJoin JoinKind = "CROSS"
)

// Join combines two relations. An INNER join without ON or USING is a product, as in Spark.
type Join struct {
	Pos         // of the join keyword (or the comma)
	Left, Right Relation
	Kind        JoinKind
	Comma       bool // written as a comma; Kind is CrossJoin
	Natural     bool
	Using       []string
	On          Expr
}

// LateralView is input LATERAL VIEW [OUTER] f(args) table [AS c1, c2].
type LateralView struct {
	Pos
	Input   Relation
	Outer   bool
	Call    *Call
	Table   string // "" when none was given
	Columns []string
}

// Pivot is input PIVOT (aggregates FOR column IN (values)) [AS name]: one column for each value and aggregate.
type Pivot struct {
	Pos
	Input  Relation
	Items  []SelectItem // the aggregates
	For    []Expr       // *Ident
	Values []PivotValue
	Alias  *TableAlias
}

// PivotValue is one entry of IN: as many values as FOR has columns, perhaps named.
type PivotValue struct {
	Pos
	Exprs []Expr
	Name  string
}

// Unpivot is input UNPIVOT [INCLUDE NULLS] (values FOR name IN (columns)) [AS name]: one row for each group of columns.
type Unpivot struct {
	Pos
	Input   Relation
	Nulls   bool     // INCLUDE NULLS
	Values  []string // names of the columns with the values
	Name    string   // name of the column with the name
	Columns []UnpivotColumn
	Alias   *TableAlias
}

// UnpivotColumn is one entry of IN: as many columns as Values has names, perhaps renamed.
type UnpivotColumn struct {
	Pos
	Exprs []Expr // *Ident
	Name  string
}

func (*Pivot) relation()         {}
func (*Unpivot) relation()       {}
func (*Table) relation()         {}
func (*Subquery) relation()      {}
func (*ParenRelation) relation() {}
func (*Values) relation()        {}
func (*TableFunc) relation()     {}
func (*Join) relation()          {}
func (*LateralView) relation()   {}
