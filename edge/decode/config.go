package decode

import (
	"errors"
	"fmt"
	"strings"

	"signalbox/engine/column"
)

// Mapping says how messages of a topic become readings of a stream.
type Mapping struct {
	Topic    string   `yaml:"topic" help:"MQTT topic; {name} and + take one level, # at the end any number of further ones"`
	Format   string   `yaml:"format" default:"line_protocol" help:"line_protocol (streams and columns come from the text) or json (with stream, time and columns below)"`
	MaxBytes int      `yaml:"max_bytes" default:"65536" help:"a longer payload is rejected as oversized"`
	Unit     string   `yaml:"unit" default:"ns" help:"line_protocol: unit of timestamps, s, ms, us or ns"`
	Stream   string   `yaml:"stream" help:"json: name of the stream"`
	Rows     string   `yaml:"rows" help:"json: path of the array whose elements are the rows; empty = one row a message. Columns read them with @"`
	Time     Time     `yaml:"time" help:"json: where the event time is"`
	Columns  []Column `yaml:"columns" help:"json: the columns"`
}

// Time says where the event time of a message is.
type Time struct {
	From string `yaml:"from" default:"$.time" help:"path, or received for the time of receipt"`
	Unit string `yaml:"unit" default:"rfc3339" help:"rfc3339, s, ms, us or ns"`
}

// Column says where the value of a column is.
type Column struct {
	Name     string `yaml:"name"`
	Type     string `yaml:"type" default:"STRING" help:"STRING, BIGINT, DOUBLE, BOOLEAN or TIMESTAMP (rfc3339 text)"`
	From     string `yaml:"from" help:"path ($.a.b, @.in, sum($.a[*].in)) or topic levels ({operator}/{vehicle})"`
	Value    string `yaml:"value" help:"constant, instead of from"`
	Required bool   `yaml:"required" help:"a message without it is rejected as missing"`
}

// Defaults of a Mapping's fields, as the tags say them.
const (
	DefaultMaxBytes = 64 << 10
	formatLine      = "line_protocol"
	formatJSON      = "json"
)

var units = map[string]int64{"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1}

var kinds = map[string]column.Kind{"": column.String, "STRING": column.String, "BIGINT": column.BigInt, "DOUBLE": column.Double,
	"BOOLEAN": column.Boolean, "TIMESTAMP": column.TimestampNS}

// mapping is a Mapping made ready.
type mapping struct {
	topic   *pattern
	max     int
	json    bool
	unit    int64
	rows    *path
	time    *path // nil = time of receipt
	timeIn  int64 // ns per unit, 0 = RFC 3339
	columns []source
	schema  *column.Schema
}

type source struct {
	name     string
	kind     column.Kind
	path     *path
	text     template // of topic levels and constants, when path is nil
	required bool
}

func prepare(m *Mapping) (*mapping, error) {
	p, err := parsePattern(m.Topic)
	if err != nil {
		return nil, err
	}
	out := &mapping{topic: p, max: m.MaxBytes, unit: units[m.Unit]}
	if out.max == 0 {
		out.max = DefaultMaxBytes
	}
	if m.Unit == "" {
		out.unit = 1
	}
	switch {
	case out.max < 1 || out.max > 1<<20:
		return nil, fmt.Errorf("topic %s: max_bytes is %d, it must be 1 to 1048576", m.Topic, m.MaxBytes)
	case out.unit == 0:
		return nil, fmt.Errorf("topic %s: unit %q is not s, ms, us or ns", m.Topic, m.Unit)
	case m.Format == formatLine || m.Format == "":
		if m.Stream != "" || len(m.Columns) > 0 {
			return nil, fmt.Errorf("topic %s: stream and columns are for format json; line protocol names them itself", m.Topic)
		}
		return out, nil
	case m.Format != formatJSON:
		return nil, fmt.Errorf("topic %s: format %q is not line_protocol or json", m.Topic, m.Format)
	}
	out.json = true
	if err := out.prepareJSON(m); err != nil {
		return nil, fmt.Errorf("topic %s: %w", m.Topic, err)
	}
	return out, nil
}

func (out *mapping) prepareJSON(m *Mapping) error {
	if m.Stream == "" || strings.HasPrefix(m.Stream, "$") || len(m.Stream) > 256 {
		return fmt.Errorf("stream is %q: format json needs a name of 1 to 256 bytes that does not start with $", m.Stream)
	}
	if m.Rows != "" {
		p, err := parsePath(m.Rows)
		if err != nil && !errors.Is(err, errMany) || p.fn != "" || p.row {
			return fmt.Errorf("rows: %q must be a path from $: %w", m.Rows, err)
		}
		out.rows = p
	}
	if err := out.prepareTime(&m.Time); err != nil {
		return err
	}
	out.schema = &column.Schema{Name: m.Stream, Fields: []column.Field{{Name: "time", Type: column.Of(column.TimestampNS)}}}
	for i := range m.Columns {
		s, err := out.source(&m.Columns[i])
		if err != nil {
			return fmt.Errorf("column %s: %w", m.Columns[i].Name, err)
		}
		out.columns = append(out.columns, s)
		out.schema.Fields = append(out.schema.Fields, column.Field{Name: s.name, Type: column.Of(s.kind)})
	}
	if len(out.columns) == 0 || len(out.columns) > 255 {
		return fmt.Errorf("%d columns, 1 to 255 are possible", len(out.columns))
	}
	return nil
}

func (out *mapping) prepareTime(t *Time) error {
	from := t.From
	if from == "" {
		from = "$.time"
	}
	unit, known := units[t.Unit]
	if !known && t.Unit != "" && t.Unit != "rfc3339" {
		return fmt.Errorf("time: unit %q is not rfc3339, s, ms, us or ns", t.Unit)
	}
	out.timeIn = unit
	if from == "received" {
		return nil
	}
	p, err := parsePath(from)
	if err != nil {
		return fmt.Errorf("time: %w", err)
	}
	if p.row && out.rows == nil {
		return fmt.Errorf("time: %s reads a row, but rows is not set", from)
	}
	out.time = p
	return nil
}

func (out *mapping) source(c *Column) (source, error) {
	kind, ok := kinds[strings.ToUpper(c.Type)]
	s := source{name: c.Name, kind: kind, required: c.Required}
	switch {
	case !ok:
		return s, fmt.Errorf("type %q is not STRING, BIGINT, DOUBLE, BOOLEAN or TIMESTAMP", c.Type)
	case c.Name == "" || len(c.Name) > 256:
		return s, fmt.Errorf("name must be 1 to 256 bytes")
	case out.schema.Ordinal(c.Name) >= 0:
		return s, fmt.Errorf("name is taken")
	case (c.From == "") == (c.Value == ""):
		return s, fmt.Errorf("give either from or value")
	case c.Value != "":
		s.text = template{{c.Value, -1}}
		return s, nil
	}
	if strings.HasPrefix(c.From, "{") {
		t, err := out.topic.template(c.From)
		s.text = t
		return s, err
	}
	p, err := parsePath(c.From)
	if err == nil && p.row && out.rows == nil {
		err = fmt.Errorf("%s reads a row, but rows is not set", c.From)
	}
	if err != nil {
		return s, fmt.Errorf("from: %w", err)
	}
	s.path = p
	return s, nil
}
