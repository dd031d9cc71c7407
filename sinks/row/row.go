// Package row says how a result row looks outside: the names of its columns,
// and its values as text and as JSON.
//
// It promises that nothing is rounded (64-bit integers, decimals and
// microseconds keep every digit) and that two columns of a row never get the
// same name. It refuses to know any particular sink.
package row

import (
	"fmt"
	"strconv"
	"strings"

	"signalbox/engine/column"
	"signalbox/sinks"
)

// Meta names the columns that sinks add to each row. A result column whose own
// name begins with an underscore gets one more, so the two never meet.
const (
	ID       = "_id"       // the 16 bytes of the row id
	Revision = "_revision" // 1 = first emission
	Complete = "_complete" // agents that had certified past the window when the row was emitted
	Expected = "_expected" // agents that were expected to
	Index    = "_index"    // log index of the entry that caused this revision
)

// Names returns the outside name of each column of s. Names differ even when
// letter case is ignored, as SQL databases do.
func Names(s *column.Schema) []string {
	out := make([]string, len(s.Fields))
	taken := make(map[string]bool, len(s.Fields))
	for i, f := range s.Fields {
		name := Escape(f.Name)
		for n := 2; taken[strings.ToLower(name)]; n++ {
			name = Escape(f.Name) + "_" + strconv.Itoa(n)
		}
		taken[strings.ToLower(name)] = true
		out[i] = name
	}
	return out
}

// Escape keeps a user's name away from the names that sinks use themselves.
func Escape(name string) string {
	if name == "" {
		return "_empty"
	}
	outside := strings.ReplaceAll(name, "\x00", "_")
	if name[0] == '_' || name[0] == 0 {
		return "_" + outside
	}
	return outside
}

// Check reports a batch whose parts do not fit together. Such a batch is a bug
// of its producer: no repetition cures it, so the error is permanent.
func Check(b *sinks.Batch) error {
	if b.Rows == nil {
		return nil
	}
	n := b.Rows.Len
	bad := func(part string, got int) error {
		return fmt.Errorf("%w: batch of table %s at index %d has %d rows but %d %s", sinks.ErrPermanent, b.Table.Name, b.Index, n, got, part)
	}
	switch {
	case b.Rows.Schema == nil || len(b.Rows.Cols) != len(b.Rows.Schema.Fields):
		return bad("columns that fit no schema", len(b.Rows.Cols))
	case len(b.IDs) != n:
		return bad("row ids", len(b.IDs))
	case len(b.Revisions) != n:
		return bad("revisions", len(b.Revisions))
	case b.Deleted != nil && len(b.Deleted) != n:
		return bad("deletion marks", len(b.Deleted))
	case b.Complete != nil && len(b.Complete) != n:
		return bad("completeness values", len(b.Complete))
	case b.Expected != nil && len(b.Expected) != n:
		return bad("expected values", len(b.Expected))
	}
	for i, c := range b.Rows.Cols {
		if c != nil && c.Len() != n {
			return bad("values of column "+b.Rows.Schema.Fields[i].Name, c.Len())
		}
	}
	return nil
}

// Deleted reports whether row i of b takes the row away.
func Deleted(b *sinks.Batch, i int) bool { return b.Deleted != nil && b.Deleted[i] }

// Cell boxes the value of column c (an ordinal) in row i; a column that is not there is NULL.
func Cell(b *column.Batch, c, i int) column.Datum {
	if c < 0 || b.Cols[c] == nil {
		return column.NullDatum
	}
	return b.Cols[c].Datum(i)
}
