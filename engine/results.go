package engine

import (
	"slices"

	"signalbox/engine/column"
)

// results keeps the newest revision of the rows of a streaming table. Rows are
// in pages; a page that a capture may read is copied before it is written to,
// so that a capture costs a list of pages and the entry after it the pages that
// it touches.
type results struct {
	schema *column.Schema
	max    int
	pages  []*resultPage
	dicts  []*column.Dict // per column of text, shared by the pages: they only grow
	slots  int            // rows in the pages, those that are free included
	round  uint64         // rises with every capture: pages of an earlier round may be read by one
	live   int            // rows
	once   bool           // no row comes a second time: there is no index, until one does
	index  rowIndex       // of the live rows by id
	free   []int32
	order  []int32 // slots by age; stale entries are recognised by seq
	orderN []uint64
	next   uint64
	codes  []knownCodes // per column
	taken  []int32      // slot of each row of a batch, or -1
}

// knownCodes is how the texts of another dictionary are called in ours: dictionaries only grow.
type knownCodes struct {
	from, to *column.Dict
	codes    []uint32 // code + 1 by code of from
}

const (
	pageBits = 9
	pageRows = 1 << pageBits
)

// resultPage is at most pageRows rows.
type resultPage struct {
	cols  []*column.Column
	ids   []RowID
	revs  []uint32
	seq   []uint64 // when the row was last written: the oldest leaves first; 0 = no row
	round uint64   // in which it was made or copied
}

func newResults(s *column.Schema, max int) *results {
	r := &results{schema: s, max: max, dicts: make([]*column.Dict, len(s.Fields)), codes: make([]knownCodes, len(s.Fields))}
	for i, f := range s.Fields {
		if f.Type.Kind.Storage() == column.StoreDict {
			r.dicts[i] = column.NewDict()
		}
	}
	return r
}

func (r *results) len() int { return r.live }

// clear forgets everything: a complete-mode table emits all its rows each time.
func (r *results) clear() { *r = *newResults(r.schema, r.max) }

// apply takes the changes of one entry and returns how many rows it pushed out.
func (r *results) apply(b *column.Batch, ids []RowID, revs []uint32, del, same []bool) (evicted uint64) {
	if r.max <= 0 {
		return 0
	}
	if r.once && !allNew(revs, del, same) {
		r.reindex()
	}
	r.taken = r.taken[:0]
	for i := range b.Len {
		slot, pushed := r.take(ids[i], revs[i], del != nil && del[i], same != nil && same[i])
		r.taken = append(r.taken, slot)
		evicted += pushed
	}
	for j, c := range b.Cols {
		r.set(j, c)
	}
	r.compact()
	return evicted
}

// allNew reports that no row can have been here before.
func allNew(revs []uint32, del, same []bool) bool {
	return !slices.Contains(del, true) && !slices.Contains(same, true) && !slices.ContainsFunc(revs, func(rev uint32) bool { return rev != 1 })
}

// reindex makes the index of a table that was taken for one whose rows come once.
func (r *results) reindex() {
	r.once = false
	for slot := range int32(r.slots) {
		if r.pages[slot>>pageBits].seq[slot%pageRows] != 0 {
			r.index.add(slot, r.id)
		}
	}
}

// take finds the slot of a row whose values are to be set, or -1 when none are.
func (r *results) take(id RowID, rev uint32, del, same bool) (slot int32, evicted uint64) {
	known := false
	if !r.once {
		slot, known = r.index.find(&id, r.id)
	}
	switch {
	case del:
		if known {
			r.drop(slot)
		}
		return -1, 0
	case same: // nothing new to show, and no reason to push out what is newer
		if known {
			r.own(slot).revs[slot%pageRows] = rev
		}
		return -1, 0
	case !known:
		if r.live >= r.max {
			r.evict()
			evicted = 1
		}
		slot = r.slot()
	}
	p, k := r.own(slot), int(slot%pageRows)
	p.ids[k], p.revs[k] = id, rev
	if !known {
		r.live++
		if !r.once {
			r.index.add(slot, r.id)
		}
	}
	r.next++
	p.seq[k] = r.next
	r.order, r.orderN = append(r.order, slot), append(r.orderN, r.next)
	return slot, evicted
}

func (r *results) id(slot int32) *RowID { return &r.pages[slot>>pageBits].ids[slot%pageRows] }

// set writes column j of the rows that take found slots for, in their order: one may have been pushed out by a later one.
func (r *results) set(j int, src *column.Column) {
	kind := src.Type.Kind.Storage()
	plain := !src.HasNulls() && (kind == column.StoreI64 || kind == column.StoreF64 || kind == column.StoreDict)
	for i, slot := range r.taken {
		if slot < 0 {
			continue
		}
		c, k := r.pages[slot>>pageBits].cols[j], int(slot%pageRows)
		if !plain {
			c.Set(k, src.Datum(i))
			continue
		}
		c.ClearNull(k)
		switch kind {
		case column.StoreI64:
			c.I64[k] = src.I64[i]
		case column.StoreF64:
			c.F64[k] = src.F64[i]
		default:
			c.Codes[k] = r.code(j, src.Dict, src.Codes[i])
		}
	}
}

// code is what a text of another dictionary is called in ours.
func (r *results) code(j int, from *column.Dict, code uint32) uint32 {
	m := &r.codes[j]
	if m.from != from || m.to != r.dicts[j] {
		*m = knownCodes{from: from, to: r.dicts[j], codes: m.codes[:0]}
	}
	if int(code) >= len(m.codes) {
		m.codes = append(m.codes, make([]uint32, from.Len()-len(m.codes))...)
	}
	if m.codes[code] == 0 {
		m.codes[code] = r.dicts[j].Code(from.Values[code]) + 1
	}
	return m.codes[code] - 1
}

