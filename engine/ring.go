package engine

import (
	"slices"

	"signalbox/engine/column"
)

// ring keeps the newest refused rows.
type ring struct {
	schema *column.Schema
	max    int
	rows   []ringRow
	head   int  // oldest, once full
	shared bool // a snapshot reads rows
}

type ringRow struct {
	x    Refused
	tick int64
}

// rejectedSchema is the layout of $rejected, <stream>$rejected and <stream>$late.
var rejectedSchema = &column.Schema{Name: RejectedStream, Time: 0, Fields: []column.Field{
	{Name: "time", Type: column.Of(column.Timestamp)}, {Name: "stream", Type: column.Of(column.String)},
	{Name: "query", Type: column.Of(column.String)}, {Name: "reason", Type: column.Of(column.String)},
	{Name: "detail", Type: column.Of(column.String)}, {Name: "agent", Type: column.Of(column.String)},
	{Name: "epoch", Type: column.Of(column.BigInt)}, {Name: "seq", Type: column.Of(column.BigInt)},
	{Name: "ordinal", Type: column.Of(column.BigInt)}, {Name: "received_at", Type: column.Of(column.Timestamp)},
	{Name: "row", Type: column.Of(column.String)},
}}

func newRing(s *column.Schema, max int) *ring { return &ring{schema: s, max: max} }

// add keeps a row and returns how many it pushed out.
func (r *ring) add(x Refused, tick int64) uint64 {
	if r.max <= 0 {
		return 0
	}
	if len(r.rows) < r.max {
		r.rows = append(r.rows, ringRow{x, tick})
		return 0
	}
	if r.shared {
		r.rows, r.shared = slices.Clone(r.rows), false
	}
	r.rows[r.head] = ringRow{x, tick}
	r.head = (r.head + 1) % len(r.rows)
	return 1
}

// capture is the ring as it is now, for a reader beside it.
func (r *ring) capture() *ring {
	r.shared = true
	c := *r
	return &c
}

// each calls f for the rows, oldest first.
func (r *ring) each(f func(x *ringRow)) {
	for i := range r.rows {
		f(&r.rows[(r.head+i)%len(r.rows)])
	}
}

func (r *ring) batch() *column.Batch {
	b := column.NewBatch(r.schema, len(r.rows))
	r.each(func(x *ringRow) {
		t := column.NullDatum
		if x.x.Time != 0 {
			t = column.I64(x.x.Time)
		}
		b.AppendRow(t, column.Str(x.x.Stream), column.Str(x.x.Query), column.Str(x.x.Reason), column.Str(x.x.Detail), column.Str(x.x.Origin.Agent),
			column.I64(int64(x.x.Origin.Epoch)), column.I64(int64(x.x.Origin.Seq)), column.I64(int64(x.x.Ordinal)), column.I64(x.tick), column.Str(x.x.Row))
	})
	return b
}

// results keeps the newest revision of the rows of a streaming table.
type results struct {
	schema *column.Schema
	max    int
	rows   *column.Batch
	ids    []RowID
	revs   []uint32
	seq    []uint64 // when the row was last written: the oldest leaves first
	at     map[RowID]int32
	free   []int32
	order  []int32 // slots by age; stale entries are recognised by seq
	orderN []uint64
	next   uint64
	shared bool // a snapshot reads rows, ids, revs and seq
}

func newResults(s *column.Schema, max int) *results {
	return &results{schema: s, max: max, rows: column.NewBatch(s, 0), at: map[RowID]int32{}}
}

func (r *results) len() int { return len(r.at) }

// clear forgets everything: a complete-mode table emits all its rows each time.
func (r *results) clear() { *r = *newResults(r.schema, r.max) }

// apply takes the changes of one entry and returns how many rows it pushed out.
func (r *results) apply(b *column.Batch, ids []RowID, revs []uint32, del, same []bool) (evicted uint64) {
	if r.max <= 0 {
		return 0
	}
	if r.shared {
		r.unshare()
	}
	for i := range b.Len {
		slot, known := r.at[ids[i]]
		switch {
		case del != nil && del[i]:
			if known {
				r.drop(ids[i], slot)
			}
			continue
		case same != nil && same[i]: // nothing new to show, and no reason to push out what is newer
			if known {
				r.revs[slot] = revs[i]
			}
			continue
		case !known:
			if len(r.at) >= r.max {
				r.evict()
				evicted++
			}
			slot = r.slot()
			r.at[ids[i]] = slot
			r.ids[slot] = ids[i]
		}
		r.revs[slot] = revs[i]
		for j, c := range r.rows.Cols {
			c.Set(int(slot), b.Cols[j].Datum(i))
		}
		r.next++
		r.seq[slot] = r.next
		r.order, r.orderN = append(r.order, slot), append(r.orderN, r.next)
	}
	r.compact()
	return evicted
}

// capture is the rows as they are now, for a reader beside it.
func (r *results) capture() *results {
	r.shared = true
	return &results{schema: r.schema, max: r.max, rows: r.rows.Frozen(), ids: r.ids, revs: r.revs, seq: r.seq, order: r.order, orderN: r.orderN}
}

// unshare copies what is written in place; order only grows.
func (r *results) unshare() {
	for i, c := range r.rows.Cols {
		r.rows.Cols[i] = c.Clone()
	}
	r.ids, r.revs, r.seq, r.shared = slices.Clone(r.ids), slices.Clone(r.revs), slices.Clone(r.seq), false
}

func (r *results) slot() int32 {
	if n := len(r.free); n > 0 {
		s := r.free[n-1]
		r.free = r.free[:n-1]
		return s
	}
	s := int32(len(r.ids))
	r.ids, r.revs, r.seq = append(r.ids, RowID{}), append(r.revs, 0), append(r.seq, 0)
	for _, c := range r.rows.Cols {
		c.AppendNull()
	}
	r.rows.Len++
	return s
}

func (r *results) drop(id RowID, slot int32) {
	delete(r.at, id)
	r.seq[slot] = 0
	r.free = append(r.free, slot)
}

// evict drops the row that was written longest ago.
func (r *results) evict() {
	for len(r.order) > 0 {
		slot, n := r.order[0], r.orderN[0]
		r.order, r.orderN = r.order[1:], r.orderN[1:]
		if r.seq[slot] == n {
			r.drop(r.ids[slot], slot)
			return
		}
	}
}

// compact rebuilds the order and the dictionaries when most of them is stale.
func (r *results) compact() {
	stale := len(r.order) > 2*len(r.at)+1024
	for _, c := range r.rows.Cols {
		stale = stale || c.Dict != nil && c.Dict.Len() > 2*r.rows.Len+1024
	}
	if !stale {
		return
	}
	b, ids, revs := r.list()
	next := r.next
	r.clear()
	r.apply(b, ids, revs, nil, nil)
	r.next = max(next, r.next)
}

// list returns the rows, least recently written first.
func (r *results) list() (*column.Batch, []RowID, []uint32) {
	var slots []int32
	for i, slot := range r.order {
		if r.seq[slot] == r.orderN[i] {
			slots = append(slots, slot)
		}
	}
	b := column.NewBatch(r.schema, len(slots))
	ids, revs := make([]RowID, 0, len(slots)), make([]uint32, 0, len(slots))
	for _, s := range slots {
		for j, c := range b.Cols {
			c.Append(r.rows.Cols[j].Datum(int(s)))
		}
		ids, revs = append(ids, r.ids[s]), append(revs, r.revs[s])
	}
	b.Len = len(slots)
	return b, ids, revs
}
