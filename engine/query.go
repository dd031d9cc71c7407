package engine

import (
	"fmt"
	"strings"

	"signalbox/engine/batch"
	"signalbox/engine/column"
	"signalbox/engine/expr"
	"signalbox/engine/plan"
	"signalbox/engine/sql"
)

// MaxQueryRows bounds the rows any operator of a read-only query may hold.
const MaxQueryRows = 5_000_000

// Query runs a read-only SELECT over static tables, the retained results of
// streaming tables, <table>$open (what windows that are open now would say), <table>$windows (what became of each window), <stream>$late, <stream>$rejected, $rejected, alerts and the
// system tables of Options.System. current_timestamp() is the time of the last entry.
func (e *Engine) Query(sqlText string) (*column.Batch, error) {
	q, err := sql.ParseSelect(sqlText)
	if err != nil {
		return nil, err
	}
	p, err := plan.Analyze(q, readable{e}, plan.AnalyzeOptions{Now: e.tick, Text: sqlText})
	if err != nil {
		return nil, err
	}
	return batch.Run(p, e.scanTable, batch.Options{Strict: true, MaxRows: MaxQueryRows})
}

// readable is the catalog as a read-only query sees it.
type readable struct{ e *Engine }

func (v readable) Relation(name string) (plan.Relation, bool) {
	if r := v.e.cat.find(name); r != nil {
		return plan.Relation{Schema: r.schema}, true
	}
	b, ok := v.e.systemTable(name)
	if !ok {
		return plan.Relation{}, false
	}
	s := *b.Schema
	s.Name = strings.ToLower(name)
	return plan.Relation{Schema: &s}, true
}

func (v readable) Names() []string {
	out := continuous{v.e.cat}.Names()
	for _, r := range v.e.cat.list {
		switch {
		case r.kind == KindStream:
			out = append(out, r.name+"$late", r.name+"$rejected")
		case r.kind == KindStreaming && r.pipe.Windowed():
			out = append(out, r.name+"$windows")
		}
	}
	return append(out, RejectedStream, "alerts")
}

func (e *Engine) scanTable(s *plan.Scan) ([]*column.Batch, error) {
	if r := e.cat.find(s.Table); r != nil {
		switch r.kind {
		case KindStatic:
			return []*column.Batch{r.rows}, nil
		case KindStreaming:
			b, _, _ := r.results.list()
			return []*column.Batch{b}, nil
		}
		return nil, &expr.Error{Phase: expr.Analysis, Condition: "STREAM_NOT_KEPT", SQLState: "0A000",
			Message: fmt.Sprintf("the readings of stream %s are not kept; query a streaming table, %s$late or %s$rejected", r.name, r.name, r.name)}
	}
	b, ok := e.systemTable(s.Table)
	if !ok {
		return nil, fmt.Errorf("engine: no table %s", s.Table)
	}
	return []*column.Batch{b}, nil
}

// systemTable builds one of the tables the engine or its owner knows beside the catalog.
func (e *Engine) systemTable(name string) (*column.Batch, bool) {
	name = strings.ToLower(name)
	switch {
	case name == RejectedStream:
		return e.rejected.batch(), true
	case name == "alerts":
		return e.alerts.table(), true
	}
	if base, what, ok := strings.Cut(name, "$"); ok {
		r := e.cat.find(base)
		if r != nil && r.kind == KindStreaming && what == "open" {
			e.mu.Lock()
			b, _, ok := r.pipe.Open()
			e.mu.Unlock()
			if ok {
				return &column.Batch{Schema: r.schema, Cols: b.Cols, Len: b.Len}, true
			}
		}
		if r != nil && r.kind == KindStreaming && what == "windows" {
			return e.windows(r)
		}
		if r != nil && r.kind == KindStream {
			switch what {
			case "late":
				return r.late.batch(), true
			case "rejected":
				return r.rejected.batch(), true
			}
		}
	}
	if e.opt.System != nil {
		return e.opt.System(name)
	}
	return nil, false
}
