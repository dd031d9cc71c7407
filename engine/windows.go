package engine

import (
	"slices"

	"signalbox/engine/column"
	"signalbox/engine/stream"
)

// windowsSchema is the layout of <table>$windows.
var windowsSchema = &column.Schema{Name: "$windows", Time: 0, Fields: []column.Field{
	{Name: "start", Type: column.Of(column.Timestamp)}, {Name: "end", Type: column.Of(column.Timestamp)},
	{Name: "state", Type: column.Of(column.String)}, {Name: "rows", Type: column.Of(column.BigInt)},
	{Name: "agents_complete", Type: column.Of(column.BigInt)}, {Name: "agents_expected", Type: column.Of(column.BigInt)},
	{Name: "missing", Type: column.Of(column.String)}, {Name: "revisions", Type: column.Of(column.BigInt)},
}}

// windowRows lists the windows of a table, each with the agents that are not past it yet.
func windowRows(p *stream.Pipeline) *column.Batch {
	list, _ := p.Windows()
	b := column.NewBatch(windowsSchema, len(list))
	for i := range list {
		w := &list[i]
		complete, expected, missing := column.NullDatum, column.NullDatum, column.NullDatum
		if w.Known {
			complete, expected, missing = column.I64(int64(w.Complete)), column.I64(int64(w.Expected)), column.Str(w.Missing)
		}
		b.AppendRow(column.I64(w.Start), column.I64(w.End), column.Str(w.State), column.I64(int64(w.Rows)), complete, expected, missing, column.I64(int64(w.Revisions)))
	}
	return b
}

// agentsBehind copies what is known of the agents behind the sources of a table.
func (e *Engine) agentsBehind(r *relation) map[string]*stream.Agents {
	out := map[string]*stream.Agents{}
	for _, name := range r.pipe.Sources() { // after a restore the pipeline has not heard of the agents yet
		if s := e.cat.find(name); s != nil && s.certified {
			a := s.agents
			a.Behind = slices.Clone(a.Behind)
			out[name] = &a
		}
	}
	return out
}

// MissingText names agents with the reason why they are behind, at most stream.MaxMissing of them.
func MissingText(list []Behind) string { return stream.MissingText(list) }
