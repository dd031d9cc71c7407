// Package stream is the continuous executor: it compiles an analysed query to
// a push pipeline of operators over column batches and keeps their state.
//
// It promises Spark's streaming answers (watermarks, late rows, window closing
// and output modes), output in a deterministic order, and bounded state with a
// counter for every bound. It refuses to know SQL text, catalogs, clocks,
// files and other queries.
package stream

import (
	"signalbox/engine/column"
	"signalbox/engine/plan"
)

// Origin is the identity of the agent's batch a row came with.
type Origin struct {
	Agent      string
	Epoch, Seq uint64
}

// RowID identifies a result row for ever.
type RowID [16]byte

// Counters are the accounts of one query.
type Counters struct {
	RowsIn       uint64 // rows its sources handed in
	RowsOut      uint64 // rows it emitted
	Late         uint64 // rows whose window was closed
	LatePartly   uint64 // rows that only some of their sliding windows could still take
	Revised      uint64 // revisions of rows of another streaming table that had counted as they were told first
	Finals       uint64 // rows emitted again because their window became final
	WindowsEvict uint64 // closed windows that WindowRows pushed out of the list of windows
	Failed       uint64 // rows on which an expression failed
	StateLimited uint64 // rows refused by MaxKeys or MaxStateBytes
	ClosedEvict  uint64 // closed windows that the byte budget pushed out
	Expired      uint64 // keys forgotten by state_ttl
	Keys         int64  // groups held now
	StateBytes   int64  // estimate of memory held now
	ClosedBytes  int64  // of it, closed windows kept for allowed_lateness
	Incomplete   int64  // windows that were told before every expected agent was past them, now
}

// Batch is the rows one source hands to a pipeline.
type Batch struct {
	Rows   *column.Batch
	Sel    []int32 // accepted rows, ascending; nil = all
	Origin Origin
	First  int // position of the first row in its origin, which may have several batches of one stream
	// IDs, Revisions and Deleted come with the rows of another streaming table; nil for a stream.
	IDs       []RowID
	Revisions []uint32
	Deleted   []bool
	Runs      []Run // what the rows of another streaming table can claim; nil = nothing is known

	// MinTime and MaxTime are the range of the event time when Ranged; then no time is NULL and Sel is nil.
	MinTime, MaxTime int64
	Ranged           bool

	no int // position in the entry
}

// Source is what one relation hands in with an entry.
type Source struct {
	Name    string // as in the catalog
	Batches []Batch
	// Certified: LowWater (µs) replaces the observed event times of this source from now on.
	Certified bool
	LowWater  int64
	Agents    *Agents // behind LowWater; must stay as it is until the next entry
}

// Entry is one step of a pipeline.
type Entry struct {
	Index   uint64
	Time    int64 // tick, µs
	Sources []Source
	End     bool // bounded input is over: every window closes
}

// Refused is a row that did not count.
type Refused struct {
	Reason  string // late, late_partly, revised, expression, state_limit
	Detail  string
	Err     error // of the expression
	Time    int64
	Origin  Origin
	Ordinal int
	Row     []column.Datum
	Schema  *column.Schema
}

// Result is what one entry emitted; valid until the next Apply.
type Result struct {
	Rows      *column.Batch
	IDs       []RowID
	Revisions []uint32
	Deleted   []bool // nil when none
	Runs      []Run  // what the rows can claim; nil = nothing is known
	Late      []Refused
	Partly    []Refused // rows that counted, but not in all their windows; only with ListPartly
	Revised   []Refused // revisions of rows that count as they were told first; only with ListPartly
	Failed    []Refused
}

// Options of a pipeline.
type Options struct {
	ID             string // of the query, part of row ids
	Version        uint64
	Table          plan.Options
	Strict         bool
	MaxKeys        int
	MaxStateBytes  int64
	MaxClosedBytes int64
	ReviseEvery    int64
	FinalRows      int  // rows emitted again in one entry because their windows became final
	WindowRows     int  // closed windows kept for the list of windows
	ListPartly     bool // report rows that are late for some of their windows, and revisions that do not count
	// Static evaluates a sub-plan that reads no stream; StaticVersion changes when its rows do.
	Static        func(n plan.Node) (*column.Batch, error)
	StaticVersion func(n plan.Node) uint64
}