// slot finds room for a row.
func (r *results) slot() int32 {
	if n := len(r.free); n > 0 {
		s := r.free[n-1]
		r.free = r.free[:n-1]
		return s
	}
	if r.slots == len(r.pages)*pageRows {
		p := &resultPage{round: r.round, cols: make([]*column.Column, len(r.schema.Fields))}
		for i, f := range r.schema.Fields {
			if p.cols[i] = column.New(f.Type, 0); r.dicts[i] != nil {
				p.cols[i].Dict = r.dicts[i]
			}
		}
		r.pages = append(r.pages, p)
	}
	s := int32(r.slots)
	r.slots++
	p := r.own(s)
	p.ids, p.revs, p.seq = append(p.ids, RowID{}), append(p.revs, 0), append(p.seq, 0)
	for _, c := range p.cols {
		c.AppendNull()
	}
	return s
}

// own returns the page of a slot, copied first when a capture may read it.
func (r *results) own(slot int32) *resultPage {
	p := r.pages[slot>>pageBits]
	if p.round == r.round {
		return p
	}
	n := resultPage{round: r.round, cols: make([]*column.Column, len(p.cols)), ids: slices.Clone(p.ids), revs: slices.Clone(p.revs), seq: slices.Clone(p.seq)}
	for i, c := range p.cols {
		n.cols[i] = c.Clone()
	}
	r.pages[slot>>pageBits] = &n
	return &n
}

func (r *results) drop(slot int32) {
	if r.live--; !r.once {
		r.index.remove(slot, r.id)
	}
	r.own(slot).seq[slot%pageRows] = 0
	r.free = append(r.free, slot)
}

// evict drops the row that was written longest ago.
func (r *results) evict() {
	for len(r.order) > 0 {
		slot, n := r.order[0], r.orderN[0]
		r.order, r.orderN = r.order[1:], r.orderN[1:]
		if p := r.pages[slot>>pageBits]; p.seq[slot%pageRows] == n {
			r.drop(slot)
			return
		}
	}
}

// compact makes the order and the dictionaries anew when most of them is stale. A capture keeps the old ones.
func (r *results) compact() {
	if len(r.order) > 2*r.live+1024 {
		order, orderN := make([]int32, 0, r.live), make([]uint64, 0, r.live)
		for i, slot := range r.order {
			if n := r.orderN[i]; r.pages[slot>>pageBits].seq[slot%pageRows] == n {
				order, orderN = append(order, slot), append(orderN, n)
			}
		}
		r.order, r.orderN = order, orderN
	}
	for i, d := range r.dicts {
		if d != nil && d.Len() > 2*r.slots+1024 {
			r.rebuild(i)
		}
	}
}

// rebuild gives a column a dictionary of the texts it has now.
func (r *results) rebuild(col int) {
	d := column.NewDict()
	d.Code("")
	for slot := 0; slot < len(r.pages)*pageRows; slot += pageRows {
		p := r.own(int32(slot))
		c := p.cols[col]
		for k := range c.Codes {
			if p.seq[k] == 0 || c.IsNull(k) {
				c.Codes[k] = 0
				continue
			}
			c.Codes[k] = d.Code(c.Dict.Values[c.Codes[k]])
		}
		c.Dict = d
	}
	r.dicts[col] = d
}

// capture is the rows as they are now, for a reader beside them.
func (r *results) capture() *results {
	r.round++
	c := &results{schema: r.schema, pages: slices.Clone(r.pages), order: r.order, orderN: r.orderN, dicts: make([]*column.Dict, len(r.dicts))}
	for i, d := range r.dicts {
		if d != nil {
			c.dicts[i] = column.DictOf(slices.Clip(d.Values))
		}
	}
	return c
}

// list returns the rows of a capture, least recently written first.
func (r *results) list() (*column.Batch, []RowID, []uint32) {
	b := &column.Batch{Schema: r.schema, Cols: make([]*column.Column, len(r.schema.Fields))}
	ids, revs, rows := make([]RowID, 0, 16), make([]uint32, 0, 16), make([]int32, 0, 16)
	for i, slot := range r.order {
		if p, k := r.pages[slot>>pageBits], slot%pageRows; p.seq[k] == r.orderN[i] {
			rows, ids, revs = append(rows, slot), append(ids, p.ids[k]), append(revs, p.revs[k])
		}
	}
	b.Len = len(rows)
	for j := range b.Cols {
		b.Cols[j] = r.column(j, rows)
	}
	return b, ids, revs
}

// column gathers one column of a capture; it gets a dictionary of its own, which knows nothing of rows that are gone.
func (r *results) column(j int, rows []int32) *column.Column {
	out := column.New(r.schema.Fields[j].Type, len(rows))
	var codes []int64 // new code + 1 by old code
	if r.dicts[j] != nil {
		codes = make([]int64, r.dicts[j].Len())
	}
	for _, slot := range rows {
		c, k := r.pages[slot>>pageBits].cols[j], int(slot%pageRows)
		if codes == nil || c.IsNull(k) {
			out.Append(c.Datum(k))
			continue
		}
		code := c.Codes[k]
		if codes[code] == 0 {
			codes[code] = int64(out.Dict.Code(r.dicts[j].Values[code])) + 1
		}
		out.Codes = append(out.Codes, uint32(codes[code]-1))
		out.SetLen(out.Len() + 1)
	}
	return out
}
