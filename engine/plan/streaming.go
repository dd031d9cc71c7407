package plan

import "signalbox/engine/sql"

// checkStreaming refuses what a continuous query cannot do.
func checkStreaming(q *Query, pos map[Node]sql.Pos) error { return nil }

// DefaultMode is the output mode of a continuous query that asks for none.
func DefaultMode(n Node) Mode { return Append }
