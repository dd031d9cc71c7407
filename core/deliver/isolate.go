package deliver

import (
	"fmt"
	"strings"

	"signalbox/core/fsm"
	"signalbox/engine/column"
	"signalbox/sinks"
)

// halve splits batches in two non-empty parts, down to single rows and transitions.
func halve(batches []sinks.Batch) (left, right []sinks.Batch, ok bool) {
	if n := len(batches); n > 1 {
		return batches[:n/2], batches[n/2:], true
	}
	if len(batches) == 0 {
		return nil, nil, false
	}
	b := batches[0]
	if n := len(b.Alerts); n > 1 {
		l, r := b, b
		l.Alerts, r.Alerts = b.Alerts[:n/2], b.Alerts[n/2:]
		return []sinks.Batch{l}, []sinks.Batch{r}, true
	}
	if b.Rows == nil || b.Rows.Len < 2 {
		return nil, nil, false
	}
	n := b.Rows.Len
	return []sinks.Batch{slice(b, 0, n/2)}, []sinks.Batch{slice(b, n/2, n)}, true
}

// cursorBefore is the position that is safe while right is not yet stored.
func cursorBefore(right []sinks.Batch) uint64 { return right[0].Index - 1 }

func slice(b sinks.Batch, from, to int) sinks.Batch {
	rows := make([]int32, 0, to-from)
	for i := from; i < to; i++ {
		rows = append(rows, int32(i))
	}
	out := b
	out.Rows = &column.Batch{Schema: b.Rows.Schema, Cols: make([]*column.Column, len(b.Rows.Cols)), Len: to - from}
	for i, c := range b.Rows.Cols {
		if c != nil {
			out.Rows.Cols[i] = column.New(c.Type, to-from)
			out.Rows.Cols[i].Take(c, rows)
		}
	}
	out.IDs, out.Revisions, out.Deleted = b.IDs[from:to], b.Revisions[from:to], b.Deleted[from:to]
	if b.Complete != nil {
		out.Complete = b.Complete[from:to]
	}
	if b.Expected != nil {
		out.Expected = b.Expected[from:to]
	}
	return out
}

// refusal describes a row or transition that a sink will never take.
func refusal(sink string, batches []sinks.Batch, err error) fsm.SinkRefusal {
	r := fsm.SinkRefusal{Sink: sink, Detail: err.Error()}
	if len(batches) == 0 {
		return r
	}
	b := batches[0]
	r.Time = b.Time
	if len(b.Alerts) > 0 {
		r.Table, r.Row = "alerts", b.Alerts[0].ID
		return r
	}
	r.Table = b.Table.Name
	var s strings.Builder
	for i, d := range b.Rows.Row(0) {
		if s.Len() > refusalRowSize {
			break
		}
		f := b.Rows.Schema.Fields[i]
		switch {
		case d.Null:
			fmt.Fprintf(&s, "%s=NULL ", f.Name)
		case f.Type.Kind.Storage() == column.StoreF64:
			fmt.Fprintf(&s, "%s=%g ", f.Name, d.F)
		case f.Type.Kind.Storage() == column.StoreDict:
			fmt.Fprintf(&s, "%s=%q ", f.Name, d.S)
		default:
			fmt.Fprintf(&s, "%s=%d ", f.Name, d.I)
		}
	}
	r.Row = s.String()[:min(s.Len(), refusalRowSize)]
	return r
}
