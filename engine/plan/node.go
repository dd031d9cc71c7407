// Package plan turns parsed SQL into a typed logical plan: names resolved,
// types coerced, semantics checked as Spark's analyser checks them. Both
// executors, engine/batch for bounded input and engine/stream for continuous
// queries, run the same plan.
//
// It promises that every error carries position, reason and what to write
// instead. It refuses to know data, state or time.
package plan

import (
	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Node is an operator. Expressions in a node refer to the columns of its
// input's schema by ordinal (a join's condition: left columns, then right).
type Node interface {
	Schema() *column.Schema // the columns it produces
	Inputs() []Node
}

// Scan reads a stream or a static table. Out is the whole schema of the source,
// so a batch passes through unchanged: columns that are not in Columns may be
// nil in its Cols, and every operator hands nil columns on as nil.
type Scan struct {
	Out     *column.Schema
	Table   string // the catalog's name
	Stream  bool   // unbounded: a continuous query is driven by it
	Columns []int  // sorted ordinals of the columns that are used (projection push-down); always with the event time of a stream
	Told    Told
}

// Watermark declares event time on its input: watermark = max(Out column Time) - Delay.
type Watermark struct {
	Input Node
	Time  int       // ordinal of the event-time column in the output (appended when an expression with alias was given)
	Expr  expr.Expr // nil, or the expression that computes a new last column
	Delay int64     // µs
	Out   *column.Schema
}

// Dedup drops rows whose keys were seen. Within = forget a key at its first event time + delay (dropDuplicatesWithinWatermark).
type Dedup struct {
	Input    Node
	Keys     []int // ordinals; includes every column when none were named
	Within   bool
	EventKey int   // ordinal in Input of the watermarked event time: of the key that is one, or, for Within, of the column that expires keys; -1 = keys are never forgotten
	Delay    int64 // µs, Within: the delay of the watermark below
	// TakesLate: nothing above reads the event time, and it expires no key. Spark prunes the column, and then no row is late.
	TakesLate bool
}

// Filter keeps the rows where Cond is true.
type Filter struct {
	Input Node
	Cond  expr.Expr
}

// Project computes columns.
type Project struct {
	Input Node
	Exprs []expr.Expr
	Out   *column.Schema
}

// Explode appends the elements of an array (or key and value of a map), one row each (LATERAL VIEW, explode, posexplode, inline).
type Explode struct {
	Input    Node
	Array    expr.Expr
	Outer    bool // a row without elements gives one row of NULLs
	Position bool // also the index
	Inline   bool // the fields of the struct elements as columns
	Out      *column.Schema
}

// WindowKind tells the time-window functions apart.
type WindowKind uint8

// The kinds of time window.
const (
	NoWindow      WindowKind = iota
	TimeWindow               // window(time, size, slide, start)
	SessionWindow            // session_window(time, gap)
)

// TimeAssign puts rows into time windows, before an Aggregate or a Project: it
// appends a column STRUCT<start: TIMESTAMP, end: TIMESTAMP> and repeats a row
// for each window it is in. Rows with NULL time are dropped. A session's
// window is [time, time+gap) until the Aggregate merges it.
type TimeAssign struct {
	Input              Node
	Kind               WindowKind
	Time               expr.Expr // TIMESTAMP or TIMESTAMP_NTZ
	Size, Slide, Start int64     // µs, TimeWindow
	Gap                expr.Expr // SessionWindow: IntervalDT (a literal, or computed per row)
	Out                *column.Schema
}

// AggCall is one aggregate of an Aggregate.
type AggCall struct {
	Func     agg.Func
	Args     []expr.Expr
	Filter   expr.Expr // FILTER (WHERE …), or nil
	Distinct bool
	OrderBy  []SortKey // WITHIN GROUP, for listagg and friends
	Name     string
}

// Aggregate groups by Keys and computes Calls. Output columns: keys, then calls.
type Aggregate struct {
	Input  Node
	Keys   []expr.Expr
	Calls  []AggCall
	Window int // ordinal in Keys of the window column from a TimeAssign below, or -1
	Kind   WindowKind
	// EventKey is the ordinal in Keys of the key that carries watermarked event
	// time: a window (also one made further below), closed when end <= watermark,
	// or a TIMESTAMP column, closed when it is <= watermark. -1: groups never close.
	EventKey int
	Distinct bool // written as SELECT DISTINCT or UNION
	Out      *column.Schema
}

// JoinKind is the kind of a join.
type JoinKind uint8

// The kinds of join.
const (
	Inner JoinKind = iota
	Left
	Right
	Full
	Semi
	Anti
	Cross
	LeftSingle // as Left, but a second match is the error SCALAR_SUBQUERY_TOO_MANY_ROWS
	Mark       // left columns and one BOOLEAN: did a row of the right match (three-valued when NullAware)
)

// Join combines rows. Equal holds the pairs of equality keys (null-safe when NullSafe);
// Cond the rest of the condition over left ++ right, or nil.
type Join struct {
	Left, Right         Node
	Kind                JoinKind
	LeftKeys, RightKeys []expr.Expr // over the left / the right schema
	NullSafe            []bool
	Cond                expr.Expr
	// NullAware: IN with SQL's three values. Only the last InKeys pairs of keys are the IN
	// itself, the others and Cond are the correlation. Anti (NOT IN) keeps a row
	// only when the answer is certainly "not in".
	NullAware bool
	InKeys    int
	// Params are the values of the left row that Right is computed with: it holds their placeholders
	// and is computed anew for each distinct set of them. Empty: Right does not depend on the left row.
	Params []Param
	// LeftTime and RightTime are the ordinals of the watermarked event times in the left
	// and right schema, -1 when a side has none (or is a static table).
	LeftTime, RightTime int
	// Bound is what Equal and Cond say about the event times, nil when nothing.
	Bound   *TimeBound
	Out     *column.Schema
	written JoinKind // an outer join of which the filters above leave less; 0 = as Kind says
}

// Param is a column of the left side of a join that the right side uses.
type Param struct {
	Column int       // ordinal in the left schema
	Var    expr.Expr // its placeholder in the right side, see expr.NewOuter
}

// TimeBound is a bound on the distance of two event times:
// Lo <= right - left when HasLo, right - left <= Hi when HasHi, both in µs.
// A left row can therefore not match any more once left + Hi < watermark of the
// right, a right row once right - Lo < watermark of the left.
type TimeBound struct {
	Lo, Hi       int64
	HasLo, HasHi bool
}

// SortKey is one key of an ordering.
type SortKey struct {
	Expr       expr.Expr
	Desc       bool
	NullsFirst bool
}

// Sort orders rows.
type Sort struct {
	Input Node
	Keys  []SortKey
}

// Limit keeps N rows after Offset. N < 0 = all.
type Limit struct {
	Input     Node
	N, Offset int64
}

// Single yields exactly one row: a scalar sub-query. No row becomes a row of
// NULLs, a second row is the error SCALAR_SUBQUERY_TOO_MANY_ROWS.
type Single struct{ Input Node }

// Distinct drops equal rows. The analyser writes SELECT DISTINCT as an Aggregate without calls.
type Distinct struct{ Input Node }

// Union concatenates inputs of equal types (UNION ALL).
type Union struct {
	Branches []Node
	Out      *column.Schema
}

// SetOp is INTERSECT or EXCEPT.
type SetOp struct {
	Left, Right Node
	Except, All bool
}

// Frame bounds of an analytic function, in rows or in range of the sort key.
type Frame struct {
	Rows                         bool
	StartUnbounded, EndUnbounded bool
	Start, End                   column.Datum // offsets, negative = preceding; 0 = current row
}

// AnalyticCall is one function OVER (…).
type AnalyticCall struct {
	Name        string // row_number, rank, lag, first_value … or an aggregate (then Func is set)
	Func        agg.Func
	Args        []expr.Expr
	IgnoreNulls bool
	Frame       Frame
	Type        column.Type
}

// Analytic appends the results of functions over one PARTITION BY / ORDER BY.
type Analytic struct {
	Input     Node
	Partition []expr.Expr
	Order     []SortKey
	Calls     []AnalyticCall
	Out       *column.Schema
}

// Recursive is WITH RECURSIVE: the rows of Anchor, and those that Step makes of
// the rows of the step before, until there are none.
type Recursive struct {
	Anchor, Step Node
	Before       *StepRows // the leaf in Step
	MaxLevel     int64     // more steps are the error RECURSION_LEVEL_LIMIT_EXCEEDED
	Enough       int64     // stop when there are so many rows, 0 = never
	Out          *column.Schema
}

// StepRows are the rows of the step before, inside the Step of a Recursive.
type StepRows struct{ Out *column.Schema }

// Values is a literal table; a SELECT without FROM is one row of no columns.
type Values struct {
	Out  *column.Schema
	Rows [][]column.Datum
}

func (n *Scan) Schema() *column.Schema       { return n.Out }
func (n *Watermark) Schema() *column.Schema  { return n.Out }
func (n *Dedup) Schema() *column.Schema      { return n.Input.Schema() }
func (n *Filter) Schema() *column.Schema     { return n.Input.Schema() }
func (n *Project) Schema() *column.Schema    { return n.Out }
func (n *Explode) Schema() *column.Schema    { return n.Out }
func (n *TimeAssign) Schema() *column.Schema { return n.Out }
func (n *Aggregate) Schema() *column.Schema  { return n.Out }
func (n *Join) Schema() *column.Schema       { return n.Out }
func (n *Sort) Schema() *column.Schema       { return n.Input.Schema() }
func (n *Limit) Schema() *column.Schema      { return n.Input.Schema() }
func (n *Single) Schema() *column.Schema     { return n.Input.Schema() }
func (n *Distinct) Schema() *column.Schema   { return n.Input.Schema() }
func (n *Union) Schema() *column.Schema      { return n.Out }
func (n *SetOp) Schema() *column.Schema      { return n.Left.Schema() }
func (n *Analytic) Schema() *column.Schema   { return n.Out }
func (n *Values) Schema() *column.Schema     { return n.Out }
func (n *Recursive) Schema() *column.Schema  { return n.Out }
func (n *StepRows) Schema() *column.Schema   { return n.Out }

func (n *Scan) Inputs() []Node       { return nil }
func (n *Watermark) Inputs() []Node  { return []Node{n.Input} }
func (n *Dedup) Inputs() []Node      { return []Node{n.Input} }
func (n *Filter) Inputs() []Node     { return []Node{n.Input} }
func (n *Project) Inputs() []Node    { return []Node{n.Input} }
func (n *Explode) Inputs() []Node    { return []Node{n.Input} }
func (n *TimeAssign) Inputs() []Node { return []Node{n.Input} }
func (n *Aggregate) Inputs() []Node  { return []Node{n.Input} }
func (n *Join) Inputs() []Node       { return []Node{n.Left, n.Right} }
func (n *Sort) Inputs() []Node       { return []Node{n.Input} }
func (n *Limit) Inputs() []Node      { return []Node{n.Input} }
func (n *Single) Inputs() []Node     { return []Node{n.Input} }
func (n *Distinct) Inputs() []Node   { return []Node{n.Input} }
func (n *Union) Inputs() []Node      { return n.Branches }
func (n *SetOp) Inputs() []Node      { return []Node{n.Left, n.Right} }
func (n *Analytic) Inputs() []Node   { return []Node{n.Input} }
func (n *Values) Inputs() []Node     { return nil }
func (n *Recursive) Inputs() []Node  { return []Node{n.Anchor, n.Step} }
func (n *StepRows) Inputs() []Node   { return nil }

// Mode is the output mode of a continuous query.
type Mode string

// The output modes, as in Spark.
const (
	Append   Mode = "append"
	Update   Mode = "update"
	Complete Mode = "complete"
)

// Query is an analysed SELECT.
type Query struct {
	Root      Node
	Streaming bool // it reads FROM STREAM
	Mode      Mode // output mode: asked for, or the default (see Options.Mode)
	SQL       string
	Clock     *expr.Clock // what current_timestamp() reads in a continuous query, nil without one
}

// Options of a streaming table (CREATE STREAMING TABLE … OPTIONS).
type Options struct {
	Mode            Mode  // default: append when the aggregate has a watermarked window or key or there is no aggregate, else update
	StateTTL        int64 // µs of event time, 0 = none: a key expires when its event time + StateTTL <= watermark
	AllowedLateness int64 // µs, second horizon; 0 = windows close at first emission
	WatermarkMax    bool  // watermark_policy 'max'
}

// Catalog is what the analyser may look up.
type Catalog interface {
	// Relation finds a stream, static table, streaming table or $ table by case-insensitive name.
	Relation(name string) (Relation, bool)
	// Names lists what exists, for hints.
	Names() []string
}

// Relation is a named source of rows.
type Relation struct {
	Schema *column.Schema
	Stream bool
	Told   Told
	Refuse error // it is there and cannot be read: why, and what to do instead
}
