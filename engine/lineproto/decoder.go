package lineproto

import (
	"fmt"
	"math"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"

	"signalbox/engine/column"
)

// TimeColumn is the name of the event-time column of a Decoder's batches.
const TimeColumn = "time"

// MaxOpen is the number of batches a Decoder keeps open between two calls of Take.
const MaxOpen = 1024

// DecoderOptions of a Decoder.
type DecoderOptions struct {
	Reserved byte             // streams whose name begins with it are refused, 0 = none
	Unit     int64            // ns per unit of the timestamps, 0 = 1
	OnError  func(*LineError) // called for each refused line; nil = they are only counted
}

// Decoder turns messages whose streams are not known into columns typed by
// what it reads: tags STRING, integers BIGINT, floats DOUBLE, BOOLEAN, STRING,
// time TIMESTAMP_NS first. Rows add up over messages until Take. A row whose
// field types conflict with the open batch of its stream starts another one.
type Decoder struct {
	opt     DecoderOptions
	win     *window
	lib     library
	open    map[string][]*builder
	order   []*builder
	entry   entry
	rows    int
	refused int64
}

// NewDecoder returns a Decoder.
func NewDecoder(opt DecoderOptions) *Decoder {
	if opt.Unit <= 0 {
		opt.Unit = 1
	}
	d := &Decoder{opt: opt, win: &window{}, open: map[string][]*builder{}}
	d.lib.win = d.win
	return d
}

// builder is an open batch that can still get columns.
type builder struct {
	schema *column.Schema
	cols   []*column.Column
	byName map[string]int
	n      int
	set    []bool
}

// Append decodes a message; received (ns) is the time of lines without a
// timestamp. It returns the number of rows added. Refused lines are reported
// with their place in this message.
func (d *Decoder) Append(msg []byte, received int64) int {
	d.win.load(msg)
	d.lib.dec = nil // it must not see the end of the last message
	before := d.rows
	for d.win.pos < d.win.end {
		if !d.win.blank() {
			d.lib.each(&d.entry, func(err error) { d.take(err, received) })
		}
	}
	return d.rows - before
}

// Rows is the number of rows since the last Take.
func (d *Decoder) Rows() int { return d.rows }

// Open is the number of batches that Take would return.
func (d *Decoder) Open() int { return len(d.order) }

// Refused is the number of lines refused so far.
func (d *Decoder) Refused() int64 { return d.refused }

// Take hands over the batches, in the order of their first row, and starts anew.
func (d *Decoder) Take() []*column.Batch {
	out := make([]*column.Batch, len(d.order))
	for i, b := range d.order {
		out[i] = &column.Batch{Schema: b.schema, Cols: b.cols, Len: b.n}
	}
	d.order, d.rows = nil, 0
	clear(d.open)
	return out
}

func (d *Decoder) take(err error, received int64) {
	e := &d.entry
	why, detail := Reason(""), ""
	if err != nil {
		why, detail = reason(err)
	} else if why, detail = e.check(); why == "" {
		why, detail = d.put(e, received)
	}
	if why == "" {
		d.rows++
		return
	}
	d.refused++
	if d.opt.OnError != nil {
		d.opt.OnError(&LineError{Line: e.line, Offset: e.offset, Stream: string(e.name), Reason: why, Detail: detail, Text: e.text})
	}
}

// put finds the builder that fits an entry and appends it.
func (d *Decoder) put(e *entry, received int64) (Reason, string) {
	ns, ok := e.nanos(d.opt.Unit, received)
	if !ok {
		return Malformed, fmt.Sprintf("timestamp %d is out of range", e.time)
	}
	if d.opt.Reserved != 0 && len(e.name) > 0 && e.name[0] == d.opt.Reserved {
		return BadName, fmt.Sprintf("streams whose name begins with %c belong to the system", d.opt.Reserved)
	}
	for _, t := range e.tags {
		if string(t.key) == TimeColumn {
			return BadName, "a tag must not be called " + TimeColumn + ": that is the timestamp's column"
		}
	}
	for i := range e.fields {
		f := &e.fields[i]
		if string(f.key) == TimeColumn {
			return BadName, "a field must not be called " + TimeColumn + ": that is the timestamp's column"
		}
		if f.kind == lp.Uint && f.value.UintV() > math.MaxInt64 {
			return OutOfRange, fmt.Sprintf("field %s: %d does not fit BIGINT", f.key, f.value.UintV())
		}
	}
	e.lastWins()
	b := d.fitting(e)
	if b == nil {
		return TooMany, fmt.Sprintf("more than %d streams at once", MaxOpen)
	}
	b.append(e, ns)
	return "", ""
}

