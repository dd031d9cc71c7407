package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/sql"
)

// streamingCase is a continuous query with input in steps.
type streamingCase struct {
	OutputMode string `json:"output_mode"`
	SQL        string
	Streams    map[string]struct {
		Schema []columnDef
		Ops    [][]json.RawMessage
	}
	Static map[string]struct {
		Schema []columnDef
		Rows   [][]any
	}
	Conf        map[string]string
	Schema      []columnDef
	ExpectError *streamingError `json:"expect_error"`
	Steps       []streamingStep
}

// streamingError is an error of a running query: the cause names the real one when the query as a whole failed.
type streamingError struct {
	expectedError
	Cause string
}

type streamingStep struct {
	Add     map[string][][]any
	Restart bool
	Batches []struct {
		InputRows int `json:"input_rows"`
		Watermark string
		Rows      [][]any
	}
}

// resultTable is the streaming table that answers a case.
const resultTable = "result_of_case"

func runStreamingCase(data []byte) error {
	var c streamingCase
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	err := c.run()
	if c.ExpectError == nil {
		return err
	}
	return c.ExpectError.check(err)
}

// check is expectedError.check; a query that failed as a whole is judged by its cause.
func (want *streamingError) check(got error) error {
	if want.Condition != "STREAM_FAILED" {
		return want.expectedError.check(got)
	}
	if err := (&expectedError{Phase: want.Phase, Condition: want.Condition}).check(got); err != nil {
		return err
	}
	var e *expr.Error
	if errors.As(got, &e) && want.Cause != "" && want.Cause != "FOREACH_BATCH_USER_FUNCTION_ERROR" && !strings.HasPrefix(e.Condition, want.Cause) && e.Condition != want.Condition {
		return fmt.Errorf("expected cause %s, got %v", want.Cause, got)
	}
	return nil
}

func (c *streamingCase) options() engine.Options {
	o := engine.DefaultOptions()
	o.Strict, o.NullTimes, o.ResultRows, o.RingRows = true, true, 0, 0
	return o
}

// run creates the query and takes the steps; the error is that of the query, or what differs.
func (c *streamingCase) run() error {
	e := engine.New(c.options())
	for name, st := range c.Static {
		if err := c.loadStatic(e, name, st.Schema, st.Rows); err != nil {
			return err
		}
	}
	for name, s := range c.Streams {
		if err := e.Execute("CREATE STREAM " + sql.QuoteName(name) + " (" + columnList(s.Schema) + ")"); err != nil {
			return fmt.Errorf("declare %s: %w", name, err)
		}
	}
	d := &driver{c: c, e: e}
	if _, err := d.apply(engine.Input{}); err != nil { // the query starts at the time of an entry
		return err
	}
	text, err := c.statement()
	if err != nil {
		return err
	}
	if err := e.Execute(text); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	for i, step := range c.Steps {
		if err := d.step(step); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *streamingCase) loadStatic(e *engine.Engine, name string, cols []columnDef, rows [][]any) error {
	if err := e.Execute("CREATE TABLE " + sql.QuoteName(name) + " (" + columnList(cols) + ")"); err != nil {
		return fmt.Errorf("declare %s: %w", name, err)
	}
	b, err := batchOf(name, cols, rows)
	if err != nil {
		return err
	}
	return e.LoadTable(name, 1, b)
}

func columnList(cols []columnDef) string {
	var out []string
	for _, c := range cols {
		out = append(out, sql.QuoteName(c.Name)+" "+c.Type)
	}
	return strings.Join(out, ", ")
}

func batchOf(name string, cols []columnDef, rows [][]any) (*column.Batch, error) {
	s, err := schemaOf(name, cols)
	if err != nil {
		return nil, err
	}
	b := column.NewBatch(s, len(rows))
	for _, row := range rows {
		values := make([]column.Datum, len(row))
		for i, v := range row {
			if values[i], err = boxed(s.Fields[i].Type, v); err != nil {
				return nil, err
			}
		}
		b.AppendRow(values...)
	}
	return b, nil
}

// statement writes the case in our SQL: what is done to a stream before the
// query sees it becomes a common table expression of the stream's name.
func (c *streamingCase) statement() (string, error) {
	var ctes []string
	for _, name := range slices.Sorted(maps.Keys(c.Streams)) {
		from, err := relationText(name, c.Streams[name].Ops)
		if err != nil {
			return "", err
		}
		ctes = append(ctes, sql.QuoteName(name)+" AS (SELECT * FROM "+from+")")
	}
	query := c.SQL
	if len(ctes) > 0 {
		with := "WITH " + strings.Join(ctes, ", ")
		f := strings.Fields(query)
		switch {
		case strings.EqualFold(f[0], "with") && strings.EqualFold(f[1], "recursive"):
			_, rest, _ := strings.Cut(strings.TrimSpace(query)[len("with"):], f[1])
			query = "WITH RECURSIVE " + strings.TrimPrefix(with, "WITH ") + ", " + rest
		case strings.EqualFold(f[0], "with"):
			query = with + ", " + strings.TrimSpace(query)[len("with"):]
		default:
			query = with + " " + query
		}
	}
	opts := "mode '" + c.OutputMode + "'"
	if p := c.Conf["spark.sql.streaming.multipleWatermarkPolicy"]; p != "" {
		opts += ", watermark_policy '" + p + "'"
	}
	return "CREATE STREAMING TABLE " + resultTable + " OPTIONS (" + opts + ") AS " + query, nil
}

// relationText nests the operations of a stream.
func relationText(name string, ops [][]json.RawMessage) (string, error) {
	rel := "STREAM " + sql.QuoteName(name)
	for i, op := range ops {
		var kind string
		if err := json.Unmarshal(op[0], &kind); err != nil {
			return "", err
		}
		arg := func(i int, v any) error {
			if i >= len(op) {
				return nil
			}
			return json.Unmarshal(op[i], v)
		}
		var text, delay string
		var names []string
		var err error
		switch kind {
		case "watermark":
			if err = errors.Join(arg(1, &text), arg(2, &delay)); err == nil {
				if _, _, _, err := expr.ParseInterval(delay); err != nil {
					return "", err
				}
				rel += " WATERMARK " + sql.QuoteName(text) + " DELAY OF INTERVAL " + delay
			}
		case "dropDuplicates", "dropDuplicatesWithinWatermark":
			err = arg(1, &names)
			rel += " DEDUP" + keyList(names)
			if kind != "dropDuplicates" {
				rel += " WITHIN WATERMARK"
			}
		case "filter":
			err = arg(1, &text)
			rel += " WHERE " + text
		case "select":
			if err = arg(1, &names); err == nil {
				rel = "(SELECT " + strings.Join(names, ", ") + " FROM " + rel + ")"
				continue
			}
		default:
			err = fmt.Errorf("unknown operation %s", kind)
		}
		if err != nil {
			return "", err
		}
		if i < len(ops)-1 {
			rel = "(SELECT * FROM " + rel + ")"
		}
	}
	return rel, nil
}

func keyList(names []string) string {
	if len(names) == 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = sql.QuoteName(n)
	}
	return " BY (" + strings.Join(quoted, ", ") + ")"
}

