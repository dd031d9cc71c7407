// Package wire is what agent and core say to each other: frames (one stream's
// columns, self-contained), batches (frames under one BatchID), and the
// messages of the agent link. It has no I/O.
//
// It promises that any bytes decode to a value or to a clear error, within
// named bounds, and that the formats stay readable for ever (golden bytes in
// testdata). It refuses to know sockets, clocks and disks.
package wire

// BatchID identifies a batch for ever. One sequence space per agent and epoch, from 1.
type BatchID struct {
	Agent string // from the client certificate (or the configuration on loopback)
	Epoch uint64 // granted by the core: a new install or a restored image gets a new one
	Seq   uint64
}

// Hash is the xxh3 128-bit hash of a batch's canonical bytes.
type Hash [16]byte

// Frontier is what an agent certifies for one stream with a batch or a heartbeat.
type Frontier struct {
	Stream   string
	MaxTime  int64 // ns: raw event-time frontier, the newest reading seen
	LowWater int64 // ns: no reading older than this is still unsent; MaxInt64 is never sent, an empty spool certifies its clock minus delay
}

// Lane of a batch, chosen when it is sealed.
type Lane uint8

// The lanes.
const (
	Live    Lane = 0
	Backlog Lane = 1
)

// Limits bound what a decoder accepts. Each is checked before memory is allocated.
const (
	MaxBatchBytes        = 4 << 20  // a batch on the wire
	MaxFrameRows         = 1 << 16  // rows in a frame
	MaxFrameColumns      = 1 << 10  // columns in a frame
	MaxDecompressedBytes = 16 << 20 // of a transport-coded batch
	MaxCompressionRatio  = 100      // decompressed : compressed
	MaxStringBytes       = 64 << 10 // one value
	MaxNameBytes         = 256      // stream, column or agent name
	MaxFramesPerBatch    = 256
)
