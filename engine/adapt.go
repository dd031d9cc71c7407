package engine

import (
	"fmt"
	"math"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/stream"
)

// RejectedStream is the reserved stream on which agents report readings they had to refuse.
const RejectedStream = "$rejected"

// adapter brings batches of any layout to the declared schema of a stream.
type adapter struct {
	from  *column.Schema // layout of the last batch, and where its columns go
	src   []int          // per declared column: ordinal in from, -1 = missing
	extra int            // columns of from that are not declared
	nulls []*column.Column
}

// accepted is a batch that its stream took, ready for the pipelines.
type accepted struct {
	rel      *relation
	b        stream.Batch
	replayed bool
}

// adaptBatch checks one batch against its stream; refused rows are reported.
func (e *Engine) adaptBatch(in *StreamBatch) (accepted, bool) {
	n := in.Rows.Len
	e.counters.Received += uint64(n)
	if strings.EqualFold(in.Stream, RejectedStream) {
		e.agentRejected(in)
		return accepted{}, false
	}
	r := e.cat.find(in.Stream)
	if r == nil || r.kind != KindStream {
		for i := range n {
			e.refuse(nil, in, i, "unknown_stream", "the stream "+in.Stream+" is not declared; write CREATE STREAM "+in.Stream+" (…), or infer it with signalbox schema infer")
		}
		return accepted{}, false
	}
	rows, bad := e.layout(r, in)
	sel := e.checkTime(r, in, rows, bad)
	if n > 0 && sel != nil && len(sel) == 0 { // a batch that was sent empty goes on: complete mode answers it
		return accepted{}, false
	}
	count := n
	if sel != nil {
		count = len(sel)
	}
	e.counters.Applied += uint64(count)
	e.out.Applied += count
	b := stream.Batch{Rows: rows, Sel: sel, Origin: in.Origin, First: in.First}
	if sel == nil && e.ranged {
		b.MinTime, b.MaxTime, b.Ranged = e.minTime, e.maxTime, true
	}
	return accepted{rel: r, b: b, replayed: in.Replayed}, true
}

// layout returns the rows in the declared columns, and which rows do not fit (nil = all do).
func (e *Engine) layout(r *relation, in *StreamBatch) (*column.Batch, []bool) {
	if in.Rows.Schema == r.schema {
		return in.Rows, nil
	}
	a := &r.adapt
	if a.from != in.Rows.Schema {
		a.match(r.schema, in.Rows.Schema)
	}
	e.counters.ExtraColumns += uint64(a.extra)
	out := &column.Batch{Schema: r.schema, Cols: make([]*column.Column, len(r.schema.Fields)), Len: in.Rows.Len}
	var bad []bool
	for i, f := range r.schema.Fields {
		j := a.src[i]
		if j < 0 || in.Rows.Cols[j] == nil {
			out.Cols[i] = a.null(i, f.Type, out.Len)
			continue
		}
		src := in.Rows.Cols[j]
		if src.Type.Equal(f.Type) {
			out.Cols[i] = src
			continue
		}
		out.Cols[i], bad = e.convertColumn(r, in, src, f, bad)
	}
	return out, bad
}

func (a *adapter) match(s, from *column.Schema) {
	a.from, a.src, a.extra = from, a.src[:0], len(from.Fields)
	for _, f := range s.Fields {
		j := ordinalFold(from, f.Name)
		if j >= 0 {
			a.extra--
		}
		a.src = append(a.src, j)
	}
}

// null returns a column of n NULLs; it is shared and must not be written.
func (a *adapter) null(i int, t column.Type, n int) *column.Column {
	for len(a.nulls) <= i {
		a.nulls = append(a.nulls, nil)
	}
	if c := a.nulls[i]; c != nil && c.Len() == n {
		return c
	}
	c := column.New(t, n)
	for range n {
		c.AppendNull()
	}
	a.nulls[i] = c
	return c
}

// convertColumn widens a column; rows whose value does not fit are refused with reason type.
func (e *Engine) convertColumn(r *relation, in *StreamBatch, src *column.Column, f column.Field, bad []bool) (*column.Column, []bool) {
	out := column.New(f.Type, src.Len())
	for i := range src.Len() {
		d, ok := convert(src.Type, f.Type, src.Datum(i))
		if !ok {
			if bad == nil {
				bad = make([]bool, src.Len())
			}
			if !bad[i] {
				bad[i] = true
				e.refuse(r, in, i, "type", fmt.Sprintf("column %s of %s is %s, the reading has %s; change the sender or declare another type", f.Name, r.name, f.Type, src.Type))
			}
		}
		out.Append(d)
	}
	return out, bad
}

// convert widens a value without loss; ok is false when it does not fit.
func convert(from, to column.Type, d column.Datum) (column.Datum, bool) {
	switch {
	case d.Null || from.Equal(to):
		return d, true
	case from.Kind.IsIntegral() && to.Kind.IsIntegral():
		lo, hi := integerRange(to.Kind)
		return d, d.I >= lo && d.I <= hi
	case from.Kind.IsIntegral() && to.Kind == column.Double:
		return column.F64(float64(d.I)), true
	case from.Kind == column.Float && to.Kind == column.Double:
		return d, true
	case from.Kind == column.TimestampNS && to.Kind == column.Timestamp:
		return column.I64(column.FloorMicros(d.I)), true
	case to.Kind == column.Timestamp && from.Kind == column.TimestampNTZ:
		return d, true
	}
	return column.NullDatum, false
}

