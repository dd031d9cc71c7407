package alert

import (
	"cmp"
	"slices"
	"strings"

	"signalbox/engine/column"
)

// Active is an alert that is pending, firing or without data; in the answer of Resolved, one that is over.
type Active struct {
	ID          string
	Group, Rule string
	State       State
	Episode     int64 // event time of the first true reading, µs
	Since       int64 // event time of the last transition, µs
	Last        int64 // event time of the last evaluated reading, µs
	Seq         uint64
	Value       string
	Labels      []Label
	Annotations []Label
}

// Active lists the alerts that are pending, firing or without data, in order of rule and id.
func (c *Capture) Active() []Active {
	return c.list(func(told phase) bool { return told != inactive && told != resolved })
}

// Resolved lists at most n alerts whose last transition was that they are over, the latest first.
func (c *Capture) Resolved(n int) []Active {
	out := c.list(func(told phase) bool { return told == resolved })
	slices.SortStableFunc(out, func(a, b Active) int { return cmp.Compare(b.Since, a.Since) })
	return out[:min(n, len(out))]
}

func (c *Capture) list(wanted func(told phase) bool) []Active {
	var out []Active
	for _, r := range c.rules {
		from := len(out)
		r.each(c.lock, func(packed string, x *keyState) {
			if !wanted(x.told) {
				return
			}
			a := Active{ID: r.c.id(packed), Group: r.c.Group, Rule: r.c.Name, State: phaseStates[x.told], Episode: x.episode, Since: x.at, Last: x.last, Seq: x.seq}
			a.Value = x.text.value
			a.Labels, a.Annotations = r.c.expand(packed, &x.text)
			out = append(out, a)
		})
		slices.SortFunc(out[from:], func(a, b Active) int { return strings.Compare(a.ID, b.ID) })
	}
	return out
}

// Active is Capture.Active of this moment.
func (s *Set) Active() (out []Active) {
	s.now(func(c *Capture) { out = c.Active() })
	return out
}

// Resolved is Capture.Resolved of this moment.
func (s *Set) Resolved(n int) (out []Active) {
	s.now(func(c *Capture) { out = c.Resolved(n) })
	return out
}

// Schema is the schema of Table.
func Schema() *column.Schema {
	text, when := column.Of(column.String), column.Of(column.Timestamp)
	labels := column.Type{Kind: column.Map, Key: &text, Elem: &text}
	return &column.Schema{Name: "alerts", Time: -1, Fields: []column.Field{{Name: "id", Type: text}, {Name: "rule_group", Type: text},
		{Name: "rule", Type: text}, {Name: "state", Type: text}, {Name: "episode", Type: when}, {Name: "since", Type: when}, {Name: "last", Type: when},
		{Name: "seq", Type: column.Of(column.BigInt)}, {Name: "value", Type: text}, {Name: "labels", Type: labels}, {Name: "annotations", Type: labels}}}
}

// Table is Active as rows, for queries.
func (c *Capture) Table() *column.Batch {
	list := c.Active()
	b := column.NewBatch(Schema(), len(list))
	for _, a := range list {
		last := column.I64(a.Last)
		if a.Last == unset {
			last = column.NullDatum
		}
		b.AppendRow(column.Str(a.ID), column.Str(a.Group), column.Str(a.Rule), column.Str(string(a.State)), column.I64(a.Episode), column.I64(a.Since), last,
			column.I64(int64(a.Seq)), column.Str(a.Value), labelMap(a.Labels), labelMap(a.Annotations))
	}
	return b
}

func labelMap(list []Label) column.Datum {
	d := column.Datum{L: []column.Datum{}}
	for _, l := range list {
		d.L = append(d.L, column.Str(l.Name), column.Str(l.Value))
	}
	return d
}
