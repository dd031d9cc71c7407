package sqldoc

import "signalbox/engine/column"

// SystemTables answers the names of the tables that a cluster has beside the
// engine's own, empty: so that the queries of docs/sql.md over them are checked.
func SystemTables(name string) (*column.Batch, bool) {
	text, when, number := column.Of(column.String), column.Of(column.Timestamp), column.Of(column.BigInt)
	var s *column.Schema
	switch name {
	case "agents$status":
		s = &column.Schema{Name: name, Time: -1, Fields: []column.Field{{Name: "agent", Type: text}, {Name: "version", Type: text}, {Name: "epoch", Type: number},
			{Name: "applied_seq", Type: number}, {Name: "standing", Type: text}, {Name: "seen", Type: when}, {Name: "frontier", Type: when}, {Name: "low_water", Type: when},
			{Name: "waiting", Type: number}, {Name: "received", Type: number}, {Name: "applied", Type: number}, {Name: "duplicate", Type: number}, {Name: "rejected", Type: number},
			{Name: "edge_received", Type: number}, {Name: "edge_rejected", Type: number}, {Name: "edge_dropped", Type: number}}}
	case "agents$gaps":
		s = &column.Schema{Name: name, Time: -1, Fields: []column.Field{{Name: "agent", Type: text}, {Name: "stream", Type: text}, {Name: "from", Type: when},
			{Name: "to", Type: when}, {Name: "readings", Type: number}, {Name: "reason", Type: text}, {Name: "told", Type: when}}}
	default:
		return nil, false
	}
	return column.NewBatch(s, 0), true
}
