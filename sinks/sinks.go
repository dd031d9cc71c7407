// Package sinks is the contract between the core and the places results go to.
// Each technology is an adapter in a package below; only cmd names them.
//
// A sink promises that writing the same Batch again, or an older one, changes
// nothing, and that a Write that returned nil survives a crash of the receiver
// as far as the receiver itself promises. It refuses to know Raft or SQL.
package sinks

import (
	"context"
	"errors"

	"signalbox/engine/alert"
	"signalbox/engine/column"
)

// Scope says where a sink runs.
type Scope uint8

// The scopes.
const (
	Leader    Scope = iota // only on the ready leader: one writer per cluster
	EveryNode              // on every node, each its own copy
)

// Table describes a result table.
type Table struct {
	Name   string
	Schema *column.Schema
	Key    []string // key columns (window start first, when there is one); empty for a stateless query: the row id is the key
	Entity []string // Key without the window columns: what Cassandra partitions by, together with a time bucket
	Time   string   // the column that orders rows in time (window start, or the event time), or ""
}

// Row ids, revisions and the log position travel with the rows.
type Batch struct {
	Index     uint64 // log index of the entry that caused it
	Time      int64  // replicated hybrid time of that entry, µs: what USING TIMESTAMP gets
	Table     Table
	Rows      *column.Batch
	IDs       [][16]byte
	Revisions []uint32
	Deleted   []bool
	Complete  []int32 // nil = not known
	Expected  []int32
	Alerts    []alert.Transition // a batch is either rows or alerts
}

// ErrPermanent marks a batch that the sink will never take; the caller isolates the row and counts it.
var ErrPermanent = errors.New("sinks: refused for good")

// Reminder is a sink whose receiver shows what is true now and may forget it: a broker that was killed or replaced. Remind
// shows the newest state of each alert again, and tells nobody that anything happened.
type Reminder interface {
	Remind(ctx context.Context, states []alert.Active) error
}

// Sink is a place for results.
type Sink interface {
	Name() string
	Scope() Scope
	// Prepare makes the tables exist. It is called before the first Write and after each change, and may be repeated.
	Prepare(ctx context.Context, tables []Table) error
	// Write stores batches in order of Index, all with Index <= upTo; only what precedes a refused row in its
	// own entry comes with the upTo before that entry, and may come again. It is retried until it returns nil
	// or an error that wraps ErrPermanent. After nil the caller's cursor is upTo.
	Write(ctx context.Context, batches []Batch, upTo uint64) error
	// Cursor returns the upTo of the last successful Write, for sinks that keep it in the same
	// transaction as the rows; ok = false for sinks that leave the cursor to the caller.
	Cursor(ctx context.Context) (upTo uint64, ok bool, err error)
	Close() error
}
