package sinktest

import (
	"encoding/binary"
	"fmt"
	"math"

	"signalbox/engine/column"
	"signalbox/sinks"
	"signalbox/sinks/row"
)

// epoch is when the log of these tests begins, µs.
const epoch = 1_767_225_600_000_000

// timeOf is the replicated time of an entry.
func timeOf(index uint64) int64 { return epoch + int64(index)*1000 }

func field(name string, k column.Kind) column.Field {
	return column.Field{Name: name, Type: column.Of(k)}
}

// loadTable is a window table: start and route are its key.
func loadTable(name string) sinks.Table {
	return sinks.Table{Name: name, Key: []string{"start", "route"}, Entity: []string{"route"}, Time: "start",
		Schema: &column.Schema{Name: name, Time: 0, Fields: []column.Field{
			field("start", column.Timestamp), field("route", column.String), field("n", column.BigInt), field("note", column.String)}}}
}

// change is one row of a batch of loadTable; the key follows from the id.
type change struct {
	id       byte
	revision uint32
	n        int64
	note     string // "" = NULL
	deleted  bool
}

func rowID(id byte) (out [16]byte) {
	out[0], out[15] = 0x5b, id
	return out
}

func keyOf(id byte) (start int64, route string) {
	return epoch + int64(id/4)*60_000_000, fmt.Sprintf("route-%d", id%4)
}

// batch builds the rows of one entry.
func batch(t sinks.Table, index uint64, changes ...change) sinks.Batch {
	b := sinks.Batch{Index: index, Time: timeOf(index), Table: t, Rows: column.NewBatch(t.Schema, len(changes))}
	for _, c := range changes {
		start, route := keyOf(c.id)
		n, note := column.I64(c.n), column.Str(c.note)
		if c.deleted {
			n = column.NullDatum
		}
		if c.deleted || c.note == "" {
			note = column.NullDatum
		}
		values := []column.Datum{column.I64(start), column.Str(route), n, note}
		for len(values) < len(t.Schema.Fields) { // columns that a later schema added
			values = append(values, column.NullDatum)
		}
		b.Rows.AppendRow(values[:len(t.Schema.Fields)]...)
		b.IDs = append(b.IDs, rowID(c.id))
		b.Revisions = append(b.Revisions, c.revision)
		b.Deleted = append(b.Deleted, c.deleted)
		b.Complete = append(b.Complete, int32(c.id))
		b.Expected = append(b.Expected, 40)
	}
	return b
}

// expect is what one change leaves behind.
func expect(c change) Row {
	start, route := keyOf(c.id)
	r := Row{Revision: c.revision, Complete: int32(c.id), Expected: 40, Values: map[string]string{
		"start": row.Timestamp(start), "route": route, "n": fmt.Sprint(c.n)}}
	if c.note != "" {
		r.Values["note"] = c.note
	}
	return r
}

func expectAll(changes ...change) map[[16]byte]Row {
	out := map[[16]byte]Row{}
	for _, c := range changes {
		if c.deleted {
			delete(out, rowID(c.id))
			continue
		}
		out[rowID(c.id)] = expect(c)
	}
	return out
}

// typesTable has a column of every type that a result can have, under names that need care.
func typesTable() sinks.Table {
	str, big := column.Of(column.String), column.Of(column.BigInt)
	fields := []column.Field{
		field("when", column.Timestamp), field("select", column.String), field(`we"ird 'näme`, column.String), field("_id", column.BigInt),
		field("b", column.Boolean), field("i8", column.TinyInt), field("i16", column.SmallInt), field("i32", column.Int), field("i64", column.BigInt),
		field("f32", column.Float), field("f64", column.Double), {Name: "dec", Type: column.DecimalType(38, 9)}, field("bin", column.Binary),
		field("day", column.Date), field("ntz", column.TimestampNTZ), field("at", column.Timestamp), field("dt", column.IntervalDT), field("ym", column.IntervalYM),
		{Name: "list", Type: column.ArrayOf(big)}, {Name: "pair", Type: column.StructOf(column.Field{Name: "x", Type: big}, column.Field{Name: "y", Type: str})},
		{Name: "dict", Type: column.Type{Kind: column.Map, Key: &str, Elem: &big}}}
	return sinks.Table{Name: "all types$x", Time: "when", Entity: nil, Schema: &column.Schema{Name: "all types$x", Fields: fields}}
}

// typesRows are extremes, specials and a row of NULLs.
func typesRows() [][]column.Datum {
	d, null := func(i int64) column.Datum { return column.I64(i) }, column.NullDatum
	l := func(v ...column.Datum) column.Datum { return column.Datum{L: v} }
	minDec, maxDec := column.Decimal128{Hi: -5421010862427522171, Lo: 17759344522308878337}, column.Decimal128{Hi: 5421010862427522170, Lo: 687399551400673279}
	rows := [][]column.Datum{
		{d(epoch + 1), column.Str("röute €🚌"), column.Str("a\"b'c\nd;--"), d(math.MaxInt64), column.Bool(true), d(127), d(32767), d(math.MaxInt32), d(math.MaxInt64),
			column.F64(float64(float32(0.1))), column.F64(math.MaxFloat64), {Dec: maxDec}, column.Str("\x00\xff\x80"), d(19000), d(epoch + 123456), d(epoch + 999999), d(-1), d(14),
			l(d(1), null, d(math.MinInt64)), l(d(1), column.Str("y")), l(column.Str("k"), d(1))},
		{d(epoch + 2000), column.Str(""), column.Str(""), d(math.MinInt64), column.Bool(false), d(-128), d(-32768), d(math.MinInt32), d(math.MinInt64),
			column.F64(math.Inf(1)), column.F64(-5e-324), {Dec: minDec}, column.Str(""), d(-719162), d(-1), d(-62135596800000000), d(math.MaxInt64), d(-1),
			l(), l(null, null), l()},
		{d(epoch + 3), column.Str("x"), column.Str("x"), d(0), column.Bool(false), d(0), d(0), d(0), d(9007199254740993),
			column.F64(math.NaN()), column.F64(math.NaN()), {}, column.Str("x"), d(0), d(0), d(0), d(0), d(0), l(), l(null, null), l()},
	}
	nulls := make([]column.Datum, len(rows[0]))
	for i := range nulls {
		nulls[i] = null
	}
	nulls[0] = d(epoch + 4)
	return append(rows, nulls)
}

// typesBatch returns the rows above as a batch, and as a reader should find them.
func typesBatch(index uint64) (sinks.Batch, map[[16]byte]Row) {
	t := typesTable()
	b := sinks.Batch{Index: index, Time: timeOf(index), Table: t, Rows: column.NewBatch(t.Schema, 4)}
	want := map[[16]byte]Row{}
	for n, values := range typesRows() {
		b.Rows.AppendRow(values...)
		var id [16]byte
		binary.BigEndian.PutUint64(id[8:], uint64(n)+1)
		b.IDs, b.Revisions = append(b.IDs, id), append(b.Revisions, 1)
		r := Row{Revision: 1, Complete: -1, Expected: -1, Values: map[string]string{}}
		for i, f := range t.Schema.Fields {
			if !values[i].Null {
				r.Values[f.Name] = row.Text(f.Type, values[i])
			}
		}
		want[id] = r
	}
	return b, want
}
