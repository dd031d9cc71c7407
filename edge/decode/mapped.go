package decode

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"signalbox/engine/column"
)

// refusal is why a row is not taken.
type refusal struct {
	why    Reason
	detail string
}

// json decodes a message by its mapping. A row that cannot be taken is refused alone; the other rows of the message are kept.
func (d *Decoder) json(i int, m *mapping, payload []byte) {
	if err := d.doc.parse(payload); err != nil {
		var s *syntaxError
		errors.As(err, &s)
		d.reject(m.schema.Name, Malformed, "not JSON: "+err.Error(), payload[min(len(payload), max(0, s.offset-100)):])
		return
	}
	b := d.open[i]
	if b == nil {
		b = column.NewBatch(m.schema, 64)
		d.open[i] = b
	}
	take := func(at int) bool {
		if bad := d.row(m, b, at); bad != nil {
			truncate(b, b.Len)
			n := &d.doc.nodes[at]
			d.reject(m.schema.Name, bad.why, bad.detail, payload[n.start:n.end])
		} else {
			d.readings++
		}
		return true
	}
	if m.rows == nil {
		take(0)
		return
	}
	some := false
	d.doc.find(m.rows.steps, 0, func(at int) bool { some = true; return take(at) })
	if !some {
		d.reject(m.schema.Name, Missing, "rows: "+m.rows.text+" names nothing", payload)
	}
}

// truncate takes rows off the end.
func truncate(b *column.Batch, n int) {
	b.Len = n
	for _, c := range b.Cols {
		for i := n; i < c.Len(); i++ {
			c.ClearNull(i)
		}
		switch c.Type.Kind.Storage() {
		case column.StoreF64:
			c.F64 = c.F64[:n]
		case column.StoreDict:
			c.Codes = c.Codes[:n]
		default:
			c.I64 = c.I64[:n]
		}
		c.SetLen(n)
	}
}

// row appends the row at a node. On a refusal some columns are longer than others: truncate.
func (d *Decoder) row(m *mapping, b *column.Batch, at int) *refusal {
	t, bad := d.time(m, at)
	if bad != nil {
		return bad
	}
	b.Cols[0].AppendI64(t)
	for i := range m.columns {
		if bad := d.column(&m.columns[i], b.Cols[i+1], at); bad != nil {
			return bad
		}
	}
	b.Len++
	return nil
}

func (d *Decoder) time(m *mapping, at int) (int64, *refusal) {
	if m.time == nil {
		return d.received, nil
	}
	v, ok, err := d.value(m.time, at)
	switch {
	case err != nil:
		return 0, &refusal{NoTime, fmt.Sprintf("%s: %v", m.time.text, err)}
	case !ok:
		return 0, &refusal{NoTime, m.time.text + " is not there"}
	}
	var ns int64
	if m.timeIn == 0 {
		ns, err = rfc3339(v.text())
	} else {
		ns, err = scaled(v, m.timeIn)
	}
	if err != nil {
		return 0, &refusal{NoTime, fmt.Sprintf("%s (byte %d): %v", m.time.text, v.offset, err)}
	}
	return ns, nil
}

func rfc3339(s string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return 0, fmt.Errorf("%.40q is not RFC 3339", s)
	}
	if y := t.Year(); y < 1678 || y > 2261 { // beyond, nanoseconds do not fit 64 bits
		return 0, fmt.Errorf("year %d is out of range", y)
	}
	return t.UnixNano(), nil
}

// scaled reads a number of units. Whole numbers are exact; a fraction is rounded to the nearest nanosecond.
func scaled(v value, unit int64) (int64, error) {
	s := v.text()
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n > math.MaxInt64/unit || n < math.MinInt64/unit {
			return 0, fmt.Errorf("%s is out of range", s)
		}
		return n * unit, nil
	}
	f, err := decimal(s)
	if err != nil || math.Abs(f*float64(unit)) > math.MaxInt64/2 {
		return 0, fmt.Errorf("%.40q is not a time", s)
	}
	whole := math.Floor(f)
	return int64(whole)*unit + int64(math.Round((f-whole)*float64(unit))), nil
}

// value is what a path found: a node, or the result of a function.
type value struct {
	doc    *document
	node   int // -1: num
	num    float64
	offset int
}

func (v value) text() string {
	if v.node < 0 {
		return strconv.FormatFloat(v.num, 'f', -1, 64)
	}
	n := &v.doc.nodes[v.node]
	if n.kind == jsonString {
		return unquote(v.doc.text[n.start:n.end])
	}
	return string(v.doc.text[n.start:n.end])
}

