package expr

import "signalbox/engine/column"

// The bounds on what expressions may build for one batch of rows. A value up to
// the free size is bounded by the number of rows (of elements, inside a lambda)
// already; larger ones share MaxBatchBytes, and a row whose value does not fit
// any more fails. What is charged depends on the rows alone, not on what is
// remembered of earlier batches, so that every replica fails the same rows.
const (
	MaxBatchBytes  = 256 << 20
	freeBytes      = 4 << 10
	freeInLambda   = 256
	bytesPerMember = 88 // of an array, struct or map
)

// charge accounts for a computed value; the error says that it does not fit.
func (c *Context) charge(d *column.Datum) *Error {
	n, free, top := builtBytes(d), freeBytes, c
	if c.root != nil {
		free, top = freeInLambda, c.root
	}
	if n <= free {
		return nil
	}
	c.large = true
	if top.built+n > MaxBatchBytes {
		c.spent = c.root != nil // one element fails its lambda: the others need not be computed
		return runtimeErr("COLLECTION_SIZE_LIMIT_EXCEEDED.FUNCTION", "54000",
			"the values that the query computes for one batch of rows are larger than %d bytes together; compute shorter texts or arrays", MaxBatchBytes)
	}
	top.built += n
	return nil
}

// builtBytes is what a value takes, without what its members were charged for.
func builtBytes(d *column.Datum) int { return len(d.S) + bytesPerMember*len(d.L) }

// set stores the result of a function at a row, or fails the row.
func (c *Context) set(out *column.Column, i int, d column.Datum, err *Error) {
	if err == nil && !d.Null {
		err = c.charge(&d)
	}
	if err != nil {
		c.Fail(int32(i), err)
		d = column.NullDatum
	}
	out.Set(i, d)
}
