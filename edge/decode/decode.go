// Package decode turns MQTT messages into typed columns: line protocol as it
// is, JSON by a mapping of topic levels and paths to columns.
//
// It promises that every message ends as readings or as a row of the reserved
// stream $rejected that says why, where and what it looked like, never as a
// panic and never as silence. It refuses to know MQTT, disks and the core.
package decode

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"signalbox/engine/column"
	"signalbox/engine/lineproto"
)

// RejectedStream is the reserved stream of what was refused.
const RejectedStream = "$rejected"

// Bounds of a row of RejectedStream, in bytes.
const (
	maxPayload = 1 << 10
	maxDetail  = 512
	maxTopic   = 512
)

// maxString is the longest value of a STRING column, as in a frame.
const maxString = 64 << 10

// Reason says why a message or a line was refused, in one word.
type Reason string

// The reasons beside those of package lineproto.
const (
	Malformed  Reason = "malformed"  // not JSON, not line protocol, not UTF-8
	Oversized  Reason = "oversized"  // longer than max_bytes
	NoTime     Reason = "no_time"    // no event time, or one that cannot be read
	WrongType  Reason = "type"       // a value does not fit its column
	Missing    Reason = "missing"    // a required column is not there
	NoMapping  Reason = "no_mapping" // no mapping has this topic
	maxReasons        = 32
)

// Decoder collects readings of many messages. Not safe for concurrent use.
type Decoder struct {
	maps     []*mapping
	lines    map[int64]*lineproto.Decoder // by unit
	open     []*column.Batch              // by mapping, nil = no rows yet
	rejects  *column.Batch
	refused  map[Reason]uint64
	doc      document
	levels   []string
	scratch  []byte
	topic    string // of the message being decoded
	received int64
	readings int
	rejected int
}

// New makes a Decoder. An error says which mapping is wrong and how.
func New(mappings []Mapping) (*Decoder, error) {
	if len(mappings) == 0 {
		return nil, fmt.Errorf("decode: no mappings: name at least one topic")
	}
	d := &Decoder{lines: map[int64]*lineproto.Decoder{}, refused: map[Reason]uint64{}}
	for i := range mappings {
		m, err := prepare(&mappings[i])
		if err != nil {
			return nil, fmt.Errorf("decode: mapping %d: %w", i+1, err)
		}
		d.maps = append(d.maps, m)
		if !m.json && d.lines[m.unit] == nil {
			d.lines[m.unit] = lineproto.NewDecoder(lineproto.DecoderOptions{Reserved: '$', Unit: m.unit, OnError: d.refusedLine})
		}
	}
	d.open = make([]*column.Batch, len(d.maps))
	return d, nil
}