// value finds what a path names; ok = false when that is nothing or null.
func (d *Decoder) value(p *path, row int) (v value, ok bool, err error) {
	start := 0
	if p.row {
		start = row
	}
	v = value{doc: &d.doc, node: -1}
	n := 0
	d.doc.find(p.steps, start, func(at int) bool {
		node := &d.doc.nodes[at]
		if node.kind == jsonNull && p.fn != "json" {
			return true
		}
		n++
		v.offset = node.start
		if p.fn == "" || p.fn == "first" || p.fn == "json" {
			v.node = at
			return false
		}
		if p.fn != "count" {
			err = v.fold(p.fn, node, n == 1)
		}
		return err == nil
	})
	if p.fn == "count" {
		v.num, n = float64(n), 1
	}
	return v, n > 0, err
}

// fold adds a number to a sum, minimum or maximum.
func (v *value) fold(fn string, n *node, first bool) error {
	text := string(v.doc.text[n.start:n.end])
	f, err := strconv.ParseFloat(text, 64)
	if n.kind != jsonNumber || err != nil {
		return fmt.Errorf("byte %d: %.40s is not a number", n.start, text)
	}
	switch {
	case first:
		v.num = f
	case fn == "sum":
		v.num += f
	case fn == "min":
		v.num = min(v.num, f)
	default:
		v.num = max(v.num, f)
	}
	return nil
}

func (d *Decoder) column(s *source, c *column.Column, row int) *refusal {
	if s.path == nil {
		d.scratch = s.text.appendTo(d.scratch[:0], d.levels)
		return s.put(c, printable(d.scratch, maxTopic), true, -1)
	}
	v, ok, err := d.value(s.path, row)
	switch {
	case err != nil:
		return &refusal{WrongType, fmt.Sprintf("column %s: %s: %v", s.name, s.path.text, err)}
	case !ok && s.required:
		return &refusal{Missing, fmt.Sprintf("column %s: %s is not there", s.name, s.path.text)}
	case !ok:
		c.AppendNull()
		return nil
	}
	if v.node >= 0 && s.path.fn != "json" {
		switch k := d.doc.nodes[v.node].kind; {
		case k == jsonArray || k == jsonObject:
			return &refusal{WrongType, fmt.Sprintf("column %s: %s (byte %d) is an array or object: use json() to keep its text", s.name, s.path.text, v.offset)}
		case k == jsonTrue || k == jsonFalse:
			return s.boolean(c, k == jsonTrue, v.offset)
		}
	}
	return s.put(c, v.text(), v.node < 0 || d.doc.nodes[v.node].kind != jsonString, v.offset)
}

func (s *source) boolean(c *column.Column, v bool, offset int) *refusal {
	switch s.kind {
	case column.Boolean:
		c.AppendI64(column.Bool(v).I)
	case column.String:
		c.AppendString(strconv.FormatBool(v))
	default:
		return &refusal{WrongType, fmt.Sprintf("column %s (byte %d): true or false for a %s", s.name, offset, s.kind)}
	}
	return nil
}

// put reads text as the column's type. An empty string that should be a number is NULL:
// devices write it for "not known".
func (s *source) put(c *column.Column, text string, number bool, offset int) *refusal {
	if text == "" && !number && s.kind != column.String {
		c.AppendNull()
		return nil
	}
	switch s.kind {
	case column.String:
		if len(text) > maxString {
			return &refusal{Oversized, fmt.Sprintf("column %s (byte %d): string of %d bytes, at most %d are allowed", s.name, offset, len(text), maxString)}
		}
		c.AppendString(text)
		return nil
	case column.BigInt:
		if n, ok := integer(text); ok {
			c.AppendI64(n)
			return nil
		}
	case column.Double:
		if f, err := decimal(text); err == nil {
			c.AppendF64(f)
			return nil
		}
	case column.Boolean:
		if text == "0" || text == "1" || text == "true" || text == "false" {
			c.AppendI64(column.Bool(text == "1" || text == "true").I)
			return nil
		}
	case column.TimestampNS:
		if ns, err := rfc3339(text); err == nil {
			c.AppendI64(ns)
			return nil
		}
	}
	return &refusal{WrongType, fmt.Sprintf("column %s (byte %d): %.40q is not a %s", s.name, offset, text, s.kind)}
}

// decimal reads a number as JSON writes it: no NaN, no infinity, no 0x1p3 and no 1_000, which Go would read.
func decimal(s string) (float64, error) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(s, 64) // what does not fit is an error
}

// integer reads a whole number, also one written as 4.0 or 4e2.
func integer(s string) (int64, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, true
	}
	f, err := decimal(s)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}
