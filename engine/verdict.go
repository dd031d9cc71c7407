package engine

import (
	"bytes"
	"fmt"
	"strings"

	"signalbox/engine/plan"
	"signalbox/engine/sql"
	"signalbox/engine/stream"
)

// Verdict is what executing a statement would do to the state of a streaming table.
type Verdict string

// The verdicts.
const (
	IsNew      Verdict = "new"           // there is no such table
	Unchanged  Verdict = "unchanged"     // the same statement: nothing happens
	KeepsState Verdict = "keeps state"   // only stateless parts changed: windows, groups and keys go on
	AddsColumn Verdict = "adds a column" // only aggregate functions came in addition: they count from now, everything else goes on
	StartsAnew Verdict = "starts anew"   // the stateful parts changed: empty state, higher version, new row ids
)

// TableVerdict is the verdict for one table, with the operator that decided it.
type TableVerdict struct {
	Table   string
	Verdict Verdict
	Reason  string
}

// Verdicts tells, for each CREATE STREAMING TABLE of a script, what Execute would do. It changes nothing.
func (e *Engine) Verdicts(script string) ([]TableVerdict, error) {
	statements, errs := sql.ParseScript(script)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	next := e.cat.clone()
	var out []TableVerdict
	for _, st := range statements {
		s, streaming := st.(*sql.CreateStreamingTable)
		var v TableVerdict
		if streaming {
			var err error
			if v, err = e.verdict(next, s); err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		if err := e.execute(next, st); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (e *Engine) verdict(c *catalog, st *sql.CreateStreamingTable) (TableVerdict, error) {
	v := TableVerdict{Table: st.Name, Verdict: IsNew}
	old, same, err := checkName(c, st.Pos, st.Name, st.Text, KindStreaming)
	if err != nil || old == nil {
		return v, err
	}
	if same {
		v.Verdict = Unchanged
		return v, nil
	}
	opts, err := tableOptions(st.Options)
	if err != nil {
		return v, err
	}
	q, err := plan.Analyze(st.Query, continuous{c}, plan.AnalyzeOptions{Mode: opts.Mode, Live: true, Now: old.now, Text: st.QueryText})
	if err != nil {
		return v, err
	}
	opts.AllowedLateness = e.lateness(st, q, opts, undecided)
	if stream.SameState(old.query, q, old.opts, opts) {
		v.Verdict, v.Reason = KeepsState, "the stateful operators are the same"
		return v, nil
	}
	if added, ok := stream.AddsColumns(old.query, q, old.opts, opts); ok {
		v.Verdict, v.Reason = AddsColumn, "from now on: "+strings.Join(added.Names, ", ")
		return v, nil
	}
	v.Verdict, v.Reason = StartsAnew, firstDifference(stream.Signature(old.query, old.opts), stream.Signature(q, opts))
	return v, nil
}

func firstDifference(a, b []string) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return "new operator: " + b[i]
		case i >= len(b):
			return "operator is gone: " + a[i]
		case a[i] != b[i]:
			return fmt.Sprintf("%s became %s", a[i], b[i])
		}
	}
	return strings.Join(b, "; ")
}

// moveState gives the state of one pipeline to another with the same stateful operators.
func moveState(from, to *stream.Pipeline) error {
	return reload(to, from.Save)
}

// twinState gives a pipeline the state of a captured one.
func twinState(c *stream.Capture, to *stream.Pipeline) error {
	return reload(to, c.Write)
}

func reload(to *stream.Pipeline, write func(*stream.Encoder)) error {
	var buf bytes.Buffer
	s := stream.NewEncoder(&buf)
	write(s)
	if err := s.Flush(); err != nil {
		return err
	}
	d := stream.NewDecoder(&buf, snapshotVersion)
	d.Moved()
	to.Load(d)
	return d.Err()
}