// Filters returns the topic filters to subscribe to, each once.
func (d *Decoder) Filters() []string {
	var out []string
	seen := map[string]bool{}
	for _, m := range d.maps {
		if f := m.topic.filter(); !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

// MaxBytes is the largest payload that any mapping takes.
func (d *Decoder) MaxBytes() (n int) {
	for _, m := range d.maps {
		n = max(n, m.max)
	}
	return n
}

// Decode takes a message received at a time in ns. It returns how many readings and how many rejected rows it became.
func (d *Decoder) Decode(topic string, payload []byte, received int64) (readings, rejected int) {
	d.topic, d.received = topic, received
	before, refused := d.readings, d.rejected
	d.message(payload)
	return d.readings - before, d.rejected - refused
}

func (d *Decoder) message(payload []byte) {
	for i, m := range d.maps {
		levels, ok := m.topic.match(d.topic, d.levels)
		d.levels = levels
		switch {
		case !ok:
			continue
		case len(payload) > m.max:
			d.reject("", Oversized, fmt.Sprintf("payload of %d bytes or more, at most %d are allowed (max_bytes)", len(payload), m.max), payload)
		case len(payload) == 0:
			d.reject("", Malformed, "the payload is empty", payload)
		case m.json:
			d.json(i, m, payload)
		case !utf8.Valid(payload):
			d.reject("", Malformed, "payload is not UTF-8", payload)
		default:
			d.readings += d.lines[m.unit].Append(payload, d.received)
		}
		return
	}
	d.reject("", NoMapping, "no mapping has this topic: subscribe to less, or map it", payload)
}

func (d *Decoder) refusedLine(e *lineproto.LineError) {
	d.reject(e.Stream, Reason(e.Reason), fmt.Sprintf("line %d, byte %d: %s", e.Line, e.Offset, e.Detail), e.Text)
}

var rejectedFields = []column.Field{
	{Name: "time", Type: column.Of(column.TimestampNS)}, {Name: "stream", Type: column.Of(column.String)}, {Name: "topic", Type: column.Of(column.String)},
	{Name: "reason", Type: column.Of(column.String)}, {Name: "detail", Type: column.Of(column.String)}, {Name: "payload", Type: column.Of(column.String)}}

func (d *Decoder) reject(stream string, why Reason, detail string, payload []byte) {
	if _, known := d.refused[why]; !known && len(d.refused) >= maxReasons {
		why = Malformed
	}
	d.refused[why]++
	d.rejected++
	if d.rejects == nil {
		d.rejects = column.NewBatch(&column.Schema{Name: RejectedStream, Fields: rejectedFields}, 8)
	}
	d.rejects.AppendRow(column.I64(d.received), column.Str(printable([]byte(stream), maxTopic)), column.Str(printable([]byte(d.topic), maxTopic)),
		column.Str(string(why)), column.Str(printable([]byte(detail), maxDetail)), column.Str(printable(payload, maxPayload)))
}

// printable cuts to a number of bytes and makes the rest UTF-8 without NUL.
func printable(b []byte, limit int) string {
	s := strings.ReplaceAll(strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\uFFFD"), "\x00", "\uFFFD")
	for len(s) > limit {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// Refused returns how many rows were rejected since New, by reason.
func (d *Decoder) Refused() map[Reason]uint64 {
	out := make(map[Reason]uint64, len(d.refused))
	for k, v := range d.refused {
		out[k] = v
	}
	return out
}

// Open returns how many batches Take would return, about.
func (d *Decoder) Open() int {
	n := 0
	for _, b := range d.open {
		if b != nil {
			n++
		}
	}
	for _, l := range d.lines {
		n += l.Open()
	}
	return n
}

// Refuse turns a message that was decoded, but that nobody can carry, into a rejected row.
func (d *Decoder) Refuse(topic string, payload []byte, received int64, why Reason, detail string) {
	d.topic, d.received = topic, received
	d.reject("", why, detail, payload)
}

// Take hands over what was decoded since the last Take, rejected rows last, and starts anew.
func (d *Decoder) Take() []*column.Batch {
	var out []*column.Batch
	for i, b := range d.open {
		if b != nil && b.Len > 0 {
			out = append(out, b)
		}
		d.open[i] = nil
	}
	for _, m := range d.maps { // in the order of the configuration, not of a map
		if l := d.lines[m.unit]; !m.json && l.Rows() > 0 {
			out = append(out, l.Take()...)
		}
	}
	if d.rejects != nil {
		out = append(out, d.rejects)
		d.rejects = nil
	}
	return out
}

// MaxTime returns the newest event time of a batch that is at most limit, and the oldest; ok = false when there is none.
func MaxTime(b *column.Batch, limit int64) (oldest, newest int64, ok bool) {
	oldest, newest = math.MaxInt64, math.MinInt64
	c := b.Cols[b.Schema.Time]
	for i, t := range c.I64[:b.Len] {
		if !c.IsNull(i) && t <= limit {
			oldest, newest, ok = min(oldest, t), max(newest, t), true
		}
	}
	return oldest, newest, ok
}
