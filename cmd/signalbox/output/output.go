// Package output writes result rows for people and for programs: an aligned
// table, JSON lines or CSV. It promises that nothing is rounded: 64-bit
// integers and decimals keep every digit, timestamps are RFC 3339 in UTC with
// microseconds. It refuses to know where rows come from.
package output

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"signalbox/engine/column"
	"signalbox/sinks/row"
)

// Formats are the names that New takes.
const Formats = "table, jsonl, csv"

// Writer writes batches of one schema.
type Writer interface {
	// Write writes the rows of b listed in rows (nil = all).
	Write(b *column.Batch, rows []int32) error
	// Close writes what is still held back; it does not close the underlying writer.
	Close() error
}

// New returns a writer. The header appears even when no row follows.
func New(format string, w io.Writer, s *column.Schema) (Writer, error) {
	base := lines{w: bufio.NewWriterSize(w, 64<<10), schema: s}
	switch format {
	case "table":
		return &tableWriter{lines: base}, nil
	case "jsonl":
		return newJSON(base), nil
	case "csv":
		return newCSV(base)
	}
	return nil, fmt.Errorf("unknown format %q: write one of %s", format, Formats)
}

type lines struct {
	w      *bufio.Writer
	schema *column.Schema
	buf    []byte
}

func (l *lines) Close() error { return l.w.Flush() }

// each calls fn for the listed rows.
func each(b *column.Batch, rows []int32, fn func(i int) error) error {
	if rows == nil {
		for i := range b.Len {
			if err := fn(i); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range rows {
		if err := fn(int(i)); err != nil {
			return err
		}
	}
	return nil
}

type csvWriter struct{ lines }

func newCSV(l lines) (*csvWriter, error) {
	c := &csvWriter{l}
	for i, f := range l.schema.Fields {
		if i > 0 {
			c.buf = append(c.buf, ',')
		}
		c.buf = appendCSV(c.buf, f.Name)
	}
	c.buf = append(c.buf, '\n')
	_, err := c.w.Write(c.buf)
	return c, err
}

func (c *csvWriter) Write(b *column.Batch, rows []int32) error {
	return each(b, rows, func(i int) error {
		c.buf = c.buf[:0]
		for j, col := range b.Cols {
			if j > 0 {
				c.buf = append(c.buf, ',')
			}
			c.buf = appendCell(c.buf, col, i, appendCSV)
		}
		c.buf = append(c.buf, '\n')
		_, err := c.w.Write(c.buf)
		return err
	})
}

// appendCSV quotes as RFC 4180 does; the empty string is quoted, so that it is not NULL.
func appendCSV(dst []byte, s string) []byte {
	if s != "" && !strings.ContainsAny(s, ",\"\r\n") && s[0] != ' ' && s[len(s)-1] != ' ' {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return append(append(dst, s...), '"')
		}
		dst = append(append(dst, s[:i]...), `""`...)
		s = s[i+1:]
	}
}

type jsonWriter struct {
	lines
	names [][]byte // `"name":`, escaped once
}

func newJSON(l lines) *jsonWriter {
	j := &jsonWriter{lines: l}
	for _, f := range l.schema.Fields {
		j.names = append(j.names, append(row.AppendString(nil, f.Name), ':'))
	}
	return j
}

func (j *jsonWriter) Write(b *column.Batch, rows []int32) error {
	return each(b, rows, func(i int) error {
		j.buf = append(j.buf[:0], '{')
		for k, col := range b.Cols {
			if k > 0 {
				j.buf = append(j.buf, ',')
			}
			j.buf = append(j.buf, j.names[k]...)
			j.buf = appendJSON(j.buf, col, i)
		}
		j.buf = append(j.buf, '}', '\n')
		_, err := j.w.Write(j.buf)
		return err
	})
}

func appendJSON(dst []byte, c *column.Column, i int) []byte {
	if c == nil || c.IsNull(i) {
		return append(dst, "null"...)
	}
	switch k := c.Type.Kind; {
	case k == column.Timestamp:
		return append(AppendTimestamp(append(dst, '"'), c.I64[i]), '"')
	case k == column.Double && !math.IsNaN(c.F64[i]) && !math.IsInf(c.F64[i], 0):
		return appendFloat(dst, c.F64[i], k)
	}
	return row.AppendJSON(dst, c.Type, c.Datum(i))
}

// maxTableRows is how many rows a table holds back to align its columns; the rest follow with the same widths.
const maxTableRows = 1000

type tableWriter struct {
	lines
	held   [][]string
	widths []int
	begun  bool
}

func (t *tableWriter) Write(b *column.Batch, rows []int32) error {
	return each(b, rows, func(i int) error {
		cells := make([]string, len(b.Cols))
		for j, c := range b.Cols {
			cells[j] = "NULL"
			if c != nil && !c.IsNull(i) {
				cells[j] = string(appendCell(nil, c, i, func(dst []byte, s string) []byte { return append(dst, s...) }))
			}
		}
		if t.begun {
			return t.line(cells)
		}
		if t.held = append(t.held, cells); len(t.held) == maxTableRows {
			return t.begin()
		}
		return nil
	})
}

func (t *tableWriter) begin() error {
	t.begun = true
	header, rule := make([]string, len(t.schema.Fields)), make([]string, len(t.schema.Fields))
	t.widths = make([]int, len(header))
	for i, f := range t.schema.Fields {
		header[i] = f.Name
		t.widths[i] = utf8.RuneCountInString(f.Name)
	}
	for _, cells := range t.held {
		for i, c := range cells {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
		}
	}
	for i := range rule {
		rule[i] = strings.Repeat("-", t.widths[i])
	}
	for _, cells := range append([][]string{header, rule}, t.held...) {
		if err := t.line(cells); err != nil {
			return err
		}
	}
	t.held = nil
	return nil
}

func (t *tableWriter) line(cells []string) error {
	t.buf = t.buf[:0]
	for i, c := range cells {
		pad := max(0, t.widths[i]-utf8.RuneCountInString(c))
		right := t.schema.Fields[i].Type.Kind.IsNumeric()
		if i > 0 {
			t.buf = append(t.buf, "  "...)
		}
		if right {
			t.buf = append(t.buf, strings.Repeat(" ", pad)...)
		}
		t.buf = append(t.buf, c...)
		if !right && i < len(cells)-1 {
			t.buf = append(t.buf, strings.Repeat(" ", pad)...)
		}
	}
	_, err := t.w.Write(append(t.buf, '\n'))
	return err
}

func (t *tableWriter) Close() error {
	if !t.begun {
		if err := t.begin(); err != nil {
			return err
		}
	}
	return t.w.Flush()
}
