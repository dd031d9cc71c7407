// Package lineproto turns InfluxDB line protocol into typed columns: Reader for
// files and declared streams, Decoder for messages whose streams are not known.
//
// It promises exactly what github.com/influxdata/line-protocol/v2 accepts,
// refuses and reads, within the limits below and with the two points in which
// the published corpus is newer (see newer.go): a scanner of our own stands in
// front for ordinary lines and hands every other line to the library. A line
// that cannot be taken is reported alone, the rest goes on. It refuses to know
// queries, files and clocks.
//
// Names: of a tag or field that a line has twice, and of a field that has the
// name of a tag, the last one wins. The event-time column is the line's
// timestamp, so a tag or field of that name is not readable: Reader ignores it
// as it does every name that is not declared, Decoder refuses the line.
package lineproto

import (
	"fmt"

	"signalbox/engine/column"
)

// The limits of one line.
const (
	MaxLine   = 64 << 10 // bytes, a quoted string's newlines included
	MaxTags   = 256
	MaxFields = 256
	MaxName   = 256 // bytes of a measurement, tag or field name
	// MaxText is how much of a refused line an error carries, in bytes.
	MaxText = 1 << 10
	// MaxDict is the number of values after which a column's dictionary is started anew, between batches.
	MaxDict = 1 << 20
)

// Reason says why a line was refused, in one word for counters and $rejected.
type Reason string

// The reasons.
const (
	Malformed     Reason = "malformed"      // not line protocol
	WrongType     Reason = "type"           // a value does not fit the declared column
	OutOfRange    Reason = "range"          // an unsigned value beyond BIGINT
	UnknownStream Reason = "unknown_stream" // no such stream is declared
	NoTime        Reason = "no_time"        // no timestamp and no default for it
	TooLong       Reason = "too_long"       // longer than MaxLine
	TooMany       Reason = "too_many"       // more than MaxTags or MaxFields
	BadName       Reason = "name"           // longer than MaxName, or taken by the time column
)

// LineError is a line that was refused.
type LineError struct {
	Line   int64  // 1-based line on which the entry starts
	Offset int64  // of its first byte
	Stream string // the measurement, if it could be read
	Reason Reason
	Detail string
	Text   []byte // the start of the line; only valid during the call that reports it
}

func (e *LineError) Error() string {
	return fmt.Sprintf("line %d: %s: %s", e.Line, e.Reason, e.Detail)
}

// Stream is a declared stream of a Reader.
type Stream struct {
	// Schema names the stream (the measurement) and its columns; Schema.Time is
	// the event-time column, TIMESTAMP (rounded down to µs) or TIMESTAMP_NS.
	Schema *column.Schema
	// Columns are the ordinals that are wanted, nil = all. Others are nil in
	// the batches, but a line that does not fit them is refused all the same.
	Columns []int
}
