// Package replay runs a pipeline over recorded readings without a cluster: the
// same engine, the same SQL, the same answers. It promises rows on the one
// writer and diagnostics on the other, an error for everything that makes the
// answer incomplete, and refuses to know flags and processes.
package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"signalbox/cmd/signalbox/output"
	"signalbox/engine"
	"signalbox/engine/column"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// File is a named text.
type File struct{ Name, Text string }

// Options of a replay.
type Options struct {
	Schema    []File            // CREATE STREAM, CREATE TABLE, and streaming tables the query may read
	Query     File              // a SELECT, or CREATE STREAMING TABLE statements of which the last one is shown
	Inputs    []string          // line protocol or recordings, plain, gzip or zstd; "-" = Stdin
	Tables    map[string]string // static table to CSV or JSON lines file
	Format    string            // one of output.Formats
	Strict    bool              // the first row that fails ends the replay, as Spark does
	BatchRows int               // readings per entry; lateness depends on it, as in Spark
	Changes   bool              // print every revision of an update-mode table instead of the last
	Stdin     io.Reader
	Progress  func(bytes int64, lines int64) // may be nil
}

// resultTable is the name under which a bare SELECT runs.
const resultTable = "replay_result"

// maxReported bounds how many refused lines and rows are told one by one; all are counted.
const maxReported = 20

// Run executes a replay.
func Run(ctx context.Context, opt Options, stdout, stderr io.Writer) error {
	r := &run{opt: opt, stdout: stdout, stderr: stderr}
	limits := engine.DefaultOptions()
	limits.Strict, limits.ResultRows, limits.RingRows = opt.Strict, 0, 0
	limits.MaxStateBytes, limits.MaxKeys = 16<<30, 256<<20
	r.eng = engine.New(limits)
	if err := r.prepare(); err != nil {
		return err
	}
	if err := r.loadTables(); err != nil {
		return err
	}
	var err error
	if r.bounded != nil {
		err = r.runBounded(ctx)
	} else {
		err = r.runStream(ctx)
	}
	if err != nil {
		return err
	}
	r.summary()
	if r.lines > 0 && r.refusedLines == r.lines {
		return fmt.Errorf("no line of the input fits: is it the right file for this schema?")
	}
	return nil
}

type run struct {
	opt            Options
	stdout, stderr io.Writer
	eng            *engine.Engine
	target         string     // the streaming table that is shown
	bounded        *sql.Query // a SELECT that reads no stream continuously
	boundedText    string
	refusedLines   int64
	lines          int64
	index          uint64
	clock          int64
	refused        map[string]int64
	late, revised  int64
	reported       int
	static         map[string]*column.Batch
}

// prepare declares what the query needs and decides how it runs.
func (r *run) prepare() error {
	r.refused = map[string]int64{}
	declared := map[string]sql.Statement{}
	var order []string
	for _, f := range r.opt.Schema {
		statements, err := parse(f)
		if err != nil {
			return err
		}
		for _, s := range statements {
			if name := created(s); name != "" {
				declared[strings.ToLower(name)] = s
				order = append(order, strings.ToLower(name))
			}
		}
	}
	queries, err := parse(r.opt.Query)
	if err != nil {
		return err
	}
	if len(queries) == 0 {
		return fmt.Errorf("%s: holds no statement; write a SELECT or a CREATE STREAMING TABLE", r.opt.Query.Name)
	}
	needed := map[string]bool{}
	for _, q := range queries {
		mark(q, declared, needed)
	}
	for _, name := range order {
		s := declared[name]
		if _, streaming := s.(*sql.CreateStreamingTable); streaming && !needed[name] {
			continue // the schema file may hold a whole pipeline
		}
		if err := r.execute(s.SQL(), "schema"); err != nil {
			return err
		}
	}
	if errs := plan.Check(r.opt.Query.Text, r.catalog()); len(errs) > 0 {
		return r.rendered(errs)
	}
	return r.declareQueries(queries)
}

// rendered shows the errors of the query with their places in its file.
func (r *run) rendered(errs []error) error {
	q := r.opt.Query
	out := make([]string, len(errs))
	for i, err := range errs {
		line, col := plan.Position(err)
		_, message, _ := strings.Cut(err.Error(), ": ")
		out[i] = strings.TrimRight(sql.RenderAt(q.Name, q.Text, sql.Pos{Line: line, Col: col}, message, ""), "\n")
	}
	return errors.New(strings.Join(out, "\n"))
}

