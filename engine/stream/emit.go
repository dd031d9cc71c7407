package stream

import (
	"encoding/binary"

	"signalbox/engine/agg"
	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// emitter builds result rows of an aggregate and hands them on in chunks.
type emitter struct {
	p    *Pipeline
	next operator
	out  *column.Batch
	ids  []RowID
	revs []uint32
	del  []bool
	dels bool
	bad  []int32
	buf  []byte
	c    chunk
	one  [1]int32
	errs []expr.RowError
	time *column.Column
	ord  []int32 // group numbers, for an aggregate above
	full fullness
}

func (e *emitter) init(p *Pipeline, s *column.Schema, next operator) {
	e.p, e.next, e.out = p, next, column.NewBatch(s, 0)
	e.time = column.New(column.Of(column.Timestamp), 0)
}

// claim says what the rows from now on can claim.
func (e *emitter) claim(f fullness) {
	if f != e.full {
		e.flush()
		e.full = f
	}
}

// flush hands on what was built.
func (e *emitter) flush() {
	if e.out.Len == 0 {
		return
	}
	e.c = chunk{b: e.out, ids: e.ids, revs: e.revs, time: e.time, full: e.full}
	if len(e.ord) > 0 {
		e.c.ids, e.c.time, e.c.ord = nil, nil, e.ord
	}
	if e.dels {
		e.c.del = e.del
	}
	if len(e.errs) > 0 {
		e.dropErrors()
	}
	if e.c.rows() > 0 {
		e.next.push(&e.c)
	}
	e.out.Reset()
	for _, c := range e.out.Cols {
		if c != nil && c.Dict != nil {
			c.Dict = bounded(c.Dict)
		}
	}
	e.time.Reset()
	e.ord = e.ord[:0]
	e.ids, e.revs, e.del, e.dels = e.ids[:0], e.revs[:0], e.del[:0], false
	e.errs = e.errs[:0]
}

// dropErrors leaves out rows whose aggregate could not be computed (an average that overflows).
func (e *emitter) dropErrors() {
	e.bad = none(e.bad)
	k := 0
	for r := int32(0); int(r) < e.out.Len; r++ {
		if k < len(e.errs) && e.errs[k].Row == r {
			e.p.refuse(&e.c, int(r), "expression", e.errs[k].Err)
			for k < len(e.errs) && e.errs[k].Row == r {
				k++
			}
			continue
		}
		e.bad = append(e.bad, r)
	}
	e.c.sel = e.bad
}

// row begins a row with the key columns at positions pos; it returns the buffer of the id.
func (e *emitter) keyCells(t *agg.GroupTable, g int32, pos []int) {
	e.one[0] = g
	var cols [16]*column.Column
	list := cols[:0]
	for _, p := range pos {
		list = append(list, e.out.Cols[p])
	}
	t.AppendKeys(e.one[:], list)
}

// values appends the aggregates of a group to the columns from position at on.
func (e *emitter) values(accs []agg.Accumulator, g int32, at int) {
	for i, a := range accs {
		col := e.out.Cols[at+i]
		n := col.Len()
		if err := a.Value(g, col); err != nil {
			if col.Len() == n {
				col.AppendNull()
			}
			e.fail(err)
		}
	}
}

// fail marks the row that is being built.
func (e *emitter) fail(err error) {
	e.errs = append(e.errs, expr.RowError{Row: int32(e.out.Len), Err: asError(err)})
}

func asError(err error) *expr.Error {
	if x, ok := err.(*expr.Error); ok {
		return x
	}
	return &expr.Error{Phase: expr.Runtime, Message: err.Error()}
}

// finish ends a row: its identity is that of the first nkeys columns and span.
func (e *emitter) finish(nkeys int, start, end int64, rev uint32, del bool) {
	r := e.out.Len
	buf := append(e.buf[:0], e.p.seed[:]...)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(start))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(end))
	for _, c := range e.out.Cols[:nkeys] {
		if c.Type.Kind == column.Struct { // the window itself is start and end
			buf = append(buf, 2)
			continue
		}
		buf = appendCell(buf, c, r)
	}
	e.buf = buf
	e.ids = append(e.ids, hashID(buf))
	e.revs = append(e.revs, rev)
	e.del = append(e.del, del)
	e.dels = e.dels || del
	e.time.AppendI64(start)
	if e.out.Len++; e.out.Len >= emitRows {
		e.flush()
	}
}

// finishInner ends a row that only the aggregate above will see.
func (e *emitter) finishInner(g int32, rev uint32, del bool) {
	e.ord = append(e.ord, g)
	e.revs = append(e.revs, rev)
	e.del = append(e.del, del)
	e.dels = e.dels || del
	if e.out.Len++; e.out.Len >= emitRows {
		e.flush()
	}
}
