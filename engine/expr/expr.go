// Package expr is the bound, typed expression language of the engine: Spark SQL
// scalar semantics (ANSI mode, UTC) evaluated on whole columns.
//
// It promises the answers of Apache Spark 4 to the bit, no panic on any input,
// and that the same input gives the same output on every machine. It refuses
// to know clocks, randomness, statements or state.
package expr

import (
	"fmt"

	"signalbox/engine/column"
)

// Expr computes one column from a batch. It is immutable and may be shared by
// goroutines, each with its own Context.
type Expr interface {
	// Type is the type of the result.
	Type() column.Type
	// Eval computes the rows of b listed in sel (nil = all rows). The result has b.Len
	// rows; rows outside sel are unspecified. It belongs to ctx and is valid until
	// ctx.Reset: callers must not modify it, and it may be a column of b itself.
	// A row that fails is reported by ctx.Fail and is NULL in the result; CASE, IF,
	// COALESCE, AND and OR evaluate a branch only for the rows that reach it, as Spark does.
	Eval(ctx *Context, b *column.Batch, sel []int32) *column.Column
	// Children returns the arguments, for plan rewriting; do not modify.
	Children() []Expr
	// String renders the expression canonically: equal strings = equal expressions.
	// Operator ids are derived from it.
	String() string
}

// Phase says when Spark would have raised an error.
type Phase string

// The phases.
const (
	Parse    Phase = "parse"
	Analysis Phase = "analysis"
	Runtime  Phase = "runtime"
)

// Error is an error of a query, with Spark's condition and SQLSTATE.
type Error struct {
	Phase     Phase
	Condition string // Spark's error class, for example ARITHMETIC_OVERFLOW
	SQLState  string // five characters, may be empty
	Message   string // what is wrong and what to do
	Line, Col int    // 1-based position in the query text, 0 = unknown
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%d:%d: [%s] %s", e.Line, e.Col, e.Condition, e.Message)
	}
	return fmt.Sprintf("[%s] %s", e.Condition, e.Message)
}

// RowError is the failure of one row.
type RowError struct {
	Row int32
	Err *Error
}

// Context carries scratch memory and the failures of one evaluation.
// It is not safe for concurrent use. The zero value is ready.
type Context struct {
	Errors []RowError // in the order found; at most one per row
	failed map[int32]struct{}
	free   []*column.Column
	used   []*column.Column
	sels   [][]int32
	nsel   int
}

// Fail records that a row failed; only the first failure of a row is kept.
func (c *Context) Fail(row int32, err *Error) {
	if c.failed == nil {
		c.failed = map[int32]struct{}{}
	}
	if _, dup := c.failed[row]; dup {
		return
	}
	c.failed[row] = struct{}{}
	c.Errors = append(c.Errors, RowError{row, err})
}

// Failed reports whether a row has failed.
func (c *Context) Failed(row int32) bool {
	_, ok := c.failed[row]
	return ok
}

// Reset forgets failures and takes back every column handed out.
func (c *Context) Reset() {
	if len(c.Errors) > 0 {
		c.Errors = c.Errors[:0]
		clear(c.failed)
	}
	c.free = append(c.free, c.used...)
	c.used = c.used[:0]
	c.nsel = 0
}
