package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"signalbox/cmd/signalbox/output"
	"signalbox/engine"
	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
)

// runStream feeds the input entry by entry.
func (r *run) runStream(ctx context.Context) error {
	info, err := r.table(r.target)
	if err != nil {
		return err
	}
	w, err := r.writer(info.Schema)
	if err != nil {
		return err
	}
	out := sink{w: w, keep: info.Mode != plan.Append && !r.opt.Changes, rows: map[engine.RowID]int{}, latest: column.NewBatch(info.Schema, 0)}
	source := newSource(r, r.wanted())
	for {
		batches, err := source.next(ctx)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		end := errors.Is(err, io.EOF)
		if err := r.apply(batches, end, info.Name, &out); err != nil {
			return err
		}
		if end {
			return out.close()
		}
	}
}

func (r *run) apply(batches []*column.Batch, end bool, target string, out *sink) error {
	r.index++
	r.clock++
	in := engine.Input{Index: r.index, Time: r.clock, End: end}
	for _, b := range batches {
		in.Batches = append(in.Batches, engine.StreamBatch{Stream: b.Schema.Name, Rows: b})
	}
	res, err := r.eng.Apply(&in)
	if err != nil {
		return err
	}
	r.account(res)
	for i := range res.Changes {
		if c := &res.Changes[i]; strings.EqualFold(c.Table, target) {
			if err := out.write(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) account(res *engine.Output) {
	r.late += int64(len(res.Late))
	r.revised += int64(len(res.Revised))
	for i := range res.Rejected {
		x := &res.Rejected[i]
		r.refused[x.Reason]++
		r.tell("rejected (%s) %s: %s", x.Reason, x.Stream, x.Detail)
	}
}

// sink prints rows as they come, or keeps the latest of each id until the end.
type sink struct {
	w      output.Writer
	keep   bool
	rows   map[engine.RowID]int // row of latest
	gone   []bool
	latest *column.Batch
}

func (s *sink) write(c *engine.Changes) error {
	if !s.keep {
		return s.w.Write(c.Rows, alive(c))
	}
	for i := range c.Rows.Len {
		deleted := c.Deleted != nil && c.Deleted[i]
		at, known := s.rows[c.IDs[i]]
		switch {
		case known:
			s.gone[at] = deleted
			if !deleted {
				for j, col := range s.latest.Cols {
					col.Set(at, c.Rows.Cols[j].Datum(i))
				}
			}
		case !deleted:
			s.rows[c.IDs[i]] = s.latest.Len
			s.latest.AppendRow(c.Rows.Row(i)...)
			s.gone = append(s.gone, false)
		}
	}
	return nil
}

// alive lists the rows that are not deletions, nil when all are.
func alive(c *engine.Changes) []int32 {
	if !slices.Contains(c.Deleted, true) {
		return nil
	}
	rows := []int32{}
	for i := range c.Rows.Len {
		if !c.Deleted[i] {
			rows = append(rows, int32(i))
		}
	}
	return rows
}

func (s *sink) close() error {
	rows := []int32{}
	for i := range s.latest.Len {
		if !s.gone[i] {
			rows = append(rows, int32(i))
		}
	}
	if err := s.w.Write(s.latest, rows); err != nil {
		return err
	}
	return s.w.Close()
}

// runBounded reads everything and answers once, as Spark's batch mode does.
func (r *run) runBounded(ctx context.Context) error {
	q, err := plan.Analyze(r.bounded, r.catalog(), plan.AnalyzeOptions{Text: r.boundedText})
	if err != nil {
		return fmt.Errorf("%s:%w", r.opt.Query.Name, err)
	}
	data, err := r.readAll(ctx, scans(q.Root, map[string][]int{}))
	if err != nil {
		return err
	}
	rows, err := batch.Run(q, func(s *plan.Scan) ([]*column.Batch, error) {
		if t := r.static[strings.ToLower(s.Table)]; t != nil {
			return []*column.Batch{t}, nil
		}
		return data[strings.ToLower(s.Table)], nil
	}, batch.Options{Strict: r.opt.Strict, Refused: func(_ *column.Batch, _ int, err *expr.Error) {
		r.refused["expression"]++
		r.tell("rejected (expression): %v", err)
	}})
	if err != nil {
		return err
	}
	w, err := r.writer(q.Root.Schema())
	if err != nil {
		return err
	}
	if err := w.Write(rows, nil); err != nil {
		return err
	}
	return w.Close()
}

func (r *run) readAll(ctx context.Context, wanted map[string][]int) (map[string][]*column.Batch, error) {
	source := newSource(r, wanted)
	data := map[string][]*column.Batch{}
	for {
		batches, err := source.next(ctx)
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
		for _, b := range batches {
			name := strings.ToLower(b.Schema.Name)
			data[name] = append(data[name], copyBatch(b))
		}
	}
}

// copyBatch copies what the next read overwrites; dictionaries only grow and are shared.
func copyBatch(b *column.Batch) *column.Batch {
	out := &column.Batch{Schema: b.Schema, Len: b.Len, Cols: make([]*column.Column, len(b.Cols))}
	for i, c := range b.Cols {
		if c == nil {
			continue
		}
		d := *c
		d.Nulls, d.I64, d.F64 = slices.Clone(c.Nulls), slices.Clone(c.I64), slices.Clone(c.F64)
		d.Codes, d.Dec, d.Any = slices.Clone(c.Codes), slices.Clone(c.Dec), slices.Clone(c.Any)
		out.Cols[i] = &d
	}
	return out
}

// catalog is what is declared, for the analyser.
func (r *run) catalog() catalog {
	cat := catalog{}
	for _, t := range r.eng.Tables() {
		cat[strings.ToLower(t.Name)] = plan.Relation{Schema: t.Schema, Stream: t.Kind != engine.KindStatic, Told: t.Told}
	}
	return cat
}

type catalog map[string]plan.Relation

func (c catalog) Relation(name string) (plan.Relation, bool) {
	r, ok := c[strings.ToLower(name)]
	return r, ok
}

func (c catalog) Names() []string {
	names := make([]string, 0, len(c))
	for n := range c {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func (r *run) table(name string) (engine.TableInfo, error) {
	for _, t := range r.eng.Tables() {
		if strings.EqualFold(t.Name, name) {
			return t, nil
		}
	}
	return engine.TableInfo{}, fmt.Errorf("table %s is not declared", name)
}

// wanted is, for each stream, the columns that any streaming table reads.
func (r *run) wanted() map[string][]int {
	out := map[string][]int{}
	for _, t := range r.eng.Tables() {
		if t.Plan != nil {
			scans(t.Plan, out)
		}
	}
	return out
}

// scans adds the columns that a plan reads, by lower-case stream name.
func scans(n plan.Node, out map[string][]int) map[string][]int {
	if s, ok := n.(*plan.Scan); ok {
		name := strings.ToLower(s.Table)
		columns := append(out[name], s.Columns...)
		slices.Sort(columns)
		out[name] = slices.Compact(columns)
		if out[name] == nil {
			out[name] = []int{}
		}
	}
	for _, in := range n.Inputs() {
		scans(in, out)
	}
	return out
}

func sortedKeys(m map[string]int64) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
