package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/lineproto"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// batchCase is a query over bounded input.
type batchCase struct {
	SQL    string
	Inputs []struct{ Table, Kind, File string }
	// Ordered and FloatRelTol say how rows are compared.
	Ordered     bool
	FloatRelTol float64        `json:"float_rel_tol"`
	ExpectError *expectedError `json:"expect_error"`
	Schema      []columnDef
	Rows        [][]any
}

func runBatchCase(dir string, data []byte) error {
	var c batchCase
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	tables := tables{}
	for _, in := range c.Inputs {
		b, err := loadInput(filepath.Join(dir, in.File), in.Table)
		if err != nil {
			return err
		}
		tables[strings.ToLower(in.Table)] = b
	}
	out, err := runBatch(tables, c.SQL)
	if c.ExpectError != nil {
		return c.ExpectError.check(err)
	}
	if err != nil {
		return fmt.Errorf("expected rows, got error: %w", err)
	}
	if err := compareSchema(c.Schema, out.Schema, givenNames(c.SQL)); err != nil {
		return err
	}
	return comparison{c.Schema, c.FloatRelTol, c.Ordered, estimates(c.SQL)}.compare(c.Rows, rowsOf(out))
}

// runBatch answers a query as Spark would: the first row that fails fails it.
func runBatch(t tables, text string) (*column.Batch, error) {
	q, err := sql.ParseSelect(text)
	if err != nil {
		return nil, err
	}
	p, err := plan.Analyze(q, t, plan.AnalyzeOptions{Text: text, Now: startOfCase})
	if err != nil {
		return nil, err
	}
	return batch.Run(p, t.source, batch.Options{Strict: true})
}

// tables is a catalog of loaded inputs by lower-case name.
type tables map[string]*column.Batch

func (t tables) Relation(name string) (plan.Relation, bool) {
	b, ok := t[strings.ToLower(name)]
	if !ok {
		return plan.Relation{}, false
	}
	return plan.Relation{Schema: b.Schema, Stream: b.Schema.Time >= 0}, true
}

func (t tables) Names() []string {
	var out []string
	for n := range t {
		out = append(out, n)
	}
	return out
}

// source hands out only the columns that the scan asks for.
func (t tables) source(scan *plan.Scan) ([]*column.Batch, error) {
	b := t[strings.ToLower(scan.Table)]
	out := &column.Batch{Schema: b.Schema, Cols: make([]*column.Column, len(b.Cols)), Len: b.Len}
	for _, c := range scan.Columns {
		out.Cols[c] = b.Cols[c]
	}
	return []*column.Batch{out}, nil
}

// loadInput reads a file of line protocol or JSON lines; the schema stands beside it.
func loadInput(path, table string) (*column.Batch, error) {
	ext := filepath.Ext(path)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	meta, err := os.ReadFile(strings.TrimSuffix(path, ext) + ".schema.json")
	if err != nil {
		return nil, err
	}
	var s struct{ Columns []columnDef }
	if err := json.Unmarshal(meta, &s); err != nil {
		return nil, err
	}
	schema, err := schemaOf(table, s.Columns)
	if err != nil {
		return nil, err
	}
	if ext == ".lp" {
		return readLines(schema, data)
	}
	return readJSONLines(schema, data)
}

func readLines(schema *column.Schema, data []byte) (*column.Batch, error) {
	out := column.NewBatch(schema, 0)
	var refused error
	r, err := lineproto.NewReader(bytes.NewReader(data), lineproto.ReaderOptions{
		Streams: []lineproto.Stream{{Schema: schema}},
		OnError: func(e *lineproto.LineError) { refused = errors.New(e.Error()) },
	})
	if err != nil {
		return nil, err
	}
	for {
		batches, err := r.Next()
		if err == io.EOF {
			return out, refused
		}
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			for i := range b.Len {
				out.AppendRow(b.Row(i)...)
			}
		}
	}
}

func readJSONLines(schema *column.Schema, data []byte) (*column.Batch, error) {
	out := column.NewBatch(schema, 0)
	dec := json.NewDecoder(bytes.NewReader(data))
	for {
		var row map[string]any
		if err := dec.Decode(&row); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		values := make([]column.Datum, len(schema.Fields))
		for i, f := range schema.Fields {
			d, err := boxed(f.Type, row[f.Name])
			if err != nil {
				return nil, err
			}
			values[i] = d
		}
		out.AppendRow(values...)
	}
}
