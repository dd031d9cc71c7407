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
