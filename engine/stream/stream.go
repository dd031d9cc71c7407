// Package stream is the continuous executor: it compiles an analysed query to
// a push pipeline of operators over column batches and keeps their state.
//
// It promises Spark's streaming answers (watermarks, late rows, window closing
// and output modes), output in a deterministic order, and bounded state with a
// counter for every bound. It refuses to know SQL text, catalogs, clocks,
// files and other queries.
package stream

import "signalbox/engine/column"

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
	Failed       uint64 // rows on which an expression failed
	StateLimited uint64 // rows refused by MaxKeys or MaxStateBytes
	ClosedEvict  uint64 // closed windows that the byte budget pushed out
	Expired      uint64 // keys forgotten by state_ttl
	Keys         int64  // groups held now
	StateBytes   int64  // estimate of memory held now
}

// Batch is the rows one source hands to a pipeline.
type Batch struct {
	Rows     *column.Batch
	Sel      []int32 // accepted rows, ascending; nil = all
	Origin   Origin
	Replayed bool
}