func (r *run) execute(text, where string) error {
	if err := r.eng.Execute(text); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func (r *run) declareQueries(queries []sql.Statement) error {
	for i, q := range queries {
		switch s := q.(type) {
		case *sql.SelectStatement:
			if i != len(queries)-1 {
				return fmt.Errorf("%s:%d: a SELECT must be the last statement", r.opt.Query.Name, s.Line)
			}
			if err := r.declareSelect(s); err != nil {
				return err
			}
		case *sql.CreateStreamingTable:
			r.target = s.Name
			if err := r.execute(s.SQL(), r.opt.Query.Name); err != nil {
				return err
			}
		default:
			if err := r.execute(q.SQL(), r.opt.Query.Name); err != nil {
				return err
			}
		}
	}
	if r.target == "" && r.bounded == nil {
		return fmt.Errorf("%s: nothing to show; end with a SELECT or a CREATE STREAMING TABLE", r.opt.Query.Name)
	}
	return nil
}

// declareSelect runs a SELECT that reads FROM STREAM as a streaming table, and any other over the whole input at once.
func (r *run) declareSelect(s *sql.SelectStatement) error {
	if !readsStream(s) {
		r.bounded, r.boundedText = s.Query, s.SQL()
		return nil
	}
	r.target = resultTable
	return r.execute("CREATE STREAMING TABLE "+sql.QuoteName(resultTable)+" AS "+s.SQL(), r.opt.Query.Name)
}

func parse(f File) ([]sql.Statement, error) {
	statements, errs := sql.ParseScript(f.Text)
	if len(errs) == 0 {
		return statements, nil
	}
	texts := make([]string, len(errs))
	for i, e := range errs {
		texts[i] = f.Name + ":" + e.Error()
	}
	return nil, fmt.Errorf("%s", strings.Join(texts, "\n"))
}

func created(s sql.Statement) string {
	switch s := s.(type) {
	case *sql.CreateStream:
		return s.Name
	case *sql.CreateTable:
		return s.Name
	case *sql.CreateStreamingTable:
		return s.Name
	}
	return ""
}

// mark adds every declared relation that a statement reads, directly or through another.
func mark(n sql.Node, declared map[string]sql.Statement, needed map[string]bool) {
	sql.Walk(n, func(n sql.Node) bool {
		t, ok := n.(*sql.Table)
		if !ok {
			return true
		}
		name := strings.ToLower(t.Name)
		if s := declared[name]; s != nil && !needed[name] {
			needed[name] = true
			mark(s, declared, needed)
		}
		return true
	})
}

func readsStream(n sql.Node) (found bool) {
	sql.Walk(n, func(n sql.Node) bool {
		if t, ok := n.(*sql.Table); ok && t.Stream {
			found = true
		}
		return !found
	})
	return found
}

// summary tells on the diagnostics writer what is not in the answer.
func (r *run) summary() {
	if r.refusedLines > 0 {
		fmt.Fprintf(r.stderr, "%d of %d lines were refused\n", r.refusedLines, r.lines)
	}
	if r.late > 0 {
		fmt.Fprintf(r.stderr, "%d rows were late: their window had closed. A longer WATERMARK … DELAY keeps more\n", r.late)
	}
	if r.revised > 0 {
		fmt.Fprintf(r.stderr, "%d revisions of rows of a table do not count in the tables over it: there each row counts as it was told first\n", r.revised)
	}
	for _, reason := range sortedKeys(r.refused) {
		fmt.Fprintf(r.stderr, "%d rows were rejected: %s\n", r.refused[reason], reason)
	}
}

// tell reports one refusal, up to maxReported of them.
func (r *run) tell(format string, args ...any) {
	r.reported++
	switch {
	case r.reported <= maxReported:
		fmt.Fprintf(r.stderr, format+"\n", args...)
	case r.reported == maxReported+1:
		fmt.Fprintln(r.stderr, "… further ones are only counted")
	}
}

func (r *run) writer(s *column.Schema) (output.Writer, error) {
	return output.New(r.opt.Format, r.stdout, s)
}
