package cassandra

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/gocql/gocql"
	"gopkg.in/inf.v0"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// bind converts a value that is not NULL to what the driver sends. Times go as
// integers: the driver takes the zero time.Time, year 1, for "nothing".
func bind(t column.Type, d column.Datum) any {
	switch t.Kind {
	case column.Boolean:
		return d.I != 0
	case column.TinyInt:
		return int8(d.I)
	case column.SmallInt:
		return int16(d.I)
	case column.Int:
		return int32(d.I)
	case column.BigInt, column.IntervalDT, column.IntervalYM:
		return d.I
	case column.Float:
		return float32(d.F)
	case column.Double:
		return d.F
	case column.Decimal:
		return *inf.NewDecBig(row.BigInt(d.Dec), inf.Scale(t.Scale))
	case column.Binary:
		return []byte(d.S)
	case column.Date:
		return d.I * 86_400_000 // milliseconds
	case column.Timestamp, column.TimestampNTZ:
		return millis(d.I)
	case column.String:
		return strings.ToValidUTF8(d.S, "\uFFFD") // Cassandra refuses text that is not UTF-8
	}
	return row.Text(t, d)
}

// millis is the Cassandra timestamp of microseconds, rounded towards the past.
func millis(us int64) int64 { return column.FloorMicros(us) }

// micros is what millis leaves out, 0 to 999.
func micros(us int64) int16 { return int16(us - millis(us)*1000) }

// bucketOf is the start of the bucket that a time belongs to, in milliseconds.
func bucketOf(us int64, bucket time.Duration) int64 {
	size := bucket.Microseconds()
	start := us - us%size
	if us%size < 0 {
		start -= size
	}
	return millis(start)
}

// zero stands in a key column for NULL; keysColumn tells.
func zero(t column.Type) any {
	d := column.Datum{}
	switch t.Kind {
	case column.Array, column.Struct, column.Map, column.Void, column.TimestampNS:
		return ""
	}
	return bind(t, d)
}

// key is the primary key of a row as bound values, and what had to be altered to make it one.
type key struct {
	partition, clustering []any
	altered               map[string]string
}

// keyOf reads the key columns of row i.
func (l *layout) keyOf(b *sinks.Batch, i int, bucket time.Duration) key {
	var k key
	for _, c := range l.entity {
		t := b.Rows.Schema.Fields[c].Type
		d := row.Cell(b.Rows, c, i)
		k.partition = append(k.partition, k.value(l.names[c], t, d, len(l.partition) == 1))
	}
	id := append([]byte(nil), b.IDs[i][:]...)
	switch {
	case l.time >= 0:
		d := row.Cell(b.Rows, l.time, i) // a NULL time is stored as the epoch
		k.partition = append(k.partition, bucketOf(d.I, bucket))
		k.clustering = append(k.clustering, k.value(l.names[l.time], b.Rows.Schema.Fields[l.time].Type, d, false), id)
	case len(l.entity) > 0:
		k.clustering = append(k.clustering, id)
	default:
		k.partition = append(k.partition, id)
	}
	return k
}

// value binds a key column. NULL is impossible in a key, and so is an empty
// value when it is the whole partition key.
func (k *key) value(name string, t column.Type, d column.Datum, alone bool) any {
	why, v := "", any(nil)
	if d.Null {
		why, v = "null", zero(t)
	} else {
		v = bind(t, d)
	}
	if alone && isEmpty(v) {
		if why == "" {
			why = "empty"
		}
		if _, ok := v.([]byte); ok {
			v = []byte{0}
		} else {
			v = "\x00"
		}
	}
	if why != "" {
		if k.altered == nil {
			k.altered = map[string]string{}
		}
		k.altered[name] = why
	}
	return v
}

func isEmpty(v any) bool {
	switch x := v.(type) {
	case string:
		return x == ""
	case []byte:
		return len(x) == 0
	}
	return false
}

// insertValues are the values of all columns of the layout, in its order, and the timestamp.
// fresh = nothing can be stored under this row yet: a NULL need not be written.
func (l *layout) insertValues(b *sinks.Batch, i int, bucket time.Duration, fresh bool) []any {
	null := any(nil)
	if fresh && !l.keep {
		null = gocql.UnsetValue
	}
	k := l.keyOf(b, i, bucket)
	out := make([]any, 0, len(l.columns)+1)
	if l.time >= 0 || len(l.entity) > 0 {
		out = append(out, k.partition...)
		out = append(out, k.clustering...)
	} else {
		out = append(out, k.partition...)
	}
	schema := b.Rows.Schema
	for c, f := range schema.Fields {
		if l.isKey(c) {
			continue
		}
		if d := row.Cell(b.Rows, c, i); d.Null {
			out = append(out, null)
		} else {
			out = append(out, bind(f.Type, d))
		}
	}
	for c, f := range schema.Fields {
		if hasMicros(f.Type) {
			out = append(out, l.micros(c, row.Cell(b.Rows, c, i), fresh))
		}
	}
	out = append(out, int64(b.Revisions[i]), optional(b.Complete, i), optional(b.Expected, i), int64(b.Index), k.alteredText())
	return append(out, b.Time)
}

// micros binds the rest of a timestamp. It is never NULL, which would be a
// tombstone with every revision: where nothing can be stored it is unset, else set, to 0 if need be.
func (l *layout) micros(c int, d column.Datum, fresh bool) any {
	switch {
	case d.Null:
		return gocql.UnsetValue // the timestamp itself says so
	case micros(d.I) == 0 && (l.isKey(c) || fresh && !l.keep):
		return gocql.UnsetValue
	}
	return micros(d.I)
}

func (l *layout) isKey(c int) bool {
	if c == l.time {
		return true
	}
	for _, e := range l.entity {
		if e == c {
			return true
		}
	}
	return false
}

// optional binds completeness. A table either has agents or has none, so there is nothing to replace.
func optional(values []int32, i int) any {
	if values == nil {
		return gocql.UnsetValue
	}
	return values[i]
}

func (k *key) alteredText() any {
	if len(k.altered) == 0 {
		return gocql.UnsetValue
	}
	b, _ := json.Marshal(k.altered) // a map of strings always marshals, keys sorted
	return string(b)
}

// insert is the statement for insertValues.
func (l *layout) insert(keyspace string) string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.name
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return "INSERT INTO " + quote(keyspace) + "." + quote(l.name) + " (" + quoteAll(names) + ") VALUES (" + marks + ") USING TIMESTAMP ?"
}

// remove is the statement that deletes a row: timestamp first, then the key.
func (l *layout) remove(keyspace string) string {
	var where []string
	for _, n := range append(append([]string{}, l.partition...), l.clustering...) {
		where = append(where, quote(n)+" = ?")
	}
	return "DELETE FROM " + quote(keyspace) + "." + quote(l.name) + " USING TIMESTAMP ? WHERE " + strings.Join(where, " AND ")
}
