package mqtt

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"signalbox/engine/alert"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// Version is the version of the payloads, in their field "v". Fields may be
// added within a version, never renamed or given another meaning.
const Version = 1

// AlertPayload is the JSON of the topics state, event and history.
type AlertPayload struct {
	V           int         `json:"v"`
	ID          string      `json:"id"`      // the alert, over all its episodes
	Episode     string      `json:"episode"` // RFC 3339: event time at which this episode began
	Seq         uint64      `json:"seq"`     // per alert, growing; a rule that was removed and made anew begins at 1 again. Drop what has neither a later episode nor a higher seq.
	Group       string      `json:"group"`
	Rule        string      `json:"rule"`
	From        alert.State `json:"from"`
	State       alert.State `json:"state"` // inactive, pending, firing, no-data, resolved
	At          string      `json:"at"`    // RFC 3339: event time of the transition
	Value       string      `json:"value"`
	Labels      orderedMap  `json:"labels"`
	Annotations orderedMap  `json:"annotations"`
	Historical  bool        `json:"historical"` // would have fired; it is over
}

// orderedMap is a JSON object in the order of its labels: equal transitions give equal bytes.
type orderedMap []alert.Label

// MarshalJSON writes the object.
func (m orderedMap) MarshalJSON() ([]byte, error) { return []byte(row.Labels(m)), nil }

// UnmarshalJSON reads the object, for consumers written in Go.
func (m *orderedMap) UnmarshalJSON(b []byte) error {
	var plain map[string]string
	if err := json.Unmarshal(b, &plain); err != nil {
		return err
	}
	*m = (*m)[:0]
	for name, value := range plain {
		*m = append(*m, alert.Label{Name: name, Value: value})
	}
	return nil
}

// Get returns the value of a label, or "".
func (m orderedMap) Get(name string) string {
	for _, l := range m {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

func alertPayload(a *alert.Transition) ([]byte, error) {
	return json.Marshal(AlertPayload{V: Version, ID: a.ID, Episode: row.Timestamp(a.Episode), Seq: a.Seq, Group: a.Group, Rule: a.Rule,
		From: a.From, State: a.To, At: row.Timestamp(a.At), Value: a.Value, Labels: a.Labels, Annotations: a.Annotations, Historical: a.Historical})
}

// rowPayload writes {"v":1,"table":…,"id":…,"revision":…,"index":…,"complete":…,"expected":…,"row":{…}}.
func rowPayload(b *sinks.Batch, i int) []byte {
	dst := append([]byte(`{"v":`), strconv.Itoa(Version)...)
	dst = append(dst, `,"table":`...)
	dst = row.AppendString(dst, b.Table.Name)
	dst = fmt.Appendf(dst, `,"id":"%x","revision":%d,"index":%d`, b.IDs[i], b.Revisions[i], b.Index)
	if b.Complete != nil && b.Expected != nil {
		dst = fmt.Appendf(dst, `,"complete":%d,"expected":%d`, b.Complete[i], b.Expected[i])
	}
	dst = append(dst, `,"row":{`...)
	for c, f := range b.Rows.Schema.Fields {
		if c > 0 {
			dst = append(dst, ',')
		}
		dst = append(row.AppendString(dst, f.Name), ':')
		dst = row.AppendJSON(dst, f.Type, row.Cell(b.Rows, c, i))
	}
	return append(dst, '}', '}')
}

// Topic joins levels to a topic; each is escaped.
func Topic(prefix string, levels ...string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, l := range levels {
		b.WriteByte('/')
		writeLevel(&b, l)
	}
	return b.String()
}

// maxLevel bounds an escaped level in bytes: a topic has 65,535 in all.
const maxLevel = 1024

func writeLevel(b *strings.Builder, level string) {
	if level == "" {
		b.WriteString("%00")
		return
	}
	start := b.Len()
	for i := 0; i < len(level) && b.Len()-start < maxLevel; i++ {
		switch c := level[i]; {
		case c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#' || c == '%' || (i == 0 && c == '$'):
			fmt.Fprintf(b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
}

// entityLevels are the table and the values that name the entity of a row. Rows
// without an entity share one topic: retained messages stay few.
func entityLevels(b *sinks.Batch, i int) []string {
	out := []string{"table", b.Table.Name}
	for _, n := range b.Table.Entity {
		c := b.Rows.Schema.Ordinal(n)
		if d := row.Cell(b.Rows, c, i); c >= 0 && !d.Null {
			out = append(out, strings.ToValidUTF8(row.Text(b.Rows.Schema.Fields[c].Type, d), "�"))
		} else {
			out = append(out, "")
		}
	}
	return out
}