func (d *Decoder) fitting(e *entry) *builder {
	for _, b := range d.open[string(e.name)] {
		if b.fits(e) {
			return b
		}
	}
	if len(d.order) >= MaxOpen {
		return nil
	}
	name := string(e.name)
	t := column.Of(column.TimestampNS)
	b := &builder{byName: map[string]int{}, cols: []*column.Column{column.New(t, 0)}, set: make([]bool, 1),
		schema: &column.Schema{Name: name, Fields: []column.Field{{Name: TimeColumn, Type: t}}}}
	d.open[name] = append(d.open[name], b)
	d.order = append(d.order, b)
	return b
}

// fits reports whether no column of the builder has another type than the entry's value.
func (b *builder) fits(e *entry) bool {
	room := MaxTags + MaxFields - len(b.cols)
	for _, t := range e.tags {
		if !b.takes(t.key, column.String, &room) {
			return false
		}
	}
	for i := range e.fields {
		if !b.takes(e.fields[i].key, columnKind(e.fields[i].kind), &room) {
			return false
		}
	}
	return room >= 0 || b.n == 0
}

func (b *builder) takes(key []byte, k column.Kind, room *int) bool {
	col, ok := b.byName[string(key)]
	if !ok {
		*room--
		return true
	}
	return b.cols[col].Type.Kind == k
}

// column finds or adds a column and marks it as filled in this row.
func (b *builder) column(key []byte, k column.Kind) *column.Column {
	col, ok := b.byName[string(key)]
	if !ok {
		name := string(key)
		col = len(b.cols)
		c := column.New(column.Of(k), 0)
		for range b.n {
			c.AppendNull()
		}
		b.byName[name] = col
		b.cols = append(b.cols, c)
		b.schema.Fields = append(b.schema.Fields, column.Field{Name: name, Type: c.Type})
		b.set = append(b.set, false)
	}
	b.set[col] = true
	return b.cols[col]
}

func (b *builder) append(e *entry, ns int64) {
	b.cols[0].AppendI64(ns)
	b.set[0] = true
	for _, t := range e.tags {
		b.column(t.key, column.String).AppendBytes(t.value)
	}
	for i := range e.fields {
		f := &e.fields[i]
		c := b.column(f.key, columnKind(f.kind))
		switch f.kind {
		case lp.Int, lp.Uint:
			c.AppendI64(intOf(f))
		case lp.Float:
			c.AppendF64(f.value.FloatV())
		case lp.Bool:
			c.AppendI64(column.Bool(f.value.BoolV()).I)
		default:
			c.AppendBytes(f.str)
		}
	}
	for i, set := range b.set {
		if !set {
			b.cols[i].AppendNull()
		}
		b.set[i] = false
	}
	b.n++
}

// lastWins drops what a later field of the same name replaces.
func (e *entry) lastWins() {
	later := func(key []byte, from int) bool {
		for i := from; i < len(e.fields); i++ {
			if string(e.fields[i].key) == string(key) {
				return true
			}
		}
		return false
	}
	tags := e.tags[:0]
	for _, t := range e.tags {
		if !later(t.key, 0) {
			tags = append(tags, t)
		}
	}
	fields := e.fields[:0]
	for i, f := range e.fields {
		if !later(f.key, i+1) {
			fields = append(fields, f)
		}
	}
	e.tags, e.fields = tags, fields
}

func columnKind(k lp.ValueKind) column.Kind {
	switch k {
	case lp.Int, lp.Uint:
		return column.BigInt
	case lp.Float:
		return column.Double
	case lp.Bool:
		return column.Boolean
	}
	return column.String
}