func integerRange(k column.Kind) (lo, hi int64) {
	switch k {
	case column.TinyInt:
		return math.MinInt8, math.MaxInt8
	case column.SmallInt:
		return math.MinInt16, math.MaxInt16
	case column.Int:
		return math.MinInt32, math.MaxInt32
	}
	return math.MinInt64, math.MaxInt64
}

// checkTime refuses rows without time and rows of the future; it returns the
// accepted rows, nil = all.
func (e *Engine) checkTime(r *relation, in *StreamBatch, rows *column.Batch, bad []bool) []int32 {
	var t *column.Column
	if r.schema.Time >= 0 {
		t = rows.Cols[r.schema.Time]
	}
	limit := int64(math.MaxInt64)
	if in.Received != 0 {
		limit = column.FloorMicros(in.Received) + e.opt.FutureLimit
	}
	e.ranged = false
	if t != nil && !t.HasNulls() && rows.Len > 0 {
		e.minTime, e.maxTime = timeRange(t.I64[:rows.Len])
		e.ranged = true
	}
	if bad == nil && (t == nil || e.ranged && e.maxTime <= limit) {
		return nil
	}
	sel := make([]int32, 0, rows.Len)
	for i := range rows.Len {
		switch {
		case bad != nil && bad[i]:
		case t != nil && t.IsNull(i) && !e.opt.NullTimes:
			e.refuse(r, in, i, "no_time", "the reading has no "+r.schema.Fields[r.schema.Time].Name+"; send a time, or let the agent set it")
		case t != nil && !t.IsNull(i) && t.I64[i] > limit:
			e.refuse(r, in, i, "future", fmt.Sprintf("its time is %d s after its receipt; correct the clock of the device", (t.I64[i]-column.FloorMicros(in.Received))/1_000_000))
		default:
			sel = append(sel, int32(i))
		}
	}
	return sel
}

// timeRange finds the smallest and the largest value. What is in order already
// needs one comparison a value; the rest goes two at a time, because the
// comparisons of a single chain would wait for each other.
func timeRange(v []int64) (lo, hi int64) {
	n := 1
	for n < len(v) && v[n-1] <= v[n] {
		n++
	}
	lo, hi = v[0], v[n-1]
	v = v[n:]
	lo2, hi2 := lo, hi
	for len(v) >= 2 {
		a, b := v[0], v[1]
		lo, hi = min(lo, a), max(hi, a)
		lo2, hi2 = min(lo2, b), max(hi2, b)
		v = v[2:]
	}
	for _, a := range v {
		lo, hi = min(lo, a), max(hi, a)
	}
	return min(lo, lo2), max(hi, hi2)
}

// refuse reports a row that its stream did not take.
func (e *Engine) refuse(r *relation, in *StreamBatch, row int, reason, detail string) {
	x := Refused{Stream: in.Stream, Reason: reason, Detail: detail, Origin: in.Origin, Ordinal: row}
	if t := in.Rows.Schema.Time; t >= 0 && t < len(in.Rows.Cols) && in.Rows.Cols[t] != nil && !in.Rows.Cols[t].IsNull(row) {
		x.Time = in.Rows.Cols[t].I64[row]
		if in.Rows.Cols[t].Type.Kind == column.TimestampNS {
			x.Time = column.FloorMicros(x.Time)
		}
	}
	x.Row = rowJSON(in.Rows.Schema, in.Rows.Row(row))
	if r != nil {
		x.Stream = r.name
	}
	e.reject(r, x)
}

func (e *Engine) reject(r *relation, x Refused) {
	e.counters.Rejected[x.Reason]++
	e.out.Rejected = append(e.out.Rejected, x)
	e.counters.RingEvict += e.rejected.add(x, e.tick)
	if r != nil && r.rejected != nil {
		e.counters.RingEvict += r.rejected.add(x, e.tick)
	}
}

// agentRejected takes the report of an agent about readings it refused itself.
func (e *Engine) agentRejected(in *StreamBatch) {
	text := func(name string, i int) string {
		j := in.Rows.Schema.Ordinal(name)
		if j < 0 || in.Rows.Cols[j] == nil || in.Rows.Cols[j].IsNull(i) || in.Rows.Cols[j].Type.Kind != column.String {
			return ""
		}
		return in.Rows.Cols[j].Str(i)
	}
	for i := range in.Rows.Len {
		x := Refused{Stream: text("stream", i), Reason: text("reason", i), Detail: text("detail", i), Row: text("payload", i), Origin: in.Origin, Ordinal: i}
		if topic := text("topic", i); topic != "" {
			x.Detail = strings.TrimSpace("topic " + topic + ": " + x.Detail)
		}
		if x.Reason == "" {
			x.Reason = "malformed"
		}
		if t := in.Rows.Schema.Ordinal("time"); t >= 0 && in.Rows.Cols[t] != nil && !in.Rows.Cols[t].IsNull(i) {
			if x.Time = in.Rows.Cols[t].I64[i]; in.Rows.Cols[t].Type.Kind == column.TimestampNS {
				x.Time = column.FloorMicros(x.Time)
			}
		}
		r := e.cat.find(x.Stream)
		if r != nil && r.kind != KindStream {
			r = nil
		}
		e.reject(r, x)
	}
}