// startOfCase is the time at which every case runs, µs: 2026-01-01.
const startOfCase = 1_767_225_600_000_000

// driver takes the steps of a case.
type driver struct {
	c     *streamingCase
	e     *engine.Engine
	index uint64
}

// step hands in the rows of one micro-batch, then an empty entry: a moved
// watermark takes effect in it, as in Spark's automatic batch without data.
func (d *driver) step(s streamingStep) error {
	if s.Restart {
		return d.restart()
	}
	var in engine.Input
	for _, name := range slices.Sorted(maps.Keys(s.Add)) {
		b, err := batchOf(name, d.c.Streams[name].Schema, s.Add[name])
		if err != nil {
			return err
		}
		in.Batches = append(in.Batches, engine.StreamBatch{Stream: name, Rows: b})
	}
	rows, err := d.apply(in)
	if err != nil {
		return err
	}
	more, err := d.apply(engine.Input{})
	if err != nil {
		return err
	}
	if d.c.OutputMode != "complete" {
		rows = append(rows, more...)
	} else if len(more) > 0 {
		rows = more
	}
	return d.compare(s, rows)
}

func (d *driver) apply(in engine.Input) ([][]any, error) {
	d.index++
	in.Index, in.Time = d.index, startOfCase+int64(d.index)*1_000_000
	out, err := d.e.Apply(&in)
	if err != nil {
		return nil, err
	}
	if len(out.Rejected) > 0 {
		return nil, fmt.Errorf("rejected: %+v", out.Rejected[0])
	}
	var rows [][]any
	for _, c := range out.Changes {
		if c.Table != resultTable {
			continue
		}
		for i, row := range rowsOf(c.Rows) {
			if c.Deleted == nil || !c.Deleted[i] {
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// compare holds the rows of a step to the union of its batches, or to the last batch in complete mode.
func (d *driver) compare(s streamingStep, got [][]any) error {
	var want [][]any
	for _, b := range s.Batches {
		if d.c.OutputMode == "complete" {
			want = nil
		}
		want = append(want, b.Rows...)
	}
	const rel = 1e-9 // sums of doubles depend on the order of rows
	if err := (comparison{cols: d.c.Schema, rel: rel, approx: estimates(d.c.SQL)}).compare(want, got); err != nil {
		return err
	}
	if n := len(s.Batches); n > 0 && s.Batches[n-1].InputRows == 0 && s.Batches[n-1].Watermark != "" {
		return d.watermark(s.Batches[n-1].Watermark)
	}
	return nil
}

// watermark compares the watermark at the end of a step.
func (d *driver) watermark(want string) error {
	tm, err := time.Parse("2006-01-02T15:04:05.999Z", want)
	if err != nil {
		return err
	}
	for _, t := range d.e.Tables() {
		if t.Name == resultTable && t.Watermark != tm.UnixMicro() {
			return fmt.Errorf("expected watermark %s, got %s", want, timeText(t.Watermark))
		}
	}
	return nil
}

// restart writes the state and reads it into a new engine.
func (d *driver) restart() error {
	snap, err := d.e.Snapshot()
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := snap.Write(&buf); err != nil {
		return err
	}
	if d.e, err = engine.Restore(&buf, d.c.options()); err != nil {
		return err
	}
	d.e.ForgetSources()
	return nil
}
