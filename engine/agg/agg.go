// Package agg holds the aggregate functions, one file each: accumulators for
// many groups at once, stored in columns without a pointer per group.
//
// It promises Spark's results, that Merge of partial states equals adding all
// rows to one, and that a restored state continues as if nothing happened. It
// refuses to know windows, watermarks or how rows find their group.
package agg

import (
	"io"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Accumulator keeps the state of one aggregate for groups 0..n-1.
type Accumulator interface {
	// Grow makes groups 0..n-1 exist; new ones are empty.
	Grow(n int)
	// Add folds in rows: row sel[i] (or i when sel is nil) belongs to group groups[i].
	// args are the aggregate's evaluated arguments. A row that fails (ANSI overflow)
	// is reported by ctx.Fail and not counted.
	Add(ctx *expr.Context, groups []int32, args []*column.Column, sel []int32)
	// Merge folds group from of other (same function) into group into.
	Merge(into int32, other Accumulator, from int32) error
	// Value appends the result of a group to out, which has type Result of the Func.
	Value(group int32, out *column.Column) error
	// Clear makes a group empty again, for reuse.
	Clear(group int32)
	// Encode and Decode write and read the state of groups 0..n-1, deterministically.
	Encode(w io.Writer, n int) error
	Decode(r io.Reader, n int) error
	// Bytes is the memory that the state takes, from what Encode writes alone: limits
	// are kept by it, and a state that was restored must not differ.
	Bytes() int
}

// Func is an aggregate function bound to argument types.
type Func interface {
	Name() string
	Result() column.Type
	New() Accumulator
}
