package sqldoc

import (
	"signalbox/engine"
	"signalbox/engine/column"
)

// SystemTables are the tables that a cluster has beside the engine's own,
// empty: so that the queries of docs/sql.md over them are checked.
func SystemTables() []engine.SystemTable {
	text, when, number := column.Of(column.String), column.Of(column.Timestamp), column.Of(column.BigInt)
	var out []engine.SystemTable
	for _, s := range []*column.Schema{
		{Name: "agents$status", Time: -1, Fields: []column.Field{{Name: "agent", Type: text}, {Name: "version", Type: text}, {Name: "epoch", Type: number},
			{Name: "applied_seq", Type: number}, {Name: "standing", Type: text}, {Name: "seen", Type: when}, {Name: "frontier", Type: when}, {Name: "low_water", Type: when},
			{Name: "waiting", Type: number}, {Name: "received", Type: number}, {Name: "applied", Type: number}, {Name: "duplicate", Type: number}, {Name: "rejected", Type: number},
			{Name: "edge_received", Type: number}, {Name: "edge_rejected", Type: number}, {Name: "edge_dropped", Type: number}}},
		{Name: "agents$gaps", Time: -1, Fields: []column.Field{{Name: "agent", Type: text}, {Name: "stream", Type: text}, {Name: "from", Type: when},
			{Name: "to", Type: when}, {Name: "readings", Type: number}, {Name: "reason", Type: text}, {Name: "told", Type: when}}},
	} {
		out = append(out, engine.SystemTable{Schema: s, Capture: func() func() *column.Batch {
			return func() *column.Batch { return column.NewBatch(s, 0) }
		}})
	}
	return out
}
