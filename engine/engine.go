// Package engine runs continuous queries and alert rules as one deterministic
// state machine: Apply(Input) returns Output and nothing else happens.
//
// It promises that the same inputs in the same order give the same outputs and
// the same state on every machine, and it refuses to know clocks, randomness,
// files and the network. The edge agent, the Raft state machine, signalbox
// replay and the tests run it unchanged.
package engine

import (
	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// Origin says where a batch comes from: the agent's batch identity.
// The zero Origin is input without an agent (replay, tests).
type Origin struct {
	Agent      string
	Epoch, Seq uint64
}

// StreamBatch is the readings of one stream from one batch. Times are microseconds.
type StreamBatch struct {
	Stream   string
	Rows     *column.Batch // Schema is the declared one, or a projection with nil Cols
	Origin   Origin
	Received int64 // ns since the epoch when the first durable hop received it; 0 = unknown: no future check
	Replayed bool  // backlog: history, never fires or resolves an alert "now"
}

// Certified is a certified watermark of a stream: no more on-time row with a time below LowWater will come.
// The engine subtracts each query's DELAY.
type Certified struct {
	Stream                         string
	LowWater                       int64 // µs
	AgentsComplete, AgentsExpected int
}

// Input is one replicated entry.
type Input struct {
	Index     uint64 // position in the log, strictly increasing
	Time      int64  // replicated hybrid time, µs, strictly increasing
	Batches   []StreamBatch
	Certified []Certified // sorted by Stream; a stream named here once is in certified mode from then on
	End       bool        // bounded input is over: every window closes
}

// RowID identifies a result row for ever: equal for every node and every replay.
type RowID [16]byte

// Changes are the new or changed rows of one streaming table in this entry, in deterministic order.
type Changes struct {
	Table     string
	Rows      *column.Batch
	IDs       []RowID
	Revisions []uint32 // 1 = first emission of this id
	// Deleted rows (a key expired, a HAVING no longer holds, a fleet total lost a key) carry only their id columns.
	Deleted []bool
	// Completeness as of the emission; nil when the stream has no agents.
	Complete, Expected []int32
}

// Refused is a row that was not counted: late (window closed), rejected (did not
// fit the schema, an expression failed, time in the future) with its reason.
type Refused struct {
	Stream  string
	Query   string // empty when the stream itself refused it
	Reason  string // late, future, expression, type, unknown_stream, …
	Detail  string // what, where, what to do
	Time    int64  // event time µs, or 0
	Origin  Origin
	Ordinal int    // row in its batch
	Row     string // the row as JSON, at most 1 KiB
}

// Output is what one entry caused.
type Output struct {
	Changes  []Changes
	Late     []Refused
	Rejected []Refused
	Alerts   []alert.Transition
	Applied  int // rows accepted by their stream
}
