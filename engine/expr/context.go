package expr

import "signalbox/engine/column"

// maxOwnedDict is the number of strings after which a pooled result column
// starts a new dictionary, so that a long-lived Context stays bounded.
const maxOwnedDict = 4096

// Context carries scratch memory and the failures of one evaluation.
// It is not safe for concurrent use. The zero value is ready.
type Context struct {
	Errors []RowError // in the order found; at most one per row
	failed map[int32]struct{}
	free   [column.StoreAny + 1][]*column.Column
	used   []lent
	sels   [][]int32
	nsel   int
	memos  map[Expr]*memo
	codes  map[Expr]*codeMemo
	args   []column.Datum // stack of boxed arguments
	vars   []binding      // lambda variables in scope
	subs   []*Context     // contexts of lambda bodies, one per nesting level
	nsub   int
	root   *Context // of a lambda's body: the context of the expression around it
	built  int      // bytes charged since Reset
	large  bool     // a value was charged: its dictionary must not be kept
	spent  bool     // an element of a lambda did not fit
}

// lent is a column in use, with the dictionary it owns: a result may point to another one.
type lent struct {
	col  *column.Column
	dict *column.Dict
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

// maskFailed makes the failed rows NULL in a result of an operator that turns NULL into a value.
func (c *Context) maskFailed(out *column.Column) *column.Column {
	for _, x := range c.Errors {
		if int(x.Row) < out.Len() {
			setNull(out, int(x.Row))
		}
	}
	return out
}

// Reset forgets failures and takes back every column handed out.
func (c *Context) Reset() {
	if len(c.Errors) > 0 {
		c.Errors = c.Errors[:0]
		clear(c.failed)
	}
	for _, l := range c.used {
		l.col.Dict = l.dict
		s := l.col.Type.Kind.Storage()
		if c.large {
			l.col.Dict = nil
			clear(l.col.Any)
		}
		c.free[s] = append(c.free[s], l.col)
	}
	c.used = c.used[:0]
	c.nsel = 0
	c.built, c.large, c.spent = 0, false, false
}

// Column hands out a column of n rows without NULLs whose values are not
// specified, except that string codes are valid. It belongs to the Context.
func (c *Context) Column(t column.Type, n int) *column.Column {
	s := t.Kind.Storage()
	var col *column.Column
	if k := len(c.free[s]); k > 0 {
		col = c.free[s][k-1]
		c.free[s] = c.free[s][:k-1]
		col.Type = t
	} else {
		col = &column.Column{Type: t}
	}
	if s == column.StoreDict && (col.Dict == nil || col.Dict.Len() > maxOwnedDict) {
		col.Dict = column.NewDict()
	}
	col.Resize(n)
	if s == column.StoreDict {
		if col.Dict.Len() == 0 {
			col.Dict.Code("")
		}
		clear(col.Codes)
	}
	c.used = append(c.used, lent{col, col.Dict})
	return col
}

// sel hands out an empty row list with room for n rows.
func (c *Context) sel(n int) []int32 {
	if c.nsel == len(c.sels) {
		c.sels = append(c.sels, nil)
	}
	s := c.sels[c.nsel]
	if cap(s) < n {
		s = make([]int32, 0, n)
		c.sels[c.nsel] = s
	}
	c.nsel++
	return s[:0]
}

// rows returns sel, or the list of all n rows when sel is nil.
func (c *Context) rows(n int, sel []int32) []int32 {
	if sel != nil {
		return sel
	}
	s := c.sel(n)
	for i := range n {
		s = append(s, int32(i))
	}
	return s
}

// notNull returns the rows of sel where col is not NULL; sel itself when there is no NULL.
func (c *Context) notNull(col *column.Column, n int, sel []int32) []int32 {
	if !col.HasNulls() {
		return sel
	}
	if sel == nil {
		out := c.sel(n)
		for i := range n {
			if !col.IsNull(i) {
				out = append(out, int32(i))
			}
		}
		return out
	}
	out := c.sel(len(sel))
	for _, r := range sel {
		if !col.IsNull(int(r)) {
			out = append(out, r)
		}
	}
	return out
}

// copyNulls makes the NULLs of out those of a.
func copyNulls(out, a *column.Column) {
	if a.Type.Kind == column.Void {
		allNull(out)
		return
	}
	out.Nulls = append(out.Nulls[:0], a.Nulls...)
}

// orNulls adds the NULLs of a to those of out.
func orNulls(out, a *column.Column) {
	if a.Type.Kind == column.Void {
		allNull(out)
		return
	}
	for len(out.Nulls) < len(a.Nulls) {
		out.Nulls = append(out.Nulls, 0)
	}
	for i, w := range a.Nulls {
		out.Nulls[i] |= w
	}
}

// allNull makes every row of out NULL.
func allNull(out *column.Column) {
	words := (out.Len() + 63) / 64
	out.Nulls = out.Nulls[:0]
	for range words {
		out.Nulls = append(out.Nulls, ^uint64(0))
	}
	if out.Type.Kind.Storage() == column.StoreI64 {
		clear(out.I64)
	}
}

// NewContext returns an empty Context; the zero value works as well.
func NewContext() *Context { return &Context{} }
