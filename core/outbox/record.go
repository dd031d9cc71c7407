package outbox

import (
	"encoding/binary"

	"signalbox/core/codec"
	"signalbox/engine"
	"signalbox/engine/alert"
	"signalbox/engine/column"
	"signalbox/sinks"
)

// Kinds of record.
const (
	recordRows = iota + 1
	recordAlerts
)

func sameField(a, b column.Field) bool { return a.Name == b.Name && a.Type.Equal(b.Type) }

func (o *Outbox) appendChanges(dst []byte, time int64, c *engine.Changes) []byte {
	def, ok := o.current[c.Table]
	if !ok || (o.defs[def].Schema != c.Rows.Schema && !sameTable(o.defs[def], withSchema(o.defs[def], c.Rows.Schema))) {
		t := sinks.Table{Name: c.Table}
		if ok {
			t = o.defs[def]
		}
		def = o.define(withSchema(t, c.Rows.Schema))
	}
	dst = append(dst, recordRows)
	dst = binary.AppendVarint(dst, time)
	dst = binary.AppendUvarint(dst, uint64(def))
	dst = o.enc.AppendRows(dst, c.Rows)
	for i := range c.IDs {
		dst = append(dst, c.IDs[i][:]...)
	}
	for _, r := range c.Revisions {
		dst = binary.AppendUvarint(dst, uint64(r))
	}
	for i := range c.Rows.Len {
		dst = codec.AppendBool(dst, len(c.Deleted) > i && c.Deleted[i])
	}
	dst = appendCounts(dst, c.Complete)
	return appendCounts(dst, c.Expected)
}

func withSchema(t sinks.Table, s *column.Schema) sinks.Table {
	t.Schema = s
	return t
}

func appendCounts(dst []byte, v []int32) []byte {
	dst = codec.AppendBool(dst, v != nil)
	for _, n := range v {
		dst = binary.AppendVarint(dst, int64(n))
	}
	return dst
}

func appendAlerts(dst []byte, time int64, ts []alert.Transition) []byte {
	dst = append(dst, recordAlerts)
	dst = binary.AppendVarint(dst, time)
	dst = binary.AppendUvarint(dst, uint64(len(ts)))
	for i := range ts {
		t := &ts[i]
		dst = codec.AppendString(dst, t.ID)
		dst = binary.AppendVarint(dst, t.Episode)
		dst = binary.AppendUvarint(dst, t.Seq)
		dst = codec.AppendString(codec.AppendString(dst, t.Group), t.Rule)
		dst = codec.AppendString(codec.AppendString(dst, string(t.From)), string(t.To))
		dst = binary.AppendVarint(dst, t.At)
		dst = codec.AppendString(dst, t.Value)
		dst = appendLabels(appendLabels(dst, t.Labels), t.Annotations)
		dst = codec.AppendBool(dst, t.Historical)
	}
	return dst
}

func appendLabels(dst []byte, ls []alert.Label) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ls)))
	for _, l := range ls {
		dst = codec.AppendString(codec.AppendString(dst, l.Name), l.Value)
	}
	return dst
}

func decodeRecord(payload []byte, defs []sinks.Table) (sinks.Batch, error) {
	r := codec.NewReader(payload, "outbox record")
	kind := r.Byte()
	b := sinks.Batch{Time: r.Varint()}
	switch kind {
	case recordRows:
		def := r.Uvarint()
		if def >= uint64(len(defs)) {
			r.Fail("table definition %d of %d", def, len(defs))
			break
		}
		b.Table = defs[def]
		decodeRows(r, &b)
	case recordAlerts:
		for range r.Count() {
			b.Alerts = append(b.Alerts, decodeAlert(r))
		}
	default:
		r.Fail("record kind %d", kind)
	}
	return b, r.End()
}

func decodeRows(r *codec.Reader, b *sinks.Batch) {
	b.Rows = r.Rows(b.Table.Schema)
	n := b.Rows.Len
	if r.Err() != nil || n > r.Left()/18 { // id, revision and flag of each row
		r.Fail("%d rows in %d bytes", n, r.Left())
		return
	}
	b.IDs = make([][16]byte, n)
	for i := range n {
		b.IDs[i] = r.Hash()
	}
	b.Revisions = make([]uint32, n)
	for i := range n {
		b.Revisions[i] = uint32(r.Uvarint())
	}
	b.Deleted = make([]bool, n)
	for i := range n {
		b.Deleted[i] = r.Bool()
	}
	b.Complete, b.Expected = decodeCounts(r, n), decodeCounts(r, n)
}

func decodeCounts(r *codec.Reader, n int) []int32 {
	if !r.Bool() {
		return nil
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(r.Varint())
	}
	return out
}

func decodeAlert(r *codec.Reader) alert.Transition {
	t := alert.Transition{ID: r.String(), Episode: r.Varint(), Seq: r.Uvarint(), Group: r.String(), Rule: r.String()}
	t.From, t.To = alert.State(r.String()), alert.State(r.String())
	t.At, t.Value = r.Varint(), r.String()
	t.Labels, t.Annotations = decodeLabels(r), decodeLabels(r)
	t.Historical = r.Bool()
	return t
}

func decodeLabels(r *codec.Reader) []alert.Label {
	n := r.Count()
	if n == 0 {
		return nil
	}
	out := make([]alert.Label, 0, n)
	for range n {
		out = append(out, alert.Label{Name: r.String(), Value: r.String()})
	}
	return out
}
