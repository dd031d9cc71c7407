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
	"signalbox/engine/plan"
	"signalbox/engine/stream"
)

// Origin says where a batch comes from: the agent's batch identity.
// The zero Origin is input without an agent (replay, tests).
type Origin = stream.Origin

// StreamBatch is the readings of one stream from one batch. Times are microseconds.
type StreamBatch struct {
	Stream   string
	Rows     *column.Batch // Schema is the declared one, or a projection with nil Cols
	Origin   Origin
	First    int   // position of the first row in its BatchID: two frames of one stream in a batch must not share row ids
	Received int64 // ns since the epoch when the first durable hop received it; 0 = unknown: no future check
	Replayed bool  // backlog: history, never fires or resolves an alert "now"
}

// Certified is a certified watermark of a stream: no more on-time row with a time below LowWater will come.
// The engine subtracts each query's DELAY.
type Certified struct {
	Stream                         string
	LowWater                       int64 // µs
	AgentsComplete, AgentsExpected int   // agents that LowWater waits for, and all that are expected
	// Behind are the expected agents that have not certified up to LowWater, whether it waits for
	// them or not, sorted by what they certified: a window before that is complete as far as they go.
	Behind []Behind
}

// Behind is an agent that has not certified up to the watermark of its stream.
type Behind = stream.Behind

// Input is one replicated entry.
type Input struct {
	Index     uint64 // position in the log, strictly increasing
	Time      int64  // replicated hybrid time, µs, strictly increasing
	Batches   []StreamBatch
	Certified []Certified // sorted by Stream; a stream named here once is in certified mode from then on
	End       bool        // bounded input is over: every window closes
}

// RowID identifies a result row for ever: equal for every node and every replay.
type RowID = stream.RowID

// Changes are the new or changed rows of one streaming table in this entry, in deterministic order.
type Changes struct {
	Table     string
	Rows      *column.Batch
	IDs       []RowID
	Revisions []uint32 // rises with every emission of an id, from 1
	// Deleted rows (a key expired, a HAVING no longer holds, a fleet total lost a key) carry only their id columns.
	Deleted []bool
	// Completeness as of the emission; nil when the stream has no agents. In a row of a window Complete counts
	// the expected agents that had certified past it: with Complete = Expected it is final.
	Complete, Expected []int32
	// Same marks rows that repeat what was told before: only their completeness is news. nil when none.
	Same []bool

	runs []stream.Run
}

// Refused is a row that was not counted: late (window closed), rejected (did not
// fit the schema, an expression failed, time in the future) with its reason.
type Refused struct {
	Stream  string
	Query   string // empty when the stream itself refused it
	Reason  string // late, late_partly, revised, future, expression, type, unknown_stream, …
	Detail  string // what, where, what to do
	Time    int64  // event time µs, or 0
	Origin  Origin
	Ordinal int    // row in its batch
	Row     string // the row as JSON, at most 1 KiB
}

// Output is what one entry caused. It is valid until the next Apply.
type Output struct {
	Changes  []Changes
	Late     []Refused
	Partly   []Refused // rows that counted, but not in those of their sliding windows that were closed
	Revised  []Refused // revisions of rows of another table, which count as they were told first
	Rejected []Refused
	Alerts   []alert.Transition
	Applied  int // rows accepted by their stream
}

// Options are the limits of an Engine. DefaultOptions fills in every one;
// a zero field of Options means zero only for ResultRows and RingRows
// (keep nothing), everywhere else it means the default.
type Options struct {
	Strict         bool  // a row on which an expression fails makes Apply fail, as Spark does, instead of going to $rejected
	ResultRows     int   // latest rows kept for Query per streaming table; beyond it the oldest leave, counted
	RingRows       int   // rows kept in each $late and $rejected; beyond it the oldest leave, counted
	FutureLimit    int64 // µs: a row later than Received + FutureLimit is rejected and moves no watermark
	MaxStateBytes  int64 // per query: beyond it rows with a new key go to $rejected{state_limit}
	MaxKeys        int   // per query: beyond it rows with a new key go to $rejected{state_limit}
	MaxClosedBytes int64 // per query: closed windows kept for allowed_lateness; beyond it the oldest leave, counted
	ReviseEvery    int64 // µs of tick time: at most one revision per key and closed window in this time
	FinalRows      int   // per query and entry: rows emitted again because their window became final; the others wait for the next entry, counted
	WindowRows     int   // closed windows kept per table for <table>$windows; beyond it the oldest leave, counted
	// DefaultLateness is the allowed_lateness (µs) of streaming tables that do not say one and
	// may have one; 0, as Spark has it, is right for replay and tests, 24 hours for a cluster.
	DefaultLateness int64
	MaxAlertAge     int64 // µs: an older reading never fires or resolves an alert now
	NullTimes       bool  // keep rows without event time, as a file source of Spark does, instead of rejecting them (conformance)
	// System are the tables that the owner of the engine knows (agents$…).
	System []SystemTable
}

