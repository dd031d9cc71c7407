// Package static reads the rows of a static table from CSV or JSON lines into
// the declared columns. It promises that a value that does not fit is refused
// with its line and column and that nothing is half read; it refuses to know
// files and who uploads them.
package static

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"signalbox/engine/column"
	"signalbox/engine/expr"
)

// Format is how the rows are written.
type Format string

// The formats. In CSV the first line names the columns and an empty field is
// NULL; in JSON lines each line is an object and an absent key is NULL.
const (
	CSV   Format = "csv"
	JSONL Format = "jsonl"
)

// FormatOf guesses the format from a file name.
func FormatOf(name string) (Format, error) {
	name = strings.ToLower(name)
	switch {
	case strings.HasSuffix(name, ".csv"):
		return CSV, nil
	case strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".ndjson"):
		return JSONL, nil
	}
	return "", fmt.Errorf("%s: not a table file; the name must end in .csv or .jsonl", name)
}

// MaxRows bounds a static table.
const MaxRows = 10_000_000

// MaxLine bounds one line of JSON, in bytes.
const MaxLine = 1 << 20

// Read reads all rows into the columns of schema; columns are matched by name, case-insensitively.
func Read(r io.Reader, format Format, schema *column.Schema) (*column.Batch, error) {
	t := &reader{schema: schema, text: make([]*column.Column, len(schema.Fields)), byName: map[string]int{}}
	for i, f := range schema.Fields {
		t.text[i] = column.New(column.Of(column.String), 0)
		t.byName[strings.ToLower(f.Name)] = i
	}
	var err error
	switch format {
	case CSV:
		err = t.csv(r)
	case JSONL:
		err = t.jsonl(r)
	default:
		err = fmt.Errorf("unknown format %q: write csv or jsonl", format)
	}
	if err != nil {
		return nil, err
	}
	return t.typed()
}

// reader collects the fields as text; the conversion to the declared types is one cast per column.
type reader struct {
	schema *column.Schema
	text   []*column.Column
	byName map[string]int
	lines  []int // line of each row
}

func (t *reader) row(line int, values []string, present []bool) error {
	if len(t.lines) == MaxRows {
		return fmt.Errorf("line %d: more than %d rows", line, MaxRows)
	}
	t.lines = append(t.lines, line)
	for i, c := range t.text {
		if !present[i] {
			c.AppendNull()
			continue
		}
		c.AppendString(values[i])
	}
	return nil
}

func (t *reader) csv(r io.Reader) error {
	in := csv.NewReader(skipBOM(r))
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return errors.New("line 1: empty file; the first line must name the columns")
	}
	if err != nil {
		return err
	}
	ordinals, err := t.columns(header)
	if err != nil {
		return err
	}
	values, present := make([]string, len(t.text)), make([]bool, len(t.text))
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line, _ := in.FieldPos(0)
		for i, o := range ordinals {
			values[o], present[o] = record[i], record[i] != ""
		}
		if err := t.row(line, values, present); err != nil {
			return err
		}
	}
}

func (t *reader) columns(header []string) ([]int, error) {
	out := make([]int, len(header))
	for i, name := range header {
		o, ok := t.byName[strings.ToLower(strings.TrimSpace(name))]
		if !ok {
			return nil, fmt.Errorf("line 1: column %q is not declared; %s has %s", name, t.schema.Name, t.names())
		}
		if slices.Contains(out[:i], o) {
			return nil, fmt.Errorf("line 1: column %q is named twice", name)
		}
		out[i] = o
	}
	return out, nil
}

func (t *reader) names() string {
	names := make([]string, len(t.schema.Fields))
	for i, f := range t.schema.Fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

func skipBOM(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, _ := b.Peek(3); bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = b.Discard(3) // what was peeked can be discarded
	}
	return b
}

func (t *reader) jsonl(r io.Reader) error {
	in := bufio.NewScanner(skipBOM(r))
	in.Buffer(nil, MaxLine)
	values, present := make([]string, len(t.text)), make([]bool, len(t.text))
	line := 0
	for in.Scan() {
		line++
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		clear(present)
		if err := t.object(in.Bytes(), values, present); err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if err := t.row(line, values, present); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("line %d: %w", line+1, err)
	}
	return nil
}

func (t *reader) object(text []byte, values []string, present []bool) error {
	var object map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&object); err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("text after the JSON object")
	}
	for name, raw := range object { // unordered: each key sets its own column
		o, ok := t.byName[strings.ToLower(name)]
		if !ok {
			return fmt.Errorf("key %q is not declared; %s has %s", name, t.schema.Name, t.names())
		}
		if string(raw) == "null" {
			continue
		}
		present[o] = true
		values[o] = string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &values[o]); err != nil {
				return fmt.Errorf("key %q: %w", name, err)
			}
		}
	}
	return nil
}

// typed casts the collected text, as CAST does, and names the first value that does not fit.
func (t *reader) typed() (*column.Batch, error) {
	in := &column.Batch{Schema: t.schema, Cols: t.text, Len: len(t.lines)}
	out := &column.Batch{Schema: t.schema, Cols: make([]*column.Column, len(t.text)), Len: in.Len}
	for i, f := range t.schema.Fields {
		if f.Type.Kind == column.String {
			out.Cols[i] = t.text[i]
			continue
		}
		cast, err := expr.Cast(expr.NewColumn(i, f.Name, column.Of(column.String)), f.Type, false)
		if err != nil {
			return nil, fmt.Errorf("column %s: %s cannot be read from text: %w", f.Name, f.Type, err)
		}
		var ctx expr.Context
		col := cast.Eval(&ctx, in, nil)
		if len(ctx.Errors) > 0 {
			row := ctx.Errors[0].Row
			return nil, fmt.Errorf("line %d, column %s: %s is not %s", t.lines[row], f.Name, strconv.Quote(t.text[i].Str(int(row))), f.Type)
		}
		out.Cols[i] = col
	}
	return out, nil
}
