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
		names, numbers := make([]string, len(s.Fields)), make([]bool, len(s.Fields))
		for i, f := range s.Fields {
			names[i], numbers[i] = f.Name, f.Type.Kind.IsNumeric()
		}
		return &tableWriter{lines: base, t: NewTable(base.w, names, numbers)}, nil
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
		c.buf = AppendCSV(c.buf, f.Name)
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
			c.buf = appendCell(c.buf, col, i, AppendCSV)
		}
		c.buf = append(c.buf, '\n')
		_, err := c.w.Write(c.buf)
		return err
	})
}

// AppendCSV quotes as RFC 4180 does; the empty string is quoted, so that it is not NULL.
func AppendCSV(dst []byte, s string) []byte {
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
	case (k == column.Double || k == column.Float) && !math.IsNaN(c.F64[i]) && !math.IsInf(c.F64[i], 0):
		return AppendFloat(dst, c.F64[i], k)
	}
	return row.AppendJSON(dst, c.Type, c.Datum(i))
}

// maxTableRows is how many rows a table holds back to align its columns; the rest follow with the same widths.
const maxTableRows = 1000

type tableWriter struct {
	lines
	t *Table
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
		return t.t.Row(cells)
	})
}

func (t *tableWriter) Close() error {
	if err := t.t.Close(); err != nil {
		return err
	}
	return t.w.Flush()
}

// Table aligns cells under their names, numbers to the right.
type Table struct {
	w       io.Writer
	names   []string
	numbers []bool
	held    [][]string
	widths  []int
	begun   bool
	buf     []byte
}

// NewTable returns a table whose columns have these names; numbers says which are aligned to the right.
func NewTable(w io.Writer, names []string, numbers []bool) *Table {
	return &Table{w: w, names: names, numbers: numbers}
}

// Row writes a row, or holds it back to find the widths.
func (t *Table) Row(cells []string) error {
	if t.begun {
		return t.line(cells)
	}
	if t.held = append(t.held, cells); len(t.held) == maxTableRows {
		return t.begin()
	}
	return nil
}

// Close writes what is held back; a table without rows is its header.
func (t *Table) Close() error {
	if t.begun {
		return nil
	}
	return t.begin()
}

func (t *Table) begin() error {
	t.begun = true
	rule := make([]string, len(t.names))
	t.widths = make([]int, len(t.names))
	for i, name := range t.names {
		t.widths[i] = utf8.RuneCountInString(name)
	}
	for _, cells := range t.held {
		for i, c := range cells {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c))
		}
	}
	for i := range rule {
		rule[i] = strings.Repeat("-", t.widths[i])
	}
	for _, cells := range append([][]string{t.names, rule}, t.held...) {
		if err := t.line(cells); err != nil {
			return err
		}
	}
	t.held = nil
	return nil
}

func (t *Table) line(cells []string) error {
	t.buf = t.buf[:0]
	for i, c := range cells {
		pad := max(0, t.widths[i]-utf8.RuneCountInString(c))
		right := t.numbers[i]
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
