package lineproto

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	lp "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// entry is one decoded line.
type entry struct {
	name    []byte
	tags    []tag
	fields  []field
	time    int64 // in the precision of the input
	hasTime bool
	line    int64 // 1-based
	offset  int64
	text    []byte // its first bytes, for errors
	arena   []byte
}

type tag struct{ key, value []byte }

type field struct {
	key   []byte
	kind  lp.ValueKind
	value lp.Value
	str   []byte // kind String
}

func (e *entry) keep(b []byte) []byte {
	at := len(e.arena)
	e.arena = append(e.arena, b...)
	return e.arena[at:len(e.arena):len(e.arena)]
}

func (e *entry) reset() {
	e.name, e.tags, e.fields = nil, e.tags[:0], e.fields[:0]
	e.arena, e.time, e.hasTime = e.arena[:0], 0, false
}

// library decodes one entry at a time at the window's position. It hands the
// decoder one physical line per read, so that what the decoder has taken is
// known: a further line is read only by a quoted string that goes on in it.
type library struct {
	win   *window
	dec   *lp.Decoder
	given int    // bytes handed over for this entry, from win.pos
	rest  []byte // of the physical line being handed over, as the library gets it
	newer newer
	drain bool // give nothing more: the decoder finishes what it holds
	long  bool // the entry went past MaxLine
}

var errLong = errors.New("line is too long")

// Read implements io.Reader for the decoder.
func (l *library) Read(p []byte) (int, error) {
	if l.drain {
		return 0, io.EOF
	}
	if len(l.rest) == 0 {
		end, ok := l.win.lineEnd(l.given)
		if !ok || end > MaxLine {
			l.long = true
			return 0, errLong
		}
		if end == l.given {
			return 0, io.EOF
		}
		l.rest = l.newer.line(l.win.buf[l.win.pos+l.given : l.win.pos+end])
		l.given = end
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// each decodes the entry at the window's position and moves behind it. One
// line may hold more than one entry in the decoder's eyes (a stray carriage
// return); yield gets each, or its error.
func (l *library) each(e *entry, yield func(err error)) {
	if l.dec == nil {
		l.dec = lp.NewDecoder(l)
	}
	l.given, l.rest, l.drain, l.long = 0, nil, false, false
	l.newer.where, l.newer.marked = inMeasurement, false
	e.line, e.offset = l.win.line+1, l.win.base+int64(l.win.pos)
	for l.dec.Next() {
		e.reset()
		err := decode(l.dec, e)
		if l.newer.marked {
			for i := range e.tags {
				e.tags[i].value = restore(e.tags[i].value)
			}
		}
		e.text = l.win.buf[l.win.pos : l.win.pos+min(l.given, MaxText)]
		if l.long {
			l.tooLong(e, yield)
			return
		}
		yield(err)
		if err == nil && !l.drain {
			l.advance()
			return
		}
		l.drain = true
	}
	if l.long {
		l.tooLong(e, yield)
		return
	}
	l.dec = nil // it has seen the end of its input
	l.advance()
}

// tooLong refuses the first physical line and goes on behind it.
func (l *library) tooLong(e *entry, yield func(error)) {
	l.dec = nil
	e.reset()
	for l.win.end-l.win.pos < MaxText && l.win.fill() {
	}
	e.text = l.win.buf[l.win.pos : l.win.pos+min(l.win.end-l.win.pos, MaxText)]
	yield(errLong)
	l.win.skipLine()
}

func (l *library) advance() {
	taken := l.win.buf[l.win.pos : l.win.pos+l.given]
	l.win.line += int64(bytes.Count(taken, []byte{'\n'}))
	l.win.pos += l.given
}

// decode reads one entry after Next.
func decode(d *lp.Decoder, e *entry) error {
	name, err := d.Measurement()
	if err != nil {
		return err
	}
	e.name = e.keep(name)
	for {
		k, v, err := d.NextTag()
		if err != nil {
			return err
		}
		if k == nil {
			break
		}
		e.tags = append(e.tags, tag{e.keep(k), e.keep(v)})
	}
	for {
		k, v, err := d.NextField()
		if err != nil {
			return err
		}
		if k == nil {
			break
		}
		f := field{key: e.keep(k), kind: v.Kind(), value: v}
		if f.kind == lp.String {
			f.str = e.keep(v.BytesV())
		}
		e.fields = append(e.fields, f)
	}
	return decodeTime(d, e)
}

func decodeTime(d *lp.Decoder, e *entry) error {
	b, err := d.TimeBytes()
	if err != nil || b == nil {
		return err
	}
	v, err := lp.NewValueFromBytes(lp.Int, b)
	if err != nil {
		return fmt.Errorf("invalid timestamp %q: %w", b, err)
	}
	e.time, e.hasTime = v.IntV(), true
	return nil
}

// check applies the limits and the rules for names to a decoded entry.
func (e *entry) check() (Reason, string) {
	switch {
	case len(e.tags) > MaxTags:
		return TooMany, fmt.Sprintf("%d tags, at most %d are allowed", len(e.tags), MaxTags)
	case len(e.fields) > MaxFields:
		return TooMany, fmt.Sprintf("%d fields, at most %d are allowed", len(e.fields), MaxFields)
	case len(e.name) > MaxName:
		return BadName, fmt.Sprintf("the measurement's name has %d bytes, at most %d are allowed", len(e.name), MaxName)
	}
	for i, t := range e.tags {
		if len(t.key) > MaxName {
			return BadName, fmt.Sprintf("a tag's name has %d bytes, at most %d are allowed", len(t.key), MaxName)
		}
		for _, o := range e.tags[:i] {
			if bytes.Equal(o.key, t.key) {
				return Malformed, fmt.Sprintf("tag %q is there twice", t.key)
			}
		}
	}
	for _, f := range e.fields {
		if len(f.key) > MaxName {
			return BadName, fmt.Sprintf("a field's name has %d bytes, at most %d are allowed", len(f.key), MaxName)
		}
	}
	return "", ""
}

// reason sorts a decoding error.
func reason(err error) (Reason, string) {
	if errors.Is(err, errLong) {
		return TooLong, fmt.Sprintf("longer than %d bytes: is a quote not closed?", MaxLine)
	}
	var d *lp.DecodeError
	if errors.As(err, &d) {
		return Malformed, fmt.Sprintf("column %d: %v", d.Column, d.Err)
	}
	return Malformed, err.Error()
}

// nanos converts the entry's time from units of so many ns; false when it does not fit.
func (e *entry) nanos(unit, def int64) (int64, bool) {
	if !e.hasTime {
		return def - mod(def, unit), true
	}
	if e.time > math.MaxInt64/unit || e.time < math.MinInt64/unit {
		return 0, false
	}
	return e.time * unit, true
}

// mod is the remainder of a division that rounds down.
func mod(v, unit int64) int64 { return ((v % unit) + unit) % unit }

func sortTags(tags []tag) {
	slices.SortStableFunc(tags, func(a, b tag) int { return bytes.Compare(a.key, b.key) })
}