// The defaults of Options.
const (
	DefaultResultRows     = 100_000
	DefaultRingRows       = 10_000
	DefaultFutureLimit    = 5 * 60 * 1_000_000
	DefaultMaxStateBytes  = 1 << 30
	DefaultMaxKeys        = 4 << 20
	DefaultMaxClosedBytes = 256 << 20
	DefaultReviseEvery    = 10 * 1_000_000
	DefaultFinalRows      = 10_000
	DefaultWindowRows     = 1000
	DefaultMaxAlertAge    = 60 * 1_000_000
)

// DefaultOptions returns the options that are right without tuning.
func DefaultOptions() Options {
	return Options{ResultRows: DefaultResultRows, RingRows: DefaultRingRows}.withDefaults()
}

func (o Options) withDefaults() Options {
	set := func(p *int64, d int64) {
		if *p == 0 {
			*p = d
		}
	}
	set(&o.FutureLimit, DefaultFutureLimit)
	set(&o.MaxStateBytes, DefaultMaxStateBytes)
	set(&o.MaxClosedBytes, DefaultMaxClosedBytes)
	set(&o.ReviseEvery, DefaultReviseEvery)
	set(&o.MaxAlertAge, DefaultMaxAlertAge)
	if o.MaxKeys == 0 {
		o.MaxKeys = DefaultMaxKeys
	}
	if o.FinalRows == 0 {
		o.FinalRows = DefaultFinalRows
	}
	if o.WindowRows == 0 {
		o.WindowRows = DefaultWindowRows
	}
	return o
}

// Kind says what a named relation of the catalog is.
type Kind string

// The kinds of relation.
const (
	KindStream    Kind = "stream"
	KindStatic    Kind = "static"
	KindStreaming Kind = "streaming"
)

// TableInfo describes one relation of the catalog, for sinks, pages and explain.
type TableInfo struct {
	Name      string
	Kind      Kind
	Schema    *column.Schema
	Key       []string // columns that identify a row (window columns first); empty: the row id does
	Entity    []string // Key without the window columns
	Time      string   // column that orders rows in time, or ""
	Mode      plan.Mode
	SQL       string          // the SELECT of a streaming table
	Options   plan.Options    // of a streaming table
	Version   uint64          // of a static table's rows; of a streaming table's query
	Rows      int             // rows held: static rows, or retained results
	Plan      plan.Node       // of a streaming table, for explain
	Watermark int64           // µs, of a streaming table; 0 until it moved
	Counters  stream.Counters // of a streaming table
	Told      plan.Told       // how often a streaming table tells a row
}

// Counters are the accounts of an Engine since it was created; they are part
// of its state. Received = Applied + the sum of Rejected by the stream itself.
type Counters struct {
	Entries      uint64
	Received     uint64            // rows handed in
	Applied      uint64            // rows accepted by their stream
	Late         uint64            // rows that a query found late (a row counts once per query)
	LatePartly   uint64            // rows that counted in some of their sliding windows only; not among Late
	Revised      uint64            // revisions of rows of another table, which count as they were told first; not among Late
	Finals       uint64            // result rows emitted again because their window became final
	WindowsEvict uint64            // closed windows that WindowRows pushed out of <table>$windows
	Incomplete   int64             // windows told before every agent was past them, and not final yet, now
	Rejected     map[string]uint64 // by reason
	ExtraColumns uint64            // undeclared columns of incoming batches that were ignored
	ResultsOut   uint64            // result rows emitted
	ResultsEvict uint64            // retained result rows that ResultRows pushed out
	RingEvict    uint64            // $late and $rejected rows that RingRows pushed out
	ClosedEvict  uint64            // closed windows that MaxClosedBytes pushed out
	StateLimited uint64            // rows refused by MaxKeys or MaxStateBytes
	StateBytes   int64             // estimate, now
	ClosedBytes  int64             // of closed windows kept for allowed_lateness, now
	Keys         int64             // groups held, now
}
