package engine

import (
	"signalbox/engine/column"
)

// ring keeps the newest refused rows. A row that is in it is never written
// again, so that whoever captured rows reads them beside it.
type ring struct {
	schema *column.Schema
	max    int
	rows   []ringRow // oldest first
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

// add keeps a row and returns how many it pushed out. The rows that stay are
// copied to new memory once in a quarter of the ring, not with every row.
func (r *ring) add(x Refused, tick int64) (evicted uint64) {
	if r.max <= 0 {
		return 0
	}
	if len(r.rows) >= r.max {
		r.rows, evicted = r.rows[1:], 1
		if len(r.rows) == cap(r.rows) {
			r.rows = append(make([]ringRow, 0, r.max+r.max/4+1), r.rows...)
		}
	}
	r.rows = append(r.rows, ringRow{x, tick})
	return evicted
}

// capture is the ring as it is now, for a reader beside it.
func (r *ring) capture() *ring {
	c := *r
	return &c
}

func (r *ring) batch() *column.Batch {
	b := column.NewBatch(r.schema, len(r.rows))
	for i := range r.rows {
		x := &r.rows[i]
		t := column.NullDatum
		if x.x.Time != 0 {
			t = column.I64(x.x.Time)
		}
		b.AppendRow(t, column.Str(x.x.Stream), column.Str(x.x.Query), column.Str(x.x.Reason), column.Str(x.x.Detail), column.Str(x.x.Origin.Agent),
			column.I64(int64(x.x.Origin.Epoch)), column.I64(int64(x.x.Origin.Seq)), column.I64(int64(x.x.Ordinal)), column.I64(x.tick), column.Str(x.x.Row))
	}
	return b
}
